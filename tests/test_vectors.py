import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.errors import VectorsError
from tagger.sections import TextConfig, VectorsConfig
from tagger.text import UnitMaker
from tagger.vectors import (
    PADDING,
    RESERVED,
    TABLES,
    UNKNOWN,
    Table,
    Vocabulary,
    learn,
    load_tables,
    make_table,
    reduced,
    save_tables,
)
from tests.samples import few, rows, table

WORDS = ["北京", "大学", "的"]
ODD_WORDS = [
    " ",
    "a b",
    "",
    "\u2028",
    "\u3000x",
    "\x0b",
    "\x85",
    "\u200b",
    "\ufeff",
    "\ufffd",
    "😀",
    "'\"\\",
    "#",
    "\u0301",
]


# ---- vocabularies -------------------------------------------------------------------------------------------------


def backed_off(words, word):
    """Return the id of a word by definition: of itself, its longest known ending, its longest beginning."""
    parts = [word[start:] for start in range(len(word))] + [word[:stop] for stop in range(len(word), 0, -1)]
    return next((words.index(part) + RESERVED for part in parts if part in words), UNKNOWN)


@few
@given(st.lists(st.text("ab", min_size=1, max_size=3), unique=True, max_size=6), st.lists(st.text("abc", max_size=6)))
def test_an_unknown_word_is_its_longest_known_ending_or_beginning(words, some):
    vocabulary = Vocabulary(words)
    expected = [backed_off(words, word) for word in some]
    assert [vocabulary.id(word) for word in some] == expected
    ids = vocabulary.ids(some)
    assert (ids.tolist(), ids.dtype, ids.shape) == (expected, np.int32, (len(some),))


def test_back_off_by_example():
    vocabulary = Vocabulary(["会议", "纪念馆", "馆", "遵义"])
    assert vocabulary.words[vocabulary.id("遵义会议纪念馆") - RESERVED] == "纪念馆"
    assert vocabulary.words[vocabulary.id("遵义人") - RESERVED] == "遵义"
    assert vocabulary.id("北京") == UNKNOWN


def test_ids_0_and_1_are_reserved():
    vocabulary = Vocabulary(WORDS)
    assert (PADDING, UNKNOWN) == (0, 1)
    assert [vocabulary.id(word) for word in WORDS] == [2, 3, 4]
    assert len(vocabulary) == 5
    assert "北京" in vocabulary
    assert "京" not in vocabulary


# ---- tables -------------------------------------------------------------------------------------------------------


def random_vectors(count, dimensions=16):
    return np.random.default_rng(count).normal(size=(count, dimensions)).astype(np.float32)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize(("norm", "expected"), [(1.0, 1.0), ("auto", 2.0), (7.5, 7.5)])
def test_every_vector_has_the_norm_and_its_direction(storage, norm, expected):
    vectors = random_vectors(50)
    before = vectors.copy()
    made = make_table("word", [f"w{n}" for n in range(50)], vectors, VectorsConfig(norm=norm, storage=storage))
    found = made.rows(np.arange(RESERVED, 52))
    wanted = vectors * (expected / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.testing.assert_allclose(found, wanted, atol=np.abs(wanted).max() / 127)
    assert found.dtype == np.float32
    assert made.vectors.dtype == storage
    np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_padding_is_zero_and_unknown_is_not(storage, count):
    vectors = random_vectors(count)
    made = make_table("word", [f"w{n}" for n in range(count)], vectors, VectorsConfig(storage=storage, norm=1.0))
    assert not made.rows(np.array(PADDING)).any()
    unknown = made.rows(np.array(UNKNOWN))
    assert np.linalg.norm(unknown) > 0.1
    rarest = made.rows(np.arange(2, count + 2))[-max(1, count // 10) :]
    np.testing.assert_allclose(unknown, rarest.mean(axis=0), atol=0.02)


def test_int8_is_close_to_float32():
    words, vectors = [f"w{n}" for n in range(500)], random_vectors(500, 64)
    whole, small = (make_table("word", words, vectors, VectorsConfig(storage=s)) for s in ("float32", "int8"))
    ids = np.arange(502)
    error = np.linalg.norm(whole.rows(ids) - small.rows(ids), axis=1)
    assert error.max() < 0.02 * np.linalg.norm(whole.rows(ids[2:]), axis=1).min()
    assert small.vectors.nbytes * 4 == whole.vectors.nbytes


# ---- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("words", [WORDS, ODD_WORDS, ODD_WORDS[::-1], []], ids=["words", "odd", "odd ends", "none"])
def test_a_saved_table_is_loaded_as_it_was(tmp_path, storage, words):
    table("word", ["older"]).save(tmp_path)  # what lay there before does not matter
    make_table("word", ["older"], random_vectors(1), VectorsConfig()).save(tmp_path)
    made = make_table("word", words, random_vectors(len(words)), VectorsConfig(storage=storage))
    save_tables([made], tmp_path)
    [found] = load_tables(tmp_path, "word")
    assert found.vocabulary.words == words
    assert (found.name, found.dimensions, found.vectors.dtype) == ("word", 16, made.vectors.dtype)
    ids = np.arange(len(words) + RESERVED)
    np.testing.assert_array_equal(found.rows(ids), made.rows(ids))


def save_array(path, array):
    np.save(path, array, allow_pickle=array.dtype == object)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("word.txt", lambda path: path.unlink()),
        ("word.txt", lambda path: path.write_bytes("北京\n大学\n的\n".encode("gbk"))),
        ("word.txt", lambda path: path.write_text("北京\n大学\n", "utf-8")),
        ("word.txt", lambda path: path.write_text("北京\n大学\n的", "utf-8")),
        ("word.npy", lambda path: path.unlink()),
        ("word.npy", lambda path: path.write_bytes(b"")),
        ("word.npy", lambda path: path.write_bytes(b"junk")),
        ("word.npy", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("word.npy", lambda path: save_array(path, np.load(path)[:-1])),
        ("word.npy", lambda path: save_array(path, np.load(path)[0])),
        ("word.npy", lambda path: save_array(path, np.float32(1))),
        ("word.npy", lambda path: save_array(path, np.load(path).astype(object))),
        ("word.scales.npy", lambda path: path.write_bytes(b"")),
        ("word.scales.npy", lambda path: path.write_bytes(b"junk")),
        ("word.scales.npy", lambda path: save_array(path, np.ones((2, 1), np.float32))),
        ("word.scales.npy", lambda path: save_array(path, np.ones(5, np.float32))),
    ],
)
def test_damaged_files_are_reported(tmp_path, storage, name, damage):
    make_table("word", WORDS, random_vectors(3), VectorsConfig(storage=storage)).save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(VectorsError, match="word"):
        Table.load(tmp_path, "word")


def test_int8_vectors_without_scales_are_reported(tmp_path):
    make_table("word", WORDS, random_vectors(3), VectorsConfig(storage="int8")).save(tmp_path)
    (tmp_path / "word.scales.npy").unlink()
    with pytest.raises(VectorsError, match="word"):
        Table.load(tmp_path, "word")


# ---- word2vec -----------------------------------------------------------------------------------------------------

SMALL = {"word_dimensions": 8, "char_dimensions": 8, "bigram_dimensions": 8, "epochs": 1}


def learnt(tmp_path, config, unit="char", count=200, seed=1):
    texts = (row["text"] for row in itertools.islice(rows("train"), count))
    return list(learn(texts, UnitMaker(TextConfig(unit=unit)), config, seed, tmp_path))


def test_word2vec_is_repeatable(tmp_path):
    first, again, other = (learnt(tmp_path, VectorsConfig(**SMALL), seed=seed) for seed in (1, 1, 2))
    assert [made.name for made in first] == list(TABLES["char"])
    for one, two, three in zip(first, again, other, strict=True):
        assert one.vocabulary.words == two.vocabulary.words
        np.testing.assert_array_equal(one.vectors, two.vectors)
        assert not np.array_equal(one.vectors, three.vectors)
    assert list(tmp_path.iterdir()) == []


def test_word2vec_learns_every_word_often_enough(tmp_path):
    [made] = learnt(tmp_path, VectorsConfig(**SMALL, min_count=1), unit="word")
    units = UnitMaker(TextConfig(unit="word"))
    words = [word for row in rows("train")[:200] for word in units.words(row["text"])]
    assert set(made.vocabulary.words) == set(words)
    counts = [words.count(word) for word in made.vocabulary.words]
    assert counts == sorted(counts, reverse=True)


def test_a_limit_keeps_the_most_frequent_words(tmp_path):
    [whole] = learnt(tmp_path, VectorsConfig(**SMALL, min_count=1, limit=0), unit="word")
    [limited] = learnt(tmp_path, VectorsConfig(**SMALL, min_count=1, limit=30), unit="word")
    kept = limited.vocabulary.words
    assert 20 < len(kept) <= 30  # fewer, where several words are as rare as the last
    assert set(kept) == set(whole.vocabulary.words[: len(kept)])


@pytest.mark.parametrize("texts", [[], ["", ""], ["甲乙丙丁"]])
def test_too_little_text_is_reported(tmp_path, texts):
    with pytest.raises(VectorsError, match="text"):
        list(learn(texts, UnitMaker(TextConfig()), VectorsConfig(**SMALL, min_count=2), 1, tmp_path))


def test_fewer_dimensions_keep_the_differences_of_words():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8))  # 8 numbers a word, of which 3 say it all
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    fewer = reduced(flat.astype(np.float32), 3)
    assert fewer.shape == (200, 3)
    np.testing.assert_allclose(fewer @ fewer.T, unit @ unit.T, atol=1e-4)
    assert reduced(flat, 8) is flat


@pytest.mark.parametrize("storage", ["int8", "float32"])
def test_the_head_of_a_table_is_its_most_frequent_words(storage):
    whole = make_table("word", ["北京", "大学", "的"], np.eye(3), VectorsConfig(storage=storage))
    head = whole.head(2)
    assert head.vocabulary.words == ["北京", "大学"]
    np.testing.assert_array_equal(head.rows(np.arange(4)), whole.rows(np.arange(4)))
    assert whole.head(0) is whole is whole.head(3)
