"""Where a tagger goes wrong: scores by length and for mentions seen in training or not, kinds of errors, what is taken
for what, and the texts with the most confident mistakes."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import Document, Entity, Span
from tagger.score import Counts, Scores

NONE = ""  # the label of no entity

WORST = 50

ERRORS = ("type", "boundary", "both", "missed", "spurious")

LENGTHS = ("1", "2", "3", "4", "5", "6-9", "10+")


def mentions(documents: Iterable[Document]) -> set[tuple[str, str]]:
    """Return the entities of a training corpus as pairs of string and label."""
    return {(document.text[s:e], label) for document in documents for s, e, label in document.entities}


@dataclass
class Analysis(Scores):
    """Scores, and all that an error report tells.

    `errors` counts each error once. An entity found and one missing that overlap are a pair: of the wrong "type", with
    wrong bounds ("boundary"), or "both"; what is in no pair is "missed" or "spurious". So
    `gold - right == type + boundary + both + missed`, and `found - right == type + boundary + both + spurious`.

    Args:
        trained: String and label of the entities of the training corpus; None where it is not known.
    """

    trained: set[tuple[str, str]] | None = None
    lengths: dict[str, Counts] = field(default_factory=lambda: {length: Counts() for length in LENGTHS})
    seen: dict[str, Counts] = field(default_factory=lambda: {"seen": Counts(), "unseen": Counts()})
    errors: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pairs of gold label and label found, `NONE` on one side for what is in no pair; bounds may differ."""
    _worst: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)

    def add(self, document: Document, entities: Iterable[Entity], best: Entity | None = None) -> None:
        """Count the entities found in a document."""
        entities = list(entities)
        super().add(document, entities, best)
        gold = set(document.entities)
        found = {Span(e.start, e.end, e.label) for e in entities}
        for spans, right, of in ((gold & found, 1, "correct"), (found, 1, "predicted"), (gold, 1, "gold")):
            for span in spans:
                for counts in self._groups(span, document.text):
                    setattr(counts, of, getattr(counts, of) + right)
        wrong: Counter[str] = Counter()
        for span in gold & found:
            self.confusion[span.label, span.label] += 1
        for one, other in pairs(sorted(gold - found), sorted(found - gold)):
            wrong[_kind(one, other)] += 1
            self.confusion[one.label if one else NONE, other.label if other else NONE] += 1
        self.errors += wrong
        if wrong:
            self._keep(document, entities, gold, wrong)

    def _groups(self, span: Span, text: str) -> Iterable[Counts]:
        length = span.end - span.start
        yield self.lengths[str(length) if length < 6 else "6-9" if length < 10 else "10+"]
        if self.trained is not None:
            known = (text[span.start : span.end], span.label) in self.trained
            yield self.seen["seen" if known else "unseen"]

    def _keep(self, document: Document, entities: Sequence[Entity], gold: set[Span], wrong: Counter[str]) -> None:
        """Keep a text if it is one of the worst: by its most probable mistake, then by their number."""
        mistakes = [e.score for e in entities if Span(e.start, e.end, e.label) not in gold]
        text = {
            "text": document.text,
            "gold": [span._asdict() for span in document.entities],
            "predicted": [entity._asdict() for entity in entities],
            "errors": dict(wrong),
        }
        rank = (max(mistakes, default=0.0), wrong.total(), -self.texts)
        (heapq.heappush if len(self._worst) < WORST else heapq.heappushpop)(self._worst, (rank, text))

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers, lists and dictionaries."""
        labels = sorted({label for pair in self.confusion for label in pair} - {NONE})
        result = super().to_dict()
        result["lengths"] = {length: counts.to_dict() for length, counts in self.lengths.items()}
        if self.trained is not None:
            result["mentions"] = {kind: counts.to_dict() for kind, counts in self.seen.items()}
        result["errors"] = {kind: self.errors[kind] for kind in ERRORS}
        result["confusion"] = {
            "labels": [*labels, NONE],
            "rows": [[self.confusion[gold, found] for found in (*labels, NONE)] for gold in (*labels, NONE)],
        }
        result["worst"] = [text for _, text in sorted(self._worst, key=lambda kept: kept[0], reverse=True)]
        return result


def pairs(gold: Sequence[Span], found: Sequence[Span]) -> list[tuple[Span | None, Span | None]]:
    """Return spans missing and spans found that overlap as pairs, and each that is left with None.

    Those with the same bounds come first, then those with the same label, then those with the largest overlap; a span
    is in one pair only. Gold spans do not overlap each other, nor do found ones.
    """
    close = []
    for one in gold:
        for other in found:
            shared = min(one.end, other.end) - max(one.start, other.start)
            if shared > 0:
                close.append((one[:2] != other[:2], one.label != other.label, -shared, one, other))
    made: list[tuple[Span | None, Span | None]] = []
    left, right = set(gold), set(found)
    for *_, one, other in sorted(close):
        if one in left and other in right:
            made.append((one, other))
            left.remove(one)
            right.remove(other)
    return [*made, *((one, None) for one in sorted(left)), *((None, other) for other in sorted(right))]


def _kind(gold: Span | None, found: Span | None) -> str:
    if gold is None or found is None:
        return "spurious" if gold is None else "missed"
    if gold[:2] == found[:2]:
        return "type"
    return "boundary" if gold.label == found.label else "both"
