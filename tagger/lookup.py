"""Units -> rows of ids, whole groups of texts at a time; ids -> vectors."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagger import lexicon
from tagger.config import ModelConfig
from tagger.lexicon import Lexicon
from tagger.text import Units
from tagger.vectors import PADDING, RESERVED, UNKNOWN, Table, Vocabulary

# Padding; alone; first and last of two; first, middle and last of three, and of four or more.
PLACES = 10

# Columns of ids.
_PLACE, _MATCHED, _LENGTHS, _TAGS = 4, (5, 6, 7), 8, (9, 10, 11, 12)

# What may be forgotten in training: a bigram, or a word and its part of speech.
_FORGOTTEN = ((1,), (2,), *zip((3, *_MATCHED), _TAGS, strict=True))

# What tells of a character, and how far away it still does; words of the lexicon are rarely longer.
_TELLING = (((0, 3), 0), ((1, 2), 1), ((*_MATCHED, *_TAGS), 3))

_FIRSTS = (1, 2, 4, 7)  # places in which a word begins


class Embedding(NamedTuple):
    """A small table of trainable vectors, and the columns of ids that are looked up in it."""

    columns: tuple[int, ...]
    size: int
    dimensions: int


class Lookup:
    """Units -> rows of ids; ids -> vectors.

    Word units have one column, the word. Character units have five: the character, it and the next one, it and the
    one before, the word around it, and its place in that word; and, if there is a lexicon, eight more: the words that
    begin at, cover, and end at the character, their lengths, and the parts of speech of these and of the word around.

    Args:
        tables: The tables of this kind of unit, in the order of `TABLES`.
        lexicon: For character units.
    """

    def __init__(self, tables: Sequence[Table], lexicon: Lexicon | None = None) -> None:
        self.tables, self.lexicon = list(tables), lexicon
        self._of_characters = len(tables) > 1
        self.looked_up = [(0, tables[0])]  # id column, and the table it is looked up in
        self.columns = 1  # number F of id columns
        if self._of_characters:
            characters, bigrams, words = tables
            self.looked_up += [(1, bigrams), (2, bigrams), (3, words)]
            self.looked_up += [(column, words) for column in _MATCHED] if lexicon else []
            self.columns = _TAGS[-1] + 1 if lexicon else _PLACE + 1
            self._characters, self._bigrams = CodeIndex(characters.vocabulary, 1), CodeIndex(bigrams.vocabulary, 2)

    @property
    def dimensions(self) -> int:
        """Length D of a unit's frozen vector."""
        return sum(table.dimensions for _, table in self.looked_up)

    @property
    def largest(self) -> float:
        """Largest absolute number in the frozen vectors."""
        return max(table.largest for table in self.tables)

    def embeddings(self, config: ModelConfig) -> list[Embedding]:
        """Return the small tables that are trained with the network."""
        if not self._of_characters:
            return []
        characters = (
            [Embedding((0,), len(self.tables[0].vocabulary), config.char_dimensions)] if config.char_dimensions else []
        )
        matches = [
            Embedding((_LENGTHS,), lexicon.LENGTHS, config.lexicon_dimensions),
            Embedding(_TAGS, lexicon.TAGS, config.lexicon_dimensions),
        ]
        return [
            *characters,
            Embedding((_PLACE,), PLACES, config.position_dimensions),
            *(matches if self.lexicon else []),
        ]

    def ids(self, texts: Sequence[Units]) -> list[np.ndarray]:
        """Return the ids of the units of each text, (T, F) int32; many texts at once are faster than each alone."""
        # One space between texts, as a bigram at a text's start or end has it.
        words = list(itertools.chain.from_iterable([*units.words, " "] for units in texts))
        word_ids = self.tables[-1].vocabulary.ids(words)
        if not self._of_characters:
            ids = word_ids[:, None]
        else:
            lengths = np.fromiter(map(len, words), np.int32, len(words))
            found = codes("".join(words))
            bigrams = self._bigrams.ids(np.append(np.uint32(32), found), np.append(found, np.uint32(32)))
            columns = [
                self._characters.ids(found),
                bigrams[1:],
                bigrams[:-1],
                np.repeat(word_ids, lengths),
                places(lengths),
            ]
            if self.lexicon:
                features = self.lexicon.features(found, lengths)
                columns += [*features.words, *features.lengths, *features.tags]
            ids = np.stack(columns, axis=1)
        ends = np.cumsum([len(units) + 1 for units in texts])
        return [part[:-1] for part in np.split(ids, ends[:-1])]

    def drop_words(self, ids: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Return rows of ids (B, T, F) with a random share of the words and bigrams at each unit taken for unknown."""
        ids = ids.copy()
        for columns in _FORGOTTEN if self._of_characters else ((0,),):
            chosen = rng.random(ids.shape[:2]) < share
            for column in columns:
                if column < self.columns:
                    part = ids[:, :, column]
                    part[chosen & (part != PADDING)] = UNKNOWN
        return ids

    def sample_words(self, ids: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
        """Return which units of rows of ids (B, T, F) are in a random share of the words, (B, T) bool."""
        begins = np.isin(ids[:, :, _PLACE], _FIRSTS) if self._of_characters else np.ones(ids.shape[:2], bool)
        words = np.cumsum(begins, axis=1, dtype=np.int64)
        drawn = np.take_along_axis(rng.random((len(ids), ids.shape[1] + 1)), words, axis=1)
        return (drawn < share) & (ids[:, :, 0] != PADDING)

    def mask(self, ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return rows of ids (B, T, F) without what tells of the chosen words, (B, T) bool, there and around them."""
        ids = ids.copy()
        for columns, reach in _TELLING:
            near = chosen.copy()
            for step in range(1, reach + 1):
                near[:, step:] |= chosen[:, :-step]
                near[:, :-step] |= chosen[:, step:]
            for column in columns:
                if column < self.columns:
                    part = ids[:, :, column]
                    part[near & (part != PADDING)] = UNKNOWN
        return ids

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """Return the frozen vectors of rows of ids: (..., F) int32 -> (..., D) float32."""
        rows = [table.rows(ids[..., column]) for column, table in self.looked_up]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)


def places(lengths: np.ndarray) -> np.ndarray:
    """Return each character's place in its word, 1 to 9, for words of these lengths: (sum(lengths),) int32."""
    first = np.choose(np.minimum(lengths, 4) - 1, _FIRSTS).astype(np.int32)  # of each word
    found = np.repeat(first + 1, lengths)
    ends = np.cumsum(lengths)
    found[ends - lengths] = first
    found[ends - 1] = first + np.minimum(lengths - 1, 2)
    return found


class CodeIndex:
    """Finds the ids of characters, or of bigrams, whole arrays at a time.

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
        """Return one number for each character, or for each bigram: (2, N) -> (N,) uint64."""
        first, *rest = (np.asarray(part, np.uint64) for part in parts)
        return (first << np.uint64(21)) | rest[0] if rest else first

    def ids(self, *parts: np.ndarray) -> np.ndarray:
        """Return the ids of characters, or of bigrams by first and second character: code points (N,) -> (N,) int32."""
        keys = self.keys(parts)
        places = np.searchsorted(self._keys, keys)
        return np.where(self._keys[places] == keys, self._ids[places], np.int32(UNKNOWN))


def codes(text: str) -> np.ndarray:
    """Return the code points of a text, (len(text),) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
