"""Encodings, columns and archives: how files are read that are not UTF-8 text of their own."""

import codecs
import gzip
import io
import json
import zipfile

import pytest

from tagger.cli import main
from tagger.corpus import files, read, texts
from tagger.documents import Notes
from tagger.errors import ConfigError, CorpusError
from tagger.files import read_text, reading

TEXT = "王芳在上海教书，李明在北京读书。"
COLUMNS = "".join(f"{token}\t{tag}\n" for token, tag in zip("王芳在", ("B-PER", "I-PER", "O"), strict=True))


def spans(path, format=""):
    return [[(d.text[start:end], label) for start, end, label in d.entities] for d in read(path, format)]


# ---- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF8, "utf-8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["file", "gz"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, mark, encoding, pack):
    path = tmp_path / "a"
    path.write_bytes(pack(mark + COLUMNS.replace("\n", "\r\n").encode(encoding)))
    assert spans(path) == [[("王芳", "PER")]]
    path.write_bytes(pack(mark + json.dumps([{"text": TEXT}, {"text": "好"}]).encode(encoding)))
    assert list(texts(path)) == [TEXT, "好"]


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "GB2312", "big5", "utf-16-le", "euc-jp"])
def test_the_encoding_that_is_given_counts(tmp_path, encoding):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    text = "王芳在上海，李明在北京。\n" * 20_000
    path.write_bytes(text.encode(encoding))
    other.write_text(text, "utf-8")
    with reading.read_as([path], encoding):
        assert [document.text for document in read(path)] == text.splitlines()
        assert read_text(path) == text
        assert len(list(read(other))) == 20_000  # a file that was not named is UTF-8
    assert reading.of(path).encoding == ""


def test_a_folder_is_named_with_its_files(tmp_path):
    for name, content in (("a.txt", "王芳在"), ("a.ann", "T1\tPER 0 2\t王芳\n")):
        (tmp_path / name).write_bytes(content.encode("gbk"))
    with reading.read_as([tmp_path], "gbk"):
        assert spans(tmp_path) == [[("王芳", "PER")]]


@pytest.mark.parametrize("name", ["latin-99", "rot13", "zip", "undefined", "a b\0"])
def test_what_is_no_encoding_is_refused(name):
    with pytest.raises(ConfigError, match="is no encoding"), reading.read_as([], name):
        pass


@pytest.mark.parametrize(("encoding", "shown"), [("gb18030", "GB18030"), ("gbk", "GB18030"), ("big5", "Big5")])
@pytest.mark.parametrize("content", [COLUMNS, json.dumps([{"text": TEXT}], ensure_ascii=False), f"好\n{TEXT}\n"])
def test_what_is_not_utf_8_is_recognised(tmp_path, encoding, shown, content):
    content = content.translate({ord("书"): "書", ord("读"): "讀"}) if encoding == "big5" else content
    (tmp_path / "a").write_bytes(content.encode(encoding))
    remedy = f"it reads as {shown}: give --encoding {shown.lower()}, or"
    with pytest.raises(CorpusError, match=rf"a:\d: expected UTF-8, .*; {remedy}"):
        list(read(tmp_path / "a"))


def test_other_bytes_are_not_guessed(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\x00\x81" * 20)
    with pytest.raises(CorpusError, match="not a text file, or in UTF-16"):
        list(read(tmp_path / "a"))
    (tmp_path / "a").write_bytes(b"caf\xe9\n")
    with pytest.raises(CorpusError, match="give its --encoding, or convert it to UTF-8"):
        list(read(tmp_path / "a"))


def test_bytes_that_are_not_in_the_encoding_are_reported(tmp_path):
    (tmp_path / "a").write_bytes("好\n".encode("gbk") + b"\xff\xff\n")
    with reading.read_as([tmp_path / "a"], "gbk"), pytest.raises(CorpusError, match=r"a: expected gb18030, received b"):
        list(read(tmp_path / "a"))


def test_the_command_takes_encoding_and_column(tmp_path, capfd):
    (tmp_path / "a.csv").write_bytes("编号,评论\n7,王芳在\n".encode("gbk"))
    source, out = str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl")
    assert main(["convert", source, out, "--encoding", "gbk", "--column", "评论"]) == 0
    assert json.loads((tmp_path / "b.jsonl").read_text("utf-8")) == {"text": "王芳在", "entities": [], "编号": "7"}
    assert f"{source}: read as csv\n" in capfd.readouterr().err
    assert main(["convert", source, "-", "--to", "plain", "--encoding", "klingon"]) == 2
    assert main(["convert", source, "-", "--to", "plain", "--encoding", "gbk"]) == 1
    assert 'a heading with the column "text", received 编号, 评论; name it with --column' in capfd.readouterr().err


def test_a_column_is_a_key_of_records(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "review": "好"}\n{"text": "不"}\n', "utf-8")
    with reading.read_as([tmp_path / "a.jsonl"], column="review"):
        documents = read(tmp_path / "a.jsonl")
        first = next(documents)
        assert (first.text, first.extra) == ("好", {"id": 1})
        with pytest.raises(CorpusError, match=r'a\.jsonl:2: expected the key "review", received text'):
            next(documents)


# ---- archives -------------------------------------------------------------------------------------------------------


def zipped(path, *members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


NATIVE = '{"text": "王芳在", "entities": [{"start": 0, "end": 2, "label": "PER"}]}\n'


def test_the_one_file_in_a_zip_is_read(tmp_path):
    path = zipped(
        tmp_path / "a.zip", ("__MACOSX/._all.jsonl", b"\0"), ("out/", ""), ("out/all.jsonl", NATIVE), (".x", "")
    )
    (document,) = read(path, notes=(notes := Notes()))
    assert (document.text, document.place, notes.format) == ("王芳在", f"{path}/out/all.jsonl:1", "jsonl")
    assert list(texts(path)) == ["王芳在"]
    assert spans(zipped(tmp_path / "b", ("a.conll", COLUMNS))) == [[("王芳", "PER")]]


def test_a_brat_folder_in_a_zip_is_read(tmp_path):
    path = zipped(
        tmp_path / "a.zip",
        ("p/b.txt", "好"), ("p/b.ann", ""), ("p/a.txt", "王芳在"), ("p/a.ann", "T1\tPER 0 2\t王芳\n"),
        ("p/._a.ann", b"\0\1"), ("__MACOSX/p/._a.txt", b"\0\1"), ("p/annotation.conf", "[entities]"),
    )  # fmt: skip
    assert spans(path) == [[("王芳", "PER")], []]
    assert [document.place for document in read(path)] == [f"{path}/p/a.txt", f"{path}/p/b.txt"]
    assert files(path) == [path]
    bad = zipped(tmp_path / "b.zip", ("a.txt", "好"), ("a.ann", "T1 PER 0 2"))
    with pytest.raises(CorpusError, match=r"b\.zip/a\.ann:1: expected an annotation such as"):
        list(read(bad))
    with pytest.raises(CorpusError, match=r"c\.zip/a\.txt: expected a readable file"):
        list(read(zipped(tmp_path / "c.zip", ("a.ann", ""))))


def damaged(content):
    return content.replace(b"\xe7\x8e\x8b", b"\xe7\x8e\x8c")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ((), "one data file in the .zip, received none"),
        ((("a.jsonl", NATIVE), ("b.jsonl", NATIVE)), r"one data file in the .zip, received 2: a.jsonl, b.jsonl"),
        ((("xl/workbook.xml", ""), ("a.xml", "")), "a corpus or text, received an Excel workbook, to be saved as CSV"),
        ((("word/document.xml", ""),), "received a Word document"),
        ((("a.zip", b"PK\x03\x04"),), "a file, received a .zip in a stream or an archive"),
        ((("a.parquet", b"PAR1"),), "received a Parquet file; give its name"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path, members, expected):
    with pytest.raises(CorpusError, match=expected):
        list(read(zipped(tmp_path / "a.zip", *members)))


def test_a_damaged_zip_is_reported(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.jsonl", NATIVE * 5000))
    content = path.read_bytes()
    for broken in (content[:-30], content[:20], content[:60] + b"\0" * 8 + content[68:]):
        path.write_bytes(broken)
        with pytest.raises(CorpusError, match="expected"):
            list(read(path))
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("a.jsonl", NATIVE)
    path.write_bytes(damaged(stored.getvalue()))
    with pytest.raises(CorpusError, match=r"a whole \.zip file"):
        list(read(path))


def test_a_zip_with_a_file_without_a_name_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.jsonl", NATIVE))
    path.write_bytes(path.read_bytes().replace(b"a.jsonl", b"\0.jsonl"))
    with pytest.raises(CorpusError, match="a file without a name"):
        list(read(path))


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.jsonl", NATIVE))
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"without a password, received an encrypted one; unzip it"):
        list(read(path))


def test_what_unzips_to_very_much_is_not_held_in_memory(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.txt", b"x" * (80 << 20)))
    with pytest.raises(CorpusError, match=r"a\.txt:1: expected lines of at most 64 MiB"):
        list(read(path))
    with pytest.raises(CorpusError, match="expected a file of at most 64 MiB"):
        list(read(zipped(tmp_path / "b.zip", ("a.txt", b"x" * (65 << 20)), ("a.ann", ""))))


@pytest.mark.parametrize("start", [b"7z\xbc\xaf\x27\x1c", b"%PDF-1.7", b"\xd0\xcf\x11\xe0\xa1", b"SQLite format 3\0"])
def test_files_that_are_no_text_are_refused_by_name(tmp_path, start):
    (tmp_path / "a.txt").write_bytes(start + bytes(range(256)))
    with pytest.raises(CorpusError, match=r"a\.txt: expected a corpus or text, received an? "):
        list(read(tmp_path / "a.txt"))


def test_a_zip_in_a_stream_is_refused(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"PK\x03\x04" + bytes(50))))
    with pytest.raises(CorpusError, match=r"standard input: expected a file, received a \.zip in a stream"):
        list(read("-"))


# ---- what macOS adds to a brat folder -------------------------------------------------------------------------------


def test_hidden_files_of_a_brat_folder_are_passed_over(tmp_path):
    for name in (".ipynb_checkpoints", "__MACOSX", "more"):
        (tmp_path / name).mkdir()
    for name in ("._a.txt", "._a.ann", "__MACOSX/._b.txt", ".ipynb_checkpoints/a-checkpoint.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    for name, content in (
        ("a.txt", "王芳在"),
        ("a.ann", "T1\tPER 0 2\t王芳\n"),
        ("more/b.txt", "好"),
        ("more/b.ann", ""),
    ):
        (tmp_path / name).write_text(content, "utf-8")
    assert spans(tmp_path) == [[("王芳", "PER")], []]
    assert len(files(tmp_path)) == 4
