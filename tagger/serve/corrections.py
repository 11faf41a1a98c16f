"""The corpus file that corrected documents are appended to."""

import threading
from pathlib import Path

from tagger import formats
from tagger.documents import Document, Notes
from tagger.errors import CorpusError
from tagger.files import open_source
from tagger.files.outputs import append_line
from tagger.formats.native import to_native
from tagger.formats.records import is_array, is_spread


class CorpusFile:
    """Append documents to a file of native JSON Lines, each whole or not at all; thread-safe.

    Args:
        path: Must end in `.jsonl`; created if absent. Its content is kept.

    Raises:
        CorpusError: If the name or the content of the file is of another format.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".jsonl":
            raise CorpusError(str(path), "a name that ends in .jsonl", path.name, "corrected texts are JSON Lines")
        path.open("ab").close()
        self.path, self._lock = path, threading.Lock()
        with open_source(path) as source:
            name, is_lines = formats.detect(source), not (is_array(source.head) or is_spread(source.head))
            first = next(formats.by_name(name).read(source.peek(), Notes()), None)
        if name != "jsonl" or not is_lines:
            received = f"the format {name}" if is_lines else "JSON that is not one record a line"
            remedy = f"convert it first: tagger convert {path} NEW.jsonl"
            raise CorpusError(first.place if first else str(path), "native JSON Lines", received, remedy)

    def append(self, document: Document) -> None:
        """Append a document; it is on disk when this returns.

        Raises:
            OSError: If it could not be written; the file is then unchanged.
        """
        line = to_native(document.text, document.entities, unlabelled=document.unlabelled)
        with self._lock:
            append_line(self.path, line)
