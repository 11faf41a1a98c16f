"""Settings: one frozen dataclass per section of the TOML file.

Defaults < preset or file < `--set section.key=value`. An unknown key is an error that names the nearest one.
"""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tagger.errors import ConfigError
from tagger.settings import merge, nearest, parse_override


@dataclass(frozen=True)
class TextConfig:
    """Source text -> units."""

    # What gets a tag: a character, or a jieba word (the 2016 method).
    unit: Literal["char", "word"] = "char"
    # Replace every character outside Han, 0-9, a-z, A-Z, 《》 () （） “” · . by a space before segmentation,
    # and keep Latin runs and the inside of 《…》 and short “…” whole.
    clean: bool = False
    # Look everything up in lower case, and every digit as 0.
    fold: bool = True
    # Longest window the network sees, in units; longer texts are cut into windows and joined again.
    maxlen: int = 256
    # Units that neighbouring windows share at prediction, as context.
    overlap: int = 64
    # Words added to the segmenter's dictionary; `--words FILE` fills this.
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class VectorsConfig:
    """word2vec tables, learnt from labelled and unlabelled text together."""

    # Length of a word's, a character's and a character pair's vector.
    word_dimensions: int = 64
    char_dimensions: int = 64
    bigram_dimensions: int = 48
    # Length at which words' vectors are learnt, to be reduced to `word_dimensions` by principal components; 0 for no
    # more than that.
    learnt_dimensions: int = 100
    # Items to each side that are predicted, and random ones they are told apart from (skip-gram).
    window: int = 5
    negative: int = 5
    # Rarer items get no vector.
    min_count: int = 2
    # Frequent words are passed over at random above this share of the text (characters and pairs, of which there
    # are fewer kinds, above ten times as much); 0 for never.
    sample: float = 1e-4
    # Passes over the text; 0 for as many as make about seventy million items, 1 to 30.
    epochs: int = 0
    # Worker threads of word2vec; only 1 makes a run repeatable.
    workers: int = 1
    # Length that every vector is scaled to; 0 for half the square root of its dimensions.
    norm: float = 0.0
    # How tables are stored in the bundle, and so what the network sees.
    storage: Literal["float32", "int8"] = "int8"
    # Word vectors of one's own (word2vec text or binary format, .gz too) instead of training.
    pretrained: str = ""
    # Most frequent items kept in each table, give or take those as rare as the last; 0 for all.
    limit: int = 45_000


@dataclass(frozen=True)
class BatchesConfig:
    """How training texts are grouped."""

    # Units in a batch, padding included; 0 groups by `texts` alone.
    units: int = 2400
    # Share of words and pairs that are taken for unknown, at random, so that the network learns to do without.
    word_dropout: float = 0.2
    # Share of words that are hidden, at random, so that the network learns to find entities by what stands around them.
    masking: float = 0.0
    # Texts in a batch at most.
    texts: int = 1024
    # Batches whose gradients are added up before the weights change: large steps in little memory.
    accumulate: int = 1


@dataclass(frozen=True)
class ModelConfig:
    """The BiLSTM."""

    # Units of each layer, per direction.
    layers: tuple[int, ...] = (128, 64)
    # How the two directions are joined.
    merge: Literal["concat", "sum"] = "concat"
    # Score whole tag paths (CRF) instead of each unit alone (softmax).
    crf: bool = True
    # Dimensions of a small trainable vector per character; 0 for none.
    char_dimensions: int = 48
    # Dimensions of the trainable vector of a character's place in its word (character units).
    position_dimensions: int = 8
    # Dimensions of the trainable vectors of the dictionary's words round a character: of their joint lengths, and of
    # the part of speech of each of four (character units); 0 for none.
    lexicon_dimensions: int = 12
    # Share of the input, of what passes between layers, and of the last layer's output set to zero in training;
    # the same numbers at each unit of a text (Gal and Ghahramani, 2016).
    dropout: float = 0.35
    output_dropout: float = 0.25
    # L1 penalty on the class probabilities, as in 2016. They sum to one, so it only shifts the loss shown.
    activity_l1: float = 0.0


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is fitted, and on which device."""

    # Passes over the training texts; 0 for as many as make about six million units, 12 to 24.
    epochs: int = 0
    # Of Adam, at its highest.
    learning_rate: float = 0.003
    # How the rate goes on: constant, or up over the first twentieth of the steps and down along a cosine.
    schedule: Literal["constant", "cosine"] = "cosine"
    # Gradients of the loss per unit are scaled down to this norm; 0 for never.
    clip_norm: float = 0.5
    # Momentum of the moving average of the weights that is evaluated and kept; 0 for none.
    ema_momentum: float = 0.997
    # The score on dev by which the best epoch is kept, and in `tagger transfer` the best round: entity F1, how often a
    # text's most probable entity is right, or the contest's score.
    metric: Literal["f1", "top1", "contest"] = "f1"
    # Epochs without a better score on dev before training stops; 0 never stops early.
    patience: int = 0
    # What the LSTMs' matrix products are computed in during training; "auto" is bfloat16 where the processor has
    # instructions for it (AMX or AVX-512). Weights, and all else, are float32.
    matmul_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    # Of weights, dropout, batches and vectors.
    seed: int = 1
    # Which graphics card to use: its index; -1 for none. Ignored where there is none.
    gpu: int = 0
    # Let device memory grow with need instead of taking all of it.
    gpu_memory_growth: bool = True
    # Hard cap on device memory in MiB; 0 for none. A cap replaces growth.
    gpu_memory_mib: int = 0
    # Directory for TensorBoard logs; empty for none.
    tensorboard: str = ""


@dataclass(frozen=True)
class PretrainConfig:
    """How the network learns from text without labels (`tagger pretrain`): it tells hidden words by the others."""

    # Passes over the text; 0 for as many as make about twelve million units, 1 to 20.
    epochs: int = 0
    # Share of the words that are hidden.
    masking: float = 0.3


@dataclass(frozen=True)
class TransferConfig:
    """Rounds of self-training over unlabelled texts (`tagger transfer`); `--recipe` sets them together."""

    # Whether the network is pretrained first, on labelled and unlabelled texts (character units), where no other is
    # given to start from.
    pretrain: bool = True
    # Rounds at most: each predicts the unlabelled texts and trains on labelled and predicted texts together.
    rounds: int = 3
    # What of a prediction is learnt from: entities, and stretches without any, that are sure (all else is left open);
    # or, as in 2016 (agreed), each text's most probable entity, as long as all rounds agree on it.
    select: Literal["sure", "agreed"] = "sure"
    # Least probability at which an entity is sure.
    entity_threshold: float = 0.7
    # Least probability at which a unit is surely in no entity.
    outside_threshold: float = 0.95
    # Weight of a predicted text in each round, that of a labelled one being 1; the last is that of all further rounds.
    weights: tuple[float, ...] = (1.0,)
    # Whether a round begins with the network of round 0; otherwise it goes on with that of the round before.
    restart: bool = False
    # Passes over the texts in a round; 0 for as `training.epochs` says.
    epochs: int = 5
    # Share of words hidden from the network in a round: it is to find by their surroundings what its teacher saw.
    # Where `batches.masking` is more, that is.
    masking: float = 0.3
    # Passes over the labelled texts alone at the end of a round, at most, and the learning rate of these; 0 for none.
    # Many texts get fewer: as many as make about a million characters, but at least two.
    fine_tune_epochs: int = 10
    fine_tune_rate: float = 0.002
    # Rounds without a better score on dev before it stops; 0 never stops early.
    patience: int = 1
    # Characters of unlabelled text that are predicted at most, taken evenly from all there is; 0 for all.
    characters: int = 3_000_000


@dataclass(frozen=True)
class DecodeConfig:
    """Scores -> entities."""

    # Where the scores of tag following tag come from: the model (its CRF; without one, what is legal and no
    # more), or the hand-set table of 2016.
    transitions: Literal["model", "contest"] = "model"
    # An entity's score: the probability of its whole span, or the mean log-probability of its tags, as in 2016.
    score: Literal["marginal", "mean"] = "marginal"
    # Whether dev says, after training, how far to trust probabilities, and whether what a text repeats is marked too.
    calibrate: bool = True


@dataclass(frozen=True)
class Config:
    """All settings."""

    text: TextConfig = field(default_factory=TextConfig)
    vectors: VectorsConfig = field(default_factory=VectorsConfig)
    batches: BatchesConfig = field(default_factory=BatchesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    @property
    def has_lexicon(self) -> bool:
        """Whether units have the columns of the lexicon."""
        return self.text.unit == "char" and self.model.lexicon_dimensions > 0

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries, as TOML holds them."""
        sections = dataclasses.asdict(self)
        return {
            name: {key: list(v) if isinstance(v, tuple) else v for key, v in section.items()}
            for name, section in sections.items()
        }


PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    # The 2016 entry (design facts in README, "How it works"), its faults mended.
    "contest": {
        "text": {"unit": "word", "clean": True, "fold": False, "maxlen": 80, "overlap": 20},
        "vectors": {
            "word_dimensions": 128, "learnt_dimensions": 0, "window": 8, "negative": 8, "min_count": 1, "sample": 1e-3,
            "epochs": 20, "norm": 1.0, "limit": 0, "storage": "float32",
        },
        "batches": {"units": 0, "texts": 256, "accumulate": 4, "word_dropout": 0.0},  # steps of 1,024 texts
        "model": {
            "layers": [64, 32], "merge": "sum", "crf": False, "char_dimensions": 0, "dropout": 0.0,
            "output_dropout": 0.0,
            "activity_l1": 0.01,
        },
        "training": {
            "epochs": 200, "learning_rate": 0.001, "schedule": "constant", "clip_norm": 0.0,
            "ema_momentum": 0.0, "patience": 0,
        },
        "decode": {"transitions": "contest", "score": "mean", "calibrate": False},
    },
}  # fmt: skip

# Recipes of self-training: the settings in [transfer] that go together.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "sure": {},
    "contest": {
        "pretrain": False, "rounds": 4, "select": "agreed", "weights": [0.1, 0.2, 1.0, 1.0], "restart": False,
        "epochs": 20, "masking": 0.0, "fine_tune_epochs": 0, "patience": 0,
    },
}  # fmt: skip


def load(source: str | Path = "default", overrides: Iterable[str] = (), recipe: str = "") -> Config:
    """Return the settings of a preset or TOML file, with overrides on top.

    Args:
        source: Name of a preset, or path of a TOML file. A file may start from a preset with a top-level
            `preset = "contest"`.
        overrides: `section.key=value` each; the value is TOML, a bare word is taken as a string.
        recipe: Name of a recipe of self-training, between the two; none where empty.

    Raises:
        ConfigError: If the file cannot be read or a setting does not exist or cannot take its value.
    """
    config = Config()
    if str(source) in PRESETS:
        config = merge(config, PRESETS[str(source)], f"preset {source}")
    else:
        data = _read_toml(Path(source))
        preset = data.pop("preset", "default")
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ConfigError(f"{source}: preset = {preset!r} does not exist{nearest(str(preset), PRESETS)}")
        config = merge(config, PRESETS[preset], f"preset {preset}")
        config = merge(config, data, str(source))
    if recipe:
        config = merge(config, {"transfer": RECIPES[recipe]}, f"recipe {recipe}")
    for override in overrides:
        config = merge(config, parse_override(override), f"--set {override}")
    return check(config)


# Numbers that must be at least this; all others must not be negative.
_LEAST = {
    "text.maxlen": 2, "vectors.word_dimensions": 1, "vectors.char_dimensions": 1, "vectors.bigram_dimensions": 1,
    "vectors.window": 1, "vectors.negative": 1,
    "vectors.min_count": 1, "vectors.workers": 1, "batches.texts": 1, "batches.accumulate": 1,
    "training.gpu": -1, "transfer.rounds": 1,
}  # fmt: skip


def check(config: Config) -> Config:
    """Return `config` if its settings fit together.

    Raises:
        ConfigError: If a number is out of range, or two settings contradict each other.
    """
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        for setting in dataclasses.fields(values):
            value = getattr(values, setting.name)
            least = _LEAST.get(f"{section.name}.{setting.name}", 0)
            if isinstance(value, int | float) and not least <= value < math.inf:
                raise ConfigError(f"{section.name}.{setting.name} must be at least {least}, received {value}")
    rules = [
        (config.text.maxlen >= 4 * config.text.overlap, "text.overlap must be at most a quarter of text.maxlen"),
        (len(config.model.layers) >= 1, "model.layers needs at least one layer, such as [128, 64]"),
        (all(size >= 1 for size in config.model.layers), "model.layers must be positive"),
        (config.batches.word_dropout < 1, "batches.word_dropout must be below 1"),
        (config.batches.masking < 1, "batches.masking must be below 1"),
        (0 < config.pretrain.masking < 1, "pretrain.masking must be between 0 and 1"),
        (config.model.dropout < 1, "model.dropout must be below 1"),
        (config.model.output_dropout < 1, "model.output_dropout must be below 1"),
        (config.training.ema_momentum < 1, "training.ema_momentum must be below 1"),
        (config.training.learning_rate > 0, "training.learning_rate must be positive"),
        (
            bool(config.transfer.weights) and all(0 < weight < math.inf for weight in config.transfer.weights),
            "transfer.weights needs positive numbers, such as [0.1, 0.2, 1]",
        ),
        (config.transfer.masking < 1, "transfer.masking must be below 1"),
        (config.transfer.fine_tune_rate > 0, "transfer.fine_tune_rate must be positive"),
        (config.transfer.entity_threshold <= 1, "transfer.entity_threshold must be at most 1"),
        (config.transfer.outside_threshold <= 1, "transfer.outside_threshold must be at most 1"),
        (
            not (config.model.crf and config.decode.transitions == "contest"),
            "decode.transitions = contest needs model.crf = false: a CRF brings its own transitions",
        ),
    ]
    for holds, message in rules:
        if not holds:
            raise ConfigError(message)
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(PRESETS)
        raise ConfigError(
            f"{path}: neither a file nor a preset{nearest(str(path), PRESETS)} (presets: {known})"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file: {error}") from error


def passes_over(size: int, enough: int, least: int, most: int) -> int:
    """Return how many passes over `size` units, characters or items make about `enough` of them, within bounds."""
    return min(max(round(enough / max(size, 1)), least), most)


def to_toml(config: Config) -> str:
    """Return the settings as a TOML file."""
    import tomli_w

    return tomli_w.dumps(config.to_dict())
