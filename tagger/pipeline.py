"""`Tagger`, from text to entities: the one object that most users need."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from tagger import bundle as bundles
from tagger import corpus
from tagger.batches import group, pad
from tagger.calibration import Calibration, Thresholds
from tagger.config import Config
from tagger.cores import usable_cores
from tagger.decode import Lattice, Transitions, best_span, lattice, log_softmax, mean_probabilities, viterbi
from tagger.documents import Document, Entity
from tagger.gazetteer import Gazetteer
from tagger.groups import Wait, gathered, grouped, in_order, seconds_to_wait, shown, strings
from tagger.lookup import Lookup
from tagger.risk import likely_spans
from tagger.runtime import DEFAULT, Runtime, runtime_spec
from tagger.score import Scores
from tagger.sections import BatchesConfig
from tagger.tags import OUTSIDE, TagScheme, UnitSpan
from tagger.text import UnitMaker, Units, pieces, windows

Item = TypeVar("Item")

_RUNTIME_TEXTS = 128  # most texts in a batch for the runtime


@dataclass(frozen=True)
class PathScore:
    """How likely the best tag path of a text is.

    Args:
        log_probability: Of the whole path.
        units: Units of the text.
    """

    log_probability: float
    units: int

    @property
    def certainty(self) -> float:
        """The geometric mean probability of a unit of the path, 0..1: comparable between short texts and long ones."""
        return math.exp(self.log_probability / self.units) if self.units else 1.0


@dataclass(frozen=True)
class Result:
    """The prediction for one text.

    Args:
        text: The text.
        entities: In the order of the text, not overlapping.
        answer: The most probable entity, even where `entities` is empty; None for a blank text.
        outside: Probability that a character is in no entity, (len(text),) float32; None unless requested.
        path: How likely the best tag path is; None unless requested.
    """

    text: str
    entities: list[Entity]
    answer: Entity | None
    outside: np.ndarray | None = None
    path: PathScore | None = None

    @property
    def certainty(self) -> float | None:
        """`PathScore.certainty` of the best tag path; None unless requested."""
        return self.path.certainty if self.path else None

    @staticmethod
    def joined(text: str, parts: Sequence["Result"]) -> "Result":
        """Return the result of a text from those of the pieces it was cut into; its line end is outside of entities."""
        if len(parts) == 1 and len(parts[0].text) == len(text):
            return parts[0]
        entities: list[Entity] = []
        answer, offset = None, 0
        for part in parts:
            entities += [e._replace(start=e.start + offset, end=e.end + offset) for e in part.entities]
            if part.answer and (answer is None or part.answer.score > answer.score):
                answer = part.answer._replace(start=part.answer.start + offset, end=part.answer.end + offset)
            offset += len(part.text)
        outside = [part.outside for part in parts if part.outside is not None]
        if outside:
            outside.append(np.ones(len(text) - offset, np.float32))
        paths = [part.path for part in parts if part.path is not None]
        path = PathScore(sum(p.log_probability for p in paths), sum(p.units for p in paths)) if paths else None
        return Result(text, entities, answer, np.concatenate(outside) if outside else None, path)


class Tagger:
    """Predicts the entities of texts with a trained model; usually made by `Tagger.load`.

    A text is given to one method or another, depending on how many there are: `tagger(text)` for one, `batch` for a
    list, `stream` for any number, in bounded memory. `results` and `tag` return more than entities. All are safe to use
    from several threads, and raise `TypeError` where a text is not a string. The offsets of an entity are those of the
    text as given: `text[e.start:e.end] == e.text`. One line end at the end of a text, as lines of a file have it, is
    not tagged.

    Args:
        config: All settings.
        scheme: The tags.
        transitions: Scores of the transitions between tags.
        units: Text -> units.
        lookup: Units -> ids.
        runtime: Ids -> scores.
        calibration: Score -> probability; the identity by default.
        workers: Number of threads that tag groups of texts side by side in `stream` and `results`.
        gazetteer: Mentions that are to be entities, or are more likely to be.
        identity: Which bundle this is; None where it comes from none.
        thresholds: How probable an entity must be to be returned.

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
        identity: bundles.Identity | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self.config, self.scheme, self.transitions = config, scheme, transitions
        self.units, self.lookup, self.runtime = units, lookup, runtime
        self.calibration, self.workers = calibration or Calibration(), workers
        self.gazetteer, self.identity = gazetteer, identity
        self.thresholds = thresholds or Thresholds()

    @classmethod
    def load(
        cls, path: Path | str, runtime: str = DEFAULT, workers: int = 0, gazetteer: Path | str | None = None
    ) -> Self:
        """Return the tagger in a bundle.

        Args:
            path: The bundle's folder.
            runtime: A name in `tagger.runtime.RUNTIMES`: "onnx" (light, fast), "int8" (the same in 8-bit integers:
                faster, slightly different probabilities), "openvino" (slower to start, fastest on much text; slightly
                different probabilities on a processor with bfloat16) or "keras" (needs TensorFlow).
            workers: Number of threads for streams of texts; 0 for one for each core that this process may use.
            gazetteer: File of mentions that are to be entities (see `tagger.gazetteer`); replaces the bundle's own.

        Raises:
            BundleError: If the bundle is missing, damaged or does not fit what is installed.
            ConfigError: If there is no such runtime.
            CorpusError: If the gazetteer cannot be read.
            MissingExtraError: If a package that the runtime needs is not installed.
        """
        spec = runtime_spec(runtime)
        bundle = bundles.load(path)
        workers = workers or usable_cores()
        return cls(
            bundle.config,
            bundle.scheme,
            bundle.transitions,
            bundle.units,
            bundle.lookup,
            spec.load(bundle, workers),
            bundle.calibration,
            workers,
            Gazetteer.read(gazetteer, bundle.scheme, bundle.config.text.simplify) if gazetteer else bundle.gazetteer,
            bundle.identity,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that this tagger predicts."""
        return self.scheme.labels

    def __call__(self, text: str) -> list[Entity]:
        """Return the entities of one text, in the order of the text.

        Raises:
            TypeError: If it is not a string.
        """
        if not isinstance(text, str):
            remedy = "for several texts, use batch(texts)" if isinstance(text, Iterable) else "leave it out"
            raise TypeError(f"text: expected a string, received {shown(text)}; {remedy}")
        return self.batch([text])[0]

    def batch(self, texts: Iterable[str]) -> list[list[Entity]]:
        """Return the entities of each text, tagged together.

        Raises:
            TypeError: If `texts` is a string, or has something else than strings in it.
        """
        return [result.entities for result in self.tag(texts)]

    def stream(self, texts: Iterable[str], wait: Wait = "auto") -> Iterator[list[Entity]]:
        """Yield the entities of each text, in the order of the texts, in bounded memory; arguments as for `results`."""
        return (result.entities for result in self.results(texts, answers=False, wait=wait))

    def results(
        self,
        texts: Iterable[str],
        answers: bool = True,
        outside: bool = False,
        certainty: bool = False,
        wait: Wait = "auto",
    ) -> Iterator[Result]:
        """Yield the `Result` of each text, in the order of the texts, in bounded memory.

        Args:
            texts: Any iterable; read only as far as needed. If it raises an error, what came before is yielded first.
            answers: Whether to compute `Result.answer` for texts without entities; otherwise it is None there.
            outside: Whether to compute `Result.outside`.
            certainty: Whether to compute `Result.path` and `Result.certainty`.
            wait: Seconds that a text of a slow source waits for others that are tagged with it; the texts are then read
                in a thread of their own. None reads them in the thread of the caller, as what belongs to one thread
                demands (a cursor of sqlite3, an iterator of `itertools.tee`): a text waits until its group is full.
                "auto" is 0.2 for an open pipe, socket or terminal, and None for all else.

        Raises:
            TypeError: If `texts` is a string, or has something else than strings in it.
        """
        wait = seconds_to_wait(texts) if wait == "auto" else wait
        return self._results(gathered(strings(texts), len, wait), answers, outside, certainty)

    def _results(self, groups: Iterator[list[str]], *options: bool) -> Iterator[Result]:
        with ThreadPoolExecutor(self.workers) as pool:
            for _, results in in_order(pool, self.tag, groups, self.workers, *options):
                yield from results

    def tag(
        self, texts: Iterable[str], answers: bool = False, outside: bool = False, certainty: bool = False
    ) -> list[Result]:
        """Return the result of each text, options and errors as for `results`; very long texts are cut in pieces."""
        texts = list(strings(texts))
        if not texts:
            return []
        lines = [text.removesuffix("\n").removesuffix("\r") for text in texts]
        cuts = [pieces(line) for line in lines]
        parts = [line[start:end] for line, spans in zip(lines, cuts, strict=True) for start, end in spans]
        results = _split(self._tag_pieces(parts, answers, outside, certainty), map(len, cuts))
        return [Result.joined(text, own) for text, own in zip(texts, results, strict=True)]

    def evaluate(self, documents: Iterable[Document] | Path | str, scores: Scores | None = None) -> Scores:
        """Return the scores on labelled documents, read one by one; they are added to `scores`, if given.

        Args:
            documents: Labelled documents, or the path of a corpus.
            scores: Where to add the scores.

        Raises:
            CorpusError: If the corpus cannot be read.
        """
        scores = Scores() if scores is None else scores
        if isinstance(documents, Path | str):
            documents = corpus.read(documents)
        documents, copies = itertools.tee(documents)
        results = self.results(document.text for document in copies)
        for document, result in zip(documents, results, strict=True):
            scores.add(document, result.entities, result.answer)
        return scores

    def _tag_pieces(self, texts: list[str], answers: bool, outside: bool, certainty: bool) -> list[Result]:
        units = [self.units(text) for text in texts]
        return self.decode(units, self.scores(units), answers, outside, certainty)

    def decode(
        self,
        units: list[Units],
        scores: list[np.ndarray],
        answers: bool = False,
        outside: bool = False,
        certainty: bool = False,
    ) -> list[Result]:
        """Return the results of texts from their `scores`; `answers`, `outside` and `certainty` as for `results`."""
        empty = np.zeros(0, np.float32) if outside else None
        blank = PathScore(0.0, 0) if certainty else None
        results = [Result(each.text, [], None, empty, blank) for each in units]
        lengths = list(map(len, units))
        filled = (number for number, length in enumerate(lengths) if length)
        for numbers in grouped(filled, lengths.__getitem__):
            of_texts = [units[n] for n in numbers], [scores[n] for n in numbers]
            for number, result in zip(numbers, self._decode(*of_texts, answers, outside, certainty), strict=True):
                results[number] = result
        return results

    def scores(self, units: list[Units]) -> list[np.ndarray]:
        """Return the tag scores (T, K) of each text, joined from those of its windows."""
        text = self.config.text
        parts = [(n, w) for n, own in enumerate(units) for w in windows(own, text.maxlen, text.overlap)]
        ids = self.lookup.ids(units)
        bounds = np.cumsum([0, *map(len, units)])
        joined = np.empty((bounds[-1], self.scheme.size), np.float32)
        scores = [joined[start:end] for start, end in itertools.pairwise(bounds)]
        lengths = np.array([window.stop - window.start for _, window in parts], np.int64)
        for numbers in group(lengths, BatchesConfig(units=self.runtime.batch_units, texts=_RUNTIME_TEXTS)):
            batch = [parts[number] for number in numbers]
            rows, sizes = pad([ids[n][w.start : w.stop] for n, w in batch])
            for (n, window), row in zip(batch, self.runtime.scores(rows, sizes), strict=True):
                kept = row[window.keep - window.start : window.keep_stop - window.start]
                scores[n][window.keep : window.keep_stop] = kept
        if self.gazetteer:
            self.gazetteer.add(units, joined)
        if not self.config.model.crf:
            joined[:] = log_softmax(joined)
        return scores

    def _decode(
        self, texts: list[Units], scores: list[np.ndarray], answers: bool, outside: bool, certainty: bool
    ) -> list[Result]:
        """Return the results of texts that are not empty."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        flat = np.concatenate(scores)  # the units of all texts, (N, K)
        rows, spans, probabilities, marginals = self._spans(flat, lengths, outside or certainty)
        entities: list[list[Entity]] = [[] for _ in texts]
        for row, span, score in zip(rows.tolist(), spans.tolist(), probabilities.tolist(), strict=True):
            entities[row].append(self._entity(texts[row], UnitSpan(*span), score))
        answered = [max(found, key=lambda e: e.score, default=None) for found in entities]
        wanting = [row for row, found in enumerate(answered) if answers and not found and texts[row].text.strip()]
        if wanting:  # their answer is the most probable span
            others = np.full(len(texts), marginals is not None)
            others[wanting] = True
            weights = marginals or lattice(flat[others.repeat(lengths)], lengths[others], self.transitions)
            for place, row in zip((others.cumsum() - 1)[wanting].tolist(), wanting, strict=True):
                answered[row] = self._entity(texts[row], *best_span(weights, place, self.scheme))
        likely = []
        if certainty and marginals:
            likely = marginals.log_probabilities(viterbi(flat, lengths, self.transitions)).tolist()
        results = []
        for row, (units, found, answer) in enumerate(zip(texts, entities, answered, strict=True)):
            if answer:
                answer = answer._replace(score=round(self.calibration.probability(answer.score), 4))
            free = self._outside(marginals, row, units) if outside and marginals else None
            predicted = self.thresholds(self.calibration(units.text, found)) if found else found
            path = PathScore(likely[row], len(units)) if likely else None
            results.append(Result(units.text, predicted, answer, free, path))
        return results

    def _spans(
        self, scores: np.ndarray, lengths: np.ndarray, every: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Lattice | None]:
        """Return the spans in texts: text (S,), units and label (S, 3), probability (S,); and the lattice of all texts.

        Args:
            scores: Of the units of all texts, (N, K).
            lengths: Units of each text, (B,).
            every: Whether the lattice is wanted; without, there may be none.
        """
        if self.calibration.threshold:
            marginals = lattice(scores, lengths, self.transitions)
            return *likely_spans(marginals, self.calibration.threshold), marginals
        paths = viterbi(scores, lengths, self.transitions)
        spans = np.array(self.scheme.decode(paths), np.int64).reshape(-1, 3)
        by_mean, ends = self.config.decode.score == "mean", lengths.cumsum()
        rows = ends.searchsorted(spans[:, 0], "right")
        own = spans.copy()  # numbered from the start of their text
        own[:, :2] -= (ends - lengths)[rows, None]
        needed = np.full(len(lengths), every)
        needed[rows] |= not by_mean
        weights, probabilities = None, np.zeros(0)
        if needed.any():
            weights = lattice(scores[needed.repeat(lengths)], lengths[needed], self.transitions)
        if by_mean:
            probabilities = mean_probabilities(scores, paths, spans[:, :2])
        elif weights:
            probabilities = weights.spans((needed.cumsum() - 1)[rows], own)
        return rows, own, probabilities, weights if every else None

    def _outside(self, marginals: Lattice, row: int, units: Units) -> np.ndarray:
        """Return the probability that each character is in no entity, calibrated as that of an entity is."""
        inside = 1 - marginals.marginals(row)[:, OUTSIDE]
        free = [1 - self.calibration.probability(probability) for probability in inside.tolist()]
        return np.repeat(np.array(free, np.float32), np.diff(units.bounds))

    def _entity(self, units: Units, span: UnitSpan, score: float) -> Entity:
        start, end = int(units.bounds[span.start]), int(units.bounds[span.end])
        return Entity(start, end, self.scheme.labels[span.label], units.text[start:end], score)


def _split(items: Iterable[Item], counts: Iterable[int]) -> list[list[Item]]:
    """Return consecutive groups of these sizes."""
    rest = iter(items)
    return [list(itertools.islice(rest, count)) for count in counts]
