"""What is known of the tags of a text: the probability of each tag after another, as far as it is worth keeping.

A tag path of units is a walk over edges, one into each unit: from the tag before it to its own. Annotation is a path
whose edges are certain; a teacher has a probability for each edge (its pairwise marginals). The loss of a linear-chain
model is linear in them, so edges of several sources are joined by scaling and concatenating them. Edges are arrays:

    unit         position of the unit in its text
    before, tag  tag of the unit before (0 for the first unit, whose `before` has no meaning) and of the unit
    probability  of both together; the edges of the same unit and tags add up, those of a unit add up to one
"""

from collections.abc import Sequence

import numpy as np

from tagger.tags import FIRST, LAST, MIDDLE, OUTSIDE, SINGLE, TagScheme

EDGE = np.dtype([("unit", "<i4"), ("before", "<u2"), ("tag", "<u2"), ("probability", "<f4")])


def edges(unit: np.ndarray, before: np.ndarray, tag: np.ndarray, probability: np.ndarray | float) -> np.ndarray:
    """Return N edges from arrays (N,) of their fields, (N,) `EDGE`."""
    made = np.empty(len(unit), EDGE)
    made["unit"], made["before"], made["tag"], made["probability"] = unit, before, tag, probability
    return made


def of_path(tags: np.ndarray) -> np.ndarray:
    """Return the edges of a path that is certain, from its tags (T,)."""
    return edges(np.arange(len(tags)), np.concatenate([tags[:1] * 0, tags[:-1]]), tags, 1.0)


def of_marginals(pairs: np.ndarray, least: float) -> np.ndarray:
    """Return the edges that are at least this probable, in proportion as if there were no others.

    Args:
        pairs: Probability of each tag after each other at each unit, (T, K, K); `[0]` has the first row alone.
        least: 0 to 1; the most probable edge of a unit is always returned.
    """
    floor = np.minimum(least, pairs.max(axis=(1, 2), keepdims=True))
    unit, before, tag = np.nonzero((pairs >= floor) & (pairs > 0))
    return _whole(edges(unit, before, tag, pairs[unit, before, tag]))


def _whole(some: np.ndarray) -> np.ndarray:
    """Return edges scaled so that those of each unit add up to one."""
    sums = np.bincount(some["unit"], weights=some["probability"])
    some["probability"] /= sums[some["unit"]]
    return some


def joined(parts: Sequence[np.ndarray], weights: Sequence[float], size: int, least: float = 0.0) -> np.ndarray:
    """Return the weighted mean of the edges of several sources, less those that are rare, in order of their units.

    Args:
        parts: Edges of each source, all of the same units and tags.
        weights: Of the sources; their sum is one.
        size: Number K of tags.
        least: As for `of_marginals`.
    """
    every = np.concatenate(parts)
    keys = (every["unit"].astype(np.int64) * size + every["before"]) * size + every["tag"]
    unique, place = np.unique(keys, return_inverse=True)
    mean = np.bincount(place, weights=every["probability"] * np.repeat(weights, list(map(len, parts))))
    unit, before, tag = unique // (size * size), unique // size % size, unique % size
    most = np.zeros(int(unit[-1]) + 1 if len(unit) else 0)
    np.maximum.at(most, unit, mean)
    kept = (mean > 0) & (mean >= np.minimum(least, most[unit]))
    return _whole(edges(unit[kept], before[kept], tag[kept], mean[kept]))


def renamed(some: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return edges with other tags: `tags[t]` for tag t, (K,) int."""
    return edges(some["unit"], tags[some["before"]], tags[some["tag"]], some["probability"])


def shifted(some: np.ndarray, units: int) -> np.ndarray:
    """Return edges as those of units so much later."""
    return edges(some["unit"] + units, some["before"], some["tag"], some["probability"])


def window(some: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return the edges into the units `start` to `stop` of a text, as those of a text of its own."""
    first, last = np.searchsorted(some["unit"], (start, stop))
    part = some[first:last]
    before = np.where(part["unit"] == start, OUTSIDE, part["before"])
    return edges(part["unit"] - start, before, part["tag"], part["probability"])


def of_characters(some: np.ndarray, bounds: np.ndarray, scheme: TagScheme) -> np.ndarray:
    """Return the edges of characters from those of units that have one or more of them.

    Args:
        some: Edges of units.
        bounds: Unit t is the characters `bounds[t]` to `bounds[t + 1]`, (T + 1,) int.
        scheme: Has the tags, which are the same for characters.
    """
    lengths = np.diff(bounds)
    parts, base = np.array(scheme.parts), np.arange(scheme.size) - np.array(scheme.parts)

    def tag_at(tag: np.ndarray, length: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return the tag of a character at a place in a unit of this length and tag."""
        part = parts[tag]
        opens = np.isin(part, (SINGLE, FIRST)) & (place == 0)
        closes = np.isin(part, (SINGLE, LAST)) & (place + 1 == length)
        inside = np.where(opens & closes, SINGLE, np.where(opens, FIRST, np.where(closes, LAST, MIDDLE)))
        return np.where(part == OUTSIDE, OUTSIDE, base[tag] + inside)

    unit, tag = some["unit"], some["tag"].astype(np.int64)
    here, earlier = lengths[unit], np.where(unit > 0, lengths[np.maximum(unit, 1) - 1], 1)
    before = tag_at(some["before"].astype(np.int64), earlier, earlier - 1)
    made = [edges(bounds[unit], before, tag_at(tag, here, np.zeros_like(here)), some["probability"])]
    for place in range(1, int(lengths.max(initial=1))):
        longer = here > place
        tags, sizes, at = tag[longer], here[longer], np.full(int(longer.sum()), place)
        pair = tag_at(tags, sizes, at - 1), tag_at(tags, sizes, at)
        made.append(edges(bounds[unit[longer]] + place, *pair, some["probability"][longer]))
    every = np.concatenate(made)
    return every[np.argsort(every["unit"], kind="stable")]
