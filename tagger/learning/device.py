"""Which device trains, how much of its memory is used, and in which dtype matrices are multiplied."""

import contextlib
from pathlib import Path

import tensorflow as tf

from tagger.cores import usable_cores
from tagger.errors import TrainingError
from tagger.sections import TrainingConfig


def use_device(settings: TrainingConfig) -> None:
    """Select the device that `[training]` asks for; must be called before TensorFlow first uses a device.

    Args:
        settings: `gpu`, `gpu_memory_growth` and `gpu_memory_mib` are used.

    Raises:
        TrainingError: If there is no such GPU, or TensorFlow already uses its devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        _use_cpu()
        return
    if settings.gpu >= len(gpus):
        raise TrainingError(
            f"training.gpu = {settings.gpu}: expected a number from 0 to {len(gpus) - 1}, or -1 for none"
        )
    try:
        if settings.gpu < 0:
            tf.config.set_visible_devices([], "GPU")
        else:
            _use_gpu(gpus[settings.gpu], settings)
    except RuntimeError as error:
        raise TrainingError(f"the device must be chosen before TensorFlow is used: {error}") from error


def _use_cpu() -> None:
    """Give each direction of a layer half the cores: the two run side by side."""
    with contextlib.suppress(RuntimeError):  # TensorFlow is in use already: only speed is lost
        tf.config.threading.set_intra_op_parallelism_threads(max(1, usable_cores() // 2))
        tf.config.threading.set_inter_op_parallelism_threads(2)


def _use_gpu(gpu: tf.config.PhysicalDevice, settings: TrainingConfig) -> None:
    """Use this GPU alone; its memory is capped, or grows with need, or is taken as a whole."""
    tf.config.set_visible_devices([gpu], "GPU")
    if settings.gpu_memory_mib:
        cap = tf.config.LogicalDeviceConfiguration(memory_limit=settings.gpu_memory_mib)
        tf.config.set_logical_device_configuration(gpu, [cap])
    else:
        tf.config.experimental.set_memory_growth(gpu, settings.gpu_memory_growth)


def matmul_dtype(settings: TrainingConfig, cpuinfo: Path = Path("/proc/cpuinfo")) -> tf.DType:
    """Return the dtype of matrix products in training.

    Args:
        settings: `matmul_dtype` is used; "auto" is bfloat16 where the processor has instructions for it.
        cpuinfo: Linux's description of the processor.
    """
    if settings.matmul_dtype != "auto":
        return tf.as_dtype(settings.matmul_dtype)
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return tf.bfloat16 if flags & {"amx_bf16", "avx512_bf16"} else tf.float32
