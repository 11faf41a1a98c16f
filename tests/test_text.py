import gzip
import itertools
import json
import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.config import load
from tagger.errors import ConfigError
from tagger.sections import TextConfig
from tagger.tags import UnitSpan
from tagger.text import Segmenter, UnitMaker, Window, clean, normal, pieces, read_words, simplified, windows
from tests.conftest import ROOT, SAMPLE, corpora
from tests.samples import anything, few, rows

# Words that jieba does not know, and words that it does know.
USER_WORDS = ("遵义会议纪念馆", "石墨烯", "c++语言", "北京", "中国", "一带", "公司")

# Two ways to cut these are almost equally probable: counting a known user word twice tips the scales.
NEAR_TIES = ["手艺太差，不值", "沿着山边的步道走", "实力最弱的一队"]

CHARACTERS = UnitMaker(TextConfig())
CONTEST = UnitMaker(TextConfig(unit="word", clean=True, fold=False))


@cache
def segmenter(engine, words=()):
    return Segmenter(words, engine)


# ---- units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("unit", ["char", "word"])
@few
@given(text=anything)
def test_units_tile_any_text(unit, cleaned, text):
    units = UnitMaker(TextConfig(unit=unit, clean=cleaned))(text)
    assert units.text == text
    assert units.bounds.dtype == np.int32
    assert "".join(text[a:b] for a, b in itertools.pairwise(units.bounds)) == text
    assert (np.diff(units.bounds) > 0).all()
    assert sum(map(len, units.words)) == len(text)
    assert len(units) == (len(text) if unit == "char" else len(units.words))


@few
@given(anything)
def test_a_unit_span_is_found_where_both_ends_are_bounds(text):
    units = CONTEST(text)
    bounds = units.bounds.tolist()
    for start, end in itertools.product(range(len(text) + 1), repeat=2):
        whole = start < end and start in bounds and end in bounds
        assert units.unit_span(start, end) == ((bounds.index(start), bounds.index(end)) if whole else None)


@few
@given(anything, st.booleans(), st.booleans())
def test_the_normal_form_is_one_for_one_and_final(text, fold, simplify):
    made = normal(text, fold, simplify)
    assert len(made) == len(text)
    assert normal(made, fold, simplify) == made
    assert made.encode("utf-8").decode("utf-8") == made
    assert not re.search(r"[\s\x00-\x1f]", made.replace(" ", ""))


@few
@given(anything)
def test_fold_makes_letters_small_and_digits_zero(text):
    small = normal(text).translate({code: code + 32 for code in range(65, 91)})
    assert normal(text, fold=True) == re.sub(r"[0-9]", "0", small)


def test_the_normal_form_by_example():
    assert normal("Ａｚ９\ud800北") == "Az9\ufffd北"
    assert normal("\t\n\r\x85\xa0\u2028\u2029\u200b\u3000\ufeff") == 10 * " "
    assert normal("Ａｚ９ iPhone 6S", fold=True) == "az0 iphone 0s"
    assert normal("Ａ９國家後來於臺灣", simplify=True) == "A9国家后来于台湾"
    assert normal("Ａ９國家後來於臺灣", fold=True) == "a0國家後來於臺灣"


def test_simplified_text_is_its_own_simplified_form():
    every = "".join(map(chr, range(0x110000)))
    in_gb2312 = every.encode("gb2312", "ignore").decode("gb2312")
    assert simplified(in_gb2312) == in_gb2312.replace("後", "后").replace("於", "于")
    replaced = {one: other for one, other in zip(every, simplified(every), strict=True) if one != other}
    assert simplified("".join(replaced.values())) == "".join(replaced.values())
    assert all("\u4e00" <= character <= "\u9fff" for pair in replaced.items() for character in pair)
    assert f"{len(replaced):,} characters" in (ROOT / "tagger" / "docs" / "how-it-works.md").read_text("utf-8")


def test_units_of_traditional_text_are_those_of_the_simplified_one():
    text, other = "李國豪於長江大橋對記者說，後來沒有辦法。", "李国豪于长江大桥对记者说，后来没有办法。"
    default, contest = (UnitMaker(load(name).text) for name in ("default", "contest"))
    units = default(text)
    assert units.text == text
    assert units.words == default(other).words
    assert contest(text).words != contest(other).words
    assert UnitMaker(TextConfig(words=("臺灣大橋",)))("去台湾大桥").words == ["去", "台湾大桥"]


@few
@given(anything)
def test_cleaning_is_one_for_one(text):
    kept = re.compile(r"[0-9a-zA-Z《》()（）“”·.一-龥]")
    made = clean(text)
    assert len(made) == len(text)
    assert all(new in (old, " ") for old, new in zip(text, made, strict=True))
    assert all(new == old for old, new in zip(text, made, strict=True) if kept.match(old))
    assert not set(made) & set("，。！？、；：—…\n\ud800\udfff😀")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("他看了《我在故宫修文物》很感动", "我在故宫修文物"),
        ("《北京大学生活动中心，及其二十年以来的历史》", "北京大学生活动中心 及其二十年以来的历史"),
        ("人称“北京大学生活动中心”的楼", "北京大学生活动中心"),
        ("“一二三四五六七八九十”", "一二三四五六七八九十"),
        ("演员佐藤健（Satoh  Takeru）出生", "Satoh  Takeru"),
        ("搭载iOS 9.0.1系统", "iOS 9.0.1"),
        ("他写了C语言，Hello World. 2016年", "Hello World. 2016"),
    ],
)
def test_protected_spans_stay_whole(text, whole):
    assert whole in CONTEST.words(text)


def test_quotes_of_more_than_ten_characters_are_cut():
    assert "一二三四五六七八九十百" not in CONTEST.words("“一二三四五六七八九十百”")
    assert "北京大学" in CONTEST.words("“北京大学的学生们都来到这里”")


def test_only_the_2016_method_protects():
    assert "我在故宫修文物" not in UnitMaker(TextConfig(unit="word")).words("《我在故宫修文物》")


# ---- segmentation -------------------------------------------------------------------------------------------------


def sample_texts():
    labelled = [row["text"] for split in ("train", "dev") for row in rows(split)]
    return labelled + (SAMPLE / "unlabelled.txt").read_text("utf-8").splitlines()


def corpus_texts():
    for path in sorted(corpora().glob("*/*.jsonl")):
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in itertools.islice(file, 0, 8_000, 20))
    for path in sorted(corpora().glob("unlabelled/*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in itertools.islice(file, 0, 20_000, 20))


@pytest.mark.parametrize("words", [(), USER_WORDS], ids=["plain", "user words"])
@pytest.mark.parametrize("texts", [sample_texts, corpus_texts], ids=["sample", "corpora"])
def test_both_engines_make_the_same_words(texts, words):
    fast, slow = segmenter("rjieba", words), segmenter("jieba", words)
    some = [*NEAR_TIES, *map(normal, texts())]
    assert len(some) > 2_000
    assert [text for text in some if fast.cut(text) != slow.cut(text)] == []


@pytest.mark.parametrize("engine", ["jieba", "rjieba"])
def test_user_words_stay_whole_and_leave_other_segmenters_alone(engine):
    text = "遵义会议纪念馆的石墨烯"
    assert segmenter(engine, USER_WORDS).cut(text) == ["遵义会议纪念馆", "的", "石墨烯"]
    assert "遵义会议纪念馆" not in segmenter(engine).cut(text)


def test_a_fingerprint_tells_dictionaries_apart_and_not_engines():
    assert segmenter("jieba").fingerprint == segmenter("rjieba").fingerprint
    assert segmenter("jieba", USER_WORDS).fingerprint == segmenter("rjieba", USER_WORDS).fingerprint
    made = {segmenter("rjieba", words).fingerprint for words in [(), ("甲乙丙",), ("甲乙丁",), USER_WORDS]}
    assert len(made) == 4
    assert Segmenter(USER_WORDS[::-1], "rjieba").fingerprint == segmenter("rjieba", USER_WORDS).fingerprint


def test_user_words_are_looked_for_in_the_form_of_the_text():
    assert UnitMaker(TextConfig(words=("ＡＢ测度",))).words("学Ab测度") == ["学", "ab测度"]


def test_a_list_of_user_words():
    lines = ["石墨烯", "", "  云计算 300 n", "量子纠缠\t5\r", "周星驰 nr", "C# 3 eng", "#话题", "12306", "a,b"]
    words = ["石墨烯", "云计算", "量子纠缠", "周星驰", "C#", "#话题", "12306", "a,b"]
    assert list(read_words(lines, "words.txt")) == words


@pytest.mark.parametrize(
    "line",
    [
        "石\u3000墨",
        "Blue Note唱片 300",
        "Silver Lake",
        "silver lake",
        "# 人名",
        "# names",
        "石墨烯,7,n",
        "石墨烯，7",
        "石 墨",
    ],
)
def test_a_line_that_is_not_a_user_word_is_an_error(line):
    with pytest.raises(ConfigError, match=r"^words\.txt:2: expected .WORD \[FREQUENCY\] \[TAG\]."):
        list(read_words(["石墨烯", line], "words.txt"))


# ---- windows ------------------------------------------------------------------------------------------------------

units_to_cut = st.text(st.sampled_from("北京大学生活。！\n"), min_size=30, max_size=120).map(CHARACTERS)


def disjoint(bounds):
    bounds = sorted(bounds)
    return [UnitSpan(start, end, 0) for start, end in zip(bounds[::2], bounds[1::2], strict=False)]


spans_to_keep = st.sets(st.integers(0, 120), min_size=8, max_size=16).map(disjoint)


@few
@given(units_to_cut, st.integers(2, 40), st.data())
def test_windows_tile_the_units(units, maxlen, data):
    overlap = data.draw(st.integers(0, maxlen // 4))
    made = windows(units, maxlen, overlap)
    kept = [unit for window in made for unit in range(window.keep, window.keep_stop)]
    assert kept == list(range(len(units)))
    for window in made:
        assert window.start <= window.keep < window.keep_stop <= window.stop <= window.start + maxlen
    for before, after in itertools.pairwise(made):
        assert overlap // 2 <= before.stop - after.start <= overlap
        assert before.keep_stop == (before.stop + after.start) // 2  # as deep in the one as in the other


@few
@given(units_to_cut, st.integers(2, 40))
def test_windows_end_where_sentences_do(units, maxlen):
    ends = np.flatnonzero(units.sentence_ends())
    for window in windows(units, maxlen)[:-1]:
        near = ends[(window.start + maxlen // 2 < ends) & (ends <= window.start + maxlen)]
        assert window.stop == (near[-1] if len(near) else window.start + maxlen)


@few
@given(units_to_cut, st.integers(2, 40), spans_to_keep)
def test_no_window_cuts_a_span_that_fits(units, maxlen, spans):
    spans = [span for span in spans if span.end <= len(units)]
    made = windows(units, maxlen, whole=spans)
    assert [(w.keep, w.keep_stop) for w in made] == [(w.start, w.stop) for w in made]
    for start, end, _ in spans:
        if end - start <= maxlen:
            assert any(window.start <= start and end <= window.stop for window in made)


def test_a_short_text_is_one_window_and_no_text_none():
    assert windows(CHARACTERS("北京。大学"), maxlen=5) == [Window(0, 5, 0, 5)]
    assert windows(CHARACTERS(""), maxlen=5) == []


@pytest.mark.parametrize(
    "text", ["", "短", "学" * 45_000, "北京大学。" * 9_000, "一。" + "学" * 20_000 + "！\n" * 15_000]
)
def test_pieces_tile_a_huge_text(text):
    made = pieces(text)
    assert "".join(text[start:end] for start, end in made) == text
    assert all(end - start <= 20_000 for start, end in made)
    assert all(start < end for start, end in made) or not text


def test_pieces_end_where_sentences_do():
    text = "北京大学。" * 9_000
    assert {text[end - 1] for _, end in pieces(text)} == {"。"}
