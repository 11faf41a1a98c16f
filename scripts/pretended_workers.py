"""Pretended workers for a cluster's run: coroutines in a few processes, which commit as real ones do but tag nothing.

Each takes the time of a shard, scaled, and then writes a small file of results through the same `Storage` as a real
worker. Some are lost before that, some after it and before they could report; some shards cannot be read at all, and
some inputs answer only at the second attempt. Which ones is settled by the number of the shard and of the attempt.
"""

import asyncio
import contextlib
import hashlib
import multiprocessing
import random
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tagger.cluster import Outcome
from tagger.cluster.journal import Report
from tagger.cluster.manifest import results_name
from tagger.cluster.plan import Shard
from tagger.cluster.storage import Storage
from tagger.errors import TaggerError

AHEAD = 2  # shards that are given to a worker at a time

TEXTS = 64_000  # of a shard, as its report says


@dataclass(frozen=True)
class Behaviour:
    """How pretended workers behave.

    Args:
        seconds: That a shard takes on average, already scaled.
        lost: Share of attempts whose worker is lost before it has written anything.
        unreported: Share of attempts whose worker is lost when it has written its results.
        unreadable: One in so many shards cannot be read, whoever tries; 0 for none.
    """

    seconds: float
    lost: float
    unreported: float
    unreadable: int

    def fate(self, number: int, attempt: int) -> str:
        """Return what becomes of an attempt: "unreadable", "lost", "unreported" or "done"."""
        if self.unreadable and number % self.unreadable == self.unreadable // 2:
            return "unreadable"
        chance = random.Random(f"{number} {attempt}").random()
        return "lost" if chance < self.lost else "unreported" if chance < self.lost + self.unreported else "done"


def results_of(number: int) -> bytes:
    """Return what is written as the results of a shard."""
    return b'{"text": "%d", "entities": []}\n' % number


def report_on(number: int, seconds: float) -> Report:
    """Return the report on a shard that was done."""
    results = results_of(number)
    digest = hashlib.sha256(results).hexdigest()
    return Report(number, TEXTS, 45 * TEXTS, TEXTS, 0, len(results), digest, round(seconds, 3))


class PretendedWorkers:
    """The workers of a run, in processes that end with the one that has made them.

    Args:
        out: Folder of the results.
        count: Number of workers.
        processes: That they share.
        behaviour: Of all of them.
    """

    def __init__(self, out: str, count: int, processes: int, behaviour: Behaviour) -> None:
        self.alive, self._most, self._in_flight = count, count * AHEAD, 0
        self._attempts: Counter[int] = Counter()
        self._links: list[Connection] = []
        self._waiting: list[list[tuple[Shard, int]]] = [[] for _ in range(processes)]
        context = multiprocessing.get_context("spawn")
        self._processes = []
        for number in range(processes):
            link, other = context.Pipe()
            share = len(range(number, count, processes))
            process = context.Process(target=_serve, args=(other, out, share, behaviour), daemon=True)
            process.start()
            other.close()
            self._links.append(link)
            self._processes.append(process)

    @property
    def room(self) -> int:
        """Shards that can be given to them now."""
        return self._most - self._in_flight

    def submit(self, shard: Shard) -> None:
        """Give a shard to a worker; it is sent with others."""
        self._in_flight += 1
        attempt = self._attempts[shard.number]
        self._waiting[shard.number % len(self._waiting)].append((shard, attempt))

    def completed(self, seconds: float) -> list[Outcome]:
        """Return what has ended since the last call; wait for it, but not longer."""
        for link, waiting in zip(self._links, self._waiting, strict=True):
            if waiting:
                link.send(waiting)
                waiting.clear()
        outcomes: list[Outcome] = []
        ready = wait(self._links, seconds)
        for link in self._links:
            if link in ready:
                outcomes += link.recv()
        for outcome in outcomes:
            if outcome.report:
                self._attempts.pop(outcome.shard.number, None)
            else:
                self._attempts[outcome.shard.number] += 1
        self._in_flight -= len(outcomes)
        return outcomes

    def close(self) -> None:
        """Send them home."""
        for link, process in zip(self._links, self._processes, strict=True):
            link.close()
            process.join()


# ---- in their processes -------------------------------------------------------------------------------------------
def _serve(link: Connection, out: str, count: int, behaviour: Behaviour) -> None:
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):  # the driver is gone: so are its workers
        asyncio.run(_served(link, out, count, behaviour))


async def _served(link: Connection, out: str, count: int, behaviour: Behaviour) -> None:
    shards: asyncio.Queue[tuple[Shard, int]] = asyncio.Queue()
    outcomes: list[Outcome] = []
    storage, loop, ended = Storage(out), asyncio.get_running_loop(), asyncio.Event()

    def received() -> None:
        try:
            for given in link.recv():
                shards.put_nowait(given)
        except (EOFError, OSError):
            loop.remove_reader(link.fileno())
            ended.set()

    loop.add_reader(link.fileno(), received)
    workers = [asyncio.create_task(_work(shards, outcomes, storage, behaviour)) for _ in range(count)]
    while not ended.is_set():
        await asyncio.sleep(0.002)
        if outcomes:
            sent = outcomes[:]
            outcomes.clear()
            await asyncio.to_thread(link.send, sent)  # meanwhile shards are received: neither side waits for the other
    for worker in workers:
        worker.cancel()


async def _work(shards: Any, outcomes: list[Outcome], storage: Storage, behaviour: Behaviour) -> None:
    while True:
        shard, attempt = await shards.get()
        seconds = behaviour.seconds * random.uniform(0.5, 1.5)
        await asyncio.sleep(seconds)
        fate = behaviour.fate(shard.number, attempt)
        if fate in ("unreported", "done"):
            with storage.writing(results_name(shard.number, "jsonl")) as file:
                file.write(results_of(shard.number))
        if fate == "done":
            outcomes.append(Outcome(shard, report_on(shard.number, seconds)))
        elif fate == "unreadable":
            error = TaggerError(f"{shard.parts[0].input.path}: cannot be read")
            outcomes.append(Outcome(shard, None, str(error), error))
        else:
            outcomes.append(Outcome(shard, None, "the worker was lost"))
