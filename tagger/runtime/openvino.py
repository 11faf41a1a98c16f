"""Scores by OpenVINO."""

import ctypes
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tagger.bundle import ONNX, Bundle
from tagger.errors import BundleError
from tagger.imports import import_openvino
from tagger.lookup import Lookup

_MULTIPLE = 4  # the number of texts in a batch, and of units in a text, is padded to a multiple of this


class OpenvinoRuntime:
    """Runs `model.onnx` on OpenVINO, in bfloat16 where the processor multiplies it; safe to use from several threads.

    The vectors are looked up inside the graph. In a forked process, which lacks the threads of OpenVINO, the model is
    compiled again when it is first used.

    Args:
        path: The file.
        lookup: Ids -> vectors.
        streams: Number of batches computed side by side, each on one core.
        single: Whether to compute in single precision on any processor.
    """

    batch_units = 2400  # a change of shape costs as much as several hundred units

    def __init__(self, path: Path, lookup: Lookup, streams: int = 1, single: bool = False) -> None:
        self._openvino = import_openvino()
        self._path, self._content, self._lookup = path, path.read_bytes(), lookup
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
        return cls(bundle.folder / ONNX, bundle.lookup, workers)

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        texts, longest, _ = ids.shape
        # A shape seen before is faster than a new one: padding keeps the number of shapes small.
        more_texts, more_units = -texts % _MULTIPLE, -longest % _MULTIPLE
        ids = np.pad(ids, ((0, more_texts), (0, more_units), (0, 0)))
        lengths = np.pad(lengths, (0, more_texts), constant_values=1)
        positions, ends = np.arange(longest + more_units, dtype=np.int32), lengths[:, None]
        mirrored = np.where(positions < ends, ends - 1 - positions, positions)
        feed = {"ids": ids, "lengths": lengths, "mirrored": mirrored}
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
            model = core.read_model(self._content)
            _look_up_inside(model, self._lookup)
            _reverse_by_length(model)
            return core.compile_model(model, "CPU", self._options)
        except RuntimeError as error:
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


def _look_up_inside(model: Any, lookup: Lookup) -> None:
    """Replace the input `vectors` of an OpenVINO model by lookups in the tables of frozen vectors."""
    from openvino import Type, opset13

    inputs = {parameter.friendly_name: parameter for parameter in model.get_parameters()}
    if "ids" not in inputs:  # word units: the graph takes vectors alone
        inputs["ids"] = opset13.parameter([-1, -1, lookup.columns], Type.i32, "ids")
        inputs["ids"].output(0).set_names({"ids"})
        model.add_parameters([inputs["ids"]])
    first = opset13.constant(np.int32(0))
    # Scaled in advance, although four times as large: each unit looks up seven rows.
    tables = {t.name: opset13.constant(t.rows(np.arange(len(t.vectors)))) for t in lookup.tables}
    parts = []
    for column, table in lookup.looked_up:
        ids = opset13.gather(inputs["ids"], opset13.constant(np.int32(column)), opset13.constant(np.int32(2)))
        parts.append(opset13.gather(tables[table.name], ids, first))
    inputs["vectors"].output(0).replace(opset13.concat(parts, -1).output(0))
    model.remove_parameter(inputs["vectors"])


def _reverse_by_length(model: Any) -> None:
    """Replace each bidirectional LSTM by two forward ones: OpenVINO's backward LSTM reads padding before a text's end.

    A new input `mirrored` (B, T) holds the position of each unit in its text reversed.
    """
    from openvino import Type, opset13

    mirrored = opset13.parameter([-1, -1], Type.i32, "mirrored")
    mirrored.output(0).set_names({"mirrored"})
    for node in model.get_ordered_ops():
        if node.get_type_name() != "LSTMSequence":
            continue
        x, h, c, lengths, *weights = (node.input_value(number) for number in range(7))  # (B, T, D), 2 x (B, 2, H), ...
        if x.get_node().get_type_name() == x.get_node().input_value(0).get_node().get_type_name() == "Transpose":
            x = x.get_node().input_value(0).get_node().input_value(0)  # two transpositions that cancel
        parts = [opset13.split(state, 1, 2) for state in (h, c)] + [opset13.split(each, 0, 2) for each in weights]
        size = node.get_attributes()["hidden_size"]
        outputs = []
        for backward in (0, 1):
            read = opset13.gather(x, mirrored, opset13.constant(np.int32(1)), 1).output(0) if backward else x
            h, c, *wrb = (part.output(backward) for part in parts)
            out = opset13.lstm_sequence(read, h, c, lengths, *wrb, size, "forward").output(0)  # (B, 1, T, H)
            axis = opset13.constant(np.int32(2))
            outputs.append(opset13.gather(out, mirrored, axis, 1).output(0) if backward else out)
        node.output(0).replace(opset13.concat(outputs, 1).output(0))
    model.add_parameters([mirrored])
