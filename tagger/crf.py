"""The sums of a linear-chain conditional random field (CRF) over all tag paths, in two ways with one result.

On a processor a loop over the units, a product of vectors and a matrix at each, does the least arithmetic. On a
graphics card it is the number of launches that takes the time: there, a scan does K times the arithmetic in some two
hundred launches, however long the texts are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tagger.tags import TagScheme

# Units whose matrices are multiplied one after the other, in all blocks of a batch at once. Longer blocks take less
# memory and more launches.
BLOCK = 8

_TINY = 1e-30  # stands for a sum of zero where it is divided by, or its logarithm taken


def loop(scores: tf.Tensor, lengths: tf.Tensor, step: tf.Tensor, scheme: TagScheme) -> tf.Tensor:
    """Return the log of the summed weight of all legal tag paths (Lafferty et al., 2001), (B,) float32.

    The forward recursion runs on weights scaled to sum to one at each unit, so that a step is one matrix product.

    Args:
        scores: (B, T, K).
        lengths: (B,) int32, at least 1.
        step: Weight of tag j after tag i, (K, K), 0 where forbidden.
        scheme: Defines which tags may start and end a text.
    """
    top = tf.stop_gradient(tf.reduce_max(scores, axis=2, keepdims=True))
    weights = tf.transpose(tf.exp(scores - top), (1, 0, 2))  # (T, B, K)
    each = tf.TensorArray(tf.float32, tf.shape(weights)[0], element_shape=[None, scheme.size]).unstack(weights)

    def scaled(now: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.reduce_sum(now, axis=1, keepdims=True) + _TINY
        return now / total, tf.math.log(total)[:, 0]

    def body(t: tf.Tensor, now: tf.Tensor, log: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        after, gained = scaled(tf.matmul(now, step) * each.read(t))
        inside = t < lengths
        return t + 1, tf.where(inside[:, None], after, now), log + tf.where(inside, gained, 0.0)

    first, log = scaled(each.read(0) * scheme.starts.astype(np.float32))
    _, last, log = tf.while_loop(
        lambda t, *_: t < tf.shape(weights)[0],
        body,
        (tf.constant(1), first, log),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, scheme.size]), tf.TensorShape([None])),
    )
    log += tf.math.log(tf.reduce_sum(last * scheme.ends.astype(np.float32), axis=1) + _TINY)
    inside = tf.sequence_mask(lengths, tf.shape(scores)[1], tf.float32)
    return log + tf.reduce_sum(top[:, :, 0] * inside, axis=1)


def scan(scores: tf.Tensor, lengths: tf.Tensor, step: tf.Tensor, scheme: TagScheme) -> tf.Tensor:
    """Return what `loop` does, by a parallel scan, with a gradient in closed form: the marginal probabilities.

    A unit is the matrix of the weights of its tags after those of the unit before. The matrices are multiplied in
    blocks of `BLOCK` units, and the blocks by doubling (Hillis and Steele, 1986; for HMMs: Särkkä and García-Fernández,
    2021); from the sums before each block follow those at its units. The same is done for the texts read backwards, at
    once, for the gradient. Rows of matrices are scaled to sum to one, with a logarithm each.

    Memory: some six times 8 B T K² / `BLOCK` bytes; 0.2 GB for B T = 24,000 and K = 41.

    Args:
        scores, lengths, step, scheme: As for `loop`.
    """

    @tf.custom_gradient
    def run(scores: tf.Tensor, step: tf.Tensor) -> Any:
        return _scan_and_gradient(scores, lengths, step, scheme)

    log: tf.Tensor = run(scores, step)
    return log


METHODS: Mapping[str, Callable[..., tf.Tensor]] = {"loop": loop, "scan": scan}


def _scan_and_gradient(scores: tf.Tensor, lengths: tf.Tensor, step: tf.Tensor, scheme: TagScheme) -> Any:
    """Return the result of `scan`, and the function from its gradient (B,) to those of scores and step."""
    longest = tf.shape(scores)[1]
    inside = tf.sequence_mask(lengths, longest)  # (B, T)
    first, last = (tf.constant(ends.astype(np.float32)) for ends in (scheme.starts, scheme.ends))
    top = tf.reduce_max(scores, axis=2, keepdims=True)
    weights = tf.exp(scores - top)
    backwards = tf.reverse_sequence(weights, lengths, seq_axis=1, batch_axis=0)
    sums, log = _path_sums(
        tf.stack([weights, backwards]), inside, tf.stack([step, tf.transpose(step)]), tf.stack([first, last])
    )
    before = sums[0]  # of all paths from a text's start to a tag, its own weight included, (B, T, K)
    after = tf.reverse_sequence(sums[1], lengths, seq_axis=1, batch_axis=0)  # from a tag to the text's end, likewise
    final = tf.gather(before, lengths - 1, batch_dims=1)  # (B, K)
    log += tf.math.log(tf.reduce_sum(final * last, axis=1) + _TINY)
    log += tf.reduce_sum(tf.where(inside, top[:, :, 0], 0.0), axis=1)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # After the tags of a unit, its own weight not included: what the next unit's tags lead to.
        onwards = tf.pad(tf.matmul(after[:, 1:], step, transpose_b=True), ((0, 0), (0, 1), (0, 0)))
        at_end = tf.range(longest) == lengths[:, None] - 1
        marginals = before * tf.where(at_end[:, :, None], last, onwards)
        marginals *= _reciprocal(tf.reduce_sum(marginals, axis=2), inside, upstream)
        # A transition's probability is before[i] step[i, j] after[j] over the sum of that; its derivative lacks step.
        total = tf.reduce_sum(tf.matmul(before[:, :-1], step) * after[:, 1:], axis=2)
        earlier = before[:, :-1] * _reciprocal(total, inside[:, 1:], upstream)
        count = step.shape[0]
        pairs = tf.matmul(tf.reshape(earlier, (-1, count)), tf.reshape(after[:, 1:], (-1, count)), transpose_a=True)
        return marginals, pairs

    return log, gradient


def _reciprocal(totals: tf.Tensor, inside: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Return the gradient of each text (B,) over totals (B, T), 0 where a unit is not inside, as (B, T, 1)."""
    return tf.where(inside, upstream[:, None] / tf.maximum(totals, _TINY), 0.0)[:, :, None]


def _path_sums(weights: tf.Tensor, inside: tf.Tensor, step: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the scaled sums over all paths up to each tag of each unit, for two directions at once.

    Args:
        weights: Of the tags of each unit, in both directions, (2, B, T, K).
        inside: Which units are no padding, (B, T) bool; the first of a text is none.
        step: (2, K, K), for each direction.
        first: Which tags may be the first, (2, K).

    Returns:
        Sums, scaled to sum to one at each unit, (2, B, T, K), those of padding undefined; and the logarithm of what
        the first direction's sums were divided by, (B,).
    """
    size, longest, count = tf.shape(weights)[1], tf.shape(weights)[2], step.shape[1]
    start, start_log = _scaled(weights[:, :, 0] * first[:, None])  # (2, B, K), (2, B)
    blocks = tf.maximum((longest + BLOCK - 2) // BLOCK, 1)  # of the units after the first: N
    missing = blocks * BLOCK - (longest - 1)
    padded = tf.pad(weights[:, :, 1:], ((0, 0), (0, 0), (0, missing), (0, 0)))
    each = tf.unstack(tf.reshape(padded, (2, size, blocks, BLOCK, count)), axis=3)  # BLOCK times (2, B, N, K)
    padded = tf.pad(inside[:, 1:], ((0, 0), (0, missing)))
    present = tf.unstack(tf.reshape(padded, (1, size, blocks, BLOCK)), axis=3)

    def advance(rows: tf.Tensor, unit: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return rows of sums (2, B, N, S, K) one unit further, and logarithms (2, B, N, S)."""
        flat = tf.matmul(tf.reshape(rows, (2, -1, count)), step)
        further, log = _scaled(tf.reshape(flat, tf.shape(rows)) * each[unit][:, :, :, None])
        there = present[unit][..., None]
        return tf.where(there[..., None], further, rows), tf.where(there, log, 0.0)

    rows = tf.eye(count, batch_shape=tf.stack([2, size, blocks]))  # a row for each tag before the block
    logs = tf.zeros(tf.stack([2, size, blocks, count]))
    for unit in range(BLOCK):
        rows, log = advance(rows, unit)
        logs += log
    rows, logs = _products(rows, logs, blocks)
    ends, end_logs = _combined(start[:, :, None, None], start_log[:, :, None, None], rows, logs)
    now = tf.concat([start[:, :, None, None], ends[:, :, :-1]], axis=2)  # before each block, (2, B, N, 1, K)
    sums = []
    for unit in range(BLOCK):
        now, _ = advance(now, unit)
        sums.append(now[:, :, :, 0])
    units = tf.reshape(tf.stack(sums, axis=3), (2, size, blocks * BLOCK, count))
    return tf.concat([start[:, :, None], units], axis=2)[:, :, :longest], end_logs[0, :, -1, 0]


def _products(rows: tf.Tensor, logs: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the products of the matrices of all blocks up to each, from those of each, by doubling."""

    def double(reach: tf.Tensor, rows: tf.Tensor, logs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        earlier, later = (rows[:, :, :-reach], logs[:, :, :-reach]), (rows[:, :, reach:], logs[:, :, reach:])
        both, both_logs = _combined(*earlier, *later)
        rows = tf.concat([rows[:, :, :reach], both], axis=2)
        return 2 * reach, rows, tf.concat([logs[:, :, :reach], both_logs], axis=2)

    invariants = tf.TensorShape([]), rows.shape, logs.shape
    _, rows, logs = tf.while_loop(
        lambda reach, *_: reach < blocks, double, (tf.constant(1), rows, logs), shape_invariants=invariants
    )
    return rows, logs


def _combined(
    earlier: tf.Tensor, earlier_logs: tf.Tensor, later: tf.Tensor, later_logs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the product of rows (..., S, K) and matrices (..., K, K), each row with a logarithm of its own."""
    lifted = tf.math.log(earlier) + later_logs[..., None, :]
    top = tf.reduce_max(lifted, axis=-1)
    top = tf.where(tf.math.is_finite(top), top, 0.0)  # a row of zeros stays one
    rows, log = _scaled(tf.matmul(tf.exp(lifted - top[..., None]), later))
    return rows, earlier_logs + top + log


def _scaled(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return rows (..., K) scaled to sum to one, and the logarithms of their sums (...)."""
    total = tf.maximum(tf.reduce_sum(rows, axis=-1), _TINY)
    return rows / total[..., None], tf.math.log(total)
