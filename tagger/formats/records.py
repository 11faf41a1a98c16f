"""What the JSON formats share: a record for each document, one a line or all in one array, read one by one.

`formats` gives each record to the format that its entities are in.
"""

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagger.documents import Document, Entity, Notes, Span, distinct, is_label
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source, reading
from tagger.formats import streams

Record = dict[str, Any]

_STRING = rb'"(?:[^"\\\n]|\\.)*"'

# An array of objects, of [text, {...}] pairs, or of strings; nothing at all is an array too.
_ARRAY = re.compile(
    rb"\s*\[\s*(?:\{|\[\s*" + _STRING + rb"\s*,\s*\{|" + _STRING + rb'\s*(?:,\s*"|,?\s*\]\s*\Z|,\s*\Z)|\]\s*\Z)'
)

_PAIR = re.compile(rb"\s*\[\s*" + _STRING + rb"\s*,\s*\{")

_SPREAD = re.compile(rb"\s*\{(?:[^\n]*[{,[:])?[ \t\r]*\n")  # an object that goes on in the next line

TEXTS = ("text", "content", "data")


@dataclass(frozen=True)
class Unread:
    """What stands where a record was expected.

    Args:
        error: Why it is none.
        raw: What stands there, as far as it is text.
    """

    error: CorpusError
    raw: str


# ---- records of a file ------------------------------------------------------------------------------------------
def read_records(source: Source, blanks: bool = False) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of JSON Lines, of an array, or of objects over several lines, one at a time.

    A pair [text, {...}] is a record with that text, a string in an array is a record of a text alone. The column that
    `reading` has for the file is the record's "text".

    Args:
        source: An open file.
        blanks: Whether a blank line of JSON Lines is a record, {"text": ""}.

    Raises:
        CorpusError: At what is not a JSON object.
    """
    for place, record in read_on(source, blanks):
        if isinstance(record, Unread):
            raise record.error
        yield place, record


def read_on(source: Source, blanks: bool = True) -> Iterator[tuple[str, Record | Unread]]:
    """Yield what `read_records` does and, in place of an error after which one can read on, that error.

    Raises:
        CorpusError: At other errors.
    """
    column = reading.of(source.path).column
    for place, value in _values(source, blanks):
        try:
            record = value if isinstance(value, Unread) else _with_column(_as_record(value, place), column, place)
        except CorpusError as error:
            yield place, Unread(error, json.dumps(value, ensure_ascii=False))
        else:
            yield (place if isinstance(record, Unread) else named(place, record)), record


def _with_column(record: Record, column: str, place: str) -> Record:
    if not column or column == "text":
        return record
    if column not in record:
        raise CorpusError(place, f'the key "{column}"', ", ".join(record), "give --column another name")
    further = {key: record[key] for key in record if key not in ("text", column)}
    return {"text": record[column], **_other_text(record), **further}


def _other_text(record: Mapping[str, Any]) -> Record:
    """Return what stands under "text" where another key holds the text, under a key that is free."""
    return {free_key("text_", record): record["text"]} if "text" in record else {}


def free_key(key: str, *taken: Container[str]) -> str:
    """Return a key that none of several has, with as many _ behind it as it takes."""
    while any(key in keys for keys in taken):
        key += "_"
    return key


def _values(source: Source, blanks: bool) -> Iterator[tuple[str, Any]]:
    if not are_lines(source):
        yield from streams.items(source) if is_array(source.head) else streams.objects(source)
    else:
        for number, line in source.raw_lines():
            place = f"{source.place}:{number}"
            try:
                text = source.decoded(line, number)
                if text.strip():
                    yield place, _parsed(text, place)
                elif blanks:
                    yield place, {"text": ""}
            except CorpusError as error:
                yield place, Unread(error, line.decode("utf-8", "backslashreplace"))


def named(place: str, record: Record) -> str:
    """Return the place of a record with its id, if it has one."""
    number = record.get("id")
    if type(number) not in (int, str) or not str(number).isprintable() or len(str(number)) > 40:
        return place
    return f"{place[:-1]}, id {number})" if place.endswith(")") else f"{place} (id {number})"


def are_lines(source: Source) -> bool:
    """Return whether the records of a JSON file are lines: it is neither an array nor objects over several lines."""
    return source.part is not None or not (is_array(source.head) or is_spread(source.head))


def is_array(head: bytes) -> bool:
    """Return whether a file that starts like this is an array of objects, pairs, or strings."""
    return _ARRAY.match(head) is not None


def is_spread(head: bytes) -> bool:
    """Return whether a file that starts like this is objects over several lines each."""
    return _SPREAD.match(head) is not None


def is_json(head: bytes) -> bool:
    """Return whether a file that starts like this is JSON: objects or pairs, or an array."""
    return is_array(head) or _PAIR.match(head) is not None or re.match(rb'\s*\{\s*["}]', head) is not None


def parse_object(line: str, place: str) -> Record:
    """Return the JSON object in a line.

    Raises:
        CorpusError: If the line is anything else.
    """
    return _as_record(_parsed(line, place), place)


def _parsed(line: str, place: str) -> Any:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, "a JSON object", f"{line.strip()!r} ({error})", SEE_FORMATS) from error
    if isinstance(value, str):
        raise CorpusError(place, "a JSON object", repr(line.strip()), SEE_FORMATS)
    return value


def _as_record(value: Any, place: str) -> Record:
    """Return a JSON object as it is, a pair [text, {...}] or a string as a record."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
        return {"text": value[0], **{key: value[1][key] for key in value[1] if key != "text"}}
    raise CorpusError(place, "a JSON object", json.dumps(value, ensure_ascii=False), SEE_FORMATS)


def record_text(record: Record, place: str) -> str:
    """Return the text of a record of any JSON format that has one."""
    if is_task(record):
        return task_text(record, place)
    return string(record, next((key for key in TEXTS if key in record), "text"), place)


def is_task(record: Record) -> bool:
    """Return whether a record is a task of Label Studio, and not one with a text of its own beside further data."""
    return isinstance(record.get("data"), dict) and not isinstance(record.get("text"), str)


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
        inner = next((key for key, value in record.items() if isinstance(value, list) and _are_objects(value)), "")
        remedy = f'if these are the records under "{inner}", give that list alone' if inner else SEE_FORMATS
        shown = json.dumps(record, ensure_ascii=False, default=str)
        raise CorpusError(place, f'"{key}" with a string', shown, remedy)
    return text


def _are_objects(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(item, dict) and ("text" in item or "data" in item) for item in value)


def listed(value: Any, key: str, place: str) -> list[Any]:
    """Return the value of a key, or raise `CorpusError` if it is not a list."""
    if not isinstance(value, list):
        raise CorpusError(place, f'"{key}" with a list', repr(value), SEE_FORMATS)
    return value


def first_entity(record: Record) -> Any:
    """Return the first item of a record's "entities"; None if there is none."""
    entities = record.get("entities")
    return entities[0] if isinstance(entities, list) and entities else None


def further(record: Record, known: Iterable[str]) -> Record:
    """Return what a record holds under other keys than these."""
    known = set(known)
    return {key: value for key, value in record.items() if key not in known}


def with_further(record: Record, document: Document, notes: Notes) -> Record:
    """Return a record to write with what else the document's own record held; keys of the format come first."""
    for key, value in document.extra.items():
        if key in record:
            notes["lost: further keys that the format itself uses"] += 1
        else:
            record[key] = value
    return record


# Keys under which lists of objects with start and end are no entities, and may stand beside none.
_NO_ENTITIES = {"gold", "predicted", "tokens", "sents", "sentences", "words", "relations"}

_OFFSETS = (("start", "end"), ("begin", "end"), ("start_offset", "end_offset"), ("start_char", "end_char"),
            ("startOffset", "endOffset"), ("start_idx", "end_idx"), ("start_index", "end_index"))  # fmt: skip


def refuse_annotated(extra: Mapping[str, Any], place: str) -> None:
    """Raise `CorpusError` if what is not known of a record without entities holds entities of an unknown form."""
    for key, value in extra.items():
        if key not in _NO_ENTITIES and _is_annotated(value, 3):
            expected = "entities under a key of a known format"
            received = f'"{key}": {json.dumps(value, ensure_ascii=False, default=str)}'
            raise CorpusError(place, expected, received, f'rename or remove "{key}", {SEE_FORMATS}')


def _is_annotated(value: Any, depth: int) -> bool:
    """Return whether a value holds an object with a start and an end, or [start, end, label]."""
    if isinstance(value, dict):
        offsets = any(type(value.get(start)) is int and type(value.get(end)) is int for start, end in _OFFSETS)
        return offsets or (depth > 0 and any(_is_annotated(inner, depth - 1) for inner in value.values()))
    if isinstance(value, list):
        is_triple = len(value) == 3 and [type(item) for item in value] == [int, int, str]
        return is_triple or (depth > 0 and any(_is_annotated(item, depth - 1) for item in value[:20]))
    return False


def valid_span(start: Any, end: Any, label: Any, text: str) -> Span | None:
    """Return the span if its offsets are in the text and its label is printable and not blank, else None."""
    whole = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
    return Span(start, end, label) if whole and isinstance(label, str) and is_label("_".join(label.split())) else None


def is_deep(value: Any, depth: int = 100) -> bool:
    """Return whether lists and objects are nested deeper than that: what was read might not be written again."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth < 0 or any(is_deep(one, depth - 1) for one in inner if isinstance(one, dict | list))


_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode  # a table may hold dates


def dumps(value: Any) -> str:
    """Return JSON on one line by any definition of a line; lone surrogates are escaped."""
    line = _encode(value)
    for end in "\x85\u2028\u2029":  # line ends for `str.splitlines` and others
        line = line.replace(end, f"\\u{ord(end):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, default=str)
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
        if isinstance(label, str) and label and not "".join(label.split()).isprintable():
            expected += " of printable characters"
        raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), SEE_FORMATS)
    if re.search(r"\s", span.label):
        notes["repaired: labels with white space, written with _"] += 1
        span = span._replace(label="_".join(span.label.split()))
    return span


SURROGATE = re.compile("[\ud800-\udfff]")  # which some formats cannot hold

# Columns of a table that hold JSON where they begin like it, and nothing where they are blank.
_CELLS = ("entities", "core_entity", "unlabelled", "label", "labels", "spans", "ents", "annotations", "tokens",
          "ner_tags", "tags")  # fmt: skip


def from_cells(row: Mapping[str, Any], text: str, place: str) -> Record:
    """Return the record of a row of a table, whose column `text` holds the text; nothing there is an empty text."""
    record: Record = {"text": "" if row[text] is None else row[text], **(_other_text(row) if text != "text" else {})}
    for key, value in row.items():
        if key in (text, "text") or (key in _CELLS and (value is None or value == "")):
            continue
        if key in _CELLS and isinstance(value, str) and value[0] in "[{":
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise CorpusError(place, f'JSON in the column "{key}"', repr(value), SEE_FORMATS) from error
        record[key] = value
    return record


# ---- records to write --------------------------------------------------------------------------------------------
def native_record(
    text: str, entities: Iterable[Entity | Span], answers: Sequence[str], unlabelled: Sequence[tuple[int, int]]
) -> Record:
    """Return the record of the native format; see `native.to_native`."""
    record: Record = {"text": text, "entities": [entity._asdict() for entity in entities]}
    if answers:
        record["core_entity"] = answers
    if unlabelled:
        record["unlabelled"] = unlabelled
    return record


def native_records(documents: Iterable[Document], notes: Notes) -> Iterator[Record]:
    """Yield the native record of each document, with what else its own record held."""
    for document in documents:
        text, entities = document.text, document.entities
        answers = document.answers
        if answers == distinct(text[start:end] for start, end, _ in entities):  # as a reader makes them of the entities
            answers = ()
        with_scores: Iterable[Entity | Span] = entities
        if document.scores:
            pairs = zip(entities, document.scores, strict=True)
            with_scores = [Entity(*span, text[span.start : span.end], score) for span, score in pairs]
        yield with_further(native_record(text, with_scores, answers, document.unlabelled), document, notes)
