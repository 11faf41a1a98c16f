"""What training and pretraining have in common: a fresh model, its optimizer, the state that changes, an epoch."""

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


def make_optimizer(settings: TrainingConfig, variables: Sequence[Any], steps: int, accumulate: int = 1) -> Any:
    """Return a built Adam optimizer.

    Args:
        settings: The `[training]` section.
        variables: What it changes.
        steps: Changes of the weights over all epochs.
        accumulate: Batches whose gradients are added up for one change.
    """
    optimizer = SharedAdam(
        learning_rate(settings, steps),
        global_clipnorm=settings.clip_norm or None,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
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


class TrainingState:
    """All that changes in training: weights, optimizer, moving average (EMA) of the weights.

    Args:
        model: A built model.
        optimizer: Its optimizer, built.
        momentum: Of the average; 0 for no average. In the first steps the average follows the weights faster, so that
            the random weights of the beginning are soon forgotten.
    """

    def __init__(self, model: Any, optimizer: Any, momentum: float) -> None:
        self.model, self.optimizer, self.momentum = model, optimizer, momentum
        self.weights = model.trainable_variables
        self.averages = [tf.Variable(weight.value) for weight in self.weights] if momentum else []
        self.step = tf.Variable(0.0)
        self._variables = [*model.variables, *optimizer.variables, *self.averages, self.step]

    def apply_gradients(self, gradients: Sequence[tf.Tensor]) -> None:
        """Change the weights, and move the averages towards them; part of each step."""
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


def input_signature(lookup: Lookup) -> dict[str, tf.TensorSpec]:
    """Return shapes and dtypes of the inputs of a batch."""
    return {
        "ids": tf.TensorSpec((None, None, lookup.columns), tf.int32),
        "vectors": tf.TensorSpec((None, None, lookup.dimensions), tf.float32),
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
