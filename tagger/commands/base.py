"""What a command is, and the options and the settings that several commands take."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.config import load, sections
from tagger.errors import ConfigError, OutputError, exit_code
from tagger.presets import PRESETS, RECIPES
from tagger.settings import Setting, merge

if TYPE_CHECKING:
    from tagger.config import Config


@dataclass(frozen=True)
class Command:
    """A command of the command line: a row of `COMMANDS`.

    Args:
        run: Executes it, given the parsed options; the first line of its docstring describes the command.
        add_options: Adds its options to a parser. Called only when the command is used, so that it may import.
        examples: Command lines, shown at the end of its help.
    """

    run: Callable[[argparse.Namespace], None]
    add_options: Callable[[argparse.ArgumentParser], None]
    examples: str

    @property
    def about(self) -> str:
        """Return one line that describes the command."""
        return (self.run.__doc__ or "").partition("\n")[0]


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the bundle that a command works on."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")


def add_bundle_or_general(parser: argparse.ArgumentParser) -> None:
    """Add the bundle that a command tags with, which may be left out."""
    about = "folder of a trained tagger; without one, the general tagger: PER, LOC, ORG"
    parser.add_argument("bundle", nargs="?", metavar="BUNDLE", help=about)


def settle_bundle(options: argparse.Namespace, file: Path | str | None = None) -> None:
    """Set the option of `add_bundle_or_general` to the general tagger where it is left out, and say so.

    Args:
        options: Changed.
        file: What the command reads, if it needs one file.

    Raises:
        BundleError: If this installation has no general tagger.
        ConfigError: If the file is a bundle, so that the file itself is missing.
    """
    if options.bundle is not None:
        return
    from tagger.bundle import is_bundle
    from tagger.default_bundle import general_bundle

    if file is not None and is_bundle(file):
        raise ConfigError(f"{file}: is a bundle; give the file that it is for, too")
    options.bundle = str(general_bundle())
    if file is not None:
        print("tagger: no bundle is given: the general tagger is used (PER, LOC, ORG)", file=sys.stderr)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add the permission to replace what exists."""
    about = "replace what exists; of folders, only those that tagger wrote and that hold nothing else"
    parser.add_argument("--force", action="store_true", help=about)


def add_from(parser: argparse.ArgumentParser) -> None:
    """Add the format of what is read."""
    from tagger.formats import FORMATS

    parser.add_argument(
        "--from", dest="source_format", choices=tuple(FORMATS), default="", metavar="FORMAT",
        help="format of what is read (default: detected from its content): " + ", ".join(FORMATS),
    )  # fmt: skip


def add_reading(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add how the files of these options are read."""
    about = "encoding of what is read, such as gb18030 or big5 (default: UTF-8, or what a byte order mark says)"
    parser.add_argument("--encoding", default="", metavar="NAME", help=about)
    about = "column of a CSV, TSV or Parquet table, or key of JSON records, that holds the text (default: text)"
    parser.add_argument("--column", default="", metavar="NAME", help=about)
    parser.set_defaults(read=names)


@contextlib.contextmanager
def reading_as_told(options: argparse.Namespace) -> Iterator[None]:
    """Read files as the options of `add_reading` say while the block runs."""
    from tagger.files import reading

    values = [getattr(options, name) for name in getattr(options, "read", ())]
    paths = [path for value in values if value for path in (value if isinstance(value, list) else [value])]
    with reading.read_as(paths, getattr(options, "encoding", ""), getattr(options, "column", "")):
        yield


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the options that change settings."""
    presets = ", or ".join(f"{name} ({preset.about})" for name, preset in PRESETS.items())
    parser.add_argument(
        "--config", default="default", metavar="PRESET|F.toml", help=f"a TOML file, or a preset: {presets}"
    )
    add_set(parser, "change a setting; may be repeated")


def add_set(parser: argparse.ArgumentParser, about: str) -> None:
    """Add the option that changes single settings."""
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=about)
    parser.epilog = f"{parser.epilog or ''}\n`tagger help settings` lists all settings and what they mean.\n"


def add_setting(parser: argparse.ArgumentParser, option: str, name: str) -> None:
    """Add an option that stands for an integer setting, named `section.key`."""
    setting = _setting(name)
    section, _, key = name.partition(".")
    special = [
        f"; {recipe}: {row.settings[section][key]}"
        for recipe, row in RECIPES.items()
        if key in row.settings.get(section, {})
    ]
    about = f"{_brief(setting)} (default: {setting.toml}{''.join(special)}); the same as --set {name}=N"
    parser.add_argument(option, dest=name, type=int, metavar="N", help=about)


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add the option that appends to the setting `text.words`."""
    about = f"{_brief(_setting('text.words'))}: a file, one word a line"
    parser.add_argument("--words", metavar="F", type=Path, help=about)


def _setting(name: str) -> Setting:
    return next(setting for _, _, settings in sections() for setting in settings if setting.name == name)


def _brief(setting: Setting) -> str:
    """Return the first clause of a setting's help text, as options show it."""
    clause = setting.about.partition(". ")[0].partition("; ")[0].removesuffix(".").replace("%", "%%")
    return clause[:1].lower() + clause[1:]


def load_config(options: argparse.Namespace) -> "Config":
    """Return the settings that the options of `add_config`, `add_setting` and `add_words` ask for."""
    overrides = list(options.set)
    overrides += [f"{name}={value}" for name, value in vars(options).items() if "." in name and value is not None]
    config = load(options.config, overrides, getattr(options, "recipe", ""))
    if getattr(options, "words", None):
        from tagger.files import open_text
        from tagger.text import read_words

        with open_text(options.words) as lines:
            words = list(read_words((line for _, line in lines), str(options.words)))
        config = merge(config, {"text": {"words": [*config.text.words, *words]}}, str(options.words))
    return config


@contextlib.contextmanager
def resumable(folder: str) -> Iterator[None]:
    """Report where unfinished work is kept, if it is interrupted or the disk is full.

    Raises:
        OutputError: If a file could not be written.
    """
    kept = f"the work so far is kept in {folder}: add --resume to continue"
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print(f"tagger: interrupted; {kept}", file=sys.stderr)
        raise SystemExit(exit_code(interrupt)) from None
    except (OSError, OutputError) as error:
        failure = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(failure, OSError) or not Path(folder).exists():
            raise
        place = f"{failure.filename or folder}: cannot be written: {failure.strerror or failure}"
        raise OutputError(f"{error if isinstance(error, OutputError) else place}; {kept}") from error
