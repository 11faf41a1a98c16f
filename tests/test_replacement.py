"""Mention replacement."""

import pytest

from tagger.documents import Document, Span
from tagger.formats import native
from tagger.learning.replacement import COPIES, Replacer, exchanged_texts, mentions_of

TEXT = "李明在北京大学见到李明的老师王芳。"
DOCUMENT = Document(TEXT, (Span(0, 2, "PER"), Span(3, 7, "ORG"), Span(9, 11, "PER"), Span(14, 16, "PER")))
MENTIONS = {
    "PER": ["张伟国", "赵敏", "陈建", "孙红", "玛丽·居里"],
    "ORG": ["清华大学", "南开大学", "复旦大学", "同济大学", "新华社", "红十字会"],
}
NAMES = [f"{family}{given}" for family in "李王张赵陈孙周吴郑冯" for given in "明芳伟敏建红强磊洋勇"]


def mentions(document):
    return [(document.text[start:end], label) for start, end, label in document.entities]


def test_mentions_of_counts_each_once():
    assert mentions_of([DOCUMENT, DOCUMENT]) == {"PER": ["李明", "王芳"], "ORG": ["北京大学"]}


def test_all_entities_are_exchanged_for_others_of_their_label_and_kind():
    done = Replacer(MENTIONS, 1.0, 1)(DOCUMENT)
    (first, _), (school, _), (again, _), (teacher, _) = mentions(done)
    assert first == again
    assert {first, teacher} <= set(MENTIONS["PER"]) - {"玛丽·居里"}
    assert school in {"清华大学", "南开大学", "复旦大学", "同济大学"}
    assert done.text == f"{first}在{school}见到{first}的老师{teacher}。"


@pytest.mark.parametrize(("known", "share"), [({}, 1.0), (MENTIONS, 0.0), ({"PER": ["张伟国"]}, 1.0)])
def test_what_is_not_exchanged_stays(known, share):
    assert Replacer(known, share, 1)(DOCUMENT) == DOCUMENT


def test_the_seed_decides():
    outcomes = [[Replacer(MENTIONS, 0.5, seed)(DOCUMENT) for _ in range(2)] for seed in (1, 1, 2, 3, 4)]
    assert outcomes[0] == outcomes[1]
    assert len({documents[0].text for documents in outcomes}) > 1


@pytest.fixture
def labelled(tmp_path):
    """A corpus of a hundred texts, each with a name, and of one without entities."""
    lines = [native.to_native(f"{name}来了。", [Span(0, 2, "PER")]) for name in NAMES]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f"{line}\n" for line in [*lines, native.to_native("没有人来。", ())]), "utf-8")
    return path


def test_texts_of_a_corpus_come_with_other_names_of_it(labelled):
    texts = list(exchanged_texts(labelled, COPIES, 1))
    assert len(texts) == COPIES * 100
    names = [text.removesuffix("来了。") for text in texts]
    assert set(names) <= set(NAMES)
    changed = sum(name != before for name, before in zip(names, NAMES * COPIES, strict=True))
    assert 240 < changed < 320  # seven of ten


def test_fewer_copies_are_an_even_share_of_the_texts(labelled):
    texts = list(exchanged_texts(labelled, 0.5, 1))
    assert 30 < len(texts) < 70
    assert texts == list(exchanged_texts(labelled, 0.5, 1)) != list(exchanged_texts(labelled, 0.5, 2))
