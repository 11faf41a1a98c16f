"""Documents from corpora of any format, and back into files.

Formats are detected from the content (`formats.detect`); `.gz` is unzipped while it is read, `-` is standard input.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagger import formats
from tagger.documents import Document, Notes
from tagger.errors import ConfigError, CorpusError
from tagger.files import CHUNK, Part, Source, open_source
from tagger.files.outputs import atomic_file, atomic_folder, check_writable, open_output, standard_output
from tagger.formats.base import Format
from tagger.formats.parquet import Table


def read(path: str | Path, format: str = "", notes: Notes | None = None) -> Iterator[Document]:
    """Yield the documents of a corpus one by one.

    Args:
        path: A file, `-`, or a folder where the format is one of folders.
        format: Name of the format, one of `formats.FORMATS`; detected if empty.
        notes: Where to count what was lost or repaired, and where the name of the format is set.

    Raises:
        ConfigError: If there is no such format.
        CorpusError: At the first line that does not fit the format, with its number; or if a file of no known format
            looks annotated.
    """
    notes = Notes() if notes is None else notes
    with opened(path, format) as (known, source):
        notes.format = known.name
        yield from known.read(source, notes)


def texts(path: str | Path, format: str = "") -> Iterator[str]:
    """Yield the text of each document, blank ones included; arguments and errors as for `read`."""
    with opened(path, format) as (known, source):
        if known.texts:
            yield from known.texts(source)
        else:
            yield from (document.text for document in known.read(source, Notes()))


@contextmanager
def opened(path: str | Path, format: str, part: Part | None = None) -> Iterator[tuple[Format, Any]]:
    """Yield the format of a corpus and what its reader takes: a `Source`, or what the format makes of its path.

    Args:
        path: A file, `-`, or a folder where the format is one of folders.
        format: Name of the format; detected if empty.
        part: What is read of it, one or several of its `parts` that follow each other; None for all.
    """
    known = formats.by_name(format) if format else formats.by_folder(path)
    if known and known.folder:
        yield known, known.folder.open(path, part)
        return
    with open_source(path, part) as source:
        yield known or formats.by_name(formats.detect(source)), source


def parts(path: str | Path, format: str, size: int) -> tuple[str, Iterator[tuple[Part | None, int]]]:
    """Return the format of a corpus and its parts, each with its bytes: what can be read of it on its own.

    Texts of different parts are never tagged together, so that results do not depend on which parts are read together.

    Args:
        path, format: As for `opened`.
        size: Bytes of the file.

    Returns:
        The name of the format; and the parts: ranges of bytes of a file whose records are lines, row groups of a table,
        else None for all of it.
    """
    with opened(path, format) as (known, source):
        if isinstance(source, Table):
            groups = enumerate(source.group_sizes())
            return known.name, ((Part(number, number + 1), bytes) for number, bytes in groups)
        if isinstance(source, Source) and source.is_divisible and known.lines(source):
            starts = range(0, size, CHUNK)
            return known.name, ((Part(start, start + CHUNK), min(CHUNK, size - start)) for start in starts)
        return known.name, iter([(None, size)])


def files(path: Path) -> list[Path]:
    """Return the files that a corpus consists of; empty if there is no corpus at the path."""
    known = formats.by_folder(path)
    candidates = known.folder.files(path) if known and known.folder else [path]
    return [file for file in candidates if file.is_file()]


def require_files(paths: Iterable[str | Path], command: str = "") -> None:
    """Check that corpora are there and can be read, more than once if they have to be; nothing is read.

    Args:
        paths: The corpora.
        command: What reads them more than once, for the error; empty if it reads them once, so that streams will do.

    Raises:
        CorpusError: If one is missing, not readable, or a stream.
    """
    for path in paths:
        if str(path) == "-" or (Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir())):
            if not command:
                continue
            expected = f"a file, as {command} reads it more than once"
            raise CorpusError(str(path), expected, "a stream", "save it as a file first")
        found = files(Path(path))
        if not found:
            raise CorpusError(str(path), "a corpus", "no such file", "check the path")
        for file in found:
            if not os.access(file, os.R_OK):
                raise CorpusError(str(file), "a readable file", "one that may not be read", "check its permissions")


def labels(documents: Iterable[Document]) -> tuple[str, ...]:
    """Return the labels of the documents in alphabetical order."""
    distinct: set[str] = set()
    for document in documents:
        distinct.update(span.label for span in document.entities)
    return tuple(sorted(distinct))


def describe_notes(notes: Notes, left_out: bool = True) -> list[str]:
    """Return a line for each note, in alphabetical order.

    Args:
        notes: Counted by `read` or `write`.
        left_out: Whether to include what no document has a place for, and not only what concerns texts and entities.
    """
    kinds = sorted(kind for kind, count in notes.items() if count and (left_out or "left out:" not in kind))
    return [f"{kind} ({notes[kind]:,})" for kind in kinds]


def write(documents: Iterable[Document], out: Path | None, format: str, replace: bool, notes: Notes) -> tuple[int, int]:
    """Write documents in a format, one by one, and return how many texts and entities were given.

    Args:
        documents: Consumed one by one.
        out: File or, for a format of folders, folder to write; None for standard output.
        format: Name of the format, one of `formats.FORMATS`.
        replace: Whether an existing `out` may be replaced.
        notes: Where to count what the format cannot hold.

    Raises:
        ConfigError: If there is no such format, or a folder is to go to standard output.
        OutputError: If `out` exists and may not be replaced.
    """
    texts = entities = 0

    def counted() -> Iterator[Document]:
        nonlocal texts, entities
        for document in documents:
            texts, entities = texts + 1, entities + len(document.entities)
            yield document

    pieces = formats.write(format, counted(), notes)
    row = formats.by_name(format)
    if row.folder and not row.binary:
        if out is None:
            raise ConfigError(f"{format} is a folder of files; give its name instead of -")
        with atomic_folder(out, replace) as folder:
            for name, content in pieces:
                (folder / name).write_bytes(content.encode("utf-8", "replace"))
    else:
        if out:
            check_writable(out, replace)
        with opened_output(out, row) as write_piece:
            for piece in pieces:
                write_piece(piece)
    return texts, entities


@contextmanager
def opened_output(out: Path | None, row: Format) -> Iterator[Callable[[Any], object]]:
    """Yield a function that writes the pieces of a format to a file, or to standard output for None.

    Raises:
        OutputError: If the file cannot be written.
    """
    if not row.binary:
        with open_output(out) as write_text:
            yield write_text
    elif out is None:
        stdout = standard_output()
        yield stdout.write
        stdout.flush()
    else:
        with atomic_file(out) as part, part.open("wb") as file:
            yield file.write
