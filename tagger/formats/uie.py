"""UIE of PaddleNLP: `{"content", "result_list": [{"text", "start", "end"}], "prompt": label}`, read only.

A record has the entities of one label; those of one text may stand anywhere in the file, which is therefore held in
memory. Records that ask for a relation (their prompt names a mention) or for a choice have no entities.
"""

import json
from collections.abc import Iterator

from tagger.documents import Document, Notes, Span, labelled, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source
from tagger.formats.base import Sample
from tagger.formats.records import Record, annotated_span, further, listed, read_records, string


def recognise(sample: Sample) -> int | None:
    """Return the first record of this form."""
    return sample.first_record(claims)


def claims(record: Record) -> bool:
    """Return whether a record is of this form."""
    return isinstance(record.get("content"), str) and isinstance(record.get("result_list"), list)


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Raise `CorpusError`: the records of one text belong together, so a record of another format's file is none."""
    raise CorpusError(place, "a record of the form of the others", "one of UIE", "give it in a file of its own")


def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each distinct text, in order of first occurrence.

    Raises:
        CorpusError: At a record that is malformed, or of another form.
    """
    texts: dict[str, tuple[list[Span], Record, str]] = {}
    for place, record in read_records(source):
        if not claims(record):
            shown = json.dumps(record, ensure_ascii=False)
            raise CorpusError(place, '"content" and "result_list", as in the records before', shown, SEE_FORMATS)
        text = record["content"]
        extra = further(record, ("content", "result_list", "prompt"))
        spans, _, _ = texts.setdefault(text, ([], extra, place))
        spans += _spans(record, place, notes)
    for text, (spans, extra, place) in texts.items():
        yield labelled(text, without_overlaps(dict.fromkeys(spans), notes), extra=extra, place=place)


def _spans(record: Record, place: str, notes: Notes) -> Iterator[Span]:
    text, results = record["content"], listed(record["result_list"], "result_list", place)
    if not results:
        return
    label = string(record, "prompt", place)
    subject, of, _ = label.rpartition("的")
    if (of and subject in text) or "[" in label:
        notes["left out: annotations that are not entities"] += len(results)
        return
    for result in results:
        start, end = (result.get("start"), result.get("end")) if isinstance(result, dict) else (None, None)
        span = annotated_span(start, end, label, text, result, place, notes)
        mention = result.get("text")
        if mention is not None and mention != text[span.start : span.end]:
            shown = repr(text[span.start : span.end])
            raise CorpusError(place, f"{mention!r} at {start} to {end}", shown, SEE_FORMATS)
        yield span
