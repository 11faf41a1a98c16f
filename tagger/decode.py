"""Viterbi and marginals over whole batches, in NumPy; independent of Keras.

A text's score is the sum of the scores of its tags and of the transitions between them; the texts of a batch are
padded on the right to T. Forbidden transitions, starts and ends are `-inf`.
"""

from collections.abc import Iterable
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

_FEW, _SHORT = 4, 1_000  # with fewer texts of fewer units, best paths are found text by text

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

    @cached_property
    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exponentials of the scores of steps, starts and ends, of a text and of it reversed: (2, K, K), 2 x (2, 1, K).

        In the reversed text, j comes after i, and a start is an end.
        """
        step, starts, ends = (np.exp(part) for part in (self.scores, self.starts, self.ends))
        return np.stack([step, step.T]), np.stack([starts, ends])[:, None], np.stack([ends, starts])[:, None]


class _InStep:
    """The order in which the units of several texts are computed: all first units, then all second ones, and so on.

    The longest text stands first in each step, so that those that go on are the first ones of the step before.

    Args:
        lengths: Units of each text, (B,) int; at least 1.

    Attributes:
        texts: Number of each text, the longest first, (B,).
        units: Number of each unit in this order, (N,).
        mirrored: The same with each text reversed, (N,).
        lasts: Where each text's last unit stands in this order, (B,).
        steps: Of each step, where it stands in this order, and where the same texts stand in the step before; the first
            one counts as the step before it.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        if len(lengths) == 1:
            self.texts, self.units = np.zeros(1, np.int64), np.arange(lengths[0])
            self.mirrored, self.lasts = self.units[::-1], lengths - 1
            places = [slice(t, t + 1) for t in range(lengths[0])]
            self.steps = list(zip(places, [places[0], *places], strict=False))
            return
        self.texts = np.argsort(-lengths, kind="stable")
        going_on = len(lengths) - np.searchsorted(lengths[self.texts[::-1]], np.arange(lengths.max()), "right")
        bounds = np.cumsum([0, *going_on])
        step = np.repeat(np.arange(len(going_on)), going_on)
        text = self.texts[np.arange(len(step)) - bounds[step]]
        firsts = np.cumsum(lengths) - lengths
        self.units = firsts[text] + step
        self.mirrored = firsts[text] + lengths[text] - 1 - step
        self.lasts = bounds[lengths - 1] + np.argsort(self.texts)
        starts, sizes = bounds.tolist(), going_on.tolist()
        self.steps = [
            (slice(start, start + size), slice(before, before + size))
            for before, start, size in zip([0, *starts], starts, sizes, strict=False)
        ]

    def by_step(self, values: np.ndarray) -> Iterable[np.ndarray]:
        """Return views of each step's values: (2, N, K) -> (2, n, K) each."""
        if len(self.texts) == 1:
            return values.transpose(1, 0, 2)[:, :, None]
        return [values[:, now] for now, _ in self.steps]

    def running_sums(self, values: np.ndarray) -> np.ndarray:
        """Return the running sums of each text's values, (2, N)."""
        if len(self.texts) == 1:
            return values.cumsum(axis=1)
        sums = values.copy()
        for now, before in self.steps[1:]:
            sums[:, now] += sums[:, before]
        return sums


def viterbi(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> np.ndarray:
    """Return the best tag path of each text (Viterbi, 1967; Forney, 1973).

    Args:
        scores: Score of each tag at each unit, (N, K) float32: the units of one text after those of another.
        lengths: Units of each text, (B,) int; at least 1.
        transitions: See `Transitions`.

    Returns:
        Tag ids, (N,) int32. Ties take the lower id.
    """
    if len(lengths) < _FEW and max(lengths, default=0) < _SHORT:
        texts = np.split(scores, np.cumsum(lengths)[:-1])
        return np.array([tag for text in texts if len(text) for tag in _path(text, transitions)], np.int32)
    order, into_tag = _InStep(lengths), np.ascontiguousarray(transitions.scores.T)
    best = np.ascontiguousarray(scores[order.units].T)  # (K, N): texts lie side by side
    (first, _), *others = order.steps
    best[:, first] += transitions.starts[:, None]
    step = transitions.scores[:, :, None]  # from i to j
    candidates = np.empty(step.size * first.stop, np.float32)
    for now, before in others:
        into = candidates[: step.size * (now.stop - now.start)].reshape(*into_tag.shape, -1)
        np.add(best[:, None, before], step, out=into)
        best[:, now] += np.maximum.reduce(into)
    best = np.ascontiguousarray(best.T)
    tag = (best[order.lasts[order.texts]] + transitions.ends).argmax(axis=1)
    path = np.empty(len(scores), np.int32)
    for now, before in reversed(order.steps):
        going_on = tag[: now.stop - now.start]
        path[order.units[now]] = going_on
        going_on[:] = (best[before] + into_tag[going_on]).argmax(axis=1)  # only for the path's own tag
    return path


def _path(scores: np.ndarray, transitions: Transitions) -> list[int]:
    """Return what `viterbi` does for one short text, by fewer calls: (T, K) float32 -> T tag ids."""
    best = scores.copy()
    best[0] += transitions.starts
    candidates = np.empty((len(scores), *transitions.scores.shape), np.float32)
    for before, into, now in zip(best[:, :, None], candidates[1:], best[1:], strict=False):
        np.add(before, transitions.scores, into)
        np.add(now, np.maximum.reduce(into), now)
    previous = candidates.argmax(axis=1).tolist()  # best tag before each tag
    path = [int((best[-1] + transitions.ends).argmax())]
    for before in previous[:0:-1]:
        path.append(before[path[-1]])
    return path[::-1]


@dataclass(frozen=True)
class Lattice:
    """Forward and backward weights of texts (Rabiner, 1989), from which marginals are computed.

    Args:
        scores, lengths, transitions: As given to `lattice`.
        forward: Summed weight of all paths up to and including a tag, scaled, (N, K).
        backward: Summed weight of all paths that follow a tag, scaled, (N, K).
        forward_scale: Log of what `forward` was divided by, (N,) float64.
        backward_scale: Log of what `backward` was divided by, (N,) float64.
        total: Log of the summed weight of all paths, (B,) float64.
    """

    scores: np.ndarray
    lengths: np.ndarray
    transitions: Transitions
    forward: np.ndarray
    backward: np.ndarray
    forward_scale: np.ndarray
    backward_scale: np.ndarray
    total: np.ndarray

    @cached_property
    def tags(self) -> np.ndarray:
        """Probability of each tag at each unit, (N, K)."""
        log = self.forward_scale + self.backward_scale - self.total.repeat(self.lengths)
        shares: np.ndarray = self.forward * self.backward * np.exp(log)[:, None]
        return shares

    def marginals(self, row: int) -> np.ndarray:
        """Return the probability of each tag at each unit of text `row`, (T, K)."""
        return self.tags[self._firsts[row] : self._firsts[row] + self.lengths[row]]

    def pairs(self, row: int, start: int, stop: int) -> np.ndarray:
        """Return the probability of each tag after each other at units `start` to `stop` of a text, (S, K, K).

        `[n, i, j]` is that of tag j at unit start + n and tag i before; of a text's first unit, `[0, 0]` has the tags.
        """
        first = self._firsts[row]
        own = slice(first + start, first + stop)
        after = np.exp(self.scores[own] - self.scores[own].max(axis=1, keepdims=True)) * self.backward[own]
        before = np.zeros_like(after)
        before[start == 0 :] = self.forward[first + max(start - 1, 0) : first + stop - 1]
        found: np.ndarray = before[:, :, None] * np.exp(self.transitions.scores) * after[:, None]
        if start == 0:
            found[0, 0] = self.forward[first] * self.backward[first]
        found /= found.sum(axis=(1, 2), keepdims=True)
        return found

    def log_probabilities(self, paths: np.ndarray) -> np.ndarray:
        """Return the log-probability of one tag path of each text: (N,) tag ids -> (B,) float64."""
        firsts, lasts = self._firsts, self._firsts + self.lengths - 1
        log = self.scores[np.arange(len(paths)), paths].astype(np.float64)
        steps = self.transitions.scores[paths[:-1], paths[1:]]
        log[1:] += np.where(np.isin(np.arange(1, len(paths)), firsts), 0, steps)
        sums = np.add.reduceat(log, firsts)
        sums += np.float64(self.transitions.starts[paths[firsts]]) + self.transitions.ends[paths[lasts]]
        return np.minimum(sums - self.total, 0)

    def spans(self, rows: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Return, for each of S spans, the probability that its units are one entity with its label.

        Args:
            rows: The text of each span, (S,) int.
            spans: As `UnitSpan`s, (S, 3) int.

        Returns:
            (S,) float64.
        """
        labels, step = spans[:, 2], self.transitions.scores
        starts, lasts = self._firsts[rows] + spans[:, 0], self._firsts[rows] + spans[:, 1] - 1
        alone = lasts == starts
        first = TagScheme.tag(labels, np.where(alone, SINGLE, FIRST))
        last = TagScheme.tag(labels, np.where(alone, SINGLE, LAST))
        middle = TagScheme.tag(labels, MIDDLE)
        between = step[first, middle] + (lasts - starts - 2) * step[middle, middle] + step[middle, last]
        inner = np.where(lasts - starts > 1, between, step[first, last]) + self.scores[lasts, last]
        inner += self._middles[lasts, labels] - self._middles[np.minimum(starts + 1, lasts), labels]
        log = np.where(alone, 0, inner) + self.forward_scale[starts] + self.backward_scale[lasts] - self.total[rows]
        outer = np.float64(self.forward[starts, first]) * self.backward[lasts, last]
        log += np.log(np.maximum(outer, np.finfo(np.float64).tiny))  # an impossible span has the weight 0
        return np.exp(np.minimum(log, 0))

    @cached_property
    def _firsts(self) -> np.ndarray:
        """Number of each text's first unit, (B,)."""
        firsts: np.ndarray = np.cumsum(self.lengths) - self.lengths
        return firsts

    @cached_property
    def _middles(self) -> np.ndarray:
        """Summed scores of each label's middle tag before each unit, (N, labels)."""
        scores = self.scores[:, TagScheme.tags_of(MIDDLE)]
        sums = np.zeros(scores.shape)
        np.cumsum(scores[:-1], axis=0, out=sums[1:])
        return sums


def lattice(scores: np.ndarray, lengths: np.ndarray, transitions: Transitions) -> Lattice:
    """Return the forward and backward weights of texts.

    They are summed in the precision of `scores` and rescaled every few units, so that a unit costs one matrix product
    and not K x K logarithms: in single precision, probabilities are right to five digits. Texts whose scores lie so far
    apart that weights underflow are summed again in double precision, rescaled at every unit.

    Args:
        scores, lengths, transitions: As for `viterbi`; at least one text.
    """
    *arrays, totals = _forward_backward(scores, lengths, transitions, _SCALED)
    agree = np.abs(np.subtract(*totals)) < _LOST  # False where a total is not a number, too
    if not agree.all():
        lost = np.repeat(~agree, lengths)
        arrays = [array.astype(np.float64) for array in arrays]
        again = _forward_backward(scores[lost].astype(np.float64), lengths[~agree], transitions.double(), 1)
        for array, of_lost in zip(arrays, again, strict=False):
            array[lost] = of_lost
        totals[:, ~agree] = again[-1]
    forward, backward, forward_scale, backward_scale = arrays
    return Lattice(scores, lengths, transitions, forward, backward, forward_scale, backward_scale, totals[0])


def _forward_backward(
    scores: np.ndarray, lengths: np.ndarray, transitions: Transitions, every: int
) -> list[np.ndarray]:
    """Return forward, backward, and their scales, as in `Lattice`, and the total summed forward and backward, (2, B).

    Args:
        scores, lengths, transitions: As for `lattice`, of one float type.
        every: Units from one rescaling to the next.
    """
    order, tiny = _InStep(lengths), np.finfo(scores.dtype).tiny
    steps, starts, ends = transitions.weights  # both directions at once: a backward step is a forward one in reverse
    units = np.stack([order.units, order.mirrored])
    top = scores.max(axis=1)
    weights = np.exp(scores - top[:, None])[units]  # (2, N, K)
    before, after = np.empty_like(weights), np.empty_like(weights)  # the unit's own weight excluded, included
    divisors = np.ones(units.shape, scores.dtype)
    last = None
    for number, (own, excluded, included) in enumerate(zip(*map(order.by_step, (weights, before, after)), strict=True)):
        if last is None:
            excluded[:] = starts
        else:
            np.matmul(last[:, : excluded.shape[1]], steps, out=excluded)
        np.multiply(excluded, own, out=included)
        if number % every == every - 1:
            divisor = np.add.reduce(included, axis=2) + tiny
            divisors[:, order.steps[number][0]] = divisor
            included /= divisor[:, :, None]
        last = included
    logs = np.log(divisors, dtype=np.float64) + top[units]
    scales = order.running_sums(logs)  # log of what `after` was divided by
    sums = (after[:, order.lasts] * ends).sum(axis=2) + tiny  # (2, B)
    totals = scales[:, order.lasts] + np.log(sums, dtype=np.float64)
    forward, backward = np.empty_like(scores), np.empty_like(scores)
    up_to, onwards = np.empty_like(scales)
    forward[order.units], backward[order.mirrored] = after[0], before[1]
    up_to[order.units], onwards[order.mirrored] = scales[0], scales[1] - logs[1]
    return [forward, backward, up_to, onwards, totals]


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return `scores` less the log of their summed exponentials over the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mean_probabilities(scores: np.ndarray, paths: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the geometric mean probability of the tags of each of S spans: the measure of 2016.

    Args:
        scores: Log-probability of each tag at each unit, (N, K).
        paths: Tag ids, (N,).
        spans: Their units, numbered as those of `scores`, (S, 2) int.

    Returns:
        (S,) float64.
    """
    chosen = scores[np.arange(len(paths)), paths]
    sums = np.cumsum(np.append(np.float64(0), chosen))
    starts, ends = spans.T
    return np.exp((sums[ends] - sums[starts]) / (ends - starts))


def best_span(weights: Lattice, row: int, scheme: TagScheme, longest: int = 24) -> tuple[UnitSpan, float]:
    """Return the most probable span of a text that is not empty, and its probability.

    Args:
        weights: Of a batch.
        row: The text.
        scheme: The tags.
        longest: Longest entity compared, in units. Of these, only those count that start and end at one of the eight
            most probable first and last units of their label.
    """
    tags = weights.marginals(row)
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
