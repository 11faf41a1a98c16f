"""All settings: the sections of a TOML file together.

Defaults < preset or file < recipe < `--set section.key=value`. An unknown key is an error that names the nearest one.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagger.errors import ConfigError, shortened
from tagger.presets import PRESETS, RECIPES
from tagger.sections import (
    BatchesConfig,
    DecodeConfig,
    DistilConfig,
    ModelConfig,
    PretrainConfig,
    TextConfig,
    TrainingConfig,
    TransferConfig,
    VectorsConfig,
)
from tagger.settings import Setting, check_ranges, describe, merge, nearest, parse_override, quoted, read_toml


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
    distil: DistilConfig = field(default_factory=DistilConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    @property
    def has_lexicon(self) -> bool:
        """Whether units have the columns of the lexicon."""
        return self.text.unit == "char" and self.model.lexicon_dimensions > 0

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries, as TOML holds them."""
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in section.items()}
            for name, section in dataclasses.asdict(self).items()
        }


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
    config = over(Config(), source)
    if recipe:
        if recipe not in RECIPES:
            raise ConfigError(f"recipe {recipe!r} does not exist{nearest(recipe, RECIPES)}")
        config = merge(config, RECIPES[recipe].settings, f"recipe {recipe}")
    for override in overrides:
        config = merge(config, parse_override(override), f"--set {shortened(override)}")
    return check(config)


def over(config: Config, source: str | Path) -> Config:
    """Return settings with those of a preset or TOML file in place of their own: its sizes, and whatever else it names.

    Raises:
        ConfigError: If the file cannot be read or a setting does not exist or cannot take its value.
    """
    if str(source) in PRESETS:
        return _with_preset(config, str(source))
    if not Path(source).exists():
        known = ", ".join(PRESETS)
        raise ConfigError(f"{source}: neither a file nor a preset{nearest(str(source), PRESETS)} (presets: {known})")
    data = read_toml(Path(source))
    preset = data.pop("preset", "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigError(f"{source}: preset = {quoted(preset)} does not exist{nearest(quoted(preset), PRESETS)}")
    return merge(_with_preset(config, preset), data, str(source))


def _with_preset(config: Config, name: str) -> Config:
    """Return settings with those of a preset; sizes that it does not name are the usual ones."""
    usual = Config()
    sizes = {
        section: {setting: getattr(getattr(usual, section), setting) for setting in settings}
        for section, settings in PRESETS["large"].settings.items()
    }
    return merge(merge(config, sizes, "sizes"), PRESETS[name].settings, f"preset {name}")


def check(config: Config) -> Config:
    """Return `config` if its settings are in range and fit together.

    Raises:
        ConfigError: If a number is out of range, or two settings contradict each other.
    """
    for section in dataclasses.fields(config):
        check_ranges(getattr(config, section.name), f"{section.name}.")
    if config.text.overlap * 4 > config.text.maxlen:
        raise ConfigError(
            f"text.overlap must be at most a quarter of text.maxlen = {config.text.maxlen}, "
            f"received {config.text.overlap}"
        )
    if config.model.crf and config.decode.transitions == "contest":
        raise ConfigError("decode.transitions = contest needs model.crf = false: a CRF brings its own transitions")
    return config


def sections() -> Iterator[tuple[str, str, list[Setting]]]:
    """Yield the name of each section, the first line of its docstring, and its settings."""
    for section in dataclasses.fields(Config):
        kind = type(getattr(Config(), section.name))
        yield section.name, (kind.__doc__ or "").partition("\n")[0], list(describe(kind, f"{section.name}."))


def passes_over(size: int, enough: int, least: int, most: int) -> int:
    """Return the number of passes over `size` items that makes about `enough` of them, within bounds."""
    return min(max(round(enough / max(size, 1)), least), most)


def to_toml(config: Config) -> str:
    """Return the settings as a TOML file."""
    import tomli_w

    return tomli_w.dumps(config.to_dict())
