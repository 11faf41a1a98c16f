"""The corpus formats: one table of them, and which format a file has.

To add a format:

1. Write one module in this folder with a `read(source, notes)` and a `write(documents, notes)`, as in `plain.py`; for
   a format of JSON records, a `parse(record, place, notes)` and a `claims(record)` in place of `read`, as in
   `cluener.py`. Count in `notes` whatever a document or the format has no place for, and raise `CorpusError` at what
   is malformed.
2. Add one row to `_ROWS`. It holds everything else: the format's suffixes, what it can hold, and how a file of it is
   recognised. The command line, conversion, training and the table in `tagger help formats` read the row.
3. Run `scripts/docs`, which rewrites that table.

Rows run from general to special: where a file may be of two formats alike, the later row wins.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tagger.documents import Document, Notes, squeeze
from tagger.errors import ConfigError
from tagger.files import Source
from tagger.formats import (
    brat,
    cluener,
    columns,
    contest,
    delimited,
    doccano,
    inline,
    labelstudio,
    native,
    parquet,
    plain,
    prodigy,
    records,
    tokens,
    uie,
)
from tagger.formats.base import Folder, Format, Sample


# ---- the table --------------------------------------------------------------------------------------------------
def _texts(source: Source) -> Iterator[str]:
    """Yield the text of each record of any JSON format, annotations unread; an empty line is an empty text."""
    for place, record in records.read_records(source, blanks=True):
        yield text_of(record, place)


def text_of(record: records.Record, place: str) -> str:
    """Return the text of a record of any format.

    Raises:
        CorpusError: If it has none.
    """
    text = tokens.text_of(record)
    return records.record_text(record, place) if text is None else text


def _json(name: str, about: str, form: Any, **more: Any) -> Format:
    """Return the row of a format of JSON records, whose functions are those of the module `form`."""

    def read(source: Source, notes: Notes) -> Iterator[Document]:
        for place, record in records.read_records(source):
            yield parse(record, place, notes, name)

    rest = {
        "read": read,
        "texts": _texts,
        "records": records.read_on,
        "lines": records.are_lines,
        "extra": True,
        "recognise": form.recognise,
        **more,
    }
    write = getattr(form, "write", None)
    return Format(name, about, write=write, parse=form.parse, claims=form.claims, **rest)


def _table(name: str, about: str, separator: str) -> Format:
    """Return the row of tables as text."""
    return Format(
        name, about, delimited.reader(separator, _parse_row), delimited.writer(separator), suffixes=(f".{name}",),
        recognise=delimited.recogniser(separator), texts=delimited.texts_of(separator),
        records=delimited.records_of(separator), ahead=delimited.FIRST, scores=True, answers=True,
        unlabelled="stretches", surrogates=False, extra=True,
    )  # fmt: skip


def _columns(name: str, about: str, **more: Any) -> Format:
    """Return the row of a scheme of column tags; all schemes are read alike."""
    return Format(name, about, columns.read, columns.writer(name), surrogates=False, **more)


def _parse_row(record: records.Record, place: str, notes: Notes) -> Document:
    """Return the document of a row of a table."""
    return parse(record, place, notes, "jsonl")


_ROWS = (
    _json(
        "jsonl",
        'native JSON Lines: `{"text": "...", "entities": [{"start": 0, "end": 2, "label": "PER"}]}`; more below',
        native, suffixes=(".jsonl",), scores=True, answers=True, unlabelled="stretches",
    ),
    Format(
        "plain", "a text on each line, without entities; any other file is read as this, unless it looks annotated",
        plain.read, plain.write, recognise=plain.recognise, texts=plain.texts, surrogates=False,
        lines=lambda source: True,
    ),
    _table("csv", "a table with a heading: its columns `text`, `entities` (JSON as above) and any others", ","),
    _table("tsv", "the same, separated by tabs", "\t"),
    Format(
        "parquet", "the same as Parquet, `entities` as a list; needs `pip install 'hantagger[parquet]'`",
        parquet.reader(_parse_row), parquet.write, suffixes=(".parquet",), scores=True, answers=True,
        unlabelled="stretches", surrogates=False, extra=True, binary=True, records=parquet.records,
        folder=Folder(parquet.is_parquet, lambda path: [path], parquet.Table),
    ),
    Format(
        "inline",
        r"a text on each line, `[佐藤健]{PER}出生于日本`; `\[` `\]` `\\` are these characters, `\n` a line end",
        inline.read, inline.write, recognise=inline.recognise,
    ),
    _columns(
        "bio", "CoNLL columns: on each line the token first and its tag last, `B-PER` `I-PER` `O`; more below",
        suffixes=(".bio", ".conll", ".conllu", ".iob2"), aliases=("conll",), recognise=columns.recognise,
    ),
    _columns("bioes", "the same with the tags B I E S O", suffixes=(".bioes",)),
    _columns("bmes", "the same with the tags B M E S O", suffixes=(".bmes",)),
    _columns("bilou", "the same with the tags B I L U O", suffixes=(".bilou",)),
    _json(
        "doccano",
        'doccano: `{"text": "...", "label": [[0, 2, "PER"]]}`, or under `labels`, `entities` or `annotations`', doccano,
    ),
    _json(
        "cluener",
        'CLUENER: `{"text": "...", "label": {"PER": {"佐藤健": [[0, 2]]}}}`, the last character included', cluener,
    ),
    _json(
        "prodigy",
        'Prodigy: `{"text": "...", "spans": [{"start": 0, "end": 2, "label": "PER"}], "answer": "accept"}`', prodigy,
        unlabelled="texts",
    ),
    _json("tokens", 'tokens with tags: `{"tokens": ["佐", "藤"], "ner_tags": ["B-PER", "I-PER"]}`', tokens),
    _json(
        "labelstudio",
        "Label Studio: a JSON array of tasks with `annotations` or `predictions`; entities with scores are predictions",
        labelstudio, scores=True, predictions=True, unlabelled="texts",
    ),
    _json(
        "contest", 'JSON Lines with entities as strings: `{"content": "...", "core_entity": ["..."]}`; more below',
        contest, answers=True,
    ),
    _json(
        "uie", 'UIE, read only: `{"content": "...", "result_list": [{"start": 0, "end": 2}], "prompt": "PER"}`',
        uie, read=uie.read, texts=None,
    ),
    Format(
        "brat", "brat standoff: a folder with a `.txt` and a `.ann` file for each text, or one such pair",
        brat.read, brat.write, surrogates=False, folder=Folder(brat.is_standoff, brat.files),
    ),
)  # fmt: skip

_JSON_ROWS = tuple(row for row in reversed(_ROWS) if row.parse)

# Row by name, aliases included.
FORMATS = {name: row for row in _ROWS for name in (row.name, *row.aliases)}

WRITABLE = tuple(name for name, row in FORMATS.items() if row.write)


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
    """Return the name of the format that the earliest line or record proves, else that of the suffix, else plain.

    Raises:
        CorpusError: If it would be plain but looks annotated.
    """
    sample = Sample(source)
    found = min(reversed(_ROWS), key=lambda row: row.rank(sample)).name
    if found == "plain" or (sample.lines[:1] and sample.lines[0].startswith("#FORMAT=")):
        plain.refuse_annotated(sample)
    return found


# ---- JSON records -----------------------------------------------------------------------------------------------
def parse(record: records.Record, place: str, notes: Notes, name: str) -> Document:
    """Return the document of a JSON record.

    Args:
        record: Read in its own form if its entities have that of another format than `name`.
        place: For messages; `records.named` adds the id.
        notes: What was lost or repaired is counted here.
        name: The format of the file.

    Raises:
        CorpusError: If the record is malformed, or has entities in an unknown form.
    """
    row, is_claimed = FORMATS[name], True
    if not row.claims(record):
        other = next((other for other in _JSON_ROWS if other.claims(record)), None)
        if other and other is not row:
            notes[f"changed: records in another form than the others, read as {other.name}"] += 1
            row = other
        is_claimed = other is not None
    document = row.parse(record, place, notes)  # type: ignore[misc]
    if not is_claimed and document.extra and not document.entities:
        records.refuse_annotated(document.extra, place)
    return replace(document, place=place)


# ---- writing ----------------------------------------------------------------------------------------------------
def written(name: str) -> Format:
    """Return the format of this name, which documents are to be written in.

    Raises:
        ConfigError: If there is none, or it can only be read.
    """
    row = by_name(name)
    if row.write is None:
        raise ConfigError(f"{name} can only be read; one of: {', '.join(WRITABLE)}")
    return row


def write(name: str, documents: Iterable[Document], notes: Notes, predicted: bool = False) -> Iterator[Any]:
    """Yield what to write for documents, as `Format.write` does, counting in `notes` what the format cannot hold.

    Args:
        name: Of the format.
        documents: Consumed one by one.
        notes: Where to count.
        predicted: Whether the entities are predictions: a text without any is then no annotated text.
    """
    row = written(name)

    def holdable() -> Iterator[Document]:
        for document in documents:
            if not row.scores:
                notes["lost: scores"] += len(document.scores)
            if not row.answers:
                mentions = {squeeze(document.text[span.start : span.end]) for span in document.entities}
                notes["lost: answers that are no entity"] += len(set(map(squeeze, document.answers)) - mentions)
            if row.unlabelled != "stretches" and not (row.unlabelled and document.is_unlabelled):
                notes["lost: stretches that are not labelled"] += len(document.unlabelled)
            if document.predicted and row.extra and not row.predictions:
                predicted_entities = [entity._asdict() for entity in document.predicted]
                document = replace(document, extra={**document.extra, "predicted": predicted_entities})
            if not row.extra:
                notes["left out: further keys of records"] += len(document.extra)
            if not row.surrogates and records.SURROGATE.search(document.text):
                text, changed = records.SURROGATE.subn("\ufffd", document.text)
                notes["changed: lone surrogates, now U+FFFD"] += changed
                document = replace(document, text=text)
            if predicted and row.unlabelled == "texts" and not document.entities:
                document = replace(document, unlabelled=((0, len(document.text)),))
            yield document

    return row.write(holdable(), notes)  # type: ignore[misc]
