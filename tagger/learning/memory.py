"""The graphics memory that trainings need: told at the end of each, and at the beginning of the next one like it.

What was measured is kept in the cache, `memory.json`: the peak in MiB by card and by the settings that decide it.
"""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from tagger.config import Config
from tagger.errors import OutputError
from tagger.files.outputs import write_json
from tagger.learning.cache import cache_folder
from tagger.learning.device import Device
from tagger.progress import say

_KEPT = 100  # figures


def say_expected(device: Device, config: Config) -> None:
    """Say how much memory of the card an earlier training like this one used at most, if that is known.

    Args:
        device: On which the training begins.
        config: All settings, decided.
    """
    peak = _measured().get(_key(device, config)) if device.kind == "card" else None
    if isinstance(peak, int | float):
        say(f"device: {device.name}: a training with these settings used {peak:,.0f} MiB of its memory at most")


def say_peak(device: Device, config: Config) -> None:
    """Say how much memory of the card this process has used at most, and keep it; nothing on a processor."""
    peak = device.peak_mib
    if peak is None:
        return
    say(f"device: {device.name}: {peak:,.0f} MiB of its memory used at most; the driver needs some hundred more")
    if file := _file():
        key = _key(device, config)
        others = [(name, value) for name, value in _measured().items() if name != key]
        with contextlib.suppress(OSError, OutputError):  # then it is not known next time
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, dict([*others[1 - _KEPT :], (key, round(peak))]))


def _key(device: Device, config: Config) -> str:
    """Return what decides how much memory is needed: the model of the card, the batches, the layers."""
    sizes = {**dataclasses.asdict(config.model), "maxlen": config.text.maxlen, "storage": config.vectors.storage}
    batches = [config.batches.units, config.batches.texts]
    return json.dumps([device.model, batches, sizes], sort_keys=True)


def _measured() -> dict[str, Any]:
    """Return what is known, the latest last; nothing where the file is missing or damaged."""
    try:
        found = json.loads(file.read_text("utf-8")) if (file := _file()) else {}
    except (OSError, ValueError):
        found = {}
    return found if isinstance(found, dict) else {}


def _file() -> Path | None:
    cache = cache_folder()
    return cache / "memory.json" if cache else None
