"""How a network computes on a device: one table of it, the one place that decides by device.

On a processor products take the time, and what is computed is kept small; on a graphics card launches do, and copies to
it: there, a batch is a few large operations on what already lies in its memory. Weights, settings and results are the
same, up to rounding: a training may be resumed, and a bundle used, on either.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import tensorflow as tf

from tagger.lstm import cudnn_fault
from tagger.progress import say_once

# `tf.function` of a network as it stands: none of its Python statements depends on tensors, and to convert its source
# for those that might (autograph) takes half as long as tracing it.
traced = functools.partial(tf.function, autograph=False)


@dataclass(frozen=True)
class Execution:
    """How a network computes.

    Args:
        kernel: Of the LSTMs, one of `lstm.KERNELS`.
        crf: How the CRF sums, one of `crf.METHODS`.
        tables: Whether the frozen tables lie in the device's memory, so that a batch has ids alone; otherwise the
            vectors are looked up beforehand and are part of a batch.
        compiled: Whether the change of the weights and of their averages is compiled into one kernel a variable (XLA).
    """

    kernel: str
    crf: str
    tables: bool
    compiled: bool


EXECUTIONS: Mapping[str, Execution] = {
    "processor": Execution(kernel="loop", crf="loop", tables=False, compiled=False),
    "card": Execution(kernel="cudnn", crf="scan", tables=True, compiled=True),
    "exported": Execution(kernel="keras", crf="loop", tables=False, compiled=False),  # operations of TensorFlow alone
}


def kind() -> str:
    """Return "card" or "processor": what TensorFlow computes on, as `learning.device.use_device` has settled it."""
    return "card" if tf.config.list_logical_devices("GPU") else "processor"


def here() -> Execution:
    """Return how to compute on this machine: the row of its kind of device, less what does not work here.

    What is missing, as cuDNN in another version or XLA without its libraries, is said in one line and done without.
    """
    best = EXECUTIONS[kind()]
    if best.kernel == "cudnn" and (fault := cudnn_fault()):
        say_once(f"cuDNN's LSTM cannot be used, Keras' takes its place: {fault}")
        best = replace(best, kernel="keras")
    if best.compiled and (fault := _compiler_fault()):
        say_once(f"XLA cannot be used, the weights are changed without it: {fault}")
        best = replace(best, compiled=False)
    return best


@functools.cache
def _compiler_fault() -> str:
    """Return why XLA cannot compile for this device, "" if it can: it is tried on a small function."""
    try:
        compiled = tf.function(lambda x: tf.sqrt(x) + tf.pow(0.9, x), jit_compile=True)
        compiled(tf.ones(3))
    except (tf.errors.OpError, ValueError) as error:
        return str(error).split("\n", 1)[0]
    return ""
