"""Learning curves: what unlabelled text, or the general tagger, adds to few and to many labelled texts, over seeds.

For each number of labelled texts, drawn at random by the seed, six runs:

`supervised` is `tagger train --config default --start new`, its vectors learnt from these texts alone.
`vectors` is the same with --start vectors: the general tagger's vectors, and more for words that they lack.
`general` is the same with --start general: its vectors and its network.
`joint vectors` is the same with --vectors, which `tagger vectors` learns from all text, once, before.
`transfer` is `tagger transfer --config default` with the same vectors, started from a network that `tagger pretrain`
trains on all text, once, before (its time is reported apart). Round 0 is `pretrained`; the result is the best round
on dev.
`contest` is `tagger transfer --config contest --recipe contest` with 60 epochs in round 0; its `first prediction` is
round 0, and the result is the last round, as in 2016.

The unlabelled text is that of all training and dev texts; with --more, the first three learn vectors from the text of
these files as well. Scores are those on dev, which also picks the epoch, and the
round of `transfer`. Top-1 is the share of texts whose most probable entity is an answer. Each run is a process of its
own; spreads are sample standard deviations over seeds.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from benching import (
    Figures,
    Rows,
    add_again_option,
    add_data_option,
    add_docs_option,
    add_out_option,
    add_picture,
    add_seeds_option,
    corpus_file,
    fill_page,
    load_figures,
    machine,
    markdown_table,
    marked_part,
    mean_and_spread,
    missing_runs,
    plain_table,
    run_measured,
    save_run,
    say,
    tagger_command,
    train_command,
    write_json,
)

NAME = "bench_transfer"
JOBS = ("supervised", "vectors", "general", "joint", "transfer", "contest")
# What the tables show: name, the run it is of, and which of the run's rounds: the first, the last, or the best.
CURVES = [
    ("supervised", "supervised", "first"),
    ("general vectors", "vectors", "first"),
    ("general start", "general", "first"),
    ("joint vectors", "joint", "first"),
    ("pretrained", "transfer", "first"),
    ("transfer", "transfer", "best"),
    ("contest, first prediction", "contest", "first"),
    ("contest", "contest", "last"),
]
MEASURES = {"top1": "top-1", "f1": "entity F1"}

Run = tuple[int, str, int]  # number of labelled texts, job, seed


def main() -> None:
    """Make the runs that are missing, and show all."""
    options = parse_arguments()
    settings = {"corpus": options.corpus, "data": str(options.data.resolve())}
    settings |= {"vectors": str(options.vectors.resolve()), "set": options.set}
    settings |= {"more": list(map(str, options.more))} if options.more else {}
    figures = load_figures(options.out, settings, machine("tensorflow", "keras", "gensim", "numpy"))
    for texts, job, seed in planned(options, figures["runs"]):
        if job in ("joint", "transfer"):
            run_once(options, figures, "vectors", options.vectors)
        if job == "transfer":
            run_once(options, figures, "pretrain", options.pretrained, *with_vectors(options), "--resume")
        say(f"== {options.corpus}, {named(texts)} labelled texts: {job}, seed {seed}")
        with tempfile.TemporaryDirectory(prefix="bench_transfer_") as folder:
            run = {"texts": texts, "job": job, "seed": seed, **measure(options, texts, job, seed, Path(folder))}
        save_run(options.out, figures, run, key)
    tables = [rows(figures["runs"], measure) for measure in MEASURES]
    print("\n\n".join(plain_table(table) for table in [*tables, seconds(figures["runs"])] if table))
    picture = options.out.with_suffix(".png")
    draw(figures["runs"], picture)
    if options.docs:
        fill_page(NAME, *map(markdown_table, tables), add_picture(picture, "transfer.png", "Learning curves"))
    say(f"figures: {options.out}, {picture}")


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is trained."""
    about = "What unlabelled text, or the general tagger, adds to few and to many labelled texts, over seeds."
    parser = argparse.ArgumentParser(NAME, description=about)
    add_data_option(parser, "corpora, each with train.jsonl and dev.jsonl")
    parser.add_argument("--corpus", default="core2016", metavar="NAME", help="one of them (default: %(default)s)")
    parser.add_argument(
        "--texts", type=sizes, default=[250, 1000, 3000, 0], metavar="N,N,all", help="default: 250,1000,3000,all"
    )
    parser.add_argument(
        "--jobs", type=lambda given: given.split(","), default=JOBS, metavar="A,B", help=", ".join(JOBS)
    )
    add_seeds_option(parser, [1, 2, 3])
    parser.add_argument(
        "--vectors", type=Path, metavar="DIR", help="made if absent (default: vectors_CORPUS beside --out)"
    )
    parser.add_argument(
        "--pretrained", type=Path, metavar="BUNDLE", help="made if absent (default: pretrained_CORPUS beside --out)"
    )
    about = "more text to learn vectors from, in supervised, vectors and general"
    parser.add_argument(
        "--more", nargs="+", default=[], type=lambda file: Path(file).resolve(), metavar="F", help=about
    )
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="in every run")
    add_out_option(parser, "transfer")
    add_again_option(parser)
    add_docs_option(parser)
    options = parser.parse_args()
    if not corpus_file(options.data, options.corpus, "train").is_file():
        parser.error(f"{options.data}: no corpus {options.corpus}; give the data with --data or TAGGER_DATA")
    if unknown := set(options.jobs) - set(JOBS):
        parser.error(f"{', '.join(unknown)}: none of {', '.join(JOBS)}")
    if options.docs:
        marked_part(NAME)
    options.vectors = options.vectors or options.out.with_name(f"vectors_{options.corpus}")
    options.pretrained = options.pretrained or options.out.with_name(f"pretrained_{options.corpus}")
    return options


def sizes(text: str) -> list[int]:
    """Return the numbers of texts of an option, 0 for all."""
    return [0 if part == "all" else int(part) for part in text.split(",")]


def named(texts: int) -> str:
    """Return a number of texts as the tables show it."""
    return f"{texts:,}" if texts else "all"


def planned(options: argparse.Namespace, runs: list[Figures]) -> list[Run]:
    """Return texts, job and seed of each run that is to be made."""
    wanted = [(texts, job, seed) for seed in options.seeds for texts in options.texts for job in options.jobs]
    return wanted if options.again else missing_runs(wanted, runs, key)


def key(run: Figures) -> Run:
    """Return what distinguishes a run."""
    return run["texts"], run["job"], run["seed"]


def unlabelled(options: argparse.Namespace) -> list[Path]:
    """Return the files of unlabelled text."""
    return [corpus_file(options.data, options.corpus, name) for name in ("train", "dev")]


def set_options(options: argparse.Namespace) -> list[str]:
    """Return the settings of all runs as options of a command."""
    return [part for setting in options.set for part in ("--set", setting)]


def with_vectors(options: argparse.Namespace) -> list[str]:
    """Return the option that uses the vectors learnt from all text."""
    return ["--set", f"vectors.pretrained={options.vectors.resolve()}"]


def run_once(options: argparse.Namespace, figures: Figures, verb: str, out: Path, *more: str) -> None:
    """Run `tagger vectors` or `tagger pretrain` on all text, unless `out` is there, and record the costs."""
    if out.is_dir():
        return
    say(f"== {options.corpus}: {verb}")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = tagger_command(verb, *unlabelled(options), *set_options(options), *more, "--out", out.resolve())
    figures[verb] = run_measured(command)
    write_json(options.out, figures)


def measure(options: argparse.Namespace, texts: int, job: str, seed: int, folder: Path) -> Figures:
    """Make a run and return the scores of its rounds on dev, and its costs."""
    full, dev = (corpus_file(options.data, options.corpus, name) for name in ("train", "dev"))
    train, out = folder / "train.jsonl", folder / "bundle"
    lines = full.read_text("utf-8").splitlines(keepends=True)
    chosen = sorted(random.Random(seed).sample(range(len(lines)), texts or len(lines)))
    train.write_text("".join(lines[number] for number in chosen), "utf-8")
    text = ["--unlabelled", *options.more] if options.more else []
    jobs: dict[str, tuple[str, str, list[object]]] = {
        "supervised": ("default", "train", ["--start", "new", *text]),
        "vectors": ("default", "train", ["--start", "vectors", *text]),
        "general": ("default", "train", ["--start", "general", *text]),
        "joint": ("default", "train", [*with_vectors(options)]),
        "transfer": ("default", "transfer", [*with_vectors(options), "--start", options.pretrained.resolve()]),
        "contest": ("contest", "transfer", ["--set", "training.epochs=60", "--recipe", "contest"]),
    }
    config, verb, more = jobs[job]
    if verb == "transfer":
        more += ["--unlabelled", *unlabelled(options)]
    costs = run_measured(train_command(config, train, dev, out, seed, *set_options(options), *more, verb=verb))
    result = json.loads((out / "metrics.json").read_text("utf-8"))
    rounds = [result]
    if verb == "transfer":
        rounds = json.loads((folder / "bundle.transfer" / "rounds.json").read_text("utf-8"))
    best = next(number for number, row in enumerate(rounds) if row.items() >= result.items())
    names = ("precision", "recall", "f1", "top1", "epoch", "predictions")
    return {"rounds": [{name: row[name] for name in names if name in row} for row in rounds], "best": best, **costs}


# ---- tables and picture -----------------------------------------------------------------------------------------


def values(runs: list[Figures], texts: int, job: str, which: str, measure: str) -> list[float]:
    """Return a score of each run of a job on this number of texts."""
    picked = [run for run in runs if (run["texts"], run["job"]) == (texts, job)]
    scores = [run["rounds"][{"first": 0, "last": -1, "best": run["best"]}[which]] for run in picked]
    return [row[measure] for row in scores if measure in row]


def columns(runs: list[Figures]) -> list[int]:
    """Return the numbers of texts that runs have, all texts last."""
    return sorted({run["texts"] for run in runs}, key=lambda texts: texts or float("inf"))


def rows(runs: list[Figures], measure: str) -> Rows:
    """Return mean and spread of a score, a row for each curve; nothing where the corpus does not have it."""
    sizes = columns(runs)
    table: Rows = [(f"{MEASURES[measure]} on dev with labelled texts", *map(named, sizes))]
    for name, job, which in CURVES:
        cells = [mean_and_spread(values(runs, texts, job, which, measure), ".4f") for texts in sizes]
        if set(cells) != {"-"}:
            table.append((name, *cells))
    return table if len(table) > 1 else []


def seconds(runs: list[Figures]) -> Rows:
    """Return mean and spread of the time from command to bundle, a row for each job."""
    table: Rows = [("seconds with labelled texts", *map(named, columns(runs)))]
    for job in JOBS:
        times = [
            [run["total_seconds"] for run in runs if (run["texts"], run["job"]) == (texts, job)]
            for texts in columns(runs)
        ]
        if any(times):
            table.append((job, *(mean_and_spread(of_size, ".0f") for of_size in times)))
    return table


def draw(runs: list[Figures], path: Path) -> None:
    """Draw the curves of the first measure that the corpus has."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measure = next(measure for measure in MEASURES if rows(runs, measure))
    sizes = columns(runs)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, job, which in CURVES:
        points = [(place, values(runs, texts, job, which, measure)) for place, texts in enumerate(sizes)]
        points = [(place, [100 * value for value in scores]) for place, scores in points if scores]
        if len(points) >= min(2, len(sizes)):  # one point among curves would only flatten them
            means = [sum(scores) / len(scores) for _, scores in points]
            low = [mean - min(scores) for mean, (_, scores) in zip(means, points, strict=True)]
            high = [max(scores) - mean for mean, (_, scores) in zip(means, points, strict=True)]
            axes.errorbar([place for place, _ in points], means, (low, high), marker="o", capsize=3, label=name)
    axes.set(xticks=range(len(sizes)), xticklabels=map(named, sizes))
    axes.set(xlabel="labelled texts", ylabel=f"{MEASURES[measure]} on dev, %")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
