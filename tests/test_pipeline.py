import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tagger import Tagger, corpus
from tagger.calibration import Calibration
from tagger.documents import Document, Span, labelled
from tagger.text import pieces
from tests.conftest import SAMPLE
from tests.samples import planted

pytestmark = pytest.mark.train


@pytest.fixture(scope="module", params=["bundle", "contest_bundle"])
def tagger(request):
    return Tagger.load(request.getfixturevalue(request.param))


def sample_texts(count):
    return [document.text for document in corpus.read(SAMPLE / "train.jsonl")][:count]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=[]), max_size=60)
    | st.text("北京大学《》“”a1 。\n\ud800", max_size=200)
)
def test_offsets_are_sacred(tagger, text):
    entities = tagger(text)
    for entity in entities:
        assert text[entity.start : entity.end] == entity.text
        assert entity.text
        assert 0 <= entity.score <= 1
    assert all(a.end <= b.start for a, b in itertools.pairwise(entities))


@pytest.mark.parametrize("text", ["", " ", "\n", "。", "\ud800", "𠀀𠀁", "a" * 3000, "，" * 500])
def test_odd_texts(tagger, text):
    assert all(text[e.start : e.end] == e.text for e in tagger(text))


def test_the_probability_of_outside_is_given_for_each_character(tagger):
    texts = ["", *sample_texts(30), sample_texts(1)[0] * 700, " "]
    results = list(tagger.results(texts, outside=True))
    assert [len(result.outside) for result in results] == list(map(len, texts))
    for plain, result in zip(tagger.results(texts), results, strict=True):
        assert result.entities == plain.entities
        assert ((result.outside >= -1e-6) & (result.outside <= 1 + 1e-6)).all()


def test_a_unit_is_inside_at_least_as_surely_as_its_entity_is_one(bundle):
    tagger = Tagger.load(bundle)
    tagger.calibration = Calibration(slope=0.8, offset=0.1)
    rated = [
        (result.outside[e.start : e.end].max(), e.score)
        for result in tagger.results(sample_texts(60), outside=True)
        for e in result.entities
    ]
    assert rated
    assert all(outside <= 1 - score + 1e-4 for outside, score in rated)


def test_one_document_in_one_result_out_in_order(tagger):
    texts = ["", *sample_texts(40), "", " ", "\n", sample_texts(1)[0] * 30, ""]
    results = list(tagger.results(iter(texts)))
    assert [result.text for result in results] == texts


def test_the_same_text_gets_the_same_entities_whatever_its_company(tagger):
    texts = sample_texts(60)
    together = list(tagger.stream(texts))
    assert together == [tagger(text) for text in texts]
    assert together == list(tagger.stream(reversed(texts)))[::-1]


def test_runtimes_find_the_same_entities(tagger, request):
    name = "bundle" if tagger.config.text.unit == "char" else "contest_bundle"
    keras = Tagger.load(request.getfixturevalue(name), "keras")
    for ours, theirs in zip(tagger.stream(sample_texts(100)), keras.stream(sample_texts(100)), strict=True):
        assert [e[:4] for e in ours] == [e[:4] for e in theirs]
        np.testing.assert_allclose([e.score for e in ours], [e.score for e in theirs], atol=2e-4)


@pytest.mark.parametrize("unit", ["char", "word"])
@pytest.mark.parametrize("end", ["。", "了"])
def test_nothing_after_the_window_is_lost(unit, end):
    """The old script cut every text at 80 words, and what came later was lost without a word."""
    text = ""
    for number in range(400):
        text += "龘" if number % 37 == 0 else "我们又去了北京大学" + end
    assert [e.start for e in planted(unit)(text)] == [place for place, c in enumerate(text) if c == "龘"]


@pytest.mark.parametrize("unit", ["char", "word"])
def test_the_entity_text_comes_from_the_source(unit):
    """The old script gave the cleaned string's text."""
    text = "，。！\u3000龘\t①"
    assert [(e.start, e.end, e.text) for e in planted(unit)(text)] == [(4, 5, "龘")]


def test_entities_side_by_side_are_two():
    assert [(e.start, e.end) for e in planted("char")("龘龘我")] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("filler", ["好。", "好"])
def test_a_huge_text_is_tagged_piece_by_piece(filler):
    text = ("龘" + filler * 700) * (50 if len(filler) == 2 else 80)
    assert len(pieces(text)) > 2
    assert [e.start for e in planted("char")(text)] == [place for place, c in enumerate(text) if c == "龘"]


def test_every_text_that_is_not_blank_has_an_answer(tagger):
    for result in tagger.results(sample_texts(50)):
        assert result.answer is not None
        assert result.text[result.answer.start : result.answer.end] == result.answer.text
        if result.entities:
            assert result.answer == max(result.entities, key=lambda e: e.score)
    assert next(tagger.results([" "])).answer is None


def test_evaluation_reads_a_stream(tagger):
    scores = tagger.evaluate(corpus.read(SAMPLE / "dev.jsonl"))
    assert scores.texts == 215
    assert scores.answered == 215


def test_what_nobody_annotated_is_no_mistake():
    """What is predicted where nothing was annotated is neither right nor wrong."""
    gold = labelled("龘龘", [Span(0, 1, "CORE")])
    for document, predicted, correct in (
        (gold, 2, 1),
        (Document("龘龘", unlabelled=((0, 2),)), 0, 0),
        (replace(gold, unlabelled=((1, 2),)), 1, 1),
    ):
        scores = planted().evaluate([document])
        assert (scores.overall.predicted, scores.overall.correct) == (predicted, correct)


@pytest.mark.parametrize("unit", ["char", "word"])
def test_the_certainty_is_that_of_a_unit_whatever_the_length(unit):
    """By hand: the transitions of `planted` are 0 where legal, and its scores are the same at each unit but 龘."""
    tagger = planted(unit)
    texts = ["", "好", "好" * 50, "龘。我们", "龘" * 7]
    results = tagger.tag(texts, certainty=True)
    assert results[0].certainty == 1
    for text, result in zip(texts[1:], results[1:], strict=True):
        (scores,) = tagger.scores([tagger.units(text)])
        expected, units = np.exp(_best_share(scores, tagger.transitions) / len(scores)), len(scores)
        assert result.certainty == pytest.approx(expected, abs=1e-5)
        assert result.path.units == units
    assert tagger.tag(["好"])[0].certainty is None


def _best_share(scores, transitions):
    """Return the log-probability of the best path, summed in double precision tag by tag."""
    best = total = scores[0] + transitions.starts.astype(float)
    for row in scores[1:].astype(float):
        step = transitions.scores.astype(float)
        best = (best[:, None] + step).max(axis=0) + row
        total = np.logaddexp.reduce(total[:, None] + step, axis=0) + row
    return (best + transitions.ends).max() - np.logaddexp.reduce(total + transitions.ends)


def test_the_certainty_of_pieces_is_that_of_the_whole():
    text = ("龘" + "好。" * 700) * 50
    (result,) = planted("char").tag([text], certainty=True)
    (piece,) = planted("char").tag(["龘" + "好。" * 700], certainty=True)
    assert result.path.units == 50 * piece.path.units
    assert result.certainty == pytest.approx(piece.certainty, abs=1e-3)
    assert result.entities == planted("char")(text)


def test_threads_share_a_tagger(tagger):
    texts = sample_texts(30)
    expected = list(tagger.stream(texts))
    results = [None] * 4

    def work(place):
        results[place] = list(tagger.stream(texts))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
