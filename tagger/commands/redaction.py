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
from tagger.commands.tagging import add_runtime, add_threshold, load_tagger, report_cut_mentions, thresholds
from tagger.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from tagger.documents import Document
    from tagger.redaction import Redacted, Redactor


def redact(options: argparse.Namespace) -> None:
    """Replace names, numbers and addresses in texts; `--undo` puts them back."""
    from tagger.files.outputs import check_outputs

    if not options.undo:
        settle_bundle(options, options.file)
    if options.map and not options.out:
        raise ConfigError("--map needs --out: it leads back from that file")
    read = [options.bundle, options.file, options.gazetteer, options.always, options.never, options.key_file]
    if options.undo:
        _undo(options)
        return
    written = {"--out": options.out, "--report": options.report, "--map": options.map}
    check_outputs(written, options.force, read)
    passphrase = _passphrase(options) if options.map else ""
    with _as_file(options.file) as path:
        _redact(options, path)
        if options.map:
            from tagger.redaction.way_back import write_map

            write_map(path, options.out, options.map, passphrase)


def _undo(options: argparse.Namespace) -> None:
    from tagger.files.outputs import check_outputs
    from tagger.redaction.way_back import restore

    if options.bundle is not None or options.out is None or options.map is None or options.file == "-":
        raise ConfigError("--undo takes the redacted file, --map and --out: tagger redact --undo F --map F --out F")
    check_outputs({"--out": options.out}, options.force, [options.file, options.map])
    for path in (Path(options.file), options.map):
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
    restore(Path(options.file), options.map, options.out, _passphrase(options))


def _redact(options: argparse.Namespace, path: Path) -> None:
    from tagger import corpus, formats
    from tagger.documents import Notes

    with corpus.opened(path, options.source_format) as (known, _):
        name = formats.written(known.name).name
        if known.folder and not known.binary and (options.map or not options.out):
            raise ConfigError(f"{options.file}: the format {name} is a folder: give --out, and no --map; or convert it")
    redactor = _redactor(options)
    notes, report = Notes(), _Report()
    documents = (report.add(redacted) for redacted in redactor(corpus.read(path, name, notes)))
    with report.written(options.report):
        texts, _ = corpus.write(documents, options.out, name, options.force, notes)
    print_format(options.file, notes.format)
    print_notes(options.file, notes)
    report.show(texts)
    if redactor.tagger:
        report_cut_mentions(redactor.tagger)


def _redactor(options: argparse.Namespace) -> "Redactor":
    from tagger.redaction import Redactor, parse_labels

    tagger = load_tagger(options)
    return Redactor(
        tagger, options.by, thresholds(options, tagger), parse_labels(options.labels, tagger.labels),
        dict(_always(options.always)) if options.always else {},
        frozenset(line for _, line in _lines(options.never)) if options.never else frozenset(),
        options.key_file.read_bytes() if options.key_file else b"",
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    from tagger.files import open_text

    with open_text(path) as lines:
        for number, line in lines:
            if line.strip():
                yield number, line.strip()


def _always(path: Path) -> Iterator[tuple[str, str]]:
    from tagger.documents import is_label

    for number, line in _lines(path):
        string, _, label = line.partition("\t")
        if not string.strip() or not is_label(label.strip()):
            raise CorpusError(f"{path}:{number}", '"string TAB label"', line, "put a tab and a label after the string")
        yield string.strip(), label.strip()


@contextlib.contextmanager
def _as_file(given: str) -> Iterator[Path]:
    """Yield the path of an input; standard input is kept in a private file while the block runs."""
    if given != "-":
        yield Path(given)
        return
    with tempfile.NamedTemporaryFile(prefix="tagger-") as file:
        while piece := sys.stdin.buffer.read(1 << 20):
            file.write(piece)
        file.flush()
        yield Path(file.name)


def _passphrase(options: argparse.Namespace) -> str:
    """Return the passphrase from a file, the environment, or the keyboard."""
    if options.passphrase_file:
        given = next((line for _, line in _lines(options.passphrase_file)), "")
    elif "TAGGER_PASSPHRASE" in os.environ:
        given = os.environ["TAGGER_PASSPHRASE"]
    elif sys.stdin.isatty():
        given = getpass.getpass("passphrase of the map: ")
        if not options.undo and getpass.getpass("once more: ") != given:
            raise ConfigError("the two passphrases differ")
    else:
        raise ConfigError("the map needs a passphrase: give --passphrase-file F, or set TAGGER_PASSPHRASE")
    if not given:
        raise ConfigError("the passphrase is empty")
    return given


class _Report:
    """What was replaced, counted by label, and what is to be reviewed, as JSON Lines."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._unsure = 0
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
        self._unsure += len(redacted.unsure)
        if self._write and (redacted.changes or redacted.unsure):
            unsure = [entity._asdict() for entity in redacted.unsure]
            self._write(dumps({**origin(redacted.document), "replaced": redacted.replaced, "unsure": unsure}) + "\n")
        return redacted.document

    def show(self, texts: int) -> None:
        rows = [(label, f"{count:,}") for label, count in self._counts.most_common()]
        print_table(["replaced", "times"], rows, sys.stderr)
        print(f"{texts:,} texts; {self._unsure:,} entities to review (--report lists them)", file=sys.stderr)


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
        f"labels to replace, with commas between (default: those of the tagger, and of the rules {', '.join(RULES)})"
    )
    parser.add_argument("--labels", default="", metavar="A,B", help=about)
    about = "strings that are always replaced, a string, a tab and its label on each line"
    parser.add_argument("--always", metavar="F", type=Path, help=about)
    parser.add_argument("--never", metavar="F", type=Path, help="strings that are never replaced, one a line")
    about = "a secret: the same string is then replaced by the same in all texts, and files, that are redacted with it"
    parser.add_argument("--key-file", metavar="F", type=Path, help=about)
    parser.add_argument("--report", metavar="F.jsonl", type=Path, help="write what was replaced, and what was unsure")
    parser.add_argument("--map", metavar="F", type=Path, help="write the way back, encrypted; with --undo, read it")
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
  tagger redact bundle export.jsonl --by stand-in --key-file secret --out redacted.jsonl --report review.jsonl
  tagger redact bundle export.jsonl --labels PER,PHONE,ID_CARD --threshold PER=0.3 --out redacted.jsonl
  tagger redact bundle export.jsonl --out redacted.jsonl --map back.map --passphrase-file passphrase
  tagger redact --undo redacted.jsonl --map back.map --passphrase-file passphrase --out export.jsonl
""",
)
