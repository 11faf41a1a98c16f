import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES

from tagger.documents import Document, Entity, Span
from tagger.score import Counts, Scores, contest_score, rows
from tagger.tags import TagScheme
from tests.samples import few, laid_out

SCHEME = TagScheme(("PER", "LOC", "ORG"))


def entities_of(text, spans):
    return [Entity(start, end, SCHEME.labels[label], text[start:end], 1.0) for start, end, label in spans]


def names(spans, size):
    return [SCHEME.names[tag].replace("M-", "I-") for tag in SCHEME.encode(spans, size)]


@few
@given(st.lists(st.tuples(laid_out, laid_out), min_size=1, max_size=4))
def test_precision_recall_and_f1_are_those_of_seqeval(pairs):
    scores, expected, received = Scores(), [], []
    for (size, gold), (other_size, found) in pairs:
        text = "字" * (max(size, other_size) or 1)
        scores.add(
            Document(text, tuple(Span(s, e, SCHEME.labels[label]) for s, e, label in gold)),
            entities_of(text, found),
        )
        expected.append(names(gold, len(text)))
        received.append(names(found, len(text)))
    counts = scores.overall
    for ours, theirs in [(counts.precision, precision_score), (counts.recall, recall_score), (counts.f1, f1_score)]:
        assert ours == pytest.approx(theirs(expected, received, mode="strict", scheme=IOBES, zero_division=0))
    per_label = f1_score(expected, received, mode="strict", scheme=IOBES, zero_division=0, average=None)
    assert [scores.labels[label].f1 for label in sorted(scores.labels)] == pytest.approx(list(per_label))
    assert [sum(getattr(c, of) for c in scores.labels.values()) for of in ("correct", "predicted", "gold")] == [
        counts.correct,
        counts.predicted,
        counts.gold,
    ]


@pytest.mark.parametrize(
    ("span", "right"), [((0, 2, "PER"), 1), ((0, 2, "LOC"), 0), ((0, 3, "PER"), 0), ((1, 2, "PER"), 0)]
)
def test_matching_is_strict(span, right):
    scores = Scores()
    scores.add(Document("李明在北京", (Span(0, 2, "PER"),)), [Entity(*span, "", 1.0)])
    assert (scores.overall.correct, scores.overall.predicted, scores.overall.gold) == (right, 1, 1)


def test_an_entity_predicted_twice_is_correct_once():
    scores = Scores()
    scores.add(Document("李明", (Span(0, 2, "PER"),)), [Entity(0, 2, "PER", "李明", 1.0)] * 2)
    assert scores.overall == Counts(correct=1, predicted=2, gold=1)


def test_nothing_predicted_and_nothing_gold_score_0():
    assert (Counts().precision, Counts().recall, Counts().f1) == (0, 0, 0)
    assert Scores().to_dict()["f1"] == 0


@pytest.mark.parametrize(
    ("found", "answers", "score"),
    [
        ("", "a", 0),
        ("a", "a", 1),
        ("a", "ab", 1),
        ("ab", "ab", 1.5),
        ("abc", "abc", 2),
        ("b", "a", 0),
        ("ab", "a", 0.5),
        ("abc", "a", 0),
        ("abcd", "a", 0),
        ("abc", "ab", 1),
        ("aa", "a", 1),
        ("", "", 0),
        ("a", "", 0),
    ],
)
def test_the_contests_score(found, answers, score):
    assert contest_score(found, answers) == score


def test_top_1_and_the_contests_score_are_means_over_the_texts_with_an_answer():
    scores = Scores()
    entity = Entity(0, 4, "CORE", "红 楼梦", 0.9)
    scores.add(Document("红 楼梦", (), ("红楼梦",)), [entity], entity)  # white space does not count
    scores.add(Document("读石头记", (), ("红楼梦",)), [entity], entity._replace(text="石头记"))
    scores.add(Document("读红楼梦", (), ("红楼梦",)), [], None)
    scores.add(Document("读红楼梦", (), ("红楼梦",)), [], entity)  # the answer of a text without an entity
    scores.add(Document("读书"), [entity], entity)
    assert (scores.texts, scores.answered, scores.top1, scores.contest) == (5, 4, 2, 2.0)
    result = scores.to_dict()
    assert (result["top1"], result["contest"]) == (0.5, 0.5)


def test_without_answers_there_is_no_top_1():
    scores = Scores()
    scores.add(Document("读书"), [])
    assert not {"top1", "contest"} & set(scores.to_dict())


@pytest.mark.parametrize(
    ("label", "answers", "shown"),
    [("CORE", ("李明",), True), ("PER", ("李明",), False), ("PER", ("李明", "小明"), True), ("CORE", (), False)],
)
def test_the_contests_figures_are_those_of_its_corpora(label, answers, shown):
    scores = Scores()
    scores.add(Document("李明来了", (Span(0, 2, label),), answers), [Entity(0, 2, "ORG", "李明", 0.9)])
    assert ("top1" in scores.to_dict()) == ("contest" in scores.to_dict()) == shown
    assert ("top1" in scores.to_dict(contest=True)) == bool(answers)
    assert "top1" not in scores.to_dict(contest=False)


def test_rows_of_the_table():
    scores = Scores()
    document = Document("李明在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC")))
    scores.add(document, entities_of(document.text, [(0, 2, 0), (2, 3, 0)]))
    assert rows(scores.to_dict()) == [
        ("LOC", "0.00", "0.00", "0.00", "1", "0"),
        ("PER", "50.00", "100.00", "66.67", "1", "2"),
        ("all", "50.00", "50.00", "50.00", "2", "2"),
    ]
