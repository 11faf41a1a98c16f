"""Settings that document themselves: fields of nested dataclasses with help text and range, read from TOML.

    @dataclass(frozen=True)
    class Training:
        epochs: int | Literal["auto"] = setting("auto", "Passes over the training texts.", least=1)

Checks, tables and the help of options all come from the annotation and from what `setting` was given.
"""

import codecs
import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tagger.errors import ConfigError, shortened

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Range:
    """The numbers that a setting takes; of a list, each of its items."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            -math.inf < value < math.inf
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        limits = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)


@dataclass(frozen=True)
class Setting:
    """One setting of a section, as documentation and options show it.

    Args:
        name: `section.key`; the key alone where there are no sections.
        default: Its default value.
        about: Help text, one or two sentences.
        values: The values it takes, such as `auto, or an integer, at least 1`.
    """

    name: str
    default: Any
    about: str
    values: str

    @property
    def toml(self) -> str:
        """Return the default as TOML and `--set` take it."""
        value = list(self.default) if isinstance(self.default, tuple) else self.default
        return json.dumps(value, ensure_ascii=False)


def setting(
    default: Any,
    about: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    empty: bool = True,
) -> Any:
    """Return a dataclass field that carries its help text and its range.

    Args:
        default: The default value.
        about: Help text, one or two sentences.
        least, most, above, below: Range of a number, or of each number in a list.
        empty: Whether a list may be empty.
    """
    metadata = {"about": about, "range": Range(least, most, above, below), "empty": empty}
    return dataclasses.field(default=default, metadata=metadata)


def describe(section: type["DataclassInstance"], prefix: str = "") -> Iterator[Setting]:
    """Yield the settings of a dataclass, in order; `prefix` is put before each name."""
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        values, automatic, _ = _kind(hints[field.name]).partition(" or auto")
        if limits := str(field.metadata["range"]):
            values += f", each {limits}" if isinstance(field.default, tuple) else f", {limits}"
        if automatic:
            values += "; or auto"
        if not field.metadata["empty"]:
            values += "; not empty"
        yield Setting(prefix + field.name, field.default, field.metadata["about"], values)


def check_ranges(section: "DataclassInstance", prefix: str = "") -> None:
    """Check that each number of a dataclass is in the range of its setting.

    Raises:
        ConfigError: If one is not; the message names it, with `prefix` before its name.
    """
    for field in dataclasses.fields(section):
        value, limits, name = getattr(section, field.name), field.metadata["range"], prefix + field.name
        if not value and not field.metadata["empty"]:
            raise ConfigError(f"{name} must not be empty; an example: {json.dumps(field.default)}")
        for number in value if isinstance(value, tuple) else [value]:
            if isinstance(number, int | float) and number not in limits:
                raise ConfigError(f"{name} must be {limits or 'finite'}, received {quoted(number)}")


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
            raise ConfigError(f"{place}: [{name}] is a section, received {quoted(values)}")
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
    """Return what to add to an error about a name that does not exist: the one most like it, or all names."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: If it cannot be read or is malformed.
    """
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ConfigError(f"{path}: expected UTF-8, received UTF-16; save it as UTF-8 in the editor")
        return tomllib.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # too many digits, nested too deeply
        raise ConfigError(f'{path}: not a readable TOML file: {error}; see "tagger help settings"') from error


def parse_override(override: str) -> dict[str, dict[str, Any]]:
    """Return the nested dictionary of `section.key=value`; the value is TOML, a bare word is taken as a string."""
    name, equals, value = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot):
        raise ConfigError(f"--set {shortened(override)}: expected section.key=value, such as training.epochs=60")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    return {section: {key: parsed}}


def unless_auto(value: Number | Literal["auto"], automatic: Number) -> Number:
    """Return the number that a setting was given, or `automatic` where it was left at "auto"."""
    return automatic if isinstance(value, str) else value


def settled(value: Number | Literal["auto"], name: str) -> Number:
    """Return the number that a setting has, which by now must not be "auto" any more."""
    if isinstance(value, str):
        raise ValueError(f"{name} is not decided yet")
    return value


def quoted(value: Any) -> str:
    """Return a value as messages quote it."""
    try:
        return shortened(repr(value))
    except ValueError:  # Python does not write integers of thousands of digits
        return "a very long number"


def _coerce(value: Any, hint: Any, place: str) -> Any:
    """Return `value` as the annotated type `hint`, or raise `ConfigError`."""
    try:
        return _as(value, hint)
    except (TypeError, OverflowError):
        raise ConfigError(f"{place} must be {_kind(hint)}; received {quoted(value)}") from None


def _as(value: Any, hint: Any) -> Any:
    """Return `value` as the annotated type `hint`, or raise `TypeError`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        for member in arguments:
            try:
                return _as(value, member)
            except TypeError:
                continue
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_as(item, arguments[0]) for item in value)
    elif isinstance(value, bool):
        if hint is bool:
            return value
    elif isinstance(value, int) and abs(value) >= 1 << 63:  # TOML's integers have 64 bits
        raise TypeError
    elif hint is float and isinstance(value, int):
        return float(value)
    elif isinstance(value, hint):
        return value
    raise TypeError


_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def _kind(hint: Any) -> str:
    """Return what values an annotated type has, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        return " or ".join(map(_kind, arguments))
    if origin is Literal:
        return arguments[0] if len(arguments) == 1 else f"one of {', '.join(arguments)}"
    if origin is tuple:
        return "a list of " + _kind(arguments[0]).partition(" ")[2] + "s"
    return _KINDS[hint]
