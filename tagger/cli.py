"""The `tagger` command: what it understands, and what it answers where something fails."""

import argparse
import dataclasses
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tagger import __version__, commands
from tagger.errors import ConfigError, TaggerError
from tagger.serve.limits import Limits

Run = Callable[[argparse.Namespace], None]  # what a command does

Command = Callable[[Run], argparse.ArgumentParser]  # adds a command of this function's name, told by its docstring

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
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled a.txt b.txt --out bundle --rounds 4
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt --out bundle --recipe contest
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --resume
""",
    "pretrain": """examples:
  tagger pretrain more.txt.gz train.jsonl --out pretrained --set pretrain.epochs=10
  tagger pretrain ours.txt --start pretrained --out nearer
  tagger train --train train.jsonl --dev dev.jsonl --start nearer --out bundle
""",
    "vectors": """examples:
  tagger vectors news.txt.gz train.jsonl --out vectors
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --set vectors.pretrained=vectors
""",
    "evaluate": """examples:
  tagger evaluate bundle test.jsonl
  tagger evaluate bundle test.jsonl --json
  tagger evaluate bundle test.jsonl --html report.html --train train.jsonl
  tagger evaluate bundle test.jsonl --gazetteer names.tsv
""",
    "predict": """examples:
  tagger predict bundle --text "遵义会议旧址，主要指召开遵义会议的那座小楼。"
  tagger predict bundle texts.txt.gz --out entities.jsonl
  tagger predict bundle texts.txt --format html --out page.html
  tagger predict bundle texts.txt --format labelstudio --out tasks.json
  cat texts.txt | tagger predict bundle - --format table
  tagger predict bundle texts.txt --gazetteer names.tsv
""",
    "serve": """examples:
  tagger serve bundle
  tagger serve bundle --save corrected.jsonl
  tagger serve bundle --host 0.0.0.0 --port 8080 --token "$(openssl rand -hex 16)"
  curl localhost:8000/tag -H 'Content-Type: application/json' -d '{"text": "李明在北京大学读书。"}'
  curl localhost:8000/tag -H 'Content-Type: application/x-ndjson' -T texts.jsonl -X POST
""",
    "gazetteer": """examples:
  tagger gazetteer bundle names.tsv
  tagger gazetteer bundle --remove
""",
    "export": """examples:
  tagger export bundle weights.safetensors --to weights
  tagger export bundle model.weights.h5 --to weights
  tagger export bundle served --to saved_model
  tagger export bundle folder --to onnx
  tagger export bundle model.tflite --to litert
""",
    "convert": """examples:
  tagger convert train.conll train.jsonl
  tagger convert train.jsonl train.bioes
  tagger convert export.json train.jsonl --from labelstudio
  tagger convert annotated_folder train.jsonl
""",
    "inspect": """examples:
  tagger inspect train.jsonl
  tagger inspect train.jsonl dev.jsonl --html corpus.html
  tagger inspect train.jsonl --config contest
  tagger inspect bundle --json
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
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(run: Run) -> argparse.ArgumentParser:
        about = (run.__doc__ or "").partition("\n")[0]
        made = parsers.add_parser(
            run.__name__,
            help=about[:1].lower() + about[1:].removesuffix("."),
            description=about,
            epilog=_EXAMPLES[run.__name__],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--debug", action="store_true", help="show a traceback where something fails")
        made.set_defaults(run=run)
        return made

    _add_learning(command)
    _add_tagging(command)
    _add_bundles_and_corpora(command)
    return parser


def _add_learning(command: Command) -> None:
    one = command(commands.train)
    one.add_argument("--unlabelled", nargs="+", default=[], metavar="F", type=Path, help="more text for the vectors")
    _add_training(one)

    one = command(commands.transfer)
    one.add_argument("--unlabelled", nargs="+", required=True, metavar="F", type=Path, help="texts without labels")
    about = "what is learnt from predictions: what is sure of them, or as in 2016 (default: sure)"
    one.add_argument("--recipe", choices=("sure", "contest"), default="sure", help=about)
    one.add_argument("--rounds", type=int, metavar="N", help="same as --set transfer.rounds=N (default: 3; contest: 4)")
    _add_training(one)

    one = command(commands.pretrain)
    one.add_argument("files", nargs="+", metavar="F", type=Path, help="text or labelled files, .gz too")
    one.add_argument("--out", required=True, metavar="BUNDLE", type=Path, help="folder to write the network to")
    _add_fitting(one)

    one = command(commands.vectors)
    one.add_argument("files", nargs="+", metavar="F", type=Path, help="text or labelled files, .gz too")
    one.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder to write the tables to")
    _add_making(one)


def _add_tagging(command: Command) -> None:
    one = command(commands.evaluate)
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("corpus", metavar="F", type=Path, help="labelled corpus")
    one.add_argument("--json", action="store_true", help="print the scores, errors and worst texts as JSON")
    one.add_argument("--html", metavar="F", type=Path, help="write an error report as a page")
    one.add_argument("--train", metavar="F", type=Path, help="training corpus, to tell seen from unseen mentions")
    _add_from(one)
    _add_runtime(one)

    one = command(commands.predict)
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("files", nargs="*", metavar="F", help="text, or a corpus; .gz too; - is standard input")
    one.add_argument("--text", action="append", default=[], help="a text given right here; may be repeated")
    one.add_argument("--out", metavar="F", type=Path, help="file to write to, instead of standard output")
    about = "a corpus format that is one file, or table or html (default: jsonl)"
    views = [*_formats(folders=False), "table", "html"]
    one.add_argument("--format", choices=views, default="jsonl", metavar="FORMAT", help=about)
    _add_from(one)
    _add_runtime(one)

    one = command(commands.serve)
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


def _add_bundles_and_corpora(command: Command) -> None:
    one = command(commands.gazetteer)
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("file", nargs="?", metavar="F", type=Path, help="gazetteer to keep, in place of the one there")
    one.add_argument("--remove", action="store_true", help="keep none")

    one = command(commands.export)
    one.add_argument("bundle", metavar="BUNDLE", help="folder of a trained tagger")
    one.add_argument("out", metavar="OUT", type=Path, help="file or folder to write")
    forms = ("weights", "saved_model", "onnx", "litert")
    about = "weights: a file; saved_model: a folder; onnx: a folder of model.onnx and tagger.json; litert: a file"
    one.add_argument("--to", choices=forms, required=True, help=about)
    one.add_argument("--force", action="store_true", help="replace what exists")

    one = command(commands.convert)
    one.add_argument("source", metavar="IN", help="corpus to read; .gz too; - is standard input")
    one.add_argument("out", metavar="OUT", type=Path, help="corpus to write; .gz too; - is standard output")
    _add_from(one)
    one.add_argument("--to", choices=_formats(), metavar="FORMAT", help="format of OUT (default: what its name says)")
    one.add_argument("--force", action="store_true", help="replace what exists")

    one = command(commands.inspect)
    about = "labelled files of one corpus, the one to train on first; or the folder of a tagger"
    one.add_argument("what", nargs="+", metavar="CORPUS|BUNDLE", type=Path, help=about)
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--html", metavar="F", type=Path, help="write a page with plots")
    _add_from(one)
    _add_config(one)


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", required=True, metavar="F", type=Path, help="labelled corpus to learn from")
    parser.add_argument("--dev", required=True, metavar="F", type=Path, help="labelled corpus that picks the best")
    parser.add_argument("--out", required=True, metavar="BUNDLE", type=Path, help="folder to write the tagger to")
    _add_fitting(parser)


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    about = "trained or pretrained bundle whose vectors and network to start from"
    parser.add_argument("--start", metavar="BUNDLE", type=Path, help=about)
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


def _formats(folders: bool = True) -> list[str]:
    from tagger.formats import FORMATS

    return [name for name, format in FORMATS.items() if folders or not format.folder]


def _add_from(parser: argparse.ArgumentParser) -> None:
    about = "format of what is read (default: detected from its content): " + ", ".join(_formats())
    parser.add_argument("--from", dest="source_format", choices=_formats(), default="", metavar="FORMAT", help=about)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", default="default", metavar="PRESET|F.toml", help="preset (default, contest) or a TOML file"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="change a setting; may be repeated"
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    about = "mentions that are to be entities, a line each: mention TAB label [TAB weight]"
    parser.add_argument("--gazetteer", metavar="F", type=Path, help=about)
    runtimes = ("onnx", "int8", "openvino", "keras")
    parser.add_argument("--runtime", choices=runtimes, default="onnx", help="engine (default: onnx)")


if __name__ == "__main__":
    sys.exit(main())
