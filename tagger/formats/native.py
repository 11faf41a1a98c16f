"""Native JSON Lines: `{"text", "entities": [{"start", "end", "label"}]}`.

`"unlabelled": [[start, end], ...]` are stretches that were not annotated.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tagger.documents import Document, Entity, Notes, Span, labelled, squeeze
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import LIKELY, Sample
from tagger.formats.records import (
    Record,
    dumps,
    first_entity,
    given_score,
    given_scores,
    listed,
    note_further,
    string,
    valid_span,
)


def recognise(sample: Sample) -> int | None:
    """Return the first record with an entity; any other JSON, and any file named `.json`, is likely of this format."""
    decisive = sample.first_record(lambda record: bool(first_entity(record)))
    if decisive is None and (sample.is_json or sample.name.endswith(".json")):
        return LIKELY
    return decisive


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a native record; overlapping entities are an error."""
    text = string(record, "text", place)
    note_further(record, ("text", "entities", "core_entity", "unlabelled"), notes)
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
    document = labelled(text, spans, answers, given_scores([score for _, score in scored], notes))
    return replace(document, unlabelled=tuple(unlabelled)) if unlabelled else document


def _scored(entity: Any, text: str, place: str) -> tuple[Span, float]:
    """Return the span of an entity and its score, -1 for none."""
    if isinstance(entity, dict):
        span = valid_span(entity.get("start"), entity.get("end"), entity.get("label"), text)
        if span and re.fullmatch(r"\S+", span.label):
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
) -> str:
    """Return one line of native JSON, without the line end; lone surrogates are escaped.

    Args:
        text: As given.
        entities: Predicted or annotated.
        answers: All answers, if not every one is an entity.
        unlabelled: Stretches that were not annotated.
    """
    record: Record = {"text": text, "entities": [entity._asdict() for entity in entities]}
    if answers:
        record["core_entity"] = answers
    if unlabelled:
        record["unlabelled"] = unlabelled
    return dumps(record)


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for document in documents:
        text, entities = document.text, document.entities
        answers = document.answers
        if answers and {squeeze(text[start:end]) for start, end, _ in entities}.issuperset(map(squeeze, answers)):
            answers = ()
        with_scores: Iterable[Entity | Span] = entities
        if document.scores:
            pairs = zip(entities, document.scores, strict=True)
            with_scores = [Entity(*span, text[span.start : span.end], score) for span, score in pairs]
        yield to_native(text, with_scores, answers, document.unlabelled) + "\n"
