"""The forms of a corpus: one table of readers and writers, and how a file's form is told from its content."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tagger.documents import Document, Notes, squeeze
from tagger.errors import ConfigError, CorpusError
from tagger.files import Source
from tagger.formats import brat, cluener, columns, contest, doccano, labelstudio, native, records
from tagger.formats.inline import ENTITY, read_inline, write_inline
from tagger.formats.plain import read_plain, write_plain

_SURROGATE = re.compile("[\ud800-\udfff]")

_LOOKED_AT = 200  # lines

_TASK = re.compile(rb'"(?:data|result)"\s*:\s*[{[]')  # in a task too long to be looked at as a whole


# ---- the table --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Format:
    """A form of corpus.

    Args:
        read: Yields the documents of a source, noting what is lost or mended. For a form of folders, of a `Path`.
        write: Yields what to write of documents. For a form of folders, (file name, content) of each file.
        suffixes: Names that say this form.
        texts: Yields the texts alone, blank ones included; by default those of `read`.
        scores, answers, surrogates: Whether it holds scores; answers that are not in their text; lone surrogates.
        unlabelled: Whether it holds stretches that nobody has looked at.
        folder: Whether it is a folder of files.
    """

    read: Callable[[Any, Notes], Iterator[Document]]
    write: Callable[[Iterable[Document], Notes], Iterator[Any]]
    suffixes: tuple[str, ...] = ()
    texts: Callable[[Source], Iterator[str]] | None = None
    scores: bool = False
    answers: bool = False
    surrogates: bool = True
    unlabelled: bool = False
    folder: bool = False


def _json(parse: Callable[..., Document], write: Callable[..., Iterator[str]], **further: Any) -> Format:
    return Format(records.reader(parse), write, texts=records.texts, **further)


def _columns(scheme: str, *suffixes: str) -> Format:
    return Format(columns.read, columns.writer(scheme), suffixes or (f".{scheme}",), surrogates=False)


FORMATS = {
    "jsonl": _json(
        native.native, native.write_native, suffixes=(".jsonl",), scores=True, answers=True, unlabelled=True
    ),
    "bio": _columns("bio", ".bio", ".conll"),
    "bioes": _columns("bioes"),
    "bmes": _columns("bmes"),
    "bilou": _columns("bilou"),
    "brat": Format(brat.read, brat.write, surrogates=False, folder=True),
    "doccano": _json(doccano.doccano, doccano.write_doccano),
    "labelstudio": _json(labelstudio.labelstudio, labelstudio.write_labelstudio, scores=True),
    "cluener": _json(cluener.cluener, cluener.write_cluener),
    "contest": _json(contest.contest, contest.write_contest, answers=True),
    "inline": Format(read_inline, write_inline),
    "plain": Format(read_plain, write_plain, surrogates=False),
}

FORMATS["conll"] = FORMATS["bio"]  # by its family's name


def format_of(name: str) -> Format:
    """Return the form of this name, or raise `ConfigError`."""
    if name not in FORMATS:
        raise ConfigError(f"no form {name!r}; one of: {', '.join(FORMATS)}")
    return FORMATS[name]


def write(name: str, documents: Iterable[Document], notes: Notes) -> Iterator[Any]:
    """Yield what to write of documents in a form, as its `write` does, noting what the form cannot hold."""
    form = format_of(name)

    def holdable() -> Iterator[Document]:
        for document in documents:
            if not form.scores:
                notes["lost: scores"] += len(document.scores)
            if not form.answers:
                mentions = {squeeze(document.text[span.start : span.end]) for span in document.entities}
                notes["lost: answers that are no entity"] += len(set(map(squeeze, document.answers)) - mentions)
            if not form.unlabelled:
                notes["lost: stretches that are not labelled"] += len(document.unlabelled)
            if not form.surrogates and _SURROGATE.search(document.text):
                text, changed = _SURROGATE.subn("\ufffd", document.text)
                notes["changed: lone surrogates, now U+FFFD"] += changed
                document = replace(document, text=text)
            yield document

    return form.write(holdable(), notes)


def of_name(path: str | Path) -> str:
    """Return the form that a name says, "" if none."""
    name = str(path).removesuffix(".gz")
    return next((form for form, known in FORMATS.items() if known.suffixes and name.endswith(known.suffixes)), "")


def detect(source: Source) -> str:
    """Return the form of a file, told from its first lines; where these leave it open, from its name; else plain."""
    head = source.head
    if records.is_array(head) or re.match(rb'\s*\{\s*["}]', head):
        return _of_records(source)
    first = (line.decode("utf-8", "replace").removesuffix("\r") for line in head.split(b"\n", _LOOKED_AT)[:_LOOKED_AT])
    lines = [line for line in first if line.strip() and not columns.is_comment(line)]
    if 2 * sum(map(columns.is_tagged, lines)) > len(lines):
        return "bio"
    if any(map(ENTITY.search, lines)):
        return "inline"
    return "jsonl" if str(source.path).removesuffix(".gz").endswith(".json") else of_name(source.path) or "plain"


def _of_records(source: Source) -> str:
    """Return the form of JSON: that of the first record that can be of one form only, else native."""
    try:
        for number, (_, record) in enumerate(islice(records.records(source.peek()), _LOOKED_AT)):
            if not number and isinstance(record.get("content"), str):
                return "contest"
            if form := _of_record(record):
                return form
    except CorpusError:
        pass  # whoever reads it tells
    return "labelstudio" if records.is_array(source.head) and _TASK.search(source.head) else "jsonl"


def _of_record(record: records.Record) -> str:
    """Return the form of a record, "" if it may be of several."""
    if isinstance(record.get("data"), dict):
        return "labelstudio"
    if isinstance(record.get("label"), dict):
        return "cluener"
    entities = record.get("entities")
    first = entities[0] if isinstance(entities, list) and entities else None
    if isinstance(first, list) or (isinstance(first, dict) and "start_offset" in first) or "relations" in record:
        return "doccano"
    if "entities" in record:
        return "jsonl" if first else ""
    return "doccano" if any(isinstance(record.get(key), list) for key in doccano.DOCCANO_KEYS) else ""
