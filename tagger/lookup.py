"""Units -> rows of ids, whole groups of texts at a time; ids -> vectors."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagger import lexicon
from tagger.config import ModelConfig
from tagger.lexicon import Lexicon
from tagger.text import Units
from tagger.vectors import RESERVED, UNKNOWN, Table, Vocabulary

# Padding; alone; first and last of two; first, middle and last of three, and of four or more.
PLACES = 10


class Embedding(NamedTuple):
    """A small table of trainable vectors, and the columns of ids that are looked up in it."""

    columns: tuple[int, ...]
    size: int
    dimensions: int


class Lookup:
    """Units -> rows of ids; ids -> vectors.

    Word units have one column, the word. Character units have five: the character, it and the next one, it and the
    one before, the word around it, and its place in that word; and those of the lexicon, if there is one.

    Args:
        tables: The tables of this kind of unit, in the order of `TABLES`.
        lexicon: For character units.
    """

    def __init__(self, tables: Sequence[Table], lexicon: Lexicon | None = None) -> None:
        self.tables, self.lexicon = list(tables), lexicon
        self._of_characters = len(tables) > 1
        columns = (0, 1, 1, 2) if self._of_characters else (0,)
        self.looked_up = [self.tables[column] for column in columns]
        if self._of_characters:
            self._characters = CodeIndex(self.tables[0].vocabulary, 1)
            self._pairs = CodeIndex(self.tables[1].vocabulary, 2)

    @property
    def columns(self) -> int:
        """Number F of id columns."""
        return len(self.looked_up) + self._of_characters + (lexicon.COLUMNS if self.lexicon else 0)

    @property
    def dimensions(self) -> int:
        """Length D of a unit's frozen vector."""
        return sum(table.dimensions for table in self.looked_up)

    @property
    def largest(self) -> float:
        """Largest absolute number in the frozen vectors."""
        return max(table.largest for table in self.tables)

    def embeddings(self, config: ModelConfig) -> list[Embedding]:
        """Return the small tables that are trained with the network."""
        if not self._of_characters:
            return []
        characters = [Embedding((0,), len(self.tables[0].vocabulary), config.trainable)] if config.trainable else []
        matches = [
            Embedding((5,), lexicon.LENGTHS, config.lexicon),
            Embedding((6, 7, 8, 9), lexicon.TAGS, config.lexicon),
        ]
        return [*characters, Embedding((4,), PLACES, config.place), *(matches if self.lexicon else [])]

    def ids(self, texts: Sequence[Units]) -> list[np.ndarray]:
        """Return the ids of the units of each text, (T, F) int32; many texts at once are faster than each alone."""
        # One space between texts, as a pair at a text's start or end has it.
        words = list(itertools.chain.from_iterable([*units.words, " "] for units in texts))
        word_ids = self.tables[-1].vocabulary.ids(words)
        if not self._of_characters:
            ids = word_ids[:, None]
        else:
            lengths = np.fromiter(map(len, words), np.int32, len(words))
            found = codes("".join(words))
            pairs = self._pairs.ids(np.append(np.uint32(32), found), np.append(found, np.uint32(32)))
            columns = [
                self._characters.ids(found),
                pairs[1:],
                pairs[:-1],
                np.repeat(word_ids, lengths),
                places(lengths),
                *(self.lexicon.columns(found, lengths) if self.lexicon else ()),
            ]
            ids = np.stack(columns, axis=1)
        ends = np.cumsum([len(units) + 1 for units in texts])
        return [part[:-1] for part in np.split(ids, ends[:-1])]

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """Return the frozen vectors of rows of ids: (..., F) int32 -> (..., D) float32."""
        rows = [table.rows(ids[..., column]) for column, table in enumerate(self.looked_up)]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)


def places(lengths: np.ndarray) -> np.ndarray:
    """Return each character's place in its word, 1 to 9, for words of these lengths: (sum(lengths),) int32."""
    first = np.choose(np.minimum(lengths, 4) - 1, [1, 2, 4, 7]).astype(np.int32)  # of each word
    found = np.repeat(first + 1, lengths)
    ends = np.cumsum(lengths)
    found[ends - lengths] = first
    found[ends - 1] = first + np.minimum(lengths - 1, 2)
    return found


class CodeIndex:
    """Finds the ids of characters, or of pairs of characters, whole arrays at a time.

    Args:
        vocabulary: Of strings of one length, 1 or 2; other strings are never found.
        length: That length.
    """

    def __init__(self, vocabulary: Vocabulary, length: int) -> None:
        rows = [row for row, word in enumerate(vocabulary.words) if len(word) == length]
        keys = self.keys(codes("".join(vocabulary.words[row] for row in rows)).reshape(-1, length).T)
        order = np.argsort(keys, kind="stable")
        self._keys = np.append(keys[order], np.uint64(2**64 - 1))
        self._ids = np.append(np.array(rows, np.int32)[order] + RESERVED, np.int32(UNKNOWN)).astype(np.int32)

    @staticmethod
    def keys(parts: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return one number for each character, or for each pair of characters: (2, N) -> (N,) uint64."""
        first, *rest = (np.asarray(part, np.uint64) for part in parts)
        return (first << np.uint64(21)) | rest[0] if rest else first

    def ids(self, *parts: np.ndarray) -> np.ndarray:
        """Return the ids of characters, or of pairs of first and second characters: code points (N,) -> (N,) int32."""
        keys = self.keys(parts)
        places = np.searchsorted(self._keys, keys)
        return np.where(self._keys[places] == keys, self._ids[places], np.int32(UNKNOWN))


def codes(text: str) -> np.ndarray:
    """Return the code points of a text, (len(text),) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
