"""The trained network's weights, and the ONNX graphs made of them: in single precision, and in 8-bit integers.

Keras' own exporter cannot do bidirectional LSTM; the graphs are built with ONNX's LSTM operator, whose `sequence_lens`
gives each text its own end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagger.errors import require

# What keeps a unit of an LSTM where it is: its memory, which the squashing makes 1, and its gates' bias.
_CELL, _GATE = 30.0, 20.0


class Direction(NamedTuple):
    """An LSTM's weights as Keras has them, gates in the order input, forget, candidate, output."""

    kernel: np.ndarray  # (D, 4H)
    recurrent: np.ndarray  # (H, 4H)
    bias: np.ndarray  # (4H,)


class Frozen(NamedTuple):
    """A table of frozen vectors, and the id columns that are looked up in it."""

    columns: tuple[int, ...]
    vectors: np.ndarray  # (V, D) float32, or int8 to be multiplied by scales
    scales: np.ndarray | None  # (V, 1) float32


@dataclass(frozen=True)
class Network:
    """Everything between ids and vectors, and scores.

    Args:
        columns: Number F of id columns.
        dimensions: Length D of the frozen vectors.
        embeddings: Id columns, and the trained vectors they are looked up in, (rows, dimensions).
        layers: Forward and backward LSTM of each layer.
        merge: "concat" or "sum" of the two.
        kernel, bias: From the last layer to K scores, (H, K) and (K,).
    """

    columns: int
    dimensions: int
    embeddings: Sequence[tuple[tuple[int, ...], np.ndarray]]
    layers: Sequence[tuple[Direction, Direction]]
    merge: str
    kernel: np.ndarray
    bias: np.ndarray

    def write(self, path: Path, tables: Sequence[Frozen] = ()) -> None:
        """Write the graph in single precision; its weights are kept in half precision.

        Args:
            path: The file.
            tables: What the frozen vectors are looked up in, to be put into the graph. Without it, they are an input.
        """
        graph = _Graph(self, tables)
        hidden = graph.inputs()
        for number, sides in enumerate(self.layers):
            hidden = graph.merged(graph.lstm(number, hidden, sides))
        graph.write(hidden, path)

    def write_eight_bits(self, path: Path, largest: float) -> None:
        """Write the graph whose LSTM products are of 8-bit integers (ONNX Runtime's DynamicQuantizeLSTM).

        ONNX Runtime scales what it multiplies by the range of the numbers at hand, which are those of a whole batch.
        Two constant numbers are put beside each unit's own, the ends of the range, so that the scale is always the
        same: a text gets the same scores whatever it is batched with.

        Args:
            path: The file.
            largest: Largest absolute number in the frozen vectors.
        """
        bound = max([largest, *(float(np.abs(rows).max()) for _, rows in self.embeddings)])
        wider = self._with_ends()
        graph = _Graph(wider)
        hidden = graph.ends(graph.inputs(eight_bits=True), bound)
        for number, sides in enumerate(wider.layers):
            hidden = graph.merged(graph.quantized_lstm(number, hidden, sides))
        graph.write(hidden, path)

    def _with_ends(self) -> "Network":
        """Return a network that does the same, with two more units in each LSTM, which it does not listen to."""
        parts = [1] + [2 if self.merge == "concat" else 1] * len(self.layers)
        layers = [
            (_with_ends(forward, count), _with_ends(backward, count))
            for count, (forward, backward) in zip(parts, self.layers, strict=False)
        ]
        return replace(self, layers=layers, kernel=_with_room(self.kernel, parts[-1]))

    @staticmethod
    def read(path: Path, embeddings: int, layers: int) -> dict[str, Any]:
        """Return the weights in a file of `write`, as the arguments of `Network` that hold weights.

        Args:
            path: The file.
            embeddings, layers: How many there are.

        Raises:
            KeyError, ValueError, OSError: If the file is not such a graph.
        """
        onnx = require("onnx", "train")
        constants = onnx.load(path).graph.initializer
        arrays = {c.name: onnx.numpy_helper.to_array(c).astype(np.float32) for c in constants}
        sides = []
        for number in range(layers):
            w, r, b = (arrays[f"lstm_{number}_{part}"] for part in "wrb")
            sides.append(
                tuple(
                    Direction(*(_gates(part, "iofc", "ifco") for part in (w[d].T, r[d].T, b[d, : b.shape[1] // 2])))
                    for d in (0, 1)
                )
            )
        return {
            "embeddings": [arrays[f"embedding_{number}"] for number in range(embeddings)],
            "layers": sides,
            "kernel": arrays["kernel"],
            "bias": arrays["bias"],
        }


class _Graph:
    """Builds a graph node by node."""

    def __init__(self, network: Network, tables: Sequence[Frozen] = ()) -> None:
        self.network, self.tables, self.onnx = network, tables, require("onnx", "train")
        self.constants: list[Any] = []
        self.nodes: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, name: str, value: np.ndarray) -> str:
        """Keep weights in half precision, and use them in single."""
        half = self.constant(name, value.astype(np.float16))
        return self.node("Cast", [half], f"{name}_single", to=self.onnx.TensorProto.FLOAT)

    def node(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def inputs(self, eight_bits: bool = False) -> str:
        """Frozen and trained vectors side by side, (T, B, D)."""
        self.constant("side_by_side", np.array([0, 0, -1], np.int64))
        parts = [self.frozen(f"table_{number}", table) for number, table in enumerate(self.tables)] or ["vectors"]
        for number, (columns, rows) in enumerate(self.network.embeddings):
            name = f"embedding_{number}"
            if eight_bits:
                values, scales = _quantized(rows.T[None])
                parts.append(self.frozen(name, Frozen(columns, values[0].T, scales[0][:, None])))
                continue
            found = self.node("Gather", [self.weights(name, rows), self.ids(name, columns)], f"{name}_found")
            parts.append(self.node("Reshape", [found, "side_by_side"], f"{name}_vectors"))
        return self.node("Transpose", [self.node("Concat", parts, "inputs", axis=2)], "hidden", perm=[1, 0, 2])

    def ids(self, name: str, columns: Sequence[int]) -> str:
        """Some columns of the ids, (B, T, columns)."""
        chosen = self.constant(f"{name}_columns", np.array(columns, np.int64))
        return self.node("Gather", ["ids", chosen], f"{name}_ids", axis=2)

    def frozen(self, name: str, table: Frozen) -> str:
        """The vectors of a table's columns side by side, (B, T, columns x D)."""
        ids = self.ids(name, table.columns)
        found = self.node("Gather", [self.constant(name, table.vectors), ids], f"{name}_found")  # (B, T, columns, D)
        if table.scales is not None:
            found = self.node("Cast", [found], f"{name}_single", to=self.onnx.TensorProto.FLOAT)
            factors = self.node("Gather", [self.constant(f"{name}_scales", table.scales), ids], f"{name}_factors")
            found = self.node("Mul", [found, factors], f"{name}_scaled")
        return self.node("Reshape", [found, "side_by_side"], f"{name}_vectors")

    def lstm(self, number: int, hidden: str, sides: Sequence[Direction]) -> str:
        """Both directions, (T, 2, B, H)."""
        name = f"lstm_{number}"
        parts = [np.stack([part(side) for side in sides]) for part in (_w, _r, _b)]
        weights = [self.weights(f"{name}_{letter}", part) for letter, part in zip("wrb", parts, strict=True)]
        size = len(sides[0].recurrent)
        return self.node("LSTM", [hidden, *weights, "lengths"], name, hidden_size=size, direction="bidirectional")

    def ends(self, hidden: str, bound: float) -> str:
        """Put the ends of the range beside each unit's numbers, (T, B, D + 2)."""
        shape = self.node("Shape", [hidden], "hidden_shape", start=0, end=2)
        shape = self.node("Concat", [shape, self.constant("two", np.array([2], np.int64))], "ends_shape", axis=0)
        ends = self.constant("ends", np.array([[[bound, -bound]]], np.float32))
        return self.node("Concat", [hidden, self.node("Expand", [ends, shape], "ends_beside")], "between_ends", axis=2)

    def quantized_lstm(self, number: int, hidden: str, sides: Sequence[Direction]) -> str:
        """Both directions in 8-bit integers, (T, 2, B, H); the last two of H stay at 1 and -1, where they begin."""
        name, size = f"lstm_{number}", len(sides[0].recurrent)
        values, scales, zeros = {}, {}, {}
        for letter, part in (("w", _w), ("r", _r)):
            integers, factors = _quantized(np.stack([part(side).T for side in sides]))
            values[letter] = self.constant(f"{name}_{letter}", integers)
            scales[letter] = self.constant(f"{name}_{letter}_scale", factors)
            zeros[letter] = self.constant(f"{name}_{letter}_zero", np.zeros(factors.shape, np.int8))
        bias = self.constant(f"{name}_b", np.stack([_b(side) for side in sides]))
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
        """(T, 2, B, H) -> (T, B, 2H) or, summed, (T, B, H)."""
        if self.network.merge == "sum":
            axis = self.constant(f"{both}_axis", np.array([1], np.int64))
            return self.node("ReduceSum", [both, axis], f"{both}_out", keepdims=0)
        turned = self.node("Transpose", [both], f"{both}_turned", perm=[0, 2, 1, 3])  # (T, B, 2, H)
        return self.node("Reshape", [turned, "side_by_side"], f"{both}_out")

    def write(self, hidden: str, path: Path) -> None:
        """Add the last layer, and write the graph."""
        network, helper, kind = self.network, self.onnx.helper, self.onnx.TensorProto
        product = self.node("MatMul", [hidden, self.weights("kernel", network.kernel)], "product")
        by_time = self.node("Add", [product, self.weights("bias", network.bias)], "by_time")
        self.node("Transpose", [by_time], "scores", perm=[1, 0, 2])
        inputs = [helper.make_tensor_value_info("lengths", kind.INT32, ["B"])]
        if not self.tables:
            inputs.insert(0, helper.make_tensor_value_info("vectors", kind.FLOAT, ["B", "T", network.dimensions]))
        if self.tables or network.embeddings:
            inputs.insert(0, helper.make_tensor_value_info("ids", kind.INT32, ["B", "T", network.columns]))
        outputs = [helper.make_tensor_value_info("scores", kind.FLOAT, ["B", "T", network.kernel.shape[1]])]
        graph = helper.make_graph(self.nodes, "tagger", inputs, outputs, self.constants)
        versions = [helper.make_opsetid("", 17)]
        if any(node.domain for node in self.nodes):
            versions.append(helper.make_opsetid("com.microsoft", 1))
        path.write_bytes(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString())


def _w(side: Direction) -> np.ndarray:
    return _gates(side.kernel, "ifco", "iofc").T  # (4H, D)


def _r(side: Direction) -> np.ndarray:
    return _gates(side.recurrent, "ifco", "iofc").T  # (4H, H)


def _b(side: Direction) -> np.ndarray:
    bias = _gates(side.bias, "ifco", "iofc")
    return np.concatenate([bias, np.zeros_like(bias)])  # (8H,)


def _gates(weights: np.ndarray, given: str, wanted: str) -> np.ndarray:
    """Return weights (..., 4H) with their gates in another order: input, forget, candidate (c), output."""
    parts = dict(zip(given, np.split(weights, 4, axis=-1), strict=True))
    return np.concatenate([parts[gate] for gate in wanted], axis=-1)


def _with_room(rows: np.ndarray, parts: int) -> np.ndarray:
    """Return `rows` with two rows of zeros after each of so many equal parts."""
    return np.concatenate([np.pad(part, ((0, 2), (0, 0))) for part in np.split(rows, parts)])


def _with_ends(side: Direction, parts: int) -> Direction:
    """Return an LSTM with two more units, which keep what they begin with; its inputs come in so many parts."""

    def wider(weights: np.ndarray) -> np.ndarray:
        return np.concatenate([np.pad(gate, ((0, 0), (0, 2))) for gate in np.split(weights, 4, axis=1)], axis=1)

    bias = [
        np.append(gate, np.array([stay, stay], np.float32))
        for gate, stay in zip(np.split(side.bias, 4), (-_GATE, _GATE, 0.0, _GATE), strict=True)
    ]
    kernel, recurrent = wider(_with_room(side.kernel, parts)), wider(_with_room(side.recurrent, 1))
    return Direction(kernel, recurrent, np.concatenate(bias).astype(np.float32))


def _quantized(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (N, D, M) as int8, and the factor of each column, (N, M) float32."""
    scales = np.maximum(np.abs(weights).max(axis=1), 1e-9) / 127
    return np.rint(weights / scales[:, None]).astype(np.int8), scales.astype(np.float32)
