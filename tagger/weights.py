"""The network's weights: between a bundle, a Keras model, and arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tagger.bundle import ONNX, Bundle
from tagger.errors import BundleError, require
from tagger.lookup import Lookup
from tagger.onnx_graph import Direction, Network


def build(bundle: Bundle) -> Any:
    """Return the bundle's Keras model, its weights loaded."""
    model = fresh_model(bundle.config, bundle.scheme, bundle.lookup)
    load_weights(model, bundle)
    return model


def load_weights(model: Any, bundle: Bundle) -> None:
    """Put the bundle's weights into a Keras model of its settings and tables; those of its tags, if it has them too.

    Raises:
        BundleError: If the model is of another shape.
    """
    found = stored(bundle)
    theirs, ours = bundle.config.model, model.config
    if (theirs.layers, theirs.merge) != (ours.layers, ours.merge):
        raise BundleError(f"{bundle.folder}: its layers are {list(theirs.layers)}, {theirs.merge}; "
                          f"expected {list(ours.layers)}, {ours.merge}; use the settings it was made with")  # fmt: skip
    with _fitting(bundle):
        for table, (_, rows) in zip(model.embeddings, found.embeddings, strict=True):
            table.embeddings.assign(rows)
        for layer, sides in zip(model.layers_, found.layers, strict=True):
            for side, weights in zip((layer.forward, layer.backward), sides, strict=True):
                side.set_weights(weights)
        if model.scheme != bundle.scheme:
            return
        model.output_.set_weights([found.kernel, found.bias])
        if theirs.crf and ours.crf:
            model.transitions.assign(np.where(bundle.scheme.allowed, bundle.transitions.scores, 0))


def stored(bundle: Bundle) -> Network:
    """Return the network in the bundle's `model.onnx`; needs no TensorFlow.

    Raises:
        BundleError: If the file does not fit the bundle's settings.
    """
    config, lookup = bundle.config.model, bundle.lookup
    trained = lookup.embeddings(config)
    with _fitting(bundle):
        found = Network.read(bundle.folder / ONNX, len(trained), len(config.layers))
    columns = [embedding.columns for embedding in trained]
    found["embeddings"] = list(zip(columns, found["embeddings"], strict=True))
    return Network(columns=lookup.columns, dimensions=lookup.dimensions, merge=config.merge, **found)


@contextmanager
def _fitting(bundle: Bundle) -> Iterator[None]:
    """Turn what goes wrong with the bundle's weights into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BundleError(f"{bundle.folder}: {ONNX} does not fit the bundle's settings: {error}") from error


def network(model: Any, columns: int) -> Network:
    """Return the weights of a `TaggerModel` whose texts have so many columns of ids."""
    return Network(
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


def fresh_model(config: Any, scheme: Any, lookup: Lookup) -> Any:
    """Return an untrained Keras model that fits these settings, tags and tables."""
    require("tensorflow", "train")
    from tagger.model import TaggerModel

    model = TaggerModel(config.model, scheme, lookup.dimensions, lookup.embeddings(config.model))
    model.build()
    return model
