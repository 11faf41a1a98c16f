"""Error analysis of a tagger: scores by length, and of mentions seen in training and not, kinds of errors, confusion
of labels, and the texts with the most confident mistakes."""

import heapq
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import Document, Entity, Span, judged, origin
from tagger.findings import Finding, finding
from tagger.score import Counts, Scores

NONE = ""  # label of an entity that is missing on one side

WORST = 50  # texts kept

ERRORS = ("type", "boundary", "both", "missed", "spurious")

LENGTHS = ("1", "2", "3", "4", "5", "6-9", "10+")


def mentions(documents: Iterable[Document]) -> set[tuple[str, str]]:
    """Return string and label of each different entity of a training corpus."""
    return {(document.text[s:e], label) for document in documents for s, e, label in document.entities}


@dataclass
class Analysis(Scores):
    """Scores, and what else an error report contains.

    Every error is counted once. A gold entity that is not predicted and a predicted one that is not gold form a pair if
    they overlap (see `pairs`): of the wrong "type", with wrong bounds ("boundary"), or "both". An entity in no pair is
    "missed" or "spurious". So `gold - correct == type + boundary + both + missed`, and
    `predicted - correct == type + boundary + both + spurious`.

    Args:
        trained: String and label of the entities of the training corpus; None where they are not known.

    Attributes:
        lengths: Counts of the entities of each length, in characters.
        seen: Counts of the entities that are in `trained` ("seen") and that are not ("unseen").
        errors: Number of errors of each of the kinds `ERRORS`.
        confusion: Number of pairs of a gold and a predicted label, whatever their bounds; `NONE` for a missing one.
    """

    trained: set[tuple[str, str]] | None = None
    lengths: dict[str, Counts] = field(default_factory=lambda: {length: Counts() for length in LENGTHS})
    seen: dict[str, Counts] = field(default_factory=lambda: {"seen": Counts(), "unseen": Counts()})
    errors: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    _worst: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)

    def add(self, document: Document, entities: Iterable[Entity], best: Entity | None = None) -> None:
        """Count the entities predicted in a document, as far as it is annotated."""
        if document.is_unlabelled:
            return
        entities = judged(document, entities)
        super().add(document, entities, best)
        gold = set(document.entities)
        predicted = {Span(e.start, e.end, e.label) for e in entities}
        for span in gold | predicted:
            is_gold, is_predicted = span in gold, span in predicted
            for counts in self._groups(span, document.text):
                counts.add(correct=is_gold and is_predicted, predicted=is_predicted, gold=is_gold)
            if is_gold and is_predicted:
                self.confusion[span.label, span.label] += 1
        errors: Counter[str] = Counter()
        for expected, received in pairs(sorted(gold - predicted), sorted(predicted - gold)):
            errors[_kind(expected, received)] += 1
            self.confusion[expected.label if expected else NONE, received.label if received else NONE] += 1
        self.errors += errors
        if errors:
            self._keep_worst(document, entities, gold, errors)

    def _groups(self, span: Span, text: str) -> Iterable[Counts]:
        """Yield the counts of the groups of entities that a span belongs to."""
        length = span.end - span.start
        yield self.lengths[str(length) if length < 6 else "6-9" if length < 10 else "10+"]
        if self.trained is not None:
            known = (text[span.start : span.end], span.label) in self.trained
            yield self.seen["seen" if known else "unseen"]

    def _keep_worst(
        self, document: Document, entities: Sequence[Entity], gold: set[Span], errors: Counter[str]
    ) -> None:
        """Keep a text if it is one of the worst: by the probability of its mistakes, then by their number."""
        text = {
            **origin(document),
            "text": document.text,
            "gold": [span._asdict() for span in document.entities],
            "predicted": [entity._asdict() for entity in entities],
            "errors": dict(errors),
        }
        rank = (confidence(document, entities), errors.total(), -self.texts)
        (heapq.heappush if len(self._worst) < WORST else heapq.heappushpop)(self._worst, (rank, text))

    def to_dict(self, contest: bool | None = None) -> dict[str, Any]:
        """Return the scores and the rest by name, as numbers, lists and dictionaries; `contest` as for `Scores`."""
        labels = sorted({label for pair in self.confusion for label in pair} - {NONE})
        result = super().to_dict(contest)
        result["lengths"] = {length: counts.to_dict() for length, counts in self.lengths.items()}
        if self.trained is not None:
            result["mentions"] = {kind: counts.to_dict() for kind, counts in self.seen.items()}
        result["errors"] = {kind: self.errors[kind] for kind in ERRORS}
        result["confusion"] = {
            "labels": [*labels, NONE],
            "rows": [[self.confusion[gold, predicted] for predicted in (*labels, NONE)] for gold in (*labels, NONE)],
        }
        result["worst"] = [text for _, text in sorted(self._worst, key=lambda ranked: ranked[0], reverse=True)]
        return result


def confidence(document: Document, entities: Iterable[Entity]) -> float:
    """Return the probability of the most probable entity that is predicted and not gold; 0 if there is none."""
    gold = set(document.entities)
    return max((e.score for e in entities if Span(e.start, e.end, e.label) not in gold), default=0.0)


def errors_of(document: Document, entities: Iterable[Entity]) -> Iterator[Finding]:
    """Yield the errors of a document as findings, whose kinds are those of `ERRORS`.

    Their characters and label are those of the predicted entity, or of the gold one if there is none; `gold` and
    `predicted` are both, or null; `score` is the probability of the predicted one.
    """
    gold = set(document.entities)
    scores = {Span(e.start, e.end, e.label): e.score for e in judged(document, entities)}
    for expected, received in pairs(sorted(gold - scores.keys()), sorted(scores.keys() - gold)):
        sides = {"gold": expected, "predicted": received}
        shown = {
            side: span and {**span._asdict(), "text": document.text[span.start : span.end]}
            for side, span in sides.items()
        }
        more: dict[str, Any] = {**shown, "score": scores[received]} if received else shown
        span = received or expected
        if span:
            yield finding(_kind(expected, received), document, *span, **more)


def pairs(missed: Sequence[Span], spurious: Sequence[Span]) -> list[tuple[Span | None, Span | None]]:
    """Match gold spans that are not predicted with predicted spans that are not gold.

    Spans that overlap are candidates: those with equal bounds come first, then those with the same label, then those
    with the largest overlap. A span is in one pair only.

    Args:
        missed: Gold spans; they do not overlap each other.
        spurious: Predicted spans; they do not overlap each other.

    Returns:
        Pairs of a gold and a predicted span, then the spans that are left, each with None.
    """
    candidates = []
    others = sorted(spurious)
    starts, ends = [other.start for other in others], [other.end for other in others]
    for one in missed:
        for other in others[bisect_right(ends, one.start) : bisect_left(starts, one.end)]:
            shared = min(one.end, other.end) - max(one.start, other.start)
            candidates.append((one[:2] != other[:2], one.label != other.label, -shared, one, other))
    matched: list[tuple[Span | None, Span | None]] = []
    gold_left, predicted_left = set(missed), set(spurious)
    for *_, one, other in sorted(candidates):
        if one in gold_left and other in predicted_left:
            matched.append((one, other))
            gold_left.remove(one)
            predicted_left.remove(other)
    return [
        *matched,
        *((one, None) for one in sorted(gold_left)),
        *((None, other) for other in sorted(predicted_left)),
    ]


def _kind(gold: Span | None, predicted: Span | None) -> str:
    """Return the kind of an error, one of `ERRORS`."""
    if gold is None or predicted is None:
        return "spurious" if gold is None else "missed"
    if gold[:2] == predicted[:2]:
        return "type"
    return "boundary" if gold.label == predicted.label else "both"
