"""The bounded-memory batch generator.

What waits on disk is ids and tags; vectors and one-hot labels are made last, one batch at a time, so memory
depends on the batch and not on the corpus.
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

from tagger.config import BatchesConfig
from tagger.lookup import Lookup
from tagger.tags import OPEN

_BLOCK = 1 << 16  # units read at once


class Batch(NamedTuple):
    """What the network is trained on.

    Args:
        inputs: `ids` (B, T, F) int32, `vectors` (B, T, D) float32, `lengths` (B,) int32.
        targets: 1 for each tag that may be right, (B, T, K) float32: one tag, or all where the unit is not labelled;
            all zero in padding.
        weights: The text's weight for a unit, 0 for padding, (B, T) float32.
    """

    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    weights: np.ndarray


class Store:
    """Ids and tags of many texts on disk; only their bounds and weights are in memory, 12 bytes a text.

    Args:
        folder: Holds the files of `StoreWriter`.

    Attributes:
        bounds: Of each text in the rows, (N + 1,) int64.
        weights: How much each text counts, (N,) float32.
        columns: Number F of id columns.
        partial: Whether some unit is not labelled.
    """

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "texts.npz", allow_pickle=False) as kept:
            self.bounds: np.ndarray = kept["bounds"]
            self.weights: np.ndarray = kept["weights"]
            self.columns, self.partial = int(kept["about"][0]), bool(kept["about"][1])
        self._rows = os.open(folder / "rows.bin", os.O_RDONLY)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __del__(self) -> None:
        if hasattr(self, "_rows"):
            os.close(self._rows)

    @property
    def lengths(self) -> np.ndarray:
        """Units of each text, (N,) int64."""
        return np.diff(self.bounds)

    def occurring(self, columns: Sequence[int], count: int) -> np.ndarray:
        """Return which of so many ids occur in these columns of ids, (count,) bool."""
        found, size = np.zeros(count, bool), int(self.bounds[-1])
        for start in range(0, size, _BLOCK):
            found[self._read(start, min(start + _BLOCK, size))[:, list(columns)]] = True
        return found

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (T, F) and tags (T,) of a text, int32."""
        rows = self._read(int(self.bounds[number]), int(self.bounds[number + 1]))
        return rows[:, :-1], rows[:, -1]

    def _read(self, start: int, stop: int) -> np.ndarray:
        """Return the ids and the tag of units `start` to `stop`, (stop - start, F + 1) int32."""
        width = 4 * (self.columns + 1)
        # Not a memory map: mapped pages would count as this process's memory.
        data = os.pread(self._rows, (stop - start) * width, start * width)
        return np.frombuffer(data, np.int32).reshape(-1, self.columns + 1)


class StoreWriter:
    """Writes the files of a `Store` text by text.

    Args:
        folder: Made if absent.
        columns: Number F of id columns.
    """

    def __init__(self, folder: Path, columns: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._columns = folder, columns
        self._file = (folder / "rows.bin").open("wb")
        self._bounds, self._weights, self._partial = array("q", [0]), array("f"), False

    def add(self, ids: np.ndarray, tags: np.ndarray, weight: float = 1.0) -> None:
        """Add a text's ids (T, F) and tags (T,), and how much it counts."""
        rows = np.concatenate([ids, tags[:, None]], axis=1).astype(np.int32)
        self._file.write(rows.tobytes())
        self._bounds.append(self._bounds[-1] + len(rows))
        self._weights.append(weight)
        self._partial = self._partial or bool((tags == OPEN).any())

    def close(self) -> Store:
        """Finish, and return the store."""
        self._file.close()
        bounds, weights = np.array(self._bounds, np.int64), np.array(self._weights, np.float32)
        about = np.array([self._columns, self._partial])
        np.savez(self._folder / "texts.npz", allow_pickle=False, bounds=bounds, weights=weights, about=about)
        return Store(self._folder)


@dataclass(frozen=True)
class BatchMaker:
    """Makes vectors and one-hot labels from stored ids.

    Args:
        store: Ids and tags.
        lookup: Ids -> vectors.
        tags: Number K of tags.
        word_dropout: Share of words and bigrams taken for unknown where a random generator is given.
        masking: Share of words masked there, with all that tells of them (`Lookup.mask`).
    """

    store: Store
    lookup: Lookup
    tags: int
    word_dropout: float = 0.0
    masking: float = 0.0

    def __call__(self, numbers: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of these texts, padded on the right to the longest."""
        texts = [self.store[int(number)] for number in numbers]
        ids, lengths = pad([ids for ids, _ in texts])
        if rng is not None and self.masking:
            ids = self.lookup.mask(ids, self.lookup.sample_words(ids, self.masking, rng))
        if rng is not None and self.word_dropout:
            ids = self.lookup.drop_words(ids, self.word_dropout, rng)
        targets = np.zeros((*ids.shape[:2], self.tags), np.float32)
        for row, (_, tags) in enumerate(texts):
            targets[row, np.arange(len(tags)), tags] = 1
            if self.store.partial:
                targets[row, : len(tags)][tags == OPEN] = 1
        weights = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.float32)
        weights *= self.store.weights[np.asarray(numbers, np.int64)][:, None]
        return Batch({"ids": ids, "vectors": self.lookup.vectors(ids), "lengths": lengths}, targets, weights)


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
    """Group texts of like length into batches, shortest first.

    Args:
        lengths: Units of each text, (N,) int.
        config: The `[batches]` section: at most so many texts, and so many units with padding, in a batch; a text
            longer than the budget is a batch of its own.

    Returns:
        Text numbers of each batch; each text is in exactly one, and no batch is empty.
    """
    order = np.argsort(lengths, kind="stable")
    cuts, start = [], 0
    for position, length in enumerate(lengths[order].tolist()):
        count = position - start + 1
        if count > 1 and (count > config.texts or (config.units and length * count > config.units)):
            cuts.append(position)
            start = position
    return np.split(order, cuts) if len(order) else []


def shuffled(groups: list[np.ndarray], lengths: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return as many groups of the same sizes, other texts of like length in each, in random order.

    Lengths within a group differ by about a tenth, so a group may exceed the budget of units by as much.
    """
    if not groups:
        return []
    noise = lengths * (1 + 0.1 * rng.random(len(lengths))) + 2 * rng.random(len(lengths))
    sizes = np.fromiter(map(len, groups), np.int64, len(groups))
    mixed = np.split(np.argsort(noise, kind="stable"), np.cumsum(sizes)[:-1])
    return [mixed[place] for place in rng.permutation(len(mixed))]


BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


class Maker(Protocol[BatchT_co]):
    """What makes batches of some kind from the texts of a store."""

    @property
    def store(self) -> Store:
        """Ids and tags of the texts."""

    def __call__(self, numbers: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> BatchT_co:
        """Return the batch of the texts with these numbers."""


class Batches(Generic[BatchT]):
    """Batches without end, each text exactly once an epoch, in a new order every epoch.

    The order depends on the seed and the epoch's number alone, so that a resumed training goes on as it would have.

    Args:
        make: Makes a batch.
        config: The `[batches]` section.
        seed: Of the order.
    """

    def __init__(self, make: Maker[BatchT], config: BatchesConfig, seed: int) -> None:
        self.make, self.seed = make, seed
        self._lengths = make.store.lengths
        self._groups = group(self._lengths, config)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._groups)

    @property
    def units(self) -> int:
        """Units of an epoch, padding not counted."""
        return int(self._lengths.sum())

    def epoch(self, number: int) -> Iterator[BatchT]:
        """Yield the batches of an epoch, the first of which has number 0."""
        rng = np.random.default_rng((self.seed, number))
        return (self.make(numbers, rng) for numbers in shuffled(self._groups, self._lengths, rng))


def ahead(batches: Iterator[BatchT], count: int = 2) -> Iterator[BatchT]:
    """Yield batches in order, the next `count` of them made in another thread while one is trained on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, batches, None) for _ in range(count))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield batch


# ---- the generators of the sources ------------------------------------------------------------------------------
def random_batches(make: BatchMaker, size: int, seed: int) -> Iterator[Batch]:
    """Yield batches of `size` random texts without end, as the 2017 article feeds `fit`; nothing for no texts."""
    rng = np.random.default_rng(seed)
    while len(make.store):
        yield make(rng.integers(len(make.store), size=size))


def sequential_batches(make: BatchMaker, size: int) -> Iterator[Batch]:
    """Yield each text once, in order, `size` at a time; the last batch may be smaller, and none is empty."""
    for start in range(0, len(make.store), size):
        yield make(range(start, min(start + size, len(make.store))))


def wrap_around(make: BatchMaker, size: int) -> Iterator[Batch]:
    """Yield batches of exactly `size` texts in order without end, going on at the start where the texts end."""
    start = 0
    while count := len(make.store):
        yield make((start + np.arange(size)) % count)
        start = (start + size) % count
