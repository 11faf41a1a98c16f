"""Minimum-risk decoding: the entities that are most likely right one by one, not those of the one best tag path.

The best path is the one most likely right as a whole. Entities are scored one by one: of all sets of spans that do not
overlap, the one with the highest sum of probabilities, less a threshold for each span, has the best expected balance of
right and wrong ones (Goodman, 1996, "Parsing algorithms and metrics"). The threshold that is best for F1 is half of the
F1 that is reached (Lipton et al., 2014, "Optimal thresholding of classifiers to maximize F1 measure").
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from tagger.decode import Lattice
from tagger.tags import FIRST, LAST, MIDDLE, SINGLE, TagScheme

LEAST = 1 / 3  # smallest threshold; with it, no unit is in more than two candidates


def likely_spans(weights: Lattice, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spans that together are most likely right: text (S,), units and label (S, 3), and probability (S,).

    Args:
        weights: Of the texts.
        threshold: Probability above which a span counts, `LEAST` to 1.
    """
    rows, spans = _candidates(weights, threshold)
    probabilities = weights.spans(rows, spans)
    kept = np.flatnonzero(probabilities > threshold)
    kept = kept[np.lexsort((spans[kept, 1], rows[kept]))]  # by text, and by end
    rows, spans, probabilities = rows[kept], spans[kept], probabilities[kept]
    clash = (rows[1:] == rows[:-1]) & (spans[1:, 0] < spans[:-1, 1])
    chosen = np.ones(len(rows), bool)
    for row in dict.fromkeys(rows[1:][clash].tolist()):
        own = np.arange(*np.searchsorted(rows, (row, row + 1)))
        chosen[own] = False
        chosen[own[_apart(spans[own].tolist(), (probabilities[own] - threshold).tolist())]] = True
    return rows[chosen], spans[chosen], probabilities[chosen]


def _candidates(weights: Lattice, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return text (S,) and units and label (S, 3) of each span that can be as probable as the threshold.

    None of its units is less probable as first, middle or last unit of an entity with this label than the span itself.
    """
    tags = weights.tags  # (N, K)
    units = len(tags)
    single, first, middle, last = (
        tags[:, TagScheme.tags_of(part)].T.ravel() > threshold for part in (SINGLE, FIRST, MIDDLE, LAST)
    )  # (labels * N,): all units for one label, then for the next; the last unit of a text is in no middle
    starts, lasts, ends = (np.flatnonzero(part) for part in (first, last, ~middle))
    reach = (
        ends[np.searchsorted(ends, starts, "right")] if len(starts) else starts
    )  # where a middle ends, at the latest
    nearest, farthest = np.searchsorted(lasts, starts, "right"), np.searchsorted(lasts, reach, "right")
    counts = np.maximum(farthest - nearest, 0)
    starts = np.repeat(starts, counts)
    within = np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
    lasts = lasts[np.repeat(nearest, counts) + within]
    alone = np.flatnonzero(single)
    starts, lasts = np.concatenate([starts, alone]), np.concatenate([lasts, alone])
    labels, starts, lasts = starts // units, starts % units, lasts % units
    rows = np.searchsorted(np.cumsum(weights.lengths), starts, "right")
    firsts = (np.cumsum(weights.lengths) - weights.lengths)[rows]
    return rows, np.stack([starts - firsts, lasts - firsts + 1, labels], axis=1)


def _apart(spans: Sequence[Sequence[int]], gains: Sequence[float]) -> list[int]:
    """Return which spans, in order of their ends, do not overlap and have the highest sum of gains."""
    ends, best = [0], [(0.0, list[int]())]  # up to each end: the highest sum, and its spans
    for number, ((start, end, _), gain) in enumerate(zip(spans, gains, strict=True)):
        before, chosen = best[bisect_right(ends, start) - 1]
        if before + gain > best[-1][0]:
            ends.append(end)
            best.append((before + gain, [*chosen, number]))
    return best[-1][1]
