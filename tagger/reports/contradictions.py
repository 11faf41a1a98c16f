"""Where the annotation of a corpus contradicts itself: mentions labelled in several ways, left out, texts repeated."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tagger.alignment import EXAMPLES
from tagger.documents import Document, text_key
from tagger.findings import Finding, finding
from tagger.gazetteer import Matcher
from tagger.text import Units

SHOWN = 60  # characters of a text shown as an example

Mention = tuple[str, str]  # its string and its label


def context(text: str, start: int, end: int) -> str:
    """Return characters `start` to `end` of a text with twelve characters on either side."""
    return text[max(start - 12, 0) : end + 12]


class SeveralLabels:
    """Strings that are entities with several labels, and where they have another label than they mostly have.

    Args:
        mentions: How often each string has each label.
    """

    def __init__(self, mentions: Counter[Mention]) -> None:
        labels: dict[str, Counter[str]] = {}
        for (mention, label), count in mentions.items():
            labels.setdefault(mention, Counter())[label] = count
        several = {mention: counts for mention, counts in labels.items() if len(counts) > 1}
        worst = sorted(several, key=lambda m: (-several[m].most_common(2)[1][1], -several[m].total(), m))
        self._usual = {mention: counts.most_common(1)[0][0] for mention, counts in several.items()}
        self._shown = {mention: several[mention] for mention in worst[: 2 * EXAMPLES]}
        self._places: dict[Mention, str] = {}

    def add(self, document: Document) -> list[Finding]:
        """Return the entities of a document whose label is not the one that their string mostly has."""
        found = []
        for start, end, label in document.entities:
            mention = document.text[start:end]
            if mention in self._usual:
                if mention in self._shown:
                    self._places.setdefault((mention, label), document.place)
                if label != self._usual[mention]:
                    found.append(finding("labels", document, start, end, label, usual=self._usual[mention]))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the number of strings with several labels; the most evenly divided ones are examples."""
        examples = [
            {
                "mention": mention,
                "labels": dict(counts.most_common()),
                "places": {label: self._places.get((mention, label), "") for label, _ in counts.most_common()},
            }
            for mention, counts in self._shown.items()
        ]
        return {"mentions": len(self._usual), "examples": examples}


class Unmarked:
    """Counts occurrences of strings that are entities elsewhere and are none here.

    Only occurrences that begin and end where words do are counted, longer ones first. Strings of one character are
    not counted, nor what overlaps an entity: they are mostly part of a word.

    Args:
        mentions: How often each string of the corpus has each label.
    """

    def __init__(self, mentions: Counter[Mention]) -> None:
        self._marked: Counter[str] = Counter()
        for (mention, _), count in mentions.items():
            self._marked[mention] += count
        self._find = Matcher(mention for mention in self._marked if len(mention) > 1)
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, tuple[str, str]] = {}  # context and place

    def add(self, document: Document, units: Units) -> list[Finding]:
        """Count and return the unmarked occurrences in a document, which has these units."""
        text, found = document.text, []
        matches = self._find(text)
        if len(matches) == len(document.entities) and {span[:2] for span in document.entities} == set(matches):
            return []
        bounds = {0, *itertools.accumulate(map(len, units.words))}
        taken = bytearray(len(text))
        for start, end, _ in document.entities:
            taken[start:end] = b"\1" * (end - start)
        for start, end in sorted(matches, key=lambda match: match[0] - match[1]):
            if start in bounds and end in bounds and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                mention = text[start:end]
                self._counts[mention] += 1
                if mention not in self._examples:
                    self._examples[mention] = context(text, start, end), document.place
                found.append(finding("unmarked", document, start, end, marked=self._marked[mention]))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the number of strings and of occurrences; the most evenly divided strings are examples."""
        marked = self._marked
        worst = sorted(self._counts, key=lambda m: (-min(marked[m], self._counts[m]), -marked[m], m))[: 2 * EXAMPLES]
        rows = ((m, marked[m], self._counts[m], *self._examples[m]) for m in worst)
        examples = [dict(zip(("mention", "marked", "unmarked", "in", "place"), row, strict=True)) for row in rows]
        return {"mentions": len(self._counts), "occurrences": self._counts.total(), "examples": examples}


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
        self._shared_examples: dict[tuple[int, int], list[dict[str, str]]] = {pair: [] for pair in self._shared}
        texts, annotations = np.unique(np.unique(np.concatenate(rows), axis=0)[:, 0], return_counts=True)
        self._disputed = set(texts[annotations > 1].tolist())
        self._disputed_examples: dict[int, dict[str, str]] = {}

    def add(self, document: Document, file: int, key: int) -> list[str]:
        """Take the next text of a file as an example of what it repeats.

        Args:
            document: With the text.
            file: Number of the file.
            key: `text_key` of the text.

        Returns:
            What it is: "repeated" if the text repeats an earlier one of its file, "shared" if an earlier file has it
            too, "disputed" if it occurs with other entities.
        """
        example, kinds = {"text": document.text[:SHOWN], "place": document.place}, []
        for (first, second), shared in self._shared.items():
            if file == second and key in shared:
                kinds = ["shared"]
                if len(examples := self._shared_examples[first, second]) < EXAMPLES:
                    examples.append(example)
        if key in self._disputed:
            kinds.append("disputed")
            if len(self._disputed_examples) < EXAMPLES:
                self._disputed_examples.setdefault(key, example)
        if key in self._repeated[file]:
            if self._repeated[file][key]:
                kinds.append("repeated")
            self._repeated[file][key] = True
        return kinds

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
