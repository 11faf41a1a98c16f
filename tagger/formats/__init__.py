"""The corpus formats: one table of them, and which format a file has.

To add a format:

1. Write one module in this folder with a `read(source, notes)` and a `write(documents, notes)`, as in `plain.py`; for
   a format of JSON records, a `parse(record, place, notes)` in place of `read`, as in `cluener.py`. Count in `notes`
   whatever a document or the format has no place for, and raise `CorpusError` at what is malformed.
2. Add one row to `_ROWS`. It holds everything else: the format's suffixes, what it can hold, and how a file of it is
   recognised. The command line, conversion, training and the table in `tagger help formats` read the row.
3. Run `scripts/docs`, which rewrites that table.

Rows run from general to special: where a file may be of two formats alike, the later row wins.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tagger.documents import Document, Notes, squeeze
from tagger.errors import ConfigError
from tagger.files import Source
from tagger.formats import brat, cluener, columns, contest, doccano, inline, labelstudio, native, plain, records
from tagger.formats.base import Folder, Format, Sample

_SURROGATE = re.compile("[\ud800-\udfff]")


# ---- the table --------------------------------------------------------------------------------------------------
def _json(name: str, about: str, parse: Callable[..., Document], write: Callable[..., Any], **more: Any) -> Format:
    """Return the row of a format of JSON records, one a line or all in one array."""
    return Format(name, about, records.reader(parse), write, texts=records.texts, **more)


def _columns(name: str, about: str, **more: Any) -> Format:
    """Return the row of a scheme of column tags; all schemes are read alike."""
    return Format(name, about, columns.read, columns.writer(name), surrogates=False, **more)


_ROWS = (
    _json(
        "jsonl",
        'native JSON Lines: `{"text": "...", "entities": [{"start": 0, "end": 2, "label": "PER"}]}`; more below',
        native.parse, native.write, suffixes=(".jsonl",), recognise=native.recognise,
        scores=True, answers=True, unlabelled=True,
    ),
    Format(
        "plain", "a text on each line, without entities; any other file is read as this",
        plain.read, plain.write, recognise=plain.recognise, surrogates=False,
    ),
    Format(
        "inline",
        r"a text on each line, `[佐藤健]{PER}出生于日本`; `\[` `\]` `\\` are these characters, `\n` a line end",
        inline.read, inline.write, recognise=inline.recognise,
    ),
    _columns(
        "bio", "CoNLL columns: on each line the token first and its tag last, `B-PER` `I-PER` `O`; more below",
        suffixes=(".bio", ".conll"), aliases=("conll",), recognise=columns.recognise,
    ),
    _columns("bioes", "the same with the tags B I E S O", suffixes=(".bioes",)),
    _columns("bmes", "the same with the tags B M E S O", suffixes=(".bmes",)),
    _columns("bilou", "the same with the tags B I L U O", suffixes=(".bilou",)),
    _json(
        "doccano",
        'doccano: `{"text": "...", "label": [[0, 2, "PER"]]}`, or under `labels`, `entities` or `annotations`',
        doccano.parse, doccano.write, recognise=doccano.recognise,
    ),
    _json(
        "cluener",
        'CLUENER: `{"text": "...", "label": {"PER": {"佐藤健": [[0, 2]]}}}`, the last character included',
        cluener.parse, cluener.write, recognise=cluener.recognise,
    ),
    _json(
        "labelstudio",
        "Label Studio: a JSON array of tasks with `annotations` or `predictions`; entities with scores are predictions",
        labelstudio.parse, labelstudio.write, recognise=labelstudio.recognise, scores=True,
    ),
    _json(
        "contest", 'JSON Lines with entities as strings: `{"content": "...", "core_entity": ["..."]}`; more below',
        contest.parse, contest.write, recognise=contest.recognise, answers=True,
    ),
    Format(
        "brat", "brat standoff: a folder with a `.txt` and a `.ann` file for each text, or one such pair",
        brat.read, brat.write, surrogates=False, folder=Folder(brat.is_standoff, brat.files),
    ),
)  # fmt: skip

# Row by name, aliases included.
FORMATS = {name: row for row in _ROWS for name in (row.name, *row.aliases)}


def by_name(name: str) -> Format:
    """Return the format of this name or alias.

    Raises:
        ConfigError: If there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"no format {name!r}; one of: {', '.join(FORMATS)}")
    return FORMATS[name]


# ---- which format -----------------------------------------------------------------------------------------------
def by_suffix(path: str | Path) -> str:
    """Return the name of the format that a file name says, "" if none; `.gz` is ignored."""
    return next((row.name for row in reversed(_ROWS) if row.is_named(path)), "")


def by_folder(path: str | Path) -> Format | None:
    """Return the format of a folder of files, or of one of them; None if the path is no such corpus."""
    return next((row for row in reversed(_ROWS) if row.folder and row.folder.recognise(Path(path))), None)


def detect(source: Source) -> str:
    """Return the name of the format that the earliest line or record proves, else that of the suffix, else plain."""
    sample = Sample(source)
    return min(reversed(_ROWS), key=lambda row: row.rank(sample)).name


# ---- writing ----------------------------------------------------------------------------------------------------
def write(name: str, documents: Iterable[Document], notes: Notes) -> Iterator[Any]:
    """Yield what to write for documents, as `Format.write` does, counting in `notes` what the format cannot hold."""
    row = by_name(name)

    def holdable() -> Iterator[Document]:
        for document in documents:
            if not row.scores:
                notes["lost: scores"] += len(document.scores)
            if not row.answers:
                mentions = {squeeze(document.text[span.start : span.end]) for span in document.entities}
                notes["lost: answers that are no entity"] += len(set(map(squeeze, document.answers)) - mentions)
            if not row.unlabelled:
                notes["lost: stretches that are not labelled"] += len(document.unlabelled)
            if not row.surrogates and _SURROGATE.search(document.text):
                text, changed = _SURROGATE.subn("\ufffd", document.text)
                notes["changed: lone surrogates, now U+FFFD"] += changed
                document = replace(document, text=text)
            yield document

    return row.write(holdable(), notes)
