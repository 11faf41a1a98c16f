"""The tag scheme: spans of units <-> one tag per unit.

Five classes for one label: 0 outside, 1 single-unit entity, 2 first unit, 3 middle, 4 last; with n labels
there are 4n + 1, label i owning tags 4i + 1 to 4i + 4. Which tag may follow which is a table, and everything
that needs to know (decoder, loss, repair) reads that one table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

OPEN = -1  # stands for the tag of a unit that is not labelled: any may be right

OUTSIDE = 0

SINGLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4

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
        return ["O"] + [f"{PARTS[part]}-{label}" for label in self.labels for part in (1, 2, 3, 4)]

    @cached_property
    def starts(self) -> np.ndarray:
        """Tags a text may start with, (K,) bool."""
        parts = (np.arange(self.size) - 1) % 4 + 1
        parts[0] = OUTSIDE
        return (parts == OUTSIDE) | (parts == SINGLE) | (parts == FIRST)

    @cached_property
    def ends(self) -> np.ndarray:
        """Tags a text may end with, (K,) bool."""
        parts = (np.arange(self.size) - 1) % 4 + 1
        parts[0] = OUTSIDE
        return (parts == OUTSIDE) | (parts == SINGLE) | (parts == LAST)

    @cached_property
    def allowed(self) -> np.ndarray:
        """`[i, j]` is True when tag j may follow tag i, (K, K) bool."""
        inside = np.zeros((self.size, self.size), bool)
        for label in range(len(self.labels)):
            base = 4 * label
            for before in (FIRST, MIDDLE):
                for after in (MIDDLE, LAST):
                    inside[base + before, base + after] = True
        return inside | (self.ends[:, None] & self.starts[None, :])

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
        """Return the spans of a legal tag sequence, in order.

        A piece that is not legal (a middle without a first, say) gives no span.
        """
        tags = np.asarray(tags)
        spans = []
        start, label, before = -1, -1, -1  # of the entity that is open, and the unit it has come to
        for position in np.flatnonzero(tags).tolist():
            tag_label, part = divmod(int(tags[position]) - 1, 4)
            part += 1
            goes_on = start >= 0 and tag_label == label and position == before + 1
            if part == SINGLE:
                spans.append(UnitSpan(position, position + 1, tag_label))
            elif part == LAST and goes_on:
                spans.append(UnitSpan(start, position + 1, tag_label))
            if part == FIRST:
                start, label = position, tag_label
            elif not (part == MIDDLE and goes_on):
                start = -1
            before = position
        return spans
