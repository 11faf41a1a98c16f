r"""Inline: a text on each line, entities in brackets and their labels in braces, `[北京]{LOC}是首都`.

`\[`, `\]` and `\\` stand for the characters themselves (in a label also `\}`), `\n` and `\r` for line ends, `\uXXXX`
for a code point.
"""

import re
from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes, Span, is_label, labelled
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source
from tagger.formats.base import Sample

_FORM = r"\[((?:\\.|[^][\\])+)\]\{((?:\\.|[^%s}\\\s])+)\}"  # %s: what a label has not, unless escaped

_ENTITY = re.compile(_FORM % "")

# Without brackets in labels, so that it is found, or not, in time that grows as the line does.
_PLAIN_ENTITY = re.compile(_FORM % "][")

_LITERAL = re.compile(r"(?:\\.|[^][\\])+")

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)

_ESCAPED = {"n": "\n", "r": "\r", "[": "[", "]": "]", "{": "{", "}": "}", "\\": "\\"}

_SIGNS = {"\n": r"\n", "\r": r"\r", **{sign: "\\" + sign for sign in "[]\\"}}


def recognise(sample: Sample) -> int | None:
    """Return the first line with an entity."""
    return next((number for number, line in enumerate(sample.lines) if _PLAIN_ENTITY.search(line)), None)


def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each line, blank ones included.

    Raises:
        CorpusError: At a bracket that neither belongs to an entity nor is escaped, or at an unknown escape.
    """
    for number, line in source.lines():
        yield _inline(line, f"{source.place}:{number}")


def _inline(line: str, place: str) -> Document:
    parts: list[str] = []
    spans: list[Span] = []
    at = size = 0
    while at < len(line):
        match = _ENTITY.match(line, at) or _LITERAL.match(line, at)
        if not match:
            expected = r"[mention]{LABEL}, or \[ \] \\ for the character itself"
            raise CorpusError(f"{place}:{at + 1}", expected, repr(line[at:]), SEE_FORMATS)
        text, *label = (_unescaped(part, f"{place}:{at + 1}") for part in match.groups() or (match[0],))
        if label and not is_label(label[0]):
            expected = "a label without spaces and unprintable characters"
            raise CorpusError(f"{place}:{at + 1}", expected, repr(label[0]), SEE_FORMATS)
        if label:
            spans.append(Span(size, size + len(text), label[0]))
        parts.append(text)
        at, size = match.end(), size + len(text)
    return labelled("".join(parts), spans, place=place)


def _unescaped(part: str, place: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _ESCAPED:
            expected = r"one of \[ \] \{ \} \\ \n \r \uXXXX"
            raise CorpusError(place, expected, repr(match[0]), r"write \\ for the character \ itself")
        return _ESCAPED[match[2]]

    return _ESCAPE.sub(character, part)


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document, in pieces."""
    for document in documents:
        done = 0
        for start, end, label in document.entities:
            yield _escaped(document.text[done:start])
            yield f"[{_escaped(document.text[start:end])}]{{" + _escaped(label).replace("}", r"\}") + "}"
            done = end
        yield _escaped(document.text[done:]) + "\n"


def _escaped(text: str) -> str:
    return re.sub("[][\\\\\r\n\ufeff\ud800-\udfff]", lambda m: _SIGNS.get(m[0]) or f"\\u{ord(m[0]):04x}", text)
