"""Texts tagged on a cluster, their results in the order of the texts: the teachers of self-training."""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagger.cluster import ATTEMPTS
from tagger.cluster.driver import bundle_files
from tagger.cluster.engine import LOCAL, Failure, RayWorkers, Setup, connected
from tagger.errors import TaggerError
from tagger.groups import grouped, strings
from tagger.learning.labelling import Teacher, Teachers
from tagger.pipeline import Result
from tagger.runtime import DEFAULT

_GROUPS = 5  # that a worker tags at a time: about a second's work

_AHEAD = 3  # pieces of work for each worker, done or not, that wait for the first of them

_TICK = 1.0  # seconds


def on_cluster(address: str) -> Teachers:
    """Return teachers on a cluster, which is there while they teach; `address` as for `engine.connected`."""

    @contextmanager
    def teacher(bundle: Path) -> Iterator[Teacher]:
        with connected(address, 0) as ray:
            setup = Setup(str(bundle.absolute()), DEFAULT)
            yield ClusterTeacher(RayWorkers(ray, setup, None if address == LOCAL else bundle_files(setup)))

    return teacher


class ClusterTeacher:
    """Tags texts with the workers of a cluster, in the groups in which `Tagger.results` tags them.

    Args:
        workers: Who tags; `RayWorkers`.
    """

    def __init__(self, workers: Any) -> None:
        self._workers = workers

    def results(self, texts: Iterable[str], answers: bool, outside: bool) -> Iterator[Result]:
        """Yield the result of each text, as `Tagger.results` does, in bounded memory.

        Raises:
            TaggerError: If a piece of work fails three times.
        """
        groups = grouped(strings(texts), len)
        pieces = enumerate(iter(lambda: list(itertools.islice(groups, _GROUPS)), []))
        working: dict[int, list[list[str]]] = {}
        again: deque[int] = deque()
        done: dict[int, list[list[Result]]] = {}
        failures: Counter[int] = Counter()
        due, upcoming = 0, next(pieces, None)
        while upcoming or working:
            while self._workers.room and (again or (upcoming and upcoming[0] - due <= _AHEAD * self._workers.alive)):
                if again:
                    number = again.popleft()
                else:
                    assert upcoming
                    number, working[upcoming[0]] = upcoming
                    upcoming = next(pieces, None)
                self._workers.ask(number, "results", working[number], (answers, outside))
            for number, answer in self._workers.answers(_TICK):
                if isinstance(answer, Failure):
                    failures[number] += 1
                    if failures[number] == ATTEMPTS:
                        raise TaggerError(f"a piece of the text could not be tagged: {answer.reason}")
                    again.append(number)
                else:
                    done[number] = answer
                    del working[number]
            while due in done:
                for group in done.pop(due):
                    yield from group
                due += 1
