"""Word vectors of two origins, joined."""

import numpy as np
import pytest

from tagger.errors import VectorsError
from tagger.joined_vectors import joined
from tagger.sections import TextConfig, VectorsConfig
from tagger.text import UnitMaker
from tagger.vectors import RESERVED, make_table

CONFIG = VectorsConfig(word_dimensions=6, limit=0, storage="float32", norm=1.0)
UNITS = UnitMaker(TextConfig())
WORDS = [chr(0x4E00 + number) for number in range(60)]
HIDDEN = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)  # what both origins know of a word


def table(words, dimensions):
    turned = HIDDEN @ np.random.default_rng(dimensions).normal(size=(4, dimensions)).astype(np.float32)
    return make_table("word", words, turned[[WORDS.index(word) for word in words]], CONFIG)


def cosines(made):
    vectors = made.vectors[RESERVED:] / np.linalg.norm(made.vectors[RESERVED:], axis=1, keepdims=True)
    return vectors @ vectors.T


def test_words_take_turns_and_the_limit_holds():
    own, other = table(WORDS[:40], 5), table(WORDS[20:], 8)
    made = joined(own, other, UNITS, CONFIG)
    assert made.vocabulary.words[:6] == [WORDS[0], WORDS[1], WORDS[2], WORDS[40], WORDS[3], WORDS[4]]
    assert sorted(made.vocabulary.words) == sorted(WORDS)
    assert made.dimensions == 6
    few = joined(own, other, UNITS, VectorsConfig(word_dimensions=6, limit=10))
    assert few.vocabulary.words == made.vocabulary.words[:10]
    assert few.vectors.dtype == np.int8


def test_what_is_alike_in_both_is_alike_whatever_origin_a_word_has():
    made = joined(table(WORDS[:40], 5), table(WORDS[20:], 8), UNITS, CONFIG)
    whole = joined(table(WORDS, 5), table(WORDS, 8), UNITS, CONFIG)
    order = [made.vocabulary.words.index(word) for word in whole.vocabulary.words]
    alike = np.corrcoef(cosines(made)[np.ix_(order, order)].ravel(), cosines(whole).ravel())[0, 1]
    assert alike > 0.9


def test_what_is_no_chinese_word_is_not_taken_over():
    other = make_table("word", [*WORDS, "https", "<doc", "新的"], np.ones((63, 3), np.float32), CONFIG)
    assert not {"https", "<doc", "新的"} & set(joined(table(WORDS[:9], 5), other, UNITS, CONFIG).vocabulary.words)


def test_tables_without_a_common_word_are_refused():
    with pytest.raises(VectorsError, match="no word in common"):
        joined(table(WORDS[:9], 5), table(WORDS[9:], 8), UNITS, CONFIG)
