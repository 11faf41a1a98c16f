"""The bounded-memory batch generator.

Ids and tags of all texts are stored on disk; vectors and one-hot targets are made last, one batch at a time, so that
memory depends on the size of a batch and not on that of the corpus.
"""

import os
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from tagger.edges import EDGE, of_path
from tagger.lookup import Lookup
from tagger.sections import BatchesConfig
from tagger.settings import settled
from tagger.tags import OPEN, OUTSIDE

_BLOCK = 1 << 16  # units read from disk at once


class Batch(NamedTuple):
    """Texts as the network is trained on them, padded on the right.

    A batch may be divided: a part of it has the numbers that the whole would have in its rows, so that the parts'
    losses and gradients add up to those of the whole.

    Args:
        inputs: `ids` (B, T, F) int32, `lengths` (B,) int32, `vectors` (B, T, D) float32 unless the model looks them up
            itself, and what dropout is drawn from: the `seed` (2,) int32, the number of `texts` () int32 of the whole
            batch, and the `rows` (B,) int32 that these texts have there.
        targets: Probability that a tag is correct, (B, T, K) float32: 1 for one tag of a labelled unit; what teachers
            give, where the store has it; 1 for every tag of an unlabelled unit; 0 in padding.
        steps: How often a tag follows another in what is learnt, times the weight of the units, (K, K) float32.
        weights: Weight of each unit in the loss, (B, T) float32: that of its text over the number of units of the whole
            batch, 0 for padding.
    """

    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    steps: np.ndarray
    weights: np.ndarray


class Store:
    """Ids and tags of many texts on disk; only their bounds and weights are in memory, 12 or 20 bytes a text.

    Args:
        folder: With the files of a `StoreWriter`.

    Attributes:
        bounds: Text n has the rows `bounds[n]` to `bounds[n + 1]` of the file, (N + 1,) int64.
        edge_bounds: The same for its edges, where they are kept; else empty.
        weights: Weight of each text in the loss, (N,) float32.
        columns: Number F of columns of ids.
        partial: Whether any unit is not labelled.
    """

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "texts.npz", allow_pickle=False) as texts:
            self.bounds: np.ndarray = texts["bounds"]
            self.weights: np.ndarray = texts["weights"]
            self.edge_bounds: np.ndarray = texts["edge_bounds"]
            self.columns, self.partial = int(texts["about"][0]), bool(texts["about"][1])
        self._rows = os.open(folder / "rows.bin", os.O_RDONLY)
        self._edges = os.open(folder / "edges.bin", os.O_RDONLY)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __del__(self) -> None:
        for file in (getattr(self, name, None) for name in ("_rows", "_edges")):
            if file is not None:
                os.close(file)

    @property
    def lengths(self) -> np.ndarray:
        """Number of units of each text, (N,) int64."""
        return np.diff(self.bounds)

    def lengths_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the number of units of the texts with these numbers, (B,) int64."""
        return np.asarray(self.bounds[numbers + 1] - self.bounds[numbers])

    def occurring(self, columns: Sequence[int], count: int) -> np.ndarray:
        """Return which of the ids 0 to `count - 1` occur in these columns of ids, (count,) bool."""
        occurs, size = np.zeros(count, bool), int(self.bounds[-1])
        for start in range(0, size, _BLOCK):
            occurs[self._read(start, min(start + _BLOCK, size))[:, list(columns)]] = True
        return occurs

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (T, F) and tags (T,) of a text, int32."""
        rows = self._read(int(self.bounds[number]), int(self.bounds[number + 1]))
        return rows[:, :-1], rows[:, -1]

    def edges(self, number: int, tags: np.ndarray) -> np.ndarray:
        """Return what is known of the tags (T,) of a text, (N,) `edges.EDGE`: by teachers, or the path of the tags."""
        if not len(self.edge_bounds):
            return of_path(np.maximum(tags, OUTSIDE))
        start, stop = self.edge_bounds[number : number + 2].tolist()
        data = os.pread(self._edges, (stop - start) * EDGE.itemsize, start * EDGE.itemsize)
        return np.frombuffer(data, EDGE)

    def _read(self, start: int, stop: int) -> np.ndarray:
        """Return the ids and the tag of units `start` to `stop`, (stop - start, F + 1) int32."""
        width = 4 * (self.columns + 1)
        # Not a memory map: its pages would count as memory of this process.
        data = os.pread(self._rows, (stop - start) * width, start * width)
        return np.frombuffer(data, np.int32).reshape(-1, self.columns + 1)


class StoreWriter:
    """Writes the files of a `Store` text by text.

    Args:
        folder: Created if absent.
        columns: Number F of columns of ids.
    """

    def __init__(self, folder: Path, columns: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._columns = folder, columns
        self._file, self._edges = (folder / "rows.bin").open("wb"), (folder / "edges.bin").open("wb")
        self._bounds, self._weights, self._partial = array("q", [0]), array("f"), False
        self._edge_bounds = array("q", [0])

    def add(self, ids: np.ndarray, tags: np.ndarray, weight: float = 1.0, edges: np.ndarray | None = None) -> None:
        """Add a text: ids (T, F), tags (T,) and weight in the loss; edges (N,) in place of the tags, or of no text."""
        if edges is not None:
            self._edges.write(edges.tobytes())
            self._edge_bounds.append(self._edge_bounds[-1] + len(edges))
        rows = np.concatenate([ids, tags[:, None]], axis=1).astype(np.int32)
        self._file.write(rows.tobytes())
        self._bounds.append(self._bounds[-1] + len(rows))
        self._weights.append(weight)
        self._partial = self._partial or bool((tags == OPEN).any())

    def close(self) -> Store:
        """Complete the files and return the store."""
        self._file.close()
        self._edges.close()
        np.savez(
            self._folder / "texts.npz",
            allow_pickle=False,
            bounds=np.array(self._bounds, np.int64),
            edge_bounds=np.array(self._edge_bounds if len(self._edge_bounds) > 1 else (), np.int64),
            weights=np.array(self._weights, np.float32),
            about=np.array([self._columns, self._partial]),
        )
        return Store(self._folder)


Numbers = Sequence[int] | np.ndarray  # of texts in a store

WHOLE = slice(None)  # the part of a batch that is all of it


class Part:
    """Some of the texts of a batch: what is read of the store, and what is drawn at random, for them alone.

    Args:
        store: Ids and tags.
        numbers: Texts of the whole batch.
        seed: Of all that is drawn for the batch; None where nothing is.
        part: Which of them are wanted. Where there is none, a text of one unit stands for them, whose weight is zero.

    Attributes:
        texts: Ids (T, F) and tags (T,) of each.
        numbers: Its number in the store, of each that is there.
        weights: Weight of each in the loss of the whole batch per unit, (B,) float32.
    """

    def __init__(self, store: Store, numbers: Numbers, seed: int | None, part: slice) -> None:
        whole = np.asarray(numbers, np.int64)
        self._count, self._rows = len(whole), np.arange(len(whole))[part]
        self._rng, self._seed = np.random.default_rng(seed), seed or 0
        lengths, weights = store.lengths_of(whole), store.weights[whole]
        self._longest = int(lengths.max(initial=0))
        self.numbers = whole[part].tolist()
        self.texts = [store[number] for number in self.numbers]
        self.weights = weights[part] / np.float32(max(lengths[weights > 0].sum(), 1))
        if not self.texts:
            self.texts = [(np.zeros((1, store.columns), np.int32), np.zeros(0, np.int32))]
            self.weights, self._rows = np.zeros(1, np.float32), np.zeros(1, np.int64)

    def ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what `pad` does, as long as the longest text of the whole batch."""
        return pad([ids for ids, _ in self.texts], self._longest)

    def random(self, size: tuple[int, ...]) -> np.ndarray:
        """Return numbers in [0, 1) of this shape, the first axis of which is that of the texts."""
        return self._rng.random((self._count, *size[1:]))[self._rows]

    @property
    def dropout(self) -> dict[str, np.ndarray]:
        """The inputs of a `Batch` from which dropout is drawn."""
        seed = np.array([self._seed], np.uint64).view(np.int32)
        return {"seed": seed, "texts": np.array(self._count, np.int32), "rows": self._rows.astype(np.int32)}


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches of vectors and targets from stored ids and tags.

    Args:
        store: Ids and tags.
        lookup: Ids -> vectors.
        tags: Number K of tags.
        word_dropout: Share of words and bigrams made unknown (`Lookup.drop_words`), if a seed is given.
        masking: Share of words masked (`Lookup.mask`), if a seed is given.
        vectors: Whether vectors are among the inputs; a model that has the tables itself needs none.
    """

    store: Store
    lookup: Lookup
    tags: int
    word_dropout: float = 0.0
    masking: float = 0.0
    vectors: bool = True

    def __call__(self, numbers: Numbers, seed: int | None = None, part: slice = WHOLE) -> Batch:
        """Return a part of the batch of these texts, padded on the right to the longest."""
        own = Part(self.store, numbers, seed, part)
        ids, lengths = own.ids()
        if seed is not None and self.masking:
            ids = self.lookup.mask(ids, self.lookup.sample_words(ids, self.masking, own))
        if seed is not None and self.word_dropout:
            ids = self.lookup.drop_words(ids, self.word_dropout, own)
        targets, steps = self._targets(own, ids.shape[1])
        weights = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.float32)
        weights *= own.weights[:, None]
        inputs = {"ids": ids, "lengths": lengths, **own.dropout}
        if self.vectors:
            inputs["vectors"] = self.lookup.vectors(ids)
        return Batch(inputs, targets, steps, weights)

    def _targets(self, own: Part, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `targets` and `steps` of a `Batch`."""
        targets = np.zeros((len(own.texts), longest, self.tags), np.float32)
        steps = np.zeros((self.tags, self.tags), np.float32)
        for row, (number, (_, tags)) in enumerate(zip(own.numbers, own.texts, strict=False)):
            known = self.store.edges(number, tags)
            np.add.at(targets[row], (known["unit"], known["tag"]), known["probability"])
            inner = known[known["unit"] > 0]
            np.add.at(steps, (inner["before"], inner["tag"]), inner["probability"] * own.weights[row])
            if self.store.partial:
                targets[row, : len(tags)][tags == OPEN] = 1
        return targets, steps


def pad(rows: Sequence[np.ndarray], length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of ids padded on the right with 0, and their lengths.

    Args:
        rows: Ids of each text, (T_b, F) int32.
        length: Pad to at least this.

    Returns:
        (B, T, F) int32 and (B,) int32.
    """
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    padded = np.zeros((len(rows), max(length, int(lengths.max(initial=0))), rows[0].shape[1]), np.int32)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    return padded, lengths


def group(lengths: np.ndarray, config: BatchesConfig) -> list[np.ndarray]:
    """Group texts of similar length into batches, shortest first.

    Args:
        lengths: Units of each text, (N,) int.
        config: The `[batches]` section: the largest number of texts, and of units with padding, in a batch. A text
            with more units forms a batch alone.

    Returns:
        Text numbers of each batch; each text is in exactly one, and no batch is empty.
    """
    order, units = np.argsort(lengths, kind="stable"), settled(config.units, "batches.units")
    cuts, start = [], 0
    for position, length in enumerate(lengths[order].tolist()):
        count = position - start + 1
        if count > 1 and (count > config.texts or (units and length * count > units)):
            cuts.append(position)
            start = position
    return np.split(order, cuts) if len(order) else []


def shuffled(groups: list[np.ndarray], lengths: np.ndarray, rng: "np.random.Generator") -> list[np.ndarray]:
    """Return groups of the same sizes with texts of similar length drawn anew, in random order.

    Lengths within a group differ by about a tenth, so a group may exceed the largest number of units by as much.
    """
    if not groups:
        return []
    noise = lengths * (1 + 0.1 * rng.random(len(lengths))) + 2 * rng.random(len(lengths))
    sizes = np.fromiter(map(len, groups), np.int64, len(groups))
    drawn = np.split(np.argsort(noise, kind="stable"), np.cumsum(sizes)[:-1])
    return [drawn[number] for number in rng.permutation(len(drawn))]


BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


class Maker(Protocol[BatchT_co]):
    """What makes batches of some kind from the texts of a store."""

    @property
    def store(self) -> Store:
        """Ids and tags of the texts."""

    def __call__(self, numbers: Numbers, seed: int | None = None) -> BatchT_co:
        """Return the batch of the texts with these numbers, all random in it drawn with this seed."""


class Batches(Generic[BatchT]):
    """The batches of every epoch: each text exactly once an epoch, in a new order every epoch.

    The order depends on the seed and the number of the epoch alone, so that a resumed training continues as it would
    have without an interruption.

    Args:
        make: Makes a batch.
        config: The `[batches]` section.
        seed: Of the random order.
    """

    def __init__(self, make: Maker[BatchT], config: BatchesConfig, seed: int) -> None:
        self.make, self.seed = make, seed
        self._lengths = make.store.lengths
        self._groups = group(self._lengths, config)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._groups)

    @property
    def units(self) -> int:
        """Number of units in an epoch, without padding."""
        return int(self._lengths.sum())

    def epoch(self, number: int) -> Iterator[BatchT]:
        """Yield the batches of an epoch, the first of which has number 0."""
        rng = np.random.default_rng((self.seed, number))
        groups = shuffled(self._groups, self._lengths, rng)
        seeds = rng.integers(0, 2**63, len(groups)).tolist()
        return (self.make(numbers, seed) for numbers, seed in zip(groups, seeds, strict=True))


def ahead(batches: Iterator[BatchT], count: int = 2) -> Iterator[BatchT]:
    """Yield batches in order; another thread makes the next `count` while one is in use."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, batches, None) for _ in range(count))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch
