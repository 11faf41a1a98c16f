"""doccano: `{"text", "label": [[start, end, label]]}`; `labels`, `entities` or `annotations` in older versions."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tagger.documents import Document, Notes, Span, labelled, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, annotated_span, dumps, first_entity, further, listed, string, with_further

_SEQUENCE = "export a project of the kind sequence labelling"

_KEYS = ("label", "labels", "entities", "annotations")


def recognise(sample: Sample) -> int | None:
    """Return the first record with relations, or with entities under a key or in a form that only doccano uses."""

    def decisive(record: Record) -> bool:
        first = first_entity(record)
        if isinstance(first, list) or (isinstance(first, dict) and "start_offset" in first) or "relations" in record:
            return True
        return "entities" not in record and any(isinstance(record.get(key), list) for key in _KEYS)

    return sample.first_record(decisive)


def claims(record: Record) -> bool:
    """Return whether a record has entities of this form."""
    return any(_is_entity(value[0]) for key in _KEYS if isinstance(value := record.get(key), list) and value)


def _is_entity(item: object) -> bool:
    if isinstance(item, list):
        return len(item) > 2 and [type(offset) for offset in item[:2]] == [int, int]
    return isinstance(item, dict) and "start_offset" in item


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a doccano record, of any version; null is an empty list."""
    text = string(record, "text" if "text" in record or "data" not in record else "data", place)
    key = next((key for key in _KEYS if key in record), "label")
    spans = []
    for entity in [] if record.get(key) is None else listed(record[key], key, place):
        if isinstance(entity, str):
            expected = f'"{key}" with entities [start, end, label]'
            shown = json.dumps(record[key], ensure_ascii=False)
            raise CorpusError(place, expected, f"labels of a text classification, {shown}", _SEQUENCE)
        spans.append(_span(entity, text, place, notes))
    extra = further(record, ("text" if "text" in record else "data", key))
    return labelled(text, without_overlaps(spans, notes), extra=extra)


def _span(entity: Any, text: str, place: str, notes: Notes) -> Span:
    if isinstance(entity, dict):
        start, end, label = entity.get("start_offset"), entity.get("end_offset"), entity.get("label")
    else:
        start, end, label = entity[:3] if isinstance(entity, list) and len(entity) in (3, 4) else (None, None, None)
    if type(label) is int:
        label = str(label)  # the oldest versions write the number of the label
    span = annotated_span(start, end, label, text, entity, place, notes)
    if isinstance(entity, list) and len(entity) == 4 and entity[3] not in (text[start:end], None):
        shown = json.dumps(entity, ensure_ascii=False)
        raise CorpusError(place, f"{text[start:end]!r}, the text at these offsets, as fourth item", shown, SEE_FORMATS)
    return span


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document, with the keys of current versions."""
    for document in documents:
        yield dumps(with_further({"text": document.text, "label": document.entities}, document, notes)) + "\n"
