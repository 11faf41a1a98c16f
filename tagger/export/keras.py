"""Exports of the Keras model: its weights, a SavedModel, LiteRT."""

from pathlib import Path
from typing import Any

import numpy as np

from tagger.bundle import Bundle
from tagger.errors import require


def write_weights(bundle: Bundle, out: Path) -> None:
    """Write the weights alone: as safetensors or as Keras' `.weights.h5`, by the suffix."""
    model = bundle.keras_model()
    if out.suffix == ".safetensors":
        save_file = require("safetensors.numpy", "train").save_file
        save_file({weight.path: np.ascontiguousarray(weight.numpy()) for weight in model.weights}, out)
    else:
        model.save_weights(out, overwrite=True)


def write_saved_model(bundle: Bundle, folder: Path) -> None:
    """Write a model that `tf.saved_model.load` serves without this package.

    Its default signature takes `ids` (B, T, F) int32 and `lengths` (B,) int32 and returns `scores` (B, T, K); the
    tables of vectors are inside.
    """
    import tensorflow as tf

    served = _served(bundle, bundle.keras_model("processor"))
    tf.saved_model.save(served, str(folder), signatures={"serving_default": served.__call__})


def write_litert(bundle: Bundle, out: Path) -> None:
    """Write a `.tflite` file that LiteRT (TensorFlow Lite) runs with its built-in operators.

    Its signature takes one text at a time, `ids` (1, T, F) int32 and `lengths` (1,) int32, and returns `scores`
    (1, T, K); the tables of vectors are inside. The `tagger.json` of the ONNX export describes the ids.
    """
    import tensorflow as tf

    # LiteRT needs the shape of everything that a loop carries; our own loop leaves it open, Keras' does not.
    served = _served(bundle, bundle.keras_model("exported"), texts=1)
    signature = served.__call__.get_concrete_function()
    out.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([signature], served).convert())


def _served(bundle: Bundle, model: Any, texts: int | None = None) -> Any:
    """Return a `tf.Module` from ids and lengths to scores, with weights and tables as constants.

    Args:
        bundle: The bundle; its tables are used.
        model: Its Keras model.
        texts: Number B of texts in every batch; None for any.
    """
    import tensorflow as tf

    from tagger.execution import traced
    from tagger.model import FrozenVectors

    lookup = bundle.lookup
    frozen = FrozenVectors(lookup)
    variables = model.trainable_variables, model.non_trainable_variables
    weights = [[tf.constant(variable) for variable in group] for group in variables]

    class Served(tf.Module):
        @traced(
            input_signature=[
                tf.TensorSpec((texts, None, lookup.columns), tf.int32, "ids"),
                tf.TensorSpec((texts,), tf.int32, "lengths"),
            ]
        )
        def __call__(self, ids: tf.Tensor, lengths: tf.Tensor) -> dict[str, tf.Tensor]:
            inputs = {"ids": ids, "vectors": frozen(ids), "lengths": lengths}
            scores, _ = model.stateless_call(*weights, inputs, training=False)
            return {"scores": scores}

    return Served()
