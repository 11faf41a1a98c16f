"""The `tagger` command: parses and prints, nothing else. Heavy imports wait until a command needs them."""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tagger import __version__
from tagger.errors import ConfigError, CorpusError, TaggerError, require
from tagger.limits import Limits

_EXAMPLES = {
    "": """examples:
  tagger train --train train.jsonl --dev dev.jsonl --out bundle
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger evaluate bundle test.jsonl
  tagger convert train.conll train.jsonl
""",
    "train": """examples:
  tagger train --train train.jsonl --dev dev.jsonl --out bundle
  tagger train --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --set training.epochs=60
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --config contest
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --resume
""",
    "transfer": """examples:
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled a.txt b.txt --out bundle --rounds 2
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt --out bundle --scheme contest
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --resume
""",
    "pretrain": """examples:
  tagger pretrain more.txt.gz train.jsonl --out pretrained --set training.epochs=10
  tagger train --train train.jsonl --dev dev.jsonl --start pretrained --out bundle
""",
    "evaluate": """examples:
  tagger evaluate bundle test.jsonl
  tagger evaluate bundle test.jsonl --json
  tagger evaluate bundle test.jsonl --html report.html --train train.jsonl
  tagger evaluate bundle test.jsonl --dictionary names.tsv
""",
    "predict": """examples:
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger predict bundle texts.txt.gz --out entities.jsonl
  tagger predict bundle texts.txt --format html --out page.html
  tagger predict bundle texts.txt --format labelstudio --out tasks.json
  cat texts.txt | tagger predict bundle - --format table
  tagger predict bundle texts.txt --dictionary names.tsv
""",
    "export": """examples:
  tagger export bundle weights.safetensors --to weights
  tagger export bundle model.weights.h5 --to weights
  tagger export bundle served --to saved_model
  tagger export bundle folder --to onnx
  tagger export bundle model.tflite --to litert
""",
    "dictionary": """examples:
  tagger dictionary bundle names.tsv
  tagger dictionary bundle --remove
""",
    "vectors": """examples:
  tagger vectors news.txt.gz train.jsonl --out vectors
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --set vectors.pretrained=vectors
""",
    "convert": """examples:
  tagger convert train.conll train.jsonl
  tagger convert train.jsonl train.bioes
  tagger convert export.json train.jsonl --from labelstudio
  tagger convert brat_folder train.jsonl
  tagger convert train.jsonl brat_folder --to brat
""",
    "inspect": """examples:
  tagger inspect train.jsonl
  tagger inspect train.jsonl dev.jsonl --html corpus.html
  tagger inspect train.jsonl --config contest
  tagger inspect bundle --json
""",
    "serve": """examples:
  tagger serve bundle
  tagger serve bundle --save corrected.jsonl
  tagger serve bundle --host 0.0.0.0 --port 8080 --token "$(openssl rand -hex 16)"
  curl localhost:8000/tag -H 'Content-Type: application/json' -d '{"text": "李明在北京大学读书。"}'
  curl localhost:8000/tag -H 'Content-Type: application/x-ndjson' -T texts.jsonl -X POST
""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 done, 1 data or model at fault, 2 wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a lone surrogate becomes what JSON writes for it
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 2
    try:
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
    except KeyboardInterrupt:
        print("tagger: interrupted", file=sys.stderr)
        return 130


def _fail(error: Exception, debug: bool, code: int) -> int:
    if debug:
        raise error
    print(f"tagger: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tagger",
        description="Train your own Chinese entity tagger, and tag text with it. 训练自己的中文实体识别模型。",
        epilog=_EXAMPLES[""],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tagger {__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=_EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--debug", action="store_true", help="show a traceback where something fails")
        made.set_defaults(run=run)
        return made

    one = command("train", _train, "train a tagger on a labelled corpus")
    one.add_argument("--unlabelled", nargs="+", default=[], metavar="F", type=Path, help="more text for the vectors")
    _add_training(one)

    one = command("transfer", _transfer, "train a tagger on labelled and unlabelled texts, in rounds")
    one.add_argument("--unlabelled", nargs="+", required=True, metavar="F", type=Path, help="texts without labels")
    about = "what is learnt from predictions: what is sure of them, or as in 2016 (default: sure)"
    one.add_argument("--scheme", choices=("sure", "contest"), default="sure", help=about)
    one.add_argument("--rounds", type=int, metavar="N", help="same as --set transfer.rounds=N (default: 4)")
    _add_training(one)

    one = command("pretrain", _pretrain, "train the network on text without labels, to start from")
    one.add_argument("files", nargs="+", metavar="F", type=Path, help="text or labelled files, .gz too")
    one.add_argument("--out", required=True, metavar="BUNDLE", type=Path, help="folder to write the network to")
    one.add_argument("--seed", type=int, metavar="N", help="same as --set training.seed=N")
    one.add_argument("--resume", action="store_true", help="go on with what was interrupted")
    _add_making(one)

    one = command("evaluate", _evaluate, "score a tagger on a labelled corpus")
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("corpus", metavar="F", type=Path, help="labelled corpus")
    one.add_argument("--json", action="store_true", help="print the scores, errors and worst texts as JSON")
    one.add_argument("--html", metavar="F", type=Path, help="write an error report as a page")
    one.add_argument("--train", metavar="F", type=Path, help="training corpus, to tell seen from unseen mentions")
    _add_from(one)
    _add_runtime(one)

    one = command("predict", _predict, "find the entities in text")
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("files", nargs="*", metavar="F", help="text, or a corpus; .gz too; - is standard input")
    one.add_argument("--text", action="append", default=[], help="a text given right here; may be repeated")
    one.add_argument("--out", metavar="F", type=Path, help="file to write to, instead of standard output")
    about = "a form of corpus (not brat, which convert makes), or table or html (default: jsonl)"
    views = [*(form for form in _forms() if form != "brat"), "table", "html"]
    one.add_argument("--format", choices=views, default="jsonl", metavar="FORM", help=about)
    _add_from(one)
    _add_runtime(one)

    one = command("export", _export, "write the trained network in another form")
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("out", metavar="OUT", type=Path, help="file or folder to write")
    forms = ("weights", "saved_model", "onnx", "litert")
    about = "weights: a file; saved_model: a folder; onnx: a folder of model.onnx and tagger.json; litert: a file"
    one.add_argument("--to", choices=forms, required=True, help=about)
    one.add_argument("--force", action="store_true", help="replace what exists")

    one = command("dictionary", _dictionary, "keep a dictionary of one's own in a bundle")
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("file", nargs="?", metavar="F", type=Path, help="dictionary to keep, in place of the one there")
    one.add_argument("--remove", action="store_true", help="keep none")

    one = command("vectors", _vectors, "learn word2vec tables from any amount of text")
    one.add_argument("files", nargs="+", metavar="F", type=Path, help="text or labelled files, .gz too")
    one.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder to write the tables to")
    _add_making(one)

    one = command("convert", _convert, "write a corpus in another form")
    one.add_argument("source", metavar="IN", help="file, or folder of brat files; .gz too; - is standard input")
    one.add_argument("out", metavar="OUT", type=Path, help="file, or folder for brat; .gz too; - is standard output")
    _add_from(one)
    one.add_argument("--to", choices=_forms(), metavar="FORM", help="form of OUT (default: what its name says)")
    one.add_argument("--force", action="store_true", help="replace what exists")

    one = command("inspect", _inspect, "look at a corpus before training, or into a bundle")
    about = "labelled files of one corpus, the one to train on first; or the folder of a tagger"
    one.add_argument("what", nargs="+", metavar="CORPUS|BUNDLE", type=Path, help=about)
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--html", metavar="F", type=Path, help="write a page with plots")
    _add_from(one)
    _add_config(one)

    one = command("serve", _serve, "answer HTTP requests, and show a page to tag and correct text on")
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"
    )
    one.add_argument("--port", type=_port, default=8000, metavar="N", help="port; 0 for any free one (default: 8000)")
    about = "what clients must show as Authorization: Bearer TOKEN (default: $TAGGER_TOKEN, or nothing)"
    one.add_argument("--token", default=os.environ.get("TAGGER_TOKEN", ""), help=about)
    about = "corpus file that the page adds corrected texts to; --train takes it"
    one.add_argument("--save", metavar="F.jsonl", type=Path, help=about)
    _add_runtime(one)
    for limit in dataclasses.fields(Limits):
        about = f"{limit.metadata['about']} (default: {limit.default:,})"
        one.add_argument(f"--max-{limit.name}", type=_positive, default=limit.default, metavar="N", help=about)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", required=True, metavar="F", type=Path, help="labelled corpus to learn from")
    parser.add_argument("--dev", required=True, metavar="F", type=Path, help="labelled corpus that picks the best")
    parser.add_argument("--out", required=True, metavar="BUNDLE", type=Path, help="folder to write the tagger to")
    parser.add_argument("--start", metavar="BUNDLE", type=Path,
                        help="trained or pretrained bundle whose vectors and network to start from")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="same as --set training.seed=N")
    parser.add_argument("--resume", action="store_true", help="go on with what was interrupted")
    _add_making(parser)


def _add_making(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--words", metavar="F", type=Path, help="words to add to the segmenter, one a line")
    parser.add_argument("--force", action="store_true", help="replace what exists")
    _add_config(parser)


def _port(given: str) -> int:
    value = int(given)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return value


def _positive(given: str) -> int:
    value = int(given)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _forms() -> list[str]:
    from tagger.formats import FORMS

    return list(FORMS)


def _add_from(parser: argparse.ArgumentParser) -> None:
    about = "form of what is read (default: told from its content): " + ", ".join(_forms())
    parser.add_argument("--from", dest="form", choices=_forms(), default="", metavar="FORM", help=about)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default="default", metavar="PRESET|F.toml", help="preset (default, contest) or a TOML file"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="change a setting; may be repeated"
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    about = "mentions that are to be entities, a line each: mention TAB label [TAB weight]"
    parser.add_argument("--dictionary", metavar="F", type=Path, help=about)
    runtimes = ("onnx", "int8", "openvino", "keras")
    parser.add_argument("--runtime", choices=runtimes, default="onnx", help="engine (default: onnx)")


def _load_config(options: argparse.Namespace) -> Any:
    from tagger import config, corpus, text

    overrides = list(options.set)
    if getattr(options, "seed", None) is not None:
        overrides.append(f"training.seed={options.seed}")
    if getattr(options, "rounds", None) is not None:
        overrides.append(f"transfer.rounds={options.rounds}")
    loaded = config.load(options.config, overrides, getattr(options, "scheme", ""))
    if getattr(options, "words", None):
        with corpus.open_text(options.words) as lines:
            words = list(text.read_words((line for _, line in lines), str(options.words)))
        loaded = config.merge(loaded, {"text": {"words": [*loaded.text.words, *words]}}, str(options.words))
    return loaded


def _train(options: argparse.Namespace) -> None:
    config = _load_config(options)
    _import_tensorflow()
    from tagger.training import train

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
    from tagger.workplace import Sources

    start = options.start
    return Sources(options.train, options.dev, tuple(options.unlabelled), vectors=start, start=start)


def _pretrain(options: argparse.Namespace) -> None:
    config = _load_config(options)
    _import_tensorflow()
    from tagger.pretrain import pretrain

    with _resumable(f"{options.out}.training"):
        pretrain(config, options.files, options.out, options.resume, options.force)
    print(f"{options.out}: written; start from it with: tagger train --start {options.out} ...", file=sys.stderr)


def _transfer(options: argparse.Namespace) -> None:
    config = _load_config(options)
    _import_tensorflow()
    from tagger.transfer import best, transfer

    with _resumable(f"{options.out}.transfer"):
        history = transfer(config, _sources(options), options.out, options.resume, options.force)
    print(f"\n{options.out}: round {best(history)}, scores on {options.dev}", file=sys.stderr)
    figures = ("precision", "recall", "f1", *(["top1"] if "top1" in history[0] else []))
    rows = [
        (str(row["round"]), f"{row['predicted']['texts']:,}", f"{row['predicted']['entities']:,}",
         f"{100 * row['predicted']['labelled']:.1f}", *(f"{100 * row[name]:.2f}" for name in figures))
        for row in history
    ]  # fmt: skip
    heading = ["round", "predicted texts", "entities", "characters labelled, %", "precision", "recall", "F1", "top-1"]
    _print_table(heading[: 4 + len(figures)], rows, file=sys.stderr)
    _print_scores(history[best(history)], file=sys.stderr)


def _evaluate(options: argparse.Namespace) -> None:
    from tagger import analysis, corpus, report
    from tagger.pipeline import evaluate

    tagger = _load_tagger(options)
    notes = corpus.Notes()
    trained = analysis.mentions(corpus.read(options.train, options.form)) if options.train else None
    documents = _documents(options.corpus, options.form, notes)
    scores = evaluate(tagger, documents, analysis.Analysis(trained=trained)).to_dict()
    _print_notes(options.corpus, notes)
    if options.html:
        _write_page(options.html, report.evaluation_page(str(options.corpus), scores))
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


def _predict(options: argparse.Namespace) -> None:
    if not options.files and not options.text:
        raise ConfigError("nothing to tag: give files, - for standard input, or --text")
    from tagger import formats
    from tagger.convert import open_output
    from tagger.documents import Notes
    from tagger.output import VIEWS, documents

    tagger = _load_tagger(options)
    answers, notes = options.format == "contest", Notes()
    results = tagger.results(_texts(options.text, options.files, options.form), answers)
    if options.files:
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

    return Tagger.load(options.bundle, options.runtime, dictionary=options.dictionary)


def _tell_cut(tagger: Any) -> None:
    """Say which mentions of the dictionary do not fit the tagger's units."""
    cut = tagger.dictionary.cut if tagger.dictionary else None
    if cut:
        shown = ", ".join(f"{mention} ({count:,})" for mention, count in cut.most_common(5))
        print(f"tagger: mentions of the dictionary that words cut, passed over ({cut.total():,}): {shown}",
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


def _export(options: argparse.Namespace) -> None:
    if options.to != "onnx":
        _import_tensorflow()
    from tagger import bundle
    from tagger.export import FORMS

    found = bundle.load(options.bundle)
    FORMS[options.to](found, options.out, options.force)
    print(f"{options.out}: written", file=sys.stderr)


def _dictionary(options: argparse.Namespace) -> None:
    if bool(options.file) == options.remove:
        raise ConfigError("give either a dictionary to keep, or --remove")
    from tagger import bundle

    bundle.keep_dictionary(options.bundle, options.file)
    print(f"{options.bundle}: {'dictionary kept' if options.file else 'no dictionary'}", file=sys.stderr)


def _vectors(options: argparse.Namespace) -> None:
    import tempfile

    from tagger import bundle
    from tagger.text import UnitMaker
    from tagger.vectors import learn, save_tables
    from tagger.workplace import corpus_texts

    config = _load_config(options)
    with bundle.atomic_folder(options.out, options.force) as folder, tempfile.TemporaryDirectory() as spool:
        counted = _progress(corpus_texts(options.files), lambda text: text)
        tables = learn(counted, UnitMaker(config.text), config.vectors, config.training.seed, Path(spool))
        save_tables(tables, folder)
    for table in tables:
        print(f"{options.out}: {table.name} {len(table.vocabulary):,} x {table.dimensions}", file=sys.stderr)


def _convert(options: argparse.Namespace) -> None:
    from tagger import formats
    from tagger.convert import convert
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
        raise CorpusError(str(path), "at least one text", "none", "check the file and its form (--from)")


def _inspect(options: argparse.Namespace) -> None:
    from tagger.standoff import is_standoff

    if any(path.is_dir() and not is_standoff(path) for path in options.what):
        if len(options.what) > 1:
            raise ConfigError("inspect looks into one bundle at a time, or at the files of one corpus")
        _inspect_bundle(options)
        return
    from tagger import inspection, report

    config = _load_config(options)
    found = inspection.inspect(
        options.what, config.text, options.form, lambda some: _progress(some, lambda one: one.text)
    )
    for split in found["splits"]:
        _print_notes(split["file"], split["notes"])
        if not split["texts"]:
            raise CorpusError(split["file"], "at least one text", "none", "check the file and its form (--from)")
    if options.html:
        _write_page(options.html, report.corpus_page(found))
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print_table(*report.heading_and_rows(found))
        for line in report.examples(found):
            print(line)


def _inspect_bundle(options: argparse.Namespace) -> None:
    from tagger import bundle, inspection, report

    found = inspection.inspect_bundle(bundle.load(options.what[0]))
    if options.html:
        _write_page(options.html, report.bundle_page(options.what[0].name, found))
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for heading, rows in report.bundle_tables(found).values():
            _print_table(heading, rows)
        if found["metrics"]:  # none of a network that is only pretrained
            _print_scores(found["metrics"])


def _write_page(path: Path, page: str) -> None:
    from tagger.convert import open_output

    with open_output(path) as write:
        write(page)
    print(f"{path}: written", file=sys.stderr)


def _serve(options: argparse.Namespace) -> None:
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from tagger.saving import CorpusFile
    from tagger.serve import serve

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


if __name__ == "__main__":
    sys.exit(main())
