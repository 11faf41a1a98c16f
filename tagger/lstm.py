"""The bidirectional LSTM, by three kernels with one result and the same weights."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Implementations: ours, the fastest on a processor; that of `keras.layers.LSTM`, which runs everywhere; and cuDNN's
# bidirectional LSTM, both directions and all texts in one call, for graphics cards of NVIDIA.
KERNELS = ("loop", "keras", "cudnn")


def lstm(
    x: tf.Tensor,
    kernel: tf.Tensor,
    recurrent: tf.Tensor,
    bias: tf.Tensor,
    frozen: int = 0,
    matmul_dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Return the output of an LSTM (Hochreiter and Schmidhuber, 1997) at each step, given the weights of Keras' layer.

    The result is that of `keras.layers.LSTM`, in half to two thirds of its time on a CPU at small batches: only what
    depends on the step before is in the loop, forward and backward; the rest is a few products over the whole batch.

    Args:
        x: (T, B, D) float32.
        kernel, recurrent, bias: (D, 4H), (H, 4H), (4H,); gates in Keras' order: input, forget, candidate, output.
        frozen: Number of leading columns of D that need no gradient; theirs is zero.
        matmul_dtype: Type that matrix products are computed in; sums and everything else are float32.

    Returns:
        (T, B, H) float32.
    """

    @tf.custom_gradient
    def run(*inputs: tf.Tensor) -> Any:
        return _lstm_and_gradient(frozen, matmul_dtype, *inputs)

    outputs: tf.Tensor = run(x, kernel, recurrent, bias)
    return outputs


def _lstm_and_gradient(
    frozen: int, matmul_dtype: tf.DType, x: tf.Tensor, kernel: tf.Tensor, recurrent: tf.Tensor, bias: tf.Tensor
) -> Any:
    """Return the output of `lstm`, and the function from its gradient to those of x, kernel, recurrent and bias."""

    def narrow(value: tf.Tensor) -> tf.Tensor:
        return tf.cast(value, matmul_dtype)

    def product(a: tf.Tensor, b: tf.Tensor, **options: bool) -> tf.Tensor:
        return tf.cast(tf.matmul(narrow(a), narrow(b), **options), tf.float32)

    inputs, units = x.shape[2], recurrent.shape[0]
    steps, size = tf.shape(x)[0], tf.shape(x)[1]
    # tanh(z) = 2 sigmoid(2z) - 1: with the candidate's weights doubled, one sigmoid serves all gates.
    double = tf.repeat(tf.constant([1.0, 1.0, 2.0, 1.0]), units)
    flat = narrow(tf.reshape(x, (-1, inputs)))
    projected = product(flat, kernel * double) + bias * double
    projected = tf.reshape(projected, (steps, size, 4 * units))
    twice = narrow(recurrent * double)
    zero = tf.zeros((size, units))

    def array(width: int) -> tf.TensorArray:
        return tf.TensorArray(tf.float32, steps, element_shape=(None, width))

    inputs_at = array(4 * units).unstack(projected)

    def forward(t: Any, h: Any, c: Any, gates: Any, cells: Any, outputs: Any) -> tuple[Any, ...]:
        gate = tf.sigmoid(product(h, twice) + inputs_at.read(t))
        i, f, g, o = tf.split(gate, 4, axis=1)
        c = f * c + i * (2.0 * g - 1.0)
        h = o * tf.tanh(c)
        return t + 1, h, c, gates.write(t, gate), cells.write(t, c), outputs.write(t, h)

    first = (tf.constant(0), zero, zero, array(4 * units), array(units), array(units))
    *_, gates, cells, outputs = tf.while_loop(lambda t, *_: t < steps, forward, first)
    gates, cells, outputs = gates.stack(), cells.stack(), outputs.stack()

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        i, f, g, o = tf.split(gates, 4, axis=2)
        g, squashed = 2.0 * g - 1.0, tf.tanh(cells)
        earlier = tf.concat([zero[None], cells[:-1]], axis=0)
        slopes = tf.concat(
            [g * i * (1.0 - i), earlier * f * (1.0 - f), i * (1.0 - g * g), squashed * o * (1.0 - o)], axis=2
        )
        slope = array(4 * units).unstack(slopes)
        once = narrow(recurrent)
        through = array(units).unstack(o * (1.0 - squashed * squashed))
        forget, upstream_at = array(units).unstack(f), array(units).unstack(upstream)

        def backward(t: Any, dh: Any, dc: Any, gate_gradients: Any) -> tuple[Any, ...]:
            dh = dh + upstream_at.read(t)
            dc = dc + dh * through.read(t)
            dz = tf.concat([dc, dc, dc, dh], axis=1) * slope.read(t)
            return t - 1, product(dz, once, transpose_b=True), dc * forget.read(t), gate_gradients.write(t, dz)

        *_, gate_gradients = tf.while_loop(lambda t, *_: t >= 0, backward, (steps - 1, zero, zero, array(4 * units)))
        dz = tf.reshape(gate_gradients.stack(), (-1, 4 * units))  # (T B, 4H)
        shifted = tf.concat([zero[None], outputs[:-1]], axis=0)
        narrow_dz = narrow(dz)
        dx = product(narrow_dz, kernel[frozen:], transpose_b=True)
        return (
            tf.pad(tf.reshape(dx, (steps, size, inputs - frozen)), ((0, 0), (0, 0), (frozen, 0))),
            product(flat, narrow_dz, transpose_a=True),
            product(tf.reshape(shifted, (-1, units)), narrow_dz, transpose_a=True),
            tf.reduce_sum(dz, axis=0),
        )

    return outputs, gradient


def cudnn_parameters(forward: Sequence[tf.Tensor], backward: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the weights of one bidirectional layer in the order of cuDNN's parameter buffer.

    The matrices come first, forward and then backward: of each direction those of the inputs by gate, then those of
    the recurrence by gate, each with a row per cell. The biases follow in the same order; cuDNN adds one for the inputs
    and one for the recurrence, of which the first is zero here. The order of the gates is Keras' own.

    Args:
        forward, backward: Kernel (D, 4H), recurrent kernel (H, 4H) and bias (4H,), as Keras has them.

    Returns:
        (8H (D + H + 2),) float32.
    """
    parts = []
    for kernel, recurrent, _ in (forward, backward):
        for matrix in (kernel, recurrent):
            parts.append(tf.reshape(tf.transpose(matrix), (-1,)))  # (4H, D): the gates' rows, gate by gate
    for *_, bias in (forward, backward):
        parts += [tf.zeros_like(bias), bias]
    return tf.concat(parts, axis=0)


def cudnn_lstm(
    x: tf.Tensor, lengths: tf.Tensor, forward: Sequence[tf.Tensor], backward: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Return the output of a bidirectional LSTM at each step by cuDNN, which needs a graphics card.

    Products are computed in TF32 on cards that have it, unless `tf.config.experimental` says otherwise.

    Args:
        x: (T, B, D) float32.
        lengths: Units of each text, (B,) int32, at least 1; read by the processor.
        forward, backward: As for `cudnn_parameters`.

    Returns:
        (T, B, 2H) float32, 0 in padding.
    """
    # With a step more than the longest text has, no batch is without padding. TensorFlow 2.21 would treat such a batch
    # differently, and might keep to that for a later one of the same shape that has padding.
    x = tf.pad(x, ((0, 1), (0, 0), (0, 0)))
    state = tf.zeros((2, tf.shape(x)[1], forward[1].shape[0]))
    outputs = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=state,
        input_c=state,
        params=cudnn_parameters(forward, backward),
        sequence_lengths=lengths,
        rnn_mode="lstm",
        direction="bidirectional",
        time_major=True,
    )
    both: tf.Tensor = outputs[0][:-1]
    return both


@functools.cache
def cudnn_fault() -> str:
    """Return why `cudnn_lstm` cannot be used here, "" if it can: it is compared with `lstm` on a few numbers."""
    rng = np.random.default_rng(0)
    shapes = [(5, 3, 7), *[(7, 16), (4, 16), (16,)] * 2]  # x and the weights of both directions
    given = [tf.constant(rng.normal(size=shape) / 2, tf.float32) for shape in shapes]
    x, weights, lengths = given[0], (given[1:4], given[4:]), tf.constant([5, 2, 4])
    inside = tf.transpose(tf.sequence_mask(lengths, 5))[:, :, None]
    try:
        results = []
        for cudnn in (False, True):
            with tf.GradientTape() as tape:
                tape.watch(given)
                if cudnn:
                    both = cudnn_lstm(x, lengths, *weights)
                else:
                    both = tf.concat(_directions(lambda number, x: lstm(x, *weights[number]), x, lengths), axis=-1)
                both = tf.where(inside, both, 0.0)
                loss = tf.reduce_sum(tf.sin(both))
            results.append([both, *tape.gradient(loss, given)])
        errors = [float(tf.reduce_max(tf.abs(one - other))) for one, other in zip(*results, strict=True)]
    except (tf.errors.OpError, AttributeError, LookupError, TypeError, ValueError) as error:
        return str(error).split("\n", 1)[0]
    return "" if max(errors) < 0.05 else f"its results differ by {max(errors):.2g}"  # TF32 has three digits


def _directions(run: Callable[..., tf.Tensor], x: tf.Tensor, lengths: tf.Tensor) -> list[tf.Tensor]:
    """Return what `run` makes of texts (T, B, D) read forward, and of texts read backward: `run(direction, x)`."""
    reverse = functools.partial(tf.reverse_sequence, seq_lengths=lengths, seq_axis=0, batch_axis=1)
    return [run(0, x), reverse(run(1, reverse(x)))]


@keras.saving.register_keras_serializable("tagger")
class BiLSTM(keras.layers.Layer):
    """A forward and a backward LSTM (Graves and Schmidhuber, 2005).

    Texts are padded on the right. The backward LSTM reads each text reversed by its own length, so padding is never
    read before a unit: the result is that of a masked layer, at the speed of one without a mask.

    Args:
        units: Size H of each direction.
        merge: "concat" or "sum" of the two directions.
        kernel: One of `KERNELS`; all but "loop" are float32 only, with gradients for all inputs.
    """

    def __init__(self, units: int, merge: str, kernel: str = "loop", **keras_options: Any) -> None:
        super().__init__(**keras_options)
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}; received {kernel!r}")
        self.units, self.merge, self.kernel = units, merge, kernel
        self.forward = keras.layers.LSTM(units, return_sequences=True, name="forward")
        self.backward = keras.layers.LSTM(units, return_sequences=True, name="backward")

    def build(self, shape: Any) -> None:
        """Create the weights for inputs (T, B, D)."""
        self.forward.build(shape)
        self.backward.build(shape)
        self.built = True

    def call(
        self, inputs: tf.Tensor, lengths: tf.Tensor, frozen: int = 0, matmul_dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """Return (T, B, D) -> (T, B, 2H) or, summed, (T, B, H); `frozen` and `matmul_dtype` as in `lstm`."""
        layers = self.forward, self.backward

        def run(direction: int, x: tf.Tensor) -> tf.Tensor:
            if self.kernel == "keras":
                return tf.transpose(layers[direction](tf.transpose(x, (1, 0, 2))), (1, 0, 2))
            kernel, recurrent, bias = _weights(layers[direction])
            return lstm(x, kernel, recurrent, bias, frozen, matmul_dtype)

        if self.kernel == "cudnn":
            both = cudnn_lstm(inputs, lengths, *map(_weights, layers))
            return tf.add(*tf.split(both, 2, axis=-1)) if self.merge == "sum" else both
        forward, backward = _directions(run, inputs, lengths)  # (T, B, H)
        return forward + backward if self.merge == "sum" else tf.concat([forward, backward], axis=-1)


def _weights(layer: keras.layers.LSTM) -> list[tf.Tensor]:
    """Return kernel, recurrent kernel and bias of Keras' layer."""
    cell = layer.cell
    return [tf.convert_to_tensor(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias)]
