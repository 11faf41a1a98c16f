"""How far a cluster's run is: on standard error, and as metrics of the cluster."""

import time
from typing import Any, Protocol

from tagger.cluster import Run, seconds_left
from tagger.progress import bar


class Metrics(Protocol):
    """Where the figures go beside the terminal."""

    def set(self, figures: dict[str, float]) -> None:
        """Take the present figures, by name."""


class Progress:
    """Shows a run: shards, characters a second, workers, and how long the rest takes.

    Args:
        shards: Of the whole plan.
        total: Bytes of the input.
        before: Of those, what was done before this run.
        shown: Whether to show a bar, on a terminal.
        metrics: Where else the figures go; None for nowhere.
    """

    def __init__(self, shards: int, total: int, before: int, shown: bool, metrics: Metrics | None = None) -> None:
        self._shards, self._left, self._before, self._metrics = shards, total - before, before, metrics
        self._begin = time.monotonic()
        self._bar: Any = bar(
            shown=shown, total=total, initial=before, unit="B", unit_scale=True, unit_divisor=1000, mininterval=0.5,
            smoothing=0.05,
        )  # fmt: skip

    def __call__(self, run: Run) -> None:
        """Show the present figures."""
        elapsed = max(time.monotonic() - self._begin, 1e-9)
        speed, alive, done = run.characters / elapsed, run.workers.alive, run.journal.done
        failed = f", {len(run.failed):,} set aside" if run.failed else ""
        figures = f"{done:,} of {self._shards:,} shards{failed}, {speed:,.0f} characters/s, {alive:,} workers"
        self._bar.set_postfix_str(figures, refresh=False)
        self._bar.update(self._before + run.bytes - self._bar.n)
        if self._metrics:
            self._metrics.set({
                "shards_done": done, "shards_failed": len(run.failed), "characters": run.characters,
                "characters_per_second": speed, "workers": alive,
                "seconds_left": min(seconds_left(run, self._left, self._begin), 1e9),
            })  # fmt: skip

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
