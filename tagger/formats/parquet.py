"""Parquet: a table with the columns "text" and "entities", a list of {start, end, label}; by pyarrow, an extra.

Every other column is a further key of the record, and entities are read as in a JSON record with these keys.
"""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagger.documents import Document, Notes
from tagger.errors import CorpusError, require
from tagger.files import Part, reading
from tagger.files.remote import open_binary
from tagger.formats.records import SURROGATE, Record, dumps, from_cells, named, native_records

_ROWS = 1000  # a group; those of the first decide which columns are written


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet by its name or its content."""
    if path.suffix == ".parquet" or not path.is_file():
        return path.suffix == ".parquet"
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


class Table:
    """A Parquet file, or some of its row groups.

    Args:
        path: A path, or the URI of a remote file.
        part: Which row groups; None for all.

    Attributes:
        chunk: The row group that was read last.
    """

    def __init__(self, path: str | Path, part: Part | None = None) -> None:
        self.path, self._part, self.chunk = path, part, 0

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number of each row, from 1, and its cells.

        Raises:
            CorpusError: If it cannot be read.
        """
        with self._opened() as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            part = self._part or Part(0, len(sizes))
            numbers = itertools.count(1 + sum(sizes[: part.start]))
            for self.chunk in range(part.start, part.stop):
                for batch in file.iter_batches(_ROWS, row_groups=[self.chunk]):
                    yield from ((next(numbers), row) for row in batch.to_pylist())

    def group_sizes(self) -> list[int]:
        """Return the bytes of each row group, unzipped; errors as for `rows`."""
        with self._opened() as file:
            return [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        parquet, arrow = require("pyarrow.parquet", "parquet"), require("pyarrow", "parquet")
        place = str(self.path)
        try:
            with open_binary(self.path) as raw, parquet.ParquetFile(raw) as file:
                yield file
        except FileNotFoundError as error:
            raise CorpusError(place, "a readable file", str(error.strerror), "check the path and the file") from error
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            shown = str(error).partition("\n")[0]
            raise CorpusError(place, "a whole Parquet file", shown, "copy it again") from error


def reader(parse: Callable[[Record, str, Notes], Document]) -> Callable[[Table, Notes], Iterator[Document]]:
    """Return the reader of Parquet; `parse` makes a document of a record."""

    def read(table: Table, notes: Notes) -> Iterator[Document]:
        for place, record in records(table):
            yield parse(record, place, notes)

    return read


def records(table: Table) -> Iterator[tuple[str, Record]]:
    """Yield each record as it is, as `Format.records`."""
    column = reading.of(table.path).column or "text"
    for number, row in table.rows():
        place = f"{table.path} (row {number})"
        if column not in row:
            raise CorpusError(str(table.path), f'a column "{column}"', ", ".join(row), "name it with --column")
        record = from_cells(row, column, place)
        yield named(place, record), record


_EXACT = 1 << 53  # up to which every integer is a float


def write(documents: Iterable[Document], notes: Notes) -> Iterator[bytes]:
    """Yield the bytes of a table, group by group; the keys of the first documents are its columns.

    A column whose first values are all integers, numbers, or truth values has that type; others are strings, and what
    is no string is JSON in them.
    """
    parquet, arrow = require("pyarrow.parquet", "parquet"), require("pyarrow", "parquet")
    entity = arrow.struct([("start", arrow.int64()), ("end", arrow.int64()), ("label", arrow.string())])
    rated = arrow.struct([*entity, ("text", arrow.string()), ("score", arrow.float64())])
    rows = native_records(documents, notes)
    first = list(itertools.islice(rows, _ROWS))
    has_scores = any("score" in one for record in first for one in record["entities"])
    keys = dict.fromkeys(key for record in first for key in record if key not in ("text", "entities"))
    kinds = {key: _kind([record[key] for record in first if key in record]) for key in keys}
    schema = arrow.schema([
        ("text", arrow.string()), ("entities", arrow.list_(rated if has_scores else entity)),
        *((key, arrow.type_for_alias(kind)) for key, kind in kinds.items()),
    ])  # fmt: skip
    sink = io.BytesIO()
    with parquet.ParquetWriter(sink, schema) as writer:
        group = first
        while group:
            for record in group:
                notes["lost: keys that none of the first records has"] += sum(key not in schema.names for key in record)
            table = [
                {**record, **{key: _value(record.get(key), kinds[key], notes) for key in keys}} for record in group
            ]
            writer.write_table(arrow.Table.from_pylist(table, schema))
            yield _taken(sink)
            group = list(itertools.islice(rows, _ROWS))
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """Return what has been written since the last call; positions go on counting."""
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content


def _kind(values: list[Any]) -> str:
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return "bool"
    if types == {int} and all(abs(value) < 1 << 63 for value in values if value is not None):
        return "int64"
    return "double" if float in types and types <= {int, float} else "string"


def _value(value: Any, kind: str, notes: Notes) -> Any:
    if value is None:
        return None
    if kind == "string":
        return SURROGATE.sub("\ufffd", value) if isinstance(value, str) else dumps(value)
    if kind == "double" and type(value) is int and abs(value) <= _EXACT:
        return float(value)
    if _kind([value]) == kind:
        return value
    notes["lost: further keys whose values are of another type"] += 1
    return None
