"""Findings and errors as records of JSON Lines: what, where it was read, in which text, at which characters."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tagger.documents import Document, origin
from tagger.formats.records import dumps

LONGEST = 1000  # characters of a text that is given whole

_AROUND = 60  # characters on either side of an entity in a longer text

Finding = dict[str, Any]


def finding(kind: str, document: Document, start: int = -1, end: int = -1, label: str = "", **more: Any) -> Finding:
    """Return a finding in a document, as a record.

    Args:
        kind: What was found.
        document: In which; its place is where it was read.
        start, end: Characters concerned; -1 where it is the whole text.
        label: Of the entity concerned, if there is one.
        more: Further keys.

    Returns:
        `kind`, then `file`, `line`, `item` and `id` as far as they are known, `text`, and for characters `start`,
        `end`, `label` and `mention`. Of a text longer than `LONGEST`, `text` is the part around the characters, and
        `text_start` says where it begins.
    """
    text = document.text
    record: Finding = {"kind": kind, **origin(document), "text": text}
    if len(text) > LONGEST:
        begin = max(start - _AROUND, 0)
        record |= {"text": text[begin : max(end, 0) + _AROUND][:LONGEST], "text_start": begin}
    if start >= 0:
        record |= {"start": start, "end": end}
        if label:
            record["label"] = label
        record["mention"] = text[start:end]
    return record | more


def passed_through(
    findings: Iterable[tuple[Document, list[Finding]]], write: Callable[[str], object] | None
) -> Iterator[tuple[Document, list[Finding]]]:
    """Yield documents with their findings, writing each of these as a line of JSON; with None, write nothing."""
    for document, found in findings:
        if write:
            for record in found:
                write(dumps(record) + "\n")
        yield document, found
