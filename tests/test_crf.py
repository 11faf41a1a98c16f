import itertools

import numpy as np
import pytest
import tensorflow as tf

from tagger.crf import BLOCK, METHODS
from tagger.tags import TagScheme

logsumexp = np.logaddexp.reduce


def brute(scores, length, transitions, scheme):
    """Return the log of the summed weight of all legal paths, one by one."""
    total = []
    for path in itertools.product(range(scheme.size), repeat=length):
        legal = scheme.starts[path[0]] and scheme.ends[path[-1]]
        if legal and all(scheme.allowed[pair] for pair in itertools.pairwise(path)):
            step = sum(transitions[pair] for pair in itertools.pairwise(path))
            total.append(sum(scores[t, tag] for t, tag in enumerate(path)) + step)
    return logsumexp(total)


def reference(scores, lengths, transitions, scheme, upstream):
    """Return log sums, and the gradients of scores and transitions, by forward-backward in double precision."""
    scores = scores.astype(np.float64)
    steps = np.where(scheme.allowed, transitions.astype(np.float64), -np.inf)
    sums, of_scores, of_steps = [], np.zeros(scores.shape), np.zeros(steps.shape)
    for text, (length, factor) in enumerate(zip(lengths, upstream, strict=True)):
        own = scores[text]
        before, after = [own[0] + np.where(scheme.starts, 0, -np.inf)], [np.where(scheme.ends, 0, -np.inf)]
        for t in range(1, length):
            before.append(logsumexp(before[-1][:, None] + steps, axis=0) + own[t])
            after.append(logsumexp(steps + own[length - t] + after[-1], axis=1))
        after.reverse()
        sums.append(logsumexp(before[-1] + after[-1]))
        for t in range(length):
            of_scores[text, t] = factor * np.exp(before[t] + after[t] - sums[-1])
            if t:
                of_steps += factor * np.exp(before[t - 1][:, None] + steps + own[t] + after[t] - sums[-1])
    return np.array(sums), of_scores, of_steps


def run(method, scores, lengths, transitions, scheme, upstream):
    scores, transitions = tf.constant(scores), tf.constant(transitions)
    with tf.GradientTape() as tape:
        tape.watch([scores, transitions])
        step = tf.exp(transitions) * scheme.allowed.astype(np.float32)
        sums = METHODS[method](scores, lengths, step, scheme)
        loss = tf.reduce_sum(sums * upstream)
    of_scores, of_steps = tape.gradient(loss, [scores, transitions])
    return sums, of_scores, of_steps if of_steps is not None else np.zeros(transitions.shape)


def case(seed, lengths, labels=("A",), scale=1.0, longest=None):
    rng, scheme = np.random.default_rng(seed), TagScheme(labels)
    lengths, longest = np.array(lengths, np.int32), longest or max(lengths)
    scores = (rng.normal(size=(len(lengths), longest, scheme.size)) * scale).astype(np.float32)
    transitions = rng.normal(size=(scheme.size, scheme.size)).astype(np.float32)
    return scores, lengths, transitions, scheme, rng.normal(size=len(lengths)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("labels", "lengths"), [(("A",), [4, 1, 5]), (("A", "B"), [3, 2])])
def test_the_crf_sums_over_all_legal_paths(method, labels, lengths):
    scores, lengths, transitions, scheme, upstream = case(3, lengths, labels, scale=2)
    sums, *_ = run(method, scores, lengths, transitions, scheme, upstream)
    expected = [brute(*row, transitions, scheme) for row in zip(scores, lengths, strict=True)]
    np.testing.assert_allclose(sums, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "given",
    [
        case(1, [1], longest=1),
        case(2, [1, 1], longest=4),
        case(3, [2, 1]),
        case(4, [BLOCK, BLOCK + 1, BLOCK + 2, 1, 3]),
        case(5, [2 * BLOCK + 1, BLOCK - 1, 2 * BLOCK]),
        case(6, [61, 1, 17, 60], scale=3, longest=64),
        case(7, [250, 3], scale=8),
        case(8, [37, 12], labels=tuple("ABCDEFGHIJ"), scale=4),
        case(9, [120, 90], scale=20),
    ],
    ids=["T=1", "padding", "T=2", "blocks", "whole blocks", "ragged", "long", "10 labels", "large scores"],
)
def test_sums_and_gradients_are_those_of_double_precision(method, given):
    sums, of_scores, of_steps = run(method, *given)
    expected, expected_scores, expected_steps = reference(*given)
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(of_scores, expected_scores, atol=1e-4)
    np.testing.assert_allclose(of_steps, expected_steps, atol=1e-4 * max(1, np.abs(expected_steps).max()))


@pytest.mark.parametrize("longest", [5, 40])
def test_padding_changes_nothing(longest):
    scores, lengths, *others = case(10, [5, 2])
    wider = np.full((2, longest, 5), 80.0, np.float32)
    wider[:, :5] = scores
    for one, other in zip(run("scan", scores, lengths, *others), run("scan", wider, lengths, *others), strict=True):
        np.testing.assert_allclose(np.asarray(other)[..., :5, :] if other.ndim == 3 else other, one, atol=1e-5)
    assert not np.asarray(run("scan", wider, lengths, *others)[1])[:, 5:].any()


def test_tags_that_contradict_what_is_labelled_have_no_part():
    """As for partly labelled texts: scores of -1e9."""
    scores, lengths, transitions, scheme, upstream = case(11, [20, 9])
    scores[:, ::2, 1:] = -1e9  # only "outside" there
    loop, scan = (run(method, scores, lengths, transitions, scheme, upstream) for method in ("loop", "scan"))
    for one, other in zip(loop, scan, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-4)
    assert not np.asarray(scan[1])[:, ::2, 1:].any()


@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_what_underflows_stays_finite(scale):
    for result in run("scan", *case(12, [200, 31, 1], scale=scale)):
        assert np.isfinite(result).all()


def test_the_scan_has_no_fixed_length():
    """One graph serves all batches, as `tf.function` traces it for unknown numbers of texts and units."""
    *_, transitions, scheme, _ = case(0, [1])
    step = tf.constant(np.exp(transitions) * scheme.allowed, tf.float32)
    specs = tf.TensorSpec((None, None, 5)), tf.TensorSpec((None,), tf.int32)
    graph = tf.function(lambda scores, lengths: METHODS["scan"](scores, lengths, step, scheme), input_signature=specs)
    for lengths in ([1], [7, 2], [100, 40, 3]):
        scores, lengths, *_ = case(13, lengths)
        np.testing.assert_allclose(graph(scores, lengths), METHODS["loop"](scores, lengths, step, scheme), rtol=1e-5)
