"""The BiLSTM, from vectors to tag scores, and its loss."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tagger import crf
from tagger.execution import Execution, here
from tagger.lookup import Embedding, Lookup
from tagger.lstm import BiLSTM
from tagger.sections import ModelConfig
from tagger.tags import TagScheme
from tagger.vectors import Table

_SMALL = 128  # tables of at most this many rows are looked up by a matrix product

_IMPOSSIBLE = -1e9  # score of a tag that contradicts what is labelled


def _masked(hidden: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Return (T, B, H) times (B, H); unchanged without a mask."""
    return hidden if mask is None else hidden * mask


class FrozenVectors:
    """Frozen vectors by their ids, as `Lookup.vectors`, from tables in the memory of TensorFlow's device."""

    def __init__(self, lookup: Lookup) -> None:
        tables = {id(table): table for _, table in lookup.looked_up}
        placed = {key: _PlacedTable(table) for key, table in tables.items()}
        self._columns = [(column, placed[id(table)]) for column, table in lookup.looked_up]

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the vectors of rows of ids, (..., F) int32 -> (..., D) float32."""
        return tf.concat([table.rows(ids[..., column]) for column, table in self._columns], axis=-1)


class _PlacedTable:
    """A table of vectors in the memory of TensorFlow's device; int8 numbers lie there in fours, as float32.

    TensorFlow has no kernel that gathers int8 on a graphics card.
    """

    def __init__(self, table: Table) -> None:
        self._dimensions, vectors = table.dimensions, table.vectors
        self._scales = None if table.scales is None else tf.constant(table.scales)
        if table.scales is not None:
            vectors = np.pad(vectors, ((0, 0), (0, -table.dimensions % 4))).view(np.float32)
        self._vectors = tf.constant(vectors)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the vectors of ids, (...) int32 -> (..., D) float32."""
        gathered = tf.gather(self._vectors, ids)
        if self._scales is None:
            return gathered
        fours = tf.bitcast(gathered, tf.int8)  # (..., D / 4, 4)
        numbers = tf.reshape(fours, tf.concat([tf.shape(ids), [4 * self._vectors.shape[1]]], axis=0))
        return tf.cast(numbers[..., : self._dimensions], tf.float32) * tf.gather(self._scales, ids)


@keras.saving.register_keras_serializable("tagger")
class TaggerModel(keras.Model):
    """Dropout, BiLSTM layers, and a linear layer to tag scores.

    Args:
        config: The `[model]` section.
        scheme: The tags, K of them.
        dimensions: Length D of the frozen vectors.
        embeddings: The small tables of trainable vectors.
        execution: How it computes; None for what is best on this machine.

    Attributes:
        frozen: Vectors by their ids, where `execution.tables` says so (`weights.fresh_model` sets it); None where they
            are among the inputs.
    """

    def __init__(
        self,
        config: ModelConfig,
        scheme: TagScheme,
        dimensions: int,
        embeddings: Sequence[Embedding],
        execution: Execution | None = None,
    ) -> None:
        super().__init__(name="tagger")
        self.execution = execution or here()
        self.frozen: FrozenVectors | None = None
        self.config, self.scheme, self.dimensions = config, scheme, dimensions
        self.columns = [embedding.columns for embedding in embeddings]
        self.embeddings = [
            keras.layers.Embedding(
                count, size, keras.initializers.RandomNormal(stddev=0.25), name=f"embedding_{columns[0]}"
            )
            for columns, count, size in embeddings
        ]
        kernel = self.execution.kernel
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
        parts = [self.frozen(inputs["ids"]) if self.frozen else inputs["vectors"]]  # (B, T, D)
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
        steps: tf.Tensor | None = None,
        partial: bool = False,
    ) -> tf.Tensor:
        """Return the loss: negative log-likelihood of the tag path (CRF) or of each tag (softmax), times the weights.

        Where several paths may be correct, with probabilities, it is the expected one under these: up to a constant,
        the divergence of the model's paths from a teacher's (structure-level distillation: Wang et al., 2020).

        Args:
            x, y, sample_weight: Inputs, targets and weights of a `Batch`.
            y_pred: Scores, (B, T, K).
            training: Ignored.
            steps: Of a `Batch`; needed for a CRF unless `partial`.
            partial: Whether some units have no label: the loss is then that of all paths, or tags, that agree with
                the labels there are (Tsuboi et al., 2008).
        """
        agreeing = tf.where(y > 0, y_pred, _IMPOSSIBLE) if partial else None
        if self.config.crf:
            return self._crf_loss(x["lengths"], y, y_pred, sample_weight, steps, agreeing)
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
        self,
        lengths: tf.Tensor,
        y: tf.Tensor,
        scores: tf.Tensor,
        weights: tf.Tensor,
        steps: tf.Tensor | None,
        agreeing: tf.Tensor | None,
    ) -> tf.Tensor:
        """Return the sum of the losses of a batch's texts."""
        step = tf.exp(self.transitions) * self.scheme.allowed.astype(np.float32)
        log_partition = crf.METHODS[self.execution.crf]
        if agreeing is not None:  # both sums at once
            both = log_partition(tf.concat([scores, agreeing], axis=0), tf.tile(lengths, [2]), step, self.scheme)
            total, agreeing_total = tf.split(both, 2)
            return tf.reduce_sum((total - agreeing_total) * weights[:, 0])
        total = log_partition(scores, lengths, step, self.scheme)
        gold = tf.reduce_sum(scores * y * weights[:, :, None]) + tf.reduce_sum(steps * self.transitions)
        return tf.reduce_sum(total * weights[:, 0]) - gold
