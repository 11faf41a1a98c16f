"""The options by which inspect and evaluate write findings and suspicious records, and what they do."""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagger.documents import Document, Notes
    from tagger.reports.suspects import Row


def add_findings(parser: argparse.ArgumentParser, findings: str, suspects: str) -> None:
    """Add the options that write findings, called so in their help, and suspicious records."""
    about = f"write every one of the {findings} as a line of JSON, with its file, line and id; .gz too"
    parser.add_argument("--out", metavar="F.jsonl", type=Path, help=about)
    about = f"write the records {suspects}, to be looked at again in the annotation tool; .gz too"
    parser.add_argument("--suspects", metavar="F", type=Path, help=about)
    from tagger.formats import WRITABLE

    about = "format of --suspects (default: that of the corpus, unless the name says another)"
    parser.add_argument("--suspects-format", choices=WRITABLE, default="", metavar="FORMAT", help=about)


def check_reports(options: argparse.Namespace, inputs: Iterable[Path | str | None]) -> None:
    """Check the files that a report is written to, before any work is done.

    Raises:
        OutputError: If one cannot or must not be written, or two are the same.
    """
    from tagger.files.outputs import check_outputs

    named = {"--html": options.html, "--out": options.out, "--suspects": options.suspects}
    check_outputs(named, options.force, inputs)


def write_findings(
    options: argparse.Namespace,
    rows: Iterable["Row"],
    suspects: Callable[[Iterable["Row"]], Iterator["Document"]],
    read: "Notes",
) -> None:
    """Read all documents with their findings, and write what the options ask for.

    Args:
        options: Of `add_findings`.
        rows: Read to their end, one by one.
        suspects: Chooses the suspicious ones.
        read: Notes on the corpus, which name its format as soon as the first document is read.
    """
    from tagger import corpus
    from tagger.documents import Notes
    from tagger.files.outputs import open_output
    from tagger.findings import passed_through
    from tagger.reports.suspects import form

    opened: AbstractContextManager[Any] = open_output(options.out) if options.out else nullcontext()
    with opened as write:
        rows = passed_through(rows, write)
        if options.suspects:
            first = list(itertools.islice(rows, 1))
            name = options.suspects_format or form(options.suspects, read.format)
            documents, notes = suspects(itertools.chain(first, rows)), Notes()
            texts, _ = corpus.write(documents, options.suspects, name, options.force, notes)
        for _ in rows:
            pass
    if options.out:
        print(f"{options.out}: written", file=sys.stderr)
    if options.suspects:
        print(f"{options.suspects}: {texts:,} suspicious texts, as {name}", file=sys.stderr)
