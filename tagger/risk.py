"""Minimum-risk decoding: the entities that are most likely right one by one, not those of the one best tag path.

The best path is the one most likely right as a whole. Entities are scored one by one: of all sets of spans that do not
overlap, the one with the highest sum of probabilities, less a threshold for each span, has the best expected balance of
right and wrong ones (Goodman, 1996, "Parsing algorithms and metrics"). The threshold that is best for F1 is half of the
F1 that is reached (Lipton et al., 2014, "Optimal thresholding of classifiers to maximize F1 measure").
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from tagger.decode import Lattice
from tagger.tags import FIRST, LAST, MIDDLE, SINGLE, TagScheme, UnitSpan

LEAST = 1 / 3  # smallest threshold; with it, no unit is in more than two candidates


def likely_spans(weights: Lattice, threshold: float) -> tuple[list[list[UnitSpan]], list[list[float]]]:
    """Return the spans of each text that together are most likely right, and their probabilities.

    Args:
        weights: Of the texts, B of them.
        threshold: Probability above which a span counts, `LEAST` to 1.
    """
    rows, spans = _candidates(weights, threshold)
    probabilities = weights.spans(rows, spans)
    kept = np.flatnonzero(probabilities > threshold)
    kept = kept[np.lexsort((spans[kept, 1], rows[kept]))]  # by text, and by end
    found: list[list[UnitSpan]] = [[] for _ in weights.lengths]
    scores: list[list[float]] = [[] for _ in weights.lengths]
    candidates = zip(rows[kept].tolist(), spans[kept].tolist(), probabilities[kept].tolist(), strict=True)
    for row, group in itertools.groupby(candidates, key=lambda candidate: candidate[0]):
        chosen = _apart([(UnitSpan(*span), probability) for _, span, probability in group], threshold)
        found[row], scores[row] = [span for span, _ in chosen], [probability for _, probability in chosen]
    return found, scores


def _candidates(weights: Lattice, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return text (S,) and units and label (S, 3) of each span that can be as probable as the threshold.

    None of its units is less probable as first, middle or last unit of an entity with this label than the span itself.
    """
    tags = weights.tags()  # (N, K)
    units = len(tags)
    single, first, middle, last = (
        tags[:, TagScheme.tags_of(part)].T.ravel() > threshold for part in (SINGLE, FIRST, MIDDLE, LAST)
    )  # (labels * N,): all units for one label, then for the next; the last unit of a text is in no middle
    starts, lasts, ends = (np.flatnonzero(part) for part in (first, last, ~middle))
    reach = ends[np.searchsorted(ends, starts, "right")] if len(starts) else starts  # where a middle ends, at the latest
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


def _apart(candidates: Sequence[tuple[UnitSpan, float]], threshold: float) -> list[tuple[UnitSpan, float]]:
    """Return those candidates, given by end, that do not overlap and have the highest sum over the threshold."""
    if all(one.end <= other.start for (one, _), (other, _) in itertools.pairwise(candidates)):
        return list(candidates)
    ends = [0]
    best: list[tuple[float, list[tuple[UnitSpan, float]]]] = [(0.0, [])]  # of the candidates up to each end
    for span, probability in candidates:
        gain, chosen = best[bisect_right(ends, span.start) - 1]
        gain += probability - threshold
        if gain > best[-1][0]:
            ends.append(span.end)
            best.append((gain, [*chosen, (span, probability)]))
    return best[-1][1]
