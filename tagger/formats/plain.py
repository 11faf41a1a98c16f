"""Plain text: one text on each line, without entities."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tagger.documents import Document, Notes
from tagger.errors import CorpusError
from tagger.files import Source
from tagger.formats.base import FALLBACK, Sample

_MOST = 0.9  # share of lines that must look annotated

_LONG = 2000  # characters of a line that is not looked at, as patterns take time that grows with its square


def recognise(sample: Sample) -> int | None:
    """Return `FALLBACK`: any file can be read as plain text."""
    return FALLBACK


# ---- what only seems to be plain --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Look:
    """What makes a file look annotated.

    Args:
        about: What it looks like.
        remedy: What to do.
        start: Pattern that the first line begins with.
        lines: Pattern that most lines match as a whole.
        least: Lines that must match at least.
    """

    about: str
    remedy: str
    start: str = ""
    lines: str = ""
    least: int = 3


_SEE = 'see "tagger help formats"'

_LOOKS = (
    Look("WebAnno TSV", "export it as CoNLL 2002 instead", start="#FORMAT=WebAnno"),
    Look("XML or HTML", "export it in another format", start=r"<(\?xml|!DOCTYPE|html|TEI|doc\b[^>]*>|corpus|dataset)"),
    Look("an array in JSON", f"give objects with a text and its entities, {_SEE}", start=r'\[\s*[\[\d]\s*["\d]'),
    Look("Python, not JSON", "write it with json.dumps", start=r"""[\[({]\s*[\[({]*\s*('[^']*'|"[^"]*")\s*[:,]"""),
    Look("words with parts of speech, word/tag", "convert the entities that it marks to columns",
         lines=r"(\[?\S+/\[?[A-Za-z]{1,4}\d?(\][A-Za-z]{1,4})?(\s+|$)){2,}"),
    Look("entities in braces, {{label:mention}}", "write them as [mention]{label}",
         lines=r".*\{\{[\w.]+[:：][^{}]+\}\}.*", least=1),
    Look("entities of YEDDA, [@mention#label*]", "write them as [mention]{label}",
         lines=r".*\[@[^\]#]+#[^\]*]+\*\].*", least=1),
    Look("entities in elements, <label>mention</label>", "write them as [mention]{label}",
         lines=r".*<([A-Za-z][\w.-]*)>[^<>]+</\1>.*", least=2),
    Look("columns with the tags of words, B M E S without labels", "entities need a label and O outside, such as B-PER",
         lines=r"\S{1,2}[ \t]+[BMESbmes]"),
)  # fmt: skip


def refuse_annotated(sample: Sample) -> None:
    """Raise `CorpusError` if a file that no other format has recognised looks annotated, or like a table.

    Prose that happens to have tabs, commas, addresses or brackets does not: nearly all lines must look alike.
    """
    lines = sample.lines
    if not lines:
        return
    found = next((look for look in _LOOKS if _matches(look, lines)), None) or _table(lines)
    if found:
        remedy = f"{found.remedy}; if it is plain text: tagger convert FILE texts.jsonl --from plain"
        raise CorpusError(f"{sample.place}:1", "a known format or plain text", f"what looks like {found.about}", remedy)


def _matches(look: Look, lines: list[str]) -> bool:
    if look.start:
        return re.match(look.start, lines[0].lstrip()) is not None
    fitting = sum(len(line) < _LONG and re.fullmatch(look.lines, line.strip()) is not None for line in lines[:50])
    share = 0.3 if look.least == 1 else _MOST
    return fitting >= look.least and fitting >= share * len(lines[:50])


def _table(lines: list[str]) -> Look | None:
    """Return what a table without a known heading looks like: all lines have as many columns."""
    if len(lines) < 3:
        return None
    for separator, name in (("\t", "tabs"), (",", "commas")):
        counts = Counter(line.strip("\r\n").count(separator) for line in lines)
        columns, lines_alike = counts.most_common(1)[0]
        if columns and lines_alike == len(lines) and not (separator == "," and _is_prose(lines)):
            heading = 'a heading with the column "text"'
            return Look(f"a table, its columns separated by {name}", f"give it {heading}, or the tags after the tokens")
    cells = [line.split() for line in lines]
    fitting = [row for row in cells if len(row) == len(cells[0]) and len(row[0]) <= 2 and _is_code(row[-1])]
    if len(cells[0]) > 1 and len(fitting) >= _MOST * len(cells):
        return Look("columns, a token and something else", f"write tags such as B-PER, I-PER, O, {_SEE}")
    return None


def _is_prose(lines: list[str]) -> bool:
    """Return whether commas are punctuation: white space follows, or a line is long."""
    return any(re.search(r",\s", line) or len(line) > 200 for line in lines)


def _is_code(cell: str) -> bool:
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_.*\[\]|=:-]*", cell) is not None


# ---- reading and writing ------------------------------------------------------------------------------------------
def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each line, blank ones included."""
    for number, line in source.lines():
        yield Document(line, place=f"{source.place}:{number}")


def texts(source: Source) -> Iterator[str]:
    """Yield each line."""
    for _, line in source.lines():
        yield line


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for document in documents:
        text, changed = re.subn("^\ufeff|[\r\n]", " ", document.text)
        notes["lost: entities"] += len(document.entities)
        notes["changed: line ends and byte order marks, now spaces"] += changed
        yield text + "\n"
