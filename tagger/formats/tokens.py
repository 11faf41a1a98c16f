"""Tokens and their tags in JSON: `{"tokens": [...], "ner_tags": ["B-PER", ...]}`, as data sets for transformers have.

`words` and `tags`, `labels` and `ner` are read as well, a text of one tag each character, and GLiNER's
`{"tokenized_text": [...], "ner": [[first, last, label]]}`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tagger.documents import Document, Notes, Span, is_label, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, dumps, further, with_further
from tagger.formats.tagged import Decoder, document, plain_tag, tags

_TOKENS = ("tokens", "words", "tokenized_text", "text", "sentence")

_TAGS = ("ner_tags", "ner", "tags", "labels", "label", "ner_labels")

_NAMES = "write the names of the tags, which the data set lists, in place of their numbers"


def recognise(sample: Sample) -> int | None:
    """Return the first record of this form."""
    return sample.first_record(claims)


def claims(record: Record) -> bool:
    """Return whether a record has a list of tokens and no text, or a text and as many tags as characters."""
    marks = record.get(_tags_key(record))
    if _tokens_key(record):
        return isinstance(marks, list)
    text = record.get("text")
    is_tagged = isinstance(marks, list) and all(isinstance(mark, str) and plain_tag(mark) for mark in marks)
    return isinstance(text, str) and is_tagged and 0 < len(marks or []) == len(text)


def _tokens_key(record: Record) -> str:
    """Return the key of a record's tokens, "" if it has a text instead."""
    if isinstance(record.get("text"), str):
        return ""
    lists = (key for key in _TOKENS if isinstance(record.get(key), list))
    return next((key for key in lists if all(isinstance(token, str) for token in record[key])), "")


def _tags_key(record: Record) -> str:
    return next((key for key in _TAGS if isinstance(record.get(key), list)), "ner_tags")


def text_of(record: Record) -> str | None:
    """Return the text of a record of tokens, None if it has none."""
    key = _tokens_key(record)
    is_certain = key and (claims(record) or key in _TOKENS[:3])
    return document([token or " " for token in record[key]], ()).text if is_certain else None


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a record; an empty token counts as a space."""
    key, tags_key = _tokens_key(record) or "text", _tags_key(record)
    tokens, marks = [token or " " for token in record.get(key) or ()], record.get(tags_key) or []
    extra = further(record, (key, tags_key))
    if marks and all(isinstance(mark, list) for mark in marks):
        return document(tokens, _triples(marks, len(tokens), place, notes), extra=extra)
    if any(type(mark) is int for mark in marks):
        raise CorpusError(place, f'"{tags_key}" with tags such as "B-PER"', f"numbers: {marks}", _NAMES)
    wrong = next((mark for mark in marks if not (isinstance(mark, str) and plain_tag(mark))), None)
    if wrong is not None:
        shown = json.dumps(wrong, ensure_ascii=False)
        raise CorpusError(place, "tags such as O, B-PER, I-PER", f'{shown} in "{tags_key}"', SEE_FORMATS)
    if len(marks) != len(tokens):
        expected = f"as many tags as tokens, {len(tokens)}, under one of {', '.join(_TAGS)}"
        raise CorpusError(place, expected, f'{len(marks)} in "{tags_key}"', SEE_FORMATS)
    decoder = Decoder()
    found = document(tokens, decoder(marks), extra=extra)
    decoder.note(notes)
    return found


def _triples(marks: list[Any], size: int, place: str, notes: Notes) -> list[tuple[int, int, str]]:
    """Return the spans of GLiNER's [first, last, label]; of those that overlap, the longest stays."""
    spans = []
    for mark in marks:
        first, last, label = mark if len(mark) == 3 else (None, None, None)
        label = "_".join(label.split()) if isinstance(label, str) else None
        if not (type(first) is int and type(last) is int and 0 <= first <= last < size and is_label(label)):
            shown = json.dumps(mark, ensure_ascii=False)
            raise CorpusError(place, f"[first, last, label] with 0 <= first <= last < {size}", shown, SEE_FORMATS)
        spans.append(Span(first, last + 1, str(label)))
    return list(without_overlaps(spans, notes))


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document; every character is a token."""
    for one in documents:
        record = {"tokens": list(one.text), "ner_tags": tags(len(one.text), one.entities, "bio")}
        yield dumps(with_further(record, one, notes)) + "\n"
