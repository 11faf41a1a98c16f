"""Native JSON Lines: `{"text", "entities": [{"start", "end", "label"}]}`.

`"unlabelled": [[start, end], ...]` are stretches that were not annotated.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagger.documents import Document, Entity, Notes, Span, is_label, labelled
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import LIKELY, Sample
from tagger.formats.records import (
    Record,
    dumps,
    first_entity,
    further,
    given_score,
    given_scores,
    listed,
    native_record,
    native_records,
    string,
    valid_span,
)

_KNOWN = ("text", "entities", "core_entity", "unlabelled")


def recognise(sample: Sample) -> int | None:
    """Return the first record with an entity; any other JSON, and any file named `.json`, is likely of this format."""
    decisive = sample.first_record(lambda record: bool(first_entity(record)))
    if decisive is None and (sample.is_json or sample.name.endswith(".json")):
        return LIKELY
    return decisive


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a native record; overlapping entities are an error."""
    text = string(record, "text", place)
    extra = further(record, _KNOWN)
    scored = sorted(_scored(entity, text, place) for entity in listed(record.get("entities", []), "entities", place))
    spans = [span for span, _ in scored]
    for before, after in itertools.pairwise(spans):
        if after.start < before.end:
            shown = f"{before.label} {text[before.start : before.end]!r} at {before.start} and "
            shown += f"{after.label} {text[after.start : after.end]!r} at {after.start}"
            raise CorpusError(place, "entities that do not overlap", shown, "keep one of the two")
    answers = record.get("core_entity")
    answers = [answer for answer in answers if isinstance(answer, str)] if isinstance(answers, list) else []
    unlabelled = [
        _stretch(stretch, text, place) for stretch in listed(record.get("unlabelled", []), "unlabelled", place)
    ]
    document = labelled(text, spans, answers, given_scores([score for _, score in scored], notes), extra)
    return replace(document, unlabelled=tuple(unlabelled)) if unlabelled else document


def claims(record: Record) -> bool:
    """Return whether a record has entities of this form, or stretches that were not annotated."""
    first = first_entity(record)
    return (isinstance(first, dict) and "start" in first and "end" in first) or isinstance(
        record.get("unlabelled"), list
    )


def _scored(entity: Any, text: str, place: str) -> tuple[Span, float]:
    """Return the span of an entity and its score, -1 for none."""
    if isinstance(entity, dict):
        span = valid_span(entity.get("start"), entity.get("end"), entity.get("label"), text)
        if span and is_label(span.label):
            return span, given_score(entity.get("score"))
    expected = f"an entity with 0 <= start < end <= {len(text)} and a label without spaces"
    raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), SEE_FORMATS)


def _stretch(value: Any, text: str, place: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        start, end = value
        if type(start) is int and type(end) is int and 0 <= start < end <= len(text):
            return start, end
    expected = f"an unlabelled stretch [start, end] with 0 <= start < end <= {len(text)}"
    raise CorpusError(place, expected, json.dumps(value, ensure_ascii=False), SEE_FORMATS)


def to_native(
    text: str,
    entities: Iterable[Entity | Span],
    answers: Sequence[str] = (),
    unlabelled: Sequence[tuple[int, int]] = (),
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return one line of native JSON, without the line end; lone surrogates are escaped.

    Args:
        text: As given.
        entities: Predicted or annotated.
        answers: All answers, if not every one is an entity.
        unlabelled: Stretches that were not annotated.
        extra: What else the record holds; none of the keys above.
    """
    return dumps({**native_record(text, entities, answers, unlabelled), **(extra or {})})


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for record in native_records(documents, notes):
        yield dumps(record) + "\n"
