"""What "auto" stands for in a run: decided once, by its device and its corpus, and kept in the run's folder.

A run that is resumed keeps what was decided when it began, on whatever device it goes on.

A graphics card needs large batches to be busy, but a training needs a thousand updates of the weights, whatever they
cost: so batches are as large as the device likes and the corpus allows. Larger batches have less noise in their
gradients, which allows larger steps: Adam's rate grows with the square root of the size (Malladi et al., 2022, On the
SDEs and Scaling Rules for Adaptive Gradient Algorithms), and the average of the weights forgets as much in a pass over
the texts as before (Busbridge et al., 2023, How to Scale Your EMA).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tagger.config import Config, check, passes_over
from tagger.files.outputs import write_json
from tagger.learning.run import DECIDED, read_record
from tagger.settings import merge, unless_auto

Values = dict[str, dict[str, Any]]  # settings by section and name

# Units in a batch at most, by the kind of device.
BATCH_UNITS = {"processor": 2400, "card": 24_000}

# Updates of the weights that a training makes at least before its batches get larger than those of a processor.
UPDATES = 2400

# What suits updates of 2,400 units, and how many times larger ones are still like them.
_UNITS, _RATE, _MOMENTUM, _LARGEST = 2400, 0.003, 0.997, 16.0


def decide(
    config: Config, kind: str, folder: Path, corpus_units: Callable[[], int], passes: Callable[[int], int]
) -> Config:
    """Return the settings of a run with numbers in place of "auto", and keep them in the run's folder.

    Args:
        config: All settings.
        kind: Of the device on which the run begins, a key of `BATCH_UNITS`. What the folder keeps counts more.
        folder: Of the run.
        corpus_units: Gives the number of units of the training texts.
        passes: Gives the number of passes over so many units, for `training.epochs`.

    Raises:
        TrainingError: If what the folder keeps is damaged.
    """
    record = folder / DECIDED
    if not record.exists():
        write_json(record, suited(config, kind, corpus_units(), passes))
    return check(merge(config, read_record(record), str(record)))


def suited(config: Config, kind: str, corpus_units: int, passes: Callable[[int], int]) -> Values:
    """Return a value for each of the settings that are decided here, if it is "auto"; arguments as for `decide`."""
    batches, training = config.batches, config.training
    epochs = unless_auto(training.epochs, passes(corpus_units))
    update = min(max(corpus_units * epochs // UPDATES, _UNITS), BATCH_UNITS[kind])
    units = unless_auto(batches.units, max(update // batches.accumulate, _UNITS))
    scale = min(max(units * batches.accumulate / _UNITS, 1.0), _LARGEST)
    values: Values = {
        "batches": {"units": units},
        "training": {
            "epochs": epochs,
            "learning_rate": _rounded(_RATE * scale**0.5),
            "ema_momentum": _rounded(_MOMENTUM**scale),
        },
    }
    return {
        section: {key: value for key, value in of_section.items() if getattr(getattr(config, section), key) == "auto"}
        for section, of_section in values.items()
    }


def automatic_epochs(units: int) -> int:
    """Return the number of passes of a training over texts of so many units."""
    return passes_over(units, 6_400_000, least=12, most=24)


def automatic_distillation(units: int) -> int:
    """Return the number of passes of a student over texts of so many units, those without labels included."""
    return passes_over(units, 12_000_000, least=6, most=24)


def automatic_pretraining(units: int) -> int:
    """Return the number of passes of a pretraining over texts of so many units."""
    return passes_over(units, 12_000_000, least=1, most=20)


def _rounded(value: float) -> float:
    """Return a number with three digits, as people write it."""
    return float(f"{value:.3g}")


def kept_kind(folder: Path, kind: str) -> str:
    """Return the kind of device that a run of several trainings began on, this one if it begins now; keep it.

    Raises:
        TrainingError: If what the folder keeps is damaged.
    """
    record = folder / DECIDED
    if not record.exists():
        write_json(record, {"device": kind})
    return str(read_record(record)["device"])
