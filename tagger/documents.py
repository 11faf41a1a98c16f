"""Labelled documents, and the files they come from: opened, unzipped, decoded, a piece at a time."""

import codecs
import gzip
import io
import re
import sys
import zlib
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from tagger.errors import CorpusError

CONTEST_LABEL = "CORE"
FORMATS = 'see "Corpus formats" in the README'  # the remedy for most of what is malformed
_HEAD, _BLOCK = 1 << 20, 1 << 16

# How often reading or writing could not keep something ("lost: scores") or mended it ("repaired: ...", "changed: ...").
# "left out: ..." is what no document has a place for: ids, comments, relations.
Notes = Counter[str]


class Span(NamedTuple):
    """Characters `start` to `end` (half-open) are an entity."""

    start: int
    end: int
    label: str


class Entity(NamedTuple):
    """An entity found in a text: `text[start:end] == entity.text`, and how sure the tagger is, 0 to 1."""

    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True)
class Document:
    """A text and its entities.

    Args:
        text: As given, never changed.
        entities: Gold spans in order of start, not overlapping.
        answers: Strings that count as right in the contest, without white space; they may not occur in the text.
        scores: Probability of each entity, where the file tells them of all; else empty.
    """

    text: str
    entities: tuple[Span, ...] = ()
    answers: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


def labelled(text: str, spans: Iterable[Span], answers: Iterable[str] = (), scores: Iterable[float] = ()) -> Document:
    """Return a document whose entities are among its answers; `spans` in order, not overlapping."""
    spans = tuple(spans)
    mentions = (text[span.start : span.end] for span in spans)
    return Document(text, spans, distinct([*answers, *mentions]), tuple(scores))


def distinct(answers: Iterable[str]) -> tuple[str, ...]:
    """Return the answers without white space, each once."""
    return tuple(dict.fromkeys(filter(None, map(squeeze, answers))))


def squeeze(text: str) -> str:
    """Return `text` without white space, the form in which answers are compared: the contest dropped it."""
    return "".join(text.split())


def mark(text: str, answers: Iterable[str]) -> tuple[Span, ...]:
    """Return every occurrence of every answer in `text`, white space inside it allowed.

    Where two occurrences overlap, the longer answer is marked.
    """
    taken: list[Span] = []
    for answer in sorted(distinct(answers), key=lambda a: (-len(a), a)):
        pattern, at = re.compile(r"\s*".join(map(re.escape, answer))), 0
        while match := pattern.search(text, at):
            span = Span(match.start(), match.end(), CONTEST_LABEL)
            free = all(span.end <= other.start or other.end <= span.start for other in taken)
            if free:
                taken.append(span)
            at = match.end() if free else match.start() + 1
    return tuple(sorted(taken))


def apart(spans: Iterable[Span], notes: Notes) -> list[Span]:
    """Return the spans in order; where some overlap, the longest stays (of equals the first), the others are noted."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
        at = bisect(kept, span)
        if (at and kept[at - 1].end > span.start) or (at < len(kept) and kept[at].start < span.end):
            notes["lost: entities that overlap a longer one"] += 1
        else:
            kept.insert(at, span)
    return kept


# ---- files ------------------------------------------------------------------------------------------------------


class Source:
    """An open corpus: the first of its bytes to look at, and all of it to read once, by lines or by blocks.

    Args:
        raw: Its bytes, unzipped. A byte order mark at the start is taken off.
        path: As the user gave it.
    """

    def __init__(self, raw: IO[bytes], path: str | Path) -> None:
        self.path = path
        self.place = "standard input" if str(path) == "-" else str(path)
        self._raw = raw
        self._head: bytes | None = None

    @property
    def head(self) -> bytes:
        """The first million bytes or so."""
        if self._head is None:
            found = bytearray()
            with self._readable(lambda: found.count(b"\n") + 1):
                while len(found) < _HEAD and (block := self._raw.read(_BLOCK)):
                    found += block
            self._head = bytes(found).removeprefix(codecs.BOM_UTF8)
        return self._head

    def peek(self) -> "Source":
        """Return a source of the first bytes alone."""
        return Source(io.BytesIO(self.head), self.path)

    def lines(self) -> Iterator[tuple[int, str]]:
        r"""Yield `(line number, line)`; lines end at `\n` or `\r\n` only, which are taken off.

        Raises:
            CorpusError: If the file is not UTF-8, or a damaged `.gz`.
        """
        number = 0
        with self._readable(lambda: number + 1):
            for number, line in enumerate(io.BufferedReader(_Rejoined(self.head, self._raw), _BLOCK), 1):
                yield number, self._decoded(line.removesuffix(b"\n").removesuffix(b"\r"), number)

    def blocks(self) -> Iterator[str]:
        """Yield the text piece by piece, however long its lines are; errors as in `lines`."""
        number, decoder = 1, codecs.getincrementaldecoder("utf-8")()
        stream = io.BufferedReader(_Rejoined(self.head, self._raw), _BLOCK)
        with self._readable(lambda: number):
            while block := stream.read(_BLOCK):
                try:
                    yield decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise self._not_utf8(error, number) from error
                number += block.count(b"\n")
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise self._not_utf8(error, number) from error

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._not_utf8(error, number) from error

    def _not_utf8(self, error: UnicodeDecodeError, number: int) -> CorpusError:
        found = repr(error.object[error.start : error.start + 8])
        number += error.object.count(b"\n", 0, error.start)
        return CorpusError(f"{self.place}:{number}", "UTF-8", f"bytes {found}", "convert the file to UTF-8")

    @contextmanager
    def _readable(self, line: Callable[[], int]) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorpusError(f"{self.place}:{line()}", "a whole .gz file", str(error), "copy it again") from error


class _Rejoined(io.RawIOBase):
    """What was read of a stream, and then the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)
        data = self._head[: len(room)] or self._rest.read(len(room))
        self._head = self._head[len(data) :]
        room[: len(data)] = data
        return len(data)


@contextmanager
def open_source(path: str | Path) -> Iterator[Source]:
    """Open a file, a `.gz` file, or standard input for `-`.

    Raises:
        CorpusError: If the file is missing or cannot be read.
    """
    try:
        if str(path) == "-":
            yield Source(sys.stdin.buffer, path)
            return
        with open(path, "rb") as raw:
            zipped = raw.peek(2)[:2] == b"\x1f\x8b" if isinstance(raw, io.BufferedReader) else False
            if not zipped:
                yield Source(raw, path)
                return
            with gzip.open(raw) as unzipped:
                yield Source(unzipped, path)  # type: ignore[arg-type]
    except OSError as error:
        reason = error.strerror or str(error)
        raise CorpusError(str(path), "a readable file", reason, "check the path and the file") from error


@contextmanager
def open_text(path: str | Path) -> Iterator[Iterator[tuple[int, str]]]:
    """Yield the `lines` of a `Source`; the errors are those of `open_source` and `lines`."""
    with open_source(path) as source:
        yield source.lines()
