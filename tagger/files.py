"""Files that are read: opened, unzipped and decoded piece by piece; hashed."""

import codecs
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tagger.errors import CorpusError

_HEAD, _BLOCK = 1 << 20, 1 << 16


# ---- reading ----------------------------------------------------------------------------------------------------
class Source:
    """An open text file: its head can be looked at any number of times, its content read once, by lines or by blocks.

    Args:
        raw: The unzipped bytes. A byte order mark at the start is dropped.
        path: As the user gave it; `-` is standard input.

    Attributes:
        place: The path as error messages show it.
    """

    def __init__(self, raw: IO[bytes], path: str | Path) -> None:
        self.path = path
        self.place = "standard input" if str(path) == "-" else str(path)
        self._raw = raw
        self._head: bytes | None = None

    @property
    def head(self) -> bytes:
        """The first `_HEAD` bytes or a few more, fewer where the file is shorter; without a byte order mark."""
        if self._head is None:
            head = bytearray()
            with self._readable(lambda: head.count(b"\n") + 1):
                while len(head) < _HEAD and (block := self._raw.read(_BLOCK)):
                    head += block
            self._head = bytes(head).removeprefix(codecs.BOM_UTF8)
        return self._head

    def peek(self) -> "Source":
        """Return a source whose content is the head alone."""
        return Source(io.BytesIO(self.head), self.path)

    def lines(self) -> Iterator[tuple[int, str]]:
        r"""Yield `(line number, line)`; lines end at `\n` or `\r\n` only, which are removed.

        Raises:
            CorpusError: If the file is not UTF-8, or a damaged `.gz`.
        """
        number = 0
        with self._readable(lambda: number + 1):
            for number, line in enumerate(io.BufferedReader(_Rejoined(self.head, self._raw), _BLOCK), 1):
                yield number, self._decoded(line.removesuffix(b"\n").removesuffix(b"\r"), number)

    def blocks(self) -> Iterator[str]:
        """Yield the text in pieces of bounded size, however long its lines are; errors as for `lines`."""
        number, decoder = 1, codecs.getincrementaldecoder("utf-8")()
        stream = io.BufferedReader(_Rejoined(self.head, self._raw), _BLOCK)
        with self._readable(lambda: number):
            while block := stream.read(_BLOCK):
                try:
                    yield decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise _not_utf8(self.place, error, number) from error
                number += block.count(b"\n")
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise _not_utf8(self.place, error, number) from error

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(self.place, error, number) from error

    @contextmanager
    def _readable(self, line: Callable[[], int]) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorpusError(f"{self.place}:{line()}", "a whole .gz file", str(error), "copy it again") from error


def _not_utf8(place: str, error: UnicodeDecodeError, number: int) -> CorpusError:
    """Return the error for bytes that are not UTF-8; `number` is the line at which they begin."""
    received = repr(error.object[error.start : error.start + 8])
    number += error.object.count(b"\n", 0, error.start)
    return CorpusError(f"{place}:{number}", "UTF-8", f"bytes {received}", "convert the file to UTF-8")


def _unreadable(path: str | Path, error: OSError) -> CorpusError:
    return CorpusError(str(path), "a readable file", error.strerror or str(error), "check the path and the file")


class _Rejoined(io.RawIOBase):
    """The bytes that were read from a stream already, then the rest of it."""

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
            if sys.stdin is None:
                raise CorpusError("standard input", "an open stream", "a closed one", "give a file")
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
        raise _unreadable(path, error) from error


@contextmanager
def open_text(path: str | Path) -> Iterator[Iterator[tuple[int, str]]]:
    """Open a file as `open_source` does and yield its `lines`; errors as for both."""
    with open_source(path) as source:
        yield source.lines()


def read_text(path: Path) -> str:
    """Return the content of a file as it is, line ends and byte order mark included.

    Raises:
        CorpusError: If the file is missing, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), error, 1) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
