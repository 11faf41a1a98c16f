"""JSON values of a file that is no JSON Lines, read one by one: of an array, or one after the other."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source

_LARGEST = 1 << 26  # characters of a value

_SPACE = re.compile(r"\s*")


def items(source: Source) -> Iterator[tuple[str, Any]]:
    """Yield (place, item) of an array, each as soon as its last character has been read."""
    decode, buffer, line, number, signs, need = json.JSONDecoder().raw_decode, "", 1, 0, "[", 0
    for block in itertools.chain(source.blocks(), [""]):
        buffer += block
        if block and len(buffer) < need:
            continue
        at = 0  # before the bracket or comma that precedes the next record
        while True:
            start = _skip(buffer, at)
            sign, sign_line = buffer[start : start + 1], line + buffer.count("\n", at, start)
            if sign not in signs:
                expected = f"{' or '.join(signs) or 'nothing more'} in a JSON array"
                raise CorpusError(
                    f"{source.place}:{sign_line}", expected, repr(buffer[start : start + 30]), SEE_FORMATS
                )
            if sign == "]":
                line, at, signs = sign_line, start + 1, ""
                continue
            start = _skip(buffer, start + 1)
            if start >= len(buffer):
                break
            if sign == "[" and buffer[start] == "]":
                line, at, signs = line + buffer.count("\n", at, start), start, "]"
                continue
            place = f"{source.place}:{line + buffer.count(chr(10), at, start)} (item {number + 1})"
            try:
                record, end = decode(buffer, start)
            except (ValueError, RecursionError) as error:
                if block and len(buffer) - start < _LARGEST:
                    break  # it may continue in the next block
                raise _no_object(place, buffer, start, error) from error
            yield place, record
            line, at, signs, number = line + buffer.count("\n", at, end), end, ",]", number + 1
        buffer, need = buffer[at:], 2 * (len(buffer) - at)
    if signs:
        raise CorpusError(
            f"{source.place}:{line}", "a JSON array that ends in ]", "the end of the file", "copy it again"
        )


def objects(source: Source) -> Iterator[tuple[str, Any]]:
    """Yield (place, object) of objects one after the other, each as soon as its last character has been read."""
    decode, buffer, line, need = json.JSONDecoder().raw_decode, "", 1, 0
    for block in itertools.chain(source.blocks(), [""]):
        buffer += block
        if block and len(buffer) < need:
            continue
        at = 0
        while (start := _skip(buffer, at)) < len(buffer):
            place = f"{source.place}:{line + buffer.count(chr(10), at, start)}"
            try:
                record, end = decode(buffer, start)
            except (ValueError, RecursionError) as error:
                if block and len(buffer) - start < _LARGEST:
                    break
                raise _no_object(place, buffer, start, error) from error
            yield place, record
            line, at = line + buffer.count("\n", at, end), end
        buffer, need = buffer[at:], 2 * (len(buffer) - at)


def _no_object(place: str, buffer: str, start: int, error: Exception) -> CorpusError:
    return CorpusError(place, "a JSON object", f"{buffer[start : start + 30]!r} ({error})", SEE_FORMATS)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]
