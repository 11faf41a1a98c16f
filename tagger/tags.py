"""The tag scheme: spans of units <-> one tag per unit.

One label needs five tags: 0 outside, 1 single-unit entity, 2 first unit, 3 middle unit, 4 last unit. With n labels
there are 4n + 1 tags; label i owns tags 4i + 1 to 4i + 4. How tags are numbered is known to `TagScheme` alone, and
which tag may follow which is one table, `TagScheme.allowed`, that the decoder, the loss and the repair of tags read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

OPEN = -1  # in place of the tag of a unit that is not labelled: every tag may be correct

OUTSIDE = 0

SINGLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # parts of an entity

PARTS = "OSBME"  # the letter of each part, as in B-PER


class UnitSpan(NamedTuple):
    """Units `start` to `end` (half-open) are one entity with the label of this index."""

    start: int
    end: int
    label: int


@dataclass(frozen=True)
class TagScheme:
    """Tags for a list of labels.

    Args:
        labels: Label names; their order fixes the tag ids.
    """

    labels: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of tags K: 4n + 1 for n labels."""
        return 4 * len(self.labels) + 1

    @property
    def names(self) -> list[str]:
        """Name of each tag: O, S-PER, B-PER, M-PER, E-PER, ..."""
        tags = zip(self.parts, self.tag_labels, strict=True)
        return ["O" if part == OUTSIDE else f"{PARTS[part]}-{self.labels[label]}" for part, label in tags]

    # ---- how tags are numbered ----------------------------------------------------------------------------------
    @staticmethod
    def tag(label: Any, part: Any) -> Any:
        """Return the tag of a part (`SINGLE`, `FIRST`, `MIDDLE` or `LAST`) of an entity; ints, or int arrays."""
        return 4 * label + part

    @staticmethod
    def tags_of(part: int) -> slice:
        """Return where, on an axis of tags, the tags of this part stand: one for each label, in order."""
        return slice(part, None, 4)

    @staticmethod
    def entity_tags(label: int, length: int) -> list[int]:
        """Return the tags of the units of one entity of `length` units."""
        base = 4 * label
        return [base + SINGLE] if length == 1 else [base + FIRST, *[base + MIDDLE] * (length - 2), base + LAST]

    @cached_property
    def parts(self) -> list[int]:
        """Part of each tag, K ints: `OUTSIDE`, then `SINGLE`, `FIRST`, `MIDDLE`, `LAST` of each label."""
        return [OUTSIDE, *[SINGLE, FIRST, MIDDLE, LAST] * len(self.labels)]

    @cached_property
    def tag_labels(self) -> list[int]:
        """Index of the label of each tag, K ints; -1 for `OUTSIDE`."""
        return [-1, *(label for label in range(len(self.labels)) for _ in (SINGLE, FIRST, MIDDLE, LAST))]

    # ---- which sequences of tags are legal ----------------------------------------------------------------------
    @cached_property
    def starts(self) -> np.ndarray:
        """Tags a text may start with, (K,) bool."""
        return np.isin(self.parts, (OUTSIDE, SINGLE, FIRST))

    @cached_property
    def ends(self) -> np.ndarray:
        """Tags a text may end with, (K,) bool."""
        return np.isin(self.parts, (OUTSIDE, SINGLE, LAST))

    @cached_property
    def allowed(self) -> np.ndarray:
        """`[i, j]` is True when tag j may follow tag i, (K, K) bool."""
        inside = np.zeros((self.size, self.size), bool)
        for label in range(len(self.labels)):
            for before in (FIRST, MIDDLE):
                for after in (MIDDLE, LAST):
                    inside[self.tag(label, before), self.tag(label, after)] = True
        return inside | (self.ends[:, None] & self.starts[None, :])

    # ---- spans <-> tags -----------------------------------------------------------------------------------------
    def encode(self, spans: Iterable[UnitSpan], size: int, unlabelled: Iterable[slice] = ()) -> np.ndarray:
        """Return the tag of each unit, (size,) int32; spans must not overlap.

        Units in `unlabelled` stretches that are in no span get `OPEN`.
        """
        tags = np.zeros(size, np.int32)
        for stretch in unlabelled:
            tags[stretch] = OPEN
        for start, end, label in spans:
            base = 4 * label
            if end - start == 1:
                tags[start] = base + SINGLE
            else:
                tags[start + 1 : end - 1] = base + MIDDLE
                tags[start] = base + FIRST
                tags[end - 1] = base + LAST
        return tags

    def decode(self, tags: Sequence[int] | np.ndarray) -> list[UnitSpan]:
        """Return the spans of a tag sequence, in order.

        Tags that do not form a whole entity (a middle without a first, say) give no span.
        """
        tags = np.asarray(tags)
        positions = np.flatnonzero(tags)
        parts, tag_labels = self.parts, self.tag_labels
        spans = []
        start, label, before = -1, -1, -1  # of the entity that is open: first unit, label, latest unit
        for position, tag in zip(positions.tolist(), tags[positions].tolist(), strict=True):
            tag_label, part = tag_labels[tag], parts[tag]
            continues = start >= 0 and tag_label == label and position == before + 1
            if part == SINGLE:
                spans.append(UnitSpan(position, position + 1, tag_label))
            elif part == LAST and continues:
                spans.append(UnitSpan(start, position + 1, tag_label))
            if part == FIRST:
                start, label = position, tag_label
            elif not (part == MIDDLE and continues):
                start = -1
            before = position
        return spans
