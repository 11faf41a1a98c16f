"""Plain text: one text on each line, without entities."""

import re
from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes
from tagger.files import Source
from tagger.formats.base import FALLBACK, Sample


def recognise(sample: Sample) -> int | None:
    """Return `FALLBACK`: any file can be read as plain text."""
    return FALLBACK


def read(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document for each line, blank ones included."""
    for _, line in source.lines():
        yield Document(line)


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for document in documents:
        text, changed = re.subn("^\ufeff|[\r\n]", " ", document.text)
        notes["lost: entities"] += len(document.entities)
        notes["changed: line ends and byte order marks, now spaces"] += changed
        yield text + "\n"
