"""Texts in groups of bounded size: what is tagged together."""

import contextvars
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future
from typing import Generic, Literal, TypeVar

_CHARACTERS, _ITEMS = 20_000, 1_000  # at which a group is full

SECONDS = 0.2  # that an item of a slow source waits for others

Wait = float | None | Literal["auto"]

Item = TypeVar("Item")

Result = TypeVar("Result")

Group = TypeVar("Group", bound=Sized)


def grouped(items: Iterable[Item], length: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield items (texts, or objects with texts) in groups of bounded size, so that memory is bounded as well.

    Args:
        items: Any iterable; read only as far as needed. If it raises an error, what came before is yielded first.
        length: Returns the number of characters of an item.
    """
    group: list[Item] = []
    size = 0
    try:
        for item in items:
            group.append(item)
            size += length(item)
            if _is_full(group, size):
                yield group
                group, size = [], 0
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def gathered(items: Iterable[Item], length: Callable[[Item], int], wait: float | None) -> Iterator[list[Item]]:
    """Yield items in groups as `grouped` does, but let none of them wait long for others.

    The items are read in a thread of their own, at most one group ahead. A group that is not full is yielded when its
    first item has waited; an empty list is yielded whenever the source has nothing to give, so that the caller can
    hand out what is done. From a source that is fast enough, the groups are those of `grouped`.

    Args:
        items, length: As for `grouped`. A caller that stops early leaves the thread until the next item has come.
        wait: Seconds that an item waits at most; None to read in the thread of the caller, in full groups.
    """
    return grouped(items, length) if wait is None else _Gathering(items, length).groups(wait)


def seconds_to_wait(items: object) -> float | None:
    """Return what "auto" stands for as `wait` of `gathered`: a time for an open pipe, socket or terminal, else None."""
    try:
        mode = os.fstat(items.fileno()).st_mode  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return None if stat.S_ISREG(mode) else SECONDS


class _Gathering(Generic[Item]):
    """The group that a reading thread fills, until it is full or taken."""

    def __init__(self, items: Iterable[Item], length: Callable[[Item], int]) -> None:
        self._items, self._length = items, length
        self._changed = threading.Condition()
        self._group: list[Item] = []
        self._size, self._since = 0, 0.0  # characters of the group; when its first item came
        self._ended = self._abandoned = False
        self._error: BaseException | None = None

    def groups(self, wait: float) -> Iterator[list[Item]]:
        context = contextvars.copy_context()  # what the iterable would see in the thread of the caller
        threading.Thread(target=context.run, args=(self._read,), name="tagger-source", daemon=True).start()
        try:
            while True:
                if not self._wait_for(lambda: bool(self._group) or self._ended, wait):
                    yield []
                    self._wait_for(lambda: bool(self._group) or self._ended)
                self._wait_for(lambda: self._full or self._ended, self._since + wait - time.monotonic())
                with self._changed:
                    group, slow, ended = self._group, not (self._full or self._ended), self._ended
                    self._group, self._size = [], 0
                    self._changed.notify_all()
                if group:
                    yield group
                if slow:
                    yield []
                if ended:
                    break
            if self._error:
                raise self._error
        finally:
            with self._changed:
                self._abandoned = True
                self._changed.notify_all()

    @property
    def _full(self) -> bool:
        return _is_full(self._group, self._size)

    def _wait_for(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _read(self) -> None:
        try:
            for item in self._items:
                size = self._length(item)
                with self._changed:
                    self._changed.wait_for(lambda: self._abandoned or not self._full)
                    if self._abandoned:
                        return
                    self._group.append(item)
                    self._size += size
                    if len(self._group) == 1:
                        self._since = time.monotonic()
                    if len(self._group) == 1 or self._full:
                        self._changed.notify_all()
        except BaseException as error:
            if "thread" in str(error):
                error.add_note(
                    "the texts are read in a thread of their own; wait=None reads them in that of the caller"
                )
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def _is_full(group: list[Item], size: int) -> bool:
    return size >= _CHARACTERS or len(group) >= _ITEMS


def in_order(
    pool: Executor, tag: Callable[..., list[Result]], groups: Iterator[Group], ahead: int, *options: bool
) -> Iterator[tuple[Group, list[Result]]]:
    """Yield groups of texts with their results, in order, as `tag(texts, *options)` returns them in a pool.

    At most `ahead` + 1 groups are read before the first one's results are taken. After an empty group, and before an
    error of the groups, the results of all groups so far are taken.

    Args:
        pool: Where `tag` is called.
        tag: Texts -> results.
        groups: Lists of texts, or objects with such lists as `texts`; their length is that of the group.
        ahead: See above.
        options: Of `tag`.
    """
    waiting: deque[tuple[Group, Future[list[Result]]]] = deque()
    failure = None
    while True:
        try:
            group = next(groups, None)
        except Exception as error:
            group, failure = None, error
        if group:
            waiting.append((group, pool.submit(tag, getattr(group, "texts", group), *options)))
        while len(waiting) > (ahead if group else 0):
            first, future = waiting.popleft()
            yield first, future.result()
        if failure:
            raise failure
        if group is None:
            return


def strings(texts: Iterable[str]) -> Iterator[str]:
    """Return an iterator over texts that raises `TypeError`, with its position, at what is not a string; or at once."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        remedy = "give [text], or call tagger(text)" if isinstance(texts, str) else "give a list, or any iterable"
        raise TypeError(f"texts: expected strings, received {shown(texts)}; {remedy}")
    return _strings(texts)


def _strings(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}]: expected a string, received {shown(text)}; leave it out, or give ''")
        yield text


def shown(value: object) -> str:
    """Return a value and its type, shortened."""
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
