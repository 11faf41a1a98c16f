"""The trained network in other forms: Keras weights, safetensors, SavedModel, ONNX."""

from pathlib import Path
from typing import Any

import numpy as np

from tagger.bundle import ONNX, Bundle, atomic_folder, refuse_existing
from tagger.errors import BundleError, require
from tagger.lookup import Lookup


def build(bundle: Bundle) -> Any:
    """Return the bundle's Keras model, its weights loaded."""
    model = fresh_model(bundle.config, bundle.scheme, bundle.lookup)
    onnx = require("onnx", "train")
    try:
        constants = onnx.load(bundle.folder / ONNX).graph.initializer
        arrays = {constant.name: onnx.numpy_helper.to_array(constant) for constant in constants}
        for table in model.embeddings:
            table.embeddings.assign(arrays[table.name])
        for number, layer in enumerate(model.layers_):
            for side, weights in enumerate((layer.forward.cell, layer.backward.cell)):
                w, r, b = (arrays[f"lstm_{number}_{part}"][side].astype(np.float32) for part in "wrb")
                weights.kernel.assign(_gates(w.T, "iofc", "ifco"))
                weights.recurrent_kernel.assign(_gates(r.T, "iofc", "ifco"))
                weights.bias.assign(_gates(b[: len(b) // 2], "iofc", "ifco"))
        for name, weight in zip(("kernel", "bias"), model.output_.weights, strict=True):
            weight.assign(arrays[name])
        if bundle.config.model.crf:
            model.transitions.assign(np.where(bundle.scheme.allowed, bundle.transitions.scores, 0))
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{bundle.folder}: {ONNX} does not fit the bundle's settings: {error}") from error
    return model


def fresh_model(config: Any, scheme: Any, lookup: Lookup) -> Any:
    """Return an untrained Keras model that fits these settings, tags and tables."""
    require("tensorflow", "train")
    from tagger.model import TaggerModel

    model = TaggerModel(config.model, scheme, lookup.dimensions, lookup.embeddings(config.model))
    model.build()
    return model


def to_weights(bundle: Bundle, out: Path, replace: bool = False) -> None:
    """Write the network's weights alone: `.safetensors` by its suffix, else Keras `.weights.h5`."""
    refuse_existing(out, replace)
    model = build(bundle)
    if out.suffix == ".safetensors":
        save_file = require("safetensors.numpy", "train").save_file
        save_file({weight.path: np.ascontiguousarray(weight.numpy()) for weight in model.weights}, out)
    elif out.name.endswith(".weights.h5"):
        model.save_weights(out, overwrite=True)
    else:
        raise BundleError(f"{out}: the name of a weights file ends in .weights.h5 or .safetensors")


def load_safetensors(model: Any, path: Path) -> None:
    """Load the weights that `to_weights` wrote as `.safetensors` into a freshly built model."""
    arrays = require("safetensors.numpy", "train").load_file(path)
    for weight in model.weights:
        weight.assign(arrays[weight.path])


def to_saved_model(bundle: Bundle, out: Path, replace: bool = False) -> None:
    """Write a model that `tf.saved_model.load` serves without this package.

    Its default signature takes `ids` (B, T, F) int32 and `lengths` (B,) int32 and returns `scores` (B, T, K); the
    tables of vectors are inside.
    """
    import tensorflow as tf

    model = build(bundle)
    constants = {
        table.name: tf.constant(table.rows(np.arange(len(table.vocabulary)))) for table in bundle.lookup.tables
    }
    tables = [constants[table.name] for table in bundle.lookup.looked_up]

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, None, bundle.lookup.columns), tf.int32, "ids"),
                tf.TensorSpec((None,), tf.int32, "lengths"),
            ]
        )
        def __call__(self, ids: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
            vectors = tf.concat([tf.gather(table, ids[:, :, c]) for c, table in enumerate(tables)], axis=-1)
            return {"scores": self.model({"ids": ids, "vectors": vectors, "lengths": lengths}, training=False)}

    served = Served()
    with atomic_folder(out, replace) as folder:
        tf.saved_model.save(served, str(folder), signatures={"serving_default": served.__call__})


def write_onnx(model: Any, columns: int, path: Path) -> None:
    """Write a `TaggerModel` as an ONNX graph: ids, vectors, lengths -> scores.

    Keras' own exporter cannot do bidirectional LSTM; the graph is built with ONNX's LSTM operator, whose
    `sequence_lens` gives each text its own end.

    Args:
        model: A `TaggerModel`.
        columns: Number F of id columns.
        path: The file to write.
    """
    onnx = require("onnx", "train")
    node, helper, kind = onnx.helper.make_node, onnx.helper, onnx.TensorProto
    constants: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, value: Any) -> str:
        constants.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(name: str, value: Any) -> str:
        """Keep weights in half precision, and use them in single."""
        nodes.append(node("Cast", [constant(name, np.asarray(value, np.float16))], [f"{name}_f"], to=kind.FLOAT))
        return f"{name}_f"

    parts = ["vectors"]
    side_by_side = constant("side_by_side", np.array([0, 0, -1], np.int64))
    for table, own in zip(model.embeddings, model.columns, strict=True):
        rows, index = weights(table.name, table.embeddings.numpy()), constant(f"{table.name}_columns", np.int64(own))
        ids, found, vectors = (f"{table.name}_{what}" for what in ("ids", "found", "vectors"))
        nodes.append(node("Gather", ["ids", index], [ids], axis=2))  # (B, T, columns)
        nodes.append(node("Gather", [rows, ids], [found]))
        nodes.append(node("Reshape", [found, side_by_side], [vectors]))
        parts.append(vectors)
    nodes.append(node("Concat", parts, ["inputs"], axis=2))
    nodes.append(node("Transpose", ["inputs"], ["hidden"], perm=[1, 0, 2]))  # (T, B, D)
    hidden = "hidden"
    for number, layer in enumerate(model.layers_):
        name = f"lstm_{number}"
        sides = [_lstm_weights(side) for side in (layer.forward, layer.backward)]
        w, r, b = (weights(f"{name}_{k}", np.stack(v)) for k, v in zip("wrb", zip(*sides, strict=True), strict=True))
        nodes.append(
            node("LSTM", [hidden, w, r, b, "lengths"], [name], hidden_size=layer.units, direction="bidirectional")
        )  # (T, 2, B, H)
        hidden = f"{name}_out"
        if layer.merge == "sum":
            axis = constant(f"{name}_axis", np.array([1], np.int64))
            nodes.append(node("ReduceSum", [name, axis], [hidden], keepdims=0))
        else:
            nodes.append(node("Transpose", [name], [f"{name}_t"], perm=[0, 2, 1, 3]))  # (T, B, 2, H)
            nodes.append(node("Reshape", [f"{name}_t", side_by_side], [hidden]))
    kernel, bias = (weights(n, w.numpy()) for n, w in zip(("kernel", "bias"), model.output_.weights, strict=True))
    nodes.append(node("MatMul", [hidden, kernel], ["product"]))
    nodes.append(node("Add", ["product", bias], ["by_time"]))
    nodes.append(node("Transpose", ["by_time"], ["scores"], perm=[1, 0, 2]))
    inputs = [
        helper.make_tensor_value_info("ids", kind.INT32, ["B", "T", columns]),
        helper.make_tensor_value_info("vectors", kind.FLOAT, ["B", "T", model.dimensions]),
        helper.make_tensor_value_info("lengths", kind.INT32, ["B"]),
    ]
    outputs = [helper.make_tensor_value_info("scores", kind.FLOAT, ["B", "T", model.scheme.size])]
    graph = helper.make_graph(nodes, "tagger", inputs if model.embeddings else inputs[1:], outputs, constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def _lstm_weights(layer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W (4H, D), R (4H, H), B (8H,) in ONNX's order of gates from Keras' layer."""
    kernel, recurrent, bias = (_gates(weight.numpy(), "ifco", "iofc") for weight in layer.cell.weights[:3])
    return kernel.T, recurrent.T, np.concatenate([bias, np.zeros_like(bias)])


def _gates(weights: np.ndarray, given: str, wanted: str) -> np.ndarray:
    """Return weights (..., 4H) with their gates in another order: input, forget, candidate (c), output."""
    parts = dict(zip(given, np.split(weights, 4, axis=-1), strict=True))
    return np.concatenate([parts[gate] for gate in wanted], axis=-1)


FORMS = {"weights": to_weights, "saved_model": to_saved_model}
