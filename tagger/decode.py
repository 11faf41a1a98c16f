"""Viterbi and marginals over whole batches, in NumPy; independent of Keras.

A text's score is the sum of the scores of its tags and of the transitions between them; the texts of a batch are
padded on the right to T. Forbidden transitions, starts and ends are `-inf`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tagger.tags import FIRST, LAST, MIDDLE, SINGLE, TagScheme, UnitSpan

# The hand-set table of 2016: the score of part j after part i (`TagScheme.parts`) is the log of this. Entities side by
# side (11, 12, 41, 42), impossible there, get the weight of the rarest legal step.
CONTEST_TABLE = {
    (0, 0): 0.15, (0, 1): 0.15, (0, 2): 0.7, (1, 0): 1.0, (1, 1): 0.15, (1, 2): 0.15, (2, 3): 0.5, (2, 4): 0.5,
    (3, 3): 0.5, (3, 4): 0.5, (4, 0): 1.0, (4, 1): 0.15, (4, 2): 0.15,
}  # fmt: skip

_SCALED = 4  # units from one rescaling to the next

_LOST = 1e-3  # a batch in single precision is off by less, however long; a larger difference is underflow

_FEW = 1_000  # with fewer units in a batch, padding included, best paths are traced back text by text

_CANDIDATES = 8  # most probable first and last units of an entity that `best_span` compares


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
        for i, j in np.argwhere(scheme.allowed).tolist():
            scores[i, j] = np.log(CONTEST_TABLE[scheme.parts[i], scheme.parts[j]])
        return Transitions.legal(scheme, scores)

    def double(self) -> "Transitions":
        """Return the same transitions in double precision."""
        scores, starts, ends = (part.astype(np.float64) for part in (self.scores, self.starts, self.ends))
        return Transitions(scores, starts, ends)


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
        previous = candidates.argmax(axis=1)  # best tag before each tag, (T, K, B)
        for row in range(size):
            before, reverse = previous[:, :, row].tolist(), [int(tag[row])]
            for t in range(last[row], 0, -1):
                reverse.append(before[t][reverse[-1]])
            path[row, : last[row] + 1] = reverse[::-1]
        return path
    by_target = np.ascontiguousarray(transitions.scores.T)
    for t in range(longest - 1, -1, -1):
        inside = t <= last
        path[inside, t] = tag[inside]
        if t:  # only the tag before the path's own tag is computed again
            tag = np.where(inside, (best[t - 1].T + by_target[tag]).argmax(axis=1), tag)
    return path


@dataclass(frozen=True)
class Lattice:
    """Forward and backward weights of a batch (Rabiner, 1989), from which marginals are computed.

    Args:
        scores: As given to `lattice`, (B, T, K).
        transitions: As given.
        forward: Summed weight of all paths up to and including a tag, scaled, (T, B, K).
        backward: Summed weight of all paths that follow a tag, scaled, (T, B, K).
        forward_scale: Log of what `forward` was divided by, (T, B) float64.
        backward_scale: Log of what `backward` was divided by, (T, B) float64.
        total: Log of the summed weight of all paths, (B,) float64.
    """

    scores: np.ndarray
    transitions: Transitions
    forward: np.ndarray
    backward: np.ndarray
    forward_scale: np.ndarray
    backward_scale: np.ndarray
    total: np.ndarray

    def marginals(self, row: int, length: int) -> np.ndarray:
        """Return the probability of each tag at each unit of text `row` of this length, (length, K)."""
        shares = self.forward[:length, row] * self.backward[:length, row]
        log = self.forward_scale[:length, row] + self.backward_scale[:length, row] - self.total[row]
        return shares * np.exp(log)[:, None]

    def pairs(self, row: int, start: int, stop: int) -> np.ndarray:
        """Return the probability of each tag after each other at units `start` to `stop` of a text, (N, K, K).

        `[n, i, j]` is that of tag j at unit start + n and tag i before; of a text's first unit, `[0, 0]` has the tags.
        """
        scores = self.scores[row, start:stop]
        after = np.exp(scores - scores.max(axis=1, keepdims=True)) * self.backward[start:stop, row]
        before = np.zeros_like(after)
        before[start == 0 :] = self.forward[max(start - 1, 0) : stop - 1, row]
        found: np.ndarray = before[:, :, None] * np.exp(self.transitions.scores) * after[:, None]
        if start == 0:
            found[0, 0] = self.forward[0, row] * self.backward[0, row]
        found /= found.sum(axis=(1, 2), keepdims=True)
        return found

    def log_probabilities(self, paths: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the log-probability of one tag path of each text, (B,) float64.

        Args:
            paths: Tag ids, (B, T); those past a text's end do not count.
            lengths: Units of each text, (B,) int; at least 1.
        """
        rows, inside = np.arange(len(paths)), np.arange(paths.shape[1]) < lengths[:, None]
        chosen = np.take_along_axis(self.scores, paths[:, :, None], axis=2)[:, :, 0]
        steps = self.transitions.scores[paths[:, :-1], paths[:, 1:]]
        log = np.where(inside, chosen, 0).sum(axis=1, dtype=np.float64)
        log += np.where(inside[:, 1:], steps, 0).sum(axis=1, dtype=np.float64)
        log += np.float64(self.transitions.starts[paths[:, 0]]) + self.transitions.ends[paths[rows, lengths - 1]]
        return np.minimum(log - self.total, 0)

    def spans(self, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Return, for each of N spans, the probability that its units are one entity with its label.

        Args:
            rows: The text of each span, (N,) int.
            spans: As `UnitSpan`s, (N, 3) int.

        Returns:
            (N,) float64.
        """
        starts, ends, labels = spans.T
        lasts, step = ends - 1, self.transitions.scores
        alone = lasts == starts
        first = TagScheme.tag(labels, np.where(alone, SINGLE, FIRST))
        last = TagScheme.tag(labels, np.where(alone, SINGLE, LAST))
        middle = TagScheme.tag(labels, MIDDLE)
        between = step[first, middle] + (lasts - starts - 2) * step[middle, middle] + step[middle, last]
        inner = np.where(lasts - starts > 1, between, step[first, last]) + self.scores[rows, lasts, last]
        inner += self._middles[rows, lasts, labels] - self._middles[rows, np.minimum(starts + 1, lasts), labels]
        log = np.where(alone, 0, inner) + self.forward_scale[starts, rows] + self.backward_scale[lasts, rows]
        log -= self.total[rows]
        outer = np.float64(self.forward[starts, rows, first]) * self.backward[lasts, rows, last]
        with np.errstate(divide="ignore"):  # an impossible span has the weight 0
            log += np.log(outer)
        return np.exp(np.minimum(log, 0))

    @cached_property
    def _middles(self) -> np.ndarray:
        """Summed scores of each label's middle tag before each unit, (B, T + 1, labels)."""
        scores = self.scores[:, :, TagScheme.tags_of(MIDDLE)]
        size, longest, labels = scores.shape
        sums = np.zeros((size, longest + 1, labels))
        np.cumsum(scores, axis=1, out=sums[:, 1:])
        return sums


def lattice(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> Lattice:
    """Return the forward and backward weights of a batch.

    They are summed in the precision of `scores` and rescaled every few units, so that a unit costs one matrix product
    and not K x K logarithms: in single precision, probabilities are right to five digits. Texts whose scores lie so far
    apart that weights underflow are summed again in double precision, rescaled at every unit.

    Args:
        scores: Score of each tag at each unit, (B, T, K) float32. Not modified.
        lengths: Units of each text, (B,) int; at least 1.
        transitions: See `Transitions`.
    """
    arrays = _forward_backward(scores, lengths, transitions, _SCALED)
    agree = np.abs(np.subtract(*arrays[-1])) < _LOST  # False where a total is not a number, too
    if not agree.all():
        lost = np.flatnonzero(~agree)
        arrays = [array.astype(np.float64) for array in arrays]
        again = _forward_backward(scores[lost].astype(np.float64), lengths[lost], transitions.double(), 1)
        for array, of_lost in zip(arrays, again, strict=True):
            array[:, lost] = of_lost
    forward, backward, forward_scale, backward_scale, (total, _) = arrays
    return Lattice(scores, transitions, forward, backward, forward_scale, backward_scale, total)


def _forward_backward(
    scores: np.ndarray, lengths: np.ndarray, transitions: Transitions, every: int
) -> list[np.ndarray]:
    """Return forward, backward, and their scales, as in `Lattice`, and the total summed forward and backward, (2, B).

    Args:
        scores, lengths, transitions: As for `lattice`, of one float type.
        every: Units from one rescaling to the next.
    """
    size, longest, _ = scores.shape
    tiny, rows = np.finfo(scores.dtype).tiny, np.arange(size)
    by_unit = scores.transpose(1, 0, 2)
    top = by_unit.max(axis=2)  # (T, B)
    weights = np.exp(by_unit - top[:, :, None])  # (T, B, K)
    step, starts, ends = (np.exp(part) for part in (transitions.scores, transitions.starts, transitions.ends))
    # Both directions in one loop: a backward step is a forward one in the text reversed, where j comes after i.
    mirrored = np.maximum(lengths - 1 - np.arange(longest)[:, None], 0)
    both = np.stack([weights, weights[mirrored, rows]], axis=1)  # (T, 2, B, K)
    tops = np.stack([top, top[mirrored, rows]], axis=1)
    steps = np.stack([step, step.T])
    before, after = np.empty_like(both), np.empty_like(both)  # the unit's own weight excluded, included
    before[0] = np.stack([starts, ends])[:, None]
    totals = np.ones_like(tops)
    for t in range(longest):
        if t:
            np.matmul(after[t - 1], steps, out=before[t])
        np.multiply(before[t], both[t], out=after[t])
        if t % every == every - 1:
            totals[t] = after[t].sum(axis=2) + tiny
            after[t] /= totals[t][:, :, None]
    scales = np.cumsum(np.log(totals, dtype=np.float64) + tops, axis=0)  # log of what `after` was divided by, (T, 2, B)
    last = lengths - 1
    sums = (after[last, :, rows] * np.stack([ends, starts])).sum(axis=2) + tiny  # (B, 2)
    totals = scales[last, :, rows] + np.log(sums, dtype=np.float64)
    scales_before = np.concatenate([np.zeros((1, size)), scales[:-1, 1]])
    return [after[:, 0], before[mirrored, 1, rows], scales[:, 0], scales_before[mirrored, rows], totals.T]


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
    chosen = np.take_along_axis(scores, paths[:, :, None], axis=2)[:, :, 0]
    sums = np.pad(np.cumsum(chosen, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    starts, ends, _ = spans.T
    return np.exp((sums[rows, ends] - sums[rows, starts]) / (ends - starts))


def best_span(weights: Lattice, row: int, length: int, scheme: TagScheme, longest: int = 24) -> tuple[UnitSpan, float]:
    """Return the most probable span of a text that is not empty, and its probability.

    Args:
        weights: Of a batch.
        row: The text.
        length: Its units.
        scheme: The tags.
        longest: Longest entity compared, in units. Of these, only those count that start and end at one of the eight
            most probable first and last units of their label.
    """
    tags = weights.marginals(row, length)
    of_labels = []
    for label in range(len(scheme.labels)):
        single, first, last = (tags[:, scheme.tag(label, part)] for part in (SINGLE, FIRST, LAST))
        firsts, lasts = (np.argsort(-of, kind="stable")[:_CANDIDATES] for of in (first, last))
        starts, ends = np.repeat(firsts, len(lasts)), np.tile(lasts, len(firsts)) + 1
        fits = (ends - starts > 1) & (ends - starts <= longest)
        starts, ends = np.append(single.argmax(), starts[fits]), np.append(single.argmax() + 1, ends[fits])
        of_labels.append(np.stack([starts, ends, np.full_like(starts, label)], axis=1))
    spans = np.concatenate(of_labels)
    probabilities = weights.spans(np.full(len(spans), row), spans)
    best = int(probabilities.argmax())
    return UnitSpan(*spans[best].tolist()), float(probabilities[best])
