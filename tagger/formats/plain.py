"""Plain: a text a line, without entities."""

import re
from collections.abc import Iterable, Iterator

from tagger.documents import Document, Notes
from tagger.files import Source


# ---- plain ------------------------------------------------------------------------------------------------------
def read_plain(source: Source, notes: Notes) -> Iterator[Document]:
    """Yield a document a line, blank ones included."""
    for _, line in source.lines():
        yield Document(line)


def write_plain(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line a document."""
    for document in documents:
        text, changed = re.subn("^\ufeff|[\r\n]", " ", document.text)
        notes["lost: entities"] += len(document.entities)
        notes["changed: line ends and byte order marks, now spaces"] += changed
        yield text + "\n"
