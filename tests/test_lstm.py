import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tagger import lstm as lstms
from tagger.lstm import KERNELS, BiLSTM, cudnn_fault, cudnn_lstm, cudnn_parameters, lstm

LENGTHS = np.array([5, 1, 7], np.int32)


@pytest.mark.parametrize("kernel", ["loop", "keras", "cudnn"])
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_reversal_by_length_is_masking(merge, kernel, emulated):
    """The old script masked zero vectors, so a word without a vector punched a hole in its text."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 7, 4)).astype(np.float32)
    ours = BiLSTM(6, merge, kernel)
    ours.build((None, None, 4))
    masked = keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=True), merge_mode=merge)
    masked.build((None, None, 4))
    masked.set_weights(ours.get_weights())
    mask = np.arange(7) < LENGTHS[:, None]
    expected = masked(x, mask=mask).numpy()
    outputs = ours(x.swapaxes(0, 1), LENGTHS).numpy().swapaxes(0, 1)
    np.testing.assert_allclose(outputs[mask], expected[mask], atol=1e-6)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match=f"one of {', '.join(KERNELS)}; received 'cuda'"):
        BiLSTM(6, "sum", "cuda")


@pytest.mark.parametrize(("steps", "frozen"), [(1, 0), (6, 0), (6, 3)])
def test_our_lstm_and_its_gradients_are_those_of_keras(steps, frozen):
    rng = np.random.default_rng(6)
    layer = keras.layers.LSTM(5, return_sequences=True)
    layer.build((None, None, 4))
    layer.cell.bias.assign(rng.normal(size=20))
    x = tf.constant(rng.normal(size=(3, steps, 4)).astype(np.float32))
    weights = [tf.convert_to_tensor(weight) for weight in layer.weights[:3]]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, *weights])
        ours = tf.transpose(lstm(tf.transpose(x, (1, 0, 2)), *weights, frozen), (1, 0, 2))
        theirs = layer(x)
        our_loss, their_loss = tf.reduce_sum(tf.sin(ours)), tf.reduce_sum(tf.sin(theirs))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    of_x, *of_weights = tape.gradient(their_loss, [x, *layer.trainable_variables])
    their_gradients = [np.where(np.arange(4) < frozen, 0, of_x), *of_weights]
    for our, their in zip(tape.gradient(our_loss, [x, *weights]), their_gradients, strict=True):
        np.testing.assert_allclose(our, their, atol=1e-5)


def test_a_narrow_matmul_dtype_changes_little():
    rng = np.random.default_rng(7)
    x = tf.constant(rng.normal(size=(9, 4, 16)).astype(np.float32))
    weights = [tf.constant(rng.normal(size=shape).astype(np.float32) / 4) for shape in ((16, 32), (8, 32), (32,))]
    results = []
    for matmul_dtype in (tf.float32, tf.bfloat16):
        with tf.GradientTape() as tape:
            tape.watch([x, *weights])
            out = lstm(x, *weights, matmul_dtype=matmul_dtype)
            loss = tf.reduce_sum(tf.sin(out))
        results.append([out, *tape.gradient(loss, [x, *weights])])
    for single, narrow in zip(*results, strict=True):
        assert narrow.dtype == tf.float32
        np.testing.assert_allclose(narrow, single, atol=0.03 * np.abs(single).max())


# ---- cuDNN --------------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def emulate(input, input_h, input_c, params, sequence_lengths, rnn_mode, direction, time_major):
    """Return the output of `CudnnRNNV3` as cuDNN's documentation describes it, (T, B, 2H) float32.

    A step of a direction: i, f, o = sigmoid(W x + R h + b_W + b_R), g = tanh(the same), c = f c + i g, h = o tanh(c).
    The buffer holds W_i, W_f, W_g, W_o (H, D), R_i, R_f, R_g, R_o (H, H) of each direction, then b_W and b_R of each.
    """
    assert (rnn_mode, direction, time_major) == ("lstm", "bidirectional", True)
    x, buffer, lengths = (np.asarray(part) for part in (input, params, sequence_lengths))
    (steps, size, width), cells = x.shape, np.asarray(input_h).shape[2]
    assert np.asarray(input_h).shape == np.asarray(input_c).shape == (2, size, cells)
    assert lengths.max() < steps, "a batch without padding"
    place = 0

    def read(*shape):
        nonlocal place
        place += np.prod(shape)
        return buffer[place - np.prod(shape) : place].reshape(shape)

    matrices = [([read(cells, width) for _ in "ifgo"], [read(cells, cells) for _ in "ifgo"]) for _ in range(2)]
    biases = [([read(cells) for _ in "ifgo"], [read(cells) for _ in "ifgo"]) for _ in range(2)]
    assert place == len(buffer)
    outputs = np.zeros((steps, size, 2 * cells), np.float32)
    for way, ((of_x, of_h), (bias_x, bias_h)) in enumerate(zip(matrices, biases, strict=True)):
        for text, length in enumerate(lengths):
            h, c = np.zeros(cells), np.zeros(cells)
            for t in range(length) if way == 0 else reversed(range(length)):
                i, f, g, o = (
                    of_x[gate] @ x[t, text] + of_h[gate] @ h + bias_x[gate] + bias_h[gate] for gate in range(4)
                )
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                outputs[t, text, way * cells : (way + 1) * cells] = h
    return (tf.constant(outputs),)


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", emulate)


def weights(rng, width, cells):
    return [
        [
            tf.constant(rng.normal(size=shape), tf.float32)
            for shape in ((width, 4 * cells), (cells, 4 * cells), (4 * cells,))
        ]
        for _ in range(2)
    ]


def test_the_weights_are_in_the_order_of_cudnn(emulated):
    rng = np.random.default_rng(3)
    forward, backward = weights(rng, 4, 3)
    x = tf.constant(rng.normal(size=(7, 3, 4)), tf.float32)
    reverse = functools.partial(tf.reverse_sequence, seq_lengths=LENGTHS, seq_axis=0, batch_axis=1)
    expected = tf.concat([lstm(x, *forward), reverse(lstm(reverse(x), *backward))], axis=-1).numpy()
    expected[np.arange(7)[:, None] >= LENGTHS] = 0
    np.testing.assert_allclose(cudnn_lstm(x, LENGTHS, forward, backward), expected, atol=1e-6)
    assert cudnn_parameters(forward, backward).shape == (8 * 3 * (4 + 3 + 2),)


def test_no_batch_is_without_padding_for_cudnn(emulated):
    rng = np.random.default_rng(4)
    x = tf.constant(rng.normal(size=(5, 2, 4)), tf.float32)
    assert cudnn_lstm(x, np.array([5, 5], np.int32), *weights(rng, 4, 3)).shape == (5, 2, 6)


def test_the_gradient_of_cudnn_reaches_every_weight():
    """The graph that a card would run, with TensorFlow's own gradient, can be built and has the right shapes."""

    def gradients(x, lengths, *flat):
        with tf.GradientTape() as tape:
            tape.watch([x, *flat])
            loss = tf.reduce_sum(cudnn_lstm(x, lengths, flat[:3], flat[3:]))
        return tape.gradient(loss, [x, *flat])

    flat = [weight for direction in weights(np.random.default_rng(5), 4, 3) for weight in direction]
    specs = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None,), tf.int32), *map(tf.TensorSpec.from_tensor, flat)]
    of_x, *of_weights = tf.function(gradients).get_concrete_function(*specs).structured_outputs
    assert of_x.shape.rank == 3
    assert [gradient.shape for gradient in of_weights] == [weight.shape for weight in flat]


def test_without_a_card_cudnn_is_at_fault():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("there is a graphics card")
    cudnn_fault.cache_clear()
    assert "CudnnRNNV3" in cudnn_fault()


def test_results_that_differ_are_a_fault(monkeypatch):
    """As they would be if another version of cuDNN had the weights in another order."""

    def swapped(x, lengths, forward, backward):
        return tf.concat([lstm(x, *backward), lstm(x, *forward)], axis=-1)

    monkeypatch.setattr(lstms, "cudnn_lstm", swapped)
    cudnn_fault.cache_clear()
    assert cudnn_fault().startswith("its results differ by ")
    cudnn_fault.cache_clear()


def test_on_a_card_cudnn_and_our_loop_agree():
    if not tf.config.list_logical_devices("GPU"):
        pytest.skip("no graphics card")
    cudnn_fault.cache_clear()
    assert cudnn_fault() == ""
