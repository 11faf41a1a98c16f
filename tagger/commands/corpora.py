"""The commands for corpora: convert, inspect (which takes a bundle as well)."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.commands.base import Command, add_config, add_force, add_from, add_reading, load_config
from tagger.commands.output import print_format, print_notes, print_scores, print_table, progress, write_page
from tagger.commands.reporting import add_findings, check_reports, write_findings
from tagger.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from tagger.documents import Document, Notes


def read_corpus(path: str | Path, source_format: str, notes: "Notes") -> Iterator["Document"]:
    """Yield the documents of a corpus, showing progress.

    Raises:
        CorpusError: If it cannot be read, or has no documents.
    """
    from tagger import corpus

    document = None
    for document in progress(corpus.read(path, source_format, notes), lambda document: document.text):
        yield document
    if document is None:
        raise _no_text(path)


def _no_text(path: str | Path) -> CorpusError:
    return CorpusError(str(path), "at least one text", "none", "check the file and its format (--from)")


# ---- convert ------------------------------------------------------------------------------------------------------


def convert(options: argparse.Namespace) -> None:
    """Write a corpus in another format."""
    from tagger import corpus, formats
    from tagger.documents import Notes
    from tagger.files.outputs import check_writable

    format_name = options.to or formats.by_suffix(options.out)
    if not format_name:
        raise ConfigError(f"{options.out}: the name does not say which format to write; add --to FORMAT")
    notes = Notes()
    out = None if str(options.out) == "-" else options.out
    if out:
        check_writable(out, options.force, [options.source], folder=formats.by_name(format_name).folder is not None)
    documents = read_corpus(options.source, options.source_format, notes)
    texts, entities = corpus.write(documents, out, format_name, options.force, notes)
    print_format(options.source, notes.format, always=True)
    print(f"{options.out}: {texts:,} texts, {entities:,} entities, as {format_name}", file=sys.stderr)
    print_notes(options.out, notes, every=True)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    from tagger.formats import WRITABLE

    parser.add_argument("source", metavar="IN", help="corpus to read; .gz too; - is standard input")
    parser.add_argument("out", metavar="OUT", type=Path, help="corpus to write; .gz too; - is standard output")
    add_from(parser)
    add_reading(parser, "source")
    about = f"format of OUT (default: what its name says): {', '.join(WRITABLE)}"
    parser.add_argument("--to", choices=WRITABLE, metavar="FORMAT", help=about)
    add_force(parser)


CONVERT = Command(
    convert,
    _add_convert,
    """
  tagger convert train.conll train.jsonl
  tagger convert train.jsonl train.bioes
  tagger convert export.json train.jsonl --from labelstudio
  tagger convert annotated_folder train.jsonl
  tagger convert train.jsonl annotated_folder --to brat
""",
)


# ---- inspect ------------------------------------------------------------------------------------------------------


def inspect(options: argparse.Namespace) -> None:
    """Look at a corpus before training, or into a bundle."""
    from tagger import formats
    from tagger.bundle import is_bundle

    check_reports(options, options.what)
    if any(map(is_bundle, options.what)):
        if len(options.what) > 1:
            raise ConfigError("inspect looks into one bundle at a time, or at the files of one corpus")
        _inspect_bundle(options)
        return
    for path in options.what:
        if path.is_dir() and not formats.by_folder(path):
            expected = "a corpus, or the folder of a bundle"
            raise CorpusError(str(path), expected, "another folder", 'see "tagger help formats"')
    _inspect_corpus(options)


def _inspect_corpus(options: argparse.Namespace) -> None:
    from tagger.reports import pages, tables
    from tagger.reports.inspection import Inspection
    from tagger.reports.provenance import provenance, provenance_line
    from tagger.reports.suspects import of_corpus

    inspection = Inspection(
        options.what,
        load_config(options).text,
        options.source_format,
        lambda documents: progress(documents, lambda document: document.text),
    )
    write_findings(options, inspection.findings(), of_corpus, inspection.splits[0].notes)
    report = inspection.to_dict()
    for split in report["splits"]:
        print_format(split["file"], split["format"])
        print_notes(split["file"], split["notes"])
        if not split["texts"]:
            raise _no_text(split["file"])
    names = {"from": options.source_format, "config": options.config if options.config != "default" else ""}
    files = [(split.path, len(split.text_keys)) for split in inspection.splits]
    report["about"] = provenance(files, {**names, "set": options.set})
    if options.html:
        write_page(options.html, pages.corpus_page(report))
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print(provenance_line(report["about"]))
        print_table(*tables.corpus_table(report))
        for line in tables.corpus_examples(report):
            print(line)


def _inspect_bundle(options: argparse.Namespace) -> None:
    from tagger import bundle as bundles
    from tagger.reports import inspection, pages, tables
    from tagger.reports.provenance import provenance, provenance_line

    if options.out or options.suspects:
        raise ConfigError("--out and --suspects are for corpora; a bundle has no findings")
    bundle = bundles.load(options.what[0])
    report = inspection.inspect_bundle(bundle)
    report["about"] = provenance([], {}, bundle.identity, str(options.what[0]))
    if options.html:
        write_page(options.html, pages.bundle_page(options.what[0].name, report))
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print(provenance_line(report["about"]))
        for table in tables.bundle_tables(report).values():
            print_table(*table)
        if "labels" in report["metrics"]:  # a network that is only pretrained has no scores
            print_scores(report["metrics"])


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    about = "labelled files of one corpus, the training file first; or the folder of a tagger"
    parser.add_argument("what", nargs="+", metavar="CORPUS|BUNDLE", type=Path, help=about)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", metavar="F", type=Path, help="write a page with plots")
    add_findings(parser, "findings", "whose annotation is suspicious")
    add_force(parser)
    add_from(parser)
    add_reading(parser, "what")
    add_config(parser)


INSPECT = Command(
    inspect,
    _add_inspect,
    """
  tagger inspect train.jsonl
  tagger inspect train.jsonl dev.jsonl --html corpus.html
  tagger inspect train.jsonl --out findings.jsonl --suspects again.jsonl
  tagger inspect train.jsonl --config contest
  tagger inspect bundle --json
""",
)
