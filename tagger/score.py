"""Precision, recall and F1 of entities, the contest's score, top-1 accuracy; as data, which others print."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import CONTEST_LABEL, Document, Entity, Span, judged, squeeze


@dataclass
class Counts:
    """Numbers of entities; a predicted one is correct if start, end and label are those of a gold one."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    @property
    def precision(self) -> float:
        """Share of the predicted entities that are correct; 0 when none is predicted."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold entities that are predicted; 0 when there is none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when none is correct."""
        return 2 * self.correct / (self.predicted + self.gold) if self.correct else 0.0

    def add(self, correct: int = 0, predicted: int = 0, gold: int = 0) -> None:
        """Add to the counts."""
        self.correct += correct
        self.predicted += predicted
        self.gold += gold

    def to_dict(self) -> dict[str, float]:
        """Return the three scores and the three counts by name."""
        return {
            "precision": self.precision, "recall": self.recall, "f1": self.f1,
            "gold": self.gold, "predicted": self.predicted, "correct": self.correct,
        }  # fmt: skip


@dataclass
class Reliability:
    """How often predicted entities are correct, by their probability: from 0 to 0.1, from 0.1 to 0.2, ..."""

    predicted: list[int] = field(default_factory=lambda: [0] * 10)
    correct: list[int] = field(default_factory=lambda: [0] * 10)

    def add(self, probability: float, correct: bool) -> None:
        """Count a predicted entity."""
        row = min(int(10 * probability), 9)
        self.predicted[row] += 1
        self.correct[row] += correct

    def to_list(self) -> list[dict[str, float]]:
        """Return the rows that are not empty: range of probabilities, predicted entities, share of them correct."""
        return [
            {"from": row / 10, "to": (row + 1) / 10, "predicted": predicted, "accuracy": correct / predicted}
            for row, (predicted, correct) in enumerate(zip(self.predicted, self.correct, strict=True))
            if predicted
        ]


@dataclass(repr=False)
class Scores:
    """Scores of a tagger, added up document by document.

    Attributes:
        overall: Counts of all entities.
        labels: Counts of the entities of each label.
        texts: Number of documents.
        answered: Number of documents that have answers, as those of the contest do.
        top1: Number of these whose most probable entity is one of the answers.
        contest: Sum of their scores in the contest.
        given: Whether a document had an answer that is no entity of it.
        reliability: Counts of the predicted entities by their probability.
    """

    overall: Counts = field(default_factory=Counts)
    labels: dict[str, Counts] = field(default_factory=dict)
    texts: int = 0
    answered: int = 0
    top1: int = 0
    contest: float = 0.0
    given: bool = False
    reliability: Reliability = field(default_factory=Reliability)

    def add(self, document: Document, entities: Iterable[Entity], best: Entity | None = None) -> None:
        """Count the entities predicted in a document, and whether `best` is one of its answers.

        A document that nobody has annotated is passed over, and so is what lies in stretches that nobody has.
        """
        if document.is_unlabelled:
            return
        entities = judged(document, entities)
        gold, predicted = Counter(document.entities), Counter(Span(e.start, e.end, e.label) for e in entities)
        self.texts += 1
        for entity in entities:
            self.reliability.add(entity.score, Span(entity.start, entity.end, entity.label) in gold)
        for spans, count in ((gold & predicted, "correct"), (predicted, "predicted"), (gold, "gold")):
            for span, number in spans.items():
                for counts in (self.overall, self.labels.setdefault(span.label, Counts())):
                    counts.add(**{count: number})
        if document.answers:
            mentions = (squeeze(document.text[span.start : span.end]) for span in document.entities)
            self.given = self.given or not set(mentions).issuperset(document.answers)
            self.answered += 1
            self.top1 += best is not None and squeeze(best.text) in document.answers
            self.contest += contest_score({squeeze(e.text) for e in entities}, document.answers)

    @property
    def precision(self) -> float:
        """Share of the predicted entities that are correct; 0 when none is predicted."""
        return self.overall.precision

    @property
    def recall(self) -> float:
        """Share of the gold entities that are predicted; 0 when there is none."""
        return self.overall.recall

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when none is correct."""
        return self.overall.f1

    def __repr__(self) -> str:
        lines = [(name, self.labels[name]) for name in sorted(self.labels)] if len(self.labels) > 1 else []
        shown = [
            f"{name}: f1 {counts.f1:.4f}, precision {counts.precision:.4f}, recall {counts.recall:.4f} "
            f"({counts.gold:,} gold, {counts.predicted:,} predicted)"
            for name, counts in [("all", self.overall), *lines]
        ]
        return f"<{type(self).__name__} of {self.texts:,} texts; {'; '.join(shown)}>"

    @property
    def is_contest(self) -> bool:
        """Whether the corpus is one of the contest: answers are given apart from entities, or all have its label."""
        return self.given or {label for label, counts in self.labels.items() if counts.gold} == {CONTEST_LABEL}

    def to_dict(self, contest: bool | None = None) -> dict[str, Any]:
        """Return the scores by name, as numbers, lists and dictionaries.

        Args:
            contest: Whether to include top-1 accuracy and the contest's score; None if `is_contest` says so.
        """
        result: dict[str, Any] = {"texts": self.texts, **self.overall.to_dict()}
        if self.answered and (self.is_contest if contest is None else contest):
            result["top1"] = self.top1 / self.answered
            result["contest"] = self.contest / self.answered
        result["labels"] = {label: counts.to_dict() for label, counts in sorted(self.labels.items())}
        result["reliability"] = self.reliability.to_list()
        return result


def contest_score(predicted: Iterable[str], answers: Iterable[str]) -> float:
    """Return the contest's score of one text, at least 0.

    The first correct answer counts 1, each further one 0.5, each wrong one -0.5.
    """
    predicted, answers = set(predicted), set(answers)
    correct = len(predicted & answers)
    return max(0.0, (0.5 + 0.5 * correct if correct else 0.0) - 0.5 * len(predicted - answers))


def rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of `Scores.to_dict`: label, precision, recall, F1, gold, predicted."""
    return [row(name, counts) for name, counts in [*result["labels"].items(), ("all", result)]]


def row(name: str, counts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of `Counts.to_dict` in such a table."""
    shares = (f"{100 * counts[key]:.2f}" for key in ("precision", "recall", "f1"))
    return (name, *shares, f"{counts['gold']:,}", f"{counts['predicted']:,}")


def reliability_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the reliability table of `Scores.to_dict`: range of probabilities, predicted, accuracy in percent."""
    return [
        (f"{row['from']:.1f} to {row['to']:.1f}", f"{row['predicted']:,}", f"{100 * row['accuracy']:.1f}")
        for row in result.get("reliability", ())
    ]
