"""CoNLL columns: a token and its tag on each line, an empty line after each text; BIO, BIOES, BMES or BILOU.

The first column is the token, the last is its tag; columns are separated by tabs or spaces. A letter means the same in
every scheme: B begins an entity, I and M continue it, E and L end it, S and U are an entity of one token. Therefore one
reader serves all schemes. Ill-formed sequences are repaired as the scorer of the CoNLL shared task reads them: a tag
that continues or ends an entity which has not begun, or has another label, begins one; an entity that is not ended ends
with its last tag.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from tagger.documents import Document, Notes, Span, labelled
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source
from tagger.formats.base import Sample

# Letters of the only, first, middle and last token of an entity. Not taken from `tags`, which imports NumPy.
SCHEMES = {"bio": tuple("BBII"), "bioes": tuple("SBIE"), "bmes": tuple("SBME"), "bilou": tuple("UBIL")}

SINGLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4

_PARTS = {"B": FIRST, "I": MIDDLE, "M": MIDDLE, "E": LAST, "L": LAST, "S": SINGLE, "U": SINGLE}

_TAG = re.compile(r"O|([BIMELSU])[-_](\S+)")

_MARK = "-DOCSTART-"


def recognise(sample: Sample) -> int | None:
    """Return the first line if more than half of the lines, comments aside, are a token and its tag."""
    lines = [line for line in sample.lines if not _is_comment(line)]
    return 0 if 2 * sum(map(_is_tagged, lines)) > len(lines) else None


def _is_tagged(line: str) -> bool:
    """Return whether a line is a token and its tag."""
    columns = _columns(line)
    return len(columns) > 1 and _tag(columns[-1]) is not None


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment or a document mark, and not a token and its tag."""
    return line.startswith(_MARK) or (line.startswith("#") and not _is_tagged(line))


def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each block of lines; tokens are joined, Latin words and numbers with a space between them.

    Raises:
        CorpusError: At a line that is not a token and a tag.
    """
    tokens: list[str] = []
    tags: list[str] = []
    decoder = _Decoder()
    for number, line in source.lines():
        if not line.strip(" \t"):
            if tokens:
                yield _document(tokens, decoder(tags))
                tokens, tags = [], []
            continue
        if line[0] in "#-" and _is_comment(line):
            notes["left out: comments and document marks"] += 1
            continue
        columns = _columns(line)
        if len(columns) == 1 and line[0] in " \t":
            columns = [" ", *columns]  # the token is a space
        if len(columns) == 1 or _tag(columns[-1]) is None:
            expected = "a token and a tag such as O, B-PER, I-PER, with a tab or spaces between"
            raise CorpusError(f"{source.place}:{number}", expected, repr(line), SEE_FORMATS)
        if len(columns) > 2:
            notes["left out: columns between token and tag"] += len(columns) - 2
        tokens.append(columns[0])
        tags.append(columns[-1])
    if tokens:
        yield _document(tokens, decoder(tags))
    decoder.note(notes)


def _columns(line: str) -> list[str]:
    if "\t" in line:
        return [column or " " for column in line.rstrip(" \t").split("\t")]
    return re.split(" +", line.strip(" "))


@lru_cache(1024)
def _tag(tag: str) -> tuple[int, str] | None:
    """Return (part of the entity, label) of a tag, (0, "") for O, None if it is not a tag."""
    match = _TAG.fullmatch(tag)
    if not match:
        return None
    return (_PARTS[match[1]], match[2]) if match[1] else (0, "")


class _Decoder:
    """Tags -> spans of tokens, counting repairs."""

    def __init__(self) -> None:
        self.headless = self.endless = 0
        self.letters: set[str] = set()

    def __call__(self, tags: list[str]) -> list[tuple[int, int, str]]:
        spans = []
        start, open_label = -1, ""
        for position, tag in enumerate([*tags, "O"]):
            part, label = _tag(tag)  # type: ignore[misc]
            continues = start >= 0 and part in (MIDDLE, LAST) and label == open_label
            if start >= 0 and not continues:
                spans.append((start, position, open_label))
                self.endless += 1
                start = -1
            self.headless += part in (MIDDLE, LAST) and not continues
            if part and not continues:
                start, open_label = position, label
            if part in (SINGLE, LAST):
                spans.append((start, position + 1, label))
                start = -1
            self.letters.add(tag[0])
        return spans

    def note(self, notes: Notes) -> None:
        """Note the repairs; in a scheme without letters for the end, such as BIO, no entity needs to be ended."""
        notes["repaired: entities that nothing began"] += self.headless
        if self.letters & set("MELSU"):
            notes["repaired: entities that nothing ended"] += self.endless


def _document(tokens: list[str], spans: Iterable[tuple[int, int, str]]) -> Document:
    starts, size, before, parts = [], 0, "", []
    for token in tokens:
        if max(len(before), len(token)) > 1 and _is_latin(before[-1:]) and _is_latin(token[0]):
            parts.append(" ")
            size += 1
        starts.append(size)
        parts.append(token)
        size, before = size + len(token), token
    ends = [start + len(token) for start, token in zip(starts, tokens, strict=True)]
    return labelled("".join(parts), [Span(starts[first], ends[last - 1], label) for first, last, label in spans])


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def writer(scheme: str) -> Callable[[Iterable[Document], Notes], Iterator[str]]:
    """Return the writer of a scheme: `character TAB tag` on each line, and an empty line after each text.

    White space and byte order marks cannot be tokens: they are dropped and noted.
    """
    single, first, middle, last = SCHEMES[scheme]

    def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
        for document in documents:
            text, tokens_before = document.text, [0]  # at each character
            for character in text:
                tokens_before.append(tokens_before[-1] + (not character.isspace() and character != "\ufeff"))
            tags = ["O"] * tokens_before[-1]
            for begin, stop, label in document.entities:
                start, end = tokens_before[begin], tokens_before[stop]
                letters = single if end - start == 1 else first + middle * (end - start - 2) + last
                tags[start:end] = [f"{letter}-{label}" for letter in letters[: end - start]]
                notes["lost: entities of white space"] += start == end
            notes["lost: white-space characters"] += len(text) - tokens_before[-1]
            notes["lost: blank texts"] += not tags
            tokens = (c for c, (before, after) in zip(text, pairwise(tokens_before), strict=True) if before < after)
            yield "".join(f"{token}\t{tag}\n" for token, tag in zip(tokens, tags, strict=True)) + "\n"

    return write
