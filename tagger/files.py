"""Files: opened, unzipped, decoded a piece at a time; hashed; written whole or not at all."""

import codecs
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tagger.errors import BundleError, CorpusError

_HEAD, _BLOCK = 1 << 20, 1 << 16


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


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is there whole, or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    part.replace(path)


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block ends well, and vanishes if it does not.

    Raises:
        BundleError: If `path` exists and is not to be replaced, or the disk refuses.
    """
    path = Path(path)
    refuse_existing(path, replace)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
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
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path, replace: bool) -> None:
    """Raise `BundleError` if `path` exists and is not to be replaced."""
    if path.exists() and not replace:
        raise BundleError(f"{path}: exists already; choose another name, or add --force to replace it")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_output(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes; a file, zipped if its name ends in .gz, appears only when it is whole.

    A device or a pipe is written to as it is.
    """
    if path is None:
        stdout = sys.stdout.buffer
        yield lambda line: stdout.write(line.encode("utf-8", "replace"))
        stdout.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
        return
    part = path.with_name(path.name + ".part")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(part, "wt", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
