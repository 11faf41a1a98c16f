"""ids -> scores, without TensorFlow by default."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tagger.errors import BundleError
from tagger.lookup import Lookup


class Runtime(Protocol):
    """Scores batches of ids."""

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the score of each tag at each unit.

        Args:
            ids: (B, T, F) int32, padded on the right with 0.
            lengths: (B,) int32, at least 1.

        Returns:
            (B, T, K) float32; what stands past a text's end has no meaning.
        """
        ...


class OnnxRuntime:
    """Runs `model.onnx` on ONNX Runtime; safe to use from several threads.

    Args:
        path: The file.
        lookup: Ids -> vectors.
        threads: Threads for one batch. One is best where several batches are scored side by side.
    """

    def __init__(self, path: Path, lookup: Lookup, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(f"{path}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
        self._lookup = lookup
        self._inputs = {node.name for node in self._session.get_inputs()}

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        feed: dict[str, Any] = {"ids": ids, "vectors": self._lookup.vectors(ids), "lengths": lengths}
        feed = {name: value for name, value in feed.items() if name in self._inputs}
        return self._session.run(["scores"], feed)[0]


class KerasRuntime:
    """Runs a Keras model.

    Args:
        model: A `TaggerModel`.
        lookup: Ids -> vectors.
    """

    def __init__(self, model: Any, lookup: Lookup) -> None:
        import tensorflow as tf

        self._lookup = lookup
        self._call = tf.function(
            lambda ids, vectors, lengths: model({"ids": ids, "vectors": vectors, "lengths": lengths}, training=False),
            input_signature=[
                tf.TensorSpec((None, None, lookup.columns), tf.int32),
                tf.TensorSpec((None, None, lookup.dimensions), tf.float32),
                tf.TensorSpec((None,), tf.int32),
            ],
        )

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        return self._call(ids, self._lookup.vectors(ids), lengths).numpy()
