"""Files of every format that tagger reads and writes, in several encodings and packings, for `bench_redaction`."""

import gzip
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger import formats
from tagger.documents import Document, Notes

Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Form:
    """A form of a file.

    Args:
        format: One of `tagger.formats.FORMATS`.
        suffix: Of its name.
        change: Makes the bytes of the file of those in the plain form.
        options: Of the command, to read it.
    """

    format: str
    suffix: str
    change: Change = bytes
    options: tuple[str, ...] = ()


def encoded(encoding: str) -> Change:
    """Return what changes UTF-8 to another encoding, which is told to the command unless it has a byte order mark."""
    return lambda content: content.decode("utf-8").encode(encoding)


def with_line_ends(content: bytes) -> bytes:
    """Return a file with the line ends of Windows, and a byte order mark."""
    return b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")


def on_one_line(content: bytes) -> bytes:
    """Return an array of JSON on a single line, as tools export it."""
    return json.dumps(json.loads(content)).encode()


def spread_out(content: bytes) -> bytes:
    """Return objects of JSON on many lines each."""
    return json.dumps([json.loads(line) for line in content.splitlines()], ensure_ascii=False, indent=2).encode()


FORMS = (
    Form("jsonl", ".jsonl"), Form("jsonl", ".jsonl.gz", gzip.compress), Form("jsonl", ".json", spread_out),
    Form("jsonl", ".zip"), Form("jsonl", ".jsonl", with_line_ends), Form("csv", ".csv"),
    Form("csv", ".csv", with_line_ends),
    Form("csv", ".csv", encoded("gb18030"), ("--encoding", "gb18030")), Form("csv", ".csv.gz", gzip.compress),
    Form("tsv", ".tsv"), Form("tsv", ".tsv", encoded("utf-16")), Form("parquet", ".parquet"), Form("inline", ".txt"),
    Form("bio", ".bio"), Form("bio", ".conll", with_line_ends), Form("bioes", ".bioes"), Form("bmes", ".bmes"),
    Form("bilou", ".bilou"), Form("doccano", ".jsonl"), Form("cluener", ".json"), Form("prodigy", ".jsonl"),
    Form("tokens", ".jsonl"), Form("labelstudio", ".json"), Form("labelstudio", ".json", on_one_line),
    Form("contest", ".json"), Form("brat", ""), Form("brat", ".zip"), Form("plain", ".txt"),
    Form("plain", ".txt", with_line_ends), Form("plain", ".txt.gz", gzip.compress),
    Form("plain", ".txt", encoded("utf-16")), Form("plain", ".txt", encoded("gb18030"), ("--encoding", "gb18030")),
)  # fmt: skip


def write_file(form: Form, documents: list[Document], path: Path, draw: random.Random) -> Path:
    """Write documents in a form and return the path: that given, with a suffix."""
    if formats.by_name(form.format).extra and draw.random() < 0.5:
        documents = [with_record(document, draw) for document in documents]
    pieces: list[Any] = list(formats.write(form.format, documents, Notes()))
    path = path.with_name(path.name + form.suffix)
    if form.format == "brat":
        members = {name: content.encode() for name, content in pieces}
    else:
        content = b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
        members = {f"data.{form.format}": form.change(content)}
    if form.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    elif form.format == "brat":
        path.mkdir()
        for name, content in members.items():
            (path / name).write_bytes(content)
    else:
        path.write_bytes(*members.values())
    return path


def with_record(document: Document, draw: random.Random) -> Document:
    """Return a document whose record also names the people in it, under other keys."""
    people = [document.text[start:end] for start, end, label in document.entities if label == "PER"]
    extra = {"id": draw.randrange(10_000), "source": {"names": people, "note": f"[PER_1] {''.join(people)}"}}
    return Document(document.text, document.entities, document.answers, extra=extra)
