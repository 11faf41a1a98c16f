"""doccano: `{"text", "label": [[start, end, label]]}`; `labels`, `entities` or `annotations` in older versions."""

from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes, labelled, without_overlaps
from tagger.formats.base import Sample
from tagger.formats.records import Record, annotated_span, dumps, first_entity, listed, note_further, string

_KEYS = ("label", "labels", "entities", "annotations")


def recognise(sample: Sample) -> int | None:
    """Return the first record with relations, or with entities under a key or in a form that only doccano uses."""

    def decisive(record: Record) -> bool:
        first = first_entity(record)
        if isinstance(first, list) or (isinstance(first, dict) and "start_offset" in first) or "relations" in record:
            return True
        return "entities" not in record and any(isinstance(record.get(key), list) for key in _KEYS)

    return sample.first_record(decisive)


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a doccano record, of any version."""
    text = string(record, "text" if "text" in record or "data" not in record else "data", place)
    key = next((key for key in _KEYS if key in record), "label")
    note_further(record, ("text" if "text" in record else "data", key), notes)
    spans = []
    for entity in listed(record.get(key, []), key, place):
        if isinstance(entity, dict):
            start, end, label = entity.get("start_offset"), entity.get("end_offset"), entity.get("label")
        else:
            start, end, label = entity if isinstance(entity, list) and len(entity) == 3 else (None, None, None)
        if type(label) is int:
            label = str(label)  # the oldest versions write the number of the label
        spans.append(annotated_span(start, end, label, text, entity, place, notes))
    return labelled(text, without_overlaps(spans, notes))


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document, with the keys of current versions."""
    for document in documents:
        yield dumps({"text": document.text, "label": document.entities}) + "\n"
