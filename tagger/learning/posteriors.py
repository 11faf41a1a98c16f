"""What teachers believe of texts: the probabilities of tags after each other, kept on disk until a student learns them.

A folder of posteriors holds `part_N.npz` for every million characters or so, written whole: the edges of the characters
of each text (`tagger.edges`), in the order of the texts.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from tagger import edges
from tagger.alignment import Alignment, align
from tagger.batches import group
from tagger.cores import usable_cores
from tagger.decode import Lattice, Transitions, lattice
from tagger.documents import Document
from tagger.errors import TrainingError
from tagger.files.arrays import read_arrays
from tagger.files.outputs import atomic_file
from tagger.groups import grouped, in_order
from tagger.pipeline import Tagger
from tagger.sections import BatchesConfig
from tagger.tags import OPEN, TagScheme

LEAST = 0.01  # probability of an edge that is kept

_FEW = 0.001  # the same for an edge of one teacher, before it is joined with those of others

_BATCH = BatchesConfig(units=4_000, texts=128)

_UNITS = 1_000  # whose pairs of tags are in memory at once

_GROUPS = 50  # groups of texts in a part

_REFUSED = -1e4  # score of a tag that contradicts what is labelled


class Ensemble:
    """Several taggers that teach together: what they believe is the mean of what each does.

    Args:
        taggers: With the labels of the scheme, in any order; of characters or of words.
        scheme: The tags of the student.
        temperature: Scores are divided by it: above 1, what is less probable counts more.
    """

    def __init__(self, taggers: Sequence[Tagger], scheme: TagScheme, temperature: float = 1.0) -> None:
        self._taggers, self._scheme, self._temperature = taggers, scheme, temperature

    def edges(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """Return the edges of the characters of each document; what is labelled of a partly labelled one is certain."""
        of_taggers = [self._edges_of(tagger, documents) for tagger in self._taggers]
        weights = [1 / len(of_taggers)] * len(of_taggers)
        return [edges.joined(parts, weights, self._scheme.size, LEAST) for parts in zip(*of_taggers, strict=True)]

    def _edges_of(self, tagger: Tagger, documents: Sequence[Document]) -> list[np.ndarray]:
        """Return what one of the taggers believes."""
        units = [tagger.units(document.text) for document in documents]
        scores = [each / self._temperature for each in tagger.scores(units)]
        for document, own in zip(documents, scores, strict=True):
            if document.unlabelled and not document.is_unlabelled:
                aligned, spans = align(document, tagger.units, tagger.scheme, Alignment())
                stretches = [aligned.touched(start, end) for start, end in document.unlabelled]
                tags = tagger.scheme.encode(spans, len(aligned), stretches)
                known = np.flatnonzero(tags != OPEN)
                own[known] += np.where(np.arange(tagger.scheme.size) == tags[known, None], 0, _REFUSED)
        of_transitions = (tagger.transitions.scores, tagger.transitions.starts, tagger.transitions.ends)
        transitions = Transitions(*(part / np.float32(self._temperature) for part in of_transitions))
        lengths = np.array([len(each) for each in units], np.int64)
        found = [edges.of_path(np.zeros(0, np.int32))] * len(documents)
        tags = self._tags_of(tagger.scheme)
        for numbers in group(lengths, _BATCH):
            numbers = numbers[lengths[numbers] > 0]
            if not len(numbers):
                continue
            weights = lattice(np.concatenate([scores[number] for number in numbers]), lengths[numbers], transitions)
            for row, number in enumerate(numbers):
                some = _edges_in(weights, row, int(lengths[number]))
                if len(units[number]) < len(units[number].text):
                    some = edges.of_characters(some, units[number].bounds, tagger.scheme)
                found[number] = edges.renamed(some, tags)
        return found

    def _tags_of(self, scheme: TagScheme) -> np.ndarray:
        """Return the student's tag for each tag of a teacher's scheme, (K,) int."""
        labels = [self._scheme.labels.index(label) for label in scheme.labels]
        of_labels = [
            TagScheme.tag(labels[label], part)
            for label, part in zip(scheme.tag_labels[1:], scheme.parts[1:], strict=True)
        ]
        return np.array([0, *of_labels])


def _edges_in(weights: Lattice, row: int, length: int) -> np.ndarray:
    """Return the edges of a text of this length, made from a few units at a time."""
    starts = range(0, length, _UNITS)
    pairs = (weights.pairs(row, start, min(start + _UNITS, length)) for start in starts)
    parts = [edges.of_marginals(part, _FEW) for part in pairs]
    return np.concatenate([edges.shifted(part, start) for part, start in zip(parts, starts, strict=True)])


def write_posteriors(ensemble: Ensemble, documents: Iterable[Document], folder: Path) -> None:
    """Write what an ensemble believes of documents, after the parts that an interrupted run has written."""
    folder.mkdir(parents=True, exist_ok=True)
    done = len(_parts(folder))
    groups = islice(grouped(documents, lambda document: len(document.text)), done * _GROUPS, None)
    workers = usable_cores()
    with ThreadPoolExecutor(workers) as pool:
        results = in_order(pool, ensemble.edges, groups, workers)
        while texts := [each for _, found in islice(results, _GROUPS) for each in found]:
            bounds = np.cumsum([0, *map(len, texts)])
            with atomic_file(_part(folder, done)) as path, path.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, bounds=bounds, edges=np.concatenate(texts))
            done += 1


def read_posteriors(folder: Path) -> Iterator[np.ndarray]:
    """Yield the edges of each text, (N,) `edges.EDGE`.

    Raises:
        TrainingError: If a part cannot be read.
    """
    for path in _parts(folder):
        arrays = read_arrays(path)
        if arrays is None or not arrays.keys() >= {"bounds", "edges"}:
            raise TrainingError(f"{path}: is damaged; delete it, and continue with --resume")
        for start, stop in pairwise(arrays["bounds"].tolist()):
            yield arrays["edges"][start:stop]


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:05d}.npz"


def _parts(folder: Path) -> list[Path]:
    """Return the parts that are there, up to the first that is not."""
    count = 0
    while _part(folder, count).exists():
        count += 1
    return [_part(folder, number) for number in range(count)]
