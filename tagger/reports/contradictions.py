"""Where the annotation of a corpus contradicts itself: mentions labelled in several ways, left out, texts repeated."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from tagger.alignment import EXAMPLES
from tagger.documents import Document, squeeze
from tagger.gazetteer import Matcher
from tagger.text import Units

SHOWN = 60  # characters of a text shown as an example

Mention = tuple[str, str]  # its string and its label


def context(text: str, start: int, end: int) -> str:
    """Return characters `start` to `end` of a text with twelve characters on either side."""
    return text[max(start - 12, 0) : end + 12]


def several_labels(mentions: Counter[Mention]) -> dict[str, Any]:
    """Return the number of strings with several labels; the most evenly divided ones are examples."""
    labels: dict[str, Counter[str]] = {}
    for (mention, label), count in mentions.items():
        labels.setdefault(mention, Counter())[label] = count
    several = {mention: counts for mention, counts in labels.items() if len(counts) > 1}
    worst = sorted(several, key=lambda m: (-several[m].most_common(2)[1][1], -several[m].total(), m))[: 2 * EXAMPLES]
    examples = [{"mention": mention, "labels": dict(several[mention].most_common())} for mention in worst]
    return {"mentions": len(several), "examples": examples}


class Unmarked:
    """Counts occurrences of strings that are entities elsewhere and are none here.

    Only occurrences that begin and end where words do are counted, longer ones first. Strings of one character are
    not counted, nor what overlaps an entity: they are mostly part of a word.

    Args:
        mentions: Entities of the corpus, as strings.
    """

    def __init__(self, mentions: Iterable[str]) -> None:
        self._find = Matcher(mention for mention in mentions if len(mention) > 1)
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, document: Document, units: Units) -> None:
        """Count the unmarked occurrences in a document, which has these units."""
        text = document.text
        matches = self._find(text)
        if len(matches) == len(document.entities) and {span[:2] for span in document.entities} == set(matches):
            return
        bounds = {0, *itertools.accumulate(map(len, units.words))}
        taken = bytearray(len(text))
        for start, end, _ in document.entities:
            taken[start:end] = b"\1" * (end - start)
        for start, end in sorted(matches, key=lambda match: match[0] - match[1]):
            if start in bounds and end in bounds and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                self._counts[text[start:end]] += 1
                self._examples.setdefault(text[start:end], context(text, start, end))

    def to_dict(self, mentions: Counter[Mention]) -> dict[str, Any]:
        """Return the number of strings and of occurrences; the most evenly divided strings are examples."""
        marked: Counter[str] = Counter()
        for (mention, _), count in mentions.items():
            marked[mention] += count
        worst = sorted(self._counts, key=lambda m: (-min(marked[m], self._counts[m]), -marked[m], m))[: 2 * EXAMPLES]
        examples = [
            {"mention": m, "marked": marked[m], "unmarked": self._counts[m], "in": self._examples[m]} for m in worst
        ]
        return {"mentions": len(self._counts), "occurrences": self._counts.total(), "examples": examples}


def text_key(text: str) -> int:
    """Return a hash of a text without its white space, 64 bits."""
    return _hash(squeeze(text))


def annotation_key(document: Document) -> int:
    """Return a hash of a document's entities, as strings and labels, 64 bits."""
    return _hash(repr([(squeeze(document.text[s:e]), label) for s, e, label in document.entities]))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Repeats:
    """Texts that occur several times, white space aside: in one file, in two files, or with different entities.

    Args:
        keys: `text_key` and `annotation_key` of each text, for each file.
    """

    def __init__(self, keys: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
        rows = [np.array(columns, np.uint64).T for columns in keys]  # (texts, 2) each
        rows = [row[row[:, 0] != text_key("")] for row in rows]
        counts = [np.unique(row[:, 0], return_counts=True) for row in rows]
        # For each file, the texts that occur several times in it, and whether one of them has been seen.
        self._repeated = [dict.fromkeys(texts[times > 1].tolist(), False) for texts, times in counts]
        pairs = itertools.combinations(range(len(keys)), 2)
        self._shared = {(a, b): set(np.intersect1d(counts[a][0], counts[b][0]).tolist()) for a, b in pairs}
        self._shared_examples: dict[tuple[int, int], list[str]] = {pair: [] for pair in self._shared}
        texts, annotations = np.unique(np.unique(np.concatenate(rows), axis=0)[:, 0], return_counts=True)
        self._disputed = set(texts[annotations > 1].tolist())
        self._disputed_examples: dict[int, str] = {}

    def add(self, text: str, file: int, key: int) -> bool:
        """Take the next text of a file as an example of what it repeats.

        Args:
            text: The text.
            file: Number of the file.
            key: `text_key` of the text.

        Returns:
            Whether the text repeats an earlier one of its file.
        """
        for (first, second), shared in self._shared.items():
            examples = self._shared_examples[first, second]
            if file == second and key in shared and len(examples) < EXAMPLES:
                examples.append(text[:SHOWN])
        if key in self._disputed and len(self._disputed_examples) < EXAMPLES:
            self._disputed_examples.setdefault(key, text[:SHOWN])
        if key not in self._repeated[file]:
            return False
        seen, self._repeated[file][key] = self._repeated[file][key], True
        return seen

    def shared(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return the number of distinct texts that each pair of files, which have these names, has in common."""
        return [
            {
                "first": names[first],
                "second": names[second],
                "texts": len(keys),
                "examples": self._shared_examples[first, second],
            }
            for (first, second), keys in self._shared.items()
        ]

    def disputed(self) -> dict[str, Any]:
        """Return the number of texts that occur with different entities."""
        return {"count": len(self._disputed), "examples": list(self._disputed_examples.values())}
