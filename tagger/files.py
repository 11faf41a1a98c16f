"""Files: opened, unzipped and decoded piece by piece; hashed; written whole or not at all."""

import codecs
import errno
import gzip
import hashlib
import io
import json
import os
import select
import shutil
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tagger.errors import CorpusError, OutputError

_HEAD, _BLOCK = 1 << 20, 1 << 16

_PAUSE = 0.2  # seconds without anything, after which the head of a stream is what has come so far


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
                    if b"\n" in block and getattr(self._raw, "pauses", bool)():
                        break
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
        data = self._head[: len(room)] or self._rest.read(len(room)) or b""
        self._head = self._head[len(data) :]
        room[: len(data)] = data
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
def open_source(path: str | Path) -> Iterator[Source]:
    """Open a file, a `.gz` file, or standard input for `-`.

    Raises:
        CorpusError: If the file is missing or cannot be read.
    """
    try:
        if str(path) == "-":
            yield Source(arriving(sys.stdin.buffer), path)  # type: ignore[arg-type]
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


# ---- writing ----------------------------------------------------------------------------------------------------
def refuse_existing(path: Path, replace: bool) -> None:
    """Raise `OutputError` if `path` exists and must not be replaced."""
    if path.exists() and not replace:
        raise OutputError(f"{path}: exists already; choose another name, or add --force to replace it")


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file that becomes `path` if the block succeeds and is deleted if it fails.

    Raises:
        OutputError: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with _writable(path):
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block succeeds and is deleted if it fails.

    Raises:
        OutputError: If `path` exists and must not be replaced, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path, replace)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    with _writable(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                old = path.with_name(f".{path.name}.{os.getpid()}.old")
                path.rename(old)
                temporary.rename(path)
                shutil.rmtree(old)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def open_output(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text to a file, or to standard output for None.

    The file appears only when it is complete, gzipped if its name ends in `.gz`; a device or a pipe is written to
    directly. What UTF-8 cannot encode becomes `?`.

    Raises:
        OutputError: If the file cannot be written.
    """
    if path is None:
        stdout = sys.stdout.buffer
        yield lambda text: stdout.write(text.encode("utf-8", "replace"))
        stdout.flush()
    elif path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
    else:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with atomic_file(path) as part, opened(part, "wt", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a JSON file, completely or not at all; on one line unless `indent` is given.

    Raises:
        OutputError: If it cannot be written.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    with atomic_file(path) as part:
        part.write_text(f"{text}\n" if indent else text, "utf-8")


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, completely or not at all; when this returns, it is on disk.

    A last line that has no line end gets one first.

    Raises:
        OSError: If it could not be written; the file is then as before.
    """
    content = (line + "\n").encode("utf-8")
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            content = content if file.read(1) == b"\n" else b"\n" + content
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
