"""Lists whose signs are lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.config import load
from tagger.documents import Document, Span
from tagger.formats import native
from tagger.learning.lists import lists_without_signs
from tagger.learning.preparation import lists_of
from tests.samples import few


def made(*parts):
    """Return a document of parts: strings outside of entities, and (mention, label) pairs."""
    text, spans = "", []
    for part in parts:
        mention, label = part if isinstance(part, tuple) else (part, "")
        if label:
            spans.append(Span(len(text), len(text) + len(mention), label))
        text += mention
    return Document(text, tuple(spans))


def people(between):
    """Return the parts of a list of three people."""
    return [("张伟", "PER"), between, ("李秀英", "PER"), between, ("王芳", "PER")]


def bare(document):
    return list(lists_without_signs([document]))


@pytest.mark.parametrize("between", ["、", " ", "\u3000", "、 ", "／", "，", "\n", "》《"])
def test_a_list_loses_its_signs(between):
    found = bare(made("到会的有", *people(between), "、记者等，", ("北京", "LOC"), "也有人来。"))
    assert found == [made("到会的有", *people(""), "、记者等，", ("北京", "LOC"), "也有人来。")]


@pytest.mark.parametrize(
    "parts",
    [
        people("")[:3],
        people("、")[:3],
        people("和"),
        people("..."),
        people("1"),
        people("_"),
        [("3", "NUM"), "、", ("5", "NUM"), "、", ("8", "NUM")],
        [("甲骨文", "ORG"), "、", ("IBM", "ORG"), "、", ("谷歌", "ORG")],
        [("张伟", "PER"), "、", ("李秀英", "PER"), "，", ("王芳", "PER")],
        [("张伟", "PER"), "、", ("北京", "LOC"), "、", ("王芳", "PER")],
        [("张伟", "PER"), "、李秀英、", ("王芳", "PER"), "、", ("赵敏", "PER")],
        [],
    ],
)
def test_what_is_no_list_is_left_out(parts):
    assert bare(made("有", *parts, "等。")) == []


def test_two_lists_of_a_text():
    cities = [("北京", "LOC"), "/", ("上海", "LOC"), "/", ("天津", "LOC"), "/", ("重庆", "LOC")]
    mixed = made(*people("、"), "、", *cities, "、", ("赵敏", "PER"))
    assert bare(mixed) == [made(*people(""), "、", *[part for part in cities if part != "/"], "、", ("赵敏", "PER"))]


def test_one_list_after_another():
    run = [*people("、"), "，", ("赵敏", "PER"), "，", ("孙红", "PER"), "。"]
    assert bare(made(*run)) == [made(*people(""), ("赵敏", "PER"), ("孙红", "PER"), "。")]


@pytest.mark.parametrize(("wanted", "texts"), [("true", ["张伟李秀英王芳来了。"]), ("false", [])])
def test_the_settings_decide(wanted, texts, tmp_path):
    document = made(*people("、"), "来了。")
    path = tmp_path / "train.jsonl"
    path.write_text(native.to_native(document.text, document.entities) + "\n", "utf-8")
    found = lists_of(path, load("default", [f"training.lists={wanted}"]))
    assert [each.text for each in found] == texts


def test_a_partly_labelled_document_is_left_out():
    document = made(*people("、"), "等人都来了")
    partly = Document(document.text, document.entities, unlabelled=((len(document.text) - 3, len(document.text)),))
    assert bare(partly) == []


parts = st.sampled_from(["、", " ", "，", "和", "来了。", ("张伟", "PER"), ("王芳", "PER"), ("北京", "LOC")])


@few
@given(st.lists(parts, max_size=14))
def test_entities_stay_and_only_signs_go(some):
    document = made(*some)
    for found in bare(document):
        assert [(found.text[s:e], label) for s, e, label in found.entities] == [
            (document.text[s:e], label) for s, e, label in document.entities
        ]
        assert len(found.text) < len(document.text)
        kept = iter(document.text)
        assert all(sign in kept for sign in found.text)
        assert [c for c in found.text if c.isalnum()] == [c for c in document.text if c.isalnum()]
