"""Viterbi and marginals over whole batches, in NumPy; knows no Keras.

A text's score is the sum of the scores of its tags and of the transitions between them; texts of a batch are
padded on the right to T. Forbidden transitions, starts and ends are `-inf`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tagger.tags import TagScheme, UnitSpan

# The 2016 table, by hand: score of tag j after tag i is log of this. Entities side by side (11, 12, 41, 42),
# impossible there, get the weight of the rarest legal step.
CONTEST_TABLE = {
    (0, 0): 0.15, (0, 1): 0.15, (0, 2): 0.7, (1, 0): 1.0, (1, 1): 0.15, (1, 2): 0.15, (2, 3): 0.5, (2, 4): 0.5,
    (3, 3): 0.5, (3, 4): 0.5, (4, 0): 1.0, (4, 1): 0.15, (4, 2): 0.15,
}  # fmt: skip

_SCALED = 4  # units from one scaling to the next

_FEW = 1_000  # units, padding included, whose best paths are followed text by text


@dataclass(frozen=True)
class Transitions:
    """Scores of tag j after tag i, of starting and of ending with a tag.

    Args:
        scores: (K, K) float32; `-inf` forbids.
        starts: (K,) float32.
        ends: (K,) float32.
    """

    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @staticmethod
    def legal(scheme: TagScheme, scores: np.ndarray | None = None) -> "Transitions":
        """Return transitions with `scores` (default 0) where legal and `-inf` elsewhere."""
        scores = np.zeros((scheme.size, scheme.size)) if scores is None else scores
        return Transitions(
            np.where(scheme.allowed, scores, -np.inf).astype(np.float32),
            np.where(scheme.starts, 0, -np.inf).astype(np.float32),
            np.where(scheme.ends, 0, -np.inf).astype(np.float32),
        )

    @staticmethod
    def contest(scheme: TagScheme) -> "Transitions":
        """Return the hand-set table of 2016, the same for each label."""
        scores = np.zeros((scheme.size, scheme.size))
        for i, j in zip(*np.nonzero(scheme.allowed), strict=True):
            part_i, part_j = ((tag - 1) % 4 + 1 if tag else 0 for tag in (i, j))
            scores[i, j] = np.log(CONTEST_TABLE[part_i, part_j])
        return Transitions.legal(scheme, scores)


def viterbi(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Return the best tag path of each text (Viterbi, 1967; Forney, 1973).

    Args:
        scores: Score of each tag at each unit, (B, T, K) float32. Not modified.
        lengths: Units of each text, (B,) int.
        transitions: See `Transitions`.

    Returns:
        Tag ids, (B, T) int32, 0 past a text's end. Ties take the lower id.
    """
    size, longest, tags = scores.shape
    path = np.zeros((size, longest), np.int32)
    if not (size and longest):
        return path
    last = lengths - 1
    by_unit = np.ascontiguousarray(scores.transpose(1, 2, 0))  # (T, K, B): texts lie side by side
    step = transitions.scores[:, :, None]  # from i to j
    best = np.empty((longest, tags, size), np.float32)
    best[0] = by_unit[0] + transitions.starts[:, None]
    few = size * longest <= _FEW
    candidates = np.empty((longest if few else 1, tags, tags, size), np.float32)
    for t in range(1, longest):
        into = candidates[t % len(candidates)]
        np.add(best[t - 1][:, None], step, out=into)
        np.maximum.reduce(into, axis=0, out=best[t])
        best[t] += by_unit[t]
    rows = np.arange(size)
    tag = (best[last, :, rows] + transitions.ends).argmax(axis=1)
    if few:
        came = candidates.argmax(axis=1)  # the tag before
        for row in range(size):
            before, taken = came[:, :, row].tolist(), [int(tag[row])]
            for t in range(last[row], 0, -1):
                taken.append(before[t][taken[-1]])
            path[row, : last[row] + 1] = taken[::-1]
        return path
    by_target = np.ascontiguousarray(transitions.scores.T)
    for t in range(longest - 1, -1, -1):
        inside = t <= last
        path[inside, t] = tag[inside]
        if t:  # only what led to the path's own tag is looked for again
            tag = np.where(inside, (best[t - 1].T + by_target[tag]).argmax(axis=1), tag)
    return path


@dataclass(frozen=True)
class Lattice:
    """Forward and backward scores of a batch (Rabiner, 1989), from which marginals are read.

    Args:
        scores: As given to `lattice`, (B, T, K).
        transitions: As given.
        forward: Summed weight of all paths up to a tag, it included, scaled, (T, B, K).
        backward: Summed weight of all ways on from a tag, it excluded, scaled, (T, B, K).
        reached: Log of what `forward` was divided by, (T, B).
        left: Log of what `backward` was divided by, (T, B).
        total: Log of the summed weight of all paths, (B,).
    """

    scores: np.ndarray
    transitions: Transitions
    forward: np.ndarray
    backward: np.ndarray
    reached: np.ndarray
    left: np.ndarray
    total: np.ndarray

    def marginals(self, row: int, length: int) -> np.ndarray:
        """Return the probability of each tag at each unit of text `row` of this length, (length, K)."""
        shares = self.forward[:length, row] * self.backward[:length, row]
        return shares * np.exp(self.reached[:length, row] + self.left[:length, row] - self.total[row])[:, None]

    def spans(self, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Return the probability that these units are, together, one entity with this label, of each of N spans.

        Args:
            rows: The text of each, (N,) int.
            spans: As `UnitSpan`s, (N, 3) int.

        Returns:
            (N,) float64.
        """
        starts, ends, labels = spans.T
        lasts, step, base = ends - 1, self.transitions.scores, 4 * labels
        alone = lasts == starts
        first, middle, last = base + 2 - alone, base + 3, base + 4 - 3 * alone
        between = step[first, middle] + (lasts - starts - 2) * step[middle, middle] + step[middle, last]
        inner = np.where(lasts - starts > 1, between, step[first, last]) + self.scores[rows, lasts, last]
        inner += self._middles[rows, lasts, labels] - self._middles[rows, np.minimum(starts + 1, lasts), labels]
        log = np.where(alone, 0, inner) + self.reached[starts, rows] + self.left[lasts, rows] - self.total[rows]
        around = np.float64(self.forward[starts, rows, first]) * self.backward[lasts, rows, last]
        with np.errstate(divide="ignore"):  # what cannot be has no logarithm
            log += np.log(around)
        return np.exp(np.minimum(log, 0))

    @cached_property
    def _middles(self) -> np.ndarray:
        """Summed scores of each label's middle tag before each unit, (B, T + 1, labels)."""
        size, longest, tags = self.scores.shape
        sums = np.zeros((size, longest + 1, tags // 4))
        np.cumsum(self.scores[:, :, 3::4], axis=1, out=sums[:, 1:])
        return sums


def lattice(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> Lattice:
    """Return the forward and backward scores of a batch.

    The sums run over weights that are scaled now and then, so that a unit costs a matrix product, not K x K logarithms,
    and in single precision, which leaves probabilities right to five digits.

    Args:
        scores: Score of each tag at each unit, (B, T, K) float32. Not modified.
        lengths: Units of each text, (B,) int; at least 1.
        transitions: See `Transitions`.
    """
    size, longest, _ = scores.shape
    tiny, rows = np.finfo(np.float32).tiny, np.arange(size)
    by_unit = scores.transpose(1, 0, 2)
    top = by_unit.max(axis=2)  # (T, B)
    weights = np.exp(by_unit - top[:, :, None])  # (T, B, K)
    step = np.exp(transitions.scores)
    starts, ends = (np.exp(some) for some in (transitions.starts, transitions.ends))
    # Both directions in one loop: a backward step is a forward one in the text reversed, where j comes after i.
    mirrored = np.maximum(lengths - 1 - np.arange(longest)[:, None], 0)
    both = np.stack([weights, weights[mirrored, rows]], axis=1)  # (T, 2, B, K)
    tops = np.stack([top, top[mirrored, rows]], axis=1)
    steps = np.stack([step, step.T])
    came, now = np.empty_like(both), np.empty_like(both)  # before and after the unit's own weight
    came[0] = np.stack([starts, ends])[:, None]
    totals = np.ones_like(tops)
    for t in range(longest):
        if t:
            np.matmul(now[t - 1], steps, out=came[t])
        np.multiply(came[t], both[t], out=now[t])
        if t % _SCALED == _SCALED - 1:
            totals[t] = now[t].sum(axis=2) + tiny
            now[t] /= totals[t][:, :, None]
    logs = np.cumsum(np.log(totals, dtype=np.float64) + tops, axis=0)  # of what `now` was divided by, (T, 2, B)
    forward, reached = now[:, 0], logs[:, 0]
    total = reached[lengths - 1, rows] + np.log(
        (forward[lengths - 1, rows] * ends).sum(axis=1) + tiny, dtype=np.float64
    )
    before = np.concatenate([np.zeros((1, size)), logs[:-1, 1]])
    return Lattice(scores, transitions, forward, came[mirrored, 1, rows], reached, before[mirrored, rows], total)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return `scores` less the log of their summed exponentials over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mean_probabilities(scores: np.ndarray, paths: np.ndarray, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the geometric mean probability of the tags of each of N spans: the measure of 2016.

    Args:
        scores: Log-probability of each tag at each unit, (B, T, K).
        paths: Tag ids, (B, T).
        rows, spans: As for `Lattice.spans`.

    Returns:
        (N,) float64.
    """
    taken = np.take_along_axis(scores, paths[:, :, None], axis=2)[:, :, 0]
    sums = np.pad(np.cumsum(taken, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    starts, ends, _ = spans.T
    return np.exp((sums[rows, ends] - sums[rows, starts]) / (ends - starts))


def best_span(around: Lattice, row: int, length: int, scheme: TagScheme, longest: int = 24) -> tuple[UnitSpan, float]:
    """Return the most probable span of a text that is not empty, and its probability.

    Only spans that start and end at one of the eight most probable first and last tags are compared.
    """
    tags = around.marginals(row, length)
    found = []
    for label in range(len(scheme.labels)):
        single, first, _, last = (tags[:, 4 * label + part] for part in (1, 2, 3, 4))
        firsts, lasts = (np.argsort(-some, kind="stable")[:8] for some in (first, last))
        starts, ends = np.repeat(firsts, len(lasts)), np.tile(lasts, len(firsts)) + 1
        fits = (ends - starts > 1) & (ends - starts <= longest)
        starts, ends = np.append(single.argmax(), starts[fits]), np.append(single.argmax() + 1, ends[fits])
        found.append(np.stack([starts, ends, np.full_like(starts, label)], axis=1))
    spans = np.concatenate(found)
    probabilities = around.spans(np.full(len(spans), row), spans)
    best = int(probabilities.argmax())
    return UnitSpan(*spans[best].tolist()), float(probabilities[best])
