"""A corpus in random parts for training, dev and test, without texts that two of them have in common."""

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tagger.documents import Document, annotation_key, text_key
from tagger.errors import ConfigError, CorpusError

PARTS = ("train", "dev", "test")

_DROPPED = len(PARTS)  # part of a duplicate that is dropped


@dataclass
class Split:
    """Which part each document of a corpus belongs to.

    Texts that are equal apart from white space are in one part. Texts whose entities have the same labels are divided
    in the same proportions. What nobody has annotated is in the first part: it scores nothing.

    Args:
        sizes: Of dev and test: a share of the texts below 1, or a number of texts; 0 for none.
        seed: Of the random order.
        drop_duplicates: Whether of documents with the same text and the same entities only the first stays.

    Attributes:
        keys: `text_key` of each document, in order.
        parts: Number of the part of each document, in order; `_DROPPED` for those that are dropped.
        repeats: How many texts repeat an earlier one.
        dropped: How many documents were dropped.
        unannotated: How many documents nobody has annotated.
    """

    sizes: Mapping[str, float]
    seed: int = 1
    drop_duplicates: bool = False
    parts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    repeats: int = 0
    dropped: int = 0
    unannotated: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    def fit(self, documents: Iterable[Document]) -> "Split":
        """Read all documents, of which about 100 bytes each are held in memory, and decide where they belong.

        Raises:
            ConfigError: If dev and test leave nothing to train on, or are larger than what there is.
        """
        keys, annotations, kinds = array("Q"), array("Q"), array("I")
        numbers: dict[frozenset[str] | None, int] = {None: 0}  # None: not annotated
        for document in documents:
            keys.append(text_key(document.text))
            annotations.append(annotation_key(document))
            labels = None if document.is_unlabelled else frozenset(span.label for span in document.entities)
            kinds.append(numbers.setdefault(labels, len(numbers)))
        rows = np.array([keys, annotations], np.uint64)
        self.keys = rows[0]
        _, first, group = np.unique(rows[0], return_index=True, return_inverse=True)
        self.repeats = len(keys) - len(first)
        of_text = np.array(kinds, np.int64)
        self.unannotated = int((of_text == 0).sum())
        annotated = np.ones(len(first), bool)
        annotated[group[of_text == 0]] = False
        chosen = self._divide(np.flatnonzero(annotated), of_text[first], len(first))
        self.parts = chosen[group].astype(np.int8)
        if self.drop_duplicates:
            _, earliest = np.unique(rows, axis=1, return_index=True)
            duplicate = np.ones(len(keys), bool)
            duplicate[earliest] = False
            self.parts[duplicate] = _DROPPED
            self.dropped = int(duplicate.sum())
        return self

    def _divide(self, groups: np.ndarray, kinds: np.ndarray, total: int) -> np.ndarray:
        """Return the part of each group of equal texts, (total,): those not in `groups` are in the first part.

        The groups are laid out kind by kind, in random order within each; picking them at equal distances takes the
        same share of every kind.
        """
        chosen = np.zeros(total, np.int8)
        order = np.random.default_rng(self.seed).permutation(len(groups))
        left = groups[order][np.argsort(kinds[groups[order]], kind="stable")]
        counts = {part: self._count(part, len(groups)) for part in PARTS[1:]}
        if sum(counts.values()) >= len(groups):
            wanted = " and ".join(f"{count:,} for {part}" for part, count in counts.items() if count)
            raise ConfigError(
                f"{len(groups):,} different annotated texts: {wanted or 'these'} would leave none for train; choose "
                "smaller --dev and --test"
            )
        for part, count in counts.items():
            reached = np.arange(1, len(left) + 1) * count // max(len(left), 1)
            picked = np.diff(reached, prepend=0) > 0
            chosen[left[picked]] = PARTS.index(part)
            left = left[~picked]
        return chosen

    def _count(self, part: str, texts: int) -> int:
        size = self.sizes.get(part, 0)
        return max(round(size * texts), 1) if 0 < size < 1 else int(size)

    def of(self, part: str, documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
        """Yield the documents of a part, counting in `counts` its texts ("") and the entities of each label.

        Raises:
            CorpusError: If the corpus is not the one that was read before.
        """
        number = PARTS.index(part)
        for document, key, own in itertools.zip_longest(documents, self.keys, self.parts):
            if document is None or key != text_key(document.text):
                place = document.place if document else "the end of the corpus"
                raise CorpusError(place, "the text that was there before", "another", "do not change it meanwhile")
            if own == number:
                counts[""] += 1
                counts.update(span.label for span in document.entities)
                yield document
