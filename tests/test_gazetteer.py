import gzip
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import Tagger, corpus, errors
from tagger import bundle as bundles
from tagger.cli import main
from tagger.config import load
from tagger.decode import Transitions, lattice, viterbi
from tagger.errors import CorpusError
from tagger.gazetteer import FORCED, HEAVIEST, Gazetteer, Matcher
from tagger.lookup import Lookup
from tagger.sections import VectorsConfig
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker
from tagger.vectors import make_table
from tests.conftest import SAMPLE
from tests.samples import anything, few, probability

SCHEME = TagScheme(("LOC", "PER"))
CHARACTERS = UnitMaker(load("default").text)
WORDS = UnitMaker(load("contest").text)

mentions = st.text(st.sampled_from("北京大学生aA１ \ud800😀"), min_size=1, max_size=4).filter(lambda m: m == m.strip())
weights = st.just(FORCED) | st.floats(-HEAVIEST, HEAVIEST)
entries = st.dictionaries(
    mentions, st.tuples(st.sampled_from(SCHEME.labels), weights).map(lambda pair: dict([pair])), max_size=8
)
texts = st.text(st.sampled_from("北京大学生aA１ \n\ud800😀"), max_size=24) | anything


# ---- strings in texts ---------------------------------------------------------------------------------------------


@few
@given(texts, st.lists(mentions, max_size=8))
def test_every_occurrence_is_found(text, strings):
    spans = itertools.combinations(range(len(text) + 1), 2)
    assert sorted(Matcher(strings)(text)) == [(s, e) for s, e in spans if text[s:e] in strings]


@pytest.mark.parametrize(
    ("text", "strings", "found"),
    [
        ("北京大学生", ["北京", "大学", "北京大学"], [(0, 4)]),  # the longer one
        ("北京大学生", ["北京大", "大学生"], [(0, 3)]),  # of equal length: on the left
        ("北京大学", ["北京", "大学", "京大学"], [(1, 4)]),  # the longer one leaves a rest
        ("京京京", ["京京"], [(0, 2)]),
        ("ABab", ["ab"], [(2, 4)]),  # as it stands
        ("", ["京"], []),
    ],
)
def test_longest_first(text, strings, found):
    gazetteer = Gazetteer({string: {"LOC": FORCED} for string in strings}, SCHEME)
    assert [span[:2] for span, _ in gazetteer.matches(CHARACTERS(text))] == found


def test_forced_mentions_come_before_longer_ones_that_are_not():
    gazetteer = Gazetteer({"北京": {"LOC": FORCED}, "北京大学": {"PER": 3.0}}, SCHEME)
    assert list(gazetteer.matches(CHARACTERS("北京大学"))) == [(UnitSpan(0, 2, 0), FORCED)]


def test_mentions_that_words_cut_are_counted_and_make_room_for_others():
    gazetteer = Gazetteer({"大学": {"LOC": FORCED}, "京大学": {"LOC": FORCED}, "北京": {"LOC": FORCED}}, SCHEME)
    text = "北京大学生活动中心"  # 北京/大学生/活动中心
    assert list(gazetteer.matches(WORDS(text))) == [(UnitSpan(0, 1, 0), FORCED)]
    assert gazetteer.cut == {"大学": 1, "京大学": 1}


# ---- scores -------------------------------------------------------------------------------------------------------


def network(text, seed=0):
    """Scores and transitions as a CRF may have them."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 5, (len(text), SCHEME.size)).astype(np.float32)
    return scores, Transitions.legal(SCHEME, rng.normal(0, 3, (SCHEME.size, SCHEME.size)))


def decoded(scores, transitions):
    lengths = np.array([len(scores)])
    around = lattice(scores, lengths, transitions)
    spans = SCHEME.decode(viterbi(scores, lengths, transitions))
    return {span: probability(around, 0, span) for span in spans}, around


@few
@given(texts.filter(bool), entries, st.integers(0, 9))
def test_forced_mentions_always_come_out(text, entries, seed):
    scores, transitions = network(text, seed)
    gazetteer = Gazetteer(entries, SCHEME)
    gazetteer.add([CHARACTERS(text)], scores)
    spans, _ = decoded(scores, transitions)
    taken = [span for span, weight in gazetteer.matches(CHARACTERS(text)) if weight == FORCED]
    assert all(spans[span] == pytest.approx(1, abs=1e-4) for span in taken)
    forced = {mention for mention, labels in entries.items() if FORCED in labels.values()}
    for start, end in Matcher(forced)(text):
        over = [span for span in taken if span.start < end and start < span.end]
        assert any(span.end - span.start >= end - start for span in over)


@few
@given(st.tuples(st.integers(0, 7), st.integers(1, 8)).filter(lambda s: s[0] < s[1]), st.integers(0, 9), weights)
def test_a_weight_multiplies_what_the_entity_weighs_against_all_else(span, seed, weight):
    text = "研究生命起源的人"
    scores, transitions = network(text, seed)
    found = UnitSpan(*span, 1)
    weighed = []
    for weights in ({}, {text[span[0] : span[1]]: {"PER": weight}}):
        Gazetteer(weights, SCHEME).add([CHARACTERS(text)], scores)
        _, around = decoded(scores, transitions)
        weighed.append(np.log(probability(around, 0, found)) + around.total[0])
    assert weighed[1] - weighed[0] == pytest.approx(0 if weight == FORCED else weight, abs=1e-3)
    if weight == FORCED:
        assert probability(around, 0, found) == pytest.approx(1)


def test_scores_elsewhere_stay_as_they_are():
    text = "我在北京大学生活"
    before, _ = network(text)
    for labels, rows in (({"LOC": 2.0, "PER": -4.0}, [2, 3]), ({"LOC": FORCED}, [2, 3])):
        after = before.copy()
        Gazetteer({"北京": labels}, SCHEME).add([CHARACTERS(text)], after)
        assert sorted(set(np.nonzero(before != after)[0].tolist())) == rows
    biased = before.copy()
    Gazetteer({"北京": {"LOC": 2.0, "PER": -4.0}}, SCHEME).add([CHARACTERS(text)], biased)
    changed = {(int(t), SCHEME.names[k]): float((biased - before)[t, k]) for t, k in np.argwhere(biased != before)}
    assert changed == pytest.approx({(2, "B-LOC"): 1, (3, "E-LOC"): 1, (2, "B-PER"): -2, (3, "E-PER"): -2}, abs=1e-5)


# ---- through the tagger -------------------------------------------------------------------------------------------


class Noise:
    """A runtime whose scores depend on the ids alone."""

    batch_units = 400

    def scores(self, ids, lengths):
        return np.sin(ids.sum(axis=2)[:, :, None] * np.arange(1, SCHEME.size + 1)).astype(np.float32) * 6


def tagger(preset, entries=None):
    config = load(preset, ["decode.transitions=model", "text.maxlen=8", "text.overlap=2"])
    names = ("char", "bigram", "word") if config.text.unit == "char" else ("word",)
    lookup = Lookup([make_table(name, [*"北京大学"], np.ones((4, 4)), VectorsConfig()) for name in names])
    gazetteer = None if entries is None else Gazetteer(entries, SCHEME)
    units = UnitMaker(config.text)
    return Tagger(config, SCHEME, Transitions.legal(SCHEME), units, lookup, Noise(), gazetteer=gazetteer)


@pytest.mark.parametrize("preset", ["default", "contest"])
@few
@given(st.lists(texts, max_size=4), entries)
def test_offsets_hold_and_forced_mentions_come_out_in_any_text(preset, some, entries):
    ours = tagger(preset, entries)
    for text, found in zip(some, ours.stream(some), strict=True):
        assert all(text[e.start : e.end] == e.text and 0 <= e.score <= 1 for e in found)
        assert all(a.end <= b.start for a, b in itertools.pairwise(found))
        units = ours.units(text)
        for span, weight in ours.gazetteer.matches(units):
            if weight == FORCED:
                start, end = int(units.bounds[span.start]), int(units.bounds[span.end])
                (entity,) = (e for e in found if e.start == start)
                assert (entity.end, entity.label) == (end, SCHEME.labels[span.label])
                assert entity.score > 0.999


@pytest.mark.parametrize("preset", ["default", "contest"])
@few
@given(st.lists(texts, max_size=4))
def test_a_gazetteer_without_a_match_changes_nothing(preset, some):
    plain = list(tagger(preset).results(some))
    assert list(tagger(preset, {}).results(some)) == plain
    assert list(tagger(preset, {"从来没有": {"PER": FORCED}}).results(some)) == plain


# ---- files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def write(content, name="names.tsv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return tmp_path / name

    return write


LINES = "北京\tLOC\n\n李 明\tPER\t2.5\n京\tLOC\tinf\n华盛顿\tPER\t1\n华盛顿\tLOC\t-1\n北京\tLOC\t\n"
JSON = [
    {"mention": "北京", "label": "LOC"}, {"mention": "李 明", "label": "PER", "weight": 2.5},
    {"mention": "京", "label": "LOC", "weight": None}, {"mention": "华盛顿", "label": "PER", "weight": 1},
    {"mention": "华盛顿", "label": "LOC", "weight": -1.0},
]  # fmt: skip


@pytest.mark.parametrize(("simplify", "found"), [(True, 2), (False, 1)])
@pytest.mark.parametrize("listed", ["长江大桥", "長江大橋"])
def test_mentions_are_found_in_simplified_and_traditional_characters(write, listed, simplify, found):
    gazetteer = Gazetteer.read(write(f"{listed}\tLOC\n"), SCHEME, simplify)
    spans = [span for span, _ in gazetteer.matches(CHARACTERS("长江大桥與長江大橋"))]
    assert len(spans) == found
    assert {span[:2] for span in spans} <= {(0, 4), (5, 9)}


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        "\ufeff" + LINES.replace("\n", "\r\n"),
        gzip.compress(LINES.encode()),
        "".join(json.dumps(row) + "\n" for row in JSON),
    ],
)
def test_a_gazetteer_is_read(write, content):
    gazetteer = Gazetteer.read(write(content), SCHEME)
    assert len(gazetteer) == 4
    assert list(gazetteer.matches(CHARACTERS("北京，李 明，华盛顿"))) == [
        (UnitSpan(0, 2, 0), FORCED),
        (UnitSpan(3, 6, 1), 2.5),
        (UnitSpan(7, 10, 1), 1),
        (UnitSpan(7, 10, 0), -1),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("上海", "mention TAB label"),
        ("上海 LOC", "mention TAB label"),
        ("上海\tLOC\t1\t2", "mention TAB label"),
        ("上海\tORG", "one of the tagger's labels LOC, PER"),
        ("上海\t", "one of the tagger's labels LOC, PER"),
        ("\tLOC", "a mention without white space at its ends"),
        (" 上海\tLOC", "a mention without white space at its ends"),
        ("上海\tLOC\theavy", "a number as weight"),
        ("上海\tLOC\tnan", "a weight from -50 to 50, or inf"),
        ("上海\tLOC\t-inf", "a weight from -50 to 50, or inf"),
        ("上海\tLOC\t51", "a weight from -50 to 50, or inf"),
        ("北京\tPER", "one label for a forced mention"),
        ("北京\tPER\t2", "one label for a forced mention"),
        ("上海\tLOC".encode("gbk"), "UTF-8"),
    ],
)
def test_a_bad_line_is_reported_with_its_place(write, line, expected):
    path = write(b"\xe5\x8c\x97\xe4\xba\xac\tLOC\n\n" + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}:3: expected {expected}')}[^\n]*$"):
        Gazetteer.read(path, SCHEME)


@pytest.mark.parametrize(
    "line",
    [
        "{bad", "[]", "{}", '{"mention": "上海"}', '{"mention": 1, "label": "LOC"}', '{"mention": "上海", "label": []}',
        '{"mention": "上海", "label": "LOC", "weight": "1"}', '{"mention": "上海", "label": "LOC", "weight": true}',
        "上海\tLOC", "{" * 100_000,
    ],
)  # fmt: skip
def test_a_bad_json_line_is_reported_with_its_place(write, line):
    path = write('{"mention": "北京", "label": "LOC"}\n' + line)
    with pytest.raises(CorpusError, match=f'^{re.escape(str(path))}:2: expected {{"mention"[^\n]*$'):
        Gazetteer.read(path, SCHEME)


# ---- in a bundle --------------------------------------------------------------------------------------------------


@pytest.mark.train
def test_a_bundle_keeps_a_gazetteer(bundle, write, tmp_path, capsys):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    text = next(corpus.texts(SAMPLE / "dev.jsonl")) + "曰天曰地"
    names = write("天曰地\tCORE\n")
    given = Tagger.load(copy, gazetteer=names)(text)
    assert given[-1][2:4] == ("CORE", "天曰地")
    assert Tagger.load(copy)(text) == Tagger.load(bundle)(text) != given
    assert main(["gazetteer", str(copy), str(names)]) == 0
    assert Tagger.load(copy)(text) == given
    assert bundles.GAZETTEER in bundles.load(copy).manifest["files"]
    (copy / bundles.GAZETTEER).write_text("天\tCORE\n", "utf-8")
    with pytest.raises(errors.BundleError, match="gazetteer is damaged"):
        Tagger.load(copy)
    shutil.rmtree(copy)
    shutil.copytree(bundle, copy)
    assert main(["gazetteer", str(copy), str(names)]) == 0
    assert main(["gazetteer", str(copy), "--remove"]) == 0
    assert Tagger.load(copy)(text) == Tagger.load(bundle)(text)
    assert {f.name for f in copy.iterdir()} == {f.name for f in bundle.iterdir()}
    assert main(["gazetteer", str(copy)]) == 2
    assert main(["gazetteer", str(copy), str(write("天\tLOC\n"))]) == 1
    assert "names.tsv:1: expected one of the tagger's labels CORE, received LOC" in capsys.readouterr().err


@pytest.mark.train
def test_mentions_that_words_cut_are_reported(contest_bundle, write, capsys):
    names = str(write("大学\tCORE\n"))
    assert main(["predict", str(contest_bundle), "--text", "北京大学生活动中心", "--gazetteer", names]) == 0
    assert "mentions of the gazetteer that words cut, ignored (1): 大学 (1)" in capsys.readouterr().err
