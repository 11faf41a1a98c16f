"""Files that are nearly in a known format: read where that is certain, else refused by name; plain text stays plain."""

import json
import re

import pytest

from tagger import formats
from tagger.corpus import describe_notes, read, texts
from tagger.documents import Document, Notes, Span, mark
from tagger.errors import CorpusError
from tagger.files import open_source
from tests.conftest import SAMPLE, corpora


@pytest.fixture
def given(tmp_path):
    """Return a function that writes a file and returns its documents as (text, [(mention, label)]), and the notes."""

    def given(content, name="a.txt", format=""):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        documents = list(read(path, format, notes := Notes()))
        shown = [(d.text, [(d.text[start:end], label) for start, end, label in d.entities]) for d in documents]
        return shown, describe_notes(notes), documents

    return given


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# ---- columns ------------------------------------------------------------------------------------------------------

LI = [("李明在", [("李明", "PER")])]

COLUMNS = {
    "small letters": ("李 b-PER\n明 i-PER\n在 o\n", []),
    "label first": ("李\tPER-B\n明\tPER-E\n在\tO\n", []),
    "no letters": ("李\tPER\n明\tPER\n在\tO\n", ["repaired: neighbouring tags of one label, now one entity (1)"]),
    "comma": ("李,B-PER\n明,I-PER\n在,O\n", []),
    "index first": ("1 李 NR B-PER\n2 明 NR I-PER\n3 在 P O\n", ["left out: columns between token and tag (6)"]),
    "index from 0": ("0\t李\tB-PER\n1\t明\tI-PER\n2\t在\tO\n", ["left out: columns between token and tag (3)"]),
    "UNER": (
        "# sent_id = x-1\n# text = 李明在\n1\t李\tB-PER\t-\tann\n2\t明\tI-PER\t-\tann\n3\t在\tO\t-\tann\n",
        ["left out: columns between token and tag (9)", "left out: comments and document marks (2)"],
    ),
    "CoNLL-U": (
        "1-2\t李明\t_\t_\n1\t李\tX\tname=B-PER\n2\t明\tX\tSpaceAfter=No|name=I-PER\n3\t在\tX\t_\n",
        ["left out: columns between token and tag (6)", "left out: lines of CoNLL-U that are no token (1)"],
    ),
    "old Mac": ("李\tB-PER\r明\tI-PER\r在\tO\r", []),
    "digits": ("李0 B-PER\n明1 I-PER\n在0 O\n", []),
}


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind != "digits"])
def test_columns_in_another_layout_are_read(given, kind):
    content, noted = COLUMNS[kind]
    shown, notes, _ = given(content)
    assert (shown, notes) == (LI, noted)


def test_digits_behind_characters_are_dropped_where_nearly_all_tokens_have_one(given):
    shown, notes, _ = given("李0\tB-PER\n明1\tI-PER\n在0\tO\n沪0\tB-LOC\n")
    assert shown == [("李明在沪", [("李明", "PER"), ("沪", "LOC")])]
    assert notes == ["repaired: digits after characters, dropped (4)"]
    assert given("第\tO\n3\tO\n号2\tB-X\n线\tO\n")[0] == [("第3号2线", [("号2", "X")])]


def test_tags_without_labels_are_entities_without_one(given):
    shown, notes, _ = given("李\tB\n明\tI\n在\tO\n")
    assert (shown, notes) == (
        [("李明在", [("李明", "ENTITY")])],
        ["repaired: entities without a label, now ENTITY (1)"],
    )


def test_a_label_with_a_space_is_written_without(given):
    shown, notes, _ = given("李\tB-PER NAM\n明\tI-PER NAM\n在\tO\n")
    assert (shown, notes) == (
        [("李明在", [("李明", "PER_NAM")])],
        ["repaired: labels with white space, written with _ (1)"],
    )


def test_tokens_that_are_numbers_are_no_index(given):
    assert given("1\tB-T\n2\tI-T\n月\tI-T\n")[0] == [("12月", [("12月", "T")])]
    assert given("7 CD B-T\n8 CD I-T\n9 CD O\n")[0] == [("789", [("78", "T")])]


REFUSED = {
    "parts of words": ("南 B\n京 E\n在 S\n北 B\n京 E\n", "B M E S without labels"),
    "parts of speech in columns": ("李 nr\n在 p\n京 ns\n去 v\n", "columns, a token and something else"),
    "parts of speech": ("李明/nr 在/p 北京/ns 工作/v\n他/r 走/v 了/u\n去/v 吧/y\n", "word/tag"),
    "WebAnno": ("#FORMAT=WebAnno TSV 3.2\n\n#Text=李明\n1-1\t0-1\t李\tPER\n", "WebAnno TSV"),
    "XML": ('<?xml version="1.0"?>\n<doc>李明</doc>\n', "XML"),
    "elements": ("<PER>李明</PER>在京\n他见<PER>王芳</PER>\n", "<label>mention</label>"),
    "Boson": ("{{person_name:李明}}在{{location:京}}\n天晴\n", "{{label:mention}}"),
    "YEDDA": ("[@李明#PER*]在京\n天晴\n", "YEDDA"),
    "Python": ("{'text': '李明', 'entities': []}\n", "Python"),
    "Python pairs": ("[('李明', {'entities': []})]\n", "Python"),
    "arrays": ('[["李", "明"], ["B-PER", "I-PER"]]\n', "an array in JSON"),
    "table": ("17\t李明在京\n18\t天晴\n19\t雨\n", "separated by tabs"),
    "comma-separated": ("李明,北京\n王芳,上海\n赵平,南京\n", "separated by commas"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_looks_annotated_is_refused_by_name(given, tmp_path, kind):
    content, about = REFUSED[kind]
    with pytest.raises(CorpusError) as caught:
        given(content)
    assert re.match(
        re.escape(f"{tmp_path / 'a.txt'}:1: expected a known format or plain text, received what looks"),
        str(caught.value),
    )
    assert about in str(caught.value)
    assert "--from plain" in str(caught.value)
    assert len(given(content, format="plain")[2]) == content.count("\n")


PLAIN = [
    "春眠不觉晓，\n处处闻啼鸟。\n",
    "天\n地\n玄\n黄\n",
    "春 眠\n不 觉\n闻 鸟\n",
    "3.14\n2.72\n1.41\n",
    "1\n2\n3\n",
    "见 https://example.org/a/b?c=1 和 http://example.org/x\n无\n看 https://example.org/\n",
    "苹果,梨\n香蕉\n桃,李,杏\n",
    "Hello, world\nGood, thanks\nWell, no\n",
    "一行\t有制表符\n一行没有\n又一行\n",
    "他说：“<b>好</b>”\n真的\n不是\n",
    "[笑]真好\n[哭]不好\n[笑]好\n",
    "{笑}\n",
    "[北京\n",
    '["北京"]是首都\n好\n',
    "【问】李明\n【答】王芳\n",
    "# 标题\n\n正文一段。\n",
    "维生素 B\n北京 O2\n血型 O\n",
    "买了 iPhone\n换了 iPad\n没买\n",
    "1. 第一\n2. 第二\n3. 第三\n",
    "'好'\n'坏'\n",
    "- 一\n- 二\n- 三\n",
    "北京 2008\n伦敦 2012\n里约 2016\n",
    "a\n",
    "\n\n",
]


@pytest.mark.parametrize("content", PLAIN)
def test_plain_text_is_plain(given, content):
    shown, notes, documents = given(content)
    assert [text for text, _ in shown] == content.split("\n")[:-1]
    assert not notes
    assert not any(document.entities for document in documents)


def test_every_unlabelled_file_is_plain():
    with open_source(SAMPLE / "unlabelled.txt") as source:
        assert formats.detect(source) == "plain"


def test_every_unlabelled_file_of_the_development_corpora_is_plain():
    for path in sorted((corpora() / "unlabelled").iterdir()):
        with open_source(path) as source:
            assert formats.detect(source) == "plain", path


# ---- JSON ---------------------------------------------------------------------------------------------------------

PER = {"start": 0, "end": 2, "label": "PER"}

SHAPES = {
    "Prodigy": (lines({"text": "李明在", "spans": [PER | {"token_end": 1}], "answer": "accept"}), "prodigy"),
    "spaCy's documents": (lines({"text": "李明在", "ents": [PER], "tokens": [{"start": 0, "end": 2}]}), "prodigy"),
    "UIE": (
        lines(
            {"content": "李明在", "result_list": [{"text": "李明", "start": 0, "end": 2}], "prompt": "PER"},
            {"content": "李明在", "result_list": [], "prompt": "LOC"},
            {"content": "李明在", "result_list": [{"text": "在", "start": 2, "end": 3}], "prompt": "李明的动作"},
        ),
        "uie",
    ),
    "JSON_MIN": (
        json.dumps([{"id": 3, "text": "李明在", "ner": [{"start": 0, "end": 2, "text": "李明", "labels": ["PER"]}]}]),
        "labelstudio",
    ),
    "four items": (lines({"text": "李明在", "label": [[0, 2, "PER", "李明"]]}), "doccano"),
    "an object over several lines": (json.dumps({"text": "李明在", "entities": [PER]}, indent=2), "jsonl"),
    "pairs": (json.dumps([["李明在", {"entities": [[0, 2, "PER"]]}]]), "doccano"),
    "a pair a line": (lines(["李明在", {"entities": [[0, 2, "PER"]]}]), "doccano"),
    "tokens": (lines({"tokens": [*"李明在"], "ner_tags": ["B-PER", "I-PER", "O"]}), "tokens"),
    "tokens in a text": (
        lines({"text": "李明在", "tokens": ["李明", "在"], "ner_tags": ["S-PER", "O"], "id": 1}), "tokens",
    ),
    "tags a character": (lines({"text": "李明在", "labels": ["B-PER", "E-PER", "O"]}), "tokens"),
    "GLiNER": (lines({"tokenized_text": [*"李明在"], "ner": [[0, 1, "PER"]]}), "tokens"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SHAPES)
def test_json_of_other_tools_is_read(given, tmp_path, kind):
    content, format = SHAPES[kind]
    shown, _, _ = given(content, "a.json")
    assert shown == LI
    assert list(texts(tmp_path / "a.json"))[:1] == ["李明在"]
    with open_source(tmp_path / "a.json") as source:
        assert formats.detect(source) == format


def test_objects_over_several_lines_follow_one_another(given):
    records = [{"text": "李明在", "entities": [PER]}, {"text": "好"}]
    assert given("\n".join(json.dumps(record, indent=1) for record in records))[0] == [*LI, ("好", [])]
    with pytest.raises(CorpusError, match=r"a\.txt:4: expected a JSON object"):
        given('{\n"text": "好"\n}\n{"text": ')


@pytest.mark.parametrize("name", ["a.json", "a.txt"])
def test_strings_are_texts(given, name):
    assert given(json.dumps(["李明在", "好"], ensure_ascii=False), name)[0] == [("李明在", []), ("好", [])]


def test_a_rejected_answer_is_no_annotation(given):
    rows = [{"text": "李明在", "spans": [PER], "answer": answer} for answer in ("accept", "reject", "ignore")]
    shown, notes, documents = given(lines(*rows))
    assert shown == [*LI, ("李明在", []), ("李明在", [])]
    assert [document.is_unlabelled for document in documents] == [False, True, True]
    assert notes == ["texts that nobody has annotated (2)"]


WRONG = {
    "numbers": ({"tokens": ["李", "明"], "ner_tags": [1, 2]}, 'tags such as "B-PER", received numbers'),
    "fewer tags": ({"tokens": ["李", "明"], "ner_tags": ["O"]}, "as many tags as tokens, 2"),
    "null": ({"tokens": ["李", "明"], "ner_tags": ["O", None]}, "tags such as O, B-PER, I-PER, received null"),
    "no tag": ({"tokens": ["李"], "ner_tags": ["PER"]}, "tags such as O, B-PER, I-PER"),
    "another fourth item": ({"text": "李明在", "label": [[0, 2, "PER", "李"]]}, "'李明', the text at these offsets"),
    "text classification": ({"text": "李明在", "label": ["体育"]}, "labels of a text classification"),
    "unknown objects": ({"text": "李明在", "ner": [{"begin": 0, "end": 2}]}, "entities under a key of a known"),
    "numbers beside a text": ({"text": "李明", "tokens": ["李", "明"], "ner_tags": [1, 2]}, "received numbers"),
    "numbers of characters": ({"text": "李明", "ner_tags": [1, 2]}, "received numbers"),
    "tokens of another text": ({"text": "李明", "tokens": ["王"], "ner_tags": ["O"]}, 'tokens that stand in the'),
    "unknown triples": ({"text": "李明在", "found": [[0, 2, "PER"]]}, "entities under a key of a known format"),
    "nested": ({"text": "李明在", "annotation": {"list": [{"start": 0, "end": 2}]}}, "entities under a key of a"),
    "records in an object": ({"version": 1, "rows": [{"text": "李明"}]}, '"text" with a string'),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_understood_is_refused_with_line_and_id(given, kind):
    record, expected = WRONG[kind]
    with pytest.raises(CorpusError, match=r"a\.jsonl:2 \(id 37\): expected .*") as caught:
        given(lines({"text": "好"}, {"id": 37, **record}), "a.jsonl")
    assert expected in str(caught.value)


def test_lists_that_are_no_entities_may_stand_beside_none(given):
    record = {"text": "李明在", "entities": [], "tokens": [{"start": 0, "end": 1}], "gold": [PER], "tags": ["新闻"]}
    shown, _, (document,) = given(lines(record))
    assert shown == [("李明在", [])]
    assert document.extra == {key: record[key] for key in ("tokens", "gold", "tags")}


def test_null_is_no_label(given):
    shown, _, _ = given(lines({"text": "李明在", "labels": [[0, 2, "PER"]]}, {"text": "好", "labels": None}))
    assert shown == [*LI, ("好", [])]


# ---- several forms in one file --------------------------------------------------------------------------------------

FORMS = {
    "jsonl": {"text": "李明在", "entities": [PER]},
    "doccano": {"text": "李明在", "label": [[0, 2, "PER"]]},
    "cluener": {"text": "李明在", "label": {"PER": {"李明": [[0, 1]]}}},
    "prodigy": {"text": "李明在", "spans": [PER]},
    "tokens": {"tokens": [*"李明在"], "ner_tags": ["B-PER", "I-PER", "O"]},
    "labelstudio": {"data": {"text": "李明在"}, "annotations": [{"result": [
        {"type": "labels", "value": {"start": 0, "end": 2, "text": "李明", "labels": ["PER"]}}]}]},
}  # fmt: skip


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("chosen", [False, True])
def test_each_record_is_read_in_its_own_form(given, first, second, chosen):
    shown, notes, _ = given(lines(FORMS[first], FORMS[second]), "a.jsonl", first if chosen else "")
    assert shown == LI * 2
    mixed = f"changed: records in another form than the others, read as {second} (1)"
    assert [note for note in notes if note.startswith("changed")] == ([] if first == second else [mixed])


def test_native_stretches_that_nobody_annotated_survive_in_a_file_of_another_form(given):
    row = {"text": "好", "entities": [], "unlabelled": [[0, 1]]}
    assert given(lines(FORMS["doccano"], row))[2][1].is_unlabelled


# ---- Label Studio -------------------------------------------------------------------------------------------------


def task(text, **more):
    return {"data": {"text": text}, **more}


def result(start, end, label, **more):
    return {"type": "labels", "value": {"start": start, "end": end, "labels": [label]}, **more}


def test_a_relation_is_left_out(given):
    relation = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right", "labels": ["at"]}
    row = task("李明在京", annotations=[{"result": [result(0, 2, "PER"), relation, result(3, 4, "LOC")]}])
    shown, notes, _ = given(json.dumps([row]), "a.json")
    assert shown == [("李明在京", [("李明", "PER"), ("京", "LOC")])]
    assert notes == ["left out: annotations that are not entities (1)"]


def test_what_nobody_annotated_is_not_gold(given, tmp_path):
    guess = [{"score": 0.2, "result": [result(0, 2, "PER")]}]
    rows = [
        task("李明在", annotations=[{"was_cancelled": False, "result": [result(0, 2, "PER")]}]),
        task("王芳去", annotations=[]),
        task("赵平来", annotations=[{"was_cancelled": True, "result": []}], predictions=guess),
        task("天晴了", annotations=[{"result": []}], predictions=guess),
        task("孙红走", predictions=guess),
    ]
    shown, notes, documents = given(json.dumps(rows), "a.json")
    assert shown == [*LI, ("王芳去", []), ("赵平来", []), ("天晴了", []), ("孙红走", [("孙红", "PER")])]
    assert [document.is_unlabelled for document in documents] == [False, True, True, False, False]
    left = "left out: predictions of texts that nobody has annotated (1)"
    assert notes == [left, "texts that nobody has annotated (2)"]
    for format in ("labelstudio", "prodigy", "jsonl"):
        (tmp_path / "b").write_text("".join(formats.write(format, documents[:4], Notes())), "utf-8")
        assert [document.is_unlabelled for document in read(tmp_path / "b", format)] == [False, True, True, False]


def test_predictions_are_no_annotations():
    (written,) = json.loads("".join(formats.write("labelstudio", [Document("好")], Notes(), predicted=True)))
    assert written == task("好")


# ---- labels -------------------------------------------------------------------------------------------------------

LABELLED = {
    "jsonl": lines({"text": "李明", "entities": [PER | {"label": "P\x07R"}]}),
    "doccano": lines({"text": "李明", "label": [[0, 2, "P\x07R"]]}),
    "cluener": lines({"text": "李明", "label": {"P\x07R": {"李明": [[0, 1]]}}}),
    "prodigy": lines({"text": "李明", "spans": [PER | {"label": "P\u200bR"}]}),
    "tokens": lines({"tokens": ["李"], "ner_tags": ["B-P\x07R"]}),
    "labelstudio": json.dumps([task("李明", annotations=[{"result": [result(0, 2, "P\x1bR")]}])]),
    "uie": lines({"content": "李明", "result_list": [{"start": 0, "end": 2}], "prompt": "P\x07R"}),
    "inline": "[李明]{P\\u0007R}\n",
    "bio": "李\tB-P\x07R\n明\tI-P\x07R\n",
    "csv": 'text,entities\n李明,"[{""start"": 0, ""end"": 2, ""label"": ""P\\u0007R""}]"\n',
}


@pytest.mark.parametrize("format", LABELLED)
def test_unprintable_labels_are_refused(given, format):
    with pytest.raises(CorpusError) as caught:
        given(LABELLED[format], format=format)
    assert str(caught.value).isprintable()


def test_unprintable_labels_of_brat_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("李明", "utf-8")
    (tmp_path / "a.ann").write_text("T1\tP\x07R 0 2\t李明\n", "utf-8")
    with pytest.raises(CorpusError, match="a label of printable characters"):
        list(read(tmp_path))


# ---- what goes with a record ----------------------------------------------------------------------------------------

KEPT = {"id": 7, "url": "http://a.example/?b", "meta": {"a": [1, None]}}


@pytest.mark.parametrize("target", ["jsonl", "doccano", "cluener", "prodigy", "tokens", "contest", "labelstudio"])
@pytest.mark.parametrize("source", ["jsonl", "doccano", "cluener", "prodigy", "tokens"])
def test_further_keys_go_with_the_record(given, tmp_path, source, target):
    _, _, (document,) = given(lines({**KEPT, **FORMS[source]}))
    assert (document.extra, document.place) == (KEPT, f"{tmp_path / 'a.txt'}:1 (id 7)")
    notes = Notes()
    (tmp_path / "b").write_text("".join(formats.write(target, [document], notes)), "utf-8")
    (again,) = read(tmp_path / "b", target)
    assert (again, again.extra) == (document if target != "contest" else again, KEPT)
    assert describe_notes(notes) == (["lost: labels (1)"] if target == "contest" else [])


def test_keys_that_a_format_cannot_hold_are_noted(given):
    _, _, documents = given(lines({"text": "李明在", "entities": [PER], "label": "新闻", "id": 1}))
    list(formats.write("bio", documents, notes := Notes()))
    assert describe_notes(notes) == ["left out: further keys of records (2)"]
    (line,) = formats.write("doccano", documents, notes := Notes())
    assert json.loads(line) == {"text": "李明在", "label": [[0, 2, "PER"]], "id": 1}
    assert describe_notes(notes) == ["lost: further keys that the format itself uses (1)"]


@pytest.mark.parametrize(
    ("content", "name", "places"),
    [
        ("甲\n乙\n", "a.txt", [":1", ":2"]),
        ("甲\tO\n\n\n乙\tO\n", "a.bio", [":1", ":4"]),
        ('{"text": "甲"}\n\n{"text": "乙", "id": "x"}\n', "a.jsonl", [":1", ":3 (id x)"]),
        ('[{"text": "甲", "id": 5},\n{"text": "乙"}]', "a.json", [":1 (item 1, id 5)", ":2 (item 2)"]),
        ("id,text\n1,甲\n2,乙\n", "a.csv", [":2 (id 1)", ":3 (id 2)"]),
    ],
)
def test_a_document_knows_its_place(given, tmp_path, content, name, places):
    assert [document.place for document in given(content, name)[2]] == [f"{tmp_path / name}{p}" for p in places]


# ---- answers -------------------------------------------------------------------------------------------------------


def test_marking_takes_linear_time():
    found = mark("王明" * 200_000, ["王", "明", "王明王"])
    assert (len(found), found[0]) == (200_000, Span(0, 3, "CORE"))
