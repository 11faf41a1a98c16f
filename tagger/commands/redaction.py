"""The command that replaces what identifies people: redact."""

import argparse
import contextlib
import getpass
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagger.commands.base import Command, add_bundle_or_general, add_force, add_from, add_reading, settle_bundle
from tagger.commands.output import print_format, print_notes, print_table
from tagger.commands.tagging import (
    add_lists,
    add_runtime,
    add_threshold,
    load_tagger,
    read_lists,
    report_cut_mentions,
    thresholds,
)
from tagger.errors import ConfigError, require

if TYPE_CHECKING:
    from tagger.documents import Document
    from tagger.formats.base import Format
    from tagger.redaction import Redacted, Redactor


def redact(options: argparse.Namespace) -> None:
    """Replace names, numbers and addresses in texts; `--undo` puts them back."""
    from tagger.files.outputs import atomic_file
    from tagger.redaction.way_back import write_map

    if options.map:
        require("cryptography", "redact")
    if options.undo:
        _undo(options)
        return
    _check(options)
    passphrase = _passphrase(options) if options.map else ""
    with _as_file(options) as path:
        known = _format(options, path)
        if not options.map:
            _redact(options, path, known, options.out)
        elif _is_folder(known):
            _redact(options, path, known, options.out)
            write_map(path, options.out, options.map, passphrase)
        else:
            with atomic_file(options.out) as part:  # which is there only when the map is
                _redact(options, path, known, part)
                write_map(path, part, options.map, passphrase)


def _check(options: argparse.Namespace) -> None:
    """Check what was given, before any work is done."""
    from tagger.files.outputs import check_outputs

    if options.rules_only:
        needing = {"--threshold": options.threshold, "--gazetteer": options.gazetteer, "a bundle": options.bundle}
        if needless := next((name for name, value in needing.items() if value), ""):
            raise ConfigError(f"--rules-only uses no tagger, and {needless} is for one; leave out one of them")
    else:
        settle_bundle(options, options.file)
    if options.map and not options.out:
        raise ConfigError("--map needs --out: it leads back from that file")
    out = options.out if options.out and not options.out.is_dir() else None  # else it is checked with the format
    check_outputs({"--out": out, "--report": options.report, "--map": options.map}, options.force, _inputs(options))
    for name, path in (("--out", options.out), ("--map", options.map)):
        if options.map and path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{name} {path}: is a device or a pipe, from which no map leads back; give a file")


def _inputs(options: argparse.Namespace) -> list[Path | str | None]:
    return [options.bundle, options.file, options.gazetteer, options.always, options.never, options.key_file]


def _undo(options: argparse.Namespace) -> None:
    from tagger.files.outputs import check_writable
    from tagger.redaction.way_back import leads_to_folder, restore

    if options.bundle is not None or options.out is None or options.map is None or options.file == "-":
        raise ConfigError("--undo takes the redacted file, --map and --out: tagger redact --undo F --map F --out F")
    if not Path(options.file).exists():
        raise ConfigError(f"{options.file}: there is no such file; give what was redacted")
    if not options.map.is_file():
        raise ConfigError(f"{options.map}: there is no such file; give the map that was written with it")
    inputs = [options.file, options.map]
    check_writable(options.out, options.force, inputs, leads_to_folder(options.map))
    restore(Path(options.file), options.map, options.out, _passphrase(options), options.force)


def _format(options: argparse.Namespace, path: Path) -> "Format":
    """Return the format of the input, in which the output is written."""
    from tagger import corpus, formats

    with corpus.opened(path, options.source_format) as (known, _):
        return formats.written(known.name)


def _is_folder(known: "Format") -> bool:
    """Return whether a format is written as a folder of files."""
    return bool(known.folder) and not known.binary


def _redact(options: argparse.Namespace, path: Path, known: "Format", out: Path | None) -> None:
    from tagger import corpus
    from tagger.documents import Notes
    from tagger.files.outputs import check_writable

    if out is None and _is_folder(known):
        raise ConfigError(f"{options.file}: the format {known.name} is a folder: give --out; or convert it")
    if out:
        check_writable(out, options.force, _inputs(options), _is_folder(known))
    redactor = _redactor(options)
    notes, report = Notes(), _Report()
    documents = (report.add(redacted) for redacted in redactor(corpus.read(path, known.name, notes)))
    with report.written(options.report):
        texts, _ = corpus.write(documents, out, known.name, options.force, notes)
    print_format(options.file, notes.format)
    print_notes(options.file, notes)
    report.show(texts)
    if redactor.tagger:
        report_cut_mentions(redactor.tagger)


def _redactor(options: argparse.Namespace) -> "Redactor":
    from tagger.calibration import Thresholds
    from tagger.redaction import Redactor, parse_labels

    lists = read_lists(options)
    tagger = None if options.rules_only else load_tagger(options)
    return Redactor(
        tagger, options.by, thresholds(options, tagger) if tagger else Thresholds(),
        parse_labels(options.labels, tagger.labels if tagger else ()),
        lists,
    )  # fmt: skip


@contextlib.contextmanager
def _as_file(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the path of the input; standard input is kept in a private file while the block runs."""
    from tagger.files import reading

    if options.file != "-":
        yield Path(options.file)
        return
    with tempfile.NamedTemporaryFile(prefix="tagger-") as file:
        while piece := sys.stdin.buffer.read(1 << 20):
            file.write(piece)
        file.flush()
        with reading.read_as([file.name], options.encoding, options.column):
            yield Path(file.name)


def _passphrase(options: argparse.Namespace) -> str:
    """Return the passphrase from a file, the environment, or the keyboard."""
    from tagger.redaction.lists import lines

    if options.passphrase_file:
        given = next((line for _, line in lines(options.passphrase_file)), "")
    elif "TAGGER_PASSPHRASE" in os.environ:
        given = os.environ["TAGGER_PASSPHRASE"]
    elif sys.stdin.isatty():
        given = getpass.getpass("passphrase of the map: ")
        if not options.undo and getpass.getpass("once more: ") != given:
            raise ConfigError("the two passphrases differ; try again")
    else:
        raise ConfigError("the map needs a passphrase: give --passphrase-file F, or set TAGGER_PASSPHRASE")
    if not given:
        raise ConfigError("the passphrase is empty; give one, by --passphrase-file F or TAGGER_PASSPHRASE")
    return given


class _Report:
    """What was replaced, counted by label, and what is to be reviewed, as JSON Lines."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._unsure = self._left_out = 0
        self._write: Any = None

    @contextlib.contextmanager
    def written(self, path: Path | None) -> Iterator[None]:
        from tagger.files.outputs import open_output

        with contextlib.ExitStack() as stack:
            self._write = stack.enter_context(open_output(path)) if path else None
            yield

    def add(self, redacted: "Redacted") -> "Document":
        from tagger.documents import origin
        from tagger.formats.records import dumps

        self._counts.update(change.label for change in redacted.changes)
        self._counts.update(label for _, label in redacted.elsewhere)
        self._unsure += len(redacted.unsure)
        self._left_out += redacted.left_out
        if self._write and (redacted.changes or redacted.unsure or redacted.elsewhere):
            unsure = [entity._asdict() for entity in redacted.unsure]
            further = {"elsewhere": [{"label": label, "text": text} for text, label in redacted.elsewhere]}
            line = {**origin(redacted.document), "replaced": redacted.replaced, "unsure": unsure}
            self._write(dumps(line | (further if redacted.elsewhere else {})) + "\n")
        return redacted.document

    def show(self, texts: int) -> None:
        rows = [(label, f"{count:,}") for label, count in self._counts.most_common()]
        print_table(["replaced", "times"], rows, sys.stderr)
        if self._left_out:
            about = "lists that had replaced strings in pieces, such as tokens, are left out"
            print(f"tagger: {self._left_out:,} {about}", file=sys.stderr)
        print(f"{texts:,} texts; {self._unsure:,} to review (--report F.jsonl lists them)", file=sys.stderr)


def _add_redact(parser: argparse.ArgumentParser) -> None:
    from tagger.redaction.rules import RULES

    add_bundle_or_general(parser)
    parser.add_argument(
        "file", metavar="F", help="text or a corpus; - is standard input; with --undo, what was redacted"
    )
    parser.add_argument("--out", metavar="F", type=Path, help="file to write to, instead of standard output")
    add_force(parser)
    from tagger.redaction import REPLACEMENTS

    about = "; ".join(f"{name}: {what}" for name, what in REPLACEMENTS.items())
    parser.add_argument("--by", choices=REPLACEMENTS, default="label", help=f"what mentions are replaced by; {about}")
    about = (
        "labels to replace, predicted or annotated, with commas between (default: those of the tagger, and of the rules"
    )
    about = f"{about} {', '.join(RULES)})"
    parser.add_argument("--labels", default="", metavar="A,B", help=about)
    parser.add_argument("--rules-only", action="store_true", help="use no tagger: rules, and the lists below, alone")
    add_lists(parser)
    parser.add_argument("--report", metavar="F.jsonl", type=Path, help="write what was replaced, and what was unsure")
    about = "write the way back, encrypted; with --undo, read it; needs pip install 'hantagger[redact]'"
    parser.add_argument("--map", metavar="F", type=Path, help=about)
    about = "file with the passphrase of the map (default: TAGGER_PASSPHRASE, or it is asked for)"
    parser.add_argument("--passphrase-file", metavar="F", type=Path, help=about)
    parser.add_argument("--undo", action="store_true", help="restore the file that was redacted, byte for byte")
    add_from(parser)
    add_reading(parser, "file")
    add_threshold(parser)
    add_runtime(parser)


REDACT = Command(
    redact,
    _add_redact,
    """
  tagger redact letters.txt --out redacted.txt
  tagger redact bundle letters.txt --out redacted.txt
  tagger redact --rules-only numbers.csv --out redacted.csv
  tagger redact bundle export.jsonl --by stand-in --key-file secret --out redacted.jsonl --report review.jsonl
  tagger redact bundle export.jsonl --labels PER,PHONE,ID_CARD --threshold PER=0.3 --out redacted.jsonl
  tagger redact bundle export.jsonl --out redacted.jsonl --map back.map --passphrase-file passphrase
  tagger redact --undo redacted.jsonl --map back.map --passphrase-file passphrase --out export.jsonl
""",
)
