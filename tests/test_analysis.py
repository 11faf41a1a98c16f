import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.analysis import ERRORS, NONE, WORST, Analysis, mentions, pairs
from tagger.documents import Document, Entity, Span
from tagger.score import Scores
from tagger.tags import TagScheme
from tests.samples import few, laid_out

SCHEME = TagScheme(("PER", "LOC", "ORG"))


def spans(some):
    return tuple(Span(start, end, SCHEME.labels[label]) for start, end, label in some)


def entities(text, some, score=0.9):
    return [Entity(start, end, label, text[start:end], score) for start, end, label in some]


@few
@given(st.lists(st.tuples(laid_out, laid_out), max_size=5))
def test_every_error_counts_once(rows):
    analysis, scores, trained = Analysis(trained={("字", "PER")}), Scores(), 0
    for (size, gold), (other_size, found) in rows:
        text = "字" * max(size, other_size)
        document = Document(text, spans(gold))
        for one in (analysis, scores):
            one.add(document, entities(text, spans(found)))
        trained += sum(span.end - span.start == 1 and span.label == "PER" for span in document.entities)
    report, plain = analysis.to_dict(), scores.to_dict()
    assert {key: report[key] for key in plain} == plain
    errors, gold, found, right = report["errors"], report["gold"], report["predicted"], report["correct"]
    paired = errors["type"] + errors["boundary"] + errors["both"]
    assert gold - right == paired + errors["missed"]
    assert found - right == paired + errors["spurious"]
    for counts in (report["lengths"], report["mentions"]):
        for of in ("gold", "predicted", "correct"):
            assert sum(some[of] for some in counts.values()) == report[of]
    assert report["mentions"]["seen"]["gold"] == trained
    confusion = report["confusion"]
    assert sum(map(sum, confusion["rows"])) == right + sum(errors.values())
    for place, label in enumerate(confusion["labels"][:-1]):
        assert sum(confusion["rows"][place]) == report["labels"][label]["gold"]
        assert sum(row[place] for row in confusion["rows"]) == report["labels"][label]["predicted"]
    assert confusion["rows"][-1][-1] == 0
    assert sum(sum(text["errors"].values()) for text in report["worst"]) == sum(errors.values())


@few
@given(laid_out, laid_out)
def test_pairs_overlap_and_use_each_span_once(gold, found):
    gold, found = spans(gold[1]), spans(found[1])
    made = pairs(gold, found)
    assert sorted(one for one, _ in made if one) == sorted(gold)
    assert sorted(other for _, other in made if other) == sorted(found)
    lonely = [one for one, other in made if one and not other], [other for one, other in made if other and not one]
    assert all(one.end <= other.start or other.end <= one.start for one in lonely[0] for other in lonely[1])
    for one, other in made:
        assert not (one and other) or (one.start < other.end and other.start < one.end)


@pytest.mark.parametrize(
    ("gold", "found", "errors", "confused"),
    [
        ([(0, 2, "PER")], [(0, 2, "PER")], {}, ("PER", "PER")),
        ([(0, 2, "PER")], [(0, 2, "LOC")], {"type": 1}, ("PER", "LOC")),
        ([(0, 2, "PER")], [(0, 3, "PER")], {"boundary": 1}, ("PER", "PER")),
        ([(0, 2, "PER")], [(1, 3, "LOC")], {"both": 1}, ("PER", "LOC")),
        ([(0, 2, "PER")], [], {"missed": 1}, ("PER", NONE)),
        ([], [(0, 2, "PER")], {"spurious": 1}, (NONE, "PER")),
        ([(0, 2, "PER")], [(2, 4, "PER")], {"missed": 1, "spurious": 1}, ("PER", NONE)),
        ([(0, 4, "LOC")], [(0, 1, "LOC"), (1, 4, "ORG")], {"boundary": 1, "spurious": 1}, ("LOC", "LOC")),
        ([(0, 1, "LOC"), (1, 4, "LOC")], [(0, 4, "LOC")], {"boundary": 1, "missed": 1}, ("LOC", "LOC")),
    ],
)
def test_kinds_of_errors(gold, found, errors, confused):
    analysis = Analysis()
    analysis.add(Document("李明在北京", tuple(Span(*s) for s in gold)), entities("李明在北京", found))
    report = analysis.to_dict()
    assert report["errors"] == {kind: errors.get(kind, 0) for kind in ERRORS}
    assert analysis.confusion[confused] == 1
    assert "mentions" not in report


def test_the_most_confident_mistakes_come_first_and_few_are_kept():
    analysis = Analysis()
    for number in range(2 * WORST):
        text = f"第{number}篇"
        analysis.add(Document(text), [Entity(0, 1, "LOC", "第", (number * 37 % 100) / 100)])
        analysis.add(Document(text, (Span(0, 1, "LOC"),)), [])
        analysis.add(Document(text, (Span(0, 1, "LOC"),)), [Entity(0, 1, "LOC", "第", 1.0)])
    kept = analysis.to_dict()["worst"]
    scores = [text["predicted"][0]["score"] for text in kept]
    assert len(scores) == WORST
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0.5


def test_seen_is_a_string_with_its_label():
    train = [Document("李明在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC")))]
    assert mentions(train) == {("李明", "PER"), ("北京", "LOC")}
    analysis = Analysis(trained=mentions(train))
    text = "北京人李明"
    gold = (Span(0, 2, "LOC"), Span(3, 5, "LOC"))
    analysis.add(Document(text, gold), entities(text, [(0, 2, "LOC"), (3, 5, "PER")]))
    report = analysis.to_dict()["mentions"]
    assert [
        (report[kind]["gold"], report[kind]["predicted"], report[kind]["correct"]) for kind in ("seen", "unseen")
    ] == [
        (1, 2, 1),
        (1, 0, 0),
    ]


def test_many_errors_of_one_text_are_matched_soon():
    missed = [Span(4 * number, 4 * number + 2, "LOC") for number in range(100_000)]
    spurious = [Span(4 * number + 1, 4 * number + 3, "LOC") for number in range(100_000)]
    assert pairs(missed, spurious) == list(zip(missed, spurious, strict=True))
