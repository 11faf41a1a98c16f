import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.calibration import Calibration, Calibrator, repeated
from tagger.config import load
from tagger.documents import Document, Entity, Span
from tagger.pipeline import Result
from tagger.sections import TextConfig
from tagger.text import UnitMaker
from tests.samples import few

TEXT = "北京队在北京胜了上海，北京球迷和上海球迷都到了"


def entity(start, end, score=0.9, label="LOC", text=TEXT):
    return Entity(start, end, label, text[start:end], score)


def places(entities):
    return [(e.start, e.end) for e in entities]


def test_every_other_occurrence_of_a_string_is_repeated_once():
    assert places(repeated(TEXT, [entity(0, 2)])) == [(4, 6), (11, 13)]
    assert list(repeated(TEXT, [entity(0, 2), entity(4, 6), entity(11, 13)])) == []


def test_an_occurrence_that_touches_an_entity_is_not_repeated():
    assert places(repeated(TEXT, [entity(0, 3), entity(4, 6)])) == [(11, 13)]


def test_a_single_character_is_not_repeated():
    assert list(repeated("日本和日子", [entity(0, 1, text="日本和日子")])) == []


def test_a_longer_string_goes_before_one_inside_it():
    text = "中国人民，中国人民，中国"
    found = repeated(text, [entity(0, 4, text=text), entity(10, 12, text=text)])
    assert places(found) == [(5, 9)]


def test_a_repeated_entity_has_label_and_score_of_the_most_probable():
    (found,) = repeated(
        "北京北京北京", [entity(0, 2, 0.6, "ORG", "北京北京北京"), entity(2, 4, 0.8, "LOC", "北京北京北京")]
    )
    assert (found.label, found.score, found.start) == ("LOC", 0.8, 4)


@few
@given(st.text("中国人日", max_size=30), st.data())
def test_repeated_entities_lie_in_the_text_and_touch_nothing(text, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    given_ = [Entity(s, e, "X", text[s:e], 0.9) for s, e in zip(cuts[::2], cuts[1::2], strict=False)]
    both = sorted([*given_, *repeated(text, given_)])
    assert all(text[e.start : e.end] == e.text for e in both)
    assert all(a.end <= b.start for a, b in itertools.pairwise(both))


def test_nothing_is_changed_by_default():
    given_ = [entity(0, 2, 0.12341)]
    assert Calibration()(TEXT, given_) == [entity(0, 2, 0.1234)]


def test_what_is_repeated_is_in_order_and_less_sure():
    found = Calibration(repeats=0.8)(TEXT, [entity(0, 2, 0.9), entity(8, 10, 0.6)])
    assert places(found) == [(0, 2), (4, 6), (8, 10), (11, 13)]
    assert [e.score for e in found] == [0.9, 0.72, 0.6, 0.72]


def test_probabilities_become_those_seen():
    rng, calibrator = np.random.default_rng(1), Calibrator()
    for given_ in rng.uniform(0.5, 1, 5000):
        right = rng.random() < 0.5 * given_  # the tagger is twice as sure as it should be
        calibrator.add(Document("某地", (Span(0, 2, "LOC"),) if right else ()), [entity(0, 2, given_, text="某地")])
    calibration = calibrator.fit()
    assert calibration.probability(0.9) == pytest.approx(0.45, abs=0.05)
    assert calibration.probability(0.6) == pytest.approx(0.3, abs=0.05)
    assert calibration.probability(0.6) < calibration.probability(0.61)


@pytest.mark.parametrize(("marked", "expected"), [(1.0, 1.0), (0.2, 0.0)])
def test_whether_strings_are_marked_again_is_learnt(marked, expected):
    rng, calibrator = np.random.default_rng(1), Calibrator()
    for _ in range(300):
        again = (Span(4, 6, "LOC"), Span(11, 13, "LOC")) if rng.random() < marked else ()
        calibrator.add(Document(TEXT, (Span(0, 2, "LOC"), *again)), [entity(0, 2, 0.99)])
    assert calibrator.fit().repeats == pytest.approx(expected, abs=0.02)


def test_what_nobody_annotated_is_no_evidence():
    calibrator = Calibrator()
    for _ in range(300):
        calibrator.add(Document(TEXT, (Span(0, 2, "LOC"),), unlabelled=((3, 14),)), [entity(0, 2, 0.9)])
    again = Calibrator()
    for _ in range(300):
        again.add(Document(TEXT[:3], (Span(0, 2, "LOC"),)), [entity(0, 2, 0.9)])
    assert calibrator.fit() == again.fit()


def test_no_evidence_changes_nothing():
    assert Calibrator().fit() == Calibration()
    calibrator = Calibrator()
    calibrator.add(Document("某地", (Span(0, 2, "LOC"),)), [entity(0, 2, 0.9, text="某地")])
    assert calibrator.fit().probability(0.9) == pytest.approx(0.9, abs=0.02)
    assert calibrator.fit().repeats == 0


class Deciding:
    """A tagger that finds the more entities of dev, the better the threshold is that it is calibrated with."""

    def __init__(self, shares, spans="auto", preset="default"):
        self.config, self.calibration = load(preset, [f"decode.spans={spans}"]), Calibration()
        self.shares, self.units = shares, UnitMaker(TextConfig())

    def scores(self, units):
        return [np.zeros((len(each), 5), np.float32) for each in units]

    def decode(self, units, scores):
        """Find 李 in so many of a thousand texts."""
        share = self.shares.get(self.calibration.threshold, 0.5)
        return [
            Result(each.text, [Entity(0, 1, "A", "李", 0.9)] if int(each.text[1:]) < 1000 * share else [], None)
            for each in units
        ]


@pytest.mark.parametrize(
    ("tagger", "threshold"),
    [
        (Deciding({0.4: 0.52, 0.45: 0.53}), 0.45),
        (Deciding({0.4: 0.502}), 0.0),  # may be chance
        (Deciding({0.4: 0.6}, spans="path"), 0.0),
        (Deciding({0.4: 0.6}, preset="contest"), 0.0),
    ],
)
def test_likely_spans_take_the_place_of_best_paths_where_dev_gains(tagger, threshold, tmp_path):
    from tagger.learning.calibrating import best_threshold

    texts = [{"text": f"李{number}", "entities": [{"start": 0, "end": 1, "label": "A"}]} for number in range(1000)]
    dev = tmp_path / "dev.jsonl"
    dev.write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
    assert best_threshold(tagger, dev) == threshold
    assert Calibrator(threshold).fit() == Calibration(threshold=threshold)
