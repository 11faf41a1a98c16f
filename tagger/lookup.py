"""Units -> rows of ids, whole groups of texts at a time; ids -> vectors.

What the columns of ids hold is described once, by `WORD_COLUMNS` and `CHARACTER_COLUMNS`: a row says where a column's
vectors come from, what word dropout and masking do to it, and how it is explained to other languages.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from tagger import lexicon
from tagger.lexicon import Lexicon
from tagger.sections import ModelConfig
from tagger.text import Units
from tagger.vectors import PADDING, RESERVED, TABLES, UNKNOWN, Table, Vocabulary

# Positions in a word: 0 for padding; 1 the only character; 2, 3 both of two; 4 to 6 first, middle and last of three,
# 7 to 9 of four or more.
POSITIONS = 10

_WORD_STARTS = (1, 2, 4, 7)  # positions at which a word begins

_SPACE = np.array([32], np.uint32)


@dataclass(frozen=True)
class Column:
    """One column of ids.

    Args:
        name: Of the column, for this package.
        description: What it holds, in English, for whoever feeds an exported network.
        table: The table of frozen vectors that it is looked up in; "" for none.
        embedding: The trainable table that it is looked up in; "" for none. Columns of one name share one table.
        dimensions: The setting of `[model]` with the dimensions of that trainable table; 0 there means no table.
        ids: Number of ids that table needs; 0 for as many as the frozen table has.
        dropout: Columns of one name lose their words together in word dropout; "" keeps them.
        masked: How far from a masked unit the column still reveals it, in units; None where it is not masked.
        lexicon: Whether it is there only with a lexicon.
    """

    name: str
    description: str
    table: str = ""
    embedding: str = ""
    dimensions: str = ""
    ids: int = 0
    dropout: str = ""
    masked: int | None = None
    lexicon: bool = False


_BY_PARTS = "its id, else that of its longest known ending, else that of its longest known beginning, else 'unknown'"

_LONGEST_WORD = "of two or more characters, of equally long ones that which begins first; its id, 0 for no such word"


def _match(name: str, where: str) -> Column:
    """Return the column of words of the lexicon; masked widely, as they are rarely longer than four characters."""
    description = f"the longest word of the lexicon that {where}, {_LONGEST_WORD}"
    return Column(name, description, table="word", dropout=name, masked=3, lexicon=True)


def _tag(name: str, description: str) -> Column:
    """Return the column of the parts of speech of the words in the column of this name."""
    return Column(
        f"{name} tag", description, embedding="tag", dimensions="lexicon_dimensions", ids=lexicon.TAGS, dropout=name,
        masked=3, lexicon=True,
    )  # fmt: skip


WORD_COLUMNS = (Column("word", f"the unit: {_BY_PARTS}", table="word", dropout="word", masked=0),)

# Word dropout draws once for each of its names, in this order, with a lexicon or without.
CHARACTER_COLUMNS = (
    Column("char", "the character", table="char", embedding="char", dimensions="char_dimensions", masked=0),
    Column(
        "next bigram", "it and the next one; a space stands after the last",
        table="bigram", dropout="next bigram", masked=1,
    ),
    Column(
        "previous bigram", "the one before and it; a space stands before the first",
        table="bigram", dropout="previous bigram", masked=1,
    ),
    Column("word", f"the word around it: {_BY_PARTS}", table="word", dropout="word", masked=0),
    Column(
        "position",
        "its position in the word around it: see 'positions', by the word's length; longer words go 7, 8, ..., 8, 9",
        embedding="position", dimensions="position_dimensions", ids=POSITIONS,
    ),
    _match("begins", "begins at it"),
    _match("covers", "covers it (neither begins nor ends at it)"),
    _match("ends", "ends at it"),
    Column(
        "lengths",
        "lengths of these three as one number, 16 b + 4 c + e: 0 for no word, 1 for two characters, 2 for three, "
        "else 3",
        embedding="lengths", dimensions="lexicon_dimensions", ids=lexicon.LENGTHS, lexicon=True,
    ),
    _tag("word", "tag, in the lexicon, of the word around it; 0 if it is not there"),
    _tag("begins", "tag of the longest word that begins at it; 0 for no word"),
    _tag("covers", "tag of the longest word that covers it; 0 for no word"),
    _tag("ends", "tag of the longest word that ends at it; 0 for no word"),
)  # fmt: skip


class Embedding(NamedTuple):
    """A small table of trainable vectors, and the columns of ids that are looked up in it."""

    columns: tuple[int, ...]
    size: int
    dimensions: int


class Draws(Protocol):
    """What random numbers are drawn from, as from `numpy.random.Generator`."""

    def random(self, size: tuple[int, ...]) -> np.ndarray:
        """Return numbers in [0, 1) of this shape, the first axis of which is that of texts."""


class Lookup:
    """Units -> rows of ids; ids -> vectors.

    Word units have the columns of `WORD_COLUMNS`; character units those of `CHARACTER_COLUMNS`, as far as there is a
    lexicon.

    Args:
        tables: The tables of this kind of unit, in the order of `TABLES`.
        lexicon: For character units.

    Attributes:
        layout: What each column holds, F of them.
        looked_up: Column and table of each part of a unit's frozen vector, in order.
    """

    def __init__(self, tables: Sequence[Table], lexicon: Lexicon | None = None) -> None:
        self.tables, self.lexicon = list(tables), lexicon
        self._of_characters = len(tables) > 1
        names = TABLES["char" if self._of_characters else "word"]
        by_name = dict(zip(names, tables, strict=True))
        self._every_column = CHARACTER_COLUMNS if self._of_characters else WORD_COLUMNS
        self.layout = [column for column in self._every_column if lexicon or not column.lexicon]
        self.looked_up = [(n, by_name[column.table]) for n, column in enumerate(self.layout) if column.table]
        if self._of_characters:
            self._characters = CodeIndex(by_name["char"].vocabulary, 1)
            self._bigrams = CodeIndex(by_name["bigram"].vocabulary, 2)
            self._position = [column.name for column in self.layout].index("position")

    @property
    def columns(self) -> int:
        """Number F of columns of ids."""
        return len(self.layout)

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
        frozen = dict(self.looked_up)
        tables: dict[str, Embedding] = {}
        for number, column in enumerate(self.layout):
            if column.embedding and (dimensions := getattr(config, column.dimensions)):
                others = tables[column.embedding].columns if column.embedding in tables else ()
                size = column.ids or len(frozen[number].vocabulary)
                tables[column.embedding] = Embedding((*others, number), size, dimensions)
        return list(tables.values())

    def ids(self, texts: Sequence[Units]) -> list[np.ndarray]:
        """Return the ids of the units of each text, (T, F) int32; many texts at once are faster than each alone."""
        # One space between texts, as a bigram at a text's start or end has it.
        words = list(itertools.chain.from_iterable([*units.words, " "] for units in texts))
        word_ids = self.tables[-1].vocabulary.ids(words)
        ids = word_ids[:, None]
        if self._of_characters:
            columns = self._of_each_character(words, word_ids)
            ids = np.stack([columns[column.name] for column in self.layout], axis=1)
        ends = np.cumsum([len(units) + 1 for units in texts])
        return [part[:-1] for part in np.split(ids, ends[:-1])]

    def _of_each_character(self, words: Sequence[str], word_ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of the characters of these words, by name, each (N,) int32."""
        lengths = np.fromiter(map(len, words), np.int32, len(words))
        characters = codes("".join(words))
        around = np.concatenate([_SPACE, characters, _SPACE])
        bigrams = self._bigrams.ids(around[:-1], around[1:])
        columns = {
            "char": self._characters.ids(characters),
            "next bigram": bigrams[1:],
            "previous bigram": bigrams[:-1],
            "word": np.repeat(word_ids, lengths),
            "position": word_positions(lengths),
        }
        if self.lexicon:
            features = self.lexicon.features(characters, lengths)
            columns |= zip(("begins", "covers", "ends"), features.words, strict=True)
            columns |= zip(("lengths",), features.lengths, strict=True)
            columns |= zip(("word tag", "begins tag", "covers tag", "ends tag"), features.tags, strict=True)
        return columns

    def drop_words(self, ids: np.ndarray, share: float, draws: Draws) -> np.ndarray:
        """Return rows of ids (B, T, F) with a random share of the words and bigrams of each unit made unknown."""
        ids = ids.copy()
        for name in dict.fromkeys(column.dropout for column in self._every_column if column.dropout):
            chosen = draws.random(ids.shape[:2]) < share
            for number, column in enumerate(self.layout):
                if column.dropout == name:
                    _make_unknown(ids, number, chosen)
        return ids

    def sample_words(self, ids: np.ndarray, share: float, draws: Draws) -> np.ndarray:
        """Return which units of rows of ids (B, T, F) are in a random share of the words, (B, T) bool."""
        starts = np.ones(ids.shape[:2], bool)
        if self._of_characters:
            starts = np.isin(ids[:, :, self._position], _WORD_STARTS)
        words = np.cumsum(starts, axis=1, dtype=np.int64)
        drawn = np.take_along_axis(draws.random((len(ids), ids.shape[1] + 1)), words, axis=1)
        return (drawn < share) & (ids[:, :, 0] != PADDING)

    def mask(self, ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return rows of ids (B, T, F) with all that reveals the chosen units, (B, T) bool, made unknown.

        Columns that reveal a unit from further away are masked around it as well.
        """
        ids = ids.copy()
        reaches = {column.masked for column in self.layout if column.masked is not None}
        for reach in sorted(reaches):
            near = chosen.copy()
            for step in range(1, reach + 1):
                near[:, step:] |= chosen[:, :-step]
                near[:, :-step] |= chosen[:, step:]
            for number, column in enumerate(self.layout):
                if column.masked == reach:
                    _make_unknown(ids, number, near)
        return ids

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """Return the frozen vectors of rows of ids: (..., F) int32 -> (..., D) float32."""
        vectors = np.empty((*ids.shape[:-1], self.dimensions), np.float32)
        end = 0
        for column, table in self.looked_up:
            start, end = end, end + table.dimensions
            table.rows(ids[..., column], vectors[..., start:end])
        return vectors


def _make_unknown(ids: np.ndarray, column: int, chosen: np.ndarray) -> None:
    """Set a column of rows of ids (B, T, F) to `UNKNOWN` at the chosen units, (B, T) bool, that are not padding."""
    part = ids[:, :, column]
    part[chosen & (part != PADDING)] = UNKNOWN


def word_positions(lengths: np.ndarray) -> np.ndarray:
    """Return each character's position in its word, 1 to 9, for words of these lengths: (sum(lengths),) int32."""
    first = np.array(_WORD_STARTS, np.int32)[np.minimum(lengths, 4) - 1]  # of each word
    positions = np.repeat(first + 1, lengths)
    ends = np.cumsum(lengths)
    positions[ends - lengths] = first
    positions[ends - 1] = first + np.minimum(lengths - 1, 2)
    return positions


class CodeIndex:
    """Looks up the ids of characters, or of bigrams, whole arrays at a time.

    Args:
        vocabulary: Of strings of one length, 1 or 2; other strings in it are never matched.
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
        rows = np.searchsorted(self._keys, keys)
        return np.where(self._keys[rows] == keys, self._ids[rows], np.int32(UNKNOWN))


def codes(text: str) -> np.ndarray:
    """Return the code points of a text, (len(text),) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
