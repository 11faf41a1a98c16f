"""What "auto" stands for in a run: decided once, by its device and its corpus, and kept in the run's folder.

A run that is resumed keeps what was decided when it began, on whatever device it goes on.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tagger.config import Config, check
from tagger.files.outputs import write_json
from tagger.learning.device import Device
from tagger.learning.run import DECIDED, read_record
from tagger.presets import DEVICES
from tagger.settings import merge, unless_auto

Values = dict[str, dict[str, Any]]  # settings by section and name


def decide(config: Config, device: Device, folder: Path, epochs: Callable[[], int] | None = None) -> Config:
    """Return the settings of a run with numbers in place of "auto", and keep them in the run's folder.

    Args:
        config: All settings.
        device: On which the run begins.
        folder: Of the run. What was decided there before counts, whatever the device.
        epochs: Gives `training.epochs`, if they are to be decided as well and were left open.

    Raises:
        TrainingError: If what the folder keeps is damaged.
    """
    record = folder / DECIDED
    if not record.exists():
        values = by_device(config, device.kind)
        if epochs and config.training.epochs == "auto":
            values.setdefault("training", {})["epochs"] = epochs()
        write_json(record, values)
    return check(merge(config, read_record(record), str(record)))


def by_device(config: Config, kind: str) -> Values:
    """Return a value for each setting of `presets.DEVICES` that is "auto".

    The size of the batches suits the device; all else suits the number of units that one update of the weights learns
    from, whoever chose it.

    Args:
        config: All settings.
        kind: Of the device, a key of `presets.DEVICES`.
    """
    units = unless_auto(config.batches.units, DEVICES[kind].settings["batches"]["units"])
    suited = DEVICES[nearest_kind(units * config.batches.accumulate)].settings
    automatic = {**suited, "batches": {"units": units}}
    open_settings: Values = {}
    for section, values in automatic.items():
        chosen = getattr(config, section)
        if left_open := {key: value for key, value in values.items() if getattr(chosen, key) == "auto"}:
            open_settings[section] = left_open
    return open_settings


def nearest_kind(units: int) -> str:
    """Return the key of `presets.DEVICES` whose batches are nearest in size, as a ratio; 0 is the largest size."""
    sizes = {kind: row.settings["batches"]["units"] for kind, row in DEVICES.items()}
    if not units:
        return max(sizes, key=sizes.__getitem__)
    return min(sizes, key=lambda kind: abs(math.log(units / sizes[kind])))
