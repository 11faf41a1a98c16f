"""Which device trains, how much of its memory, and in what precision."""

import contextlib
import os
from pathlib import Path

import tensorflow as tf

from tagger.config import TrainingConfig
from tagger.errors import TrainingError


def use_device(settings: TrainingConfig) -> None:
    """Choose the graphics card and how much of its memory to take, as `[training]` says.

    Where there is no card, each direction of a layer gets half the cores: they run side by side.
    Must come before the framework first uses a device.

    Raises:
        TrainingError: If the card does not exist, or the framework is already using devices.
    """
    cards = tf.config.list_physical_devices("GPU")
    if not cards:
        with contextlib.suppress(RuntimeError):  # too late: only speed is lost
            tf.config.threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 1) // 2))
            tf.config.threading.set_inter_op_parallelism_threads(2)
        return
    if settings.gpu >= len(cards):
        raise TrainingError(f"training.gpu = {settings.gpu}, but there are only cards 0 to {len(cards) - 1}")
    try:
        if settings.gpu < 0:
            tf.config.set_visible_devices([], "GPU")
            return
        card = cards[settings.gpu]
        tf.config.set_visible_devices([card], "GPU")
        if settings.gpu_memory_mib:
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=settings.gpu_memory_mib)
            tf.config.set_logical_device_configuration(card, [limit])
        else:
            tf.config.experimental.set_memory_growth(card, settings.gpu_memory_growth)
    except RuntimeError as error:
        raise TrainingError(f"the device was chosen too late: {error}") from error


def matmul_dtype(settings: TrainingConfig, told: Path = Path("/proc/cpuinfo")) -> tf.DType:
    """Return what matrix products in training are computed in; `told` is what Linux says of the processor."""
    if settings.matmul_dtype != "auto":
        return tf.as_dtype(settings.matmul_dtype)
    flags = set(told.read_text().split()) if told.exists() else set()
    return tf.bfloat16 if flags & {"amx_bf16", "avx512_bf16"} else tf.float32
