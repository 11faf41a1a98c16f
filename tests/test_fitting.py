import keras
import numpy as np
import pytest
import tensorflow as tf

from tagger.learning.fitting import TrainingState, clipped, make_optimizer
from tagger.sections import TrainingConfig


class Weights:
    """A model of three variables, one of them a table whose rows are looked up."""

    def __init__(self):
        shapes = {"table": (6, 3), "matrix": (3, 2), "bias": (2,)}
        rng = np.random.default_rng(1)
        self.variables = [
            keras.Variable(rng.normal(size=shape), dtype="float32", name=name) for name, shape in shapes.items()
        ]
        self.trainable_variables = self.variables


def gradients(rng):
    slices = tf.IndexedSlices(
        tf.constant(rng.normal(size=(4, 3)), tf.float32), tf.constant([1, 4, 1, 0]), tf.constant([6, 3])
    )
    return [slices, *(tf.constant(rng.normal(size=shape), tf.float32) for shape in ((3, 2), (2,)))]


def state(settings, accumulate=1, steps=1000):
    model = Weights()
    return TrainingState(model, make_optimizer(settings, model.trainable_variables, steps), settings, accumulate)


@pytest.mark.parametrize("norm", [0.0, 0.5, 100.0])
def test_clipping_is_that_of_keras_to_the_bit(norm):
    settings = TrainingConfig(clip_norm=norm, schedule="constant", learning_rate=0.003, ema_momentum=0.9)
    ours, model = state(settings), Weights()
    keras_adam = keras.optimizers.Adam(0.003, global_clipnorm=norm or None)
    for seed in range(3):
        ours.apply_gradients(gradients(np.random.default_rng(seed)))
        keras_adam.apply_gradients(
            zip(
                map(tf.convert_to_tensor, gradients(np.random.default_rng(seed))),
                model.trainable_variables,
                strict=True,
            )
        )
    for our, their in zip(ours.weights, model.variables, strict=True):
        np.testing.assert_array_equal(our.numpy(), their.numpy())


def test_clipping_keeps_directions_and_variables_without_gradient():
    given = [tf.constant([3.0, 0.0]), None, tf.constant([[4.0]])]
    first, none, second = clipped(given, 1.0)
    assert none is None
    np.testing.assert_allclose(first, [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(second, [[0.8]], rtol=1e-6)
    assert np.isnan(clipped([tf.constant([np.inf, 1.0])], 1.0)[0]).all()


def test_accumulated_batches_are_one_change_of_their_average():
    settings = TrainingConfig(clip_norm=0.5, learning_rate=0.003, ema_momentum=0.9)
    parts = [gradients(np.random.default_rng(seed)) for seed in range(6)]
    ours, whole = state(settings, accumulate=3), state(settings)
    apply = tf.function(ours.apply_gradients)
    for number in (0, 3):
        before = [weight.numpy() for weight in ours.weights]
        for part in parts[number : number + 3]:
            for weight, old in zip(ours.weights, before, strict=True):
                np.testing.assert_array_equal(weight.numpy(), old)
            apply(part)
        dense = [[tf.convert_to_tensor(one) for one in part] for part in parts[number : number + 3]]
        whole.apply_gradients([tf.add_n(each) / 3 for each in zip(*dense, strict=True)])
    for our, their in zip(ours.evaluated_weights(), whole.evaluated_weights(), strict=True):
        np.testing.assert_allclose(our, their, atol=1e-6)


def test_the_learning_rate_counts_changes_of_the_weights_not_batches():
    settings = TrainingConfig(learning_rate=0.003, ema_momentum=0.9)
    ours = state(settings, accumulate=4, steps=20)
    for seed in range(8):
        ours.apply_gradients(gradients(np.random.default_rng(seed)))
    assert int(ours.optimizer.iterations) == 2


def test_accumulation_goes_on_after_an_interruption():
    settings = TrainingConfig(learning_rate=0.003, ema_momentum=0.9)
    parts = [gradients(np.random.default_rng(seed)) for seed in range(4)]
    through, before, after = (state(settings, accumulate=4) for _ in range(3))
    for part in parts:
        through.apply_gradients(part)
    for part in parts[:2]:
        before.apply_gradients(part)
    after.restore(before.arrays())
    for part in parts[2:]:
        after.apply_gradients(part)
    for one, other in zip(through.weights, after.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
