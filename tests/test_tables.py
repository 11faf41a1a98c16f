"""CSV, TSV and Parquet: tables with texts, entities as JSON, and further columns."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import formats
from tagger.corpus import describe_notes, read, texts, write
from tagger.documents import Document, Notes, Span, labelled
from tagger.errors import CorpusError, MissingExtraError
from tagger.files import reading
from tests.conftest import ROOT
from tests.samples import anything, few

TABLES = ["csv", "tsv", pytest.param("parquet", marks=pytest.mark.parquet)]
ENTITY = {"start": 0, "end": 2, "label": "PER"}


@pytest.fixture(autouse=True)
def _parquet(request):
    if request.node.get_closest_marker("parquet"):
        pytest.importorskip("pyarrow")


def saved(tmp_path, content, name="a.csv"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return tmp_path / name


def test_a_table_with_entities_is_read(tmp_path):
    cell = json.dumps([ENTITY]).replace('"', '""')
    heading = b"\xef\xbb\xbf" + "编号,text,entities\r\n".encode()  # as Excel writes it
    path = saved(tmp_path, heading + f'a,王芳在,"{cell}"\r\nb,"引""号，\r\n换行,逗号",\r\n,,[]\r\n'.encode())
    documents = list(read(path, notes=(notes := Notes())))
    assert documents == [labelled("王芳在", [Span(0, 2, "PER")]), Document('引"号，\r\n换行,逗号'), Document("")]
    assert [document.extra for document in documents] == [{"编号": "a"}, {"编号": "b"}, {"编号": ""}]
    assert [document.place for document in documents] == [f"{path}:{line}" for line in (2, 3, 5)]
    assert list(texts(path)) == [document.text for document in documents]
    assert (notes.format, describe_notes(notes)) == ("csv", [])


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.txt", "text,id\n好,1\n", "csv"),
        ("a.txt", "id\ttext\n1\t好\n", "tsv"),
        ("a.csv", "text\n好\n", "csv"),
        ("a.csv.gz", "text\n好\n", "csv"),
        ("a.tsv", "王\tB-PER\n芳\tI-PER\n", "bio"),
        ("a.csv", "王,B-PER\n芳,I-PER\n", "bio"),
        ("a.txt", "text\n好\n", "plain"),
    ],
)
def test_a_table_is_known_by_its_heading_or_name(tmp_path, name, content, format):
    list(read(saved(tmp_path, content, name), notes=(notes := Notes())))
    assert notes.format == format


MALFORMED = [
    ("评论,id\n好,1\n", ":1", 'a heading with the column "text", received 评论, id; name it with --column'),
    ("text,text\n好,1\n", ":1", "a heading of different names"),
    ("text,id\n好,1\n好\n", ":3", "2 columns, as the heading has, received 1"),
    ('text,id\n"好"坏,1\n', ":2", "a row of the table"),
    ('text,id\n好,1\n"没有完\n1\n2\n', ":3", "a row of the table"),
    ('text,entities\n好,"[{"\n', ":2", 'JSON in the column "entities"'),
    (
        'id,text,entities\n7,好,"[{""start"": 0, ""end"": 2, ""label"": ""X""}]"\n',
        ":2 (id 7)",
        "an entity with 0 <= start",
    ),
    ("text,entities\n好,X\n", ":2", '"entities" with a list'),
    ("text\tstart\tend\tlabel\tscore\tentity\n1\t0\t2\tPER\t0.9\t王芳\n", ":1", 'a heading with the column "text"'),
]


@pytest.mark.parametrize(("content", "place", "expected"), MALFORMED)
def test_a_malformed_table_is_reported(tmp_path, content, place, expected):
    path = saved(tmp_path, content, "a.tsv" if "\t" in content else "a.csv")
    with pytest.raises(CorpusError) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}{place}: expected {expected}")


def test_entities_of_label_studio_in_a_table_are_read(tmp_path):
    cell = json.dumps([{"start": 0, "end": 2, "text": "王芳", "labels": ["PER"]}], ensure_ascii=False)
    path = saved(tmp_path, 'text,id,label\n王芳在,3,"' + cell.replace('"', '""') + '"\n')
    (document,) = read(path)
    assert (document.entities, document.extra) == ((Span(0, 2, "PER"),), {"id": "3"})


plain = anything.map(lambda text: re.sub("[\ud800-\udfff]", "", text))
documents = st.lists(
    st.tuples(plain, st.integers(0, 3), st.dictionaries(st.sampled_from(["id", "b,c", 'd"e']), plain, max_size=2)),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.mark.parametrize("format", TABLES)
@few
@given(documents)
def test_any_document_survives_in_a_table(tmp_path_factory, format, rows):
    given = [
        labelled(text, [Span(0, min(size, len(text)), "类")], scores=[0.5], extra=extra)
        if size and text
        else Document(text, extra=extra)
        for text, size, extra in rows
    ]
    keys = {key for document in given for key in document.extra}
    path = tmp_path_factory.mktemp("table") / f"a.{format}"
    write(given, path, format, False, notes := Notes())
    found = list(read(path))
    assert found == given
    blank = None if format == "parquet" else ""
    assert [document.extra for document in found] == [{key: d.extra.get(key, blank) for key in document.extra}
                                                      for d, document in zip(given, found, strict=True)]  # fmt: skip
    assert all(set(document.extra) == keys for document in found)
    assert describe_notes(notes) == []


@pytest.mark.parametrize("format", TABLES)
def test_what_else_a_record_holds_becomes_columns(tmp_path, format):
    rows = [{"text": "好", "id": 1, "meta": {"a": [1]}, "name": "x"}, {"text": "坏", "id": 2, "name": None}]
    source = saved(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")
    write(read(source), tmp_path / f"b.{format}", format, False, Notes())
    first, second = (document.extra for document in read(tmp_path / f"b.{format}"))
    if format == "parquet":
        assert (first, second) == ({"id": 1, "meta": '{"a": [1]}', "name": "x"}, {"id": 2, "meta": None, "name": None})
    else:
        assert (first, second) == ({"id": "1", "meta": '{"a": [1]}', "name": "x"}, {"id": "2", "meta": "", "name": ""})


@pytest.mark.parametrize("format", TABLES)
def test_keys_that_come_late_are_noted(tmp_path, format):
    rows = [Document("好") for _ in range(1000)] + [Document("坏", extra={"id": 1})]
    write(rows, tmp_path / f"a.{format}", format, False, notes := Notes())
    assert describe_notes(notes) == ["lost: keys that none of the first records has (1)"]
    assert len(list(read(tmp_path / f"a.{format}"))) == 1001


@pytest.mark.parquet
def test_a_parquet_file_of_another_program_is_read(tmp_path):
    import datetime

    import pyarrow as arrow
    from pyarrow import parquet

    rows = {"评论": ["王芳在", None], "entities": [[ENTITY], None], "day": [datetime.date(2020, 2, 3)] * 2}
    parquet.write_table(arrow.table(rows), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r'a\.parquet: expected a column "text", received 评论, entities, day'):
        list(read(tmp_path / "a.parquet"))
    with reading.read_as([tmp_path / "a.parquet"], column="评论"):
        first, second = read(tmp_path / "a.parquet")
        assert list(texts(tmp_path / "a.parquet")) == ["王芳在", ""]
    assert (first.entities, first.place) == ((Span(0, 2, "PER"),), f"{tmp_path / 'a.parquet'} (row 1)")
    assert (second, second.extra) == (Document(""), {"day": datetime.date(2020, 2, 3)})
    assert json.loads("".join(formats.write("jsonl", [second], Notes())))["day"] == "2020-02-03"


@pytest.mark.parquet
def test_numbers_of_a_data_set_are_refused_by_name(tmp_path):
    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.table({"tokens": [["王"]], "ner_tags": [[1]], "text": ["王"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match='tags such as "B-PER", received numbers'):
        list(read(tmp_path / "a.parquet"))


@pytest.mark.parquet
def test_a_damaged_parquet_file_is_reported(tmp_path):
    write([Document("好")] * 50, tmp_path / "a.parquet", "parquet", False, Notes())
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorpusError, match=r"a\.parquet: expected a whole Parquet file"):
        list(read(tmp_path / "a.parquet"))
    with pytest.raises(CorpusError, match=r"none\.parquet: expected a readable file"):
        list(read(tmp_path / "none.parquet"))


def test_parquet_without_its_extra_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hantagger\[parquet\]'"):
        write([Document("好")], tmp_path / "a.parquet", "parquet", False, Notes())
    assert list(tmp_path.iterdir()) == []
    code = "import tagger.formats, tagger.corpus, sys; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
