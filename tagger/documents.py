"""Labelled documents, and the files they come from: opened, unzipped, decoded, a piece at a time."""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CONTEST_LABEL = "CORE"

# How often reading or writing could not keep something ("lost: scores") or mended it ("repaired: ...", "changed: ...").
# "left out: ..." is what no document has a place for: ids, comments, relations.
Notes = Counter[str]


class Span(NamedTuple):
    """Characters `start` to `end` (half-open) are an entity."""

    start: int
    end: int
    label: str


class Entity(NamedTuple):
    """An entity found in a text: `text[start:end] == entity.text`, and how sure the tagger is, 0 to 1."""

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
        entities: Gold spans in order of start, not overlapping.
        answers: Strings that count as right in the contest, without white space; they may not occur in the text.
        scores: Probability of each entity, where the file tells them of all; else empty.
        unlabelled: Stretches, start and end, of which it is not known what is an entity there, but for `entities`.
    """

    text: str
    entities: tuple[Span, ...] = ()
    answers: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    unlabelled: tuple[tuple[int, int], ...] = ()


def labelled(text: str, spans: Iterable[Span], answers: Iterable[str] = (), scores: Iterable[float] = ()) -> Document:
    """Return a document whose entities are among its answers; `spans` in order, not overlapping."""
    spans = tuple(spans)
    mentions = (text[span.start : span.end] for span in spans)
    return Document(text, spans, distinct([*answers, *mentions]), tuple(scores))


def distinct(answers: Iterable[str]) -> tuple[str, ...]:
    """Return the answers without white space, each once."""
    return tuple(dict.fromkeys(filter(None, map(squeeze, answers))))


def squeeze(text: str) -> str:
    """Return `text` without white space, the form in which answers are compared: the contest dropped it."""
    return "".join(text.split())


def mark(text: str, answers: Iterable[str]) -> tuple[Span, ...]:
    """Return every occurrence of every answer in `text`, white space inside it allowed.

    Where two occurrences overlap, the longer answer is marked.
    """
    taken: list[Span] = []
    for answer in sorted(distinct(answers), key=lambda a: (-len(a), a)):
        pattern, at = re.compile(r"\s*".join(map(re.escape, answer))), 0
        while match := pattern.search(text, at):
            span = Span(match.start(), match.end(), CONTEST_LABEL)
            free = all(span.end <= other.start or other.end <= span.start for other in taken)
            if free:
                taken.append(span)
            at = match.end() if free else match.start() + 1
    return tuple(sorted(taken))


def apart(spans: Iterable[Span], notes: Notes) -> list[Span]:
    """Return the spans in order; where some overlap, the longest stays (of equals the first), the others are noted."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
        at = bisect(kept, span)
        if (at and kept[at - 1].end > span.start) or (at < len(kept) and kept[at].start < span.end):
            notes["lost: entities that overlap a longer one"] += 1
        else:
            kept.insert(at, span)
    return kept
