"""All that changes while a network is trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class State:
    """All that changes in training: weights, optimizer, dropout's seeds, the moving average of the weights.

    Args:
        model: A built model.
        optimizer: Its optimizer, built.
        momentum: Of the average; 0 keeps none. Early on the average follows faster, so that it does not
            remember the random weights it began with.
    """

    def __init__(self, model: Any, optimizer: Any, momentum: float) -> None:
        self.model, self.momentum = model, momentum
        self.weights = model.trainable_variables
        self.averages = [tf.Variable(weight.value) for weight in self.weights] if momentum else []
        self.step = tf.Variable(0.0)
        self._all = [*model.variables, *optimizer.variables, *self.averages, self.step]

    def update_averages(self) -> None:
        """Move the averages towards the weights; part of each step."""
        if not self.averages:
            return
        self.step.assign_add(1.0)
        keep = tf.minimum(self.momentum, self.step / (self.step + 9.0))
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.assign(keep * average + (1 - keep) * weight.value)

    def evaluated(self) -> list[np.ndarray]:
        """Return the weights that are evaluated and kept: the averages, or the weights themselves."""
        return [variable.numpy().copy() for variable in (self.averages or self.weights)]

    def use(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Put `weights` into the model, and return those it had."""
        before = [weight.numpy().copy() for weight in self.weights]
        for variable, value in zip(self.weights, weights, strict=True):
            variable.assign(value)
        return before

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything by name, for a checkpoint."""
        return {f"state_{number}": variable.numpy() for number, variable in enumerate(self._all)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take everything from a checkpoint."""
        for number, variable in enumerate(self._all):
            variable.assign(arrays[f"state_{number}"])
