"""The trained network in other forms: Keras weights, safetensors, SavedModel, ONNX."""

from pathlib import Path
from typing import Any

import numpy as np

from tagger.bundle import ONNX, Bundle, atomic_folder, refuse_existing
from tagger.errors import BundleError, require
from tagger.lookup import Lookup
from tagger.network import Direction, Network


def build(bundle: Bundle) -> Any:
    """Return the bundle's Keras model, its weights loaded."""
    model = fresh_model(bundle.config, bundle.scheme, bundle.lookup)
    try:
        found = Network.read(bundle.folder / ONNX, len(model.embeddings), len(model.layers_))
        for table, rows in zip(model.embeddings, found["embeddings"], strict=True):
            table.embeddings.assign(rows)
        for layer, sides in zip(model.layers_, found["layers"], strict=True):
            for side, weights in zip((layer.forward, layer.backward), sides, strict=True):
                side.set_weights(weights)
        model.output_.set_weights([found["kernel"], found["bias"]])
        if bundle.config.model.crf:
            model.transitions.assign(np.where(bundle.scheme.allowed, bundle.transitions.scores, 0))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BundleError(f"{bundle.folder}: {ONNX} does not fit the bundle's settings: {error}") from error
    return model


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
    tables = [(column, constants[table.name]) for column, table in bundle.lookup.looked_up]

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
            vectors = tf.concat([tf.gather(table, ids[:, :, c]) for c, table in tables], axis=-1)
            return {"scores": self.model({"ids": ids, "vectors": vectors, "lengths": lengths}, training=False)}

    served = Served()
    with atomic_folder(out, replace) as folder:
        tf.saved_model.save(served, str(folder), signatures={"serving_default": served.__call__})


FORMS = {"weights": to_weights, "saved_model": to_saved_model}
