"""What computes tag scores from ids: one table of runtimes, each a class in a module of this folder.

To add a runtime, write a class with the methods of `Runtime` and add a row to `RUNTIMES`. Everything that offers a
choice of runtimes reads the table. Importing this module imports none of the classes.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tagger.errors import ConfigError
from tagger.imports import import_tensorflow
from tagger.settings import nearest

if TYPE_CHECKING:
    import numpy as np

    from tagger.bundle import Bundle


class Runtime(Protocol):
    """Computes the scores of batches of ids.

    A class in `RUNTIMES` also has `load(bundle, workers)`, a class method that returns the runtime for a `Bundle`,
    to be called from `workers` threads at once.

    Args:
        batch_units: Number of units in a batch, padding included, at which it is fastest.
    """

    batch_units: int

    def scores(self, ids: "np.ndarray", lengths: "np.ndarray") -> "np.ndarray":
        """Return the score of each tag at each unit; called from several threads at once, and in forked processes.

        Args:
            ids: (B, T, F) int32, padded on the right with 0.
            lengths: (B,) int32, at least 1.

        Returns:
            (B, T, K) float32; values past the end of a text have no meaning.

        Raises:
            TaggerError: In a forked process, where it does not work there.
        """
        ...


@dataclass(frozen=True)
class RuntimeSpec:
    """A row of `RUNTIMES`.

    Args:
        home: Module in this folder, and class: "onnx.OnnxRuntime".
        about: Description in one line, for those who choose.
        extra: Extra of the distribution that installs what the runtime needs; empty for none.
        tensorflow: Whether it imports TensorFlow.
        processes: Whether several processes that run it side by side are faster than threads.
    """

    home: str
    about: str
    extra: str = ""
    tensorflow: bool = False
    processes: bool = True

    def load(self, bundle: "Bundle", workers: int) -> Runtime:
        """Return the runtime for a bundle, to be called from this number of threads at once.

        Raises:
            BundleError: If the bundle's model cannot be loaded.
            MissingExtraError: If a package that the runtime needs is not installed.
        """
        if self.tensorflow:
            import_tensorflow()
        module, _, name = self.home.partition(".")
        loaded: Runtime = getattr(importlib.import_module(f"{__name__}.{module}"), name).load(bundle, workers)
        return loaded


DEFAULT = "onnx"

RUNTIMES = {
    "onnx": RuntimeSpec("onnx.OnnxRuntime", "light and fast (ONNX Runtime)"),
    "int8": RuntimeSpec("onnx.EightBitRuntime", "faster, scores differ slightly (ONNX Runtime, 8-bit integers)"),
    "openvino": RuntimeSpec(
        "openvino.OpenvinoRuntime",
        "slow to start, fastest on much text, scores may differ slightly (OpenVINO)",
        extra="fast",
    ),
    "keras": RuntimeSpec(
        "keras.KerasRuntime",
        "the model as it was trained (TensorFlow)",
        extra="train",
        tensorflow=True,
        processes=False,
    ),
}


def runtime_spec(name: str) -> RuntimeSpec:
    """Return a row of `RUNTIMES`.

    Raises:
        ConfigError: If there is none of this name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"runtime {name!r} does not exist{nearest(name, RUNTIMES)}")
    return RUNTIMES[name]
