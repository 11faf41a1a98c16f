import itertools

import numpy as np
import pytest
import tensorflow as tf

from tagger.config import load
from tagger.execution import EXECUTIONS, here
from tagger.lookup import Embedding
from tagger.model import TaggerModel
from tagger.tags import TagScheme


def inputs(rng, lengths, longest, dimensions):
    return {
        "ids": rng.integers(0, 9, (len(lengths), longest, 1)).astype(np.int32),
        "vectors": rng.normal(size=(len(lengths), longest, dimensions)).astype(np.float32),
        "lengths": np.array(lengths, np.int32),
    }


def test_both_kernels_give_the_same_scores():
    rng = np.random.default_rng(13)
    models = []
    for execution in (EXECUTIONS["processor"], EXECUTIONS["exported"]):
        model = TaggerModel(load("default").model, TagScheme(("A",)), 6, [Embedding((0,), 9, 4)], execution)
        model.build()
        models.append(model)
    loop, theirs = models
    assert [layer.kernel for layer in theirs.layers_] == ["keras"] * len(theirs.layers_)
    theirs.set_weights(loop.get_weights())
    x = inputs(rng, [5, 3], 5, 6)
    for row, length in enumerate(x["lengths"]):
        np.testing.assert_allclose(loop(x)[row, :length], theirs(x)[row, :length], atol=1e-6)


def test_the_model_computes_as_its_device_does_best_unless_told():
    model = TaggerModel(load("default").model, TagScheme(("A",)), 6, [])
    assert model.execution == here()
    assert {layer.kernel for layer in model.layers_} == {here().kernel}


def test_padding_changes_no_score():
    rng = np.random.default_rng(2)
    model = TaggerModel(load("default").model, TagScheme(("A", "B")), 6, [Embedding((0,), 9, 4)])
    model.build()
    x = inputs(rng, [5, 3], 5, 6)
    wider = {
        "ids": np.pad(x["ids"], ((0, 0), (0, 4), (0, 0)), constant_values=7),
        "vectors": np.pad(x["vectors"], ((0, 0), (0, 4), (0, 0)), constant_values=3.0),
        "lengths": x["lengths"],
    }
    ours, theirs = model(x).numpy(), model(wider).numpy()
    for row, length in enumerate(x["lengths"]):
        np.testing.assert_allclose(ours[row, :length], theirs[row, :length], atol=1e-6)


def brute_log_partition(scores, length, transitions, scheme):
    total = []
    for path in itertools.product(range(scheme.size), repeat=length):
        legal = scheme.starts[path[0]] and scheme.ends[path[-1]]
        legal = legal and all(scheme.allowed[pair] for pair in itertools.pairwise(path))
        if legal:
            step = sum(transitions[pair] for pair in itertools.pairwise(path))
            total.append(sum(scores[t, tag] for t, tag in enumerate(path)) + step)
    return np.logaddexp.reduce(total)


def steps_of(targets, weights):
    """Return `steps` of a batch from one-hot targets (B, T, K) and weights (B, T)."""
    return np.einsum("bti,btj,bt->ij", targets[:, :-1], targets[:, 1:], weights[:, :-1]).astype(np.float32)


def test_the_crf_loss_is_the_negative_log_likelihood():
    rng = np.random.default_rng(4)
    scheme = TagScheme(("A",))
    model = TaggerModel(load("default").model, scheme, 6, [Embedding((0,), 9, 4)])
    model.build()
    transitions = rng.normal(size=(5, 5)).astype(np.float32)
    model.transitions.assign(transitions)
    tags = [[0, 2, 4, 1], [1, 0]]
    lengths = np.array([4, 2], np.int32)
    scores = rng.normal(size=(2, 4, 5)).astype(np.float32)
    targets, weights = np.zeros((2, 4, 5), np.float32), np.zeros((2, 4), np.float32)
    expected = 0.0
    for row, path in enumerate(tags):
        targets[row, range(len(path)), path] = 1
        weights[row, : len(path)] = 1
        gold = sum(scores[row, t, tag] for t, tag in enumerate(path))
        gold += sum(transitions[pair] for pair in itertools.pairwise(path))
        expected += brute_log_partition(scores[row], len(path), transitions, scheme) - gold
    loss = model.compute_loss({"lengths": lengths}, targets, scores, weights, steps=steps_of(targets, weights))
    assert float(loss) == pytest.approx(expected, abs=1e-4)


def test_the_crf_loss_of_probable_paths_is_the_expected_one(crf):
    """A teacher's pairs of tags are enough: of two paths, 0.7 and 0.3 probable, the loss is that share of each."""
    scores, lengths = np.random.default_rng(14).normal(size=(1, 3, 5)).astype(np.float32), np.array([3], np.int32)
    weights, losses = np.ones((1, 3), np.float32), []
    both, steps = np.zeros((1, 3, 5), np.float32), np.zeros((5, 5), np.float32)
    for share, path in ((0.7, [0, 2, 4]), (0.3, [1, 0, 1])):
        targets = np.eye(5, dtype=np.float32)[path][None]
        alone = steps_of(targets, weights)
        losses.append(share * float(crf.compute_loss({"lengths": lengths}, targets, scores, weights, steps=alone)))
        both, steps = both + np.float32(share) * targets, steps + np.float32(share) * alone
    expected = crf.compute_loss({"lengths": lengths}, both, scores, weights, steps=steps)
    assert float(expected) == pytest.approx(sum(losses), abs=1e-5)


def test_softmax_loss_leaves_padding_out_and_l1_of_probabilities_is_a_constant():
    rng = np.random.default_rng(5)
    scheme = TagScheme(("A",))
    model = TaggerModel(load("contest").model, scheme, 6, [])
    model.build()
    scores = rng.normal(size=(1, 3, 5)).astype(np.float32)
    targets = np.zeros((1, 3, 5), np.float32)
    targets[0, range(2), [0, 1]] = 1
    loss = model.compute_loss({}, targets, scores, np.array([[0.5, 0.5, 0]], np.float32))
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = -(np.log(shares[0, 0, 0]) + np.log(shares[0, 1, 1])) / 2 + 0.01
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def brute_agreeing(scores, transitions, lengths, masks, scheme):
    """Return the summed negative log-likelihood of the paths that go through allowed tags only."""
    total = 0.0
    for row, length in enumerate(lengths):
        agreeing = np.where(masks[row], scores[row], -np.inf)
        total += brute_log_partition(scores[row], length, transitions, scheme)
        total -= brute_log_partition(agreeing, length, transitions, scheme)
    return total


@pytest.fixture
def crf():
    model = TaggerModel(load("default").model, TagScheme(("A",)), 6, [Embedding((0,), 9, 4)])
    model.build()
    model.transitions.assign(np.random.default_rng(8).normal(size=(5, 5)))
    return model


def test_the_loss_of_partly_labelled_texts_sums_over_the_paths_that_agree(crf):
    rng = np.random.default_rng(9)
    lengths, weights = np.array([4, 2], np.int32), np.zeros((2, 4), np.float32)
    scores = rng.normal(size=(2, 4, 5)).astype(np.float32) * 3
    masks = np.zeros((2, 4, 5), np.float32)
    for row, tags in enumerate([[0, -1, 4, -1], [-1, 1]]):
        weights[row, : len(tags)] = 1
        for t, tag in enumerate(tags):
            masks[row, t, slice(None) if tag < 0 else tag] = 1
    transitions = crf.transitions.numpy()
    expected = brute_agreeing(scores, transitions, lengths, masks > 0, crf.scheme)
    loss = crf.compute_loss({"lengths": lengths}, masks, scores, weights, partial=True)
    assert float(loss) == pytest.approx(expected, abs=1e-4)
    nothing_known = crf.compute_loss({"lengths": lengths}, np.ones_like(masks), scores, weights, partial=True)
    assert float(nothing_known) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("preset", ["default", "contest"])
def test_wholly_labelled_texts_have_the_same_loss_and_gradient_either_way(preset):
    rng = np.random.default_rng(10)
    scheme = TagScheme(("A",))
    model = TaggerModel(load(preset).model, scheme, 6, [Embedding((0,), 9, 4)])
    model.build()
    lengths = np.array([4, 2], np.int32)
    scores = tf.constant(rng.normal(size=(2, 4, 5)).astype(np.float32))
    targets, weights = np.zeros((2, 4, 5), np.float32), np.zeros((2, 4), np.float32)
    for row, tags in enumerate([[0, 2, 4, 1], [1, 0]]):
        targets[row, range(len(tags)), tags] = 1
        weights[row, : len(tags)] = row + 0.5
    results = []
    for partial in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            steps = steps_of(targets, weights)
            loss = model.compute_loss({"lengths": lengths}, targets, scores, weights, steps=steps, partial=partial)
        results.append((loss, tape.gradient(loss, scores)))
    for plain, masked in zip(*results, strict=True):
        np.testing.assert_allclose(masked, plain, atol=1e-5)


def test_the_gradient_of_a_partly_labelled_text_is_finite_and_that_of_small_steps(crf):
    rng = np.random.default_rng(11)
    lengths, weights = np.array([3], np.int32), np.full((1, 3), 1 / 3, np.float32)
    masks = np.ones((1, 3, 5), np.float32)
    masks[0, 1] = [1, 0, 0, 0, 0]
    scores = rng.normal(size=(1, 3, 5)).astype(np.float32)
    scores[0, 1, 0] = -60  # what is labelled is all but impossible

    def loss(scores):
        return crf.compute_loss({"lengths": lengths}, masks, scores, weights, partial=True)

    given = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(given)
    gradient = tape.gradient(value, given).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 1, 0] == pytest.approx(-1 / 3, abs=1e-3)
    for place in [(0, 0, 1), (0, 1, 2), (0, 2, 4)]:
        step = np.zeros_like(scores)
        step[place] = 0.05
        slope = (float(loss(given + step)) - float(loss(given - step))) / 0.1
        assert gradient[place] == pytest.approx(slope, abs=5e-3)


@pytest.mark.parametrize("preset", ["default", "contest"])
def test_a_text_counts_as_much_as_its_weight(preset):
    rng = np.random.default_rng(12)
    model = TaggerModel(load(preset, ["model.activity_l1=0"]).model, TagScheme(("A",)), 6, [])
    model.build()
    scores = rng.normal(size=(2, 3, 5)).astype(np.float32)
    targets = np.zeros((2, 3, 5), np.float32)
    targets[:, :, 0] = 1
    lengths = np.array([3, 3], np.int32)

    def loss(*weights):
        rows = np.repeat(np.array(weights, np.float32)[:, None], 3, axis=1)
        return float(model.compute_loss({"lengths": lengths}, targets, scores, rows, steps=steps_of(targets, rows)))

    first, second = loss(1, 0), loss(0, 1)  # texts without weight do not count at all
    assert loss(1, 0.25) == pytest.approx(first + 0.25 * second, abs=1e-5)


@pytest.mark.parametrize("texts", [1, 3, 40])
def test_dropout_of_a_text_is_the_same_in_any_part_of_its_batch(texts):
    model = TaggerModel(load("default", ["model.dropout=0.25"]).model, TagScheme(("A",)), 6, [])
    model.build()

    def masks(rows, seed=(3, 4)):
        inputs = {"seed": np.array(seed, np.int32), "texts": np.int32(texts), "rows": np.array(rows, np.int32)}
        return [mask.numpy() for mask in model.dropout_masks(inputs)]

    whole, parts = masks(range(texts)), [masks(range(first, texts, 2)) for first in range(min(2, texts))]
    assert [mask.shape for mask in whole] == [(texts, 6), (texts, 256), (texts, 128)]
    for number, mask in enumerate(whole):
        for first, part in enumerate(parts):
            np.testing.assert_array_equal(part[number], mask[first::2])
    assert {0, np.float32(1 / 0.75)} == set(np.unique(whole[1]))
    assert (whole[1] == 0).mean() == pytest.approx(0.25, abs=0.1)
    assert (masks(range(texts), (3, 5))[1] != whole[1]).any()
