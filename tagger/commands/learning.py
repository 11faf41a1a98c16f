"""The commands that learn: train, transfer, distil, pretrain, vectors."""

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from tagger.commands.base import (
    Command,
    add_config,
    add_force,
    add_reading,
    add_setting,
    add_words,
    load_config,
    reading_as_told,
    resumable,
)  # fmt: skip
from tagger.commands.clusters import add_cluster
from tagger.commands.output import print_scores, print_table
from tagger.errors import ConfigError
from tagger.imports import import_ray, import_tensorflow
from tagger.presets import RECIPES
from tagger.progress import silence
from tagger.sections import TrainingConfig

if TYPE_CHECKING:
    from tagger.config import Config
    from tagger.learning.labelling import Teachers
    from tagger.learning.run import Sources
    from tagger.text import UnitMaker
    from tagger.vectors import Table


# ---- train --------------------------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> None:
    """Train a tagger on a labelled corpus."""
    from tagger.learning.launching import SLURM, run_on_ray, set_from_slurm

    if options.replicas < 1:
        raise ConfigError(f"--replicas {options.replicas}: expected a number of at least 1")
    config = load_config(options)
    if options.cluster == SLURM:
        set_from_slurm()
    elif options.cluster:
        _check_files(options, config, "train", options.train, options.dev, *options.unlabelled)
        _check_corpora(options)
        alone = argparse.Namespace(**{**vars(options), "cluster": "", "replicas": 1})
        work = functools.partial(_train_here, alone)
        with resumable(f"{options.out}.training"):
            metrics = run_on_ray(work, options.cluster, options.replicas, config.training.gpu != -1)
        _print_metrics(options, metrics)
        return
    _print_metrics(options, _train_here(options))


def _train_here(options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, alone or as one of those that `TF_CONFIG` names, and return what `training.train` does."""
    from tagger.learning.workers import workers_here

    if not workers_here().chief:
        silence()
    config = load_config(options)
    _check_files(options, config, "train", options.train, options.dev, *options.unlabelled)
    _check_corpora(options)
    import_tensorflow()
    from tagger.learning import training

    with reading_as_told(options), resumable(f"{options.out}.training"):
        return training.train(
            config, _sources(options), options.out, options.resume, options.force, cards=options.replicas
        )


def _print_metrics(options: argparse.Namespace, metrics: dict[str, Any]) -> None:
    """Print the scores of a training; only the chief has them."""
    if not metrics:
        return
    print(f"\n{options.out}: epoch {metrics['epoch']}, scores on {options.dev}", file=sys.stderr)
    print_scores(metrics, sys.stderr)


def _check_files(options: argparse.Namespace, config: "Config", command: str, *corpora: Path) -> None:
    """Check what is read and written, before what takes long to import is imported."""
    from tagger.bundle import require_bundle
    from tagger.corpus import require_files
    from tagger.files.outputs import check_writable
    from tagger.learning.start import require_fitting

    require_files(corpora, command)
    start = getattr(options, "start", None)
    if start:
        require_bundle(start)
    else:
        require_fitting(config)
    check_writable(options.out, options.force, [*corpora, start], folder=True)


def _check_corpora(options: argparse.Namespace) -> None:
    """Check whether the texts can be trained on, in the same way."""
    from tagger.learning.checks import check_corpora

    check_corpora(options.train, options.dev)


def _sources(options: argparse.Namespace) -> "Sources":
    from tagger.learning.run import Sources

    start = options.start
    return Sources(options.train, options.dev, tuple(options.unlabelled), vectors=start, start=start)


def _add_train(parser: argparse.ArgumentParser) -> None:
    about = "more text to learn vectors from; beside the general tagger's vectors, only words that they lack get some"
    parser.add_argument("--unlabelled", nargs="+", default=[], metavar="F", type=Path, help=about)
    about = "graphics cards of this machine, or processes of the cluster, that share each batch (default: 1)"
    add_cluster(parser, "train in as many processes as --replicas says, or, slurm, in those that srun started", "slurm")
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help=about)
    _add_corpora(parser)


TRAIN = Command(
    train,
    _add_train,
    """
  tagger train --train train.jsonl --dev dev.jsonl --out bundle
  tagger train --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --set training.epochs=60
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --config contest
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --resume
""",
)


# ---- transfer -----------------------------------------------------------------------------------------------------


def transfer(options: argparse.Namespace) -> None:
    """Train a tagger on labelled and unlabelled texts, in rounds of self-training."""
    from tagger.learning.workers import require_alone

    require_alone("tagger transfer")
    config = load_config(options)
    _check_files(options, config, "transfer", options.train, options.dev, *options.unlabelled)
    _check_corpora(options)
    import_tensorflow()
    from tagger.learning import self_training

    teachers = _teachers(options.cluster)
    with resumable(f"{options.out}.transfer"):
        history = self_training.transfer(
            config, _sources(options), options.out, options.resume, options.force, teachers
        )  # fmt: skip
    chosen = self_training.best_round(history, config.training.metric)
    print(f"\n{options.out}: round {chosen}, scores on {options.dev}", file=sys.stderr)
    figures = {"precision": "precision", "recall": "recall", "F1": "f1"}
    if "top1" in history[0]:
        figures["top-1"] = "top1"
    rows = [
        (str(row["round"]), f"{row['predictions']['texts']:,}", f"{row['predictions']['entities']:,}",
         f"{100 * row['predictions']['labelled']:.1f}", *(f"{100 * row[key]:.2f}" for key in figures.values()))
        for row in history
    ]  # fmt: skip
    heading = ["round", "predicted texts", "entities", "characters labelled, %", *figures]
    print_table(heading, rows, sys.stderr)
    print_scores(history[chosen], sys.stderr)


def _teachers(cluster: str) -> "Teachers":
    """Return who tags the unlabelled texts: workers of a cluster, or this process if none is named."""
    from tagger.learning.labelling import on_this_machine

    if not cluster:
        return on_this_machine
    from tagger.cluster.teaching import on_cluster

    import_ray(cluster == "local")
    return on_cluster(cluster)


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    about = "texts to tag and to learn from"
    parser.add_argument("--unlabelled", nargs="+", required=True, metavar="F", type=Path, help=about)
    recipes = ", or ".join(f"{name} ({recipe.about})" for name, recipe in RECIPES.items())
    about = f"settings of the rounds: {recipes}; default: sure"
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="sure", help=about)
    add_setting(parser, "--rounds", "transfer.rounds")
    add_cluster(parser, "tag the unlabelled texts on a cluster")
    _add_corpora(parser)


TRANSFER = Command(
    transfer,
    _add_transfer,
    """
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled a.txt b.txt --out bundle --rounds 4
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt --out bundle --recipe contest
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --cluster local
  tagger transfer --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out bundle --resume
""",
)


# ---- distil -------------------------------------------------------------------------------------------------------


def distil(options: argparse.Namespace) -> None:
    """Train a small tagger on what several large ones believe of labelled and unlabelled texts."""
    from tagger.bundle import require_bundle
    from tagger.learning.run import Sources
    from tagger.learning.workers import require_alone

    require_alone("tagger distil")
    config = load_config(options)
    for teacher in options.teachers:
        require_bundle(teacher)
    _check_files(options, config, "distil", options.train, options.dev, *options.unlabelled)
    _check_corpora(options)
    import_tensorflow()
    from tagger.learning import distillation

    files = Sources(options.train, options.dev, tuple(options.unlabelled), teachers=tuple(options.teachers))
    with reading_as_told(options), resumable(f"{options.out}.distil"):
        metrics = distillation.distil(config, files, options.out, options.resume, options.force)
    _print_metrics(options, metrics)


def _add_distil(parser: argparse.ArgumentParser) -> None:
    about = "bundles that teach; without any, several are trained first (distil.teachers, distil.teacher)"
    parser.add_argument("teachers", nargs="*", metavar="TEACHER", type=Path, help=about)
    about = "texts that the teachers tag and the student learns"
    parser.add_argument("--unlabelled", nargs="+", default=[], metavar="F", type=Path, help=about)
    _add_corpora(parser, start=False)


DISTIL = Command(
    distil,
    _add_distil,
    """
  tagger distil --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out student
  tagger distil --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out student --config small
  tagger distil first second third --train train.jsonl --dev dev.jsonl --unlabelled more.txt --out student
  tagger distil --train train.jsonl --dev dev.jsonl --unlabelled more.txt.gz --out student --resume
""",
)


# ---- pretrain -----------------------------------------------------------------------------------------------------


def pretrain(options: argparse.Namespace) -> None:
    """Train the network on text without labels, as a start for train and transfer."""
    from tagger.learning.workers import require_alone

    require_alone("tagger pretrain")
    config = load_config(options)
    _check_files(options, config, "pretrain", *options.files)
    import_tensorflow()
    from tagger.learning import pretraining
    from tagger.learning.run import TextSources

    sources = TextSources(tuple(options.files), vectors=options.start, start=options.start)
    with resumable(f"{options.out}.training"):
        pretraining.pretrain(config, sources, options.out, options.resume, options.force)
    print(f"{options.out}: written; start from it with: tagger train --start {options.out} ...", file=sys.stderr)


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    _add_texts(parser, "BUNDLE", "the network")
    _add_fitting(parser)


PRETRAIN = Command(
    pretrain,
    _add_pretrain,
    """
  tagger pretrain more.txt.gz train.jsonl --out pretrained --set pretrain.epochs=10
  tagger pretrain ours.txt --start pretrained --out nearer
  tagger train --train train.jsonl --dev dev.jsonl --start nearer --out bundle
""",
)


# ---- vectors ------------------------------------------------------------------------------------------------------


def vectors(options: argparse.Namespace) -> None:
    """Learn word2vec tables from any amount of text."""
    import dataclasses
    import tempfile

    from tagger.files.outputs import atomic_folder
    from tagger.learning.tables import make_tables
    from tagger.progress import Stages
    from tagger.text import UnitMaker
    from tagger.vectors import TABLES, Table, vector_stages

    config = load_config(options)
    config = dataclasses.replace(config, vectors=dataclasses.replace(config.vectors, pretrained=""))
    _check_files(options, config, "vectors", *options.files, *([options.join] if options.join else []))
    units, names, tables = UnitMaker(config.text), TABLES[config.text.unit], list[Table]()
    with atomic_folder(options.out, options.force) as folder, tempfile.TemporaryDirectory() as spool:
        stages = Stages(vector_stages(names))
        make_tables(config, options.files, units, names, Path(spool), tables.append, stages)
        if options.join:
            tables = [
                _joined(table, options.join, units, config) if table.name == "word" else table for table in tables
            ]
        for table in tables:
            table.save(folder)
    for table in tables:
        print(f"{options.out}: {table.name} {len(table.vocabulary):,} x {table.dimensions}", file=sys.stderr)


def _joined(table: "Table", file: Path, units: "UnitMaker", config: "Config") -> "Table":
    import dataclasses

    from tagger.joined_vectors import joined
    from tagger.vector_files import load_word2vec

    most = dataclasses.replace(config.vectors, limit=_READY_MADE, storage="float32")
    return joined(table, load_word2vec(file, most, config.text.fold, config.text.simplify), units, config.vectors)


_READY_MADE = 200_000  # words that are read of a file to join; its first are its most frequent


def _add_vectors(parser: argparse.ArgumentParser) -> None:
    about = "ready-made word vectors to join with those that are learnt: a file of word2vec (text or binary) or GloVe"
    parser.add_argument("--join", metavar="F", type=Path, help=about)
    _add_texts(parser, "DIR", "the tables")
    _add_making(parser)


VECTORS = Command(
    vectors,
    _add_vectors,
    """
  tagger vectors news.txt.gz train.jsonl --out vectors
  tagger train --train train.jsonl --dev dev.jsonl --out bundle --set vectors.pretrained=vectors
  tagger vectors news.txt.gz train.jsonl --join wiki.vec.gz --out vectors
""",
)


# ---- options of several -------------------------------------------------------------------------------------------


def _add_texts(parser: argparse.ArgumentParser, out: str, what: str) -> None:
    parser.add_argument("files", nargs="+", metavar="F", type=Path, help="texts, or labelled corpora; .gz too")
    add_reading(parser, "files")
    _add_out(parser, out, what)


def _add_corpora(parser: argparse.ArgumentParser, start: bool = True) -> None:
    parser.add_argument("--train", required=True, metavar="F", type=Path, help="labelled corpus to learn from")
    about = "labelled corpus that picks the best epoch and calibrates probabilities"
    parser.add_argument("--dev", required=True, metavar="F", type=Path, help=about)
    add_reading(parser, "train", "dev", "unlabelled")
    _add_out(parser, "BUNDLE", "the tagger")
    _add_fitting(parser, start)


def _add_out(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    parser.add_argument("--out", required=True, metavar=name, type=Path, help=f"folder to write {what} to")


def _add_fitting(parser: argparse.ArgumentParser, start: bool = True) -> None:
    if start:
        about = (
            "what to start from (default: what pays for a corpus of this size, training.start = auto): the vectors "
            "and the network of a trained or pretrained bundle; or new, vectors or general, the same as "
            "--set training.start=..."
        )
        parser.add_argument("--start", metavar="BUNDLE|new|vectors|general", action=_Start, help=about)
    add_setting(parser, "--seed", "training.seed")
    parser.add_argument("--resume", action="store_true", help="continue what was interrupted")
    _add_making(parser)


class _Start(argparse.Action):
    """Takes the value of `--start`: one of the setting `training.start`, or the folder of a bundle."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        known = value in get_args(get_type_hints(TrainingConfig)["start"])
        setattr(namespace, "training.start", value if known else None)
        namespace.start = None if known else Path(value)


def _add_making(parser: argparse.ArgumentParser) -> None:
    add_words(parser)
    add_force(parser)
    add_config(parser)
