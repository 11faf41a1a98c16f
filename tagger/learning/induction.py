"""Vectors for items that ready-made tables lack, from their characters and from what stands around them.

The vector of an item is taken for a linear function of the mean of the vectors around it, as in Khodak et al. (2018), A
La Carte Embedding, and of the vectors of its first and its last character. The function is fitted, by least squares, to
those items of the texts that have vectors. That takes two readings of the texts and no training.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np

from tagger.sections import VectorsConfig
from tagger.text import UnitMaker
from tagger.vectors import COUNTED, ITEMS, PADDING, RESERVED, UNKNOWN, Table, Vocabulary, appended, regression

_BLOCK = 100_000  # items that are looked at together

_RIDGE = 30.0  # penalty of the least squares

Texts = Callable[[], Iterable[str]]  # gives all texts, each time from the first


def extended(tables: Sequence[Table], texts: Texts, units: UnitMaker, config: VectorsConfig) -> list[Table]:
    """Return tables with vectors for items of the texts that they lack, behind their own, which stay as they are.

    Args:
        tables: Of characters, bigrams and words, in this order.
        texts: Gives the texts; called twice.
        units: Cuts them into units.
        config: The `[vectors]` section: an item needs `min_count` occurrences, and a table has at most `limit` rows.
    """
    counts = _counts(tables, texts, units)
    lacking = [_lacking(table.vocabulary, of_table, config) for table, of_table in zip(tables, counts, strict=True)]
    neighbours = [_Neighbours(table, items, config.window) for table, items in zip(tables, lacking, strict=True)]
    for text in texts():
        words = units.words(text)
        for of_table in neighbours:
            of_table.add(words)
    longer: list[Table] = []
    for table, items, seen, near in zip(tables, lacking, counts, neighbours, strict=True):
        if items:
            table = appended(table, items, _induced(table, items, seen, near.means(), longer[:1]), config)
        longer.append(table)
    return longer


def _counts(tables: Sequence[Table], texts: Texts, units: UnitMaker) -> list[Counter[str]]:
    """Return how often each item of each table occurs; of very many different ones, about the most frequent."""
    counts = [Counter[str]() for _ in tables]
    for text in texts():
        words = units.words(text)
        for number, table in enumerate(tables):
            counts[number].update(ITEMS[table.name](words))
            if len(counts[number]) > COUNTED:
                counts[number] = Counter(dict(counts[number].most_common(COUNTED // 2)))
    return counts


def _lacking(known: Vocabulary, counts: Counter[str], config: VectorsConfig) -> list[str]:
    """Return the items that a vocabulary lacks, most frequent first, as many as the settings leave room for."""
    room = max(config.limit - len(known.words), 0) if config.limit else None
    frequent = (item for item, count in counts.most_common() if count >= config.min_count)
    return [item for item in frequent if item not in known][:room]


def _induced(
    table: Table, lacking: Sequence[str], seen: Container[str], neighbours: np.ndarray, characters: Sequence[Table]
) -> np.ndarray:
    """Return vectors for the items that a table lacks, (len(lacking), D) float32; zeros if nothing is known.

    Most of the items that the function is fitted to are as rare as these, so that it trusts their few neighbours no
    more than is right.

    Args:
        table: The table.
        lacking: Items.
        seen: All items of the texts.
        neighbours: Of the items of the table and of these, (V, D) float32.
        characters: The table of characters, unless this is it.
    """
    words = [*table.vocabulary.words, *lacking]
    outer = [part for of_characters in characters for part in _outer_characters(words, of_characters)]
    features = np.concatenate([neighbours, *outer, np.ones((len(words), 1), np.float32)], axis=1)
    known = np.array([number for number, word in enumerate(table.vocabulary.words) if word in seen], np.int64)
    given, vectors = features[known].astype(np.float64), table.rows(known + RESERVED).astype(np.float64)
    induced: np.ndarray = features[len(table.vocabulary.words) :] @ regression(given, vectors, _RIDGE)
    return induced.astype(np.float32)


def _outer_characters(words: Sequence[str], characters: Table) -> list[np.ndarray]:
    """Return the vectors of the first and of the last character of each word, spaces aside: two of (V, D) float32."""
    bare = [word.strip() or word for word in words]
    return [characters.rows(characters.vocabulary.ids([word[place] for word in bare])) for place in (0, -1)]


class _Neighbours:
    """The vectors that a table has of what stands around each item, summed up text by text.

    Args:
        table: Of the vectors.
        lacking: Items that it lacks.
        window: Items on each side that count as neighbours.
    """

    def __init__(self, table: Table, lacking: Sequence[str], window: int) -> None:
        self.table, self.window = table, window
        self._ids = {word: number for number, word in enumerate([*table.vocabulary.words, *lacking], RESERVED)}
        self._sums = np.zeros((len(self._ids) + RESERVED, table.dimensions + 1))  # of vectors, and their number
        self._block: list[int] = []

    def add(self, words: Sequence[str]) -> None:
        """Add the words of a text."""
        self._block.extend(self._ids.get(item, UNKNOWN) for item in ITEMS[self.table.name](words))
        self._block.extend([PADDING] * self.window)
        if len(self._block) >= _BLOCK:
            self._add_block()

    def _add_block(self) -> None:
        block, self._block = np.array(self._block, np.int64), []
        known = (block >= RESERVED) & (block < len(self.table.vectors))
        near = np.ones((len(block), self.table.dimensions + 1))
        near[:, :-1] = self.table.rows(np.where(known, block, PADDING))
        near *= known[:, None]
        before = np.concatenate([np.zeros_like(near[:1]), np.cumsum(near, axis=0)])  # (N + 1, D + 1)
        places = np.arange(len(block))
        first, end = np.maximum(places - self.window, 0), np.minimum(places + self.window + 1, len(block))
        around = before[end] - before[first] - near
        order = np.argsort(block, kind="stable")
        starts = np.flatnonzero(np.diff(block[order], prepend=-1))
        self._sums[block[order[starts]]] += np.add.reduceat(around[order], starts)

    def means(self) -> np.ndarray:
        """Return the mean for each item, (V, D) float32; zeros for items that never stand near one with a vector."""
        if self._block:
            self._add_block()
        means: np.ndarray = self._sums[RESERVED:, :-1] / np.maximum(self._sums[RESERVED:, -1:], 1)
        return means.astype(np.float32)
