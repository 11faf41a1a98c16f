"""A corpus written in a form, whole or not at all."""

import gzip
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagger import formats
from tagger.bundle import atomic_folder, refuse_existing
from tagger.documents import Document, Notes
from tagger.errors import ConfigError


def convert(documents: Iterable[Document], out: Path | None, form: str, replace: bool, notes: Notes) -> tuple[int, int]:
    """Write documents in a form, one by one, and return the number of texts and of entities read.

    Args:
        documents: Any iterable.
        out: File or, for a form of folders, folder to write; None for standard output.
        form: Name of the form, one of `formats.FORMS`.
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
    if formats.FORMS[form].folder:
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


@contextmanager
def open_output(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes; a file, zipped if its name ends in .gz, appears only when it is whole.

    A device or a pipe is written to as it is.
    """
    if path is None:
        stdout = sys.stdout.buffer
        yield lambda line: stdout.write(line.encode("utf-8", "replace"))
        stdout.flush()
        return
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
        return
    part = path.with_name(path.name + ".part")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(part, "wt", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
