"""The commands that tag text with a trained tagger: evaluate, predict, serve."""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.commands.base import Command, add_bundle, add_force, add_from, import_tensorflow
from tagger.commands.corpora import read_corpus
from tagger.commands.output import print_notes, print_scores, progress, write_page
from tagger.errors import ConfigError, require
from tagger.runtime import DEFAULT, RUNTIMES
from tagger.serve.limits import Limits
from tagger.settings import check_ranges, describe

if TYPE_CHECKING:
    from tagger.pipeline import Tagger


# ---- evaluate -----------------------------------------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> None:
    """Score a tagger on a labelled corpus."""
    from tagger import analysis, corpus
    from tagger.documents import Notes
    from tagger.outputs import check_writable
    from tagger.reports import pages

    if options.html:
        check_writable(options.html, options.force, [options.corpus, options.train, options.bundle, options.gazetteer])
    tagger = _load_tagger(options)
    notes = Notes()
    seen = analysis.mentions(corpus.read(options.train, options.source_format)) if options.train else None
    documents = read_corpus(options.corpus, options.source_format, notes)
    scores = tagger.evaluate(documents, analysis.Analysis(trained=seen)).to_dict()
    print_notes(options.corpus, notes)
    if options.html:
        write_page(options.html, pages.evaluation_page(str(options.corpus), scores))
    if options.json:
        print(json.dumps(scores, ensure_ascii=False))
    else:
        print_scores(scores)
    _report_cut_mentions(tagger)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("corpus", metavar="F", type=Path, help="labelled corpus")
    parser.add_argument("--json", action="store_true", help="print the scores, errors and worst texts as JSON")
    parser.add_argument("--html", metavar="F", type=Path, help="write an error report as a page")
    add_force(parser)
    about = "training corpus, to score mentions seen in training apart from new ones"
    parser.add_argument("--train", metavar="F", type=Path, help=about)
    add_from(parser)
    _add_runtime(parser)


EVALUATE = Command(
    evaluate,
    _add_evaluate,
    """
  tagger evaluate bundle test.jsonl
  tagger evaluate bundle test.jsonl --json
  tagger evaluate bundle test.jsonl --html report.html --train train.jsonl
  tagger evaluate bundle test.jsonl --gazetteer names.tsv
""",
)


# ---- predict ------------------------------------------------------------------------------------------------------


def predict(options: argparse.Namespace) -> None:
    """Tag text: predict its entities."""
    if not options.files and not options.text:
        raise ConfigError("nothing to tag: give files, - for standard input, or --text")
    from tagger import formats
    from tagger.documents import Notes
    from tagger.outputs import check_writable, open_output
    from tagger.reports.results import VIEWS, documents

    if options.out:
        check_writable(options.out, options.force, [*options.files, options.bundle, options.gazetteer])
    tagger = _load_tagger(options)
    answers, notes = options.format == "contest", Notes()
    texts = _texts(options.text, options.files, options.source_format)
    if not options.files:
        results = tagger.results(texts, answers)
    else:
        from tagger import parallel

        results = parallel.results(tagger, options.bundle, options.runtime, texts, answers)
        results = progress(results, lambda result: result.text, bool(options.out) or not sys.stdout.isatty())
    if options.format in VIEWS:
        lines = VIEWS[options.format](results, tagger.labels)
    else:
        lines = formats.write(options.format, documents(results, answers), notes)
    with open_output(options.out) as write:
        for line in lines:
            write(line)
    print_notes(options.out or options.format, notes)
    _report_cut_mentions(tagger)


def _texts(given: list[str], files: list[str], source_format: str) -> Iterator[str]:
    from tagger import corpus

    yield from given
    for file in files:
        yield from corpus.texts(file, source_format)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from tagger.formats import FORMATS

    add_bundle(parser)
    parser.add_argument("files", nargs="*", metavar="F", help="text, or a corpus; .gz too; - is standard input")
    parser.add_argument("--text", action="append", default=[], help="a text on the command line; may be repeated")
    parser.add_argument("--out", metavar="F", type=Path, help="file to write to, instead of standard output")
    add_force(parser)
    choices = [*(name for name, row in FORMATS.items() if not row.folder), "table", "html"]
    about = f"format of the result (default: jsonl): {', '.join(choices)}"
    parser.add_argument("--format", choices=choices, default="jsonl", metavar="FORMAT", help=about)
    add_from(parser)
    _add_runtime(parser)


PREDICT = Command(
    predict,
    _add_predict,
    """
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger predict bundle texts.txt.gz --out entities.jsonl
  tagger predict bundle texts.txt --format html --out page.html
  tagger predict bundle texts.txt --format labelstudio --out tasks.json
  cat texts.txt | tagger predict bundle - --format table
  tagger predict bundle texts.txt --gazetteer names.tsv
""",
)


# ---- serve --------------------------------------------------------------------------------------------------------


def serve(options: argparse.Namespace) -> None:
    """Answer HTTP requests, and show a page to tag and correct text on."""
    for package in ("starlette", "uvicorn", "prometheus_client", "markdown_it"):
        require(package, "serve")
    from tagger.serve import server
    from tagger.serve.corrections import CorpusFile

    if not re.fullmatch("[!-~]*", options.token):
        raise ConfigError("--token must be of printable ASCII characters without spaces")
    limits = Limits(**{limit.name: getattr(options, f"max_{limit.name}") for limit in describe(Limits)})
    check_ranges(limits, "--max-")
    tagger = _load_tagger(options)
    save = CorpusFile(options.save) if options.save else None
    server.serve(tagger, options.host, options.port, limits, save, options.token)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    about = "address to listen on (default: 127.0.0.1, this machine alone)"
    parser.add_argument("--host", default="127.0.0.1", help=about)
    about = "port to listen on; 0 for any free one (default: 8000)"
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help=about)
    about = "what clients must send as Authorization: Bearer TOKEN (default: $TAGGER_TOKEN, or nothing)"
    parser.add_argument("--token", default=os.environ.get("TAGGER_TOKEN", ""), help=about)
    about = "corpus file to which the page appends corrected texts; --train reads it"
    parser.add_argument("--save", metavar="F.jsonl", type=Path, help=about)
    _add_runtime(parser)
    for limit in describe(Limits):
        about = f"{limit.about} (default: {limit.default:,})"
        parser.add_argument(f"--max-{limit.name}", type=int, default=limit.default, metavar="N", help=about)


def _port(given: str) -> int:
    value = int(given)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return value


SERVE = Command(
    serve,
    _add_serve,
    """
  tagger serve bundle
  tagger serve bundle --save corrected.jsonl
  tagger serve bundle --host 0.0.0.0 --port 8080 --token "$(openssl rand -hex 16)"
  curl localhost:8000/tag -H 'Content-Type: application/json' -d '{"text": "李明在北京大学读书。"}'
  curl localhost:8000/tag -H 'Content-Type: application/x-ndjson' -T texts.jsonl -X POST
""",
)


# ---- the tagger ---------------------------------------------------------------------------------------------------


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    about = "mentions that are to be entities, one a line: mention TAB label [TAB weight]"
    parser.add_argument("--gazetteer", metavar="F", type=Path, help=about)
    about = "; ".join(f"{name}: {row.about}" for name, row in RUNTIMES.items())
    parser.add_argument("--runtime", choices=RUNTIMES, default=DEFAULT, help=f"{about} (default: {DEFAULT})")


def _load_tagger(options: argparse.Namespace) -> "Tagger":
    if RUNTIMES[options.runtime].tensorflow:
        import_tensorflow()
    from tagger.pipeline import Tagger

    return Tagger.load(options.bundle, options.runtime, gazetteer=options.gazetteer)


def _report_cut_mentions(tagger: "Tagger") -> None:
    """Report the mentions of the gazetteer that do not fit the tagger's units."""
    cut = tagger.gazetteer.cut if tagger.gazetteer else None
    if cut:
        shown = ", ".join(f"{mention} ({count:,})" for mention, count in cut.most_common(5))
        print(f"tagger: mentions of the gazetteer that words cut, ignored ({cut.total():,}): {shown}", file=sys.stderr)
