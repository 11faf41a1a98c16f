"""Tokens and their tags in JSON: `{"tokens": [...], "ner_tags": ["B-PER", ...]}`, as data sets for transformers have.

`words` and `tags`, `labels` and `ner` are read as well, a text of one tag each character, and GLiNER's
`{"tokenized_text": [...], "ner": [[first, last, label]]}`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tagger.documents import Document, Notes, Span, is_label, labelled, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, dumps, further, listed, string, with_further
from tagger.formats.tagged import Decoder, document, joined, plain_tag, tags

_TOKENS = ("tokens", "words", "tokenized_text", "text", "sentence")

_TAGS = ("ner_tags", "ner", "tags", "labels", "label", "ner_labels")

_NAMES = "write the names of the tags, which the data set lists, in place of their numbers"


def recognise(sample: Sample) -> int | None:
    """Return the first record of this form."""
    return sample.first_record(claims)


def claims(record: Record) -> bool:
    """Return whether a record has a list of tokens and their tags, or a text and a tag for each character."""
    marks = record.get(_tags_key(record))
    if not isinstance(marks, list):
        return False
    key, text = _tokens_key(record), record.get("text")
    if not isinstance(text, str):
        return bool(key)
    size = len(record[key]) if key else len(text)
    return 0 < len(marks) == size and all(_is_tag(mark) for mark in marks)


def _is_tag(mark: Any) -> bool:
    return type(mark) is int or (isinstance(mark, str) and plain_tag(mark) is not None)


def _tokens_key(record: Record) -> str:
    """Return the key of a record's tokens, "" if it has none."""
    lists = (key for key in _TOKENS if isinstance(record.get(key), list))
    return next((key for key in lists if all(isinstance(token, str) for token in record[key])), "")


def _tags_key(record: Record) -> str:
    return next((key for key in _TAGS if isinstance(record.get(key), list)), "ner_tags")


def text_of(record: Record) -> str | None:
    """Return the text of a record of tokens, None if it has a text, or none at all."""
    key = _tokens_key(record)
    if isinstance(record.get("text"), str) or not key or not (claims(record) or key in _TOKENS[:3]):
        return None
    return joined([token or " " for token in record[key]])[0]


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a record; an empty token counts as a space."""
    key, tags_key, text = _tokens_key(record), _tags_key(record), record.get("text")
    marks = record.get(tags_key)
    if marks is None and isinstance(text, str):
        return labelled(text, (), extra=further(record, ("text",)))
    extra, marks = further(record, (key, tags_key, "text")), listed(marks or [], tags_key, place)
    tokens = [token or " " for token in (record[key] if key else string(record, "text", place))]
    if marks and all(isinstance(mark, list) for mark in marks):
        spans = _triples(marks, len(tokens), place, notes)
    else:
        spans = _spans(marks, len(tokens), tags_key, place, notes)
    if key and isinstance(text, str):
        return _placed(text, tokens, spans, place, extra)
    return document(tokens, spans, extra=extra)


def _placed(text: str, tokens: list[str], spans: list[tuple[int, int, str]], place: str, extra: Record) -> Document:
    """Return the document of a text in which the tokens stand one after the other."""
    starts, at = [], 0
    for token in tokens:
        start = text.find(token, at)
        if start < 0:
            raise CorpusError(place, 'tokens that stand in the "text"', repr(token), 'remove the "text"')
        starts.append(start)
        at = start + len(token)
    found = [Span(starts[first], starts[last - 1] + len(tokens[last - 1]), label) for first, last, label in spans]
    return labelled(text, found, extra=extra)


def _spans(marks: list[Any], size: int, key: str, place: str, notes: Notes) -> list[tuple[int, int, str]]:
    """Return the spans of tags, one for each of `size` tokens."""
    if any(type(mark) is int for mark in marks):
        raise CorpusError(place, f'"{key}" with tags such as "B-PER"', f"numbers: {marks}", _NAMES)
    wrong = [mark for mark in marks if not _is_tag(mark)]
    if wrong:
        shown = json.dumps(wrong[0], ensure_ascii=False)
        raise CorpusError(place, "tags such as O, B-PER, I-PER", f'{shown} in "{key}"', SEE_FORMATS)
    if len(marks) != size:
        expected = f"as many tags as tokens, {size}, under one of {', '.join(_TAGS)}"
        raise CorpusError(place, expected, f'{len(marks)} in "{key}"', SEE_FORMATS)
    decoder = Decoder()
    spans = decoder(marks)
    decoder.note(notes)
    return spans


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
