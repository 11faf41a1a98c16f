"""Ready-made vectors: every form that a file may have, and what is wrong with files as they are found."""

import gzip
import tracemalloc

import numpy as np
import pytest

from tagger.errors import VectorsError
from tagger.sections import VectorsConfig
from tagger.vector_files import load_word2vec
from tagger.vectors import make_table

TEXT_FORMAT = "3 2\n北京 3 4\nＡ 1 0\nA 0 1\n"


@pytest.mark.parametrize("name", ["own.txt", "own.txt.gz", "own.vec"])
def test_ready_made_vectors_are_read(tmp_path, name):
    content = TEXT_FORMAT.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    made = load_word2vec(tmp_path / name, VectorsConfig(norm=1.0, storage="float32"))
    assert made.vocabulary.words == ["北京", "A"]  # both forms of A are one word; the first counts
    np.testing.assert_allclose(made.rows(np.array([2, 3])), [[0.6, 0.8], [1, 0]])


@pytest.mark.parametrize(("simplify", "words"), [(True, ["国家"]), (False, ["國家", "国家"])])
def test_simplified_and_traditional_words_become_one(tmp_path, simplify, words):
    (tmp_path / "own.txt").write_text("2 2\n國家 1 0\n国家 0 1\n", "utf-8")
    made = load_word2vec(tmp_path / "own.txt", VectorsConfig(norm=1.0, storage="float32"), simplify=simplify)
    assert made.vocabulary.words == words
    assert made.rows(np.array([2])).tolist() == [[1, 0]]


def test_ready_made_words_keep_the_place_of_the_first_of_those_that_become_one(tmp_path):
    """In order of frequency, which the head of the table and the vector of unknown words depend on."""
    words = ["Ａb", "的", "北京", "ab", "大学", *"甲乙丙丁戊己庚辛壬癸子丑寅卯", "AB"]
    firsts = [0, 1, 2, *range(4, 19)]
    vectors = np.random.default_rng(1).normal(size=(len(words), 4)).round(3)
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, vectors, strict=True)]
    (tmp_path / "own.txt").write_text(f"{len(words)} 4\n" + "".join(lines), "utf-8")
    config = VectorsConfig(norm=1.0, storage="float32")
    made = load_word2vec(tmp_path / "own.txt", config, fold=True)
    assert made.vocabulary.words == ["ab", *(words[row] for row in firsts[1:])]
    expected = make_table("word", made.vocabulary.words, vectors[firsts], config)  # the unknown word's vector, too
    np.testing.assert_allclose(made.vectors, expected.vectors, atol=1e-6)
    assert made.head(3).vocabulary.words == ["ab", "的", "北京"]


def test_ready_made_binary_vectors_are_read(tmp_path):
    rows = b"".join(
        word.encode() + b" " + np.array(v, "<f4").tobytes() for word, v in [("北京", [3, 4]), ("学", [1, 0])]
    )
    (tmp_path / "own.bin").write_bytes(b"2 2\n" + rows)
    made = load_word2vec(tmp_path / "own.bin", VectorsConfig(norm=1.0, storage="float32"))
    assert made.vocabulary.words == ["北京", "学"]
    np.testing.assert_allclose(made.rows(np.array([2, 3])), [[0.6, 0.8], [1, 0]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.txt", None),
        ("own.txt", b""),
        ("own.txt", b"no vectors\n"),
        ("own.txt", b"2 2\n\xe5\x8c\x97 1 2\n"),
        ("own.txt", b"1 3\n\xe5\x8c\x97 1 2\n"),
        ("own.txt", b"1 2\n\xe5\x8c\x97 1 x\n"),
        ("own.bin", b""),
        ("own.bin", b"2 2\nab "),
        ("own.txt.gz", gzip.compress(TEXT_FORMAT.encode())[:-9]),
        ("own.txt.gz", b"junk"),
    ],
)
def test_other_files_are_reported(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VectorsError, match="own"):
        load_word2vec(tmp_path / name, VectorsConfig())


# ---- forms, whatever the name -------------------------------------------------------------------------------------

NUMBERS = {"山": [3.0, 4.0, 0.0], "流水": [1.0, 0.5, -1.0], "月": [0.0, -2.0, 1.0]}


def as_text(vectors, first=None):
    lines = [f"{len(vectors)} 3" if first is None else first]
    lines += [f"{word} {' '.join(map(str, vector))}" for word, vector in vectors.items()]
    return ("\n".join(lines if lines[0] else lines[1:]) + "\n").encode()


def as_binary(vectors, first=None, end=b""):
    rows = [word.encode() + b" " + np.array(vector, "<f4").tobytes() + end for word, vector in vectors.items()]
    return (first or f"{len(vectors)} 3").encode() + b"\n" + b"".join(rows)


FORMS = {
    "text": as_text(NUMBERS),
    "text with tabs and ends of lines as on Windows": as_text(NUMBERS).replace(b" ", b"\t").replace(b"\n", b"\r\n"),
    "text with a space at each end": as_text(NUMBERS).replace(b"\n", b" \n"),
    "byte order mark": b"\xef\xbb\xbf" + as_text(NUMBERS),
    "without a first line": as_text(NUMBERS, ""),
    "byte order mark without a first line": b"\xef\xbb\xbf" + as_text(NUMBERS, ""),
    "binary": as_binary(NUMBERS),
    "binary with line ends": as_binary(NUMBERS, end=b"\n"),
    "blank lines": as_text(NUMBERS) + b"\n\n",
}


@pytest.mark.parametrize("name", ["v.txt", "v.bin", "v.vec", "v", "v.gz"])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_seen_in_the_file_and_not_in_its_name(tmp_path, form, name):
    content = FORMS[form]
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    made = load_word2vec(tmp_path / name, VectorsConfig(storage="float32", norm=1.0))
    assert made.vocabulary.words == list(NUMBERS)
    expected = make_table(
        "word", list(NUMBERS), np.array(list(NUMBERS.values())), VectorsConfig(storage="float32", norm=1.0)
    )
    np.testing.assert_allclose(made.vectors, expected.vectors, atol=1e-6)


@pytest.mark.parametrize("first", [None, ""], ids=["counts", "no counts"])
def test_a_word_may_contain_spaces(tmp_path, first):
    vectors = {"San Marino": [1, 2, 3], "山": [3, 2, 1], "3 4 5": [0, 1, 0], "\u3000": [1, 1, 1]}
    (tmp_path / "v").write_bytes(as_text(vectors, first))
    assert load_word2vec(tmp_path / "v", VectorsConfig()).vocabulary.words == ["San Marino", "山", "3 4 5", " "]


@pytest.mark.parametrize("form", [as_text, as_binary])
def test_no_more_words_than_the_limit_are_kept_or_read(tmp_path, form):
    (tmp_path / "v").write_bytes(form(NUMBERS, "99999999 3") + b"\n\xff what follows is not read")
    assert load_word2vec(tmp_path / "v", VectorsConfig(limit=2)).vocabulary.words == ["山", "流水"]


def test_what_lies_beyond_the_limit_takes_no_memory(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(40_000, 50)).astype("<f4")
    rows = b"".join(b"w%d " % number + vector.tobytes() for number, vector in enumerate(vectors))
    (tmp_path / "v").write_bytes(b"40000 50\n" + rows)
    tracemalloc.start()
    load_word2vec(tmp_path / "v", VectorsConfig(limit=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6 < len(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_text({**NUMBERS, "坏词": ["nan", 1, 2]}), "v: line 5: the vector of '坏词' holds nan or inf"),
        (as_text({"坏词": [1, "inf", 2], **NUMBERS}, ""), "v: line 1: the vector of '坏词' holds nan or inf"),
        (as_text({**NUMBERS, "坏词": ["1e99", 1, 2]}), "v: line 5: the vector of '坏词' holds nan or inf"),
        (as_text({**NUMBERS, "坏词": [1, -1e20, 2]}), "v: line 5: the vector of '坏词' holds a number beyond 1e+15"),
        (as_binary({**NUMBERS, "坏词": [1, 2, np.inf]}), "v: word 4: the vector of '坏词' holds nan or inf"),
        (b"4 3", "v: expected 4 words, as its first line says, received 0"),
        (as_text(NUMBERS, "4 3"), "v: expected 4 words, as its first line says, received 3"),
        (as_text(NUMBERS, "900719925474099 3"), "v: expected 900,719,925,474,099 words"),
        (as_binary(NUMBERS, "4 3"), "v: expected 4 words, as its first line says, received 3"),
        (as_binary(NUMBERS)[:-3], "v: word 3: expected a word, a space and 3 numbers"),
        (as_text(NUMBERS, "3 300"), "v: line 2: expected a word and 300 numbers, received '山 3.0"),
        (as_text(NUMBERS, "3 900719925474099"), "v: line 1: expected 1 to 10,000 dimensions"),
        (as_text(NUMBERS, "3 0"), "v: line 1: expected 1 to 10,000 dimensions"),
        (as_text(NUMBERS).replace(b"-2.0", b"two"), "v: line 4: expected a word and 3 numbers, received '月"),
        ("山是山，水是水。\n今天没有向量。\n".encode(), "v: line 1: expected a first line with the number of words"),
        (b"", "v: line 1: expected a first line"),
        (b"\x89PNG\r\n\x1a\n\0\0", "v: line 1: expected a first line"),
        (b"0 3\n", "v: contains no word"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(VectorsError) as error:
        load_word2vec((tmp_path / "v").relative_to(tmp_path), VectorsConfig())
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
