"""Calibration of a trained tagger on dev: its probabilities, and whether an entity's string is an entity wherever it
occurs in a text."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from tagger.documents import Document, Entity, Span, judged
from tagger.errors import ConfigError, shortened

_EDGE = 5e-5  # probabilities are rounded to four digits

_PRIOR = 10.0  # strength of the prior for an unchanged probability: about as much as so many entities


@dataclass(frozen=True)
class Calibration:
    """Corrects probabilities (Platt, 1999), and marks other occurrences of an entity's string in the same text.

    Args:
        slope, offset: The log-odds of an entity become `slope * log-odds + offset`.
        repeats: Probability that another occurrence of an entity's string is an entity too, as a share of the
            probability of that entity; 0 where other occurrences are not marked.
        threshold: Probability, before correction, that a span needs to be an entity (`tagger.risk`); 0 where the
            entities are those of the best tag path.
    """

    slope: float = 1.0
    offset: float = 0.0
    repeats: float = 0.0
    threshold: float = 0.0

    def probability(self, score: float) -> float:
        """Return the corrected probability for a probability."""
        if self.slope == 1.0 and self.offset == 0.0:
            return score
        score = min(max(score, _EDGE), 1 - _EDGE)
        return 1 / (1 + math.exp(-self.slope * math.log(score / (1 - score)) - self.offset))

    def __call__(self, text: str, entities: Sequence[Entity]) -> list[Entity]:
        """Return the entities of a text with corrected probabilities, and other occurrences of their strings."""
        corrected = [e._replace(score=round(self.probability(e.score), 4)) for e in entities]
        if self.repeats:
            others = (e._replace(score=round(e.score * self.repeats, 4)) for e in repeated(text, corrected))
            corrected = sorted([*corrected, *(e for e in others if e.score >= 0.5)])
        return corrected

    def to_dict(self) -> dict[str, float]:
        """Return the parameters by name."""
        return asdict(self)


@dataclass(frozen=True)
class Thresholds:
    """How probable an entity must be, by label; every entity is, by default.

    Args:
        least: For labels that are not in `labels`, 0..1.
        labels: For single labels, 0..1.
    """

    least: float = 0.0
    labels: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def parse(given: str, labels: Sequence[str], name: str = "--threshold") -> "Thresholds":
        """Return the thresholds in `0.5`, `PER=0.8,LOC=0.6` or `0.5,PER=0.8`.

        Args:
            given: As the user gave it.
            labels: All labels of the tagger.
            name: What it was given to, for errors.

        Raises:
            ConfigError: If it is anything else, or names a label that the tagger does not have.
        """
        least, by_label = 0.0, {}
        place = f"{name} {shortened(given)}"
        for part in given.split(","):
            label, equals, number = part.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                value = math.nan
            if not 0 <= value <= 1:
                raise ConfigError(f"{place}: expected 0 to 1, or LABEL=0 to 1 with commas between")
            if equals and label.strip() not in labels:
                known = ", ".join(labels)
                raise ConfigError(f"{place}: no label {shortened(label.strip())!r}; the tagger has: {known}")
            if equals:
                by_label[label.strip()] = value
            else:
                least = value
        return Thresholds(least, by_label)

    def __call__(self, entities: list[Entity]) -> list[Entity]:
        """Return the entities that are probable enough."""
        if not self.least and not self.labels:
            return entities
        return [entity for entity in entities if entity.score >= self.labels.get(entity.label, self.least)]


def repeated(text: str, entities: Iterable[Entity]) -> Iterator[Entity]:
    """Yield the other occurrences of entities' strings, with label and score of the most probable entity of a string.

    Occurrences that overlap an entity are left out, and so are single characters, which are mostly part of a word.
    Longer strings come first, and no two occurrences overlap.
    """
    entities = list(entities)
    strings: dict[str, Entity] = {}
    for entity in entities:
        best = strings.get(entity.text)
        if len(entity.text) > 1 and (best is None or entity.score > best.score):
            strings[entity.text] = entity
    if sum(map(text.count, strings)) <= len(entities) and len(strings) == len(entities):
        return
    taken = bytearray(len(text))
    for entity in entities:
        taken[entity.start : entity.end] = b"\1" * (entity.end - entity.start)
    for string in sorted(strings, key=len, reverse=True):
        start = text.find(string)
        while start >= 0:
            end = start + len(string)
            if any(taken[start:end]):
                start = text.find(string, start + 1)
                continue
            taken[start:end] = b"\1" * len(string)
            yield strings[string]._replace(start=start, end=end)
            start = text.find(string, end)


class Calibrator:
    """Collects the predictions of an uncalibrated tagger on labelled documents, and fits a `Calibration` to them.

    Args:
        threshold: That of the tagger; it stays.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        self._threshold = threshold
        self._predicted: list[tuple[float, bool]] = []  # probability, and whether it is correct
        self._repeated: list[tuple[float, bool]] = []

    def add(self, document: Document, entities: Sequence[Entity]) -> None:
        """Record which predicted entities of a document, and which other occurrences of their strings, are correct.

        What lies in stretches that were not annotated is neither.
        """
        gold = set(document.entities)
        self._predicted += _outcomes(judged(document, entities), gold)
        self._repeated += _outcomes(judged(document, repeated(document.text, entities)), gold)

    def fit(self) -> Calibration:
        """Return the most probable calibration; it changes next to nothing where there are few predictions."""
        slope, offset = 1.0, 0.0
        if self._predicted:
            probabilities, correct = np.array(self._predicted, np.float64).T
            slope, offset = _logistic(probabilities, correct)
        calibration = Calibration(slope, offset, threshold=self._threshold)
        expected = sum(calibration.probability(score) for score, _ in self._repeated)
        repeats = min(1.0, sum(correct for _, correct in self._repeated) / (expected + 1))
        return replace(calibration, repeats=repeats if repeats >= 0.5 else 0.0)


def _outcomes(entities: Iterable[Entity], gold: Container[Span]) -> list[tuple[float, bool]]:
    """Return the probability of each entity, and whether it is correct."""
    return [(e.score, Span(e.start, e.end, e.label) in gold) for e in entities]


def _logistic(probabilities: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of the log-odds under which `correct` is most likely, with a prior for 1 and 0.

    Args:
        probabilities: Of the predicted entities, (N,) float64.
        correct: 1 for those that are correct, else 0, (N,) float64.
    """
    probabilities = np.clip(probabilities, _EDGE, 1 - _EDGE)
    inputs = np.stack([np.log(probabilities / (1 - probabilities)), np.ones_like(probabilities)])  # (2, N)
    prior = parameters = np.array([1.0, 0.0])
    for _ in range(50):  # Newton's method with steps of bounded length
        expected = 0.5 * (1 + np.tanh(parameters @ inputs / 2))
        gradient = inputs @ (expected - correct) + _PRIOR * (parameters - prior)
        hessian = (inputs * (expected * (1 - expected))) @ inputs.T + _PRIOR * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        parameters = parameters - step / max(1.0, float(np.abs(step).max()))
    return max(float(parameters[0]), 0.05), float(parameters[1])
