"""What the JSON formats share: a record for each document, one a line or all in one array, read one by one."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tagger.documents import Document, Notes, Span
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source

Reader = Callable[[Source, Notes], Iterator[Document]]

Record = dict[str, Any]

_LARGEST = 1 << 26  # characters of a record in an array

_ARRAY = re.compile(rb"\s*\[\s*\{")

_SPACE = re.compile(r"\s*")

TEXTS = ("text", "content", "data")  # keys of the text of a record


# ---- records of a file ------------------------------------------------------------------------------------------
def reader(parse: Callable[[Record, str, Notes], Document]) -> Reader:
    """Return the reader of a format from the function that makes a document of one of its records."""

    def read(source: Source, notes: Notes) -> Iterator[Document]:
        for place, record in read_records(source):
            yield parse(record, place, notes)

    return read


def read_records(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of JSON Lines or of an array, with one record in memory at a time.

    Raises:
        CorpusError: At what is not a JSON object.
    """
    if is_array(source.head):
        yield from items(source)
        return
    for number, line in source.lines():
        if line.strip():
            place = f"{source.place}:{number}"
            yield place, parse_object(line, place)


def is_array(head: bytes) -> bool:
    """Return whether a file that starts like this is an array of objects."""
    return _ARRAY.match(head) is not None


def is_json(head: bytes) -> bool:
    """Return whether a file that starts like this is JSON: an object, or an array of objects."""
    return is_array(head) or re.match(rb'\s*\{\s*["}]', head) is not None


def parse_object(line: str, place: str) -> Record:
    """Return the JSON object in a line.

    Raises:
        CorpusError: If the line is anything else.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, "a JSON object", f"{line.strip()!r} ({error})", SEE_FORMATS) from error
    if not isinstance(value, dict):
        raise CorpusError(place, "a JSON object", repr(line.strip()), SEE_FORMATS)
    return value


def items(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of an array, each as soon as its last character has been read."""
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
            place = f"{source.place}:{line + buffer.count(chr(10), at, start)} (item {number + 1})"
            try:
                record, end = decode(buffer, start)
            except (ValueError, RecursionError) as error:
                if block and len(buffer) - start < _LARGEST:
                    break  # it may continue in the next block
                raise CorpusError(
                    place, "a JSON object", f"{buffer[start : start + 30]!r} ({error})", SEE_FORMATS
                ) from error
            if not isinstance(record, dict):
                raise CorpusError(place, "a JSON object", repr(record), SEE_FORMATS)
            yield place, record
            line, at, signs, number = line + buffer.count("\n", at, end), end, ",]", number + 1
        buffer, need = buffer[at:], 2 * (len(buffer) - at)
    if signs:
        raise CorpusError(
            f"{source.place}:{line}", "a JSON array that ends in ]", "the end of the file", "copy it again"
        )


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def texts(source: Source) -> Iterator[str]:
    """Yield the text of each record of any JSON format, annotations unread; an empty line is an empty text."""
    if is_array(source.head):
        for place, record in items(source):
            yield record_text(record, place)
        return
    for number, line in source.lines():
        place = f"{source.place}:{number}"
        yield record_text(parse_object(line, place), place) if line.strip() else ""


def record_text(record: Record, place: str) -> str:
    """Return the text of a record of any JSON format."""
    if isinstance(record.get("data"), dict):
        return task_text(record, place)
    return string(record, next((key for key in TEXTS if key in record), "text"), place)


def task_text(record: Record, place: str) -> str:
    """Return the text of a Label Studio task."""
    data = record.get("data")
    strings = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    if isinstance(data, dict) and isinstance(data.get("text"), str):
        return str(data["text"])
    if len(strings) != 1:
        shown = json.dumps(data, ensure_ascii=False)
        raise CorpusError(place, 'a task whose "data" has a "text", or one string', shown, SEE_FORMATS)
    return strings[0]


# ---- parts of a record ------------------------------------------------------------------------------------------
def string(record: Record, key: str, place: str) -> str:
    """Return the value of a key, or raise `CorpusError` if it is not a string."""
    text = record.get(key)
    if not isinstance(text, str):
        raise CorpusError(place, f'"{key}" with a string', json.dumps(record, ensure_ascii=False), SEE_FORMATS)
    return text


def listed(value: Any, key: str, place: str) -> list[Any]:
    """Return the value of a key, or raise `CorpusError` if it is not a list."""
    if not isinstance(value, list):
        raise CorpusError(place, f'"{key}" with a list', repr(value), SEE_FORMATS)
    return value


def first_entity(record: Record) -> Any:
    """Return the first item of a record's "entities"; None if there is none."""
    entities = record.get("entities")
    return entities[0] if isinstance(entities, list) and entities else None


def note_further(record: Record, known: Iterable[str], notes: Notes) -> None:
    """Note the keys of a record that a `Document` has no place for."""
    if further := len(record.keys() - set(known)):
        notes["left out: further keys of records"] += further


def valid_span(start: Any, end: Any, label: Any, text: str) -> Span | None:
    """Return the span if its offsets are in the text and its label is not blank, else None."""
    whole = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
    return Span(start, end, label) if whole and isinstance(label, str) and label.strip() else None


_encode = json.JSONEncoder(ensure_ascii=False).encode


def dumps(value: Any) -> str:
    """Return JSON on one line by any definition of a line; lone surrogates are escaped."""
    line = _encode(value)
    for end in "\x85\u2028\u2029":  # line ends for `str.splitlines` and others
        line = line.replace(end, f"\\u{ord(end):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return line


def given_score(value: Any) -> float:
    """Return `value` if it is a probability, else -1."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else -1


def given_scores(scores: list[float], notes: Notes) -> list[float]:
    """Return the scores if no entity lacks one (-1); else none, noting those that are lost."""
    if all(score >= 0 for score in scores):
        return scores
    if known := sum(score >= 0 for score in scores):
        notes["lost: scores"] += known
    return []


def annotated_span(start: Any, end: Any, label: Any, text: str, entity: Any, place: str, notes: Notes) -> Span:
    """Return the span of an annotation tool's entity; white space in its label is replaced and noted."""
    span = valid_span(start, end, label, text)
    if span is None:
        expected = f"an entity with 0 <= start < end <= {len(text)} and a label"
        raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), SEE_FORMATS)
    if re.search(r"\s", span.label):
        notes["repaired: labels with white space, written with _"] += 1
        span = span._replace(label="_".join(span.label.split()))
    return span
