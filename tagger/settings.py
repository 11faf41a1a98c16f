"""Settings of nested dictionaries, as TOML has them: checked by the annotations of dataclasses."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tagger.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def merge(config: Settings, data: Mapping[str, Mapping[str, Any]], place: str) -> Settings:
    """Return settings with those in `data` replaced.

    Args:
        config: A frozen dataclass whose fields, its sections, are frozen dataclasses.
        data: New values, by section and name.
        place: Where they come from, for errors.

    Raises:
        ConfigError: If a section or a setting does not exist, or a setting cannot take its value.
    """
    changed = {}
    for name, values in data.items():
        section = _section(config, name, place)
        if not isinstance(values, Mapping):
            raise ConfigError(f"{place}: [{name}] is a section, received {values!r}")
        hints = typing.get_type_hints(type(section))
        new = {}
        for key, value in values.items():
            if key not in hints:
                raise ConfigError(f"{place}: {name}.{key} does not exist{nearest(key, hints)}")
            new[key] = _coerce(value, hints[key], f"{place}: {name}.{key}")
        changed[name] = dataclasses.replace(section, **new)
    return dataclasses.replace(config, **changed)


def _section(config: "DataclassInstance", name: str, place: str) -> Any:
    names = [f.name for f in dataclasses.fields(config)]
    if name not in names:
        raise ConfigError(f"{place}: section [{name}] does not exist{nearest(name, names)}")
    return getattr(config, name)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return what to add to an error about a name that does not exist: the one like it, or all there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}"


def parse_override(override: str) -> dict[str, dict[str, Any]]:
    """Return the nested dictionary of `section.key=value`; the value is TOML, a bare word is taken as a string."""
    name, equals, value = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot):
        raise ConfigError(f"--set {override}: expected section.key=value, such as training.epochs=60")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return {section: {key: parsed}}


def _coerce(value: Any, hint: Any, place: str) -> Any:
    """Return `value` as the annotated type `hint`, or raise `ConfigError`."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        raise ConfigError(f"{place} must be one of {', '.join(map(str, choices))}; received {value!r}")
    if origin is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, list | tuple):
            return tuple(_coerce(v, item, place) for v in value)
        raise ConfigError(f"{place} must be a list, received {value!r}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    kind = hint.__name__ if isinstance(hint, type | types.GenericAlias) else str(hint)
    raise ConfigError(f"{place} must be {kind}, received {value!r}")
