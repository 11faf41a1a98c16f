import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.config import TextConfig
from tagger.errors import VectorsError
from tagger.lexicon import COLUMNS, LONGEST, NO_WORD, UNTAGGED, Lexicon, dictionary
from tagger.lookup import codes
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
LEXICON = Lexicon.of(WORDS, fold=True)
IDS = {"ns": 2, "nt": 3, "n": 4, "v": 5, "": UNTAGGED}


def columns(*words):
    return LEXICON.columns(codes("".join(words)), np.array(list(map(len, words)), int))


def slow(words):
    """The features by their definition, one string at a time."""
    text, known = "".join(words), {word: IDS[tag] for word, tag in WORDS}
    result = np.zeros((COLUMNS, len(text)), int)
    longest = np.zeros((3, len(text)), int)
    start = 0
    for word in words:
        result[1, start : start + len(word)] = known.get(word, NO_WORD)
        start += len(word)
    for length in range(2, LONGEST + 1):
        for start in range(len(text) - length + 1):
            tag = known.get(text[start : start + length])
            if tag:
                for row, places in enumerate([[start], range(start + 1, start + length - 1), [start + length - 1]]):
                    for place in places:
                        result[2 + row, place], longest[row, place] = tag, length
    result[0] = np.clip(longest - 1, 0, 3).T @ [16, 4, 1]
    return result


def test_longest_words_that_begin_cover_and_end():
    lengths, around, begins, covers, ends = columns("北京", "大学生")
    assert around.tolist() == [2, 2, 4, 4, 4]
    assert begins.tolist() == [3, 0, 4, 0, 0]
    assert covers.tolist() == [0, 3, 3, 4, 0]
    assert ends.tolist() == [0, 2, 0, 3, 4]
    assert lengths.tolist() == [48, 13, 44, 11, 2]


@few
@given(st.lists(st.text("北京大学生ab长江桥头堡下 ", min_size=1, max_size=9), max_size=6))
def test_columns_are_those_of_the_definition(words):
    assert columns(*words).tolist() == slow(words).tolist()


def test_words_are_found_whatever_their_number():
    rng = np.random.default_rng(1)
    strings = {"".join(map(chr, rng.integers(0x4E00, 0x9FFF, size))) for size in rng.integers(1, 9, 20_000)}
    lexicon = Lexicon.of([(word, "n") for word in strings], fold=False)
    assert len(lexicon.keys) > 0.999 * len(strings)
    assert (lexicon.find(lexicon.keys) == 2).all()
    others = rng.integers(0, 2**32, 100_000).astype(np.uint32)
    assert (lexicon.find(others) > 0).mean() < 1e-4


def test_an_empty_lexicon_and_an_empty_text():
    assert Lexicon.of([], fold=True).columns(codes("北京"), np.array([2])).sum() == 0
    assert LEXICON.columns(codes(""), np.array([], int)).shape == (COLUMNS, 0)


def test_words_are_folded_and_long_ones_or_ones_with_spaces_left_out():
    folded = Lexicon.of([("ＡB", "n"), ("a b", "n"), ("长" * (LONGEST + 1), "n")], fold=True)
    assert len(folded.keys) == 1
    assert folded.columns(codes("ab"), np.array([2]))[1].tolist() == [2, 2]


def test_the_dictionary_knows_names_and_users_words():
    lexicon = dictionary(TextConfig(words=("阿兹卡班堡",)))
    around = lexicon.columns(codes("北京张学友阿兹卡班堡"), np.array([2, 3, 5]))[1]
    assert len({around[0], around[2], around[5]}) == 3
    assert around[5] == UNTAGGED


def test_it_is_the_same_after_saving(tmp_path):
    LEXICON.save(tmp_path)
    loaded = Lexicon.load(tmp_path)
    text, lengths = codes("北京大学生"), np.array([2, 3])
    assert loaded.columns(text, lengths).tolist() == LEXICON.columns(text, lengths).tolist()


@pytest.mark.parametrize("damage", ["missing", "short", "type"])
def test_damage_is_told(tmp_path, damage):
    LEXICON.save(tmp_path)
    file = tmp_path / "lexicon.tags.npy"
    if damage == "missing":
        file.unlink()
    else:
        np.save(file, LEXICON.tags[:-1] if damage == "short" else LEXICON.tags.astype(np.float32))
    with pytest.raises(VectorsError, match="lexicon"):
        Lexicon.load(tmp_path)
