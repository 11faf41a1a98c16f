"""The command that tags text: predict."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagger.commands.base import Command, add_bundle_or_general, add_force, add_from, add_reading, settle_bundle
from tagger.commands.clusters import add_cluster, check_predict, predict_on_cluster
from tagger.commands.output import print_notes
from tagger.commands.tagging import add_runtime, add_threshold, load_tagger, report_cut_mentions, thresholds
from tagger.errors import ConfigError
from tagger.files.remote import is_uri

if TYPE_CHECKING:
    from tagger.pipeline import Tagger


def predict(options: argparse.Namespace) -> None:
    """Tag text: predict its entities."""
    from tagger.default_bundle import bundle_and_inputs

    options.bundle, options.files = bundle_and_inputs([path for path in (options.bundle, *options.files) if path])
    if not options.files and not options.text:
        raise ConfigError("nothing to tag: give files, - for standard input, or --text")
    if options.threshold and options.format == "contest":
        raise ConfigError("--threshold: the format contest has one answer for each text, however probable it is")
    from tagger.files.reading import read_as
    from tagger.prediction.inputs import expand

    settle_bundle(options, next(iter(options.files), None))
    if options.cluster:
        check_predict(options)
    elif is_uri(options.out):
        raise ConfigError(f"--out {options.out}: results are written there by --cluster alone; give a file")
    paths, left_out = expand(options.files)
    _report_left_out(left_out)
    with read_as(paths, options.encoding, options.column, lenient=options.errors != "stop"):
        (predict_on_cluster if options.cluster else _predict)(options, paths)


def _predict(options: argparse.Namespace, paths: list[str]) -> None:
    """Tag the records of inputs that are expanded."""
    from tagger.documents import Notes
    from tagger.files.outputs import check_outputs
    from tagger.prediction.checkpoints import checkpointed, errors_path
    from tagger.prediction.inputs import Inputs, source_key

    obstacle = _why_not_resumable(options, paths)
    if options.resume and obstacle:
        raise ConfigError(f"--resume: {obstacle}")
    if options.out:
        faults = errors_path(options.out) if options.errors != "stop" else None
        read = [*paths, options.bundle, options.gazetteer]
        check_outputs({"--out": options.out, "what cannot be read": faults}, options.force, read)
    key = source_key(paths, options.source_format) if options.source else ""
    tagger = load_tagger(options)
    tagger.thresholds = thresholds(options, tagger)
    from tagger.prediction import Prediction, first_documents

    shown = bool(options.files) and (bool(options.out) or not sys.stdout.isatty())
    run = Prediction(
        tagger, Path(options.bundle), options.runtime, options.format, _seconds_to_wait(paths), shown, Notes()
    )
    read_again = partial(Inputs, options.text, paths, options.source_format, options.errors, key)
    inputs = read_again()
    if obstacle:
        with _output(options.out, options.format) as (write, write_fault):
            run.run(inputs, write, write_fault)
    else:
        identity = _identity(options, paths, tagger)
        with checkpointed(options.out, identity, options.resume, options.force) as checkpoints:
            first = first_documents(read_again(), options.format)
            run.run(inputs, checkpoints.write, checkpoints.fault, checkpoints, first)
    print_notes(options.out or options.format, run.notes, every=True)
    if run.faults:
        done = "left out" if options.errors == "skip" else "replaced"
        where = f": see {errors_path(options.out)}" if options.out and not _is_stream(options.out) else ""
        print(f"tagger: could not be read and {done} ({run.faults:,}){where}", file=sys.stderr)
    elif options.out and options.force:
        errors_path(options.out).unlink(missing_ok=True)  # of the output that was replaced
    report_cut_mentions(tagger)


def _report_left_out(files: list[str]) -> None:
    if files:
        shown = ", ".join(files[:5]) + (", ..." if len(files) > 5 else "")
        print(f"tagger: files of no known suffix, left out ({len(files):,}): {shown}", file=sys.stderr)


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _why_not_resumable(options: argparse.Namespace, paths: list[str]) -> str:
    """Return why a run cannot be resumed if it is interrupted; "" if it can."""
    from tagger.prediction.inputs import size_of

    if not options.out:
        return "needs --out, beside which it keeps what is done"
    if _is_stream(options.out):
        return f"{options.out} is not a file"
    if stream := next((path for path in paths if size_of(path) is None), None):
        name = "standard input" if stream == "-" else stream
        return f"{name} cannot be read again from its start; save it as a file"
    if _is_one_piece(options.format):
        able = ", ".join(name for name in _formats() if not _is_one_piece(name))
        return f"the format {options.format} is one piece; write one of {able}, and convert that"
    return ""


def _is_one_piece(format: str) -> bool:
    """Return whether the results of one text do not stand alone in a format or view."""
    from tagger.formats import FORMATS

    return format in ("labelstudio", "html") or (format in FORMATS and FORMATS[format].binary)


def _formats() -> list[str]:
    """Return the formats and views that results can be written in."""
    from tagger.formats import FORMATS, WRITABLE

    return [*(name for name in WRITABLE if FORMATS[name].binary or not FORMATS[name].folder), "table", "html"]


def _identity(options: argparse.Namespace, paths: list[str], tagger: "Tagger") -> dict[str, Any]:
    """Return all that the output of a run depends on, in JSON."""
    from tagger import __version__, corpus
    from tagger.prediction.checkpoints import fingerprint

    names = ("format", "source_format", "threshold", "source", "runtime", "text", "files", "encoding", "column")
    files = [file for path in paths for file in ([path] if is_uri(path) else corpus.files(Path(path)))]
    return {
        "version": __version__,
        "bundle": tagger.identity.sha256 if tagger.identity else "",
        "gazetteer": fingerprint(options.gazetteer) if options.gazetteer else {},
        "options": {name: getattr(options, name) for name in names},
        "errors": options.errors,
        "files": {str(file): fingerprint(file) for file in files},
    }


def _seconds_to_wait(paths: list[str]) -> float | None:
    """Return how long a text waits for others: not long if they may come slowly, from a pipe or a terminal."""
    from tagger.groups import SECONDS, seconds_to_wait

    slow = any(seconds_to_wait(sys.stdin) if path == "-" else Path(path).is_fifo() for path in paths)
    return SECONDS if slow else None


@contextlib.contextmanager
def _output(out: Path | None, format: str) -> Iterator[tuple[Callable[[str], Any], Callable[[dict[str, Any]], Any]]]:
    """Yield functions that write a piece of the result and what could not be read, where a run cannot be resumed."""
    from tagger import corpus
    from tagger.files.outputs import open_output
    from tagger.formats import FORMATS
    from tagger.formats.records import dumps
    from tagger.prediction.checkpoints import errors_path

    with contextlib.ExitStack() as stack:
        row = FORMATS.get(format)
        write: Callable[[Any], object] = stack.enter_context(
            corpus.opened_output(out, row) if row else open_output(out)
        )
        write_line: Callable[[str], object] | None = None

        def write_fault(fault: dict[str, Any]) -> None:
            nonlocal write_line
            if out is None or _is_stream(out):
                print(f"tagger: {fault['reason']}", file=sys.stderr)
                return
            write_line = write_line or stack.enter_context(open_output(errors_path(out)))
            write_line(dumps(fault) + "\n")

        yield write, write_fault


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from tagger.prediction.inputs import ERRORS

    add_bundle_or_general(parser)
    about = "text or a corpus; .gz too; a folder of such files, or a pattern; - is standard input"
    parser.add_argument("files", nargs="*", metavar="F", help=about)
    parser.add_argument("--text", action="append", default=[], help="a text on the command line; may be repeated")
    about = "file to write to, instead of standard output; with --cluster a folder, or its URI"
    parser.add_argument("--out", metavar="F", type=lambda given: given if is_uri(given) else Path(given), help=about)
    add_force(parser)
    about = "go on with a run that was interrupted: the same command, with this added"
    parser.add_argument("--resume", action="store_true", help=about)
    choices = _formats()
    about = f"format of the result (default: jsonl): {', '.join(choices)}"
    parser.add_argument("--format", choices=choices, default="jsonl", metavar="FORMAT", help=about)
    add_from(parser)
    add_reading(parser, "files")
    about = "add the name of its file to each record, under the first of the keys {} that the inputs do not have"
    parser.add_argument("--source", action="store_true", help=about.format(", ".join(_source_keys())))
    about = "; ".join(f"{name}: {what}" for name, what in ERRORS.items())
    parser.add_argument(
        "--errors", choices=ERRORS, default="stop", help=f"about a record that cannot be read, {about} (default: stop)"
    )
    add_threshold(parser)
    add_runtime(parser)
    add_cluster(parser, "tag on a cluster, and write a folder of results")


def _source_keys() -> tuple[str, ...]:
    from tagger.prediction.inputs import SOURCES

    return SOURCES


PREDICT = Command(
    predict,
    _add_predict,
    """
  tagger predict --text "詹天佑毕业于耶鲁大学，后来主持修建京张铁路。"
  tagger predict texts.txt --out entities.jsonl
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger predict bundle texts.txt.gz --out entities.jsonl
  tagger predict bundle texts.txt.gz --out entities.jsonl --resume
  tagger predict bundle reviews.jsonl more/ --source --errors skip --out entities.jsonl.gz
  tagger predict bundle texts.txt --threshold 0.5
  tagger predict bundle texts.txt --threshold PER=0.8,LOC=0.6
  tagger predict bundle texts.txt --format html --out page.html
  tagger predict bundle texts.txt --format labelstudio --out tasks.json
  tagger predict bundle archive/ --cluster local --out entities
  cat texts.txt | tagger predict bundle - --format table
  tagger predict bundle texts.txt --gazetteer names.tsv
""",
)
