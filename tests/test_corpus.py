import gzip
import io
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import formats
from tagger.alignment import EXAMPLES, Alignment, align
from tagger.corpus import labels, read, texts
from tagger.documents import Document, Entity, Notes, Span, mark, squeeze
from tagger.errors import CorpusError
from tagger.formats.native import to_native
from tagger.sections import TextConfig
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker
from tests.samples import anything, few

LOC, PER = '{"start": 3, "end": 5, "label": "LOC"}', '{"start": 0, "end": 2, "label": "PER"}'
NATIVE = f'{{"text": "李明在北京", "entities": [{LOC}, {PER}]}}'
DOCUMENT = Document("李明在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC")), ("李明", "北京"))
PLAIN = '{"text": "无"}'


@pytest.fixture
def write(tmp_path):
    def write(content, name="corpus.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


# ---- what is read -----------------------------------------------------------------------------------------------

BYTES = f"{NATIVE}\n{PLAIN}\n".encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", BYTES),
        ("no_end.jsonl", BYTES.removesuffix(b"\n")),
        ("bom.jsonl", b"\xef\xbb\xbf" + BYTES),
        ("crlf.jsonl", BYTES.replace(b"\n", b"\r\n")),
        ("blank.jsonl", b"\n  \n" + BYTES.replace(b"\n", b"\n\r\n\n")),
        ("zipped.jsonl.gz", gzip.compress(BYTES)),
        ("zipped_without_saying.jsonl", gzip.compress(b"\xef\xbb\xbf" + BYTES)),
        ("members.jsonl.gz", gzip.compress(BYTES[:40]) + gzip.compress(BYTES[40:])),
        ("name_says_nothing.data", BYTES),
    ],
)
def test_a_native_corpus_is_read(write, name, content):
    assert list(read(write(content, name))) == [DOCUMENT, Document("无")]


def test_standard_input_is_read(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BYTES)))
    assert list(read("-")) == [DOCUMENT, Document("无")]


def test_a_contest_corpus_is_read(write):
    rows = [
        {"content": "红楼梦。读《红楼 梦》", "core_entity": ["红楼梦"]},
        {"content": "无", "core_entity": ["红 楼", "红楼", "", " "]},
        {"content": "红楼", "core_entity": "红楼"},
        {"content": "无"},
    ]
    assert list(read(write("\n".join(map(json.dumps, rows))))) == [
        Document("红楼梦。读《红楼 梦》", (Span(0, 3, "CORE"), Span(6, 10, "CORE")), ("红楼梦",)),
        Document("无", (), ("红楼",)),
        Document("红楼", (Span(0, 2, "CORE"),), ("红楼",)),
        Document("无"),
    ]


def test_a_native_corpus_may_carry_the_contests_answers(write):
    row = {
        "text": "读红楼梦",
        "entities": [{"start": 1, "end": 4, "label": "CORE"}],
        "core_entity": ["石头 记", "红楼梦"],
    }
    assert list(read(write(json.dumps(row)))) == [Document("读红楼梦", (Span(1, 4, "CORE"),), ("石头记", "红楼梦"))]


def test_other_text_is_a_document_a_line(write):
    path = write("北京\n\n 大\u2028学\x85\x0c\r\n", "corpus.txt")
    assert list(read(path)) == [Document("北京"), Document(""), Document(" 大\u2028学\x85\x0c")]
    assert list(texts(path)) == ["北京", "", " 大\u2028学\x85\x0c"]


def test_texts_keep_blank_documents(write):
    contest = '{"content": "北京", "core_entity": []}'
    assert list(texts(write(f"{NATIVE}\n\n{contest}\n"))) == ["李明在北京", "", "北京"]


def test_reading_is_lazy(write):
    documents = read(write(f"{NATIVE}\n{{bad"))
    assert next(documents) == DOCUMENT
    with pytest.raises(CorpusError):
        next(documents)


# ---- what is not -------------------------------------------------------------------------------------------------


def entity(**changes):
    return json.dumps({"text": "李明在北京", "entities": [{"start": 0, "end": 2, "label": "PER"} | changes]})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("{bad", "a JSON object"),
        ('{"text": "李明"', "a JSON object"),
        ('["李明"]', "a JSON object"),
        ('"李明"', "a JSON object"),
        ("李明在北京", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ("{}", '"text" with a string'),
        ('{"entities": []}', '"text" with a string'),
        ('{"text": null}', '"text" with a string'),
        ('{"text": ["李明"]}', '"text" with a string'),
        ('{"text": "李明", "entities": {}}', '"entities" with a list'),
        ('{"text": "李明", "entities": null}', '"entities" with a list'),
        ('{"text": "李明", "entities": ["李明"]}', "an entity with 0 <= start < end <= 2"),
        ('{"text": "李明", "entities": [{"start": 0, "end": 2}]}', "an entity with"),
        (entity(start=-1), "an entity with 0 <= start < end <= 5"),
        (entity(end=6), "an entity with"),
        (entity(start=2), "an entity with"),
        (entity(start=4, end=3), "an entity with"),
        (entity(start=False), "an entity with"),
        (entity(end=True), "an entity with"),
        (entity(end=2.0), "an entity with"),
        (entity(end="2"), "an entity with"),
        (entity(end=None), "an entity with"),
        (entity(label=""), "an entity with"),
        (entity(label="A B"), "an entity with 0 <= start < end <= 5 and a label without spaces"),
        (entity(label="A\u3000B"), "an entity with 0 <= start < end <= 5 and a label without spaces"),
        (entity(label="PER\n"), "an entity with 0 <= start < end <= 5 and a label without spaces"),
        (entity(label=5), "an entity with"),
        (NATIVE.replace('"start": 3', '"start": 1'), "entities that do not overlap"),
        (NATIVE.replace('"start": 3, "end": 5', '"start": 0, "end": 2'), "entities that do not overlap"),
        ('{"content": "北京"}', '"text" with a string'),
        (NATIVE.encode("gbk"), "UTF-8"),
        (b'{"text": "\xed\xa0\x80"}', "UTF-8"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["file", "gz"])
def test_a_bad_row_is_reported_with_its_place(write, row, expected, zipped):
    content = f"{PLAIN}\n\n".encode() + (row if isinstance(row, bytes) else row.encode("utf-8")) + b"\n"
    path = write(gzip.compress(content) if zipped else content)
    with pytest.raises(CorpusError) as caught:
        list(read(path))
    message = str(caught.value)
    assert message.startswith(f"{path}:3: expected {expected}")
    assert ", received " in message
    assert "; " in message
    assert "\n" not in message
    assert len(message.removeprefix(str(path))) < 260


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('{"content": "北京", "core_entity": 5}', '"core_entity" with a list of strings'),
        ('{"content": "北京", "core_entity": ["北京", 5]}', '"core_entity" with a list of strings'),
        ('{"content": "北京", "core_entity": null}', '"core_entity" with a list of strings'),
        ('{"content": 5}', '"content" with a string'),
        ('{"text": "北京"}', '"content" with a string'),
    ],
)
def test_a_bad_contest_row_is_reported_with_its_place(write, row, expected):
    path = write('{"content": "北京"}\n' + row)
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}:2: expected {expected}')}"):
        list(read(path))


@pytest.mark.parametrize(
    "row", ["{bad", "[5]", '{"entities": []}', '{"content": 5}', '{"content": "x", "core_entity": 5}']
)
def test_a_bad_first_row_after_blank_lines_is_reported_with_its_place(write, row):
    path = write("\n\n" + row)
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}:3: expected')}"):
        list(read(path))


def test_a_bad_row_is_reported_by_texts_too(write):
    path = write(f"{PLAIN}\n{{bad\n")
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}:2: expected a JSON object')}"):
        list(texts(path))


ZIPPED = gzip.compress("".join(f'{{"text": "{number * 7919}"}}\n' for number in range(20_000)).encode())


@pytest.mark.parametrize(
    "damaged",
    [
        ZIPPED[:5],
        ZIPPED[: len(ZIPPED) // 2],
        ZIPPED[:-1],
        ZIPPED[:-8] + bytes(8),
        ZIPPED[:1000] + bytes(99),
        b"\x1f\x8bx",
    ],
    ids=["header cut", "cut", "last byte cut", "checksum", "garbage", "not gzip"],
)
def test_a_damaged_gz_is_reported_with_its_place(write, damaged):
    path = write(damaged, "corpus.jsonl.gz")
    with pytest.raises(CorpusError, match=rf"^{re.escape(str(path))}:\d+: expected a whole \.gz file"):
        list(read(path))


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.txt.gz", ""])
def test_a_missing_file_or_a_folder_is_reported(tmp_path, name):
    path = tmp_path / name
    for reader in (read, texts):
        with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}: expected a readable file, received ')}"):
            list(reader(path))


# ---- answers of the contest --------------------------------------------------------------------------------------

short = st.text("ab ", max_size=12)


@few
@given(short, st.lists(st.text("ab ", max_size=4), max_size=4))
def test_every_occurrence_of_an_answer_is_marked_and_the_longer_answer_wins(text, answers):
    spans = mark(text, answers)
    wanted = {squeeze(answer) for answer in answers} - {""}
    assert all(squeeze(text[span.start : span.end]) in wanted and span.label == "CORE" for span in spans)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
    for answer in wanted:
        for start, stop in itertools.combinations(range(len(text) + 1), 2):
            found = text[start:stop]
            if squeeze(found) == answer and found == found.strip():
                over = [span for span in spans if span.start < stop and start < span.end]
                assert any(len(squeeze(text[span.start : span.end])) >= len(answer) for span in over)


@pytest.mark.parametrize(
    ("text", "answers", "found"),
    [
        ("北京大学在北京", ["北京", "北京大学"], [(0, 4), (5, 7)]),
        ("长江大桥长江大桥", ["长江大桥"], [(0, 4), (4, 8)]),
        ("Hello  World与Hello World", ["HelloWorld"], [(0, 12), (13, 24)]),
        ("用C++和C", ["C++", "C"], [(1, 4), (5, 6)]),
        ("北京", ["上海", "", "  "], []),
        ("XYababa", ["XYab", "aba"], [(0, 4), (4, 7)]),
    ],
)
def test_marking_by_example(text, answers, found):
    assert [span[:2] for span in mark(text, answers)] == found


# ---- alignment ---------------------------------------------------------------------------------------------------

CORE = TagScheme(("CORE",))
CONTEST = UnitMaker(TextConfig(unit="word", clean=True, fold=False, maxlen=4))


def aligned(text, *spans, answers=()):
    report = Alignment()
    _, found = align(Document(text, tuple(Span(*span, "CORE") for span in spans), answers), CONTEST, CORE, report)
    return found, report


def test_labels_come_from_offsets_not_from_substrings():
    text = "北京大学在北京，大学生在大学"
    units = CONTEST(text)
    for span in [(0, 4), (5, 7)]:
        found, _ = aligned(text, span)
        assert found == [UnitSpan(*units.unit_span(*span), 0)]
        assert np.count_nonzero(CORE.encode(found, len(units))) == found[0].end - found[0].start


def test_what_cannot_be_represented_is_counted_with_an_example():
    _, fine = aligned("读《红楼梦》", (2, 5), answers=("红楼梦",))
    assert (fine.cut, fine.long, fine.absent, fine.empty, fine.examples) == (0, 0, 0, 0, {})

    found, cut = aligned("北京大学生活动中心", (0, 4))
    assert (found, cut.cut, cut.entities["CORE"]) == ([], 1, 1)
    assert cut.examples["cut"] == ["北京大学 in 北京/大学生/活动中心"]

    found, long = aligned("一，二，三，四", (0, 7))
    assert (found, long.long, long.examples["long"]) == ([], 1, ["一，二，三，四"])

    _, absent = aligned("读红楼梦", answers=("石头记",))
    assert (absent.absent, absent.empty) == (1, 1)
    assert absent.examples == {"absent": ["石头记 | 读红楼梦"], "empty": ["读红楼梦"]}

    _, blank = aligned(" \n")
    assert (blank.texts, blank.characters, blank.blank, blank.empty) == (1, 2, 1, 1)


def test_a_report_keeps_few_examples_and_shows_every_count():
    report = Alignment()
    for number in range(20):
        align(Document(f"第{number}篇", (), ("无",)), CONTEST, CORE, report)
    assert (report.texts, report.empty, report.absent) == (20, 20, 20)
    assert len(report.examples["empty"]) == len(report.examples["absent"]) == EXAMPLES
    described = report.to_dict()
    assert (
        described["texts"] == described["findings"]["empty"]["count"] == described["findings"]["absent"]["count"] == 20
    )
    assert described["findings"]["empty"]["examples"] == report.examples["empty"]


def test_a_label_that_the_scheme_does_not_know_is_reported():
    with pytest.raises(CorpusError, match="expected one of the labels CORE, received PER"):
        align(DOCUMENT, CONTEST, CORE, Alignment())


def test_the_labels_of_a_corpus_are_in_order():
    assert labels([DOCUMENT, Document("无"), DOCUMENT]) == ("LOC", "PER")


# ---- what is written ---------------------------------------------------------------------------------------------


def in_contest_form(text):
    """What is written for a text that is its own answer."""
    return next(formats.write("contest", [Document(text, answers=(text,))], Notes()))


@few
@given(anything, st.floats(0, 1))
def test_a_written_line_is_read_as_it_was(text, score):
    text = re.sub(r"[\ud800-\udbff](?=[\udc00-\udfff])", "", text)  # JSON has no way to write these two apart
    entities = [Entity(0, len(text), "CORE", text, score)] if text else []
    line = to_native(text, entities)
    assert json.loads(line) == {"text": text, "entities": [entity._asdict() for entity in entities]}
    assert line.splitlines() == [line]
    assert line.encode("utf-8").decode("utf-8") == line
    assert json.loads(in_contest_form(text)) == {"content": text, "core_entity": [text]}


@few
@given(st.lists(anything.filter(lambda text: not re.search(r"[\ud800-\udbff][\udc00-\udfff]", text)), max_size=4))
def test_a_written_corpus_is_read_as_it_was(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("written") / "corpus.jsonl"
    spans = [[Span(0, len(text), "CORE")] if text else [] for text in some]
    path.write_text("".join(to_native(*row) + "\n" for row in zip(some, spans, strict=True)), "utf-8", newline="\n")
    assert [(document.text, list(document.entities)) for document in read(path)] == list(zip(some, spans, strict=True))


def test_quotes_line_ends_and_scores_are_escaped():
    line = to_native('他说："好"\n\\', [Entity(3, 6, "A", '"好"', 0.5)])
    assert line == (
        '{"text": "他说：\\"好\\"\\n\\\\", "entities": '
        '[{"start": 3, "end": 6, "label": "A", "text": "\\"好\\"", "score": 0.5}]}'
    )
    ends = "a\n\r\x0b\x0c\x1c\x85\u2028\u2029b"
    assert len(in_contest_form(ends).splitlines()) == 1
