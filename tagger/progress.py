"""Progress messages of long work, and progress bars."""

import functools
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

_silent = False


def silence() -> None:
    """Show no progress from now on: another process of the same work shows it."""
    global _silent
    _silent = True


def say(line: str) -> None:
    """Print a line of progress to standard error, above any progress bar; nothing where that is closed."""
    if sys.stderr is not None and not _silent:
        from tqdm import tqdm  # here, since a single sentence is tagged sooner without it

        tqdm.write(line, file=sys.stderr)


@functools.cache
def say_once(line: str) -> None:
    """Print a line to standard error, as `say` does, the first time that this process has it."""
    say(line)


def bar(items: Iterable[Any] | None = None, shown: bool = True, **settings: Any) -> Any:
    """Return a `tqdm` progress bar over `items`, shown on standard error if that is a terminal.

    Args:
        items: Yielded by the bar; None where the caller updates it.
        shown: Whether to show it at all.
        settings: As for `tqdm`.
    """
    from tqdm import tqdm

    hidden = _silent or not shown or sys.stderr is None
    return tqdm(items, file=sys.stderr, disable=True if hidden else None, **settings)


def about(seconds: float) -> str:
    """Return a duration as an estimate, `about 3 min`."""
    if seconds < 90:
        return f"about {max(10 * round(seconds / 10), 10)} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 3600, 1):g} h"


def time_left(begin: float, done: int, remaining: int) -> str:
    """Return `  about 3 min left`, where `done` equal parts have taken the time since `begin`; "" where none remain.

    Args:
        begin: By `time.monotonic`.
        done, remaining: Parts; one at least is done.
    """
    return f"  {about((time.monotonic() - begin) / done * remaining)} left" if remaining else ""


class Stages:
    """The stages of a long command, announced as they begin: `stage 2 of 4: word vectors, about 3 min`.

    A duration is only given where one was measured: by the caller, or on an earlier stage of the same kind. The kind of
    a stage is its title after a colon, if it has one: `round 2 of 3: predicting` is estimated from round 1.

    Args:
        titles: Of all stages, in order; those that turn out not to be needed are left out. Without titles, as within a
            stage of another command, stages are announced without numbers.
    """

    def __init__(self, titles: Sequence[str] = ()) -> None:
        self._titles = list(titles)
        self._seconds: dict[str, float] = {}  # that the latest stage of each kind took
        self._kind, self._begin = "", 0.0

    def begin(self, title: str, seconds: float | None = None) -> None:
        """Announce a stage, which ends the one before.

        Args:
            title: Of the stage.
            seconds: That it is likely to take, as far as that is known.
        """
        self.end()
        self._kind, self._begin = title.rpartition(": ")[2], time.monotonic()
        seconds = self._seconds.get(self._kind) if seconds is None else seconds
        number = f"stage {self._titles.index(title) + 1} of {len(self._titles)}: " if title in self._titles else ""
        say(f"{number}{title}" + ("" if seconds is None else f", {about(seconds)}"))

    def end(self) -> None:
        """End the current stage; what follows belongs to none."""
        if self._kind:
            self._seconds[self._kind] = time.monotonic() - self._begin
        self._kind = ""
