"""Prodigy: `{"text", "spans": [{"start", "end", "label"}], "answer"}`; spaCy's documents as JSON have `ents` instead.

Texts whose annotation was rejected or ignored are not annotated.
"""

from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes, labelled, unannotated, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, annotated_span, dumps, further, listed, string, with_further

_KEYS = ("spans", "ents")

_ANSWERS = ("accept", "reject", "ignore")


def recognise(sample: Sample) -> int | None:
    """Return the first record of this form."""
    return sample.first_record(claims)


def claims(record: Record) -> bool:
    """Return whether a record has entities of this form, or an answer to them."""
    for key in _KEYS:
        spans = record.get(key)
        if isinstance(spans, list):
            if spans and isinstance(spans[0], dict) and "start" in spans[0]:
                return True
            if not spans and record.get("answer") in _ANSWERS:
                return True
    return record.get("answer") in _ANSWERS[1:] and "_task_hash" in record


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a record."""
    text = string(record, "text", place)
    key = next((key for key in _KEYS if key in record), "spans")
    extra = further(record, ("text", key, "answer"))
    if record.get("answer") in _ANSWERS[1:]:
        return unannotated(text, notes, extra)
    spans = []
    for entity in listed(record.get(key) or [], key, place):
        if not isinstance(entity, dict):
            raise CorpusError(place, 'an entity with "start", "end" and "label"', repr(entity), SEE_FORMATS)
        start, end, label = entity.get("start"), entity.get("end"), entity.get("label")
        spans.append(annotated_span(start, end, label, text, entity, place, notes))
    return labelled(text, without_overlaps(spans, notes), extra=extra)


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document; without an answer for a text that is not annotated."""
    for document in documents:
        spans = [span._asdict() for span in document.entities]
        record = {"text": document.text, "spans": spans, "answer": "ignore" if document.is_unlabelled else "accept"}
        yield dumps(with_further(record, document, notes)) + "\n"
