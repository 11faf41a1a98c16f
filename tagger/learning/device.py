"""Which device trains, how much of its memory is used, and in which dtype matrices are multiplied."""

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tagger.config import Config
from tagger.cores import usable_cores
from tagger.errors import TrainingError
from tagger.progress import say_once
from tagger.sections import TrainingConfig


@dataclass(frozen=True)
class Device:
    """What a process trains on.

    Args:
        kind: A key of `automatic.BATCH_UNITS`.
        name: As messages name it: "the processor", or number and model of a graphics card.
        model: Of a graphics card.
    """

    kind: str
    name: str
    model: str = ""

    @property
    def peak_mib(self) -> float | None:
        """Graphics memory that TensorFlow has used at most so far, in MiB, without the driver's own; None without."""
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20 if self.kind == "card" else None


PROCESSOR = Device("processor", "the processor")


def use_device(settings: TrainingConfig) -> Device:
    """Select the device that `[training]` asks for; must be called before TensorFlow first uses a device.

    Args:
        settings: `gpu`, `gpu_memory_growth` and `gpu_memory_mib` are used.

    Raises:
        TrainingError: If there is no such card, or TensorFlow already uses its devices.
    """
    cards = tf.config.list_physical_devices("GPU")
    number = settings.gpu
    if isinstance(number, int) and number >= len(cards):
        there = f"a number from 0 to {len(cards) - 1}" if cards else "auto, as TensorFlow finds no graphics card here"
        raise TrainingError(f'training.gpu = {number}: expected {there}, or -1 for none; see "tagger help cards"')
    try:
        if number == -1 or not cards:
            tf.config.set_visible_devices([], "GPU")
            _use_processor()
            return PROCESSOR
        chosen = _freest(len(cards)) if number == "auto" else Choice(number)
        _use_card(cards[chosen.number], settings)
    except RuntimeError as error:
        raise TrainingError(f"the device must be chosen before TensorFlow is used: {error}") from error
    details = tf.config.experimental.get_device_details(cards[chosen.number])
    model = details.get("device_name", "of an unknown model")
    device = Device("card", f"graphics card {chosen.number}, {model}", model)
    say_once(f"device: {device.name}{chosen.why}")
    return device


def use_cards(settings: TrainingConfig, count: int) -> Device:
    """Select several graphics cards, those with the most free memory; otherwise as `use_device`."""
    cards = tf.config.list_physical_devices("GPU")
    if count > len(cards):
        raise TrainingError(
            f"--replicas {count}: expected as many graphics cards, received {len(cards)}; ask for fewer, or add "
            "--cluster local to have as many processes that share the processor"
        )
    free = free_memory(len(cards))
    by_memory = sorted(range(len(cards)), key=lambda number: -free[number] if free else number)
    chosen = sorted(by_memory[:count])
    try:
        tf.config.set_visible_devices([cards[number] for number in chosen], "GPU")
        for number in chosen:
            _limit_memory(cards[number], settings)
    except RuntimeError as error:
        raise TrainingError(f"the devices must be chosen before TensorFlow is used: {error}") from error
    device = Device("card", f"graphics cards {', '.join(map(str, chosen))}")
    say_once(f"device: {device.name}")
    return device


def _use_processor() -> None:
    """Give each direction of a layer half the cores: the two run side by side."""
    with contextlib.suppress(RuntimeError):  # TensorFlow is in use already: only speed is lost
        tf.config.threading.set_intra_op_parallelism_threads(max(1, usable_cores() // 2))
        tf.config.threading.set_inter_op_parallelism_threads(2)


def _use_card(card: tf.config.PhysicalDevice, settings: TrainingConfig) -> None:
    """Use this card alone."""
    tf.config.set_visible_devices([card], "GPU")
    _limit_memory(card, settings)


def _limit_memory(card: tf.config.PhysicalDevice, settings: TrainingConfig) -> None:
    """Cap the memory that is used of a card, or let it grow with need, or take it as a whole."""
    if settings.gpu_memory_mib:
        cap = tf.config.LogicalDeviceConfiguration(memory_limit=settings.gpu_memory_mib)
        tf.config.set_logical_device_configuration(card, [cap])
    else:
        tf.config.experimental.set_memory_growth(card, settings.gpu_memory_growth)


# ---- the card with the most free memory -------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """A card, by its number in TensorFlow's list, and why it was chosen."""

    number: int
    why: str = ""


@functools.cache  # for a process, which cannot change its mind
def _freest(count: int) -> Choice:
    """Return the card with the most free memory of the `count` that TensorFlow sees; the first if that is not known."""
    if count == 1:
        return Choice(0)
    free = free_memory(count)
    if not free:
        return Choice(0, f", the first of {count}: their free memory is not known")
    number = max(range(count), key=free.__getitem__)
    return Choice(number, f", of {count} the one with the most free memory: {free[number]:,} MiB")


def free_memory(count: int) -> Sequence[int]:
    """Return the free memory of each card that TensorFlow sees, in MiB, as the driver's `nvidia-smi` tells it.

    Returns:
        In TensorFlow's order; empty where that cannot be known, as with cards of several models: CUDA numbers them by
        speed then, unless `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    """
    query = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines() if line.strip()]
        free = {name: int(row[-1]) for row in rows for name in row[:2]}  # by number and by UUID
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [row[0] for row in rows] if visible is None else [name.strip() for name in visible.split(",")]
        one_model = len({row[2] for row in rows}) == 1
        ordered = one_model or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        return [free[name] for name in names] if ordered and len(names) == count else []
    except (OSError, ValueError, IndexError, KeyError, subprocess.SubprocessError):
        return []


# ---- memory that runs out ---------------------------------------------------------------------------------------

# What TensorFlow's other errors say where it was memory of the card that was missing.
_SHORTAGE = ("out of memory", "OUT_OF_MEMORY", "ALLOC_FAILED", "failed to allocate", "Dst tensor is not initialized")


@contextlib.contextmanager
def memory_errors(device: Device, config: Config, folder: Path) -> Iterator[None]:
    """Turn TensorFlow's errors about memory that ran out into one line that says which settings to lower.

    Args:
        device: On which the block trains.
        config: Settings of the run, decided.
        folder: Of the run.

    Raises:
        TrainingError: If memory runs out.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, tf.errors.InternalError) as error:
        scarce = isinstance(error, tf.errors.ResourceExhaustedError)
        if not scarce and not any(word in str(error) for word in _SHORTAGE):
            raise
        raise TrainingError(_shortage(device, config, folder)) from error


def _shortage(device: Device, config: Config, folder: Path) -> str:
    """Return what to do about memory that ran out."""
    cap, units, layers = config.training.gpu_memory_mib, config.batches.units, list(config.model.layers)
    smaller = f"begin again with batches.units below {units} or model.layers below {layers}"
    if device.kind != "card":
        return f"{device.name}: the memory is full; the work so far is kept in {folder}; {smaller}"
    limited, freed = f" (limited to {cap} MiB)", f"with training.gpu_memory_mib above {cap}"
    if not cap:
        limited, freed = "", "once other programs have left the card"
    return (
        f"{device.name}: its memory is full{limited}; the work so far is kept in {folder}: add --resume {freed}, or "
        f"with training.gpu=-1 to go on on the processor; or {smaller} (batches.accumulate makes up for it)"
    )


# ---- arithmetic -------------------------------------------------------------------------------------------------


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
