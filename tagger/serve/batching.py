"""One `Tagger` for many clients: texts that wait are tagged together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tagger.documents import Entity
from tagger.pipeline import Tagger

# A group is one call of the tagger: large enough to be fast, small enough that nobody waits long for it.
_GROUP_CHARACTERS = 4_000


class BusyError(Exception):
    """More waits already than may."""


@dataclass
class _Request:
    """Texts of one client; those before `taken` are being tagged, or done."""

    texts: Sequence[str]
    answer: asyncio.Future[list[list[Entity]]]
    found: list[list[Entity]] = field(default_factory=list)
    taken: int = 0
    missing: int = 0


# Texts `start` to `stop` of a request.
_Slice = tuple[_Request, int, int]


class SharedTagger:
    """Tags what many tasks of one event loop ask for, in groups that mix their texts.

    Requests take turns: each group takes from the one that has waited longest, and what is left of a large request
    goes to the end of the queue. While nothing waits, a request is tagged at once.

    Args:
        tagger: Used from `tagger.workers` threads.
        limit: Characters that may wait; a request for which there is no room is refused, unless nothing waits.
        observe: Told how many texts and characters each group had.
    """

    def __init__(self, tagger: Tagger, limit: int, observe: Callable[[int, int], None] = lambda *_: None) -> None:
        self.tagger, self.limit, self.observe = tagger, limit, observe
        self.waiting = 0  # characters, of what is being tagged too
        self._queue: deque[_Request] = deque()
        self._free = tagger.workers
        self._room = asyncio.Event()
        self._pool = ThreadPoolExecutor(tagger.workers, thread_name_prefix="tagger")

    async def tag(self, texts: Sequence[str], patient: bool = False) -> list[list[Entity]]:
        """Return the entities of each text; a call that is cancelled is not tagged further.

        Args:
            texts: Any number.
            patient: Wait for room instead of being refused.

        Raises:
            BusyError: If too much waits already.
        """
        size = _size(texts)
        while self.waiting and self.waiting + size > self.limit:
            if not patient:
                raise BusyError
            self._room.clear()
            await self._room.wait()
        if not texts:
            return []
        loop = asyncio.get_running_loop()
        request = _Request(texts, loop.create_future(), [[]] * len(texts), missing=len(texts))
        self.waiting += size
        self._queue.append(request)
        loop.call_soon(self._start)  # not at once: what else arrives in this turn of the loop comes along
        return await request.answer

    def close(self) -> None:
        """End the threads; what they are tagging is finished."""
        self._pool.shutdown()

    def _start(self) -> None:
        """Give every free thread a group, if there is one."""
        while self._free and (group := self._next()):
            texts = [text for request, start, stop in group for text in request.texts[start:stop]]
            self._free -= 1
            work = asyncio.get_running_loop().run_in_executor(self._pool, self.tagger.batch, texts)
            work.add_done_callback(lambda done, group=group: self._finish(group, done))  # type: ignore[misc]

    def _next(self) -> list[_Slice]:
        group: list[_Slice] = []
        size = 0
        while self._queue and size < _GROUP_CHARACTERS:
            request = self._queue.popleft()
            start = request.taken
            if request.answer.done():  # its client has gone
                self._release(_size(request.texts[start:]))
                continue
            while request.taken < len(request.texts) and size < _GROUP_CHARACTERS:
                size += _size(request.texts[request.taken : request.taken + 1])
                request.taken += 1
            group.append((request, start, request.taken))
            if request.taken < len(request.texts):
                self._queue.append(request)
        return group

    def _finish(self, group: list[_Slice], done: asyncio.Future[list[list[Entity]]]) -> None:
        self._free += 1
        error = done.exception()
        found = iter([] if error else done.result())
        characters = 0
        for request, start, stop in group:
            characters += _size(request.texts[start:stop])
            for place in range(start, stop):
                request.found[place] = next(found, [])
            request.missing -= stop - start
            if request.answer.done():
                continue
            if error:
                request.answer.set_exception(error)
            elif not request.missing:
                request.answer.set_result(request.found)
        self._release(characters)
        self.observe(sum(stop - start for _, start, stop in group), characters)
        self._start()

    def _release(self, characters: int) -> None:
        self.waiting -= characters
        self._room.set()


def _size(texts: Sequence[str]) -> int:
    """Return how many characters texts count for; an empty one counts too."""
    return sum(map(len, texts)) + len(texts)
