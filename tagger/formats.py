r"""The forms of a corpus: one table of readers and writers, and how a file's form is told from its content.

Two of them are here. Plain: a text a line, without entities. Inline: a text a line, entities in brackets with their
label in braces, `[北京]{LOC}是首都`; `\[`, `\]` and `\\` are the characters themselves (in a label `\}`), `\n` and
`\r` line ends, `\uXXXX` a character by its number.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tagger import columns, records, standoff, tools
from tagger.documents import FORMATS, Document, Notes, Source, Span, labelled, squeeze
from tagger.errors import ConfigError, CorpusError

_SURROGATE = re.compile("[\ud800-\udfff]")
_LOOKED_AT = 200  # lines
_TASK = re.compile(rb'"(?:data|result)"\s*:\s*[{[]')  # in a task too long to be looked at as a whole


# ---- plain ------------------------------------------------------------------------------------------------------


def read_plain(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document a line, blank ones included."""
    for _, line in source.lines():
        yield Document(line)


def write_plain(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line a document."""
    for document in documents:
        text, changed = re.subn("^\ufeff|[\r\n]", " ", document.text)
        notes["lost: entities"] += len(document.entities)
        notes["changed: line ends and byte order marks, now spaces"] += changed
        yield text + "\n"


# ---- inline -----------------------------------------------------------------------------------------------------

_ENTITY = re.compile(r"\[((?:\\.|[^][\\])+)\]\{((?:\\.|[^}\\\s])+)\}")
_LITERAL = re.compile(r"(?:\\.|[^][\\])+")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)
_ESCAPED = {"n": "\n", "r": "\r", "[": "[", "]": "]", "{": "{", "}": "}", "\\": "\\"}
_SIGNS = {"\n": r"\n", "\r": r"\r", **{sign: "\\" + sign for sign in "[]\\"}}


def read_inline(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document a line, blank ones included.

    Raises:
        CorpusError: At a bracket that is neither of an entity nor escaped, or at an unknown escape.
    """
    for number, line in source.lines():
        yield _inline(line, f"{source.place}:{number}")


def _inline(line: str, place: str) -> Document:
    parts: list[str] = []
    spans: list[Span] = []
    at = size = 0
    while at < len(line):
        found = _ENTITY.match(line, at) or _LITERAL.match(line, at)
        if not found:
            expected = r"[mention]{LABEL}, or \[ \] \\ for the character itself"
            raise CorpusError(f"{place}:{at + 1}", expected, repr(line[at:]), FORMATS)
        text, *label = (_unescaped(part, f"{place}:{at + 1}") for part in found.groups() or (found[0],))
        if label and len(label[0].split()) != 1:
            raise CorpusError(f"{place}:{at + 1}", "a label without spaces", repr(label[0]), FORMATS)
        if label:
            spans.append(Span(size, size + len(text), label[0]))
        parts.append(text)
        at, size = found.end(), size + len(text)
    return labelled("".join(parts), spans)


def _unescaped(part: str, place: str) -> str:
    def character(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] not in _ESCAPED:
            expected = r"one of \[ \] \{ \} \\ \n \r \uXXXX"
            raise CorpusError(place, expected, repr(found[0]), r"write \\ for the character \ itself")
        return _ESCAPED[found[2]]

    return _ESCAPE.sub(character, part)


def write_inline(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line a document."""
    for document in documents:
        done = 0
        for start, end, label in document.entities:
            yield _escaped(document.text[done:start])
            yield f"[{_escaped(document.text[start:end])}]{{" + _escaped(label).replace("}", r"\}") + "}"
            done = end
        yield _escaped(document.text[done:]) + "\n"


def _escaped(text: str) -> str:
    return re.sub("[][\\\\\r\n\ufeff\ud800-\udfff]", lambda m: _SIGNS.get(m[0]) or f"\\u{ord(m[0]):04x}", text)


# ---- the table --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A form of corpus.

    Args:
        read: Yields the documents of a source, noting what is lost or mended. For a form of folders, of a `Path`.
        write: Yields what to write of documents. For a form of folders, (file name, content) of each file.
        suffixes: Names that say this form.
        texts: Yields the texts alone, blank ones included; by default those of `read`.
        scores, answers, surrogates: Whether it holds scores; answers that are not in their text; lone surrogates.
        folder: Whether it is a folder of files.
    """

    read: Callable[[Any, Notes], Iterator[Document]]
    write: Callable[[Iterable[Document], Notes], Iterator[Any]]
    suffixes: tuple[str, ...] = ()
    texts: Callable[[Source], Iterator[str]] | None = None
    scores: bool = False
    answers: bool = False
    surrogates: bool = True
    folder: bool = False


def _json(parse: Callable[..., Document], write: Callable[..., Iterator[str]], **further: Any) -> Form:
    return Form(records.reader(parse), write, texts=records.texts, **further)


def _columns(scheme: str, *suffixes: str) -> Form:
    return Form(columns.read, columns.writer(scheme), suffixes or (f".{scheme}",), surrogates=False)


FORMS = {
    "jsonl": _json(records.native, records.write_native, suffixes=(".jsonl",), scores=True, answers=True),
    "bio": _columns("bio", ".bio", ".conll"),
    "bioes": _columns("bioes"),
    "bmes": _columns("bmes"),
    "bilou": _columns("bilou"),
    "brat": Form(standoff.read, standoff.write, surrogates=False, folder=True),
    "doccano": _json(tools.doccano, tools.write_doccano),
    "labelstudio": _json(tools.labelstudio, tools.write_labelstudio, scores=True),
    "cluener": _json(tools.cluener, tools.write_cluener),
    "contest": _json(records.contest, records.write_contest, answers=True),
    "inline": Form(read_inline, write_inline),
    "plain": Form(read_plain, write_plain, surrogates=False),
}
FORMS["conll"] = FORMS["bio"]  # by its family's name


def form_of(name: str) -> Form:
    """Return the form of this name, or raise `ConfigError`."""
    if name not in FORMS:
        raise ConfigError(f"no form {name!r}; one of: {', '.join(FORMS)}")
    return FORMS[name]


def write(name: str, documents: Iterable[Document], notes: Notes) -> Iterator[Any]:
    """Yield what to write of documents in a form, as its `write` does, noting what the form cannot hold."""
    form = form_of(name)

    def holdable() -> Iterator[Document]:
        for document in documents:
            if not form.scores:
                notes["lost: scores"] += len(document.scores)
            if not form.answers:
                mentions = {squeeze(document.text[span.start : span.end]) for span in document.entities}
                notes["lost: answers that are no entity"] += len(set(map(squeeze, document.answers)) - mentions)
            if not form.surrogates and _SURROGATE.search(document.text):
                text, changed = _SURROGATE.subn("\ufffd", document.text)
                notes["changed: lone surrogates, now U+FFFD"] += changed
                document = replace(document, text=text)
            yield document

    return form.write(holdable(), notes)


def of_name(path: str | Path) -> str:
    """Return the form that a name says, "" if none."""
    name = str(path).removesuffix(".gz")
    return next((form for form, known in FORMS.items() if known.suffixes and name.endswith(known.suffixes)), "")


def detect(source: Source) -> str:
    """Return the form of a file, told from its first lines; where these leave it open, from its name; else plain."""
    head = source.head
    if records.is_array(head) or re.match(rb'\s*\{\s*["}]', head):
        return _of_records(source)
    first = (line.decode("utf-8", "replace").removesuffix("\r") for line in head.split(b"\n", _LOOKED_AT)[:_LOOKED_AT])
    lines = [line for line in first if line.strip() and not columns.is_comment(line)]
    if 2 * sum(map(columns.is_tagged, lines)) > len(lines):
        return "bio"
    if any(map(_ENTITY.search, lines)):
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
    return "doccano" if any(isinstance(record.get(key), list) for key in tools.DOCCANO_KEYS) else ""
