"""Train several systems on every corpus, over several seeds: accuracy, reliability, time, memory, size.

`contest` is `tagger train --config contest` for 60 epochs, its vectors learnt from the training texts alone.
`small`, `default` and `large` are `tagger train` with these presets and with vectors learnt once, before, by `tagger
vectors` from the training texts of all corpora and the unlabelled texts, without any dev text; that takes two threads,
so it is not repeatable to the bit, and its time is reported apart. (`large` has vectors of its own size.) `general` is
`default` begun with the general tagger. With --large, `large` begins with that bundle instead: `scripts/make_general`
keeps such ones as `trained.distil/teacher_1` and so on in the folder of its work.
`taught-small` and `taught-default` are `tagger distil` with all unlabelled texts; their teachers are the bundles of
`default`, `general` and `large` of the same seed. These are kept beside the figures, made first if they are missing,
and their time is not that of the student.
`crfsuite` is a CRF without a network: see bench_crf.py. It has no seed, so it runs once.

Scores are entity precision, recall and F1 (strict: start, end and label), on dev. For `contest` and `default` they are
those of the bundle's metrics.json: dev also picks their epoch, and the probabilities of `default` are calibrated on it.
`crfsuite` uses no dev text. Top-1 is the share of texts whose most probable entity is an answer; where nothing was
predicted, all three name their most probable span.

Each training is a process of its own. Its seconds are from the start of that process to the finished model, reading
and segmenting included; the presets also score dev after each epoch. `crfsuite` is scored by another process, which
does not count. Peak memory is that of the process. The size is that of the bundle's folder or of the model file, in
millions of bytes. Spreads are sample standard deviations over seeds; reliability counts the entities of all seeds
together.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benching import (
    PROJECT,
    Figures,
    Rows,
    add_again_option,
    add_data_option,
    add_docs_option,
    add_out_option,
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
    size_mb,
    tagger_command,
    train_command,
    write_json,
)

NAME = "bench_accuracy"
PRESETS = {"contest": "contest", "small": "small", "default": "default", "general": "default", "large": "large"}
TAUGHT = {"taught-small": ("small", "vectors"), "taught-default": ("default", "auto")}  # the student: preset, start
TEACHERS = ("default", "general", "large")
SYSTEMS = (*PRESETS, *TAUGHT, "crfsuite")
SEEDS, FEWER_SEEDS = [1, 2, 3], {"msra": [1]}
NO_SEED = None
TOP1_OF = "core2016"  # the corpus that has answers
PACKAGES = ("tensorflow", "keras", "gensim", "numpy", "python-crfsuite")

# What the table shows: key in a run's figures, heading, format of the value.
COLUMNS = [
    ("f1", "entity F1", ".4f"),
    ("top1", "top-1", ".4f"),
    ("total_seconds", "seconds", ".0f"),
    ("peak_mb", "peak memory, MB", ".0f"),
    ("size_mb", "model, MB", ".1f"),
]

Run = tuple[str, str, int | None]  # corpus, system, seed


def main() -> None:
    """Make the runs that are missing, and show all."""
    options = parse_arguments()
    settings = {"data": str(options.data.resolve()), "vectors": str(options.vectors.resolve())}
    settings["large"] = str(options.large.resolve()) if options.large else ""
    figures = load_figures(options.out, {**settings, "epochs": options.epochs}, machine(*PACKAGES))
    rename_shares(figures["runs"])
    for corpus, system, seed in planned(options, figures["runs"]):
        if system not in ("contest", "crfsuite"):
            learn_vectors(options, figures)
        say(f"== {corpus}: {system}" + ("" if seed is NO_SEED else f", seed {seed}"))
        with tempfile.TemporaryDirectory(prefix="bench_accuracy_") as folder:
            measured = measure(options, corpus, system, seed, Path(folder))
        run = {"corpus": corpus, "system": system, "seed": seed, **measured}
        save_run(options.out, figures, run, key)
    rows, reliability, note = accuracy_rows(figures["runs"]), reliability_rows(figures["runs"]), vectors_note(figures)
    tables = [plain_table(table) for table in (rows, reliability) if table]
    print("\n\n".join(filter(None, (*tables, note))))
    if options.docs:
        fill_page(NAME, markdown_table(rows), note, markdown_table(reliability))
    say(f"figures: {options.out}")


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is trained."""
    about = "Train presets, students of several teachers and a CRF on every corpus, over several seeds."
    parser = argparse.ArgumentParser(NAME, description=about)
    vectors = PROJECT / "bench-out" / "vectors"
    add_data_option(parser, "corpora, each with train.jsonl and dev.jsonl, and unlabelled/*.gz")
    parser.add_argument("--corpora", type=name_list, metavar="A,B", help="some of them (default: all)")
    parser.add_argument("--systems", type=name_list, default=SYSTEMS, metavar="A,B", help=f"of {', '.join(SYSTEMS)}")
    add_seeds_option(parser, None, "1,2,3; for msra 1")
    about = "of default; learnt if absent (default: %(default)s)"
    parser.add_argument("--vectors", type=Path, default=vectors, metavar="DIR", help=about)
    parser.add_argument("--large", type=Path, metavar="BUNDLE", help="what large begins with (default: nothing)")
    add_out_option(parser, "accuracy")
    add_again_option(parser)
    add_docs_option(parser)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)  # of contest and default, to try the benchmark
    options = parser.parse_args()
    available = corpora(options.data)
    if not available:
        parser.error(f"{options.data}: no corpora; give the data with --data or TAGGER_DATA")
    options.corpora = options.corpora or available
    for given, known in ((options.corpora, available), (options.systems, SYSTEMS)):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is none of: {', '.join(known)}")
    if options.docs:
        marked_part(NAME)
    return options


def name_list(text: str) -> list[str]:
    """Return the names of an option, separated by commas."""
    return text.split(",")


def corpora(data: Path) -> list[str]:
    """Return the names of the folders that hold a train.jsonl and a dev.jsonl."""
    return sorted(
        file.parent.name for file in data.glob("*/train.jsonl") if corpus_file(data, file.parent.name, "dev").is_file()
    )


def planned(options: argparse.Namespace, runs: list[Figures]) -> list[Run]:
    """Return corpus, system and seed of each run that is to be made."""
    wanted: list[Run] = []
    for corpus in options.corpora:
        for system in options.systems:
            seeds = options.seeds or FEWER_SEEDS.get(corpus, SEEDS)
            wanted += [(corpus, system, seed) for seed in ([NO_SEED] if system == "crfsuite" else seeds)]
    return wanted if options.again else missing_runs(wanted, runs, key)


def rename_shares(runs: list[Figures]) -> None:
    """Give the shares of correct entities in figures of before 0.2.0 their present name."""
    for row in (row for run in runs for row in run.get("reliability", ()) if "correct" in row):
        row["accuracy"] = row.pop("correct")


def key(run: Figures) -> Run:
    """Return what distinguishes a run."""
    return run["corpus"], run["system"], run["seed"]


# ---- measuring --------------------------------------------------------------------------------------------------


def learn_vectors(options: argparse.Namespace, figures: Figures) -> None:
    """Learn the vectors of `default` unless they are there, and record the costs."""
    if options.vectors.is_dir():
        return
    texts = [corpus_file(options.data, corpus, "train") for corpus in corpora(options.data)]
    texts += sorted((options.data.resolve() / "unlabelled").glob("*.gz"))
    say(f"== vectors of {len(texts)} files")
    out = options.vectors.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    figures["vectors"] = run_measured(tagger_command("vectors", *texts, "--out", out, "--set", "vectors.workers=2"))
    write_json(options.out, figures)


def measure(options: argparse.Namespace, corpus: str, system: str, seed: int | None, folder: Path) -> Figures:
    """Train a system on a corpus and return its scores on dev, and its costs."""
    train, dev = (corpus_file(options.data, corpus, name) for name in ("train", "dev"))
    if seed is NO_SEED:
        scores, costs = measure_crfsuite(train, dev, folder)
    else:
        bundle = kept(options, corpus, system, seed) if system in TEACHERS else folder / "bundle"
        teachers = taught_by(options, corpus, seed) if system in TAUGHT else []
        costs = run_measured(training(options, corpus, system, seed, bundle, *teachers))
        scores = json.loads((bundle / "metrics.json").read_text("utf-8"))
        costs["size_mb"] = size_mb(bundle)
    names = ["precision", "recall", "f1", *(["top1"] if corpus == TOP1_OF else []), "reliability", "epoch"]
    return {name: scores[name] for name in names if name in scores} | costs


def training(options: argparse.Namespace, corpus: str, system: str, seed: int, out: Path, *teachers: Path) -> list[str]:
    """Return the command that trains a system."""
    train, dev = (corpus_file(options.data, corpus, name) for name in ("train", "dev"))
    epochs = options.epochs or (60 if system == "contest" else None)
    more: list[object] = ["--force", *teachers, *(["--set", f"training.epochs={epochs}"] if epochs else [])]
    unlabelled = ["--unlabelled", *sorted((options.data.resolve() / "unlabelled").glob("*.gz"))]
    starts = {"general": "general", "large": options.large and options.large.resolve()}
    preset, verb = PRESETS.get(system, system), "train"
    if system in TAUGHT:
        (preset, start), verb = TAUGHT[system], "distil"
        more += [*unlabelled, "--set", f"training.start={start}"]
    elif starts.get(system):
        more += ["--start", starts[system]]
    elif system == "large":
        more += unlabelled
    elif system != "contest":
        more += ["--set", f"vectors.pretrained={options.vectors.resolve()}"]
    return train_command(preset, train, dev, out, seed, *more, verb=verb)


def kept(options: argparse.Namespace, corpus: str, system: str, seed: int) -> Path:
    """Return where the bundle of a teacher is kept."""
    return options.out.resolve().parent / "teachers" / f"{corpus}-{system}-{seed}"


def taught_by(options: argparse.Namespace, corpus: str, seed: int) -> list[Path]:
    """Return the teachers of a student, which are made if they are missing."""
    teachers = {system: kept(options, corpus, system, seed) for system in TEACHERS}
    for system, bundle in teachers.items():
        if not bundle.is_dir():
            run_measured(training(options, corpus, system, seed, bundle))
    return list(teachers.values())


def measure_crfsuite(train: Path, dev: Path, folder: Path) -> tuple[Figures, Figures]:
    """Train a CRF and return its scores on dev, and its costs."""
    script, model, scores = Path(__file__).with_name("bench_crf.py"), folder / "model", folder / "scores.json"
    python = [sys.executable, "-W", "ignore", script]
    costs = run_measured([*python, "train", train, model])
    run_measured([*python, "score", model, dev, scores])
    return json.loads(scores.read_text("utf-8")), {**costs, "size_mb": size_mb(model)}


# ---- tables -----------------------------------------------------------------------------------------------------


def grouped(runs: list[Figures]) -> dict[tuple[str, str], list[Figures]]:
    """Return the runs of each corpus and system, in the order of the tables."""
    pairs = sorted({(run["corpus"], SYSTEMS.index(run["system"])) for run in runs})
    return {
        (corpus, SYSTEMS[number]): [run for run in runs if key(run)[:2] == (corpus, SYSTEMS[number])]
        for corpus, number in pairs
    }


def accuracy_rows(runs: list[Figures]) -> Rows:
    """Return mean and spread of the figures, a row for each corpus and system."""
    rows: Rows = [("corpus", "system", "seeds", *(heading for _, heading, _ in COLUMNS))]
    for (corpus, system), members in grouped(runs).items():
        cells = [mean_and_spread([run[name] for run in members if name in run], form) for name, _, form in COLUMNS]
        seeds = "none: it repeats" if members[0]["seed"] is NO_SEED else str(len(members))
        rows.append((corpus, system, seeds, *cells))
    return rows


def reliability_rows(runs: list[Figures]) -> Rows:
    """Return the share of correct entities among those `default` gives 0.5 to 0.6, 0.6 to 0.7, ..., for each corpus."""
    tenths = (0.5, 0.6, 0.7, 0.8, 0.9)
    rows: Rows = [("correct, of predicted entities", *(f"{tenth:.1f} to {tenth + 0.1:.1f}" for tenth in tenths))]
    for (corpus, system), members in grouped(runs).items():
        if system == "default":
            bins = [row for run in members for row in run.get("reliability", ())]
            rows.append((corpus, *(correct_share([row for row in bins if row["from"] == tenth]) for tenth in tenths)))
    return rows if len(rows) > 1 else []


def correct_share(bins: Sequence[Figures]) -> str:
    """Return the share of correct entities in rows of `Reliability.to_list`, as text."""
    predicted = sum(row["predicted"] for row in bins)
    correct = sum(row["predicted"] * row["accuracy"] for row in bins)
    return f"{100 * correct / predicted:.1f} % of {predicted:,}" if predicted else "-"


def vectors_note(figures: Figures) -> str:
    """Return the costs of the vectors as a sentence; nothing if they were there before."""
    costs = figures.get("vectors")
    if not costs:
        return ""
    return f"Vectors of `default`, learnt once: {costs['total_seconds']:.0f} s, {costs['peak_mb']:.0f} MB."


if __name__ == "__main__":
    main()
