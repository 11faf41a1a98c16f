"""How files that the user names are to be read: their encoding, the column of their text. And encodings told apart."""

import codecs
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tagger.errors import ConfigError, CorpusError

_BLOCK = 1 << 16

_PASSED_ON = re.compile("[\ud800-\udfff]")

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip

# Names under which files of GB18030 go, as browsers read them too.
_GB18030 = {"gb2312", "gbk", "cp936", "gb18030"}


@dataclass(frozen=True)
class Reading:
    """How a file is to be read.

    Args:
        encoding: Its encoding; if empty, UTF-8, or what a byte order mark says.
        column: Column of a table, or key of a record, that holds the text; "text" if empty.
        lenient: Whether bytes that the encoding does not have are passed on, as bytes that are not UTF-8.
    """

    encoding: str = ""
    column: str = ""
    lenient: bool = False


_given: dict[str, Reading] = {}


@contextmanager
def read_as(paths: Iterable[Path | str], encoding: str = "", column: str = "", lenient: bool = False) -> Iterator[None]:
    """Read these files, and those in these folders, as told while the block runs; other files are UTF-8.

    Raises:
        ConfigError: If there is no such encoding.
    """
    if encoding:
        encoding = _checked(encoding)
    before = dict(_given)
    _given.update((os.path.abspath(path), Reading(encoding, column, lenient)) for path in paths)
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


def of(path: Path | str) -> Reading:
    """Return how a file is to be read."""
    if not _given:
        return Reading()
    whole = Path(os.path.abspath(path))
    return next((_given[str(one)] for one in (whole, *whole.parents) if str(one) in _given), Reading())


def _checked(name: str) -> str:
    """Return the name of an encoding as Python knows it."""
    try:
        codecs.getincrementaldecoder(name)
        "a".encode(name).decode(name)
        known = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise ConfigError(f"--encoding {name}: is no encoding; such as utf-8, gb18030, big5, utf-16") from error
    return "gb18030" if known in _GB18030 else known


def by_mark(start: bytes) -> str:
    """Return the encoding that a byte order mark says, "" for UTF-8 and for none."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), "")


class Recoded(io.RawIOBase):
    """A stream of bytes in some encoding, as UTF-8.

    Args:
        raw: In `encoding`.
        encoding: Any that Python knows.
        place: Of the file, for messages.
        lenient: As in `Reading`.
    """

    def __init__(self, raw: IO[bytes] | io.RawIOBase, encoding: str, place: str, lenient: bool = False) -> None:
        self._raw, self._encoding, self._place = raw, encoding, place
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if lenient else "strict")
        self._waiting = memoryview(b"")
        self._line, self._ended = 1, False

    def readable(self) -> bool:
        """See `io.RawIOBase.readable`."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase.readinto`."""
        room = memoryview(buffer)
        while not self._waiting and not self._ended:
            block = self._raw.read(_BLOCK) or b""
            self._ended = not block
            try:
                text = self._decoder.decode(block, final=self._ended)
            except UnicodeError as error:
                at = getattr(error, "start", 0)
                received = f"bytes {getattr(error, 'object', block)[at : at + 8]!r} after line {self._line}"
                raise CorpusError(self._place, self._encoding, received, "give its own --encoding") from error
            self._line += text.count("\n")
            self._waiting = memoryview(text.encode("utf-8", "surrogatepass"))
        data = self._waiting[: len(room)]
        self._waiting = self._waiting[len(data) :]
        room[: len(data)] = data
        return len(data)


def replaced(line: bytes) -> str:
    """Return the text of a line with U+FFFD for bytes that are not UTF-8, one for each that `Recoded` passed on."""
    try:
        return _PASSED_ON.sub("\ufffd", line.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace")


def not_utf8(place: Callable[[int], str], error: UnicodeDecodeError) -> CorpusError:
    """Return the error for bytes that are not UTF-8, with the encoding that they seem to have.

    Args:
        place: Returns the place of a line, counted from 0 in what was decoded.
        error: As Python raised it.
    """
    data = bytes(error.object)
    received = f"bytes {data[error.start : error.start + 8]!r}"
    number = data.count(b"\n", 0, error.start)
    guess = _guessed(data)
    remedy = "give its --encoding, or convert it to UTF-8"
    if b"\0" in data:
        remedy = "this is not a text file, or in UTF-16 without a byte order mark: --encoding utf-16-le"
    elif guess:
        shown = guess.upper() if guess == "gb18030" else guess.capitalize()
        remedy = f"it reads as {shown}: give --encoding {guess}, or convert it with iconv -f {guess} -t utf-8"
    return CorpusError(place(number), "UTF-8", received, remedy)


def _guessed(data: bytes) -> str:
    """Return "gb18030" or "big5" if nearly all characters are common ones in that encoding, else ""."""
    for name, common in (("gb18030", "gb2312"), ("big5", "big5")):
        for skipped in (0, 1):  # a block may begin within a character
            try:
                text = codecs.getincrementaldecoder(name)().decode(data[skipped:])
            except UnicodeDecodeError:
                continue
            han = [character for character in text if not character.isascii()]
            if len(han) and sum(1 for c in han if c.encode(common, "ignore")) >= 0.8 * len(han):
                return name
    return ""
