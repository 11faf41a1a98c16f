import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.lexicon import LENGTHS, TAGS, jieba_lexicon
from tagger.lookup import CHARACTER_COLUMNS, POSITIONS, WORD_COLUMNS, Lookup, word_positions
from tagger.sections import ModelConfig, TextConfig
from tagger.text import UnitMaker
from tagger.vectors import PADDING, UNKNOWN
from tests.samples import char_lookup, few, word_lookup

NAMES = [column.name for column in CHARACTER_COLUMNS]


def lexicon_lookup():
    tables = char_lookup().tables
    return Lookup(tables, jieba_lexicon(TextConfig(), tables[-1].vocabulary))


LOOKUPS = pytest.mark.parametrize(
    "lookup", [word_lookup(), char_lookup(), lexicon_lookup()], ids=["word", "char", "lexicon"]
)


def naive_positions(lengths):
    kinds = {1: [1], 2: [2, 3], 3: [4, 5, 6]}
    return [place for length in lengths for place in kinds.get(length, [7, *[8] * (length - 2), 9])]


@few
@given(st.lists(st.integers(1, 9), max_size=20))
def test_positions_in_words(lengths):
    found = word_positions(np.array(lengths, np.int32))
    assert (found.tolist(), found.dtype) == (naive_positions(lengths), np.int32)
    assert not set(found) & {0}
    assert found.max(initial=0) < POSITIONS


@pytest.mark.parametrize("text", ["北京的大学生", "学", "京 北", ""])
def test_the_ids_of_words(text):
    lookup = word_lookup()
    units = UnitMaker(TextConfig(unit="word"))(text)
    (ids,) = lookup.ids([units])
    assert (ids.shape, ids.dtype, lookup.columns) == ((len(units), 1), np.int32, 1)
    assert ids[:, 0].tolist() == [lookup.tables[0].vocabulary.id(word) for word in units.words]
    assert lookup.vectors(ids).shape == (len(units), lookup.dimensions) == (len(units), 4)
    assert lookup.embeddings(ModelConfig()) == []


@pytest.mark.parametrize("text", ["北京的大学生", "学", "京 北", ""])
def test_the_ids_of_characters(text):
    lookup = char_lookup()
    char, bigram, word = (made.vocabulary.id for made in lookup.tables)
    units = UnitMaker(TextConfig())(text)
    (ids,) = lookup.ids([units])
    assert (ids.shape, ids.dtype, lookup.columns) == ((len(text), 5), np.int32, 5)
    around = f" {text} "
    words = [of for of in units.words for _ in of]
    assert ids.tolist() == [
        [char(c), bigram(around[t + 1 : t + 3]), bigram(around[t : t + 2]), word(of), place]
        for t, (c, of, place) in enumerate(zip(text, words, naive_positions(map(len, units.words)), strict=True))
    ]
    vectors = lookup.vectors(ids)
    assert vectors.shape == (len(text), lookup.dimensions) == (len(text), 3 + 2 + 2 + 4)
    assert vectors.any(axis=-1).all()


def test_trainable_tables():
    lookup, sizes = char_lookup(), ModelConfig(char_dimensions=8, position_dimensions=3, lexicon_dimensions=5)
    assert lexicon_lookup().embeddings(sizes) == [
        ((0,), 7, 8), ((4,), POSITIONS, 3), ((8,), LENGTHS, 5), ((9, 10, 11, 12), TAGS, 5)
    ]  # fmt: skip
    assert lookup.embeddings(ModelConfig(char_dimensions=8, position_dimensions=3)) == [
        ((0,), 7, 8),
        ((4,), POSITIONS, 3),
    ]
    assert lookup.embeddings(ModelConfig(char_dimensions=0, position_dimensions=3)) == [((4,), POSITIONS, 3)]


@LOOKUPS
def test_vectors_are_looked_up_in_any_shape(lookup):
    ids = np.zeros((2, 3, lookup.columns), np.int32)
    assert lookup.vectors(ids).shape == (2, 3, lookup.dimensions)
    assert not lookup.vectors(ids).any()


# ---- what the table of columns says -----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [WORD_COLUMNS, CHARACTER_COLUMNS])
def test_a_column_has_a_name_a_description_and_a_source_of_vectors(columns):
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.description and (column.table or column.embedding) for column in columns)
    assert all(hasattr(ModelConfig(), column.dimensions) for column in columns if column.embedding)


@LOOKUPS
def test_the_layout_describes_what_the_rows_hold(lookup):
    (ids,) = lookup.ids([UnitMaker(TextConfig(unit="char" if len(lookup.tables) > 1 else "word"))("北京大学生12")])
    assert ids.shape[1] == lookup.columns == len(lookup.layout)
    assert [column for column, _ in lookup.looked_up] == [n for n, of in enumerate(lookup.layout) if of.table]
    sizes = {n: len(table.vocabulary) for n, table in lookup.looked_up}
    for number, column in enumerate(lookup.layout):
        assert 0 <= ids[:, number].min() <= ids[:, number].max() < (column.ids or sizes[number])


@LOOKUPS
def test_word_dropout_takes_the_columns_of_a_word_together(lookup):
    ids = np.full((40, 50, lookup.columns), 5, np.int32)
    ids[:, 45:] = PADDING
    dropped = lookup.drop_words(ids, 0.25, np.random.default_rng(1)) == UNKNOWN
    assert not dropped[:, 45:].any()
    for (one, column), (two, other) in itertools.combinations(enumerate(lookup.layout), 2):
        same = (dropped[:, :, one] == dropped[:, :, two]).all()
        assert same == (column.dropout == other.dropout)
    for number, column in enumerate(lookup.layout):
        assert dropped[:, :45, number].mean() == pytest.approx(0.25 if column.dropout else 0, abs=0.03)


def test_word_dropout_draws_the_same_with_a_lexicon_and_without():
    drawn = [np.random.default_rng(1) for _ in range(2)]
    plain, more = (
        lookup.drop_words(np.full((4, 9, lookup.columns), 5, np.int32), 0.5, rng)
        for lookup, rng in zip((char_lookup(), lexicon_lookup()), drawn, strict=True)
    )
    np.testing.assert_array_equal(more[:, :, :5], plain)
    assert drawn[0].random() == drawn[1].random()


@pytest.mark.parametrize(
    ("column", "reach"),
    [("char", 0), ("word", 0), ("next bigram", 1), ("previous bigram", 1), ("covers", 3), ("ends tag", 3)],
)
def test_masking_reaches_as_far_as_a_column_reveals(column, reach):
    lookup, chosen = lexicon_lookup(), np.zeros((1, 20), bool)
    chosen[0, 9] = True
    masked = lookup.mask(np.full((1, 20, lookup.columns), 5, np.int32), chosen)[0, :, NAMES.index(column)] == UNKNOWN
    assert np.flatnonzero(masked).tolist() == list(range(9 - reach, 10 + reach))
