"""Lists without signs: texts in which names follow each other with nothing between, made of labelled lists.

Notices and tables come so once their spaces or line breaks are lost: 张三李四王五. Labelled corpora hardly ever do, and
a network that has seen only 张三、李四、王五 finds few of the names.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from tagger.documents import Document, Span

_LEAST = 3  # entities of a list

_SIGNS = 2  # characters between two of them, at most


def lists_without_signs(documents: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents that hold lists, without the signs or spaces in these.

    A list is three or more entities of one label with the same signs between them. Partly labelled documents are left
    out.
    """
    for document in documents:
        signs = [] if document.unlabelled else list(_signs(document))
        if signs:
            yield _without(document, signs)


def _signs(document: Document) -> Iterator[tuple[int, int]]:
    """Yield where the signs between the entities of lists stand, in order."""
    found: list[tuple[int, int]] = []  # between the entities of what may be a list
    kind = ("", "")  # its signs and its label
    for one, other in pairwise(document.entities):
        place = one.end, other.start
        between = document.text[slice(*place)]
        if (between, other.label) != kind or one.label != other.label:
            yield from found if len(found) >= _LEAST - 1 else ()
            divides = one.label == other.label and 0 < len(between) <= _SIGNS and not any(map(str.isalnum, between))
            found, kind = [], (between, other.label) if divides else ("", "")
        if kind[0]:
            found.append(place)
    yield from found if len(found) >= _LEAST - 1 else ()


def _without(document: Document, places: list[tuple[int, int]]) -> Document:
    """Return a document without these stretches of its text, none of which touches an entity."""
    starts, ends = zip(*places, strict=True)
    kept = zip((0, *ends), (*starts, len(document.text)), strict=True)

    def moved(place: int) -> int:
        return place - sum(end - start for start, end in places if end <= place)

    entities = tuple(Span(moved(start), moved(end), label) for start, end, label in document.entities)
    return Document("".join(document.text[start:end] for start, end in kept), entities)
