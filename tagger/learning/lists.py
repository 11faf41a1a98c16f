"""Lists without signs: texts in which names follow each other with nothing between, made of labelled lists.

Notices and tables come so once their spaces or line breaks are lost: 张三李四王五. Labelled corpora hardly ever do, and
a network that has seen only 张三、李四、王五 finds few of the names.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby, pairwise

from tagger.documents import Document, Span

_LEAST = 3  # entities of a list

# Two of them from the last character of one to the first of the other, and the one or two signs between.
_DIVIDED = re.compile(r"[\u3400-\u9fff\W](\W{1,2})[\u3400-\u9fff\W]")


def lists_without_signs(documents: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents that hold lists, without the signs or spaces in these.

    A list is three or more entities of one label with the same signs between them, and no digits or foreign letters on
    either side of these: 3、5、8 is not 358. Partly labelled documents are left out.
    """
    for document in documents:
        signs = [] if document.unlabelled else list(_signs(document))
        if signs:
            yield _without(document, signs)


def _signs(document: Document) -> Iterator[tuple[int, int]]:
    """Yield where the signs between the entities of lists stand, in order."""
    for kind, neighbours in groupby(pairwise(document.entities), lambda pair: _kind(document.text, *pair)):
        places = [(one.end, other.start) for one, other in neighbours]
        if kind and len(places) >= _LEAST - 1:
            yield from places


def _kind(text: str, one: Span, other: Span) -> tuple[str, str] | None:
    """Return label and signs of the list that two neighbours may belong to, or None."""
    divided = _DIVIDED.fullmatch(text, one.end - 1, other.start + 1)
    return (one.label, divided[1]) if divided and one.label == other.label else None


def _without(document: Document, places: list[tuple[int, int]]) -> Document:
    """Return a document without these stretches of its text, none of which touches an entity."""
    starts, ends = zip(*places, strict=True)
    kept = zip((0, *ends), (*starts, len(document.text)), strict=True)
    lost = [0, *accumulate(end - start for start, end in places)]

    def moved(place: int) -> int:
        return place - lost[bisect_right(ends, place)]

    entities = tuple(Span(moved(start), moved(end), label) for start, end, label in document.entities)
    return Document("".join(document.text[start:end] for start, end in kept), entities)
