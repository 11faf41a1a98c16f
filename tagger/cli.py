"""The `tagger` command: parses a command line, runs the command, and reports errors in one line."""

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tagger import __version__
from tagger.commands import COMMANDS
from tagger.commands.base import Command, reading_as_told
from tagger.errors import ConfigError, OutputError, TaggerError, Terminated, exit_code

_DESCRIPTION = "Train your own Chinese entity tagger, and tag text with it. 训练自己的中文实体识别模型。"

_EXAMPLES = """
  tagger predict --text "詹天佑毕业于耶鲁大学，后来主持修建京张铁路。"
  tagger train --train train.jsonl --dev dev.jsonl --out bundle
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger evaluate bundle test.jsonl
  tagger convert train.conll train.jsonl
  tagger help tutorial
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0 done, 1 data or model at fault, 2 wrong usage, 128 and its number after a signal.
    """
    try:
        Path.home()
    except RuntimeError:  # a user that no list knows, and no $HOME: libraries fail without
        os.environ["HOME"] = "/nonexistent"
    with _standard_streams(), _ending_signals():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a lone surrogate becomes its escape, as in JSON
    options = argparse.Namespace(debug=False)
    try:
        top = parser()
        options = top.parse_args(arguments, options)
        if not hasattr(options, "run"):
            top.print_help()
            return 2
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
    except KeyboardInterrupt as interrupt:
        print("tagger: interrupted", file=sys.stderr)
        return exit_code(interrupt)


def _fail(error: Exception, debug: bool, code: int) -> int:
    if debug:
        raise error
    print(f"tagger: {error}", file=sys.stderr)
    return code


class _ClosedOutput(io.RawIOBase):
    """Stands for a standard output that is closed: a command that needs none works."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OutputError("standard output: is closed; send it to a file, or give one with --out")


@contextlib.contextmanager
def _standard_streams() -> Iterator[None]:
    """Give closed standard streams something to write to, while a command runs.

    Files that are opened later must not get their numbers, which native code writes to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it has the lowest free number, which is this one
    with contextlib.ExitStack() as stack:
        if sys.stdout is None:
            stdout = io.TextIOWrapper(_ClosedOutput(), "utf-8", write_through=True)  # type: ignore[type-var]
            stack.enter_context(contextlib.redirect_stdout(stdout))
        if sys.stderr is None:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


@contextlib.contextmanager
def _ending_signals() -> Iterator[None]:
    """Let the signals that end a process raise `Terminated`, so that they clean up as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise Terminated(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    taken = [
        number for number in numbers if signal.getsignal(number) == signal.SIG_DFL
    ]  # others are ignored on purpose
    try:
        for number in taken:
            signal.signal(number, end)
    except ValueError:  # not the main thread
        taken = []
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


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
    """Parser of one command, which gets its options when it is first used; they may stand anywhere among its paths."""

    def __init__(self, command: Command, **settings: Any) -> None:
        super().__init__(
            epilog=f"examples:{command.examples}", formatter_class=argparse.RawDescriptionHelpFormatter, **settings
        )
        self._command = command
        self._complete = self._dividing = False

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
        if self._dividing:
            return super().parse_known_args(args, namespace)
        self._dividing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._dividing = False


if __name__ == "__main__":
    sys.exit(main())
