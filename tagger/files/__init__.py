"""Files that are read: opened, unzipped and decoded piece by piece; hashed."""

import codecs
import gzip
import hashlib
import io
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tagger.errors import CorpusError
from tagger.files import archives, reading
from tagger.files.remote import open_binary

_HEAD, _BLOCK = 1 << 20, 1 << 16

_PAUSE = 0.2  # seconds without anything, after which the head of a stream is what has come so far


# ---- reading ----------------------------------------------------------------------------------------------------
_LONGEST = 1 << 26  # bytes of a line

CHUNK = 1 << 22  # bytes: texts that begin in different multiples of it are not tagged together

# What is no text, by the bytes that such a file starts with, and what to do.
_BINARY = {
    b"7z\xbc\xaf\x27\x1c": "a .7z archive; unpack it", b"Rar!\x1a\x07": "a .rar archive; unpack it",
    b"\xfd7zXZ\x00": "an .xz file; unpack it", b"BZh91AY&SY": "a .bz2 file; unpack it",
    b"\x28\xb5\x2f\xfd": "a .zst file; unpack it", b"%PDF-": "a PDF; copy its text into a text file",
    b"\xd0\xcf\x11\xe0": "an old Word or Excel document; save it as plain text or CSV",
    b"SQLite format 3\x00": "a database; export it as JSON Lines or CSV",
    b"PAR1": "a Parquet file; give its name, as it cannot be read from a stream or an archive",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of a file: the lines that begin in a range of its bytes, or a range of its row groups.

    Args:
        start, stop: The range.
        before: Lines before it, as far as they are counted: for messages.
    """

    start: int
    stop: int
    before: int = 0


class Source:
    """An open text file: its head can be looked at any number of times, its content read once, by lines or by blocks.

    Args:
        raw: The unzipped bytes, in UTF-8. A byte order mark at the start is dropped. Where the head has line ends of
            old Macs only (`\\r`), they are line ends.
        path: As the user gave it; `-` is standard input.
        member: Name of the file inside an archive.
        tell: Returns how many bytes of the file have been read; 0 for a stream.
        encoding: Of the file, for errors; empty for UTF-8.
        part: What `raw` holds at least, from the first line that begins in it; None for all of the file.
        divisible: Whether the bytes are those of a file, so that its parts can be read on their own.
        pauses: Returns whether nothing comes for a moment; the head then ends there.

    Attributes:
        place: The path as error messages show it.
        name: The path by whose suffixes a format may be known.
        replaced: Errors about bytes that are not UTF-8, in whose place U+FFFD is read; None to raise them.
    """

    def __init__(
        self,
        raw: IO[bytes] | io.RawIOBase,
        path: str | Path,
        member: str = "",
        pauses: Callable[[], bool] = bool,
        tell: Callable[[], int] = lambda: 0,
        encoding: str = "",
        part: Part | None = None,
        divisible: bool = False,
    ) -> None:
        self.path, self._pauses = path, pauses
        self.part, self._divisible = part, divisible
        self._begin = part.start if part else 0  # byte at which the line begins that was read last
        self.name = f"{path}/{member}" if member else str(path)
        self.place = "standard input" if str(path) == "-" else self.name
        self.replaced: list[tuple[CorpusError, bytes]] | None = None
        self.encoding = encoding
        self._raw, self._tell = raw, tell
        self._passed = 0  # bytes of UTF-8
        self._head: bytes | None = b"" if part and part.start else None
        self._mac = False

    @property
    def head(self) -> bytes:
        """The first `_HEAD` bytes or a few more, fewer where the file is shorter; without a byte order mark."""
        if self._head is None:
            head = bytearray()
            with self._readable(lambda: head.count(b"\n") + 1):
                while len(head) < _HEAD and (block := self._raw.read(_BLOCK)):
                    head += block
                    if b"\n" in block and self._pauses():
                        break
            self._head = bytes(head).removeprefix(codecs.BOM_UTF8)
            self._begin = len(head) - len(self._head)
            self._mac = b"\r" in self._head and b"\n" not in self._head
            if self._mac:
                self._head = self._head.replace(b"\r", b"\n")
        return self._head

    @property
    def is_divisible(self) -> bool:
        """Whether a part of it can be read on its own, if its records are lines."""
        self.head  # noqa: B018
        return self._divisible and not self._mac

    @property
    def chunk(self) -> int:
        """The multiple of `CHUNK` in which the line begins that was read last; 0 where there are no parts."""
        return self._begin // CHUNK if self._divisible else 0

    def peek(self) -> "Source":
        """Return a source whose content is the head alone."""
        return Source(io.BytesIO(self.head), self.path)

    def _stream(self) -> io.BufferedReader:
        head = self.head
        return io.BufferedReader(_Rejoined(head, self._raw, self._mac), _BLOCK)

    def lines(self) -> Iterator[tuple[int, str]]:
        r"""Yield `(line number, line)`; lines end at `\n` or `\r\n` only, which are removed.

        Raises:
            CorpusError: If the file is not UTF-8, or a damaged `.gz`, or a line is longer than 64 MiB.
        """
        for number, line in self.raw_lines():
            yield number, self.decoded(line, number)

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(line number, line)` without line ends, not decoded; errors as for `lines`, but for UTF-8."""
        stream = self._stream()
        number = before = self.part.before if self.part else 0
        begin = self._begin
        end = self.part.stop if self.part else sys.maxsize
        with self._readable(lambda: number + 1):
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST), b""), before + 1):
                if begin >= end:
                    return
                self._begin, begin = begin, begin + len(line)
                if len(line) == _LONGEST:
                    expected = f"lines of at most {_LONGEST >> 20} MiB"
                    raise CorpusError(f"{self.place}:{number}", expected, "a longer one", "check the file")
                self._passed += len(line)
                yield number, line.removesuffix(b"\n").removesuffix(b"\r")

    @property
    def position(self) -> int:
        """Bytes of the file that have been used, about; 0 for a stream."""
        return min(self._passed, self._tell())

    def blocks(self) -> Iterator[str]:
        """Yield the text in pieces of bounded size, however long its lines are; errors as for `lines`."""
        strict = self.replaced is None
        number, decoder = 1, codecs.getincrementaldecoder("utf-8")("strict" if strict else "replace")
        stream = self._stream()
        with self._readable(lambda: number):
            while block := stream.read(_BLOCK):
                try:
                    text = decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise self._not_utf8(error, number) from error
                if self.replaced is not None and text.count("\ufffd") > block.count(b"\xef\xbf\xbd"):
                    self._note_replaced(f"{number} to {number + text.count(chr(10))}")
                self._passed += len(block)
                yield text
                number += block.count(b"\n")
            try:
                rest = decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise self._not_utf8(error, number) from error
            if rest:
                self._note_replaced(str(number))
                yield rest

    def _note_replaced(self, lines: str) -> None:
        if self.replaced is not None:
            remedy = "give its --encoding, or convert it to UTF-8"
            self.replaced.append((CorpusError(f"{self.place}:{lines}", "UTF-8", "other bytes", remedy), b""))

    def decoded(self, line: bytes, number: int) -> str:
        """Return the text of a raw line; errors as for `lines`."""
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            if self.replaced is None:
                raise self._not_utf8(error, number) from error
            self.replaced.append((self._not_utf8(error, number), line))
            return reading.replaced(line)

    def _not_utf8(self, error: UnicodeDecodeError, number: int) -> CorpusError:
        """Return the error for bytes that are not UTF-8; `number` is the line at which they begin."""
        if self.encoding:
            remedy = "give its own --encoding"
            return CorpusError(f"{self.place}:{number}", self.encoding, "bytes that it does not have", remedy)
        return reading.not_utf8(lambda line: f"{self.place}:{number + line}", error)

    @contextmanager
    def _readable(self, line: Callable[[], int]) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            kind = ".gz" if self.name == str(self.path) else ".zip"
            raise CorpusError(f"{self.place}:{line()}", f"a whole {kind} file", str(error), "copy it again") from error


def _unreadable(path: str | Path, error: OSError) -> CorpusError:
    return CorpusError(str(path), "a readable file", error.strerror or str(error), "check the path and the file")


class _Rejoined(io.RawIOBase):
    """The bytes that were read from a stream already, then the rest of it; with line ends of old Macs if so told."""

    def __init__(self, head: bytes, rest: IO[bytes] | io.RawIOBase, mac: bool = False) -> None:
        self._head, self._rest, self._mac = memoryview(head), rest, mac

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer)
        data = self._head[: len(room)] or self._rest.read(len(room)) or b""
        self._head = self._head[len(data) :]
        room[: len(data)] = bytes(data).replace(b"\r", b"\n") if self._mac else data
        return len(data)


class _Arriving(io.RawIOBase):
    """A pipe, socket or terminal, of which each reading returns what has come, however little."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def pauses(self) -> bool:
        """Return whether nothing comes for a moment; at the end there is something: the end."""
        return not select.select([self._descriptor], [], [], _PAUSE)[0]


def arriving(stream: IO[bytes]) -> IO[bytes] | _Arriving:
    """Return standard input as it is to be read: as it arrives, unless it is a file."""
    try:
        descriptor = stream.fileno()
        return stream if stat.S_ISREG(os.fstat(descriptor).st_mode) else _Arriving(descriptor)
    except (AttributeError, OSError, ValueError):  # replaced by something in memory
        return stream


@contextmanager
def open_source(path: str | Path, part: Part | None = None) -> Iterator[Source]:
    """Open a file, a `.gz` file, the one file in a `.zip`, or standard input for `-`.

    It is UTF-8, or UTF-16 with a byte order mark, or in the encoding that `reading` has for it.

    Args:
        path: A path, or the URI of a remote file.
        part: What is read of a file that is divisible; None for all.

    Raises:
        CorpusError: If the file is missing or cannot be read.
    """
    try:
        if str(path) == "-":
            if sys.stdin is None:
                raise CorpusError("standard input", "an open stream", "a closed one", "give a file")
            yield _source(arriving(sys.stdin.buffer), path)
            return
        with open_binary(path) as raw:
            if part:
                yield _part(raw, path, part)
                return
            tell = raw.tell if raw.seekable() else lambda: 0
            start = raw.peek(4)[:4] if isinstance(raw, io.BufferedReader) else b""
            if archives.is_zip(start):
                with archives.only_member(raw, str(path)) as (member, unzipped):
                    yield _source(unzipped, path, member, tell)
            elif start.startswith(b"\x1f\x8b"):
                with gzip.open(raw) as unzipped:
                    yield _source(unzipped, path, "", tell)
            else:
                yield _source(raw, path, "", tell, divisible=True)
    except OSError as error:
        raise _unreadable(path, error) from error


def _part(raw: IO[bytes], path: str | Path, part: Part) -> Source:
    """Return the source of a part of a file: its lines from the first that begins there."""
    begin = part.start
    if begin:
        raw.seek(begin - 1)
        while (piece := raw.readline(_BLOCK)) and not piece.endswith(b"\n"):
            pass
        begin = raw.tell()
    return Source(raw, path, part=Part(begin, part.stop, part.before), divisible=True)


def lines_between(path: str | Path, start: int, stop: int) -> int:
    """Return the number of line ends in a range of bytes of a file, which is at least so long.

    Raises:
        OSError: If it cannot be read.
    """
    count = 0
    with open_binary(path) as raw:
        raw.seek(start)
        while start < stop and (block := raw.read(min(_HEAD, stop - start))):
            count, start = count + block.count(b"\n"), start + len(block)
    return count


def _source(
    raw: Any, path: str | Path, member: str = "", tell: Callable[[], int] = lambda: 0, divisible: bool = False
) -> Source:
    """Return the source of unzipped bytes in any encoding."""
    source = Source(raw, path, member)
    pauses = raw.pauses if isinstance(raw, _Arriving) else bool
    start = b""
    with source._readable(lambda: 1):
        while len(start) < 16 and not (b"\n" in start and pauses()) and (more := raw.read(16 - len(start))):
            start += more
    rest = _Rejoined(start, raw)
    if archives.is_zip(start):
        raise CorpusError(source.place, "a file", "a .zip in a stream or an archive", "give the name of a .zip file")
    for magic, about in _BINARY.items():
        if start.startswith(magic):
            received, _, remedy = about.partition("; ")
            raise CorpusError(source.place, "a corpus or text", received, remedy)
    told = reading.of(path)
    encoding = told.encoding or reading.by_mark(start)
    if encoding and encoding != "utf-8":
        return Source(reading.Recoded(rest, encoding, source.place, told.lenient), path, member, pauses, tell, encoding)
    return Source(rest, path, member, pauses, tell, divisible=divisible)


@contextmanager
def open_text(path: str | Path) -> Iterator[Iterator[tuple[int, str]]]:
    """Open a file as `open_source` does and yield its `lines`; errors as for both."""
    with open_source(path) as source:
        yield source.lines()


def read_text(path: Path) -> str:
    """Return the content of a file as it is, line ends and byte order mark included; encodings as `open_source`.

    Raises:
        CorpusError: If the file is missing, cannot be read, or is not UTF-8.
    """
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise _unreadable(path, error) from error


def decoded(content: bytes, path: Path) -> str:
    """Return the text of a whole file; errors and encodings as for `read_text`."""
    encoding = reading.of(path).encoding or reading.by_mark(content) or "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            received = f"bytes {content[error.start : error.start + 8]!r}"
            raise CorpusError(str(path), encoding, received, "give its own --encoding") from error
        raise reading.not_utf8(lambda line: f"{path}:{line + 1}", error) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
