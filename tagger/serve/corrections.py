"""The corpus file that corrected documents are appended to."""

import threading
from pathlib import Path

from tagger.documents import Document, Notes
from tagger.errors import CorpusError
from tagger.files import open_text
from tagger.formats.native import parse, to_native
from tagger.formats.records import parse_object
from tagger.outputs import append_line


class CorpusFile:
    """Append documents to a file of native JSON Lines, each whole or not at all; thread-safe.

    Args:
        path: Must end in `.jsonl`; created if absent. Its content is kept.

    Raises:
        CorpusError: If the name or the first line of the file is of another format.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".jsonl":
            raise CorpusError(str(path), "a name that ends in .jsonl", path.name, "corrected texts are JSON Lines")
        path.open("ab").close()
        self.path, self._lock = path, threading.Lock()
        with open_text(path) as lines:
            first = next(((number, line) for number, line in lines if line.strip()), None)
        if first:
            place = f"{path}:{first[0]}"
            parse(parse_object(first[1], place), place, Notes())

    def append(self, document: Document) -> None:
        """Append a document; it is on disk when this returns.

        Raises:
            OSError: If it could not be written; the file is then unchanged.
        """
        line = to_native(document.text, document.entities, unlabelled=document.unlabelled)
        with self._lock:
            append_line(self.path, line)
