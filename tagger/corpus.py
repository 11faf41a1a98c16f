"""Labelled documents from files of any form, and what of them a tagger's units can represent.

A file's form is told from its content (`formats`); `.gz` is read as it is, `-` is standard input.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tagger import formats
from tagger.documents import Document, Notes
from tagger.errors import ConfigError
from tagger.files import atomic_folder, open_output, open_source, refuse_existing
from tagger.formats import brat


def read(path: str | Path, form: str = "", notes: Notes | None = None) -> Iterator[Document]:
    """Yield the documents of a corpus one by one.

    Args:
        path: A file, `-`, or a folder of brat files.
        form: Name of its form in `formats.FORMATS`; told from the content if empty.
        notes: Where to count what was lost or repaired.

    Raises:
        ConfigError: If there is no such form.
        CorpusError: At the first line that is not of the form, with its number.
    """
    notes = Notes() if notes is None else notes
    if _is_standoff(path, form):
        yield from brat.read(Path(path), notes)
        return
    with open_source(path) as source:
        yield from formats.format_of(form or formats.detect(source)).read(source, notes)


def texts(path: str | Path, form: str = "") -> Iterator[str]:
    """Yield the text of each document, blank ones included; arguments and errors as in `read`."""
    if _is_standoff(path, form):
        yield from (document.text for document in brat.read(Path(path), Notes()))
        return
    with open_source(path) as source:
        known = formats.format_of(form or formats.detect(source))
        yield from known.texts(source) if known.texts else (document.text for document in known.read(source, Notes()))


def told(notes: Notes, all_of_them: bool = True) -> list[str]:
    """Return the notes for a person; or only those that concern texts and entities, not what was left out."""
    wanted = sorted(what for what, count in notes.items() if count and (all_of_them or "left out:" not in what))
    return [f"{what} ({notes[what]:,})" for what in wanted]


def _is_standoff(path: str | Path, form: str) -> bool:
    return form == "brat" or (not form and brat.is_standoff(Path(path)))


def files(path: Path) -> list[Path]:
    """Return the files that a corpus is made of; empty if there is none."""
    found = [file for pair in brat.pairs(path) for file in pair] if brat.is_standoff(path) else [path]
    return [file for file in found if file.is_file()]


def labels(documents: Iterable[Document]) -> tuple[str, ...]:
    """Return the labels of a corpus in alphabetical order."""
    found: set[str] = set()
    for document in documents:
        found.update(span.label for span in document.entities)
    return tuple(sorted(found))


def convert(documents: Iterable[Document], out: Path | None, form: str, replace: bool, notes: Notes) -> tuple[int, int]:
    """Write documents in a form, one by one, and return the number of texts and of entities read.

    Args:
        documents: Any iterable.
        out: File or, for a form of folders, folder to write; None for standard output.
        form: Name of the form, one of `formats.FORMATS`.
        replace: Whether what exists may be replaced.
        notes: Where to count what the form cannot hold.

    Raises:
        ConfigError: If there is no such form, or a folder is to go to standard output.
        BundleError: If `out` exists and may not be replaced.
    """
    texts = entities = 0

    def counted() -> Iterator[Document]:
        nonlocal texts, entities
        for document in documents:
            texts, entities = texts + 1, entities + len(document.entities)
            yield document

    pieces = formats.write(form, counted(), notes)
    if formats.FORMATS[form].folder:
        if out is None:
            raise ConfigError(f"{form} is a folder of files; give its name instead of -")
        with atomic_folder(out, replace) as folder:
            for name, content in pieces:
                (folder / name).write_bytes(content.encode("utf-8", "replace"))
    else:
        if out:
            refuse_existing(out, replace)
        with open_output(out) as write:
            for piece in pieces:
                write(piece)
    return texts, entities
