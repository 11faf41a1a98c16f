"""The commands that use a trained tagger on a corpus or over HTTP: evaluate, serve."""

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.commands.base import (
    Command,
    add_bundle_or_general,
    add_force,
    add_from,
    add_reading,
    add_set,
    settle_bundle,
)  # fmt: skip
from tagger.commands.corpora import read_corpus
from tagger.commands.output import print_format, print_notes, print_scores, write_page
from tagger.commands.reporting import add_findings, check_reports, write_findings
from tagger.errors import ConfigError, require
from tagger.runtime import DEFAULT, RUNTIMES
from tagger.serve.limits import Limits
from tagger.settings import check_ranges, describe

if TYPE_CHECKING:
    from tagger.analysis import Analysis
    from tagger.calibration import Thresholds
    from tagger.documents import Document
    from tagger.pipeline import Tagger
    from tagger.redaction.lists import Lists
    from tagger.reports.suspects import Row
    from tagger.serve.queue_endpoints import QueueSetup


# ---- evaluate -----------------------------------------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> None:
    """Score a tagger on a labelled corpus."""
    from tagger import analysis, corpus
    from tagger.documents import Notes
    from tagger.reports import pages, suspects
    from tagger.reports.provenance import provenance, provenance_line

    settle_bundle(options, options.corpus)
    corpus.require_files([options.corpus, *([options.train] if options.train else [])])
    check_reports(options, [options.corpus, options.train, options.bundle, options.gazetteer])
    tagger = load_tagger(options)
    tagger.thresholds = thresholds(options, tagger)
    notes = Notes()
    seen = analysis.mentions(corpus.read(options.train, options.source_format)) if options.train else None
    scores = analysis.Analysis(trained=seen)
    rows = _errors(tagger, read_corpus(options.corpus, options.source_format, notes), scores)
    least, most = options.suspects_above, options.suspects_most
    write_findings(options, rows, lambda rows: suspects.of_evaluation(rows, least, most), notes)
    print_format(options.corpus, notes.format)
    print_notes(options.corpus, notes)
    report = scores.to_dict()
    given = {
        "train": options.train, "gazetteer": options.gazetteer, "from": options.source_format,
        "runtime": options.runtime, "threshold": options.threshold,
    }  # fmt: skip
    report["about"] = provenance([(options.corpus, scores.texts)], given, tagger.identity, options.bundle)
    if options.html:
        write_page(options.html, pages.evaluation_page(str(options.corpus), report))
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print(provenance_line(report["about"]))
        print_scores(report)
    report_cut_mentions(tagger)


def _errors(tagger: "Tagger", documents: "Iterator[Document]", scores: "Analysis") -> Iterator["Row"]:
    """Yield each annotated document, with what is predicted, and its errors, adding them to the scores."""
    from tagger.analysis import errors_of

    documents = (document for document in documents if not document.is_unlabelled)
    documents, copies = itertools.tee(documents)
    results = tagger.results(document.text for document in copies)
    for document, result in zip(documents, results, strict=True):
        scores.add(document, result.entities, result.answer)
        yield replace(document, predicted=tuple(result.entities)), list(errors_of(document, result.entities))


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add_bundle_or_general(parser)
    parser.add_argument("corpus", metavar="F", type=Path, help="labelled corpus")
    parser.add_argument("--json", action="store_true", help="print the scores, errors and worst texts as JSON")
    parser.add_argument("--html", metavar="F", type=Path, help="write an error report as a page")
    add_findings(parser, "errors", "with a confident prediction that their annotation lacks")
    about = "probability from which a prediction is confident (default: 0.5)"
    parser.add_argument("--suspects-above", type=_probability, default=0.5, metavar="P", help=about)
    about = "write this many records, the most confident first (default: 0, all, in the order of the corpus)"
    parser.add_argument("--suspects-most", type=_count, default=0, metavar="N", help=about)
    add_force(parser)
    about = "training corpus, to score mentions seen in training apart from new ones"
    parser.add_argument("--train", metavar="F", type=Path, help=about)
    add_from(parser)
    add_reading(parser, "corpus", "train")
    add_threshold(parser)
    add_runtime(parser)


def _probability(given: str) -> float:
    value = float(given)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be 0 to 1")
    return value


def _count(given: str) -> int:
    value = int(given)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


EVALUATE = Command(
    evaluate,
    _add_evaluate,
    """
  tagger evaluate bundle test.jsonl
  tagger evaluate test.jsonl
  tagger evaluate bundle test.jsonl --json
  tagger evaluate bundle test.jsonl --html report.html --train train.jsonl
  tagger evaluate bundle test.jsonl --gazetteer names.tsv
  tagger evaluate bundle train.jsonl --out errors.jsonl --suspects again.jsonl --suspects-above 0.8
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
    settle_bundle(options)
    limits = Limits(**{limit.name: getattr(options, f"max_{limit.name}") for limit in describe(Limits)})
    check_ranges(limits, "--max-")
    if options.queue and not options.save:
        raise ConfigError("--queue needs --save FILE.jsonl, where corrected texts are kept")
    if (options.train or options.dev) and not options.queue:
        raise ConfigError("--train and --dev are for training on what a --queue has brought; give --queue F too")
    lists = read_lists(options)
    tagger = load_tagger(options)
    save = CorpusFile(options.save) if options.save else None
    queue = _queue_setup(options, save.path, limits) if options.queue and save else None
    least = thresholds(options, tagger)
    server.serve(tagger, options.host, options.port, limits, save, options.token, queue, least, lists)


def _queue_setup(options: argparse.Namespace, saved: Path, limits: Limits) -> "QueueSetup":
    """Read the queue's file, and check what a training from the page would need."""
    from tagger import corpus
    from tagger.documents import Document
    from tagger.files.outputs import same_file
    from tagger.pipeline import Tagger
    from tagger.serve.queue import TextQueue
    from tagger.serve.queue_endpoints import QueueSetup
    from tagger.serve.retraining import TrainingPlan

    for name, given in (("--queue", options.queue), ("--dev", options.dev)):
        if given and same_file(Path(given), saved):
            raise ConfigError(f"{name} {given}: is the file of --save, to which texts are added; choose another")
    if options.retrain_every < 0:
        raise ConfigError("--retrain-every must be at least 0")
    bundle = Path(os.path.abspath(options.bundle))
    plan = TrainingPlan(bundle, tuple(options.train), options.dev, tuple(options.set), options.retrain_every)
    plan.check()
    if options.queue_entities:
        documents = corpus.read(options.queue, options.source_format)
    else:
        documents = map(Document, corpus.texts(options.queue, options.source_format))
    texts = TextQueue(documents, saved, limits.characters)
    counts, left_out = texts.counts, ", ".join(f"{count:,} {reason}" for reason, count in texts.left_out.items())
    note = f" (left out: {left_out})" if left_out else ""
    print(f"tagger: {options.queue}: {counts.total:,} texts, {counts.done:,} done{note}", file=sys.stderr)

    def load(folder: Path) -> Tagger:
        return Tagger.load(folder, options.runtime, options.workers, options.gazetteer)

    return QueueSetup(texts, plan, load, options.queue_entities)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add_bundle_or_general(parser)
    about = "address to listen on (default: 127.0.0.1, this machine alone)"
    parser.add_argument("--host", default="127.0.0.1", help=about)
    about = "port to listen on; 0 for any free one (default: 8000)"
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help=about)
    about = "what clients must send as Authorization: Bearer TOKEN (default: $TAGGER_TOKEN, or nothing)"
    parser.add_argument("--token", default=os.environ.get("TAGGER_TOKEN", ""), help=about)
    about = "corpus file to which the page appends corrected texts; `tagger train --train` reads it"
    parser.add_argument("--save", metavar="F.jsonl", type=Path, help=about)
    about = "texts to correct one by one on the page, the least certain first: a corpus or plain text; needs --save"
    parser.add_argument("--queue", metavar="F", help=about)
    about = "start from the entities in the file of --queue instead of the predicted ones"
    parser.add_argument("--queue-entities", action="store_true", help=about)
    add_from(parser)
    about = "labelled corpora to train on together with what was saved, when the page asks for it"
    parser.add_argument("--train", nargs="+", default=[], metavar="F", type=Path, help=about)
    about = "labelled corpus that such a training is scored on"
    parser.add_argument("--dev", metavar="F", type=Path, help=about)
    about = "after how many saved texts the page offers to train; 0: never (default: 50)"
    parser.add_argument("--retrain-every", type=int, default=50, metavar="N", help=about)
    about = "change a setting of such a training, otherwise the bundle's; may be repeated"
    add_set(parser, about)
    add_threshold(parser)
    add_lists(parser)
    add_runtime(parser)
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
  tagger serve
  tagger serve bundle
  tagger serve bundle --save corrected.jsonl
  tagger serve bundle --threshold PER=0.8,LOC=0.6
  tagger serve bundle --queue texts.jsonl --save corrected.jsonl --train train.jsonl --dev dev.jsonl
  tagger serve bundle --host 0.0.0.0 --port 8080 --token "$(openssl rand -hex 16)"
  curl localhost:8000/tag -H 'Content-Type: application/json' -d '{"text": "李明在北京大学读书。"}'
  curl localhost:8000/tag -H 'Content-Type: application/x-ndjson' -T texts.jsonl -X POST
  tagger serve --always names.tsv --never places.txt --key-file secret
  curl 'localhost:8000/tag?threshold=0.5' -H 'Content-Type: application/json' -d '{"text": "李明在北京大学读书。"}'
""",
)


# ---- the tagger ---------------------------------------------------------------------------------------------------


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add the least probability of entities."""
    about = "leave out entities that are less probable: 0.5, or by label PER=0.8,LOC=0.6 (default: none)"
    parser.add_argument("--threshold", default="", metavar="P", help=about)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add what a tagger is loaded with."""
    about = "mentions that are to be entities, one a line: mention TAB label [TAB weight]"
    parser.add_argument("--gazetteer", metavar="F", type=Path, help=about)
    about = "; ".join(f"{name}: {row.about}" for name, row in RUNTIMES.items())
    parser.add_argument("--runtime", choices=RUNTIMES, default=DEFAULT, help=f"{about} (default: {DEFAULT})")
    about = "threads or processes that tag side by side (default: one for each core that may be used)"
    parser.add_argument("--workers", type=_workers, default=0, metavar="N", help=about)


def _workers(given: str) -> int:
    value = int(given)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def load_tagger(options: argparse.Namespace) -> "Tagger":
    """Return the tagger that the options ask for."""
    from tagger.pipeline import Tagger

    return Tagger.load(options.bundle, options.runtime, options.workers, options.gazetteer)


def thresholds(options: argparse.Namespace, tagger: "Tagger") -> "Thresholds":
    """Return the least probabilities that the option of `add_threshold` asks for."""
    from tagger.calibration import Thresholds

    return Thresholds.parse(options.threshold, tagger.labels) if options.threshold else Thresholds()


def add_lists(parser: argparse.ArgumentParser) -> None:
    """Add what redaction replaces always or never, and its secret."""
    about = "strings that redaction always replaces, a string, a tab and its label on each line"
    parser.add_argument("--always", metavar="F", type=Path, help=about)
    about = "strings that redaction never replaces, one a line"
    parser.add_argument("--never", metavar="F", type=Path, help=about)
    about = "file with a secret, of any content: with it, a string is replaced by the same in all texts, and files"
    parser.add_argument("--key-file", metavar="F", type=Path, help=about)


def read_lists(options: argparse.Namespace) -> "Lists":
    """Return what the options of `add_lists` ask for."""
    from tagger.redaction.lists import Lists

    return Lists.read(options.always, options.never, options.key_file)


def report_cut_mentions(tagger: "Tagger") -> None:
    """Report the mentions of the gazetteer that do not fit the tagger's units."""
    cut = tagger.gazetteer.cut if tagger.gazetteer else None
    if cut:
        shown = ", ".join(f"{mention} ({count:,})" for mention, count in cut.most_common(5))
        print(f"tagger: mentions of the gazetteer that words cut, ignored ({cut.total():,}): {shown}", file=sys.stderr)
