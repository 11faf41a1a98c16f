"""Documents with their entities, and the notes on what a corpus format lost or changed."""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

CONTEST_LABEL = "CORE"

# What was read of a text that an annotator skipped, rejected or never opened.
UNANNOTATED = "texts that nobody has annotated"


class Notes(Counter[str]):
    """What reading or writing a corpus did to its content, counted by kind.

    "lost: ..." could not be represented, "repaired: ..." and "changed: ..." differ from the source, "left out: ..." has
    no place in a document (comments, relations).

    Attributes:
        format: Name of the format that was read, as soon as it is known; else empty.
    """

    format = ""


class Span(NamedTuple):
    """An annotated entity: the characters from `start` to `end`, exclusive."""

    start: int
    end: int
    label: str


class Entity(NamedTuple):
    """A predicted entity: `text[start:end] == entity.text`; `score` is its probability, 0 to 1."""

    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True)
class Document:
    """A text and its entities.

    Args:
        text: As given, never changed.
        entities: Annotated spans in order of start, without overlaps.
        answers: Correct answers by the rules of the contest, without white space; they may not occur in the text.
        scores: Probability of each entity; empty where the file does not give one for every entity.
        unlabelled: Stretches (start, end) that were not annotated; an entity inside one may still be in `entities`.
        extra: What else the record holds that it was read from, by key: `id` and whatever the format does not know.
            Not compared.
        place: Where it was read, as error messages show it: `train.jsonl:12 (id 37)`. Not compared.
        predicted: What a tagger predicts beside the annotation, for the formats that hold both. Not compared.
    """

    text: str
    entities: tuple[Span, ...] = ()
    answers: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    unlabelled: tuple[tuple[int, int], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)
    place: str = field(default="", compare=False)
    predicted: tuple[Entity, ...] = field(default=(), compare=False)

    @property
    def is_unlabelled(self) -> bool:
        """Whether no part of the text was annotated."""
        return bool(self.text) and self.unlabelled == ((0, len(self.text)),)


def labelled(
    text: str,
    spans: Iterable[Span],
    answers: Iterable[str] = (),
    scores: Iterable[float] = (),
    extra: Mapping[str, Any] | None = None,
    place: str = "",
) -> Document:
    """Return a document whose entities are also answers; `spans` must be in order and must not overlap."""
    spans = tuple(spans)
    mentions = (text[span.start : span.end] for span in spans)
    return Document(text, spans, distinct([*answers, *mentions]), tuple(scores), extra=extra or {}, place=place)


def unannotated(text: str, notes: Notes, extra: Mapping[str, Any] | None = None) -> Document:
    """Return the document of a text that nobody has annotated, and count it."""
    notes[UNANNOTATED] += 1
    return Document(text, unlabelled=((0, len(text)),) if text else (), extra=extra or {})


def distinct(answers: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct answers that are not blank, without white space, in order of first occurrence."""
    return tuple(dict.fromkeys(filter(None, map(squeeze, answers))))


def squeeze(text: str) -> str:
    """Return `text` without white space, as answers are compared: the contest ignored it."""
    return "".join(text.split())


def text_key(text: str) -> int:
    """Return a hash of a text without its white space, 64 bits."""
    return _hash(squeeze(text))


def annotation_key(document: Document) -> int:
    """Return a hash of a document's entities, as strings and labels, 64 bits."""
    return _hash(repr([(squeeze(document.text[s:e]), label) for s, e, label in document.entities]))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


# A place: the file, its line, the number of the item in an array or of the row in a table, and the id of a record.
_PLACE = re.compile(r"(.*?)(?::(\d+))?(?: \((?:(item|row) (\d+))?(?:, )?(?:id .*)?\))?", re.S)


def origin(document: Document) -> dict[str, Any]:
    """Return where a document was read, as far as it is known: `file`, `line`, `item` of an array or `row`, `id`."""
    match = _PLACE.fullmatch(document.place)
    file, line, kind, number = match.groups() if match else (document.place, None, None, None)
    known: dict[str, Any] = {"file": file} if file else {}
    known |= {"line": int(line)} if line else {}
    known |= {kind: int(number)} if kind and number else {}
    return known | ({"id": document.extra["id"]} if "id" in document.extra else {})


def mark(text: str, answers: Iterable[str]) -> tuple[Span, ...]:
    """Return every occurrence of every answer in `text` as a span with the contest's label, in order.

    An occurrence may contain white space that the answer does not have. Where two occurrences overlap, the longer
    answer wins.
    """
    spans: list[Span] = []
    taken = bytearray(len(text))
    for answer in sorted(distinct(answers), key=lambda a: (-len(a), a)):
        pattern, at = re.compile(r"\s*".join(map(re.escape, answer))), 0
        while match := pattern.search(text, at):
            start, end = match.span()
            is_free = taken.find(1, start, end) < 0
            if is_free:
                spans.append(Span(start, end, CONTEST_LABEL))
                taken[start:end] = b"\1" * (end - start)
            at = end if is_free else start + 1
    return tuple(sorted(spans))


def judged(document: Document, entities: Iterable[Entity]) -> list[Entity]:
    """Return the predicted entities that the annotation decides about: not those in a stretch that nobody annotated."""
    if not document.unlabelled:
        return list(entities)
    gold = set(document.entities)
    return [
        entity
        for entity in entities
        if Span(*entity[:3]) in gold
        or not any(start < entity.end and entity.start < end for start, end in document.unlabelled)
    ]


def is_label(label: object) -> bool:
    """Return whether something can be the label of an entity: printable characters without white space."""
    return isinstance(label, str) and label.isprintable() and " " not in label and bool(label)


def without_overlaps(spans: Iterable[Span], notes: Notes) -> list[Span]:
    """Return the spans in order; of those that overlap, the longest stays (the first of equals), the rest is noted."""
    apart: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
        at = bisect(apart, span)
        if (at and apart[at - 1].end > span.start) or (at < len(apart) and apart[at].start < span.end):
            notes["lost: entities that overlap a longer one"] += 1
        else:
            apart.insert(at, span)
    return apart
