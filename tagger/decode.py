"""Viterbi and marginals over whole batches, in NumPy; knows no Keras.

A text's score is the sum of the scores of its tags and of the transitions between them; texts of a batch are
padded on the right to T. Forbidden transitions, starts and ends are `-inf`.
"""

from dataclasses import dataclass

import numpy as np

from tagger.tags import TagScheme, UnitSpan

# The 2016 table, by hand: score of tag j after tag i is log of this. Entities side by side (11, 12, 41, 42),
# impossible there, get the weight of the rarest legal step.
CONTEST_TABLE = {
    (0, 0): 0.15, (0, 1): 0.15, (0, 2): 0.7, (1, 0): 1.0, (1, 1): 0.15, (1, 2): 0.15, (2, 3): 0.5, (2, 4): 0.5,
    (3, 3): 0.5, (3, 4): 0.5, (4, 0): 1.0, (4, 1): 0.15, (4, 2): 0.15,
}  # fmt: skip


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
    back = np.empty((longest, size, tags), np.uint8 if tags < 256 else np.int32)
    best = scores[:, 0] + transitions.starts
    final = best.copy()
    by_target = np.ascontiguousarray(transitions.scores.T)  # [j, i], so that the maximum runs over adjacent numbers
    for t in range(1, longest):
        candidates = best[:, None, :] + by_target  # (B, K, K)
        came = candidates.argmax(axis=2)
        back[t] = came
        best = np.take_along_axis(candidates, came[:, :, None], axis=2)[:, :, 0] + scores[:, t]
        ends_here = last == t
        final[ends_here] = best[ends_here]
    tag = (final + transitions.ends).argmax(axis=1)
    rows = np.arange(size)
    for t in range(longest - 1, -1, -1):
        inside = t <= last
        path[inside, t] = tag[inside]
        if t:
            tag = np.where(inside, back[t, rows, tag], tag)
    return path


@dataclass(frozen=True)
class Lattice:
    """Forward and backward scores of a batch (Rabiner, 1989), from which marginals are read.

    Args:
        scores: As given to `lattice`, (B, T, K).
        transitions: As given.
        forward: Log of the summed weight of all paths up to a tag, it included, (B, T, K) float32.
        backward: Log of the summed weight of all ways on from a tag, it excluded, (B, T, K) float32.
        total: Log of the summed weight of all paths, (B,) float32.
    """

    scores: np.ndarray
    transitions: Transitions
    forward: np.ndarray
    backward: np.ndarray
    total: np.ndarray

    def marginals(self, row: int, length: int) -> np.ndarray:
        """Return the probability of each tag at each unit of text `row` of this length, (length, K)."""
        return np.exp(self.forward[row, :length] + self.backward[row, :length] - self.total[row])

    def span(self, row: int, span: UnitSpan) -> float:
        """Return the probability that these units of text `row` are, together, one entity with this label."""
        start, end, label = span
        base = 4 * label
        if end - start == 1:
            first = last = base + 1
            inner = 0.0
        else:
            first, middle, last = base + 2, base + 3, base + 4
            step = self.transitions.scores
            scores = self.scores[row]
            inner = float(scores[start + 1 : end - 1, middle].sum() + scores[end - 1, last])
            inner += float((end - start - 3) * step[middle, middle] if end - start > 2 else 0.0)
            inner += float(step[first, middle] + step[middle, last] if end - start > 2 else step[first, last])
        log = self.forward[row, start, first] + inner + self.backward[row, end - 1, last] - self.total[row]
        return float(np.exp(min(log, 0.0)))


def lattice(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> Lattice:
    """Return the forward and backward scores of a batch.

    The sums run over probabilities scaled at each unit, so that a unit costs a matrix product, not K x K logarithms.

    Args:
        scores: Score of each tag at each unit, (B, T, K) float32. Not modified.
        lengths: Units of each text, (B,) int; at least 1.
        transitions: See `Transitions`.
    """
    size, longest, _ = scores.shape
    tiny = np.finfo(np.float64).tiny
    top = scores.max(axis=2, keepdims=True)
    weights = np.exp((scores - top).astype(np.float64))  # (B, T, K)
    step = np.exp(transitions.scores.astype(np.float64))
    forward, backward = np.empty(scores.shape), np.empty(scores.shape)
    logs = np.empty((size, longest))  # log of what each unit was scaled by
    now = weights[:, 0] * np.exp(transitions.starts)
    for t in range(longest):
        if t:
            now = (now @ step) * weights[:, t]
        total = now.sum(axis=1, keepdims=True) + tiny
        now = now / total
        forward[:, t] = now
        logs[:, t] = np.log(total[:, 0])
    logs += top[:, :, 0]
    reached = np.cumsum(logs, axis=1)  # (B, T)
    rows = np.arange(size)
    ends = np.exp(transitions.ends.astype(np.float64))
    total = reached[rows, lengths - 1] + np.log((forward[rows, lengths - 1] * ends).sum(axis=1) + tiny)
    ahead = np.zeros(size)  # log of what `now` was scaled by
    left = np.empty((size, longest))
    now = np.broadcast_to(ends, (size, len(ends)))
    for t in range(longest - 1, -1, -1):
        inside = t < lengths - 1
        if t < longest - 1:
            following = (now * weights[:, t + 1]) @ step.T
            scale = following.sum(axis=1, keepdims=True) + tiny
            now = np.where(inside[:, None], following / scale, ends)
            ahead = np.where(inside, ahead + np.log(scale[:, 0]) + top[:, t + 1, 0], 0.0)
        backward[:, t] = now
        left[:, t] = ahead
    with np.errstate(divide="ignore"):
        return Lattice(
            scores,
            transitions,
            np.log(forward) + reached[:, :, None],
            np.log(backward) + left[:, :, None],
            total,
        )


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return `scores` less the log of their summed exponentials over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def best_span(marginals: Lattice, row: int, length: int, scheme: TagScheme, longest: int = 24) -> UnitSpan:
    """Return the most probable span of a text that is not empty.

    Only spans that start and end at one of the eight most probable first and last tags are compared.
    """
    tags = marginals.marginals(row, length)
    best, found = -1.0, UnitSpan(0, 1, 0)
    for label in range(len(scheme.labels)):
        base = 4 * label
        firsts = np.argsort(-tags[:, base + 2], kind="stable")[:8]
        lasts = np.argsort(-tags[:, base + 4], kind="stable")[:8]
        spans = [UnitSpan(int(s), int(e) + 1, label) for s in firsts for e in lasts if 0 < e - s < longest]
        single = int(tags[:, base + 1].argmax())
        for span in [UnitSpan(single, single + 1, label), *spans]:
            probability = marginals.span(row, span)
            if probability > best:
                best, found = probability, span
    return found
