"""The BiLSTM, from vectors to tag scores, and its loss."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tagger.lookup import Embedding
from tagger.sections import ModelConfig
from tagger.tags import TagScheme

KERNELS = ("loop", "keras")  # implementations of the LSTM

_SMALL = 128  # tables of at most this many rows are looked up by a matrix product

_IMPOSSIBLE = -1e9  # score of a tag that contradicts what is labelled


def best_kernel() -> str:
    """Return the faster kernel on this machine: Keras' (cuDNN) on a GPU, our loop on a CPU."""
    return "keras" if tf.config.list_logical_devices("GPU") else "loop"


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


@keras.saving.register_keras_serializable("tagger")
class BiLSTM(keras.layers.Layer):
    """A forward and a backward LSTM (Graves and Schmidhuber, 2005).

    Texts are padded on the right. The backward LSTM reads each text reversed by its own length, so padding is never
    read before a unit: the result is that of a masked layer, at the speed of one without a mask.

    Args:
        units: Size H of each direction.
        merge: "concat" or "sum" of the two directions.
        kernel: "loop" (ours, faster on a CPU) or "keras" (of `keras.layers.LSTM`: float32 only, gradients for all
            inputs).
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
        forward = self._run(self.forward, inputs, frozen, matmul_dtype)  # (T, B, H)
        reverse = functools.partial(tf.reverse_sequence, seq_lengths=lengths, seq_axis=0, batch_axis=1)
        backward = reverse(self._run(self.backward, reverse(inputs), frozen, matmul_dtype))
        return forward + backward if self.merge == "sum" else tf.concat([forward, backward], axis=-1)

    def _run(self, layer: keras.layers.LSTM, inputs: tf.Tensor, frozen: int, matmul_dtype: tf.DType) -> tf.Tensor:
        if self.kernel == "keras":
            return tf.transpose(layer(tf.transpose(inputs, (1, 0, 2))), (1, 0, 2))
        cell = layer.cell
        kernel, recurrent, bias = map(tf.convert_to_tensor, (cell.kernel, cell.recurrent_kernel, cell.bias))
        return lstm(inputs, kernel, recurrent, bias, frozen, matmul_dtype)


def crf_log_partition(scores: tf.Tensor, lengths: tf.Tensor, step: tf.Tensor, scheme: TagScheme) -> tf.Tensor:
    """Return the log of the summed weight of all legal tag paths (Lafferty et al., 2001), (B,) float32.

    The forward recursion runs on weights scaled to sum to one at each unit, so that a step is one matrix product.

    Args:
        scores: (B, T, K).
        lengths: (B,) int32, at least 1.
        step: Weight of tag j after tag i, (K, K), 0 where forbidden.
        scheme: Defines which tags may start and end a text.
    """
    tiny = 1e-30
    top = tf.stop_gradient(tf.reduce_max(scores, axis=2, keepdims=True))
    weights = tf.transpose(tf.exp(scores - top), (1, 0, 2))  # (T, B, K)
    each = tf.TensorArray(tf.float32, tf.shape(weights)[0], element_shape=[None, scheme.size]).unstack(weights)

    def scaled(now: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.reduce_sum(now, axis=1, keepdims=True) + tiny
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
    log += tf.math.log(tf.reduce_sum(last * scheme.ends.astype(np.float32), axis=1) + tiny)
    inside = tf.sequence_mask(lengths, tf.shape(scores)[1], tf.float32)
    return log + tf.reduce_sum(top[:, :, 0] * inside, axis=1)


def _masked(hidden: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Return (T, B, H) times (B, H); unchanged without a mask."""
    return hidden if mask is None else hidden * mask


@keras.saving.register_keras_serializable("tagger")
class TaggerModel(keras.Model):
    """Dropout, BiLSTM layers, and a linear layer to tag scores.

    Args:
        config: The `[model]` section.
        scheme: The tags, K of them.
        dimensions: Length D of the frozen vectors.
        embeddings: The small tables of trainable vectors.
        kernel: As in `BiLSTM`; None for the faster one on this machine.
    """

    def __init__(
        self,
        config: ModelConfig,
        scheme: TagScheme,
        dimensions: int,
        embeddings: Sequence[Embedding],
        kernel: str | None = None,
    ) -> None:
        super().__init__(name="tagger")
        self.config, self.scheme, self.dimensions = config, scheme, dimensions
        self.columns = [embedding.columns for embedding in embeddings]
        self.embeddings = [
            keras.layers.Embedding(
                count, size, keras.initializers.RandomNormal(stddev=0.25), name=f"embedding_{columns[0]}"
            )
            for columns, count, size in embeddings
        ]
        kernel = kernel or best_kernel()
        self.layers_ = [
            BiLSTM(size, config.merge, kernel, name=f"bilstm_{number}") for number, size in enumerate(config.layers)
        ]
        self.output_ = keras.layers.Dense(scheme.size, name="scores")
        if config.crf:
            self.transitions = self.add_weight(
                name="transitions", shape=(scheme.size, scheme.size), initializer="zeros"
            )

    def build(self, shape: Any = None) -> None:
        """Create the weights; their shapes do not depend on `shape`."""
        for layer in self.embeddings:
            layer.build()
        size = self.dimensions
        size += sum(len(c) * table.output_dim for c, table in zip(self.columns, self.embeddings, strict=True))
        for layer in self.layers_:
            layer.build((None, None, size))
            size = layer.units * (1 if self.config.merge == "sum" else 2)
        self.output_.build((None, None, size))
        self.built = True

    def dropout_masks(self, inputs: dict[str, tf.Tensor]) -> list[tf.Tensor | None]:
        """Return factors for the input of each layer, (B, D) float32, and for the output of the last, (B, H).

        One of them holds for all units of a text: 0 for a dropped number, 1 / (1 - rate) for others; None where the
        rate is 0. They are drawn for the whole batch of which these texts are a part, so that they are the same in any.
        """
        rates = [*[self.config.dropout] * len(self.layers_), self.config.output_dropout]
        widths = [layer.forward.cell.kernel.shape[0] for layer in self.layers_] + [self.output_.kernel.shape[0]]
        drawn = [width if rate else 0 for width, rate in zip(widths, rates, strict=True)]
        if not any(drawn):
            return [None] * len(rates)
        shape = tf.stack([inputs["texts"], sum(drawn)])
        numbers = tf.gather(tf.random.stateless_uniform(shape, inputs["seed"], alg="philox"), inputs["rows"])
        parts = tf.split(numbers, drawn, axis=1)
        return [
            tf.cast(part >= rate, tf.float32) / (1.0 - rate) if rate else None
            for part, rate in zip(parts, rates, strict=True)
        ]

    def call(
        self, inputs: dict[str, tf.Tensor], training: bool = False, matmul_dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """Return the score of each tag at each unit, (B, T, K) float32; `matmul_dtype` as in `lstm`."""
        scores = self.output_(self.hidden(inputs, training, matmul_dtype))
        return tf.transpose(scores, (1, 0, 2))

    def hidden(self, inputs: dict[str, tf.Tensor], training: bool, matmul_dtype: tf.DType) -> tf.Tensor:
        """Return the output of the last BiLSTM at each unit, (T, B, H) float32."""
        parts = [inputs["vectors"]]  # (B, T, D)
        for table, columns in zip(self.embeddings, self.columns, strict=True):
            ids = tf.gather(inputs["ids"], columns, axis=2)
            if table.input_dim <= _SMALL:  # the gradient is a product as well, instead of thousands of additions
                vectors = tf.one_hot(ids, table.input_dim) @ tf.convert_to_tensor(table.embeddings)
            else:
                vectors = table(ids)  # (B, T, columns, dimensions)
            parts.append(tf.reshape(vectors, (*tf.unstack(tf.shape(vectors)[:2]), len(columns) * table.output_dim)))
        hidden = tf.transpose(tf.concat(parts, axis=-1), (1, 0, 2))  # (T, B, D): steps are slices
        frozen = self.dimensions
        masks = self.dropout_masks(inputs) if training else [None] * (len(self.layers_) + 1)
        for layer, mask in zip(self.layers_, masks[:-1], strict=True):
            hidden = _masked(hidden, mask)
            hidden = layer(hidden, inputs["lengths"], frozen=frozen, matmul_dtype=matmul_dtype)
            frozen = 0
        return _masked(hidden, masks[-1])

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
        partial: bool = False,
    ) -> tf.Tensor:
        """Return the loss: negative log-likelihood of the tag path (CRF) or of each tag (softmax), times the weights.

        Args:
            x, y, sample_weight: Inputs, targets and weights of a `Batch`.
            y_pred: Scores, (B, T, K).
            training: Ignored.
            partial: Whether some units have no label: the loss is then that of all paths, or tags, that agree with
                the labels there are (Tsuboi et al., 2008).
        """
        agreeing = tf.where(y > 0, y_pred, _IMPOSSIBLE) if partial else None
        if self.config.crf:
            return self._crf_loss(x["lengths"], y, y_pred, sample_weight, agreeing)
        if agreeing is None:
            each = tf.nn.softmax_cross_entropy_with_logits(y, y_pred)
        else:
            each = tf.reduce_logsumexp(y_pred, axis=2) - tf.reduce_logsumexp(agreeing, axis=2)
        loss = tf.reduce_sum(each * sample_weight)
        if self.config.activity_l1:
            activity = tf.reduce_sum(tf.abs(tf.nn.softmax(y_pred)) * sample_weight[:, :, None])
            loss += self.config.activity_l1 * activity
        return loss

    def _crf_loss(
        self, lengths: tf.Tensor, y: tf.Tensor, scores: tf.Tensor, weights: tf.Tensor, agreeing: tf.Tensor | None
    ) -> tf.Tensor:
        """Return the sum of the losses of a batch's texts."""
        step = tf.exp(self.transitions) * self.scheme.allowed.astype(np.float32)
        if agreeing is not None:  # both sums in one loop
            both = crf_log_partition(tf.concat([scores, agreeing], axis=0), tf.tile(lengths, [2]), step, self.scheme)
            total, agreeing_total = tf.split(both, 2)
            return tf.reduce_sum((total - agreeing_total) * weights[:, 0])
        total = crf_log_partition(scores, lengths, step, self.scheme)
        weighted = y * weights[:, :, None]
        gold = tf.reduce_sum(scores * weighted)
        gold += tf.reduce_sum(tf.einsum("bti,btj->ij", weighted[:, :-1], y[:, 1:]) * self.transitions)
        return tf.reduce_sum(total * weights[:, 0]) - gold
