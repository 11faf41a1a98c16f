"""`Tagger`: text -> entities, the one object a user needs."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tagger import bundle as bundles
from tagger.batches import group, pad
from tagger.config import BatchesConfig, Config
from tagger.corpus import Document, Entity
from tagger.decode import Transitions, best_span, lattice, log_softmax, viterbi
from tagger.runtime import KerasRuntime, OnnxRuntime, Runtime
from tagger.score import Scores
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker, Units, pieces, windows
from tagger.vectors import Lookup

# Texts are taken in groups of at most this many characters and texts: memory does not depend on how many follow.
_GROUP_CHARACTERS, _GROUP_TEXTS = 50_000, 1_000
_NETWORK = BatchesConfig(units=4_000, texts=64)
_DECODER = BatchesConfig(units=20_000, texts=512)


@dataclass(frozen=True)
class Result:
    """What was found in a text.

    Args:
        text: As given.
        entities: In order, not overlapping.
        answer: The most probable entity, also where `entities` is empty; None for a blank text.
    """

    text: str
    entities: list[Entity]
    answer: Entity | None


class Tagger:
    """Finds entities in text with a trained model.

    Args:
        config: All settings.
        scheme: The tags.
        transitions: What may follow what.
        units: Text -> units.
        lookup: Units -> ids.
        runtime: ids -> scores.

    Example:
        tagger = Tagger.load("bundle")
        for entity in tagger("遵义会议旧址，主要指召开遵义会议的那座小楼。"):
            print(entity.text, entity.label, entity.score)
    """

    def __init__(
        self,
        config: Config,
        scheme: TagScheme,
        transitions: Transitions,
        units: UnitMaker,
        lookup: Lookup,
        runtime: Runtime,
    ) -> None:
        self.config, self.scheme, self.transitions = config, scheme, transitions
        self.units, self.lookup, self.runtime = units, lookup, runtime

    @staticmethod
    def load(path: Path | str, runtime: Literal["onnx", "keras"] = "onnx") -> "Tagger":
        """Return the tagger in a bundle.

        Args:
            path: The bundle's folder.
            runtime: "onnx" (light, fast) or "keras" (needs TensorFlow).

        Raises:
            BundleError: If the bundle is missing, damaged or does not fit what is installed.
        """
        found = bundles.load(path)
        engine: Runtime
        if runtime == "keras":
            from tagger.export import build

            engine = KerasRuntime(build(found), found.lookup)
        else:
            engine = OnnxRuntime(found.folder / bundles.ONNX, found.lookup)
        return Tagger(found.config, found.scheme, found.transitions, found.units, found.lookup, engine)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels this tagger knows."""
        return self.scheme.labels

    def __call__(self, text: str) -> list[Entity]:
        """Return the entities of one text, in order."""
        return self._group([text], answers=False)[0].entities

    def stream(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        """Yield the entities of each text, in order, in bounded memory."""
        for result in self.results(texts, answers=False):
            yield result.entities

    def results(self, texts: Iterable[str], answers: bool = True) -> Iterator[Result]:
        """Yield a `Result` for each text, in order, in bounded memory.

        Args:
            texts: Any iterable; read as far as needed.
            answers: Whether to look for the answer where a text has no entity; otherwise it is None there.
        """
        waiting: list[str] = []
        size = 0
        for text in texts:
            waiting.append(text)
            size += len(text)
            if size >= _GROUP_CHARACTERS or len(waiting) >= _GROUP_TEXTS:
                yield from self._group(waiting, answers)
                waiting, size = [], 0
        if waiting:
            yield from self._group(waiting, answers)

    def _group(self, texts: list[str], answers: bool) -> list[Result]:
        """Return the results of some texts; a very long one is tagged piece by piece."""
        cuts = [pieces(text) for text in texts]
        found = list(
            self._pieces([text[a:b] for text, spans in zip(texts, cuts, strict=True) for a, b in spans], answers)
        )
        results = []
        rest = iter(found)
        for text, spans in zip(texts, cuts, strict=True):
            entities: list[Entity] = []
            answer = None
            for (offset, _), (some, candidate) in zip(spans, itertools.islice(rest, len(spans)), strict=True):
                if offset:
                    some = [e._replace(start=e.start + offset, end=e.end + offset) for e in some]
                entities += some
                if candidate and (answer is None or candidate.score > answer.score):
                    answer = candidate._replace(start=candidate.start + offset, end=candidate.end + offset)
            results.append(Result(text, entities, answer))
        return results

    def _pieces(self, texts: list[str], answers: bool) -> list[tuple[list[Entity], Entity | None]]:
        made = [self.units(text) for text in texts]
        scores = self._scores(made)
        lengths = np.fromiter(map(len, made), np.int64, len(made))
        found: list[tuple[list[Entity], Entity | None]] = [([], None)] * len(made)
        for numbers in group(lengths, _DECODER):
            numbers = numbers[lengths[numbers] > 0]
            if len(numbers):
                some = self._decode([made[n] for n in numbers], [scores[n] for n in numbers], answers)
                for number, one in zip(numbers, some, strict=True):
                    found[number] = one
        return found

    def _scores(self, made: list[Units]) -> list[np.ndarray]:
        """Return the tag scores (T, K) of each text, joined from its windows."""
        text = self.config.text
        parts = [(n, w) for n, units in enumerate(made) for w in windows(units, text.maxlen, text.overlap)]
        ids = [self.lookup.ids(units) for units in made]
        scores = [np.empty((len(units), self.scheme.size), np.float32) for units in made]
        lengths = np.array([window.stop - window.start for _, window in parts], np.int64)
        for numbers in group(lengths, _NETWORK):
            chosen = [parts[number] for number in numbers]
            rows, sizes = pad([ids[n][w.start : w.stop] for n, w in chosen])
            for (n, window), row in zip(chosen, self.runtime.scores(rows, sizes), strict=True):
                kept = row[window.keep - window.start : window.keep_stop - window.start]
                scores[n][window.keep : window.keep_stop] = kept
        if not self.config.model.crf:
            scores = [log_softmax(score) if len(score) else score for score in scores]
        return scores

    def _decode(
        self, made: list[Units], scores: list[np.ndarray], answers: bool
    ) -> list[tuple[list[Entity], Entity | None]]:
        """Return entities and answer of texts that are not empty."""
        lengths = np.fromiter(map(len, made), np.int64, len(made))
        padded = np.zeros((len(made), int(lengths.max()), self.scheme.size), np.float32)
        for row, score in enumerate(scores):
            padded[row, : len(score)] = score
        paths = viterbi(padded, lengths, self.transitions)
        spans = [self.scheme.decode(path[:length]) for path, length in zip(paths, lengths, strict=True)]
        if self.config.decode.score == "mean":
            rate = _mean_rate(padded, paths)
        else:
            rate = lattice(padded, lengths, self.transitions).span
        found = []
        around = None
        for row, units in enumerate(made):
            entities = [self._entity(units, span, rate(row, span)) for span in spans[row]]
            answer = max(entities, key=lambda e: e.score, default=None)
            if answers and answer is None and units.text.strip():
                around = around or lattice(padded, lengths, self.transitions)
                span = best_span(around, row, len(units), self.scheme)
                answer = self._entity(units, span, around.span(row, span)) if span else None
            found.append((entities, answer))
        return found

    def _entity(self, units: Units, span: UnitSpan, score: float) -> Entity:
        start, end = int(units.bounds[span.start]), int(units.bounds[span.end])
        return Entity(start, end, self.scheme.labels[span.label], units.text[start:end], round(score, 4))


def _mean_rate(scores: np.ndarray, paths: np.ndarray) -> Callable[[int, UnitSpan], float]:
    """Return a function giving the geometric mean probability of a span's tags: the measure of 2016."""
    chosen = np.take_along_axis(scores, paths[:, :, None], axis=2)[:, :, 0]
    return lambda row, span: float(np.exp(chosen[row, span.start : span.end].mean()))


def evaluate(tagger: Tagger, documents: Iterable[Document]) -> Scores:
    """Return the scores of a tagger on labelled documents, read one by one."""
    scores = Scores()
    documents, copies = itertools.tee(documents)
    results = tagger.results(document.text for document in copies)
    for document, result in zip(documents, results, strict=True):
        scores.add(document, result.entities, result.answer)
    return scores
