"""CoNLL columns: a token and its tag on each line, an empty line after each text; BIO, BIOES, BMES or BILOU.

The first column is the token, the last is its tag; columns are separated by tabs, spaces, or a comma. Where the first
lines show that it is so, the first column is the number of a token (CoNLL-U, UNER) and the second the token; or another
column than the last has the tags (UNER), or their cells have them as `name=B-PER`; or tags are `PER-B`, `B` or `PER`;
or a digit follows each character (Weibo). `tagged` has what tags mean.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tagger.documents import Document, Notes
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source
from tagger.formats.base import Sample
from tagger.formats.tagged import (
    Decoder,
    Tag,
    bare_tag,
    document,
    inside_tag,
    keyed_tag,
    plain_tag,
    reversed_tag,
    tags,
)

_MARK = "-DOCSTART-"

_NUMBER = re.compile(r"\d{1,5}")

_PARTIAL = re.compile(r"\d+[-.]\d+")  # CoNLL-U: several words in one token, or a word that is not in the text

_DIGIT = re.compile(r"[^\x00-\x7f]\d")

_ENOUGH = 0.9  # share of lines that must fit a layout that is not the usual one

_MOST_COLUMNS = 20  # that are looked at

_MOST_LABELS = 20  # different cells that may be labels without letters


@dataclass(frozen=True)
class Layout:
    """Where token and tag stand in a line.

    Args:
        token: Column of the token.
        tag: Column of the tag.
        parse: Returns part and label of a tag, as `tagged.plain_tag`.
        comma: Whether a comma separates token and tag.
        digits: Whether a digit that belongs to no text follows each character.
    """

    token: int = 0
    tag: int = -1
    parse: Callable[[str], Tag | None] = plain_tag
    comma: bool = False
    digits: bool = False

    def cells(self, line: str) -> list[str]:
        """Return the columns of a line."""
        if self.comma:
            token, comma, tag = line.rpartition(",")
            is_quoted = len(token) > 2 and token[0] == token[-1] == '"'
            return [token[1:-1].replace('""', '"') if is_quoted else token, tag] if comma and token else [line]
        if "\t" in line:
            return [column or " " for column in line.rstrip(" \t").split("\t")]
        return re.split(" +", line.strip(" "))

    def is_tagged(self, line: str) -> bool:
        """Return whether a line is a token and its tag."""
        cells = self.cells(line)
        return len(cells) > max(self.token + 1, self.tag) and self.parse(cells[self.tag]) is not None

    def is_comment(self, line: str) -> bool:
        """Return whether a line is a comment or a document mark, and not a token and its tag."""
        return line.startswith(_MARK) or (line.startswith("#") and not self.is_tagged(line))


# ---- which layout -----------------------------------------------------------------------------------------------
def recognise(sample: Sample) -> int | None:
    """Return the first line if nearly all lines, comments aside, are a token and its tag in one layout."""
    return 0 if _layout(sample.lines) else None


def _layout(lines: list[str]) -> Layout | None:
    """Return the layout that the first lines of a file have, None if they are no columns."""
    usual = Layout()
    lines = [line for line in lines if not usual.is_comment(line)]
    if not lines:
        return None
    rows = [usual.cells(line) for line in lines]
    token = _token_column(rows)
    rows = [row for row in rows if not (token and _PARTIAL.fullmatch(row[0]))]
    if token == 0 and 2 * sum(map(usual.is_tagged, lines)) > len(lines):
        return Layout(digits=_has_digits(rows, 0))
    width = min(_MOST_COLUMNS, *map(len, rows), _MOST_COLUMNS)
    for column in (-1, *range(width - 2, token, -1)):
        found = [plain_tag(row[column]) for row in rows if len(row) > token + 1]
        if sum(tag is not None for tag in found) >= _ENOUGH * len(rows) and found:
            return Layout(token, column, digits=_has_digits(rows, token))
    for parse, fits in ((reversed_tag, _any_entity), (keyed_tag, _any_entity), (bare_tag, _bare), (inside_tag, _io)):
        cells = [row[-1] for row in rows if len(row) > token + 1]
        if _share(cells, parse) * len(cells) >= _ENOUGH * len(rows) and fits(cells, parse):
            return Layout(token, -1, parse, digits=_has_digits(rows, token))
    comma = Layout(comma=True)
    pairs = [comma.cells(line) for line in lines]
    if all(len(pair) == 2 and ("," not in pair[0] or pair[0] == ",") for pair in pairs) and (
        _share([pair[1] for pair in pairs], plain_tag) >= _ENOUGH
    ):
        return comma
    return None


def _token_column(rows: list[list[str]]) -> int:
    """Return 1 if the first column counts the tokens of each text from 0 or 1, else 0."""
    rows = [row for row in rows if not _PARTIAL.fullmatch(row[0])]
    if not rows or any(len(row) < 3 or not _NUMBER.fullmatch(row[0]) for row in rows):
        return 0
    numbers = [int(row[0]) for row in rows]
    is_counted = all(after in (before + 1, 0, 1) for before, after in pairwise(numbers))
    grows = any(after == before + 1 for before, after in pairwise(numbers))
    return int(numbers[0] < 2 and is_counted and grows)


def _has_digits(rows: list[list[str]], token: int) -> bool:
    tokens = [row[token] for row in rows if len(row) > token]
    fitting = sum(_DIGIT.fullmatch(token) is not None for token in tokens)
    return len(tokens) > 3 and fitting >= _ENOUGH * len(tokens)


def _share(cells: list[str], parse: Callable[[str], Tag | None]) -> float:
    return sum(parse(cell) is not None for cell in cells) / max(len(cells), 1)


def _any_entity(cells: list[str], parse: Callable[[str], Tag | None]) -> bool:
    return any((parse(cell) or (0,))[0] for cell in cells)


def _bare(cells: list[str], parse: Callable[[str], Tag | None]) -> bool:
    """Return whether letters without labels mark entities: something is outside, and something begins."""
    return bool(set(cells) & {"O", "o"} and set(cells) & set("BSUbsu"))


def _io(cells: list[str], parse: Callable[[str], Tag | None]) -> bool:
    """Return whether cells are labels without letters: something is outside, and there are few others."""
    return "O" in cells and 1 < len(set(cells)) <= _MOST_LABELS and not set(cells) <= set("BMESIO")


# ---- reading ----------------------------------------------------------------------------------------------------
def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each block of lines; tokens are joined, Latin words and numbers with a space between them.

    Raises:
        CorpusError: At a line that is not a token and a tag.
    """
    layout = _layout(Sample(source).lines) or Layout()
    tokens: list[str] = []
    marks: list[str] = []
    place, last = "", max(layout.token + 1, layout.tag)
    decoder = Decoder(layout.parse, headless=layout.parse is not inside_tag)
    for number, line in source.lines():
        if not line.strip(" \t"):
            if tokens:
                yield document(tokens, decoder(marks), place=place)
                tokens, marks = [], []
            continue
        if line[0] in "#-" and layout.is_comment(line):
            notes["left out: comments and document marks"] += 1
            continue
        cells = layout.cells(line)
        if len(cells) == 1 and line[0] in " \t":
            cells = [" ", *cells]  # the token is a space
        if layout.token and _PARTIAL.fullmatch(cells[0]):
            notes["left out: lines of CoNLL-U that are no token"] += 1
            continue
        if len(cells) <= last or layout.parse(cells[layout.tag]) is None:
            expected = "a token and a tag such as O, B-PER, I-PER, with a tab or spaces between"
            raise CorpusError(f"{source.place}:{number}", expected, repr(line), SEE_FORMATS)
        notes["left out: columns between token and tag"] += len(cells) - 2
        token = cells[layout.token]
        if layout.digits and len(token) == 2 and token[1].isdigit():
            notes["repaired: digits after characters, dropped"] += 1
            token = token[0]
        if not tokens:
            place = f"{source.place}:{number}"
        tokens.append(token)
        marks.append(cells[layout.tag])
    if tokens:
        yield document(tokens, decoder(marks), place=place)
    decoder.note(notes)
    if layout.parse is bare_tag:
        notes["repaired: entities without a label, now ENTITY"] += decoder.entities
    if layout.parse is inside_tag:
        notes["repaired: neighbouring tags of one label, now one entity"] += decoder.entities


# ---- writing ----------------------------------------------------------------------------------------------------
def writer(scheme: str) -> Callable[[Iterable[Document], Notes], Iterator[str]]:
    """Return the writer of a scheme: `character TAB tag` on each line, and an empty line after each text.

    White space and byte order marks cannot be tokens: they are dropped and noted.
    """

    def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
        for one in documents:
            text, before = one.text, [0]  # tokens before each character
            for character in text:
                before.append(before[-1] + (not character.isspace() and character != "\ufeff"))
            spans = [(before[start], before[end], label) for start, end, label in one.entities]
            notes["lost: entities of white space"] += sum(start == end for start, end, _ in spans)
            notes["lost: white-space characters"] += len(text) - before[-1]
            notes["lost: blank texts"] += not before[-1]
            tokens = (c for c, (first, then) in zip(text, pairwise(before), strict=True) if first < then)
            written = tags(before[-1], (span for span in spans if span[0] < span[1]), scheme)
            yield "".join(f"{token}\t{tag}\n" for token, tag in zip(tokens, written, strict=True)) + "\n"

    return write
