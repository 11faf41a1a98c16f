"""Scores by OpenVINO."""

import contextlib
import ctypes
import os
import platform
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tagger import onnx_graph, openvino_graph
from tagger.bundle import ONNX, Bundle
from tagger.errors import BundleError
from tagger.imports import import_openvino
from tagger.lookup import Lookup
from tagger.sections import ModelConfig

_MULTIPLE = 4  # the number of several texts in a batch, and of units in a text, is padded to a multiple of this


class OpenvinoRuntime:
    """Runs the weights of `model.onnx` on OpenVINO, in narrower numbers; safe to use from several threads.

    On x86 the LSTMs multiply 8-bit integers; all else is in bfloat16 where the processor multiplies it. The vectors are
    looked up inside the graph. In a forked process, which lacks the threads of OpenVINO, the model is
    compiled again when it is first used.

    Args:
        path: The file.
        config: The `[model]` section.
        lookup: Ids -> vectors.
        streams: Number of batches computed side by side, each on one core.
        single: Whether to compute in single precision on any processor.
    """

    batch_units = 2400  # a change of shape costs as much as several hundred units

    def __init__(self, path: Path, config: ModelConfig, lookup: Lookup, streams: int = 1, single: bool = False) -> None:
        self._openvino = import_openvino()
        self._path, self._content, self._config, self._lookup = path, path.read_bytes(), config, lookup
        self._eight_bits = not single and platform.machine() in ("x86_64", "AMD64")
        self._options: dict[str, Any] = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,  # it would pin every process to the same cores
        }
        self._options |= {"INFERENCE_PRECISION_HINT": "f32"} if single else {}
        self._compiling = threading.Lock()
        self._compiled = _Compiled(self._compile())

    @classmethod
    def load(cls, bundle: Bundle, workers: int) -> "OpenvinoRuntime":
        """Return the runtime for a bundle, to be called from this number of threads at once."""
        return cls(bundle.folder / ONNX, bundle.config.model, bundle.lookup, workers)

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        texts, longest, _ = ids.shape
        # A shape seen before is faster than a new one: padding keeps the number of shapes small.
        rows = texts + (-texts % _MULTIPLE if texts > 1 else 0)
        padded = np.zeros((rows, longest + -longest % _MULTIPLE, ids.shape[2]), np.int32)
        padded[:texts, :longest] = ids
        ends = np.ones(rows, np.int32)
        ends[:texts] = lengths
        positions = np.arange(padded.shape[1], dtype=np.int32)
        mirrored = np.where(positions < ends[:, None], ends[:, None] - 1 - positions, positions)
        feed = {"ids": padded, "lengths": ends, "mirrored": mirrored}
        return self._here().scores(feed)[:texts, :longest]

    def _here(self) -> "_Compiled":
        """Return the model as compiled in this process."""
        if self._compiled.process != os.getpid():
            with self._compiling:
                if self._compiled.process != os.getpid():
                    self._compiled.leak()
                    self._compiled = _Compiled(self._compile())
        return self._compiled

    def _compile(self) -> Any:
        core = self._openvino.Core()
        try:
            nodes = core.read_model(self._content).get_ops()
            constants = {node.get_friendly_name(): node.data for node in nodes if node.get_type_name() == "Constant"}
            weights = onnx_graph.from_constants(constants, self._config, self._lookup)
            if self._eight_bits:
                with contextlib.suppress(RuntimeError):  # it has no such LSTM for processors without AVX2
                    return core.compile_model(openvino_graph.build(weights, self._lookup, True), "CPU", self._options)
            return core.compile_model(openvino_graph.build(weights, self._lookup, False), "CPU", self._options)
        except (RuntimeError, KeyError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise BundleError(f"{self._path}: OpenVINO cannot load it: {reason}") from error


class _Compiled:
    """A compiled model, the process that compiled it, and its inference requests, each used by one thread at a time."""

    def __init__(self, model: Any) -> None:
        self.model, self.process = model, os.getpid()
        self._idle: list[Any] = []

    def scores(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        scores: np.ndarray = request.infer(feed, share_inputs=True)[0].copy()  # the request reuses its memory
        self._idle.append(request)
        return scores

    def leak(self) -> None:
        """Never free what OpenVINO made: in a forked process, that would wait for threads that are not there."""
        for kept in (self.model, *self._idle):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
