r"""Inline: a text a line, entities in brackets with their label in braces, `[北京]{LOC}是首都`.

`\[`, `\]` and `\\` are the characters themselves (in a label `\}`), `\n` and `\r` line ends, `\uXXXX` a character by
its number.
"""

import re
from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes, Span, labelled
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source
from tagger.formats.base import Sample

_ENTITY = re.compile(r"\[((?:\\.|[^][\\])+)\]\{((?:\\.|[^}\\\s])+)\}")

_LITERAL = re.compile(r"(?:\\.|[^][\\])+")

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)

_ESCAPED = {"n": "\n", "r": "\r", "[": "[", "]": "]", "{": "{", "}": "}", "\\": "\\"}

_SIGNS = {"\n": r"\n", "\r": r"\r", **{sign: "\\" + sign for sign in "[]\\"}}


def recognise(sample: Sample) -> int | None:
    """Return the first line with an entity."""
    return next((number for number, line in enumerate(sample.lines) if _ENTITY.search(line)), None)


def read(source: Source, notes: Notes) -> Iterator[Document]:
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
            raise CorpusError(f"{place}:{at + 1}", expected, repr(line[at:]), SEE_FORMATS)
        text, *label = (_unescaped(part, f"{place}:{at + 1}") for part in found.groups() or (found[0],))
        if label and len(label[0].split()) != 1:
            raise CorpusError(f"{place}:{at + 1}", "a label without spaces", repr(label[0]), SEE_FORMATS)
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


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
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
