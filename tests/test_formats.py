"""Every format of corpus: golden files of our own, round trips, what is malformed, what is lost, and flat memory."""

import gzip
import json
import os
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tagger import formats
from tagger.corpus import describe_notes, files, read, texts, write
from tagger.documents import Document, Notes, Span, labelled, mark, without_overlaps
from tagger.errors import ConfigError, CorpusError, OutputError
from tagger.files import reading
from tests.conftest import ROOT
from tests.samples import anything, few

GOLDEN = ROOT / "tests" / "golden"
COLUMNS = ("bio", "bioes", "bmes", "bilou")
WRITABLE = [name for name in formats.WRITABLE if name != "parquet" or find_spec("pyarrow")]
DOCUMENTS = list(read(GOLDEN / "native.jsonl"))

# File, its format, and what reading it notes.
FILES = [
    ("native.jsonl", "jsonl", []),
    ("bio.conll", "bio", ["left out: columns between token and tag (54)", "left out: comments and document marks (1)"]),
    ("bioes.conll", "bio", ["left out: comments and document marks (1)"]),
    ("bmes.conll", "bio", []),
    ("bilou.conll", "bio", []),
    ("brat", "brat", ["left out: annotations that are not entities (2)", "texts that nobody has annotated (1)"]),
    ("doccano.jsonl", "doccano", []),
    ("doccano_old.jsonl", "doccano", []),
    ("doccano_relations.jsonl", "doccano", []),
    ("labelstudio.json", "labelstudio", ["left out: annotations that are not entities (1)"]),
    ("labelstudio_predictions.json", "labelstudio", ["texts that nobody has annotated (1)"]),
    ("cluener.json", "cluener", []),
    ("inline.txt", "inline", []),
    ("prodigy.jsonl", "prodigy", []),
    ("tokens.jsonl", "tokens", []),
    ("uie.jsonl", "uie", ["left out: annotations that are not entities (1)"]),
    ("csv.csv", "csv", []),
    ("tsv.tsv", "tsv", []),
]  # fmt: skip


def saved(folder, documents, format, notes=None):
    path = folder / f"corpus.{format}"
    write(documents, path, format, True, Notes() if notes is None else notes)
    return path


def bare(documents):
    return [Document(document.text, document.entities, document.answers) for document in documents]


# ---- golden files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "format", "noted"), FILES, ids=[row[0] for row in FILES])
def test_a_golden_file_is_detected_and_read(name, format, noted, tmp_path):
    notes = Notes()
    assert bare(read(GOLDEN / name, notes=notes)) == DOCUMENTS
    assert describe_notes(notes) == noted
    assert bare(read(GOLDEN / name, format)) == DOCUMENTS
    assert list(texts(GOLDEN / name)) == [document.text for document in DOCUMENTS]
    if format != "brat":
        content = (GOLDEN / name).read_bytes()
        for changed in (content, b"\xef\xbb\xbf" + content.removeprefix(b"\xef\xbb\xbf"), gzip.compress(content)):
            (tmp_path / "corpus").write_bytes(changed)
            assert bare(read(tmp_path / "corpus")) == DOCUMENTS
        crlf = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        (tmp_path / "corpus").write_bytes(crlf)
        assert bare(read(tmp_path / "corpus")) == DOCUMENTS


def test_a_golden_file_of_one_brat_pair_is_read():
    for name in ("a.txt", "a.ann"):
        assert list(read(GOLDEN / "brat" / name)) == DOCUMENTS[:1]


def test_the_golden_file_of_the_contest_is_read():
    first, second = read(GOLDEN / "contest.json")
    assert [first.text[start:end] for start, end, _ in first.entities] == ["北京大学", "北京大学"]
    assert second == Document("今天下雨。", (), ("上海",))


def test_the_golden_plain_file_is_read():
    assert list(read(GOLDEN / "plain.txt")) == [Document(document.text) for document in DOCUMENTS]


def test_scores_are_read_where_all_entities_have_one():
    first, second, third = read(GOLDEN / "labelstudio_predictions.json")
    assert (first.scores, second.scores, third.scores) == ((0.9, 0.7), (0.6, 0.6, 0.6), ())


@pytest.mark.parametrize("format", ["bilou", "doccano", "cluener", "inline", "prodigy", "tokens", "csv", "tsv"])
def test_what_is_written_is_the_golden_file(format):
    (name,) = [file.name for file in GOLDEN.iterdir() if re.match(format + r"\.", file.name)]
    assert "".join(formats.write(format, DOCUMENTS, Notes())) == (GOLDEN / name).read_text("utf-8")


# ---- round trips ------------------------------------------------------------------------------------------------

LABELS = st.sampled_from(["PER", "B-地点", "a}[]{\\#", "类"])


def documents(characters):
    """Return any documents whose texts are of such characters."""
    piece = st.tuples(characters.filter(bool), st.none() | LABELS)

    def laid_out(pieces):
        text, spans = "", []
        for part, label in pieces:
            if label:
                spans.append(Span(len(text), len(text) + len(part), label))
            text += part
        return labelled(text, spans)

    return st.lists(st.lists(piece, max_size=5).map(laid_out), min_size=1, max_size=4)


def is_paired(document):
    """Return whether the text has two surrogates that JSON cannot write apart."""
    return re.search("[\ud800-\udbff][\udc00-\udfff]", document.text) is not None


JSON_FORMATS = ("jsonl", "doccano", "labelstudio", "cluener")
WORDS = anything.map(lambda text: re.sub(r"[\s\ufeff\ud800-\udfff]", "", text))
LINES = anything.map(lambda text: re.sub(r"[\r\n\ufeff\ud800-\udfff]", "", text))
UNICODE = anything.map(lambda text: re.sub(r"[\ud800-\udfff]", "", text))


@pytest.mark.parametrize("format", [*JSON_FORMATS, "inline"])
@few
@given(documents(anything))
def test_any_document_survives(tmp_path_factory, format, some):
    assume(format == "inline" or not any(map(is_paired, some)))
    notes = Notes()
    path = saved(tmp_path_factory.mktemp("trip"), some, format, notes)
    assert list(read(path, format, notes)) == some
    assert describe_notes(notes) == []


@pytest.mark.parametrize("format", ["jsonl", "labelstudio"])
@few
@given(documents(anything), st.randoms(use_true_random=False))
def test_scores_survive(tmp_path_factory, format, some, random):
    assume(not any(map(is_paired, some)))
    rated = [labelled(d.text, d.entities, scores=[random.random() for _ in d.entities]) for d in some]
    notes = Notes()
    assert list(read(saved(tmp_path_factory.mktemp("trip"), rated, format, notes), format, notes)) == rated
    assert describe_notes(notes) == []


@pytest.mark.parametrize("format", COLUMNS)
@few
@given(documents(WORDS))
def test_what_columns_hold_survives(tmp_path_factory, format, some):
    assume(all(document.text for document in some))
    notes = Notes()
    assert list(read(saved(tmp_path_factory.mktemp("trip"), some, format, notes), format, notes)) == some
    assert describe_notes(notes) == []


@few
@given(documents(UNICODE))
def test_what_brat_holds_survives(tmp_path_factory, some):
    edges = [d.text[place] for d in some for start, end, _ in d.entities for place in (start, end - 1)]
    assume(not set(edges) & set("\r\n"))
    notes = Notes()
    folder = tmp_path_factory.mktemp("trip") / "brat"
    write(some, folder, "brat", False, notes)
    assert list(read(folder, "brat", notes)) == some
    assert describe_notes(notes) == []


@few
@given(st.lists(LINES))
def test_any_line_survives_as_plain_text(tmp_path_factory, some):
    notes = Notes()
    path = saved(tmp_path_factory.mktemp("trip"), map(Document, some), "plain", notes)
    assert [document.text for document in read(path, "plain")] == some
    assert describe_notes(notes) == []


@few
@example([("ab", ["b", "a"])])
@given(st.lists(st.tuples(st.text("ab ", max_size=12), st.lists(st.text("abc ", max_size=4), max_size=4))))
def test_any_answers_survive(tmp_path_factory, rows):
    some = [labelled(text, mark(text, answers), answers) for text, answers in rows]
    for format in ("contest", "jsonl"):
        notes = Notes()
        assert list(read(saved(tmp_path_factory.mktemp("trip"), some, format, notes), format)) == some
        assert describe_notes(notes) == []


@pytest.mark.parametrize("format", WRITABLE)
@few
@given(documents(anything))
def test_whatever_is_written_can_be_read_and_keeps_its_offsets(tmp_path_factory, format, some):
    """Nothing breaks a writer, and what it writes is well-formed, whatever it had to leave out."""
    notes = Notes()
    found = list(read(saved(tmp_path_factory.mktemp("trip"), some, format), format, notes))
    assert len(found) == len(
        [d for d in some if format not in (*COLUMNS, "conll") or d.text.replace("\ufeff", "").strip()]
    )
    assert not [note for note in describe_notes(notes) if note.startswith("repaired")]
    for document in found:
        assert all(0 <= start < end <= len(document.text) for start, end, _ in document.entities)


# ---- columns ----------------------------------------------------------------------------------------------------


def spans(path):
    (document,) = read(path, "bio", notes := Notes())
    return [(document.text[start:end], label) for start, end, label in document.entities], describe_notes(notes)


BEGAN, ENDED = "repaired: entities that nothing began (1)", "repaired: entities that nothing ended (1)"


@pytest.mark.parametrize(
    ("tags", "found", "noted"),
    [
        ("B-X I-X O", [("甲乙", "X")], []),
        ("B-X B-X O", [("甲", "X"), ("乙", "X")], []),
        ("B-X I-X I-X", [("甲乙丙", "X")], []),
        ("I-X I-X O", [("甲乙", "X")], [BEGAN]),
        ("B-X I-Y O", [("甲", "X"), ("乙", "Y")], [BEGAN]),
        ("S-X B-Y E-Y", [("甲", "X"), ("乙丙", "Y")], []),
        ("U-X B-Y L-Y", [("甲", "X"), ("乙丙", "Y")], []),
        ("B-X M-X E-X", [("甲乙丙", "X")], []),
        ("B-X M-X O", [("甲乙", "X")], [ENDED]),
        ("B-X S-X O", [("甲", "X"), ("乙", "X")], [ENDED]),
        ("O E-X O", [("乙", "X")], [BEGAN]),
        ("M-X E-X O", [("甲乙", "X")], [BEGAN]),
        ("B-X E-Y O", [("甲", "X"), ("乙", "Y")], [BEGAN, ENDED]),
        ("B_X I_X O", [("甲乙", "X")], []),
        ("B-X-Y I-X-Y O", [("甲乙", "X-Y")], []),
    ],
)
def test_tags_of_every_scheme_are_read_and_ill_formed_ones_repaired(tmp_path, tags, found, noted):
    path = tmp_path / "a.conll"
    path.write_text("".join(f"{token}\t{tag}\n" for token, tag in zip("甲乙丙", tags.split(), strict=True)), "utf-8")
    assert spans(path) == (found, noted)


@pytest.mark.parametrize(
    ("content", "text", "found"),
    [
        ("EU\tB-ORG\nrejects\tO\nGerman\tB-MISC\ncall\tO\n.\tO\n", "EU rejects German call.", ["EU", "German"]),
        ("New B-LOC\nYork I-LOC\n市 I-LOC\n", "New York市", ["New York市"]),
        ("2\tB-T\n0\tI-T\n年\tI-T\n", "20年", ["20年"]),
        ("#\tB-X\n \tI-X\n#\tI-X\n", "# #", ["# #"]),
        ("好 O\n  O\n\u3000 B-X\n", "好 \u3000", ["\u3000"]),
        ("好\tO\n\tO\n吗\tO\t\n", "好 吗", []),
        ("# 注\n好 O\n#注释\n吗 O\n", "好吗", []),
    ],
)
def test_tokens_are_joined(tmp_path, content, text, found):
    (tmp_path / "a.conll").write_text(content, "utf-8")
    (document,) = read(tmp_path / "a.conll")
    assert document.text == text
    assert [text[start:end] for start, end, _ in document.entities] == found


# ---- what is malformed ------------------------------------------------------------------------------------------


def task(**value):
    result = {"type": "labels", "value": {"start": 0, "end": 2, "text": "李明", "labels": ["PER"]} | value}
    return json.dumps([{"data": {"text": "李明在"}, "annotations": [{"result": [result]}]}], ensure_ascii=False)


RANGE = "an entity with 0 <= start < end <= 3 and a label"
MALFORMED = [
    ("jsonl", '{"text": "好"}\n{"text": "李明在", "entities": [{"start": 0, "end": 4, "label": "PER"}]}', 2, RANGE),
    ("jsonl", '[{"text": "李明在", "entities": [{"start": 0, "end": 4, "label": "PER"}]}]', "1 (item 1)", RANGE),
    ("bio", "李\tB-PER\n明\n", 2, "a token and a tag such as O, B-PER, I-PER"),
    ("bio", "李\tB-PER\n明\tI-PER\n在\tX-PER\n", 3, "a token and a tag"),
    ("bioes", "李\tB-PER\n明\tE-\n在\tO\n", 2, "a token and a tag"),
    ("bmes", "李 B-PER\n明 E-PER\n在 B\n", 3, "a token and a tag"),
    ("bilou", "李 B-PER\n\tL-PER\n-\n", 3, "a token and a tag"),
    ("doccano", '{"text": "好", "label": []}\n{"text": "李明在", "label": [[0, 4, "PER"]]}', 2, RANGE),
    ("doccano", '{"text": "李明在", "label": ["好"]}', 1, '"label" with entities [start, end, label], received'),
    ("doccano", '{"text": "李明在", "label": 5}', 1, '"label" with a list'),
    ("doccano", '{"text": "李明在", "labels": [[0, 2, ""]]}', 1, RANGE),
    ("doccano", '{"text": "李明在", "relations": [], "entities": [{"start_offset": 2, "end_offset": 2}]}', 1, RANGE),
    ("doccano", '{"data": 5, "label": []}', 1, '"data" with a string'),
    ("cluener", '{"text": "李明在", "label": {"PER": {"李明": [[0, 2]]}}}', 1, "'李明' at [0, 2], the last one in"),
    ("cluener", '{"text": "李明在", "label": {"PER": {"李明": [[0, 3]]}}}', 1, RANGE),
    ("cluener", '{"text": "李明在", "label": {"PER": {"李明": [0, 1]}}}', 1, '"label" with {label: {mention: [[start'),
    ("cluener", '{"text": "李明在", "label": {"PER": [[0, 1]]}}', 1, '"label" with {label'),
    ("cluener", '{"text": "李明在", "label": {"PER": {"李明": [["0", 1]]}}}', 1, RANGE),
    ("labelstudio", task(end=4), "1 (item 1)", "'李明' at 0 to 4"),
    ("labelstudio", task(start=-1, end=1), "1 (item 1)", "'李明' at -1 to 1"),
    ("labelstudio", task(start="0"), "1 (item 1)", RANGE),
    ("labelstudio", task(labels="PER"), "1 (item 1)", RANGE),
    ("labelstudio", '[{"data": {"a": "好", "b": "好"}}]', "1 (item 1)", 'a task whose "data" has a "text"'),
    ("labelstudio", '[{"data": {"text": "好"}, "annotations": 5}]', "1 (item 1)", '"annotations" with a list'),
    ("labelstudio", '[{"data": {"text": "好"}, "annotations": [5]}]', "1 (item 1)", 'a result with a "value"'),
    ("labelstudio", '[{"data": {"text": "好"}, "annotations": [{}]}]', "1 (item 1)", '"result" with a list'),
    ("labelstudio", '[{"data": {"text": "好"}},\n {"data": {"text": "好"}]', "2 (item 2)", "a JSON object"),
    ("labelstudio", '[{"data": {"text": "好"}},\n{"data": {"text"', "2 (item 2)", "a JSON object"),
    ("labelstudio", '[{"data": {"text": "好"}}\n\n', 1, "a JSON array that ends in ]"),
    ("labelstudio", '[{"data": {"text": "好"}}\n{"data"', 2, ", or ] in a JSON array"),
    ("labelstudio", '[{"data": {"text": "好"}},\n5]', "2 (item 2)", "a JSON object"),
    ("labelstudio", '[{"data": {"text": "好"}}]\n[', 2, "nothing more in a JSON array"),
    ("contest", '{"content": "好", "core_entity": 5}', 1, '"core_entity" with a list of strings'),
    ("inline", "[李明]{PER}在\n[北京{LOC}", "2:1", r"[mention]{LABEL}, or \[ \] \\ for the character itself"),
    ("inline", "[李明]{PER}在[北京] {LOC}", "1:11", "[mention]{LABEL}"),
    ("inline", "[李明]{PER} [[北京]{LOC}]{LOC}", "1:11", "[mention]{LABEL}"),
    ("inline", "[李明]{PER}\\", "1:10", "[mention]{LABEL}"),
    ("inline", "[李明]{PER}\\q", "1:10", r"one of \[ \] \{ \} \\ \n \r \uXXXX"),
    ("inline", "[李明]{P ER}", "1:1", "[mention]{LABEL}"),
    ("inline", r"[李明]{P\nER}", "1:1", "a label without spaces"),
    ("plain", b"\xc0\xee\xc3\xf7", 1, "UTF-8"),
    ("bio", "李\tB-PER\n".encode() + b"\xc0\xee\tO\n", 2, "UTF-8"),
    ("labelstudio", b'[{"data":\n{"text": "' + b"\xc0\xee", 2, "UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "content", "place", "expected"), MALFORMED)
def test_what_is_malformed_is_reported_with_its_place(tmp_path, format, content, place, expected):
    path = tmp_path / "corpus"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with pytest.raises(CorpusError) as caught:
        list(read(path, format))
    check_message(caught, f"{path}:{place}", expected)


def check_message(caught, place, expected):
    message = str(caught.value)
    assert message.startswith(f"{place}: expected {expected}")
    assert ", received " in message
    assert "; " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("T1\tPER 0 9\t李明", "an entity with 0 <= start < end <= 3"),
        ("T1\tPER 1 1\t", "an entity with"),
        ("T1\tPER 0 2\t明在", "'李明', the text at these offsets"),
        (f"T1\tPER 0 {'9' * 5000}\t李明", "an annotation such as"),
        ("T1 PER 0 2 李明", 'an annotation such as "T1 TAB PER 0 2 TAB mention"'),
        ("T1\tPER\t李明", "an annotation such as"),
        ("X1\tPER 0 2\t李明", "an annotation such as"),
        (b"\xc0\xee", "UTF-8"),
    ],
)
def test_a_malformed_annotation_of_brat_is_reported_with_its_place(tmp_path, line, expected):
    (tmp_path / "a.txt").write_text("李明在", "utf-8")
    line = line if isinstance(line, bytes) else line.encode("utf-8")
    (tmp_path / "a.ann").write_bytes("T5\tPER 0 2\t李明\n".encode() + line + b"\n")
    with pytest.raises(CorpusError) as caught:
        list(read(tmp_path))
    check_message(caught, f"{tmp_path / 'a.ann'}:2", expected)


def test_an_annotation_file_without_its_text_is_reported(tmp_path):
    (tmp_path / "a.ann").write_text("", "utf-8")
    with pytest.raises(CorpusError) as caught:
        list(read(tmp_path))
    check_message(caught, tmp_path / "a.txt", "a readable file")


def test_a_format_that_does_not_exist_is_reported():
    with pytest.raises(ConfigError, match="no format 'xml'; one of: jsonl, "):
        list(read(GOLDEN / "native.jsonl", "xml"))


# ---- which format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.txt", "", "plain"),
        ("a.jsonl", "", "jsonl"),
        ("a.conll", "", "bio"),
        ("a.txt", "北京\n上海\n", "plain"),
        ("a.txt", "维生素 B\n北京 O2\n", "plain"),
        ("a.txt", "甲 O\n乙\n丙\n", "plain"),
        ("a.txt", "见[1]和{2}\n", "plain"),
        ("a.txt", "{笑}\n", "plain"),
        ("a.txt", "[北京\n", "plain"),
        ("a.txt", "无\n在[北京]{LOC}\n", "inline"),
        ("a.txt", "甲 O\n乙 B-X\n", "bio"),
        ("a.conll", "甲\n", "bio"),
        ("a.json", "北京", "jsonl"),
        ("a.txt", '{"text": "好"}', "jsonl"),
        ("a.txt", '{"text": "好"', "jsonl"),
        ("a.txt", '{"id": 1, "text": "好"}\n{"text": "好", "label": {}}', "cluener"),
        ("a.txt", '{"text": "好", "entities": []}\n{"text": "好", "entities": [{"start": 0}]}', "jsonl"),
        ("a.txt", '{"text": "好", "entities": [[0, 1, "X"]]}', "doccano"),
        ("a.txt", '{"text": "好", "annotations": []}', "doccano"),
        ("a.txt", '[{"text": "好", "label": []}]', "doccano"),
        ("a.txt", '{"content": "好"}', "contest"),
        ("a.txt", '{"text": "好"}\n{"content": "好"}', "jsonl"),
        ("a.txt", '{"data": {"text": "好"}}', "labelstudio"),
        ("a.txt", " \n[ {\n", "jsonl"),
        ("a.json", '[{"id": 1, "data": {"text": "' + "长" * 400_000 + '"}}]', "labelstudio"),
    ],
)
def test_the_format_is_detected_from_the_content_then_from_the_name(tmp_path, name, content, format):
    from tagger.files import open_source

    (tmp_path / name).write_text(content, "utf-8")
    with open_source(tmp_path / name) as source:
        assert formats.detect(source) == format


def test_text_beside_no_annotation_is_plain(tmp_path):
    (tmp_path / "a.txt").write_text("甲\n乙\n", "utf-8")
    assert [document.text for document in read(tmp_path / "a.txt")] == ["甲", "乙"]
    (tmp_path / "a.ann").write_text("", "utf-8")
    assert [document.text for document in read(tmp_path / "a.txt")] == ["甲\n乙\n"]


# ---- what is lost or repaired -----------------------------------------------------------------------------------


@few
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5), st.sampled_from("AB")), max_size=12))
def test_of_overlapping_entities_the_longest_stay(rows):
    given = [Span(start, start + length, label) for start, length, label in rows]
    kept = without_overlaps(given, notes := Notes())
    assert len(kept) + sum(notes.values()) == len(given)
    assert kept == sorted(kept)
    for span in given:
        over = [other for other in kept if other.start < span.end and span.start < other.end]
        assert span in kept or max(other.end - other.start for other in over) >= span.end - span.start
        assert span not in kept or over == [span]


ANSWER = Document("无 \u3000", (Span(0, 1, "X"),), ("无", "石头记"), (0.5,))
OPEN = Document("无名", (), (), (), ((0, 2),))


@pytest.mark.parametrize(
    ("format", "noted"),
    [
        ("jsonl", []),
        ("labelstudio", ["lost: answers that are no entity (1)"]),
        ("doccano", ["lost: answers that are no entity (1)", "lost: scores (1)"]),
        ("contest", ["lost: labels (1)", "lost: scores (1)"]),
        ("bio", ["lost: answers that are no entity (1)", "lost: scores (1)", "lost: white-space characters (2)"]),
        ("plain", ["lost: answers that are no entity (1)", "lost: entities (1)", "lost: scores (1)"]),
    ],
)
def test_what_a_format_cannot_hold_is_noted(format, noted):
    notes = Notes()
    list(formats.write(format, [ANSWER], notes))
    assert describe_notes(notes) == noted


@pytest.mark.parametrize("format", [format for format in WRITABLE if format != "brat"])
def test_what_is_not_annotated_is_kept_where_the_format_can_and_noted_in_others(format, tmp_path):
    notes = Notes()
    (found,) = read(saved(tmp_path, [OPEN], format, notes), format)
    row = formats.FORMATS[format]
    assert (found == OPEN) == bool(row.unlabelled)
    lost = [] if row.unlabelled else ["lost: stretches that are not labelled (1)"]
    assert [note for note in describe_notes(notes) if note.startswith("lost")] == lost


@pytest.mark.parametrize(
    ("format", "document", "written", "noted"),
    [
        ("bio", Document("\n \ufeff"), "\n", ["lost: blank texts (1)", "lost: white-space characters (3)"]),
        ("bio", Document("a b", (Span(0, 3, "X"),)), "a\tB-X\nb\tI-X\n\n", ["lost: white-space characters (1)"]),
        ("bioes", Document("好 ", (Span(0, 2, "X"),)), "好\tS-X\n\n", ["lost: white-space characters (1)"]),
        ("bilou", Document("好 ", (Span(1, 2, "X"),)), "好\tO\n\n",
         ["lost: entities of white space (1)", "lost: white-space characters (1)"]),
        ("bio", Document("\ud800"), "\ufffd\tO\n\n", ["changed: lone surrogates, now U+FFFD (1)"]),
        ("plain", Document("a\r\nb"), "a  b\n", ["changed: line ends and byte order marks, now spaces (2)"]),
        ("contest", Document("红楼红楼", (Span(0, 2, "CORE"),), ("红楼",)),
         '{"content": "红楼红楼", "core_entity": ["红楼"]}\n',
         ["changed: other occurrences of an entity's string, now entities too (1)"]),
    ],
)  # fmt: skip
def test_what_is_written_instead(format, document, written, noted):
    notes = Notes()
    assert "".join(formats.write(format, [document], notes)) == written
    assert [note for note in describe_notes(notes) if "answers" not in note] == noted


def test_entities_of_brat_across_lines(tmp_path):
    document = labelled("新\n北京\n", [Span(0, 3, "LOC"), Span(3, 5, "X")])
    notes = Notes()
    made = dict(formats.write("brat", [document, Document("\n\n", (Span(0, 1, "X"),))], notes))
    assert made["00000001.ann"] == "T1\tLOC 0 1;2 3\t新 北\nT2\tX 3 4\t京\n"
    assert describe_notes(notes) == [
        "changed: entities that began or ended with a line end, now without it (1)",
        "lost: entities of white space (1)",
    ]
    (tmp_path / "a.txt").write_text("甲乙 丙丁", "utf-8")
    (tmp_path / "a.ann").write_text("T1\tX 0 1;3 4\t甲 丙\nT2\tX 1 2;3 4\t乙 丙\n\nT3\tX 4 5\n", "utf-8")
    (found,) = read(tmp_path, notes=(notes := Notes()))
    assert (found.entities, describe_notes(notes)) == (
        (Span(1, 4, "X"), Span(4, 5, "X")),
        ["lost: entities in fragments (1)"],
    )


def test_offsets_of_label_studio_in_utf_16_are_repaired(tmp_path):
    text = "😀在北京\n市"
    values = [{"start": 3, "end": 7, "text": "北京\\n市", "labels": ["LOC"]},
              {"start": 0, "end": 1, "text": "😀", "labels": ["表 情", "X"]}]  # fmt: skip
    rows = [{"data": {"text": text}, "completions": [{"result": [{"value": value} for value in values]}]}]
    (tmp_path / "a.json").write_text(json.dumps(rows), "utf-8")
    (document,) = read(tmp_path / "a.json", notes=(notes := Notes()))
    assert document.entities == (Span(0, 1, "表_情"), Span(2, 6, "LOC"))
    assert describe_notes(notes) == [
        "lost: further labels of an entity (1)", "repaired: labels with white space, written with _ (1)",
        "repaired: offsets counted in UTF-16 (1)",
    ]  # fmt: skip


def test_what_is_hidden_in_hypertext_is_lost(tmp_path):
    row = {"data": {"html": "<b>好</b>"}, "annotations": [{"result": [{"value": {"hypertextlabels": ["X"]}}]}]}
    (tmp_path / "a.json").write_text(json.dumps([row]), "utf-8")
    assert next(read(tmp_path / "a.json", notes=(notes := Notes()))).entities == ()
    assert describe_notes(notes) == ["lost: entities of hypertext (1)"]


def test_labels_that_are_numbers_are_read(tmp_path):
    row = {"text": "李明", "annotations": [{"label": 7, "start_offset": 0, "end_offset": 2, "user": 1}]}
    (tmp_path / "a.json").write_text(json.dumps(row), "utf-8")
    assert next(read(tmp_path / "a.json")).entities == (Span(0, 2, "7"),)


def test_what_was_left_out_may_be_omitted():
    notes = Notes({"left out: a": 3, "lost: b": 2, "repaired: c": 0})
    assert describe_notes(notes) == ["left out: a (3)", "lost: b (2)"]
    assert describe_notes(notes, left_out=False) == ["lost: b (2)"]


def test_the_files_of_a_corpus(tmp_path):
    assert files(GOLDEN / "bio.conll") == [GOLDEN / "bio.conll"]
    names = ["a.txt", "a.ann", "more/b.txt", "more/b.ann", "more/c.txt"]
    assert files(GOLDEN / "brat") == [GOLDEN / "brat" / name for name in names]
    assert files(tmp_path) == files(tmp_path / "none") == []


# ---- converting -------------------------------------------------------------------------------------------------


def test_every_format_becomes_every_other(tmp_path):
    for source in WRITABLE:
        made = saved(tmp_path, DOCUMENTS, source)
        if source in ("plain", "contest"):
            continue
        for target in WRITABLE:
            out = tmp_path / "out" / target
            out.parent.mkdir(exist_ok=True)
            assert write(read(made, source), out, target, True, Notes()) == (3, 5)
            if target not in ("plain", "contest"):
                assert list(read(out, target)) == DOCUMENTS


def test_a_file_is_whole_or_not_there(tmp_path):
    def failing():
        yield DOCUMENTS[0]
        raise CorpusError("a:2", "more", "this", "try again")

    for format in WRITABLE:
        with pytest.raises(CorpusError):
            write(failing(), tmp_path / "out", format, False, Notes())
        assert list(tmp_path.iterdir()) == []


def test_what_exists_is_replaced_only_if_asked(tmp_path):
    for format in ("bio", "brat"):
        out = tmp_path / format
        write(DOCUMENTS[:1], out, format, False, Notes())
        with pytest.raises(OutputError, match="exists already"):
            write(DOCUMENTS, out, format, False, Notes())
        assert len(list(read(out, format))) == 1
        write(DOCUMENTS, out, format, True, Notes())
        assert len(list(read(out, format))) == 3


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    """So does a device: to replace /dev/null by a file would hurt the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(pipe.read_text, "utf-8")
        write(DOCUMENTS, pipe, "plain", True, Notes())
        assert found.result(60) == (GOLDEN / "plain.txt").read_text("utf-8")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_name_that_ends_in_gz_is_zipped(tmp_path):
    write(DOCUMENTS, tmp_path / "a.bioes.gz", "bioes", False, Notes())
    assert gzip.decompress((tmp_path / "a.bioes.gz").read_bytes()).startswith("李\tB-PER\n明\tE-PER\n".encode())
    assert list(read(tmp_path / "a.bioes.gz")) == DOCUMENTS


@pytest.mark.parametrize(("format", "copies"), [("labelstudio", 8_000), ("jsonl", 8_000), ("bio", 1_000)])
def test_memory_does_not_depend_on_the_size(tmp_path, format, copies):
    """A file of some megabytes, for an array all on one line, is read and written with little of it in memory."""
    long = Document(DOCUMENTS[0].text * 30, DOCUMENTS[0].entities)
    path = saved(tmp_path, (long for _ in range(copies)), format)
    if format == "labelstudio":
        path.write_text(path.read_text("utf-8").replace("\n", ""), "utf-8")
    assert path.stat().st_size > 1_700_000
    tracemalloc.start()
    assert write(read(path), tmp_path / "out", "plain", True, Notes())[0] == copies
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_300_000


def test_a_record_larger_than_what_is_looked_at_is_read(tmp_path):
    rows = [{"data": {"text": text}} for text in ("好" * 50, "长" * 600_000, "短")]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    assert [len(text) for text in texts(tmp_path / "a.json")] == [50, 600_000, 1]


def test_data_beside_a_text_is_no_task(tmp_path):
    path = tmp_path / "corpus.jsonl"
    record = {"text": "北京很大", "entities": [{"start": 0, "end": 2, "label": "LOC"}], "data": {"source": "web"}}
    path.write_text(json.dumps(record) + "\n", "utf-8")
    (document,) = read(path)
    assert (document.text, document.entities) == ("北京很大", (Span(0, 2, "LOC"),))
    assert document.extra == {"data": {"source": "web"}}


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "body,text,text_,id\n北京,标题,x,1\n"), ("a.jsonl", '{"body": "北京", "text": "标题", "text_": "x"}\n')],
)
def test_what_stands_under_text_where_another_column_is_the_text_is_kept(tmp_path, name, content):
    (tmp_path / name).write_text(content, "utf-8")
    with reading.read_as([str(tmp_path / name)], "", "body"):
        (document,) = read(tmp_path / name)
    assert document.text == "北京"
    assert (document.extra["text__"], document.extra["text_"]) == ("标题", "x")


@pytest.mark.skipif(not find_spec("pyarrow"), reason="needs pyarrow")
def test_whatever_further_keys_hold_can_be_written_as_parquet(tmp_path):
    values = [1.5, 2**60 + 1, 10**400, 3, float("nan"), -(2**53)]
    documents = [Document("字", extra={"mixed": value, "large": 10**20, "odd": "a\ud800"}) for value in values]
    write(documents, tmp_path / "a.parquet", "parquet", False, Notes())
    extras = [document.extra for document in read(tmp_path / "a.parquet")]
    assert [extra.get("mixed") for extra in extras][:4] == [1.5, None, None, 3.0]
    assert {(extra["large"], extra["odd"]) for extra in extras} == {(str(10**20), "a\ufffd")}


def test_what_is_no_entity_of_inline_is_told_soon(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("[a]{b" * 200_000, "utf-8")
    assert len(list(texts(path))) == 1
