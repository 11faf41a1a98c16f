"""Entity precision, recall and F1, the contest's score, top-1; results are data, printing stands apart."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import Document, Entity, Span, squeeze


@dataclass
class Counts:
    """Entities found, expected, and both, under strict matching: start, end and label."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    @property
    def precision(self) -> float:
        """Share of the found entities that are right; 0 when none was found."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that were found; 0 when there is none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing is right."""
        return 2 * self.correct / (self.predicted + self.gold) if self.correct else 0.0

    def to_dict(self) -> dict[str, float]:
        """Return shares and counts by name."""
        return {
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "gold": self.gold, "predicted": self.predicted, "correct": self.correct,
        }  # fmt: skip


@dataclass
class Reliability:
    """How often entities given a probability are right: a tenth of the probabilities in each row."""

    predicted: list[int] = field(default_factory=lambda: [0] * 10)
    correct: list[int] = field(default_factory=lambda: [0] * 10)

    def add(self, probability: float, right: bool) -> None:
        """Count an entity."""
        row = min(int(10 * probability), 9)
        self.predicted[row] += 1
        self.correct[row] += right

    def to_list(self) -> list[dict[str, float]]:
        """Return the rows that are not empty: probabilities from .. to, entities found, share of them right."""
        return [
            {"from": row / 10, "to": (row + 1) / 10, "predicted": found, "correct": right / found}
            for row, (found, right) in enumerate(zip(self.predicted, self.correct, strict=True))
            if found
        ]


@dataclass
class Scores:
    """Scores that grow document by document.

    `top1` counts texts whose most probable entity is an answer, `contest` sums the contest's score, both over the
    `answered` texts that have an answer.
    """

    overall: Counts = field(default_factory=Counts)
    labels: dict[str, Counts] = field(default_factory=dict)
    texts: int = 0
    answered: int = 0
    top1: int = 0
    contest: float = 0.0
    reliability: Reliability = field(default_factory=Reliability)

    def add(self, document: Document, entities: Iterable[Entity], best: Entity | None = None) -> None:
        """Count the entities found in a document, and whether `best` is one of its answers."""
        entities = list(entities)
        gold, found = Counter(document.entities), Counter(Span(e.start, e.end, e.label) for e in entities)
        self.texts += 1
        for entity in entities:
            self.reliability.add(entity.score, Span(entity.start, entity.end, entity.label) in gold)
        for span, number in (gold & found).items():
            self._count(span.label, correct=number)
        for span, number in found.items():
            self._count(span.label, predicted=number)
        for span, number in gold.items():
            self._count(span.label, gold=number)
        if document.answers:
            self.answered += 1
            self.top1 += best is not None and squeeze(best.text) in document.answers
            self.contest += contest_score({squeeze(e.text) for e in entities}, document.answers)

    def _count(self, label: str, correct: int = 0, predicted: int = 0, gold: int = 0) -> None:
        for counts in (self.overall, self.labels.setdefault(label, Counts())):
            counts.correct += correct
            counts.predicted += predicted
            counts.gold += gold

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers."""
        result: dict[str, Any] = {"texts": self.texts, **self.overall.to_dict()}
        if self.answered:
            result["top1"] = self.top1 / self.answered
            result["contest"] = self.contest / self.answered
        result["labels"] = {label: counts.to_dict() for label, counts in sorted(self.labels.items())}
        result["reliability"] = self.reliability.to_list()
        return result


def contest_score(found: Iterable[str], answers: Iterable[str]) -> float:
    """Return the contest's score of one text: first right 1, each further +0.5, each wrong -0.5, never below 0."""
    found, answers = set(found), set(answers)
    right = len(found & answers)
    return max(0.0, (0.5 + 0.5 * right if right else 0.0) - 0.5 * len(found - answers))


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a table of `Scores.to_dict`: label, precision, recall, F1, gold, found."""
    return [row(name, counts) for name, counts in [*result["labels"].items(), ("all", result)]]


def row(name: str, counts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a row of such a table, of `Counts.to_dict`."""
    shares = (f"{100 * counts[key]:.2f}" for key in ("precision", "recall", "f1"))
    return (name, *shares, f"{counts['gold']:,}", f"{counts['predicted']:,}")


def reliability_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the reliability table of `Scores.to_dict`: probability given, entities found, share of them right."""
    return [
        (f"{row['from']:.1f} to {row['to']:.1f}", f"{row['predicted']:,}", f"{100 * row['correct']:.1f}")
        for row in result.get("reliability", ())
    ]
