"""Settings that go together: presets for `--config`, recipes for `--recipe`. One row for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Settings that go together, by section and name; all others have their defaults."""

    about: str
    settings: Mapping[str, Mapping[str, Any]]


PRESETS: Mapping[str, Preset] = {
    "default": Preset("characters as units, a CRF, any number of labels", {}),
    "small": Preset("the same, of half the size and up to 1.4 times as fast; best made by `tagger distil`", {
        "vectors": {"word_dimensions": 40, "char_dimensions": 40, "bigram_dimensions": 24, "limit": 14_000},
        "model": {"layers": [80, 48], "char_dimensions": 32, "position_dimensions": 8, "lexicon_dimensions": 8},
        "distil": {"dropout": 0.3},
    }),
    "large": Preset("the same, larger and slower, a teacher for `tagger distil`", {
        "vectors": {"word_dimensions": 100, "char_dimensions": 100, "bigram_dimensions": 64, "limit": 45_000},
        "model": {"layers": [224, 112], "char_dimensions": 64, "position_dimensions": 8, "lexicon_dimensions": 16},
    }),
    "contest": Preset("the method of 2016: jieba words as units, no CRF, one label", {
        "text": {"unit": "word", "clean": True, "fold": False, "simplify": False, "maxlen": 80, "overlap": 20},
        "vectors": {
            "word_dimensions": 128, "learnt_dimensions": 0, "window": 8, "negative": 8, "min_count": 1, "sample": 1e-3,
            "epochs": 20, "learning_rate": 0.025, "norm": 1.0, "limit": 0, "storage": "float32",
        },
        "batches": {"units": 0, "texts": 256, "accumulate": 4, "word_dropout": 0.0},  # steps of 1,024 texts
        "model": {
            "layers": [64, 32], "merge": "sum", "crf": False, "char_dimensions": 0, "dropout": 0.0,
            "output_dropout": 0.0,
            "activity_l1": 0.01,
        },
        "training": {
            "start": "new", "epochs": 200, "learning_rate": 0.001, "schedule": "constant", "clip_norm": 0.0,
            "ema_momentum": 0.0, "patience": 0, "lists": False,
        },
        "decode": {"transitions": "contest", "score": "mean", "calibrate": False},
    }),
}  # fmt: skip

# Recipes of self-training.
RECIPES: Mapping[str, Preset] = {
    "sure": Preset("learn from whatever the teacher is sure of", {}),
    "contest": Preset("as in 2016, learn from texts on which all rounds agree", {
        "transfer": {
            "pretrain": False, "rounds": 4, "select": "agreed", "weights": [0.1, 0.2, 1.0, 1.0], "restart": False,
            "epochs": 20, "masking": 0.0, "fine_tune_epochs": 0, "patience": 0,
        },
    }),
}  # fmt: skip
