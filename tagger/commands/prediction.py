"""The command that tags text: predict."""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagger.commands.base import Command, add_bundle, add_force, add_from
from tagger.commands.output import print_notes
from tagger.commands.tagging import add_runtime, add_threshold, load_tagger, report_cut_mentions
from tagger.errors import ConfigError

if TYPE_CHECKING:
    from tagger.checkpoints import Checkpoints
    from tagger.documents import Document
    from tagger.inputs import Fault, Inputs
    from tagger.pipeline import Result, Tagger

# Formats of which the results of one text do not stand alone.
_WHOLE = ("labelstudio", "html")


def predict(options: argparse.Namespace) -> None:
    """Tag text: predict its entities."""
    if not options.files and not options.text:
        raise ConfigError("nothing to tag: give files, - for standard input, or --text")
    if options.threshold and options.format == "contest":
        raise ConfigError("--threshold: the format contest has one answer for each text, however probable")
    from tagger.checkpoints import checkpointed, errors_path
    from tagger.inputs import Inputs, expand, source_key
    from tagger.outputs import check_writable

    paths, left_out = expand(options.files)
    if left_out:
        print(f"tagger: left out, as their suffixes are of no known format ({len(left_out):,}): {', '.join(left_out[:5])}", file=sys.stderr)
    reason = _not_resumable(options, paths)
    if options.resume and reason:
        raise ConfigError(f"--resume: {reason}")
    if options.out:
        read = [*paths, options.bundle, options.gazetteer]
        check_writable(options.out, options.force, read)
        if options.errors != "stop":
            check_writable(errors_path(options.out), options.force, read)
    key = source_key(paths, options.source_format) if options.source else ""
    tagger = load_tagger(options)
    inputs = Inputs(options.text, paths, options.source_format, options.errors, key)
    if reason:
        with _plain_output(options) as output:
            run = Prediction(options, tagger, inputs, *output)
            run.write()
    else:
        with checkpointed(options.out, _identity(options, paths, tagger), options.resume, options.force) as checkpoints:
            run = Prediction(options, tagger, inputs, checkpoints.write, checkpoints.fault, checkpoints)
            run.write()
    print_notes(options.out or options.format, run.notes)
    if run.faults:
        done = "left out" if options.errors == "skip" else "replaced"
        where = f"; see {errors_path(options.out)}" if options.out else ""
        print(f"tagger: records or lines that could not be read, {done} ({run.faults:,}){where}", file=sys.stderr)
    report_cut_mentions(tagger)


def _not_resumable(options: argparse.Namespace, paths: list[str]) -> str:
    """Return why a run cannot be resumed if it is interrupted; "" if it can."""
    from tagger.inputs import size_of

    if not options.out:
        return "needs --out, beside which it keeps what is done"
    if options.out.exists() and not options.out.is_file():
        return f"{options.out} is not a file"
    if stream := next((path for path in paths if size_of(path) is None), None):
        name = "standard input" if stream == "-" else stream
        return f"{name} cannot be read again from its start; save it as a file"
    if options.format in _WHOLE:
        return f"the format {options.format} is one piece; use jsonl, and convert it"
    return ""


def _identity(options: argparse.Namespace, paths: list[str], tagger: "Tagger") -> dict[str, Any]:
    """Return what the result depends on, in JSON."""
    from tagger import __version__, corpus
    from tagger.checkpoints import fingerprint

    names = ("format", "source_format", "threshold", "source", "runtime", "text", "files")
    files = [file for path in paths for file in corpus.files(Path(path))]
    return {
        "version of tagger": __version__,
        "bundle": tagger.identity.sha256 if tagger.identity else "",
        "gazetteer": fingerprint(options.gazetteer) if options.gazetteer else {},
        "option": {name: getattr(options, name) for name in names},
        "errors": options.errors,
        "input": {str(file): fingerprint(file) for file in files},
    }


@contextlib.contextmanager
def _plain_output(options: argparse.Namespace) -> Iterator[tuple[Callable[[str], Any], Callable[[dict[str, Any]], Any]]]:
    """Yield the functions that write a piece of the result, and what could not be read."""
    from tagger.checkpoints import errors_path
    from tagger.formats.records import dumps
    from tagger.outputs import open_output

    with contextlib.ExitStack() as stack:
        write = stack.enter_context(open_output(options.out))
        opened: list[Callable[[str], object]] = []

        def write_fault(fault: dict[str, Any]) -> None:
            if options.out is None or not errors_path_is_file(options.out):
                print(f"tagger: {fault['reason']}", file=sys.stderr)
                return
            if not opened:
                opened.append(stack.enter_context(open_output(errors_path(options.out))))
            opened[0](dumps(fault) + "\n")

        yield write, write_fault


def errors_path_is_file(out: Path) -> bool:
    """Return whether what could not be read is written beside an output: not where that is a device or a pipe."""
    return out.is_file() or not out.exists()


# ---- a run --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Group:
    """Records that are tagged together.

    Args:
        items: Documents and faults, in the order of the input.
        records: Items of the input up to the end of this group.
        position: Bytes of the input up to there.
    """

    items: list["Document | Fault"]
    records: int
    position: int

    @property
    def texts(self) -> list[str]:
        """The texts to tag."""
        return [item.text for item in self.items if not is_fault(item)]  # type: ignore[union-attr]


def is_fault(item: object) -> bool:
    """Return whether an item of the input could not be read."""
    from tagger.inputs import Fault

    return isinstance(item, Fault)


class Prediction:
    """One run: records in, results out."""

    def __init__(
        self,
        options: argparse.Namespace,
        tagger: "Tagger",
        inputs: "Inputs",
        write: Callable[[str], Any],
        write_fault: Callable[[dict[str, Any]], Any],
        checkpoints: "Checkpoints | None" = None,
    ) -> None:
        from tagger.documents import Notes

        self.options, self.tagger, self.inputs = options, tagger, inputs
        self.checkpoints = checkpoints
        self.notes = Notes(checkpoints.notes if checkpoints else {})
