"""CLUENER: `{"text", "label": {label: {mention: [[start, last]]}}}`; offsets include the last character."""

import json
from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes, labelled, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, annotated_span, dumps, further, listed, string, with_further


def recognise(sample: Sample) -> int | None:
    """Return the first record whose "label" is an object."""
    return sample.first_record(lambda record: isinstance(record.get("label"), dict))


def claims(record: Record) -> bool:
    """Return whether a record has entities of this form, well-formed or not."""
    labels = record.get("label")
    return isinstance(labels, dict) and any(isinstance(mentions, dict | list) for mentions in labels.values())


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a CLUENER record; each pair of offsets is checked against its mention."""
    text = string(record, "text", place)
    labels = record.get("label", {})
    expected = '"label" with {label: {mention: [[start, last]]}}'
    if not (isinstance(labels, dict) and all(isinstance(mentions, dict) for mentions in labels.values())):
        raise CorpusError(place, expected, json.dumps(labels, ensure_ascii=False), SEE_FORMATS)
    spans = []
    for label, mentions in labels.items():
        for mention, pairs in mentions.items():
            for pair in listed(pairs, "label", place):
                if not (isinstance(pair, list) and len(pair) == 2 and type(pair[1]) is int):
                    raise CorpusError(place, expected, json.dumps({mention: pairs}, ensure_ascii=False), SEE_FORMATS)
                span = annotated_span(pair[0], pair[1] + 1, label, text, {mention: pair}, place, notes)
                if text[span.start : span.end] != mention:
                    shown = f"{text[span.start : span.end]!r}"
                    raise CorpusError(place, f"{mention!r} at {pair}, the last one included", shown, SEE_FORMATS)
                spans.append(span)
    return labelled(text, without_overlaps(spans, notes), extra=further(record, ("text", "label")))


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for document in documents:
        labels: dict[str, dict[str, list[list[int]]]] = {}
        for start, end, label in document.entities:
            labels.setdefault(label, {}).setdefault(document.text[start:end], []).append([start, end - 1])
        yield dumps(with_further({"text": document.text, "label": labels}, document, notes)) + "\n"
