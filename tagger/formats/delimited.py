"""CSV and TSV: a table with a heading, its text in the column "text", entities in "entities" as JSON.

Fields may be quoted and then hold separators and line ends. Every other column is a further key of the record, and
entities are read as in a JSON record with these keys.
"""

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator

from tagger.documents import Document, Notes
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.files import Source, reading
from tagger.formats.base import Sample
from tagger.formats.records import Record, Unread, dumps, from_cells, named, native_records

_LARGEST = 1 << 26  # characters of a field

FIRST = 1000  # documents whose keys decide which columns are written


def recogniser(separator: str) -> Callable[[Sample], int | None]:
    """Return the function that recognises a table with this separator: its heading has a column "text" and another."""

    def recognise(sample: Sample) -> int | None:
        if not sample.lines:
            return None
        heading = _heading(sample.lines[0], separator)
        column = reading.of(sample.path).column
        return 0 if len(heading) > 1 and ("text" in heading or column in heading) else None

    return recognise


def _heading(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def reader(separator: str, parse: Callable[[Record, str, Notes], Document]) -> Callable[..., Iterator[Document]]:
    """Return the reader of tables with this separator; `parse` makes a document of a record."""

    def read(source: Source, notes: Notes) -> Iterator[Document]:
        for place, record in _records(source, separator):
            yield parse(record, place, notes)

    return read


def texts_of(separator: str) -> Callable[[Source], Iterator[str]]:
    """Return the reader of the texts alone."""

    def texts(source: Source) -> Iterator[str]:
        for _, record in _records(source, separator):
            yield record["text"]

    return texts


def _records(source: Source, separator: str) -> Iterator[tuple[str, Record]]:
    """Yield (place, record) of each row; a row that is blank is none."""
    for place, record in _rows(source, separator):
        if isinstance(record, Unread):
            raise record.error
        yield place, record


def records_of(separator: str) -> Callable[[Source], Iterator[tuple[str, Record | Unread]]]:
    """Return the reader of the records as they are, as `Format.records`."""
    return lambda source: _rows(source, separator)


def _rows(source: Source, separator: str) -> Iterator[tuple[str, Record | Unread]]:
    """Yield what `_records` does and, in place of an error after which one can read on, that error."""
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST))
    table = csv.reader(_lines(source), delimiter=separator, strict=True)
    heading: list[str] = []
    text = ""
    while True:
        place = f"{source.place}:{table.line_num + 1}"
        try:
            row = next(table, None)
        except csv.Error as error:
            remedy = f'quote fields with " and double a " inside, {SEE_FORMATS}'
            raise CorpusError(place, "a row of the table", str(error), remedy) from error
        if row is None:
            return
        if not row:
            continue
        if not heading:
            heading, text = row, _text_column(row, source, place)
            continue
        if len(row) != len(heading):
            expected = f"{len(heading)} columns, as the heading has"
            reason = CorpusError(place, expected, f"{len(row)}: {row}", "quote fields that hold a separator")
            yield place, Unread(reason, separator.join(row))
            continue
        try:
            record = from_cells(dict(zip(heading, row, strict=True)), text, place)
        except CorpusError as error:
            yield place, Unread(error, separator.join(row))
        else:
            yield named(place, record), record


def _lines(source: Source) -> Iterator[str]:
    """Yield lines with their line ends as they are; a file without a line feed ends them with a carriage return."""
    rest = ""
    for block in source.blocks():
        *lines, rest = (rest + block).split("\n")
        yield from (line + "\n" for line in lines)
    if rest:
        yield rest


def _text_column(heading: list[str], source: Source, place: str) -> str:
    """Return the name of the column that holds the text."""
    if len(set(heading)) < len(heading):
        raise CorpusError(place, "a heading of different names", ", ".join(heading), "rename the columns")
    wanted = reading.of(source.path).column or "text"
    if wanted not in heading or {"start", "end", "entity"} <= set(heading):  # `predict --format table` has numbers
        raise CorpusError(place, f'a heading with the column "{wanted}"', ", ".join(heading), "name it with --column")
    return wanted


def writer(separator: str) -> Callable[[Iterable[Document], Notes], Iterator[str]]:
    """Return the writer of tables with this separator; a column each for text, entities, and each further key.

    The keys of the first documents are the columns.
    """

    def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
        rows = native_records(documents, notes)
        first = list(itertools.islice(rows, FIRST))
        keys = list(dict.fromkeys(["text", "entities", *(key for record in first for key in record)]))
        yield _row(keys, separator)
        for record in itertools.chain(first, rows):
            notes["lost: keys that none of the first records has"] += len(record.keys() - set(keys))
            yield _row([_cell(record.get(key, "")) for key in keys], separator)

    return write


def _cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else dumps(value)


def _row(cells: list[str], separator: str) -> str:
    special = {'"', "\r", "\n", separator}
    if cells == [""]:
        return '""\n'
    quoted = ('"' + cell.replace('"', '""') + '"' if special.intersection(cell) else cell for cell in cells)
    return separator.join(quoted) + "\n"
