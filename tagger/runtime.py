"""ids -> scores, without TensorFlow by default."""

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tagger.errors import BundleError, require
from tagger.lookup import Lookup


class Runtime(Protocol):
    """Scores batches of ids.

    Args:
        batch_units: Units in a batch, padding included, with which it is fastest.
    """

    batch_units: int

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

    batch_units = 800  # what fits the processor's cache

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


_ROUND = 4  # texts, and units of a text, in a batch for OpenVINO are a multiple of this


class OpenvinoRuntime:
    """Runs `model.onnx` on OpenVINO, in bfloat16 where the processor multiplies it; safe to use from several threads.

    There the vectors are looked up in the graph.

    Args:
        path: The file.
        lookup: Ids -> vectors.
        streams: Batches scored side by side, each on a core of its own.
        single: Whether to stay with single precision on any processor.
    """

    batch_units = 2400  # a change of shape costs as much as some hundred units

    def __init__(self, path: Path, lookup: Lookup, streams: int = 1, single: bool = False) -> None:
        openvino = require("openvino", "fast")
        core = openvino.Core()
        try:
            model = core.read_model(path)
            _look_up_inside(model, lookup)
            _reverse_by_length(model)
            options: dict[str, Any] = {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": streams,
                "ENABLE_CPU_PINNING": False,  # to the first cores, in every process
            }
            options |= {"INFERENCE_PRECISION_HINT": "f32"} if single else {}
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise BundleError(f"{path}: OpenVINO cannot load it: {str(error).splitlines()[0]}") from error
        self._own = threading.local()

    def scores(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `Runtime.scores`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        size, longest, _ = ids.shape
        # A shape that was there before is faster than a new one: few shapes, by padding.
        more, longer = -size % _ROUND, -longest % _ROUND
        ids = np.pad(ids, ((0, more), (0, longer), (0, 0)))
        lengths = np.pad(lengths, (0, more), constant_values=1)
        places, ends = np.arange(longest + longer, dtype=np.int32), lengths[:, None]
        mirrored = np.where(places < ends, ends - 1 - places, places)
        feed = {"ids": ids, "lengths": lengths, "mirrored": mirrored}
        found: np.ndarray = self._own.request.infer(feed, share_inputs=True)[0]
        return found[:size, :longest].copy()  # the request uses its memory again


def _look_up_inside(model: Any, lookup: Lookup) -> None:
    """Put the tables of frozen vectors into an OpenVINO model, in place of its input `vectors`."""
    from openvino import Type, opset13

    inputs = {parameter.friendly_name: parameter for parameter in model.get_parameters()}
    if "ids" not in inputs:  # a word's id is all it has
        inputs["ids"] = opset13.parameter([-1, -1, lookup.columns], Type.i32, "ids")
        inputs["ids"].output(0).set_names({"ids"})
        model.add_parameters([inputs["ids"]])
    first = opset13.constant(np.int32(0))
    # Scaled once and for all, although four times as large: each unit looks up seven rows.
    tables = {t.name: opset13.constant(t.rows(np.arange(len(t.vectors)))) for t in lookup.tables}
    parts = []
    for column, table in lookup.looked_up:
        ids = opset13.gather(inputs["ids"], opset13.constant(np.int32(column)), opset13.constant(np.int32(2)))
        parts.append(opset13.gather(tables[table.name], ids, first))
    inputs["vectors"].output(0).replace(opset13.concat(parts, -1).output(0))
    model.remove_parameter(inputs["vectors"])


def _reverse_by_length(model: Any) -> None:
    """Make each LSTM of both directions two that go forward: OpenVINO's own reads padding before a text's end.

    A new input `mirrored` (B, T) says which unit of its text each unit changes places with.
    """
    from openvino import Type, opset13

    mirrored = opset13.parameter([-1, -1], Type.i32, "mirrored")
    mirrored.output(0).set_names({"mirrored"})
    for node in model.get_ordered_ops():
        if node.get_type_name() != "LSTMSequence":
            continue
        x, h, c, lengths, *weights = (node.input_value(number) for number in range(7))  # (B, T, D), 2 x (B, 2, H), ...
        if x.get_node().get_type_name() == x.get_node().input_value(0).get_node().get_type_name() == "Transpose":
            x = x.get_node().input_value(0).get_node().input_value(0)  # there and back again
        parts = [opset13.split(state, 1, 2) for state in (h, c)] + [opset13.split(each, 0, 2) for each in weights]
        size = node.get_attributes()["hidden_size"]
        sides = []
        for side in (0, 1):
            first = opset13.gather(x, mirrored, opset13.constant(np.int32(1)), 1).output(0) if side else x
            h, c, *own = (part.output(side) for part in parts)
            out = opset13.lstm_sequence(first, h, c, lengths, *own, size, "forward").output(0)  # (B, 1, T, H)
            sides.append(opset13.gather(out, mirrored, opset13.constant(np.int32(2)), 1).output(0) if side else out)
        node.output(0).replace(opset13.concat(sides, 1).output(0))
    model.add_parameters([mirrored])


class KerasRuntime:
    """Runs a Keras model.

    Args:
        model: A `TaggerModel`.
        lookup: Ids -> vectors.
    """

    batch_units = 2400

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
