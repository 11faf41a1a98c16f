"""The `tagger` command: parses a command line, runs the command, and reports errors in one line."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from tagger import __version__
from tagger.commands import COMMANDS
from tagger.commands.base import Command, reading_as_told
from tagger.errors import ConfigError, TaggerError

_DESCRIPTION = "Train your own Chinese entity tagger, and tag text with it. 训练自己的中文实体识别模型。"

_EXAMPLES = """
  tagger train --train train.jsonl --dev dev.jsonl --out bundle
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger evaluate bundle test.jsonl
  tagger convert train.conll train.jsonl
  tagger help tutorial
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 done, 1 data or model at fault, 2 wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a lone surrogate becomes its escape, as in JSON
    top = parser()
    options = top.parse_args(arguments)
    if not hasattr(options, "run"):
        top.print_help()
        return 2
    try:
        with reading_as_told(options):
            options.run(options)
        sys.stdout.flush()
        return 0
    except ConfigError as error:
        return _fail(error, options.debug, 2)
    except TaggerError as error:
        return _fail(error, options.debug, 1)
    except BrokenPipeError:  # the reader of our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(TaggerError(f"{place}{error.strerror or error}"), options.debug, 1)
    except KeyboardInterrupt:
        print("tagger: interrupted", file=sys.stderr)
        return 130


def _fail(error: Exception, debug: bool, code: int) -> int:
    if debug:
        raise error
    print(f"tagger: {error}", file=sys.stderr)
    return code


def parser(every: bool = False) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        every: Whether all commands get their options now; otherwise each gets them when it is used, since tables that
            list choices may be costly to import.
    """
    top = argparse.ArgumentParser(
        "tagger",
        description=_DESCRIPTION,
        epilog=f"examples:{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"tagger {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=CommandParser)
    for name, command in COMMANDS.items():
        about = command.about
        summary = about[:1].lower() + about[1:].removesuffix(".")
        added = subparsers.add_parser(name, help=summary, description=about, command=command)
        if every:
            added.add_options()
    return top


def command_parsers() -> dict[str, "CommandParser"]:
    """Return the parser of each command, options included, by name."""
    (subparsers,) = (action for action in parser(every=True)._actions if isinstance(action.choices, dict))
    return dict(subparsers.choices or {})


class CommandParser(argparse.ArgumentParser):
    """Parser of one command, which gets its options when it is first used."""

    def __init__(self, command: Command, **settings: Any) -> None:
        super().__init__(
            epilog=f"examples:{command.examples}", formatter_class=argparse.RawDescriptionHelpFormatter, **settings
        )
        self._command = command
        self._complete = False

    def add_options(self) -> None:
        """Add the command's options, unless they have been added."""
        if not self._complete:
            self._complete = True
            self._command.add_options(self)
            self.add_argument("--debug", action="store_true", help="show a traceback when something fails")
            self.set_defaults(run=self._command.run)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser.parse_known_args`."""
        self.add_options()
        return super().parse_known_args(args, namespace)


if __name__ == "__main__":
    sys.exit(main())
