"""Scores by ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np

from tagger.bundle import EIGHT_BITS, ONNX, Bundle
from tagger.errors import BundleError
from tagger.imports import import_onnxruntime
from tagger.lookup import Lookup


class OnnxRuntime:
    """Runs `model.onnx` on ONNX Runtime; safe to use from several threads.

    Args:
        path: The file.
        lookup: Ids -> vectors.
        threads: Threads for one batch. One is best where several batches are computed side by side.
    """

    file = ONNX
    batch_units = 800  # fits the processor's cache

    def __init__(self, path: Path, lookup: Lookup, threads: int = 1) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(f"{path}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
        self._lookup = lookup
        self._inputs = {node.name for node in self._session.get_inputs()}

    @classmethod
    def load(cls, bundle: Bundle, workers: int) -> "OnnxRuntime":
        """Return the runtime for a bundle; any number of threads may call it."""
        return cls(bundle.folder / cls.file, bundle.lookup)

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        feed: dict[str, Any] = {"ids": ids, "vectors": self._lookup.vectors(ids), "lengths": lengths}
        feed = {name: value for name, value in feed.items() if name in self._inputs}
        return self._session.run(["scores"], feed)[0]


class EightBitRuntime(OnnxRuntime):
    """Runs `model.int8.onnx` on ONNX Runtime: the same model in 8-bit integers."""

    file = EIGHT_BITS
