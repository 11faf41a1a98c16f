"""The trained weights as arrays, to and from a Keras model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tagger.config import Config
from tagger.imports import import_tensorflow
from tagger.lookup import Lookup
from tagger.tags import TagScheme


class Direction(NamedTuple):
    """The weights of one LSTM as Keras stores them, gates in the order input, forget, candidate, output."""

    kernel: np.ndarray  # (D, 4H)
    recurrent: np.ndarray  # (H, 4H)
    bias: np.ndarray  # (4H,)


@dataclass(frozen=True)
class Weights:
    """The arrays of everything between ids and frozen vectors on one side, and tag scores on the other.

    All arrays are float32. The CRF's transitions are not among them: they belong to the decoder.

    Args:
        columns: Number F of id columns.
        dimensions: Length D of the frozen vectors.
        embeddings: For each trained table, the id columns looked up in it and its vectors, (rows, dimensions).
        layers: Forward and backward LSTM of each layer.
        merge: "concat" or "sum" of the two directions.
        kernel, bias: From the last layer to K scores, (H, K) and (K,).
    """

    columns: int
    dimensions: int
    embeddings: Sequence[tuple[tuple[int, ...], np.ndarray]]
    layers: Sequence[tuple[Direction, Direction]]
    merge: str
    kernel: np.ndarray
    bias: np.ndarray

    @staticmethod
    def from_model(model: Any, columns: int) -> "Weights":
        """Return the weights of a `TaggerModel` whose units have this number of id columns."""
        return Weights(
            columns,
            model.dimensions,
            [(own, table.embeddings.numpy()) for own, table in zip(model.columns, model.embeddings, strict=True)],
            [
                (Direction(*layer.forward.get_weights()), Direction(*layer.backward.get_weights()))
                for layer in model.layers_
            ],
            model.config.merge,
            *model.output_.get_weights(),
        )

    def assign_to(self, model: Any, output: bool = True) -> None:
        """Copy the weights into a `TaggerModel` of the same shape; its small tables may have more rows, which stay.

        Args:
            model: A built model.
            output: Whether to copy the output layer as well; it fits only a model with the same tags.

        Raises:
            ValueError: If a shape differs.
        """
        for table, (_, rows) in zip(model.embeddings, self.embeddings, strict=True):
            own = table.embeddings.numpy()
            own[: len(rows)] = rows
            table.embeddings.assign(own)
        for layer, directions in zip(model.layers_, self.layers, strict=True):
            for lstm, direction in zip((layer.forward, layer.backward), directions, strict=True):
                lstm.set_weights(direction)
        if output:
            model.output_.set_weights([self.kernel, self.bias])


def fresh_model(config: Config, scheme: TagScheme, lookup: Lookup, execution: str = "") -> Any:
    """Return an untrained `TaggerModel` for these settings, tags and tables.

    Args:
        config, scheme, lookup: Of the tagger.
        execution: A key of `execution.EXECUTIONS`; "" for what is best on this machine.

    Raises:
        MissingExtraError: If TensorFlow is not installed.
    """
    import_tensorflow()
    from tagger.execution import EXECUTIONS
    from tagger.model import FrozenVectors, TaggerModel

    chosen = EXECUTIONS[execution] if execution else None
    model = TaggerModel(config.model, scheme, lookup.dimensions, lookup.embeddings(config.model), chosen)
    model.build()
    if model.execution.tables:
        model.frozen = FrozenVectors(lookup)
    return model
