"""ONNX graphs of trained weights, in single precision and in 8-bit integers; and the weights read back from a graph.

Keras' own exporter cannot export a bidirectional LSTM; the graphs are built with ONNX's LSTM operator, whose input
`sequence_lens` gives the length of each text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagger.errors import require
from tagger.lookup import Lookup
from tagger.sections import ModelConfig
from tagger.weights import Direction, Weights

# These hold a hidden unit of an LSTM at a constant output: its cell state, whose tanh is 1, and the bias of its gates.
_CELL, _GATE = 30.0, 20.0


class FrozenTable(NamedTuple):
    """A table of frozen vectors to be put into a graph, and the id columns that are looked up in it."""

    columns: tuple[int, ...]
    vectors: np.ndarray  # (V, D) float32, or int8 to be multiplied by scales
    scales: np.ndarray | None  # (V, 1) float32


def write(weights: Weights, path: Path, tables: Sequence[FrozenTable] = ()) -> None:
    """Write the graph that computes in single precision; its weights are stored in half precision.

    Args:
        weights: The trained weights.
        path: The file.
        tables: Tables of frozen vectors to put into the graph. Without any, the vectors are an input.
    """
    graph = _Graph(weights, tables)
    hidden = graph.inputs()
    for number, directions in enumerate(weights.layers):
        hidden = graph.merged(graph.lstm(number, hidden, directions))
    graph.write(hidden, path)


def write_eight_bits(weights: Weights, path: Path, largest: float) -> None:
    """Write the graph whose LSTM products are of 8-bit integers (ONNX Runtime's DynamicQuantizeLSTM).

    ONNX Runtime scales the inputs of a product by their range over the whole batch. Two constants, the ends of the
    possible range, are put beside each unit's own numbers, so that the scale is always the same: a text gets the same
    scores whatever it is batched with.

    Args:
        weights: The trained weights.
        path: The file.
        largest: Largest absolute number in the frozen vectors.
    """
    bound = max([largest, *(float(np.abs(rows).max()) for _, rows in weights.embeddings)])
    widened = _with_range_units(weights)
    graph = _Graph(widened)
    hidden = graph.with_range(graph.inputs(eight_bits=True), bound)
    for number, directions in enumerate(widened.layers):
        hidden = graph.merged(graph.quantized_lstm(number, hidden, directions))
    graph.write(hidden, path)


def read(path: Path, config: ModelConfig, lookup: Lookup) -> Weights:
    """Return the weights in a file of `write`.

    Args:
        path: The file.
        config, lookup: Settings and tables of the model that it was written from.

    Raises:
        KeyError, ValueError, IndexError, OSError: If the file does not fit them.
    """
    onnx = require("onnx", "train")
    constants = onnx.load(path).graph.initializer
    return from_constants({c.name: onnx.numpy_helper.to_array(c) for c in constants}, config, lookup)


def from_constants(constants: Mapping[str, np.ndarray], config: ModelConfig, lookup: Lookup) -> Weights:
    """Return the weights in the constants of a graph of `write`, by name; other arguments and errors as for `read`."""
    arrays = {name: array.astype(np.float32) for name, array in constants.items()}
    embeddings = lookup.embeddings(config)
    return Weights(
        lookup.columns,
        lookup.dimensions,
        [(embedding.columns, arrays[f"embedding_{number}"]) for number, embedding in enumerate(embeddings)],
        [(_direction(arrays, number, 0), _direction(arrays, number, 1)) for number in range(len(config.layers))],
        config.merge,
        arrays["kernel"],
        arrays["bias"],
    )


def _direction(arrays: Mapping[str, np.ndarray], layer: int, side: int) -> Direction:
    """Return one LSTM from the constants of a graph: side 0 is the forward one, 1 the backward one."""
    w, r, b = (arrays[f"lstm_{layer}_{part}"][side] for part in "wrb")
    return Direction(*(_gates(part, "iofc", "ifco") for part in (w.T, r.T, b[: len(b) // 2])))


class _Graph:
    """Builds a graph node by node; each method adds nodes and returns the name of the last one's output.

    Args:
        weights: The trained weights.
        tables: As in `write`.
    """

    def __init__(self, weights: Weights, tables: Sequence[FrozenTable] = ()) -> None:
        self.weights, self.tables, self.onnx = weights, tables, require("onnx", "train")
        self.constants: list[Any] = []
        self.nodes: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant and return its name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def half(self, name: str, value: np.ndarray) -> str:
        """Store an array in half precision, and cast it to single precision for use."""
        stored = self.constant(name, value.astype(np.float16))
        return self.node("Cast", [stored], f"{name}_single", to=self.onnx.TensorProto.FLOAT)

    def node(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def inputs(self, eight_bits: bool = False) -> str:
        """Concatenate frozen and trained vectors, (T, B, D)."""
        self.constant("side_by_side", np.array([0, 0, -1], np.int64))
        parts = [self.frozen(f"table_{number}", table) for number, table in enumerate(self.tables)] or ["vectors"]
        for number, (columns, rows) in enumerate(self.weights.embeddings):
            name = f"embedding_{number}"
            if eight_bits:
                values, scales = _quantized(rows.T[None])
                parts.append(self.frozen(name, FrozenTable(columns, values[0].T, scales[0][:, None])))
                continue
            vectors = self.node("Gather", [self.half(name, rows), self.ids(name, columns)], f"{name}_found")
            parts.append(self.node("Reshape", [vectors, "side_by_side"], f"{name}_vectors"))
        return self.node("Transpose", [self.node("Concat", parts, "inputs", axis=2)], "hidden", perm=[1, 0, 2])

    def ids(self, name: str, columns: Sequence[int]) -> str:
        """Select columns of the ids, (B, T, columns)."""
        selected = self.constant(f"{name}_columns", np.array(columns, np.int64))
        return self.node("Gather", ["ids", selected], f"{name}_ids", axis=2)

    def frozen(self, name: str, table: FrozenTable) -> str:
        """Look up the columns of a table and concatenate their vectors, (B, T, columns x D)."""
        ids = self.ids(name, table.columns)
        vectors = self.node("Gather", [self.constant(name, table.vectors), ids], f"{name}_found")  # (B, T, columns, D)
        if table.scales is not None:
            vectors = self.node("Cast", [vectors], f"{name}_single", to=self.onnx.TensorProto.FLOAT)
            factors = self.node("Gather", [self.constant(f"{name}_scales", table.scales), ids], f"{name}_factors")
            vectors = self.node("Mul", [vectors, factors], f"{name}_scaled")
        return self.node("Reshape", [vectors, "side_by_side"], f"{name}_vectors")

    def lstm(self, number: int, hidden: str, directions: Sequence[Direction]) -> str:
        """Run both directions of a layer, (T, 2, B, H)."""
        name = f"lstm_{number}"
        parts = [np.stack([part(direction) for direction in directions]) for part in (_w, _r, _b)]
        weights = [self.half(f"{name}_{letter}", part) for letter, part in zip("wrb", parts, strict=True)]
        size = len(directions[0].recurrent)
        return self.node("LSTM", [hidden, *weights, "lengths"], name, hidden_size=size, direction="bidirectional")

    def with_range(self, hidden: str, bound: float) -> str:
        """Append the ends of the range to each unit's numbers, (T, B, D + 2)."""
        shape = self.node("Shape", [hidden], "hidden_shape", start=0, end=2)
        shape = self.node("Concat", [shape, self.constant("two", np.array([2], np.int64))], "ends_shape", axis=0)
        ends = self.constant("ends", np.array([[[bound, -bound]]], np.float32))
        return self.node("Concat", [hidden, self.node("Expand", [ends, shape], "ends_beside")], "between_ends", axis=2)

    def quantized_lstm(self, number: int, hidden: str, directions: Sequence[Direction]) -> str:
        """Run both directions in 8-bit integers, (T, 2, B, H); the last two of H start at 1 and -1 and stay there."""
        name, size = f"lstm_{number}", len(directions[0].recurrent)
        values, scales, zeros = {}, {}, {}
        for letter, part in (("w", _w), ("r", _r)):
            integers, factors = _quantized(np.stack([part(direction).T for direction in directions]))
            values[letter] = self.constant(f"{name}_{letter}", integers)
            scales[letter] = self.constant(f"{name}_{letter}_scale", factors)
            zeros[letter] = self.constant(f"{name}_{letter}_zero", np.zeros(factors.shape, np.int8))
        bias = self.constant(f"{name}_b", np.stack([_b(direction) for direction in directions]))
        if number == 0:
            batch = self.node("Shape", ["lengths"], "batch")
            parts = [
                self.constant("directions", np.array([2], np.int64)),
                batch,
                self.constant("one", np.array([1], np.int64)),
            ]
            self.node("Concat", parts, "states_shape", axis=0)
        states = []
        for letter, end in (("h", 1.0), ("c", _CELL)):
            start = np.zeros((1, 1, size), np.float32)
            start[..., -2:] = end, -end
            constant = self.constant(f"{name}_{letter}_start", start)
            states.append(self.node("Expand", [constant, "states_shape"], f"{name}_{letter}"))
        inputs = [hidden, values["w"], values["r"], bias, "lengths", *states, ""]
        inputs += [scales["w"], zeros["w"], scales["r"], zeros["r"]]
        options = {"hidden_size": size, "direction": "bidirectional"}
        return self.node("DynamicQuantizeLSTM", inputs, name, "com.microsoft", **options)

    def merged(self, both: str) -> str:
        """Merge the two directions: (T, 2, B, H) -> (T, B, 2H) or, summed, (T, B, H)."""
        if self.weights.merge == "sum":
            axis = self.constant(f"{both}_axis", np.array([1], np.int64))
            return self.node("ReduceSum", [both, axis], f"{both}_out", keepdims=0)
        turned = self.node("Transpose", [both], f"{both}_turned", perm=[0, 2, 1, 3])  # (T, B, 2, H)
        return self.node("Reshape", [turned, "side_by_side"], f"{both}_out")

    def write(self, hidden: str, path: Path) -> None:
        """Add the output layer, and write the graph."""
        weights, helper, kind = self.weights, self.onnx.helper, self.onnx.TensorProto
        product = self.node("MatMul", [hidden, self.half("kernel", weights.kernel)], "product")
        by_time = self.node("Add", [product, self.half("bias", weights.bias)], "by_time")
        self.node("Transpose", [by_time], "scores", perm=[1, 0, 2])
        inputs = [helper.make_tensor_value_info("lengths", kind.INT32, ["B"])]
        if not self.tables:
            inputs.insert(0, helper.make_tensor_value_info("vectors", kind.FLOAT, ["B", "T", weights.dimensions]))
        if self.tables or weights.embeddings:
            inputs.insert(0, helper.make_tensor_value_info("ids", kind.INT32, ["B", "T", weights.columns]))
        outputs = [helper.make_tensor_value_info("scores", kind.FLOAT, ["B", "T", weights.kernel.shape[1]])]
        graph = helper.make_graph(self.nodes, "tagger", inputs, outputs, self.constants)
        versions = [helper.make_opsetid("", 17)]
        if any(node.domain for node in self.nodes):
            versions.append(helper.make_opsetid("com.microsoft", 1))
        path.write_bytes(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString())


def _w(direction: Direction) -> np.ndarray:
    return _gates(direction.kernel, "ifco", "iofc").T  # (4H, D)


def _r(direction: Direction) -> np.ndarray:
    return _gates(direction.recurrent, "ifco", "iofc").T  # (4H, H)


def _b(direction: Direction) -> np.ndarray:
    bias = _gates(direction.bias, "ifco", "iofc")
    return np.concatenate([bias, np.zeros_like(bias)])  # (8H,)


def _gates(weights: np.ndarray, order: str, new_order: str) -> np.ndarray:
    """Return weights (..., 4H) with their gates reordered; the letters are input, forget, candidate (c), output."""
    gates = dict(zip(order, np.split(weights, 4, axis=-1), strict=True))
    return np.concatenate([gates[letter] for letter in new_order], axis=-1)


def _with_range_units(weights: Weights) -> Weights:
    """Return weights that give the same scores, with two constant hidden units more in each LSTM, otherwise unused."""
    parts = [1] + [2 if weights.merge == "concat" else 1] * len(weights.layers)
    layers = [
        (_with_two_units(forward, count), _with_two_units(backward, count))
        for count, (forward, backward) in zip(parts, weights.layers, strict=False)
    ]
    return replace(weights, layers=layers, kernel=_with_zero_rows(weights.kernel, parts[-1]))


def _with_two_units(direction: Direction, parts: int) -> Direction:
    """Return an LSTM with two more hidden units, which keep their initial state.

    Args:
        direction: The LSTM.
        parts: Number of outputs of LSTMs that its input is a concatenation of, each two numbers longer now.
    """

    def widened(weights: np.ndarray) -> np.ndarray:
        return np.concatenate([np.pad(gate, ((0, 0), (0, 2))) for gate in np.split(weights, 4, axis=1)], axis=1)

    bias = [
        np.append(gate, np.array([constant, constant], np.float32))
        for gate, constant in zip(np.split(direction.bias, 4), (-_GATE, _GATE, 0.0, _GATE), strict=True)
    ]
    kernel, recurrent = (
        widened(_with_zero_rows(direction.kernel, parts)),
        widened(_with_zero_rows(direction.recurrent, 1)),
    )
    return Direction(kernel, recurrent, np.concatenate(bias).astype(np.float32))


def _with_zero_rows(rows: np.ndarray, parts: int) -> np.ndarray:
    """Return `rows` with two rows of zeros after each of this number of equal parts."""
    return np.concatenate([np.pad(part, ((0, 2), (0, 0))) for part in np.split(rows, parts)])


def _quantized(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (N, D, M) as int8, and the scale of each column, (N, M) float32."""
    scales = np.maximum(np.abs(weights).max(axis=1), 1e-9) / 127
    return np.rint(weights / scales[:, None]).astype(np.int8), scales.astype(np.float32)
