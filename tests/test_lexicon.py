import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.errors import VectorsError
from tagger.lexicon import LONGEST, NO_WORD, UNTAGGED, Lexicon, _keys, jieba_lexicon
from tagger.lookup import codes
from tagger.sections import TextConfig
from tagger.vectors import UNKNOWN, Vocabulary
from tests.samples import few

WORDS = [
    ("北京", "ns"),
    ("北京大学", "nt"),
    ("大学", "n"),
    ("大学生", "n"),
    ("生", "v"),
    ("ab", ""),
    ("长江大桥桥头堡下", "ns"),
]
VOCABULARY = Vocabulary(["大学", "的", "北京大学", "大学生"])
LEXICON = Lexicon.of(WORDS, VOCABULARY, fold=True)
EMPTY = Vocabulary([])
IDS = {"ns": 2, "nt": 3, "n": 4, "v": 5, "": UNTAGGED}


def features(*words):
    return LEXICON.features(codes("".join(words)), np.array(list(map(len, words)), int))


def slow(words):
    """The features by their definition, one string at a time."""
    text, known = "".join(words), {word: IDS[tag] for word, tag in WORDS}
    tags, ids = np.zeros((4, len(text)), int), np.zeros((3, len(text)), int)
    longest = np.zeros((3, len(text)), int)
    start = 0
    for word in words:
        tags[0, start : start + len(word)] = known.get(word, NO_WORD)
        start += len(word)
    for length in range(2, LONGEST + 1):
        for start in range(len(text) - length + 1):
            word = text[start : start + length]
            if word in known:
                for row, places in enumerate([[start], range(start + 1, start + length - 1), [start + length - 1]]):
                    for place in places:
                        tags[1 + row, place], longest[row, place] = known[word], length
                        ids[row, place] = VOCABULARY.id(word) if word in VOCABULARY else UNKNOWN
    return [np.clip(longest - 1, 0, 3).T @ [16, 4, 1]], tags, ids


def test_longest_words_that_begin_cover_and_end():
    found = features("北京", "大学生")
    assert found.tags.tolist() == [[2, 2, 4, 4, 4], [3, 0, 4, 0, 0], [0, 3, 3, 4, 0], [0, 2, 0, 3, 4]]
    assert found.words.tolist() == [[4, 0, 5, 0, 0], [0, 4, 4, 5, 0], [0, 1, 0, 4, 5]]
    assert found.lengths.tolist() == [[48, 13, 44, 11, 2]]


@few
@given(st.lists(st.text("北京大学生ab长江桥头堡下 ", min_size=1, max_size=9), max_size=6))
def test_features_are_those_of_the_definition(words):
    for ours, expected in zip(features(*words), slow(words), strict=True):
        assert ours.dtype == np.int32
        np.testing.assert_array_equal(ours, expected)


def test_words_are_found_in_a_lexicon_of_any_size():
    rng = np.random.default_rng(1)
    strings = {"".join(map(chr, rng.integers(0x4E00, 0x9FFF, size))) for size in rng.integers(1, 9, 20_000)}
    lexicon = Lexicon.of([(word, "n") for word in strings], EMPTY, fold=False)
    assert len(lexicon) > 0.999 * len(strings)
    for word in strings:
        assert lexicon.features(codes(word), np.array([len(word)])).tags[0].tolist() == [2] * len(word)
    others = rng.integers(0, 2**32, 100_000).astype(np.uint32)
    assert (lexicon.find(others) < len(lexicon)).mean() < 1e-4


def test_nothing_is_found_across_a_space_even_if_its_hash_is_that_of_a_word():
    """Texts are looked up together with a space between, and must not depend on one another."""
    crossing = Lexicon(EMPTY, np.zeros(0, np.uint8), np.sort(_keys(["京 大", " 大", "大学"])), np.full(3, 2, np.uint8))
    found = crossing.features(codes("北京 大学"), np.array([2, 1, 2]))
    assert found.lengths.tolist() == [[0, 0, 0, 16, 1]]


def test_an_empty_lexicon_and_an_empty_text():
    assert not any(part.any() for part in Lexicon.of([], EMPTY, fold=True).features(codes("北京"), np.array([2])))
    assert [part.shape for part in features()] == [(1, 0), (4, 0), (3, 0)]


def test_words_are_folded_and_long_ones_or_ones_with_spaces_left_out():
    folded = Lexicon.of([("ＡB", "n"), ("a b", "n"), ("长" * (LONGEST + 1), "n")], EMPTY, fold=True)
    assert len(folded) == 1
    assert folded.features(codes("ab"), np.array([2])).tags[0].tolist() == [2, 2]


def test_the_dictionary_knows_names_and_users_words():
    lexicon = jieba_lexicon(TextConfig(words=("阿兹卡班堡",)), VOCABULARY)
    around = lexicon.features(codes("北京张学友阿兹卡班堡"), np.array([2, 3, 5])).tags[0]
    assert len({around[0], around[2], around[5]}) == 3
    assert around[5] == UNTAGGED


def test_it_is_the_same_after_saving(tmp_path):
    LEXICON.save(tmp_path)
    loaded = Lexicon.load(tmp_path, VOCABULARY)
    text, lengths = codes("北京大学生"), np.array([2, 3])
    for ours, expected in zip(loaded.features(text, lengths), LEXICON.features(text, lengths), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("damage", ["missing", "short", "type", "vocabulary"])
def test_damage_is_reported(tmp_path, damage):
    LEXICON.save(tmp_path)
    file = tmp_path / "lexicon.tags.npy"
    if damage == "missing":
        file.unlink()
    elif damage != "vocabulary":
        tags = np.load(file)
        np.save(file, tags[:-1] if damage == "short" else tags.astype(np.float32))
    with pytest.raises(VectorsError, match="lexicon"):
        Lexicon.load(tmp_path, EMPTY if damage == "vocabulary" else VOCABULARY)
