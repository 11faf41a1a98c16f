"""`Tagger`: text -> entities, the one object a user needs."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from tagger import bundle as bundles
from tagger.batches import group, pad
from tagger.calibration import Calibration
from tagger.config import BatchesConfig, Config
from tagger.decode import Lattice, Transitions, best_span, lattice, log_softmax, mean_probabilities, viterbi
from tagger.documents import Document, Entity
from tagger.gazetteer import Gazetteer
from tagger.lookup import Lookup
from tagger.runtime import KerasRuntime, OnnxRuntime, OpenvinoRuntime, Runtime
from tagger.score import Scores
from tagger.tags import OUTSIDE, TagScheme, UnitSpan
from tagger.text import UnitMaker, Units, grouped, pieces, windows

RuntimeName = Literal["onnx", "int8", "openvino", "keras"]

_NETWORK_TEXTS = 128  # in a batch at most

_DECODER = BatchesConfig(units=20_000, texts=512)


@dataclass(frozen=True)
class Result:
    """What was found in a text.

    Args:
        text: As given.
        entities: In order, not overlapping.
        answer: The most probable entity, also where `entities` is empty; None for a blank text.
        outside: Probability of each character to be in no entity, (len(text),) float32, where it was asked for.
    """

    text: str
    entities: list[Entity]
    answer: Entity | None
    outside: np.ndarray | None = None

    @staticmethod
    def joined(text: str, parts: Sequence["Result"]) -> "Result":
        """Return the result of a text from those of the pieces it was cut into."""
        if len(parts) == 1:
            return parts[0]
        entities: list[Entity] = []
        answer, offset = None, 0
        for part in parts:
            entities += [e._replace(start=e.start + offset, end=e.end + offset) for e in part.entities]
            if part.answer and (answer is None or part.answer.score > answer.score):
                answer = part.answer._replace(start=part.answer.start + offset, end=part.answer.end + offset)
            offset += len(part.text)
        known = [part.outside for part in parts if part.outside is not None]
        return Result(text, entities, answer, np.concatenate(known) if known else None)


class Tagger:
    """Finds entities in text with a trained model.

    Args:
        config: All settings.
        scheme: The tags.
        transitions: What may follow what.
        units: Text -> units.
        lookup: Units -> ids.
        runtime: ids -> scores.
        calibration: What dev said of the scores; nothing, by default.
        workers: Threads that tag groups of texts side by side in `stream` and `results`.
        gazetteer: Mentions that are to be entities, or are more likely to be.

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
        calibration: Calibration | None = None,
        workers: int = 1,
        gazetteer: Gazetteer | None = None,
    ) -> None:
        self.config, self.scheme, self.transitions = config, scheme, transitions
        self.units, self.lookup, self.runtime = units, lookup, runtime
        self.calibration, self.workers = calibration or Calibration(), workers
        self.gazetteer = gazetteer

    @staticmethod
    def load(
        path: Path | str,
        runtime: RuntimeName = "onnx",
        workers: int = 0,
        gazetteer: Path | str | None = None,
    ) -> "Tagger":
        """Return the tagger in a bundle.

        Args:
            path: The bundle's folder.
            runtime: "onnx" (light, fast), "int8" (the same in 8-bit integers: faster, not quite the same
                probabilities), "openvino" (OpenVINO: slower to start, fastest for much text; on a processor that
                multiplies bfloat16, not quite the same probabilities) or "keras" (needs TensorFlow).
            workers: Threads for streams of texts; 0 for as many as there are cores.
            gazetteer: File of mentions that are to be entities (see `gazetteer`), in place of the bundle's own.

        Raises:
            BundleError: If the bundle is missing, damaged or does not fit what is installed.
            CorpusError: If the gazetteer is not in order.
        """
        found = bundles.load(path)
        workers = workers or os.cpu_count() or 1
        engine: Runtime
        if runtime == "keras":
            from tagger.weights import build

            engine = KerasRuntime(build(found), found.lookup)
        elif runtime == "openvino":
            engine = OpenvinoRuntime(found.folder / bundles.ONNX, found.lookup, workers)
        else:
            engine = OnnxRuntime(found.folder / bundles.NETWORKS[runtime], found.lookup)
        own = Gazetteer.read(gazetteer, found.scheme) if gazetteer else found.gazetteer
        return Tagger(
            found.config, found.scheme, found.transitions, found.units, found.lookup, engine, found.calibration,
            workers, own,
        )  # fmt: skip

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels this tagger knows."""
        return self.scheme.labels

    def __call__(self, text: str) -> list[Entity]:
        """Return the entities of one text, in order."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> list[list[Entity]]:
        """Return the entities of each of some texts, tagged together; safe to use from several threads."""
        return [result.entities for result in self.tag(texts)]

    def stream(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        """Yield the entities of each text, in order, in bounded memory."""
        for result in self.results(texts, answers=False):
            yield result.entities

    def results(self, texts: Iterable[str], answers: bool = True, outside: bool = False) -> Iterator[Result]:
        """Yield a `Result` for each text, in order, in bounded memory.

        Args:
            texts: Any iterable; read as far as needed.
            answers: Whether to look for the answer where a text has no entity; otherwise it is None there.
            outside: Whether to tell what is in no entity.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            yield from in_order(pool, self.tag, grouped(texts, len), self.workers, answers, outside)

    def tag(self, texts: list[str], answers: bool = False, outside: bool = False) -> list[Result]:
        """Return the result of each of some texts, as `results` does; a very long one is tagged piece by piece."""
        cuts = [pieces(text) for text in texts]
        parts = [text[start:end] for text, spans in zip(texts, cuts, strict=True) for start, end in spans]
        rest = iter(self._pieces(parts, answers, outside))
        every = zip(texts, cuts, strict=True)
        return [Result.joined(text, list(itertools.islice(rest, len(spans)))) for text, spans in every]

    def _pieces(self, texts: list[str], answers: bool, outside: bool) -> list[Result]:
        made = [self.units(text) for text in texts]
        scores = self._scores(made)
        lengths = np.fromiter(map(len, made), np.int64, len(made))
        nothing = np.zeros(0, np.float32) if outside else None
        found = [Result(text, [], None, nothing) for text in texts]
        for numbers in group(lengths, _DECODER):
            numbers = numbers[lengths[numbers] > 0]
            if len(numbers):
                some = self._decode([made[n] for n in numbers], [scores[n] for n in numbers], answers, outside)
                for number, one in zip(numbers, some, strict=True):
                    found[number] = one
        return found

    def _scores(self, made: list[Units]) -> list[np.ndarray]:
        """Return the tag scores (T, K) of each text, joined from its windows."""
        text = self.config.text
        parts = [(n, w) for n, units in enumerate(made) for w in windows(units, text.maxlen, text.overlap)]
        ids = self.lookup.ids(made)
        bounds = np.cumsum([0, *map(len, made)])
        whole = np.empty((bounds[-1], self.scheme.size), np.float32)
        scores = [whole[start:end] for start, end in itertools.pairwise(bounds)]
        lengths = np.array([window.stop - window.start for _, window in parts], np.int64)
        for numbers in group(lengths, BatchesConfig(units=self.runtime.batch_units, texts=_NETWORK_TEXTS)):
            chosen = [parts[number] for number in numbers]
            rows, sizes = pad([ids[n][w.start : w.stop] for n, w in chosen])
            for (n, window), row in zip(chosen, self.runtime.scores(rows, sizes), strict=True):
                kept = row[window.keep - window.start : window.keep_stop - window.start]
                scores[n][window.keep : window.keep_stop] = kept
        if self.gazetteer:
            self.gazetteer.add(made, whole)
        if not self.config.model.crf:
            whole[:] = log_softmax(whole)
        return scores

    def _decode(self, made: list[Units], scores: list[np.ndarray], answers: bool, outside: bool) -> list[Result]:
        """Return the results of texts that are not empty."""
        lengths = np.fromiter(map(len, made), np.int64, len(made))
        padded = np.zeros((len(made), int(lengths.max()), self.scheme.size), np.float32)
        for row, score in enumerate(scores):
            padded[row, : len(score)] = score
        paths = viterbi(padded, lengths, self.transitions)
        spans = [self.scheme.decode(path[:length]) for path, length in zip(paths, lengths, strict=True)]
        by_mean = self.config.decode.score == "mean"
        missing = [answers and not some and bool(units.text.strip()) for some, units in zip(spans, made, strict=True)]
        wanted = [row for row in range(len(made)) if outside or missing[row] or (spans[row] and not by_mean)]
        around = lattice(padded[wanted], lengths[wanted], self.transitions) if wanted else None
        places = np.zeros(len(made), np.int64)  # of each text in the lattice
        places[wanted] = np.arange(len(wanted))
        if by_mean:
            rates = iter(_rates(partial(mean_probabilities, padded, paths), spans, np.arange(len(made))))
        else:
            rates = iter(_rates(around.spans, spans, places) if around else [])
        found = []
        for row, units in enumerate(made):
            entities = [self._entity(units, span, next(rates)) for span in spans[row]]
            answer = max(entities, key=lambda e: e.score, default=None)
            if missing[row] and around is not None:
                answer = self._entity(units, *best_span(around, int(places[row]), len(units), self.scheme))
            if answer:
                answer = answer._replace(score=round(self.calibration.probability(answer.score), 4))
            free = self._outside(around, int(places[row]), units) if outside and around is not None else None
            found.append(Result(units.text, self.calibration(units.text, entities), answer, free))
        return found

    def _outside(self, around: Lattice, row: int, units: Units) -> np.ndarray:
        """Return the probability of each character to be in no entity, corrected as an entity's own is."""
        inside = 1 - around.marginals(row, len(units))[:, OUTSIDE]
        free = [1 - self.calibration.probability(share) for share in inside.tolist()]
        return np.repeat(np.array(free, np.float32), np.diff(units.bounds))

    def _entity(self, units: Units, span: UnitSpan, score: float) -> Entity:
        start, end = int(units.bounds[span.start]), int(units.bounds[span.end])
        return Entity(start, end, self.scheme.labels[span.label], units.text[start:end], score)


def _rates(
    rate: Callable[[np.ndarray, np.ndarray], np.ndarray], spans: Sequence[Sequence[UnitSpan]], places: np.ndarray
) -> list[float]:
    """Return the score of each span of texts, one text after another, by their places and the spans: all at once."""
    if not any(spans):
        return []
    rows = np.repeat(places, list(map(len, spans)))
    return rate(rows, np.array([span for some in spans for span in some])).tolist()


def in_order(
    pool: Executor, tag: Callable[..., list[Result]], groups: Iterable[list[str]], ahead: int, *options: bool
) -> Iterator[Result]:
    """Yield the results of groups of texts, in order, as `tag(group, *options)` returns them in a pool.

    No more groups are in work than `ahead`, and one more.
    """
    waiting: deque[Future[list[Result]]] = deque()
    for some in groups:
        waiting.append(pool.submit(tag, some, *options))
        if len(waiting) > ahead:
            yield from waiting.popleft().result()
    for future in waiting:
        yield from future.result()


def evaluate(tagger: Tagger, documents: Iterable[Document], scores: Scores | None = None) -> Scores:
    """Return the scores of a tagger on labelled documents, read one by one; added to `scores`, where given."""
    scores = scores or Scores()
    documents, copies = itertools.tee(documents)
    results = tagger.results(document.text for document in copies)
    for document, result in zip(documents, results, strict=True):
        scores.add(document, result.entities, result.answer)
    return scores
