"""The stretches of a text that are replaced: apart from one another, and wherever the string of one occurs."""

from collections.abc import Container, Iterable

from tagger.documents import Entity, Span
from tagger.redaction.occurrences import Occurrences


def everywhere(text: str, given: Iterable[Entity]) -> list[Entity]:
    """Return the stretches to replace, apart and in order: those given, and wherever the string of one occurs.

    Stretches that overlap become one, with the label of the longest.
    """
    changes = joined(text, given)
    searched: set[tuple[str, str]] = set()  # what was sought, and what is replaced of it
    while new := _longest(text, changes, searched):
        searched.update((sought, change.text) for sought, change in new.items())
        further = [
            Entity(start, start + len(change.text), change.label, change.text, change.score)
            for start, sought in Occurrences(sought for sought in new if len(sought) > 1)(text)
            for change in [new[sought]]
        ]
        changes = joined(text, [*changes, *further])
    return changes


def _longest(text: str, changes: Iterable[Entity], searched: Container[tuple[str, str]]) -> dict[str, Entity]:
    """Return what is to be sought and was not yet; of two that are sought alike, 李 in 李先 and 李先, the longer."""
    longest: dict[str, Entity] = {}
    for change in changes:
        sought = _sought(text, change)
        if len(change.text) > len(longest[sought].text if sought in longest else ""):
            longest[sought] = change
    return {sought: change for sought, change in longest.items() if (sought, change.text) not in searched}


def _sought(text: str, change: Entity) -> str:
    """Return what marks the other occurrences of a string: itself; for one character, which is mostly a part of words
    elsewhere, itself and the next, as in 李先生."""
    return text[change.start : max(change.end, change.start + 2)]


def joined(text: str, given: Iterable[Entity]) -> list[Entity]:
    """Return stretches in order and apart: those that overlap are one, with the label of the longest."""
    spans: list[Span] = []
    scores: list[float] = []
    longest = 0
    for entity in sorted(given, key=lambda entity: (entity.start, -entity.end, -entity.score)):
        length = entity.end - entity.start
        if spans and entity.start < spans[-1].end:
            last = spans[-1]
            spans[-1] = Span(last.start, max(last.end, entity.end), entity.label if length > longest else last.label)
            scores[-1], longest = max(scores[-1], entity.score), max(longest, length)
        elif length:
            spans.append(Span(*entity[:3]))
            scores.append(entity.score)
            longest = length
    return [
        Entity(start, end, label, text[start:end], score)
        for (start, end, label), score in zip(spans, scores, strict=True)
    ]
