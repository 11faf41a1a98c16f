"""Scores by Keras on TensorFlow, for a model in training and for a trained one."""

import contextlib
import os
from typing import Any

import numpy as np

from tagger.bundle import Bundle
from tagger.errors import TaggerError
from tagger.lookup import Lookup


class KerasRuntime:
    """Runs a Keras model.

    Args:
        model: A `TaggerModel`.
        lookup: Ids -> vectors.
    """

    batch_units = 2400

    def __init__(self, model: Any, lookup: Lookup) -> None:
        import tensorflow as tf

        from tagger.execution import traced

        self._lookup, self._process, self._sends_vectors = lookup, os.getpid(), model.frozen is None
        specs = {
            "ids": tf.TensorSpec((None, None, lookup.columns), tf.int32),
            "lengths": tf.TensorSpec((None,), tf.int32),
        }
        if self._sends_vectors:
            specs["vectors"] = tf.TensorSpec((None, None, lookup.dimensions), tf.float32)
        self._call = traced(lambda inputs: model(inputs, training=False), input_signature=[specs])

    @classmethod
    def load(cls, bundle: Bundle, workers: int) -> "KerasRuntime":
        """Return the runtime for a bundle; any number of threads may call it.

        Where there is a graphics card, it runs there; memory is taken as it is needed, so that others find some.
        """
        import tensorflow as tf

        for card in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError, ValueError):  # the process has decided about it before
                tf.config.experimental.set_memory_growth(card, True)
        return cls(bundle.keras_model(), bundle.lookup)

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`.

        Raises:
            TaggerError: In a forked process, in which TensorFlow would wait for ever.
        """
        if self._process != os.getpid():
            raise TaggerError(
                "runtime keras: expected the process that loaded it, received a fork of it; load the tagger in each "
                "process, or use another runtime"
            )
        longest = ids.shape[1]
        if longest == 1:  # TensorFlow 2.21 with oneDNN crashes there
            ids = np.pad(ids, ((0, 0), (0, 1), (0, 0)))
        inputs = {"ids": ids, "lengths": lengths}
        if self._sends_vectors:
            inputs["vectors"] = self._lookup.vectors(ids)
        return self._call(inputs).numpy()[:, :longest]
