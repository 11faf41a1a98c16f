"""What dev says of a trained tagger: how far to trust its probabilities, and whether an entity's string is an entity
wherever it stands in a text."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tagger.documents import Document, Entity, Span

_EDGE = 5e-5  # scores are told to four digits

_PRIOR = 10.0  # how many entities it takes to be believed, about


@dataclass(frozen=True)
class Calibration:
    """Corrects probabilities (Platt, 1999), and marks what a text repeats.

    Args:
        slope, offset: The log-odds of an entity become `slope * log-odds + offset`.
        repeats: How often another occurrence of an entity's string in the same text is an entity too, as a share of
            the entity's own probability; 0 where nothing is to be marked.
    """

    slope: float = 1.0
    offset: float = 0.0
    repeats: float = 0.0

    def probability(self, score: float) -> float:
        """Return the corrected probability."""
        if self.slope == 1.0 and self.offset == 0.0:
            return score
        score = min(max(score, _EDGE), 1 - _EDGE)
        return 1 / (1 + math.exp(-self.slope * math.log(score / (1 - score)) - self.offset))

    def __call__(self, text: str, entities: Sequence[Entity]) -> list[Entity]:
        """Return the entities of a text, their scores corrected, and occurrences of their strings added."""
        found = [e._replace(score=round(self.probability(e.score), 4)) for e in entities]
        if self.repeats:
            added = (e._replace(score=round(e.score * self.repeats, 4)) for e in repeated(text, found))
            found = sorted([*found, *(e for e in added if e.score >= 0.5)])
        return found

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


def repeated(text: str, entities: Iterable[Entity]) -> Iterator[Entity]:
    """Yield the other occurrences of entities' strings, with label and score of the most probable one there.

    An occurrence that touches an entity does not count, nor does a single character: it is mostly part of a word.
    """
    entities = list(entities)
    strings: dict[str, Entity] = {}
    for entity in entities:
        known = strings.get(entity.text)
        if len(entity.text) > 1 and (known is None or entity.score > known.score):
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
    """Gathers what an uncorrected tagger found on labelled documents, and learns a `Calibration` from it."""

    def __init__(self) -> None:
        self._found: list[tuple[float, bool]] = []
        self._repeated: list[tuple[float, bool]] = []

    def add(self, document: Document, entities: Sequence[Entity]) -> None:
        """Note which entities found in a document, and which other occurrences of their strings, are right."""
        gold = set(document.entities)
        for kept, some in ((self._found, entities), (self._repeated, repeated(document.text, entities))):
            kept += [(e.score, Span(e.start, e.end, e.label) in gold) for e in some]

    def fit(self) -> Calibration:
        """Return the most probable calibration, next to none where little was seen."""
        slope, offset = _logistic(*_columns(self._found)) if self._found else (1.0, 0.0)
        own = Calibration(slope, offset)
        expected = sum(own.probability(score) for score, _ in self._repeated)
        repeats = min(1.0, sum(right for _, right in self._repeated) / (expected + 1))
        return Calibration(slope, offset, repeats if repeats >= 0.5 else 0.0)


def _columns(pairs: Sequence[tuple[float, bool]]) -> Any:
    return np.array(pairs, np.float64).T


def _logistic(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return slope and offset of the log-odds that make `right` most likely, drawn a little towards 1 and 0."""
    scores = np.clip(scores, _EDGE, 1 - _EDGE)
    inputs = np.stack([np.log(scores / (1 - scores)), np.ones_like(scores)])  # (2, N)
    start = now = np.array([1.0, 0.0])
    for _ in range(50):  # Newton's steps, none of them long
        expected = 0.5 * (1 + np.tanh(now @ inputs / 2))
        slope = inputs @ (expected - right) + _PRIOR * (now - start)
        curve = (inputs * (expected * (1 - expected))) @ inputs.T + _PRIOR * np.eye(2)
        step = np.linalg.solve(curve, slope)
        now = now - step / max(1.0, float(np.abs(step).max()))
    return max(float(now[0]), 0.05), float(now[1])
