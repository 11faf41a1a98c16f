"""The graph of trained weights that OpenVINO runs, its LSTM products of 8-bit integers or in single precision.

OpenVINO multiplies 8-bit integers in an LSTM whose inputs and weights pass through FakeQuantize, which rounds to a
number of levels between two limits. As of 2026.4 it mixes up the scales of the four gates of an LSTM, and those of
LSTMs of the same shape, so that all weights here have one scale. An LSTM's inputs and outputs have one scale too:
vectors are brought into the range of outputs, -1 to 1, and the weights that multiply them are scaled to match.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tagger.imports import import_openvino
from tagger.lookup import Lookup
from tagger.weights import Direction, Weights

_MOST = 127  # an LSTM's input or output v is stored as the integer 127 v + 128, 0 to 255

_LEAST = 1e-6  # largest number of a dimension of vectors, at least


def build(weights: Weights, lookup: Lookup, eight_bits: bool) -> Any:
    """Return an OpenVINO model with the inputs `ids` (B, T, F), `lengths` (B,) and `mirrored` (B, T), all int32.

    `mirrored` holds the position of each unit in its text reversed: OpenVINO's backward LSTM reads padding before a
    text's end, so each direction is a forward one here. The output is the score of each tag, (B, T, K) float32.

    Args:
        weights: The trained weights.
        lookup: Ids -> frozen vectors.
        eight_bits: Whether the LSTMs multiply 8-bit integers.
    """
    graph = _Graph(weights, eight_bits)
    hidden = graph.vectors(_tables(weights, lookup))
    for directions in graph.directions:
        hidden = graph.both(hidden, directions)
    return graph.model(hidden)


def _tables(weights: Weights, lookup: Lookup) -> list[tuple[int, np.ndarray]]:
    """Return each column that is looked up and its table, (V, D) float32, in the order of the network's inputs."""
    # Scaled in advance, although that takes more memory: each unit looks up many rows.
    frozen = {table.name: table.rows(np.arange(len(table.vectors))) for table in lookup.tables}
    columns = [(column, frozen[table.name]) for column, table in lookup.looked_up]
    return columns + [(column, rows) for own, rows in weights.embeddings for column in own]


class _Graph:
    """Builds a graph node by node; each method adds nodes and returns the last one.

    Args:
        weights: The trained weights.
        eight_bits: As for `build`.

    Attributes:
        directions: Forward and backward LSTM of each layer, in 8 bits with the weights of scaled vectors.
    """

    def __init__(self, weights: Weights, eight_bits: bool) -> None:
        self.openvino = import_openvino()
        from openvino import opset13

        self.make, self.weights, self.eight_bits = opset13, weights, eight_bits
        self.directions = list(weights.layers)
        self.ids = self.input("ids", [-1, -1, weights.columns])
        self.lengths, self.mirrored = self.input("lengths", [-1]), self.input("mirrored", [-1, -1])

    def input(self, name: str, shape: Sequence[int]) -> Any:
        """Add an input of int32."""
        node = self.make.parameter(shape, self.openvino.Type.i32, name)
        node.output(0).set_names({name})
        return node

    def constant(self, value: Any) -> Any:
        """Add a constant."""
        return self.make.constant(np.asarray(value))

    def vectors(self, tables: Sequence[tuple[int, np.ndarray]]) -> Any:
        """Look up and concatenate the vectors, (B, T, D); in 8 bits the largest of each dimension becomes 1."""
        made: dict[int, Any] = {}  # a table that several columns are looked up in is there once
        parts = []
        for column, rows in tables:
            if id(rows) not in made:
                made[id(rows)] = self.table(rows)
            ids = self.make.gather(self.ids, self.constant(np.int32(column)), self.constant(np.int32(2)))
            parts.append(self.make.gather(made[id(rows)], ids, self.constant(np.int32(0))))
        if self.eight_bits:
            largest = np.concatenate([_largest(rows) for _, rows in tables])[:, None]
            first = (direction._replace(kernel=direction.kernel * largest) for direction in self.weights.layers[0])
            self.directions[0] = (next(first), next(first))
        return self.make.concat(parts, -1)

    def table(self, rows: np.ndarray) -> Any:
        """Add a table, in 8 bits as the integers in which an LSTM's inputs are stored."""
        if not self.eight_bits:
            return self.constant(rows)
        integers = self.make.convert(
            self.constant((np.rint(rows / _largest(rows) * _MOST) + 128).astype(np.uint8)), "f32"
        )
        centred = self.make.subtract(integers, self.constant(np.float32(128)))
        return self.make.multiply(centred, self.constant(np.float32(1 / _MOST)))

    def quantized(self, node: Any, least: float, most: float, levels: int) -> Any:
        """Round numbers to levels between two limits; in single precision, leave them as they are."""
        if not self.eight_bits:
            return node
        limits = [self.constant(np.float32(limit)) for limit in (least, most)]
        return self.make.fake_quantize(node, *limits, *limits, levels)

    def state(self, node: Any) -> Any:
        """Round an LSTM's inputs or outputs."""
        return self.quantized(node, -128 / _MOST, 1, 256)

    def both(self, hidden: Any, directions: tuple[Direction, Direction]) -> Any:
        """Run both directions of a layer, and merge them: (B, T, D) -> (B, T, 2H) or, summed, (B, T, H)."""
        hidden = self.state(hidden)
        forward, backward = (self.lstm(*each) for each in zip((hidden, self.reversed(hidden)), directions, strict=True))
        parts = [forward, self.reversed(backward)]
        return self.make.concat(parts, -1) if self.weights.merge == "concat" else self.make.add(*parts)

    def reversed(self, units: Any) -> Any:
        """Reverse each text, (B, T, D); its padding stays behind it."""
        return self.make.gather(units, self.mirrored, self.constant(np.int32(1)), 1)

    def lstm(self, hidden: Any, direction: Direction) -> Any:
        """Run an LSTM from start to end, (B, T, H)."""
        size = len(direction.recurrent)
        most = max(float(np.abs(part).max()) for both in self.directions for each in both for part in each[:2])
        kernel, recurrent = (
            self.quantized(self.constant(_gates(part).T[None]), -most, most, 255) for part in direction[:2]
        )
        shape = self.make.concat([self.make.shape_of(self.lengths), self.constant(np.array([1, size]))], 0)
        nothing = self.make.broadcast(self.constant(np.float32(0)), shape)
        inputs = [hidden, self.state(nothing), nothing, self.lengths, kernel, recurrent]
        bias = self.constant(_gates(direction.bias)[None])
        outputs = self.make.lstm_sequence(*inputs, bias, size, "forward").output(0)  # (B, 1, T, H)
        return self.make.squeeze(outputs, self.constant(np.int32(1)))

    def model(self, hidden: Any) -> Any:
        """Add the output layer, and return the whole as a model."""
        product = self.make.matmul(hidden, self.constant(self.weights.kernel), False, False)
        scores = self.make.add(product, self.constant(self.weights.bias))
        return self.openvino.Model([scores], [self.ids, self.lengths, self.mirrored], "tagger")


def _largest(rows: np.ndarray) -> np.ndarray:
    """Return the largest absolute number of each dimension of a table, (D,) float32."""
    return np.maximum(np.abs(rows).max(axis=0), np.float32(_LEAST))


def _gates(weights: np.ndarray) -> np.ndarray:
    """Return weights (..., 4H) with their gates in OpenVINO's order: forget, input, candidate, output."""
    inputs, forgets, *others = np.split(weights, 4, axis=-1)
    return np.concatenate([forgets, inputs, *others], axis=-1)
