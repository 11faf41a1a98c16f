"""Mention replacement: more training texts, in which entities are exchanged for others of their label.

What surrounds a name is then learnt apart from the names of the corpus, so that unknown ones are found more often
(Dai and Adel, 2020, "An analysis of simple data augmentation for named entity recognition").
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from tagger import corpus
from tagger.documents import Document, Span

COPIES = 4  # of a text, at most, each with other entities

_SHARE = 0.7  # of the entities in a copy that are exchanged

_FEW = 4  # mentions of one kind, below which another kind is drawn from


def mentions_of(documents: Iterable[Document]) -> dict[str, list[str]]:
    """Return the different mentions of each label, in the order of the documents."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for document in documents:
        for start, end, label in document.entities:
            found[label][document.text[start:end]] = None
    return {label: list(mentions) for label, mentions in found.items()}


def exchanged_texts(path: Path, copies: float, seed: int) -> Iterator[str]:
    """Yield the texts of a labelled corpus, some of their entities exchanged for others of it; some come out unchanged.

    Args:
        path: The corpus; it is streamed.
        copies: How often a text with entities comes on average, with others each time; up to `COPIES`.
        seed: Decides what comes out, together with the corpus.
    """
    mentions = mentions_of(corpus.read(path))
    random = Random(seed)
    for number in range(COPIES):
        replacer = Replacer(mentions, _SHARE, COPIES * seed + number)
        for document in corpus.read(path):
            if document.entities and random.random() < copies / COPIES:
                yield replacer(document).text


class Replacer:
    """Exchanges entities for mentions of their label, of the same kind where there are several such.

    A mention's kind is its writing (Chinese, with a middle dot, other), its last character, and whether it is one
    character, since 省 or 公司 at the end of a name, and short forms, stand where other names do not.

    Args:
        mentions: By label, what may be put in the place of an entity; labels that it lacks are left as they are.
        share: Of the entities that are exchanged.
        seed: Decides what comes out, together with the documents.
    """

    def __init__(self, mentions: Mapping[str, Sequence[str]], share: float, seed: int) -> None:
        self.share, self.random = share, Random(seed)
        self._mentions: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for label, strings in mentions.items():
            for mention in strings:
                for kind in _kinds(label, mention):
                    self._mentions[kind].append(mention)

    def __call__(self, document: Document) -> Document:
        """Return a document with some of its entities exchanged: the same mention for the same one."""
        drawn: dict[tuple[str, str], str] = {}
        parts, spans, last, length = [], [], 0, 0
        for start, end, label in document.entities:
            mention = document.text[start:end]
            if (mention, label) not in drawn:
                drawn[mention, label] = self._draw(mention, label)
            new = drawn[mention, label]
            parts += [document.text[last:start], new]
            length += start - last
            spans.append(Span(length, length + len(new), label))
            length, last = length + len(new), end
        return Document("".join([*parts, document.text[last:]]), tuple(spans))

    def _draw(self, mention: str, label: str) -> str:
        if self.random.random() >= self.share:
            return mention
        for kind in _kinds(label, mention):
            if len(others := self._mentions.get(kind, [])) >= _FEW:
                return self.random.choice(others)
        return mention


def _kinds(label: str, mention: str) -> list[tuple[str, ...]]:
    """Return the kinds of a mention, the narrowest first."""
    writing = "dot" if "·" in mention else "Han" if all("\u3400" <= sign <= "\u9fff" for sign in mention) else "other"
    size = "one" if len(mention) == 1 else "several"
    if label == "PER" or size == "one":
        return [(label, writing, size)]
    return [(label, writing, size, mention[-1]), (label, writing, size)]
