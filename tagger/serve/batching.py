"""One `Tagger` for many clients: texts that wait are tagged together in batches."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tagger.documents import Entity
from tagger.pipeline import Tagger

# A batch is one call of the tagger: large enough to be fast, small enough that no client waits long for it.
_BATCH_CHARACTERS = 4_000


class BusyError(Exception):
    """Too many characters wait to be tagged."""


@dataclass
class _Request:
    """Texts of one client; those before `started` are being tagged or done, `remaining` are not done."""

    texts: Sequence[str]
    result: asyncio.Future[list[list[Entity]]]
    entities: list[list[Entity]] = field(default_factory=list)
    started: int = 0
    remaining: int = 0


# Texts `start` to `stop` of a request.
_Slice = tuple[_Request, int, int]


class SharedTagger:
    """Tag the texts of many tasks of one event loop, in batches that mix them.

    Requests take turns: each batch takes texts from the request that has waited longest, and what is left of a large
    request goes to the end of the queue. While nothing waits, a request is tagged at once.

    Args:
        tagger: Called from `tagger.workers` threads.
        limit: Characters that may wait; a request for which there is no room is refused, unless nothing waits.
        observe: Called after each batch with its numbers of texts and characters.
    """

    def __init__(self, tagger: Tagger, limit: int, observe: Callable[[int, int], None] = lambda *_: None) -> None:
        self.tagger, self.limit, self.observe = tagger, limit, observe
        self.waiting = 0  # characters, including those of texts being tagged
        self._queue: deque[_Request] = deque()
        self._idle_workers = tagger.workers
        self._room = asyncio.Event()
        self._pool = ThreadPoolExecutor(tagger.workers, thread_name_prefix="tagger")

    async def tag(self, texts: Sequence[str], wait: bool = False) -> list[list[Entity]]:
        """Return the entities of each text; texts of a cancelled call are not tagged.

        Args:
            texts: Any number.
            wait: Wait for room in the queue instead of raising `BusyError`.

        Raises:
            BusyError: If there is no room in the queue.
        """
        size = _size(texts)
        while self.waiting and self.waiting + size > self.limit:
            if not wait:
                raise BusyError
            self._room.clear()
            await self._room.wait()
        if not texts:
            return []
        loop = asyncio.get_running_loop()
        request = _Request(texts, loop.create_future(), [[]] * len(texts), remaining=len(texts))
        self.waiting += size
        self._queue.append(request)
        loop.call_soon(self._start_batches)  # not at once: requests of the same turn of the loop share a batch
        return await request.result

    def close(self) -> None:
        """Stop the threads; batches under way are finished."""
        self._pool.shutdown()

    def _start_batches(self) -> None:
        """Give each idle worker a batch, as far as texts wait."""
        while self._idle_workers and (batch := self._next_batch()):
            texts = [text for request, start, stop in batch for text in request.texts[start:stop]]
            self._idle_workers -= 1
            work = asyncio.get_running_loop().run_in_executor(self._pool, self.tagger.batch, texts)
            work.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]

    def _next_batch(self) -> list[_Slice]:
        batch: list[_Slice] = []
        size = 0
        while self._queue and size < _BATCH_CHARACTERS:
            request = self._queue.popleft()
            start = request.started
            if request.result.done():  # cancelled: the client disconnected
                self._release(_size(request.texts[start:]))
                continue
            while request.started < len(request.texts) and size < _BATCH_CHARACTERS:
                size += _size(request.texts[request.started : request.started + 1])
                request.started += 1
            batch.append((request, start, request.started))
            if request.started < len(request.texts):
                self._queue.append(request)
        return batch

    def _finish(self, batch: list[_Slice], done: asyncio.Future[list[list[Entity]]]) -> None:
        self._idle_workers += 1
        error = done.exception()
        entities = iter([] if error else done.result())
        characters = 0
        for request, start, stop in batch:
            characters += _size(request.texts[start:stop])
            for index in range(start, stop):
                request.entities[index] = next(entities, [])
            request.remaining -= stop - start
            if request.result.done():
                continue
            if error:
                request.result.set_exception(error)
            elif not request.remaining:
                request.result.set_result(request.entities)
        self._release(characters)
        self.observe(sum(stop - start for _, start, stop in batch), characters)
        self._start_batches()

    def _release(self, characters: int) -> None:
        self.waiting -= characters
        self._room.set()


def _size(texts: Sequence[str]) -> int:
    """Return the number of characters that texts count for; each text counts one more, so that empty ones count."""
    return sum(map(len, texts)) + len(texts)
