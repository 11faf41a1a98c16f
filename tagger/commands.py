"""What each command does: takes the parsed options, prints. Heavy imports wait until a command needs them."""

import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tagger.errors import ConfigError, CorpusError, require
from tagger.serve.limits import Limits


def _load_config(options: argparse.Namespace) -> Any:
    from tagger import config, settings, text
    from tagger.files import open_text

    overrides = list(options.set)
    if getattr(options, "seed", None) is not None:
        overrides.append(f"training.seed={options.seed}")
    if getattr(options, "rounds", None) is not None:
        overrides.append(f"transfer.rounds={options.rounds}")
    loaded = config.load(options.config, overrides, getattr(options, "recipe", ""))
    if getattr(options, "words", None):
        with open_text(options.words) as lines:
            words = list(text.read_words((line for _, line in lines), str(options.words)))
        loaded = settings.merge(loaded, {"text": {"words": [*loaded.text.words, *words]}}, str(options.words))
    return loaded


def train(options: argparse.Namespace) -> None:
    """Train a tagger on a labelled corpus."""
    config = _load_config(options)
    _import_tensorflow()
    from tagger.learning.training import train

    with _resumable(f"{options.out}.training"):
        metrics = train(config, _sources(options), options.out, options.resume, options.force)
    print(f"\n{options.out}: epoch {metrics['epoch']}, scores on {options.dev}", file=sys.stderr)
    _print_scores(metrics, file=sys.stderr)


@contextlib.contextmanager
def _resumable(kept: str) -> Iterator[None]:
    """Say where the work is kept, if it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"tagger: interrupted; what is done is kept in {kept}: add --resume to go on", file=sys.stderr)
        raise SystemExit(130) from None


def _sources(options: argparse.Namespace) -> Any:
    from tagger.learning.run import Sources

    start = options.start
    return Sources(options.train, options.dev, tuple(options.unlabelled), vectors=start, start=start)


def pretrain(options: argparse.Namespace) -> None:
    """Train the network on text without labels, to start from."""
    config = _load_config(options)
    _import_tensorflow()
    from tagger.learning.pretraining import pretrain

    with _resumable(f"{options.out}.training"):
        pretrain(config, options.files, options.out, options.resume, options.force, start=options.start)
    print(f"{options.out}: written; start from it with: tagger train --start {options.out} ...", file=sys.stderr)


def transfer(options: argparse.Namespace) -> None:
    """Train a tagger on labelled and unlabelled texts, in rounds."""
    config = _load_config(options)
    _import_tensorflow()
    from tagger.learning.self_training import best, transfer

    with _resumable(f"{options.out}.transfer"):
        history = transfer(config, _sources(options), options.out, options.resume, options.force)
    chosen = best(history, config.training.metric)
    print(f"\n{options.out}: round {chosen}, scores on {options.dev}", file=sys.stderr)
    figures = ("precision", "recall", "f1", *(["top1"] if "top1" in history[0] else []))
    rows = [
        (str(row["round"]), f"{row['predicted']['texts']:,}", f"{row['predicted']['entities']:,}",
         f"{100 * row['predicted']['labelled']:.1f}", *(f"{100 * row[name]:.2f}" for name in figures))
        for row in history
    ]  # fmt: skip
    heading = ["round", "predicted texts", "entities", "characters labelled, %", "precision", "recall", "F1", "top-1"]
    _print_table(heading[: 4 + len(figures)], rows, file=sys.stderr)
    _print_scores(history[chosen], file=sys.stderr)


def evaluate(options: argparse.Namespace) -> None:
    """Score a tagger on a labelled corpus."""
    from tagger import analysis, corpus
    from tagger.documents import Notes
    from tagger.pipeline import evaluate
    from tagger.reports import pages

    tagger = _load_tagger(options)
    notes = Notes()
    trained = analysis.mentions(corpus.read(options.train, options.form)) if options.train else None
    documents = _documents(options.corpus, options.form, notes)
    scores = evaluate(tagger, documents, analysis.Analysis(trained=trained)).to_dict()
    _print_notes(options.corpus, notes)
    if options.html:
        _write_page(options.html, pages.evaluation_page(str(options.corpus), scores))
    if options.json:
        print(json.dumps(scores, ensure_ascii=False))
    else:
        _print_scores(scores)
    _tell_cut(tagger)


def _print_scores(scores: dict[str, Any], file: Any = None) -> None:
    from tagger.score import reliability_rows, row, rows

    heading = ["precision", "recall", "F1", "gold", "found"]
    _print_table(["label", *heading], rows(scores), file)
    if "mentions" in scores:
        _print_table(["mention", *heading], [row(*mentions) for mentions in scores["mentions"].items()], file)
    if "errors" in scores:
        _print_table(["error", "count"], [(kind, f"{count:,}") for kind, count in scores["errors"].items()], file)
    _print_table(["probability", "found", "right, %"], reliability_rows(scores), file)
    if "top1" in scores:
        line = f"top-1 accuracy {100 * scores['top1']:.2f}   contest score {scores['contest']:.4f}"
        print(line, file=file or sys.stdout)


def _print_table(heading: list[str], rows: Iterable[Sequence[str]], file: Any = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*heading)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console = Console(file=file, width=None if (file or sys.stdout).isatty() else 100)
    console.print(table)


def predict(options: argparse.Namespace) -> None:
    """Find the entities in text."""
    if not options.files and not options.text:
        raise ConfigError("nothing to tag: give files, - for standard input, or --text")
    from tagger import formats
    from tagger.documents import Notes
    from tagger.files import open_output
    from tagger.reports.results import VIEWS, documents

    tagger = _load_tagger(options)
    answers, notes = options.format == "contest", Notes()
    texts = _texts(options.text, options.files, options.form)
    if not options.files:
        results = tagger.results(texts, answers)
    else:
        from tagger import parallel

        results = parallel.results(tagger, options.bundle, options.runtime, texts, answers)
        results = _progress(results, lambda result: result.text, bool(options.out) or not sys.stdout.isatty())
    if options.format in VIEWS:
        lines = VIEWS[options.format](results, tagger.labels)
    else:
        lines = formats.write(options.format, documents(results, answers), notes)
    with open_output(options.out) as write:
        for line in lines:
            write(line)
    _print_notes(options.out or options.format, notes)
    _tell_cut(tagger)


def _load_tagger(options: argparse.Namespace) -> Any:
    if options.runtime == "keras":
        _import_tensorflow()
    from tagger.pipeline import Tagger

    return Tagger.load(options.bundle, options.runtime, gazetteer=options.gazetteer)


def _tell_cut(tagger: Any) -> None:
    """Say which mentions of the gazetteer do not fit the tagger's units."""
    cut = tagger.gazetteer.cut if tagger.gazetteer else None
    if cut:
        shown = ", ".join(f"{mention} ({count:,})" for mention, count in cut.most_common(5))
        print(f"tagger: mentions of the gazetteer that words cut, passed over ({cut.total():,}): {shown}",
              file=sys.stderr)  # fmt: skip


def _texts(given: list[str], files: list[str], form: str) -> Iterator[str]:
    from tagger import corpus

    yield from given
    for file in files:
        yield from corpus.texts(file, form)


def _print_notes(place: Any, notes: Any, all_of_them: bool = False) -> None:
    from tagger.corpus import told

    for note in told(notes, all_of_them):
        print(f"{place}: {note}", file=sys.stderr)


def _progress(items: Iterable[Any], text: Callable[[Any], str], shown: bool = True) -> Iterator[Any]:
    """Yield `items`, showing characters per second on standard error."""
    from tqdm import tqdm

    with tqdm(unit=" characters", unit_scale=True, disable=not shown, mininterval=0.5) as bar:
        for item in items:
            yield item
            bar.update(len(text(item)))


def export(options: argparse.Namespace) -> None:
    """Write the trained network in another form."""
    if options.to != "onnx":
        _import_tensorflow()
    from tagger import bundle as bundles
    from tagger.export import EXPORTERS

    found = bundles.load(options.bundle)
    EXPORTERS[options.to](found, options.out, options.force)
    print(f"{options.out}: written", file=sys.stderr)


def gazetteer(options: argparse.Namespace) -> None:
    """Keep a gazetteer in a bundle."""
    if bool(options.file) == options.remove:
        raise ConfigError("give either a gazetteer to keep, or --remove")
    from tagger import bundle as bundles

    bundles.keep_gazetteer(options.bundle, options.file)
    print(f"{options.bundle}: {'gazetteer kept' if options.file else 'no gazetteer'}", file=sys.stderr)


def vectors(options: argparse.Namespace) -> None:
    """Learn word2vec tables from any amount of text."""
    import tempfile

    from tagger.files import atomic_folder
    from tagger.learning.run import corpus_texts
    from tagger.text import UnitMaker
    from tagger.vectors import learn, save_tables

    config = _load_config(options)
    with atomic_folder(options.out, options.force) as folder, tempfile.TemporaryDirectory() as spool:
        counted = _progress(corpus_texts(options.files), lambda text: text)
        tables = learn(counted, UnitMaker(config.text), config.vectors, config.training.seed, Path(spool))
        save_tables(tables, folder)
    for table in tables:
        print(f"{options.out}: {table.name} {len(table.vocabulary):,} x {table.dimensions}", file=sys.stderr)


def convert(options: argparse.Namespace) -> None:
    """Write a corpus in another form."""
    from tagger import formats
    from tagger.corpus import convert
    from tagger.documents import Notes

    form = options.to or formats.of_name(options.out)
    if not form:
        raise ConfigError(f"{options.out}: the name does not say which form to write; add --to FORM")
    notes = Notes()
    out = None if str(options.out) == "-" else options.out
    documents = _documents(options.source, options.form, notes)
    texts, entities = convert(documents, out, form, options.force, notes)
    print(f"{options.out}: {texts:,} texts, {entities:,} entities, as {form}", file=sys.stderr)
    _print_notes(options.out, notes, all_of_them=True)


def _documents(path: Any, form: str, notes: Any) -> Iterator[Any]:
    """Yield the documents of a corpus, showing how far it has come; an error if there is none."""
    from tagger import corpus

    document = None
    for document in _progress(corpus.read(path, form, notes), lambda document: document.text):
        yield document
    if document is None:
        raise _no_text(path)


def _no_text(path: Any) -> CorpusError:
    return CorpusError(str(path), "at least one text", "none", "check the file and its form (--from)")


def inspect(options: argparse.Namespace) -> None:
    """Look at a corpus before training, or into a bundle."""
    from tagger.formats.brat import is_standoff

    if any(path.is_dir() and not is_standoff(path) for path in options.what):
        if len(options.what) > 1:
            raise ConfigError("inspect looks into one bundle at a time, or at the files of one corpus")
        _inspect_bundle(options)
        return
    from tagger.reports import inspection, pages

    config = _load_config(options)
    found = inspection.inspect(
        options.what, config.text, options.form, lambda some: _progress(some, lambda one: one.text)
    )
    for split in found["splits"]:
        _print_notes(split["file"], split["notes"])
        if not split["texts"]:
            raise _no_text(split["file"])
    if options.html:
        _write_page(options.html, pages.corpus_page(found))
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print_table(*pages.heading_and_rows(found))
        for line in pages.examples(found):
            print(line)


def _inspect_bundle(options: argparse.Namespace) -> None:
    from tagger import bundle as bundles
    from tagger.reports import inspection, pages

    found = inspection.inspect_bundle(bundles.load(options.what[0]))
    if options.html:
        _write_page(options.html, pages.bundle_page(options.what[0].name, found))
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for heading, rows in pages.bundle_tables(found).values():
            _print_table(heading, rows)
        if found["metrics"]:  # none of a network that is only pretrained
            _print_scores(found["metrics"])


def _write_page(path: Path, page: str) -> None:
    from tagger.files import open_output

    with open_output(path) as write:
        write(page)
    print(f"{path}: written", file=sys.stderr)


def serve(options: argparse.Namespace) -> None:
    """Answer HTTP requests, and show a page to tag and correct text on."""
    for package in ("starlette", "uvicorn", "prometheus_client", "markdown_it"):
        require(package, "serve")
    from tagger.serve.corrections import CorpusFile
    from tagger.serve.server import serve

    if not re.fullmatch("[!-~]*", options.token):
        raise ConfigError("--token must be of printable ASCII characters without spaces")
    limits = Limits(**{limit.name: getattr(options, f"max_{limit.name}") for limit in dataclasses.fields(Limits)})
    tagger = _load_tagger(options)
    save = CorpusFile(options.save) if options.save else None
    serve(tagger, options.host, options.port, limits, save, options.token)


def _import_tensorflow() -> None:
    """Import TensorFlow without what its native code prints while it loads; its warnings stay off."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            require("tensorflow", "train").config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
