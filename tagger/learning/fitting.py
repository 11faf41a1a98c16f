"""What training and pretraining have in common: a fresh model, its optimizer, the state that changes, an epoch."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tagger import bundle as bundles
from tagger import onnx_graph
from tagger.batches import Batches, Store, ahead
from tagger.config import Config
from tagger.errors import TrainingError
from tagger.execution import traced
from tagger.lookup import Lookup
from tagger.progress import bar as progress_bar
from tagger.sections import TrainingConfig
from tagger.settings import settled
from tagger.tags import TagScheme
from tagger.weights import Weights, fresh_model


def seeded_model(config: Config, scheme: TagScheme, lookup: Lookup, store: Store, start: Path | None) -> Any:
    """Seed all random generators and return a new model, with the weights of the bundle `start` if given."""
    keras.utils.set_random_seed(config.training.seed)
    tf.config.experimental.enable_op_determinism()
    # On a card, cuDNN's LSTM repeats to the bit only if cuBLAS has buffers of one size (NVIDIA's notes on cuDNN 8).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:2")
    model = fresh_model(config, scheme, lookup)
    zero_unseen_embeddings(model, store)
    if start:
        bundles.load(start).load_weights(model)
    return model


def zero_unseen_embeddings(model: Any, store: Store) -> None:
    """Set the trainable vectors of ids that do not occur in `store` to zero: training would leave them random."""
    for columns, layer in zip(model.columns, model.embeddings, strict=True):
        seen = store.occurring(columns, layer.input_dim)
        layer.embeddings.assign(layer.embeddings.numpy() * seen[:, None])


def make_optimizer(settings: TrainingConfig, variables: Sequence[Any], steps: int) -> Any:
    """Return a built Adam optimizer, which leaves clipping and accumulation to `TrainingState`.

    Args:
        settings: The `[training]` section.
        variables: What it changes.
        steps: Changes of the weights over all epochs.
    """
    optimizer = SharedAdam(learning_rate(settings, steps))
    optimizer.build(variables)
    return optimizer


class SharedAdam(keras.optimizers.Adam):
    """Adam for gradients that are summed over all replicas already: they must be before they are clipped."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:  # of Keras, which sums them after clipping
        return grads_and_vars


def learning_rate(settings: TrainingConfig, steps: int) -> Any:
    """Return the learning rate, or its schedule over `steps` changes of the weights."""
    highest = settled(settings.learning_rate, "training.learning_rate")
    if settings.schedule == "constant" or steps < 2:  # a single step has no time to rise and fall
        return highest
    warmup = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, alpha=0.01, warmup_target=highest, warmup_steps=warmup
    )


def clipped(gradients: Sequence[tf.Tensor | None], norm: float) -> list[tf.Tensor | None]:
    """Return gradients scaled down together to this norm (Pascanu et al., 2013), or as they are if they are smaller.

    Args:
        gradients: Tensors; None where a variable has no gradient.
        norm: Largest norm of all gradients together; 0 for no limit.
    """
    if not norm:
        return list(gradients)
    squares = [tf.reduce_sum(tf.square(gradient)) for gradient in gradients if gradient is not None]
    now = tf.sqrt(tf.reduce_sum(tf.stack(squares)))
    scale = norm * tf.minimum(1.0 / now, 1.0 / norm) + (now - now)  # not a number if a gradient is not finite
    return [None if gradient is None else gradient * scale for gradient in gradients]


class TrainingState:
    """All that changes in training: weights, optimizer, moving average (EMA) of the weights.

    In the first steps the average follows the weights faster, so that the random weights of the beginning are soon
    forgotten.

    Args:
        model: A built model.
        optimizer: Its optimizer, built.
        settings: The `[training]` section; `clip_norm` and `ema_momentum` are used.
        accumulate: Batches whose gradients are averaged for one change of the weights.
        compiled: As in `execution.Execution`; needs all variables on one device.
    """

    def __init__(
        self, model: Any, optimizer: Any, settings: TrainingConfig, accumulate: int = 1, compiled: bool = False
    ) -> None:
        self.model, self.optimizer, self.settings, self.accumulate = model, optimizer, settings, accumulate
        self.momentum = settled(settings.ema_momentum, "training.ema_momentum")
        self.weights = model.trainable_variables
        self.averages = [tf.Variable(weight.value) for weight in self.weights] if self.momentum else []
        self.step = tf.Variable(0.0)
        self._waiting = [tf.Variable(tf.zeros(weight.shape)) for weight in self.weights] if accumulate > 1 else []
        self._batches = tf.Variable(0, dtype=tf.int64)
        accumulated = [*self._waiting, self._batches] if accumulate > 1 else []
        self._compiled = traced(self._change, jit_compile=True) if compiled else None
        self._variables = [*model.variables, *optimizer.variables, *self.averages, self.step, *accumulated]

    def apply_gradients(self, gradients: Sequence[Any]) -> None:
        """Make a batch's part of the next change of the weights; part of each step.

        Args:
            gradients: Of a whole batch: where replicas share a batch, they are summed before. Rows of
                `tf.IndexedSlices` that have the same index are summed here: Keras would square each for itself.
        """
        gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
        if self.accumulate == 1:
            self._update(gradients)
            return
        gradients = [
            waiting if gradient is None else gradient + waiting
            for gradient, waiting in zip(gradients, self._waiting, strict=True)
        ]

        def change() -> None:
            self._update([gradient / self.accumulate for gradient in gradients])
            for waiting in self._waiting:
                waiting.assign(tf.zeros_like(waiting))

        def wait() -> None:
            for waiting, gradient in zip(self._waiting, gradients, strict=True):
                waiting.assign(gradient)

        self._batches.assign_add(1)
        tf.cond(self._batches % self.accumulate == 0, change, wait)

    def _update(self, gradients: Sequence[tf.Tensor | None]) -> None:
        """Clip the gradients and change the weights by them.

        The norm is left out of what is compiled: TensorFlow's sums repeat to the bit, and so do a number's own changes.
        """
        gradients = clipped(gradients, self.settings.clip_norm)
        (self._compiled or self._change)(gradients)

    def _change(self, gradients: Sequence[tf.Tensor | None]) -> None:
        """Change the weights by clipped gradients, and move the averages towards them."""
        self.optimizer.apply_gradients(zip(gradients, self.weights, strict=True))
        if not self.averages:
            return
        self.step.assign_add(1.0)
        keep = tf.minimum(self.momentum, self.step / (self.step + 9.0))
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.assign(keep * average + (1 - keep) * weight.value)

    def evaluated_weights(self) -> list[np.ndarray]:
        """Return a copy of the weights that are evaluated and saved: the averages, or the weights themselves."""
        return [variable.numpy().copy() for variable in (self.averages or self.weights)]

    def swap_weights(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Put `weights` into the model, and return those it had."""
        previous = [weight.numpy().copy() for weight in self.weights]
        for variable, value in zip(self.weights, weights, strict=True):
            variable.assign(value)
        return previous

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything by name, for a checkpoint."""
        return {f"state_{number}": variable.numpy() for number, variable in enumerate(self._variables)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set everything from a checkpoint."""
        for number, variable in enumerate(self._variables):
            variable.assign(arrays[f"state_{number}"])


def input_signature(model: Any, lookup: Lookup) -> dict[str, tf.TensorSpec]:
    """Return shapes and dtypes of the inputs of a batch; `vectors` only if a `TaggerModel` does not look them up."""
    vectors = {} if model.frozen else {"vectors": tf.TensorSpec((None, None, lookup.dimensions), tf.float32)}
    return {
        **vectors,
        "ids": tf.TensorSpec((None, None, lookup.columns), tf.int32),
        "lengths": tf.TensorSpec((None,), tf.int32),
        "seed": tf.TensorSpec((2,), tf.int32),
        "texts": tf.TensorSpec((), tf.int32),
        "rows": tf.TensorSpec((None,), tf.int32),
    }


class EpochResult(NamedTuple):
    """What the steps of an epoch returned, (N,) or (N, M) float32 for N batches, and the time they took."""

    outputs: np.ndarray
    seconds: float


def run_epoch(
    step: Callable[..., tf.Tensor], batches: Batches[Any], epoch: int, settings: TrainingConfig
) -> EpochResult:
    """Make one step for each batch of an epoch, the first of which has number 0, with a progress bar.

    Raises:
        TrainingError: If a loss is not finite.
    """
    begin = time.monotonic()
    outputs: list[tf.Tensor] = []
    title = f"epoch {epoch + 1}/{settings.passes}"
    with progress_bar(total=len(batches), desc=title, unit="batch", leave=False) as bar:
        for batch in ahead(batches.epoch(epoch)):
            outputs.append(step(*batch))
            if bar.update():  # only then is the loss waited for
                loss = np.ravel(outputs[-1])[:1]
                require_finite([loss], epoch, settings)
                bar.set_postfix(loss=f"{float(loss[0]):.4f}", refresh=False)
    losses = np.array(outputs)
    require_finite([losses], epoch, settings)
    return EpochResult(losses, time.monotonic() - begin)


def require_finite(arrays: Sequence[np.ndarray], epoch: int, settings: TrainingConfig) -> None:
    """Check losses or weights of an epoch, the first of which has number 0, before anything of it is saved.

    Raises:
        TrainingError: If a number is not finite.
    """
    if all(np.isfinite(array).all() for array in arrays):
        return
    rate = f"a lower training.learning_rate than {settled(settings.learning_rate, 'training.learning_rate'):g}"
    others = "training.clip_norm=0.5" if not settings.clip_norm else "training.matmul_dtype=float32"
    raise TrainingError(
        f"epoch {epoch + 1}: the loss is not a number any more (nan or infinite), and nothing of this epoch is kept; "
        f"try {rate}, or {others}"
    )


def write_networks(model: Any, lookup: Lookup, folder: Path) -> None:
    """Write a model's graph into a bundle's folder, in half precision and in 8-bit integers."""
    weights = Weights.from_model(model, lookup.columns)
    onnx_graph.write(weights, folder / bundles.ONNX)
    onnx_graph.write_eight_bits(weights, folder / bundles.EIGHT_BITS, lookup.largest)
