import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import corpus
from tagger.alignment import EXAMPLES
from tagger.config import load
from tagger.documents import Document, Span, squeeze
from tagger.errors import ConfigError, CorpusError
from tagger.formats.native import to_native
from tagger.reports.inspection import FINDINGS, inspect, scripts
from tagger.reports.pages import corpus_page
from tagger.reports.tables import corpus_examples, corpus_table
from tagger.sections import TextConfig
from tests.conftest import SAMPLE
from tests.samples import few

CHARACTERS = TextConfig(maxlen=16, overlap=4, simplify=False)


@pytest.fixture
def look(tmp_path):
    def look(*splits, config=CHARACTERS):
        paths = []
        for number, documents in enumerate(splits):
            paths.append(tmp_path / f"{number}.jsonl")
            paths[-1].write_text("".join(to_native(d.text, d.entities) + "\n" for d in documents), "utf-8")
        return inspect(paths, config)

    return look


def document(text, *marked):
    """Return a document with the first occurrence of each (string, label) marked."""
    found = (Span(text.index(string), text.index(string) + len(string), label) for string, label in marked)
    return Document(text, tuple(sorted(found)))


def counts(split):
    return {kind: of["count"] for kind, of in split["findings"].items() if of["count"]}


# Texts, what is found in them, and an example of it.
ROWS = [
    ([document("李明在北京", ("李明", "PER"))], {}, ""),
    ([document("李明在北京")], {"empty": 1}, "李明在北京"),
    ([document(" \n")], {"empty": 1, "blank": 1}, ""),
    ([document("，".join("一二三四五六七八九"), ("一", "A"))], {"long_text": 1}, "一，二，三，四，五，六，七，八，九"),
    ([document("a" * 20, ("a" * 17, "A"))], {"long": 1, "long_text": 1}, "a" * 17),
    ([document("我 在", ("我 ", "A"))], {"edge": 1}, "'我 ' in 我 在"),
    ([document("我\u3000在", ("我", "A"))], {"wide_space": 1}, "\\u3000 in 我\u3000在"),
    ([document("我\u3000在", ("\u3000在", "A"))], {"wide_space": 1, "edge": 1}, "'\\u3000在' in 我\u3000在"),
    ([document("我\u200b在\ufeff", ("我", "A"))], {"zero_width": 1}, "\\u200b in 我\u200b在\ufeff"),
    ([document("我\x08在", ("我", "A"))], {"control": 1}, "\\x08 in 我\x08在"),
    ([document("我\t在\n", ("我", "A"))], {}, ""),
    ([document("我\ufffd在", ("我", "A"))], {"replaced": 1}, "\\ufffd in 我\ufffd在"),
    ([document("我\ud800在", ("我", "A"))], {"replaced": 1}, "\\ud800 in 我\ud800在"),
    ([document("这是國家", ("國", "A"))], {"both_scripts": 1}, "國 in 这是國家"),
    ([document("我在", ("我", "A"))] * 3, {"repeated": 2}, "我在"),
    ([document("我在", ("我", "A")), document("我 在 ", ("我", "A"))], {"repeated": 1}, "我 在 "),
    ([document(" "), document("")], {"empty": 2, "blank": 2}, ""),
]


@pytest.mark.parametrize(("documents", "found", "example"), ROWS)
def test_findings(look, documents, found, example):
    (split,) = look(documents)["splits"]
    assert counts(split) == found
    assert list(split["findings"]) == list(FINDINGS)
    examples = [example for of in split["findings"].values() for example in of["examples"]]
    shown = [one["text"] for one in examples]
    assert all(re.search(r"0\.jsonl:\d+$", one["place"]) for one in examples)
    assert example in shown or not example


def test_scripts_are_distinguished(look):
    simplified, traditional = scripts()
    assert set("国说们这发") <= simplified
    assert set("國說們這發") <= traditional
    assert not simplified & traditional
    assert not (simplified | traditional) & set("我在北京大学生人中，A1") - {"学"}
    (split,) = look([document(text) for text in ("国家", "國家", "国家國家", "我", "")])["splits"]
    assert split["scripts"] == {"simplified": 1, "traditional": 1, "both": 1, "neither": 2}


def test_scripts_are_no_finding_where_they_are_looked_up_alike(look):
    report = look([document("国家國家", ("国家", "A")), document("國家", ("國家", "A"))], config=TextConfig())
    (split,) = report["splits"]
    assert counts(split) == {}
    assert list(split["findings"]) == [kind for kind in FINDINGS if kind != "both_scripts"]
    assert (split["scripts"]["both"], split["scripts"]["traditional"]) == (1, 1)
    shown = [*corpus_examples(report), *(cell for row in corpus_table(report)[1] for cell in row)]
    assert not any("traditional" in line for line in shown)


def test_labels_and_lengths(look):
    texts = [document("李明在北京市", ("李明", "PER"), ("北京市", "LOC")), document("王五在李明家", ("王五", "PER"))]
    (split,) = look(texts)["splits"]
    assert (split["texts"], split["characters"], split["units"], split["entities"]) == (2, 12, 12, 3)
    assert split["labels"]["PER"] == {
        "entities": 2,
        "share": 2 / 3,
        "mentions": 2,
        "lengths": {"median": 2, "percentile_90": 2, "longest": 2, "counts": {"2": 2}},
    }
    assert split["entity_lengths"] == {"median": 2, "percentile_90": 3, "longest": 3, "counts": {"2": 2, "3": 1}}


def test_what_units_cut(look):
    (split,) = look([document("北京大学生活动中心", ("北京大学", "ORG"))], config=load("contest").text)["splits"]
    assert split["findings"]["cut"]["count"] == 1
    assert [one["text"] for one in split["findings"]["cut"]["examples"]] == ["北京大学 in 北京/大学生/活动中心"]


def test_contradictions_are_reported(look):
    train = [
        document("他到北京去", ("北京", "LOC")),
        document("北京与他说", ("北京", "ORG")),
        document("他在北京大学", ("北京大学", "ORG")),  # inside an entity: no contradiction
        document("我爱北京"),
    ]
    dev = [document("他到北京去", ("他", "LOC")), document("我爱上海", ("上海", "LOC"))]
    found = look(train, dev)
    first, second = (split["file"] for split in found["splits"])
    places = {"LOC": f"{first}:1", "ORG": f"{first}:2"}
    assert found["conflicts"]["labels"] == {
        "mentions": 1, "examples": [{"mention": "北京", "labels": {"LOC": 1, "ORG": 1}, "places": places}],
    }  # fmt: skip
    assert found["conflicts"]["unmarked"] == {
        "mentions": 1,
        "occurrences": 2,
        "examples": [{"mention": "北京", "marked": 2, "unmarked": 2, "in": "我爱北京", "place": f"{first}:4"}],
    }
    assert found["conflicts"]["texts"] == {"count": 1, "examples": [{"text": "他到北京去", "place": f"{first}:1"}]}
    (shared,) = found["shared"]
    assert (shared["texts"], shared["examples"]) == (1, [{"text": "他到北京去", "place": f"{second}:1"}])
    (unseen,) = found["unseen"]
    assert (unseen["mentions"], unseen["entities"], unseen["share"]) == (2, 2, 1)


words = st.lists(st.sampled_from(["北京", "上海", "他", "在", " ", "，", "大学"]), max_size=5).map("".join)


@few
@given(st.lists(st.lists(st.tuples(words, st.booleans()), max_size=6), min_size=1, max_size=3))
def test_repeats_equal_those_of_a_counter(tmp_path_factory, splits):
    folder, paths, texts = tmp_path_factory.mktemp("splits"), [], []
    for number, rows in enumerate(splits):
        paths.append(folder / f"{number}.jsonl")
        documents = [document(t, ("北京", "LOC")) if m and "北京" in t else Document(t) for t, m in rows]
        paths[-1].write_text("".join(to_native(d.text, d.entities) + "\n" for d in documents), "utf-8")
        texts.append(Counter(squeeze(d.text) for d in documents if d.text.strip()))
    found = inspect(paths, CHARACTERS)
    for split, some in zip(found["splits"], texts, strict=True):
        assert split["findings"]["repeated"]["count"] == some.total() - len(some)
    for pair in found["shared"]:
        first, second = (paths.index(Path(pair[key])) for key in ("first", "second"))
        assert pair["texts"] == len(set(texts[first]) & set(texts[second]))
    assert json.loads(json.dumps(found)) == found
    assert corpus_page(found).endswith("</html>\n")
    assert len(list(corpus_examples(found))) >= 3


def test_a_table_has_a_column_a_file(look):
    heading, rows = corpus_table(look([document("我", ("我", "A"))], [document("你", ("你", "B"))]))
    assert len(heading) == 3
    assert all(len(row) == 3 for row in rows)
    assert ("entities A", "1 (100.0 %)", "0") in rows


def test_few_examples_are_kept(look):
    found = look([document(f"我{n}\x00") for n in range(50)] * 2)
    (split,) = found["splits"]
    assert split["findings"]["control"]["count"] == 100
    assert all(len(of["examples"]) <= EXAMPLES for of in split["findings"].values())


def test_what_cannot_be_inspected(tmp_path):
    with pytest.raises(ConfigError, match=r"^-: a stream can be read only once"):
        inspect([Path("-")], CHARACTERS)
    (tmp_path / "bad.jsonl").write_text('{"text": 5}', "utf-8")
    with pytest.raises(CorpusError, match=r"bad\.jsonl:1: expected"):
        inspect([tmp_path / "bad.jsonl"], CHARACTERS)
    (tmp_path / "empty.jsonl").write_text("", "utf-8")
    found = inspect([tmp_path / "empty.jsonl"], CHARACTERS)
    assert found["splits"][0]["texts"] == 0
    assert corpus_page(found)


def test_memory_does_not_hold_the_texts(tmp_path):
    peaks = []
    documents = list(corpus.read(SAMPLE / "dev.jsonl"))
    for copies in (8, 14):  # both beyond what is looked at to tell the form
        path = tmp_path / f"{copies}.jsonl"
        lines = (to_native(f"{n}号{d.text * 8}", ()) + "\n" for n in range(copies) for d in documents)
        path.write_text("".join(lines), "utf-8")
        inspect([path], CHARACTERS)  # whatever is loaded once
        tracemalloc.start()
        inspect([path], CHARACTERS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 6 * len(documents) * 200  # a text is over 500 bytes
