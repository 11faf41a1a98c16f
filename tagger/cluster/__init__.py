"""Tagging on a cluster: a plan, workers that tag its shards, a journal of what is done, and a manifest.

What a run does is here and independent of who the workers are: `Workers`, of which `engine` has those on Ray.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tagger.cluster.journal import Journal, Report
from tagger.cluster.plan import Shard
from tagger.errors import TaggerError

ATTEMPTS = 3  # at a shard, before it is set aside

_MOST_FAILED = 1_000  # shards that are set aside, after which a run ends

_TICK = 1.0  # seconds after which figures are shown anew, though nothing has ended


@dataclass(frozen=True)
class Outcome:
    """How a worker's work on a shard has ended.

    Args:
        shard: The shard.
        report: On what was done; None where it failed.
        reason: Why it failed, in one line.
        error: What the shard's input is at fault for: there is no use in trying again. None for other failures: a
            worker that was lost, a file system that did not answer.
        ends: Whether such a failure ends the run, even where errors in the input do not.
    """

    shard: Shard
    report: Report | None = None
    reason: str = ""
    error: TaggerError | None = None
    ends: bool = False


class Workers(Protocol):
    """Who tags shards, several at a time."""

    @property
    def alive(self) -> int:
        """Workers that there are now."""

    @property
    def room(self) -> int:
        """Shards that can be given to them now: what bounds the shards in flight."""

    def submit(self, shard: Shard) -> None:
        """Give a shard to a worker."""

    def completed(self, seconds: float) -> list[Outcome]:
        """Return what has ended since the last call; wait for it, but not longer."""


@dataclass
class Run:
    """The shards of a plan, given to workers until all are done or set aside.

    Args:
        shards: All of them; read only as far as needed.
        journal: What is done already, and where to note what is done.
        workers: Who does it.
        stops: Whether an error in the input ends the run; otherwise its shard is set aside.
        show: Called after each change, and each second.

    Attributes:
        failed: The reason of each shard that was set aside.
        characters, bytes: Of the input that was tagged by this run.
    """

    shards: Iterator[Shard]
    journal: Journal
    workers: Workers
    stops: bool
    show: Callable[["Run"], None] = lambda run: None
    failed: dict[int, str] = field(default_factory=dict)
    characters: int = 0
    bytes: int = 0
    _attempts: dict[int, int] = field(default_factory=dict)  # at shards that have failed and are not set aside
    _again: deque[Shard] = field(default_factory=deque)

    def work(self) -> None:
        """Do what is not done.

        Raises:
            TaggerError: If the input is at fault and that ends the run, or if too many shards are set aside.
        """
        pending = (shard for shard in self.shards if not self.journal.is_done(shard.number))
        upcoming, in_flight = next(pending, None), 0
        while upcoming or in_flight:
            while upcoming and self.workers.room:
                self.workers.submit(upcoming)
                in_flight += 1
                upcoming = self._again.popleft() if self._again else next(pending, None)
            for outcome in self.workers.completed(_TICK):
                in_flight -= 1
                self._take(outcome)
            upcoming = upcoming or (self._again.popleft() if self._again else None)
            self.show(self)
        self.journal.save()

    def _take(self, outcome: Outcome) -> None:
        """Note how the work on a shard has ended."""
        shard = outcome.shard
        if outcome.report:
            self._attempts.pop(shard.number, None)
            self.journal.add(outcome.report)
            self.characters += outcome.report.characters
            self.bytes += shard.bytes
            return
        if outcome.error and (self.stops or outcome.ends):
            raise outcome.error
        attempts = self._attempts.pop(shard.number, 0) + 1
        if not outcome.error and attempts < ATTEMPTS:
            self._attempts[shard.number] = attempts
            self._again.append(shard)
            return
        if outcome.ends:
            raise TaggerError(outcome.reason)
        self.failed[shard.number] = outcome.reason
        if len(self.failed) > _MOST_FAILED:
            raise TaggerError(f"{len(self.failed):,} shards have failed, the last one with: {outcome.reason}")


def seconds_left(run: Run, total: int, begin: float) -> float:
    """Return how long the rest takes at the speed so far; infinity before anything is done.

    Args:
        run: The run.
        total: Bytes of what was not done when it began.
        begin: When that was, by `time.monotonic`.
    """
    elapsed = time.monotonic() - begin
    return (total - run.bytes) * elapsed / run.bytes if run.bytes else float("inf")
