"""JSON forms: a record a document, one a line or all in one array, read and written record by record.

Native: `{"text", "entities": [{"start", "end", "label"}]}`; `"unlabelled": [[start, end], ...]` are stretches that
nobody has looked at. Contest (2016): `{"content", "core_entity": [strings]}`.
Here, too, is what reading records takes in any form.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tagger.documents import (
    CONTEST_LABEL,
    FORMATS,
    Document,
    Entity,
    Notes,
    Source,
    Span,
    distinct,
    labelled,
    mark,
    squeeze,
)
from tagger.errors import CorpusError

Reader = Callable[[Source, Notes], Iterator[Document]]
Record = dict[str, Any]

_LARGEST = 1 << 26  # characters of a record in an array
_ARRAY = re.compile(rb"\s*\[\s*\{")
_SPACE = re.compile(r"\s*")


# ---- records of a file ------------------------------------------------------------------------------------------


def reader(parse: Callable[[Record, str, Notes], Document]) -> Reader:
    """Return the reader of a form from what makes a document of a record."""

    def read(source: Source, notes: Notes) -> Iterator[Document]:
        for place, record in records(source):
            yield parse(record, place, notes)

    return read


def records(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of JSON Lines or of an array; memory holds one record.

    Raises:
        CorpusError: At what is not a JSON object.
    """
    if is_array(source.head):
        yield from _items(source)
        return
    for number, line in source.lines():
        if line.strip():
            place = f"{source.place}:{number}"
            yield place, parse_object(line, place)


def is_array(head: bytes) -> bool:
    """Return whether a file that starts like this is an array of objects."""
    return _ARRAY.match(head) is not None


def parse_object(line: str, place: str) -> Record:
    """Return the JSON object in a line.

    Raises:
        CorpusError: If there is none.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, "a JSON object", f"{line.strip()!r} ({error})", FORMATS) from error
    if not isinstance(value, dict):
        raise CorpusError(place, "a JSON object", repr(line.strip()), FORMATS)
    return value


def _items(source: Source) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of an array, each as soon as it is whole."""
    decode, buffer, line, number, signs, need = json.JSONDecoder().raw_decode, "", 1, 0, "[", 0
    for block in itertools.chain(source.blocks(), [""]):
        buffer += block
        if block and len(buffer) < need:
            continue
        at = 0  # before the sign that stands before the next record
        while True:
            start = _skip(buffer, at)
            sign, sign_line = buffer[start : start + 1], line + buffer.count("\n", at, start)
            if sign not in signs:
                expected = f"{' or '.join(signs) or 'nothing more'} in a JSON array"
                raise CorpusError(f"{source.place}:{sign_line}", expected, repr(buffer[start : start + 30]), FORMATS)
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
                    break  # it may go on in the next block
                raise CorpusError(
                    place, "a JSON object", f"{buffer[start : start + 30]!r} ({error})", FORMATS
                ) from error
            if not isinstance(record, dict):
                raise CorpusError(place, "a JSON object", repr(record), FORMATS)
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
    """Yield the text of each record, whatever else is in it; an empty line is an empty text."""
    if is_array(source.head):
        for place, record in _items(source):
            yield _text(record, place)
        return
    for number, line in source.lines():
        place = f"{source.place}:{number}"
        yield _text(parse_object(line, place), place) if line.strip() else ""


def _text(record: Record, place: str) -> str:
    if isinstance(record.get("data"), dict):
        return task_text(record, place)
    return string(record, next((key for key in ("text", "content", "data") if key in record), "text"), place)


def task_text(record: Record, place: str) -> str:
    """Return the text of a Label Studio task."""
    data = record.get("data")
    strings = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    if isinstance(data, dict) and isinstance(data.get("text"), str):
        return str(data["text"])
    if len(strings) != 1:
        shown = json.dumps(data, ensure_ascii=False)
        raise CorpusError(place, 'a task whose "data" has a "text", or one string', shown, FORMATS)
    return strings[0]


# ---- what records have in common --------------------------------------------------------------------------------


def string(record: Record, key: str, place: str) -> str:
    """Return what stands under the key, or raise `CorpusError` if that is not a string."""
    text = record.get(key)
    if not isinstance(text, str):
        raise CorpusError(place, f'"{key}" with a string', json.dumps(record, ensure_ascii=False), FORMATS)
    return text


def listed(value: Any, key: str, place: str) -> list[Any]:
    """Return the value of a key, or raise `CorpusError` if it is not a list."""
    if not isinstance(value, list):
        raise CorpusError(place, f'"{key}" with a list', repr(value), FORMATS)
    return value


def note_further(record: Record, known: Iterable[str], notes: Notes) -> None:
    """Note the keys of a record that no `Document` holds."""
    if further := len(record.keys() - set(known)):
        notes["left out: further keys of records"] += further


def valid_span(start: Any, end: Any, label: Any, text: str) -> Span | None:
    """Return the span if its places are in the text and its label is not blank."""
    whole = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
    return Span(start, end, label) if whole and isinstance(label, str) and label.strip() else None


_encode = json.JSONEncoder(ensure_ascii=False).encode


def dumps(value: Any) -> str:
    """Return JSON on one line, whatever reader takes it apart into lines; lone surrogates are escaped."""
    line = _encode(value)
    for end in "\x85\u2028\u2029":  # line ends to some readers of lines
        line = line.replace(end, f"\\u{ord(end):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return line


# ---- native -----------------------------------------------------------------------------------------------------


def native(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a native record; overlapping entities are an error."""
    text = string(record, "text", place)
    note_further(record, ("text", "entities", "core_entity", "unlabelled"), notes)
    rated = sorted(_rated(entity, text, place) for entity in listed(record.get("entities", []), "entities", place))
    spans = [span for span, _ in rated]
    for before, after in itertools.pairwise(spans):
        if after.start < before.end:
            shown = f"{before.label} {text[before.start : before.end]!r} at {before.start} and "
            shown += f"{after.label} {text[after.start : after.end]!r} at {after.start}"
            raise CorpusError(place, "entities that do not overlap", shown, "keep one of the two")
    given = record.get("core_entity")
    answers = [a for a in given if isinstance(a, str)] if isinstance(given, list) else []
    unlabelled = [
        _stretch(stretch, text, place) for stretch in listed(record.get("unlabelled", []), "unlabelled", place)
    ]
    known = labelled(text, spans, answers, given_scores([score for _, score in rated], notes))
    return replace(known, unlabelled=tuple(unlabelled)) if unlabelled else known


def _rated(entity: Any, text: str, place: str) -> tuple[Span, float]:
    """Return the span and its score, -1 for none."""
    if isinstance(entity, dict):
        span = valid_span(entity.get("start"), entity.get("end"), entity.get("label"), text)
        if span and re.fullmatch(r"\S+", span.label):
            return span, given_score(entity.get("score"))
    expected = f"an entity with 0 <= start < end <= {len(text)} and a label without spaces"
    raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), FORMATS)


def _stretch(value: Any, text: str, place: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        start, end = value
        if type(start) is int and type(end) is int and 0 <= start < end <= len(text):
            return start, end
    expected = f"an unlabelled stretch [start, end] with 0 <= start < end <= {len(text)}"
    raise CorpusError(place, expected, json.dumps(value, ensure_ascii=False), FORMATS)


def given_score(value: Any) -> float:
    """Return a probability, or -1 where none is given."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else -1


def given_scores(scores: list[float], notes: Notes) -> list[float]:
    """Return the scores if there is one for each entity; else none, noting those that there are."""
    if all(score >= 0 for score in scores):
        return scores
    if known := sum(score >= 0 for score in scores):
        notes["lost: scores"] += known
    return []


def to_native(
    text: str,
    entities: Iterable[Entity | Span],
    answers: Sequence[str] = (),
    unlabelled: Sequence[tuple[int, int]] = (),
) -> str:
    """Return one line of native JSON, without the line end; lone surrogates are escaped.

    Args:
        text: As given.
        entities: With text and score, or without.
        answers: All answers, where some are not among the entities.
        unlabelled: Stretches that nobody has looked at.
    """
    record: Record = {"text": text, "entities": [entity._asdict() for entity in entities]}
    if answers:
        record["core_entity"] = answers
    if unlabelled:
        record["unlabelled"] = unlabelled
    return dumps(record)


def write_native(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a native line a document."""
    for document in documents:
        text, entities = document.text, document.entities
        answers = document.answers
        if answers and {squeeze(text[start:end]) for start, end, _ in entities}.issuperset(map(squeeze, answers)):
            answers = ()
        shown: Iterable[Entity | Span] = entities
        if document.scores:
            rated = zip(entities, document.scores, strict=True)
            shown = [Entity(*span, text[span.start : span.end], score) for span, score in rated]
        yield to_native(text, shown, answers, document.unlabelled) + "\n"


# ---- contest ----------------------------------------------------------------------------------------------------


def contest(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a contest record, every occurrence of an answer marked."""
    text = string(record, "content", place)
    note_further(record, ("content", "core_entity"), notes)
    answers = record.get("core_entity", [])
    if isinstance(answers, str):
        answers = [answers]
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise CorpusError(place, '"core_entity" with a list of strings', repr(answers), FORMATS)
    return Document(text, mark(text, answers), distinct(answers))


def to_contest(text: str, answers: Iterable[str]) -> str:
    """Return one line of the contest's form, without the line end."""
    return dumps({"content": text, "core_entity": list(answers)})


def write_contest(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line of the contest's form a document."""
    for document in documents:
        if document.entities:
            marked = {span[:2] for span in mark(document.text, document.answers)}
            own = {span[:2] for span in document.entities}
            notes["lost: labels"] += sum(span.label != CONTEST_LABEL for span in document.entities)
            notes["lost: entities inside others that the text repeats"] += len(own - marked)
            notes["changed: other occurrences of an entity's string, now entities too"] += len(marked - own)
        yield to_contest(document.text, document.answers) + "\n"
