"""Ready-made word vectors: files of word2vec and GloVe, as text or binary, read as far as they are needed.

Which of the forms a file has is seen from its first bytes, whatever its name is:

    word2vec, text      a first line with the numbers of words and of dimensions; then lines of a word and its numbers
    word2vec, binary    the same first line, then each word, a space, and its numbers as little-endian float32
    GloVe               as word2vec's text, without the first line
"""

import codecs
import gzip
import itertools
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tagger.errors import VectorsError, shortened
from tagger.sections import VectorsConfig
from tagger.text import normal
from tagger.vectors import Table, make_table

_HEAD = 1 << 20  # bytes that are looked at to see a file's form

_SAMPLE = 50  # lines among them of which the one with the fewest fields tells a GloVe file's dimensions

_MOST_DIMENSIONS = 10_000

_LARGEST = 1e15  # squares of larger numbers have no place in single precision

_LONGEST_WORD = 4096  # bytes of a word in a binary file; where no space follows by then, something else is wrong

_COUNTS = re.compile(rb"\s*(\d{1,18})[ \t]+(\d{1,18})\s*")

_EXPECTED = "expected word2vec's text or binary format, or GloVe's: a word and its numbers on each line"


class _Row(NamedTuple):
    """A word, its numbers (D,) float32, and its place for an error message, such as `line 7`."""

    word: str
    vector: np.ndarray
    place: str


@dataclass(frozen=True)
class _Form:
    """What the first bytes of a file say: its dimensions, whether it is binary, and the words that it promises."""

    dimensions: int
    binary: bool = False
    words: int | None = None


def load_word2vec(path: Path, config: VectorsConfig, fold: bool = False, simplify: bool = False) -> Table:
    """Return the word table of a file of word2vec or GloVe, `.gz` or not.

    Args:
        path: The file. It is read until `vectors.limit` words are there; files have the most frequent words first.
        config: The `[vectors]` section.
        fold, simplify: As in `[text]`: words are looked up in that form. Of words that become equal, the first counts,
            with its vector and its place in the order of frequency.

    Raises:
        VectorsError: If the file is missing, in neither format, shorter than it promises, or if a number in it is not
            finite.
    """
    vectors: dict[str, np.ndarray] = {}
    try:
        with _opened(path) as file:
            for word, vector, place in _rows(path, file):
                if not np.isfinite(vector).all():
                    received = f"the vector of {shortened(repr(word))} holds nan or inf"
                    raise VectorsError(f"{path}: {place}: {received}; remove that word")
                if np.abs(vector).max() > _LARGEST:
                    received = f"the vector of {shortened(repr(word))} holds a number beyond {_LARGEST:g}"
                    raise VectorsError(f"{path}: {place}: {received}; remove that word")
                vectors.setdefault(normal(word, fold, simplify), vector)
                if len(vectors) == config.limit:
                    break
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VectorsError(f"{path}: cannot be read: {error}") from error
    if not vectors:
        raise VectorsError(f"{path}: contains no word; {_EXPECTED}")
    return make_table("word", list(vectors), np.stack(list(vectors.values())), config)


def _rows(path: Path, file: IO[bytes]) -> Iterator[_Row]:
    """Yield the rows of an open file."""
    head = file.read(_HEAD)
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    form = _form(path, head[mark:])
    file.seek(mark if form.words is None else mark + len(head[mark:].partition(b"\n")[0]) + 1)
    rows = _binary_rows(path, file, form) if form.binary else _text_rows(path, file, form)
    number = 0
    for row in itertools.islice(rows, form.words):
        number += 1
        yield row
    if form.words is not None and number < form.words:
        raise VectorsError(
            f"{path}: expected {form.words:,} words, as its first line says, received {number:,}; copy the file again"
        )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unzipped where it begins as `.gz` does."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if zipped:
            with gzip.open(raw) as unzipped:
                yield unzipped  # type: ignore[misc]
        else:
            yield raw


def _form(path: Path, head: bytes) -> _Form:
    """Return the form of a file that begins with these bytes.

    Raises:
        VectorsError: If it has none that is known.
    """
    first, _, rest = head.partition(b"\n")
    if counts := _COUNTS.fullmatch(first):
        words, dimensions = map(int, counts.groups())
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            given = f"expected 1 to {_MOST_DIMENSIONS:,} dimensions, received {dimensions:,}"
            raise VectorsError(f"{path}: line 1: {given}; its first line must hold the numbers of words and dimensions")
        return _Form(dimensions, not _is_text(rest.partition(b"\n")[0], dimensions), words)
    complete = head if len(head) < _HEAD else head[: head.rfind(b"\n") + 1]
    lines = [line.split() for line in complete.split(b"\n")[:_SAMPLE] if line.strip()]
    dimensions = min(map(len, lines), default=0) - 1
    if dimensions < 2 or not all(_numbers(fields[-dimensions:]) is not None for fields in lines):
        shown = first[:40].decode("utf-8", "replace")
        first_line = "a first line with the number of words and of dimensions, such as 5 4"
        raise VectorsError(f"{path}: line 1: expected {first_line}, or a word and its numbers, received {shown!r}")
    return _Form(dimensions)


def _is_text(line: bytes, dimensions: int) -> bool:
    """Return whether the line after the first is that of a text file, though it may not be in order."""
    fields = line.split()
    if _numbers(fields[-dimensions:]) is not None:
        return True
    try:
        return line.decode("utf-8").replace("\t", " ").rstrip("\r").isprintable()
    except UnicodeDecodeError:
        return False


def _numbers(fields: list[bytes]) -> np.ndarray | None:
    """Return these fields as numbers, (D,) float32; None if one is no number."""
    try:
        with np.errstate(over="ignore"):
            return np.array(fields, np.float64).astype(np.float32)
    except ValueError:
        return None


def _text_rows(path: Path, file: IO[bytes], form: _Form) -> Iterator[_Row]:
    """Yield the rows of a text file; a word may contain spaces."""
    for number in itertools.count(1 if form.words is None else 2):
        if not (line := file.readline(_HEAD)):
            return
        if not line.strip():
            continue
        word, *fields = _split(line, form.dimensions)
        vector = _numbers(fields) if len(fields) == form.dimensions else None
        if vector is None:
            received = line[:40].decode("utf-8", "replace")
            expected = f"expected a word and {form.dimensions} numbers, received {received!r}"
            raise VectorsError(f"{path}: line {number}: {expected}; remove that line, or copy the file again")
        yield _Row(word.decode("utf-8", "replace"), vector, f"line {number}")


def _split(line: bytes, dimensions: int) -> list[bytes]:
    """Return the word and the fields of a line; the word is what stands before the last `dimensions` fields."""
    fields = line.rsplit(None, dimensions)
    return [b"", *fields] if len(fields) == dimensions and line[:1].isspace() else fields


def _binary_rows(path: Path, file: IO[bytes], form: _Form) -> Iterator[_Row]:
    """Yield the rows of a binary file; a line end may stand before a word."""
    for number in itertools.count(1):
        word = _word(file).lstrip(b"\n")
        if not word:
            return
        numbers = file.read(4 * form.dimensions)
        if not word.endswith(b" ") or b"\n" in word or len(numbers) < 4 * form.dimensions:
            expected = f"expected a word, a space and {form.dimensions} numbers of 4 bytes, as the first line says"
            raise VectorsError(f"{path}: word {number}: {expected}, received something else; copy the file again")
        yield _Row(word[:-1].decode("utf-8", "replace"), np.frombuffer(numbers, "<f4"), f"word {number}")


def _word(file: Any) -> bytes:
    """Return the bytes up to and with the next space; what there is where none follows soon."""
    word = b""
    while len(word) < _LONGEST_WORD and (block := file.peek(_LONGEST_WORD)):
        end = block.find(b" ") + 1
        word += file.read(end or len(block))
        if end:
            break
    return word
