"""Compare a training that processes of this machine share, by `TF_CONFIG`, with that of one process.

Three things: how far the weights are apart after ten steps; F1 on dev after two epochs; and the same after the last
process was killed in the second epoch and one process alone went on. All with float32 products.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benching import PROJECT, Figures, add_data_option, add_out_option, corpus_file, machine, say, write_json

from tagger.learning.workers import VARIABLE, Workers, local_workers

STEPS, EPOCHS = 10, 2


def main() -> None:
    """Measure, print, and write the figures."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bench_replicas_") as folder:
        if options.steps_into:
            make_steps(options)
            return
        figures = {**machine("tensorflow", "keras", "numpy"), "processes": options.processes}
        figures |= compare_steps(options, Path(folder))
        figures |= compare_epochs(options, Path(folder))
    for name, value in figures.items():
        print(f"{name:32} {value:.3g}" if isinstance(value, float) else f"{name:32} {value}")
    write_json(options.out, figures)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    about = "Compare a training that several processes share with that of one."
    parser = argparse.ArgumentParser("bench_replicas", description=about)
    add_data_option(parser, "core2016")
    about = "tables of `tagger vectors` (default: learnt by this benchmark)"
    parser.add_argument("--vectors", type=Path, metavar="DIR", help=about)
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="that share it (default: 2)")
    parser.add_argument("--texts", type=int, default=0, metavar="N", help="of train and dev; 0 for all (default: 0)")
    parser.add_argument("--steps-into", type=Path, metavar="F", help=argparse.SUPPRESS)  # weights of a process
    parser.add_argument("--corpus", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    add_out_option(parser, "replicas")
    return parser.parse_args()


# ---- ten steps --------------------------------------------------------------------------------------------------
def compare_steps(options: argparse.Namespace, folder: Path) -> Figures:
    """Return the largest difference of a weight after ten steps."""
    import numpy as np

    corpus = cut_corpus(options, folder)
    vectors = options.vectors or folder / "vectors"
    if not options.vectors:
        run("vectors", corpus / "train.jsonl", "--out", vectors)
    options.vectors = vectors.resolve()
    common = ["--data", options.data, "--vectors", options.vectors, "--corpus", corpus]
    weights = []
    for workers in ([Workers()], local_workers(options.processes)):
        file = folder / f"{len(workers)}.npz"
        say(f"{STEPS} steps of {len(workers)}")
        command = [sys.executable, __file__, *map(str, common), "--steps-into", str(file)]
        wait([start(command, one) for one in workers])
        with np.load(file) as arrays:
            weights.append(dict(arrays))
    alone, shared = weights
    return {"weights_apart": max(float(np.abs(alone[name] - shared[name]).max()) for name in alone)}


def make_steps(options: argparse.Namespace) -> None:
    """Make ten steps, in one of the processes, and write the weights if it is the chief."""
    import numpy as np

    from tagger.config import load
    from tagger.learning.automatic import automatic_epochs, decide
    from tagger.learning.checks import check_corpora
    from tagger.learning.preparation import make_lookup, training_store
    from tagger.learning.replicas import use_replicas
    from tagger.learning.run import RunFolder, Sources
    from tagger.learning.training import make_step
    from tagger.tags import TagScheme
    from tagger.text import UnitMaker

    sources = Sources(options.corpus / "train.jsonl", options.corpus / "dev.jsonl")
    config = load("default", settings(options.vectors))
    replicas = use_replicas(config.training)
    with tempfile.TemporaryDirectory(prefix="bench_replicas_") as own:
        run_folder = RunFolder(Path(own, "run"), config, sources, resume=False)
        scheme, units = TagScheme(check_corpora(sources.train, sources.dev)), UnitMaker(config.text)
        lookup = make_lookup(run_folder, config, sources, units)
        store = training_store(run_folder, sources, units, lookup, scheme, config)
        units_here = int(store.lengths.sum())
        config = decide(config, replicas.device.kind, run_folder.folder, lambda: units_here, automatic_epochs)
        state, step, batches = make_step(config, scheme, lookup, store, None, replicas)
        for _, batch in zip(range(STEPS), batches.epoch(0), strict=False):
            step(*batch)
    replicas.agree()
    if replicas.workers.chief:
        np.savez(options.steps_into, *[weight.numpy() for weight in state.weights], *state.evaluated_weights())
    replicas.agree()


# ---- two epochs -------------------------------------------------------------------------------------------------
def compare_epochs(options: argparse.Namespace, folder: Path) -> Figures:
    """Return F1 and seconds of one process, of several, and of several of which one was killed."""
    figures: Figures = {}

    def train(name: str, workers: list[Workers], *more: str) -> list[subprocess.Popen[bytes]]:
        corpus = folder / "corpus"
        files = ["--train", corpus / "train.jsonl", "--dev", corpus / "dev.jsonl", "--out", folder / name]
        changed = [option for setting in settings(options.vectors) for option in ("--set", setting)]
        command = [sys.executable, "-m", "tagger", "train", *map(str, files), *changed, *more]
        return [start(command, one) for one in workers]

    for name, workers in (("one", [Workers()]), ("several", local_workers(options.processes))):
        say(f"{EPOCHS} epochs of {name}")
        begun = time.monotonic()
        wait(train(name, workers))
        figures[f"{name}_seconds"] = time.monotonic() - begun
    say("several, of which one is killed; one goes on")
    processes = train("killed", local_workers(options.processes))
    checkpoint = folder / "killed.training" / "checkpoint.npz"
    while not checkpoint.exists() and processes[0].poll() is None:
        time.sleep(0.05)
    processes[-1].send_signal(signal.SIGKILL)
    codes = [process.wait() for process in processes]
    if codes != [1] * (len(codes) - 1) + [-signal.SIGKILL]:
        sys.exit(f"bench_replicas: expected the others to stop with exit code 1, received {codes}")
    wait(train("killed", [Workers()], "--resume"))
    for name in ("one", "several", "killed"):
        history = json.loads((folder / name / "history.json").read_text("utf-8"))
        figures[f"{name}_f1"] = 100 * history[-1]["f1"]
    figures["f1_apart"] = max(abs(figures["one_f1"] - figures[f"{name}_f1"]) for name in ("several", "killed"))
    return figures


# ---- processes --------------------------------------------------------------------------------------------------
def settings(vectors: Path) -> list[str]:
    """Return the settings of all trainings."""
    return [f"vectors.pretrained={vectors}", f"training.epochs={EPOCHS}", "training.matmul_dtype=float32"]


def cut_corpus(options: argparse.Namespace, folder: Path) -> Path:
    """Return a folder with as many texts of train and dev as the options say."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for name in ("train", "dev"):
        lines = corpus_file(options.data, "core2016", name).read_text("utf-8").splitlines(keepends=True)
        (corpus / f"{name}.jsonl").write_text("".join(lines[: options.texts or None]), "utf-8")
    return corpus


def start(command: list[str], workers: Workers) -> subprocess.Popen[bytes]:
    """Start one of these workers; alone if there is no other."""
    environment = {**os.environ, VARIABLE: "" if workers.alone else workers.variable, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(command, cwd=PROJECT, env=environment)


def wait(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for processes; stop the benchmark if one fails."""
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"bench_replicas: exit codes {codes}")


def run(verb: str, *arguments: object) -> None:
    """Run one of tagger's commands."""
    subprocess.run([sys.executable, "-m", "tagger", verb, *map(str, arguments)], cwd=PROJECT, check=True)


if __name__ == "__main__":
    main()
