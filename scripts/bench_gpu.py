"""Measure training on a graphics card: speed, memory, sharing, repeatability, and whether its bundle is the same.

Each part's figures are written as soon as they are there, and no part begins after --seconds: the same command goes on
with those that are missing. Speeds are those of the steps of all epochs but the first, making batches included, without
vectors, start-up and evaluations. Vectors are learnt in one pass unless --vectors gives some: that lowers F1.
"""

import argparse
import contextlib
import gc
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benching import (
    PROJECT,
    Figures,
    Rows,
    add_again_option,
    add_data_option,
    add_out_option,
    corpus_file,
    load_figures,
    machine,
    missing_runs,
    plain_table,
    save_run,
    say,
    tagger_command,
    write_json,
)

NAME = "bench_gpu"

MSRA_UNITS = 24_000_000  # of a default training on msra: 12 passes

PATIENCE = 120  # seconds that one of two trainings waits for the other

SMALL = "batches.units=2400"

# A little network, trained in seconds on any machine.
TINY = (
    "model.layers=[16, 16]", "model.char_dimensions=8", "vectors.word_dimensions=16", "vectors.char_dimensions=16",
    "vectors.bigram_dimensions=16", "vectors.learnt_dimensions=0", "training.learning_rate=0.02",
    "training.ema_momentum=0.9", "batches.texts=16",
)  # fmt: skip


def main() -> None:
    """Make the parts that are missing, as far as there is time, and show all."""
    options = parse_arguments()
    if options.worker:
        work_on(options)
        return
    begun, found = time.monotonic(), cards()
    if options.device == "card" and not found:
        sys.exit(f"{NAME}: TensorFlow finds no graphics card here; run it where there is one, or try it here with: "
                 "--device processor --tiny")  # fmt: skip
    settings = {"device": options.device, "tiny": options.tiny, "cap": options.cap, "vectors": str(options.vectors)}
    figures = load_figures(options.out, settings, {**machine("tensorflow", "keras", "numpy"), "cards": found})
    wanted = options.parts.split(",")
    if options.again:
        figures["runs"] = [run for run in figures["runs"] if run["part"] not in wanted]
    write_json(options.out, figures)
    for process, names in itertools.groupby(
        missing_runs(wanted, figures["runs"], key), lambda name: PARTS[name].process
    ):
        left = options.seconds - (time.monotonic() - begun)
        if left > 0:
            prepare(options)
            PROCESSES[process](options, list(names), left)
    figures = json.loads(options.out.read_text("utf-8"))
    print(plain_table(table(figures)))
    say(f"figures: {options.out}")
    if missing := missing_runs(wanted, figures["runs"], key):
        say(f"time is over, or a part failed; the same command goes on with: {', '.join(missing)}")
    else:
        shutil.rmtree(folder_of(options), ignore_errors=True)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parts = "\n".join(f"    {name:10} {part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        NAME, description=f"{__doc__}\nparts:\n{parts}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser, "core2016 and msra, each with train.jsonl and dev.jsonl")
    parser.add_argument("--vectors", type=Path, metavar="DIR", help="tables of `tagger vectors` of core2016")
    parser.add_argument("--device", choices=("card", "processor"), default="card", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="a trial: a little network, and the embedded sample")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="A,B", help="default: all, in the order above")
    about = "graphics memory of each of two trainings at once, in MiB (default: %(default)s)"
    parser.add_argument("--cap", type=int, default=4000, metavar="N", help=about)
    about = "no part begins later (default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=200, metavar="N", help=about)
    add_again_option(parser)
    add_out_option(parser, "gpu")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)  # the parts that this process makes
    options = parser.parse_args()
    if unknown := set(options.parts.split(",")) - PARTS.keys():
        parser.error(f"--parts: {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    return options


def key(run: Figures) -> str:
    """Return what distinguishes a run."""
    return str(run["part"])


# ---- processes --------------------------------------------------------------------------------------------------


def cards() -> list[str]:
    """Return the models of the graphics cards that TensorFlow sees."""
    from tagger.imports import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(card).get("device_name", "unknown") for card in found]


def folder_of(options: argparse.Namespace) -> Path:
    """Return the folder of what the parts share, until all are made."""
    return Path(options.out).with_suffix(".work").resolve()


def worker(options: argparse.Namespace, parts: str, seconds: float = PATIENCE) -> subprocess.Popen[bytes]:
    """Start a process of this script that makes some parts, or one of `two`."""
    command = [sys.executable, __file__, "--worker", parts, "--seconds", seconds, "--device", options.device]
    command += ["--data", options.data, "--out", options.out, "--cap", options.cap]
    command += ["--tiny"] if options.tiny else []
    return subprocess.Popen([str(part) for part in command], cwd=PROJECT)


def one_process(options: argparse.Namespace, names: Sequence[str], seconds: float) -> None:
    """Make parts in a process of their own, since a process cannot change its device."""
    worker(options, ",".join(names), seconds).wait()


def two_processes(options: argparse.Namespace, names: Sequence[str], seconds: float) -> None:
    """Train twice at once, and save the figures of both."""
    say(f"== two: {PARTS['two'].about}")
    files = [folder_of(options) / f"two.{number}.json" for number in range(2)]
    for file in files:
        file.unlink(missing_ok=True)
        file.with_suffix(".ready").unlink(missing_ok=True)
    with Samples() as samples:
        for process in [worker(options, file.stem) for file in files]:
            process.wait()
    if all(file.exists() for file in files):
        both = [json.loads(file.read_text("utf-8")) for file in files]
        speeds = [one["units_per_second"] for one in both]
        peaks = [one["peak_mib"] for one in both]
        save(options, "two", {
            "units_per_second": sum(speeds), "each": speeds, "peak_mib": None if None in peaks else max(peaks),
            "peaks_mib": peaks, "cap_mib": options.cap, **samples.figures(),
        })  # fmt: skip


def work_on(options: argparse.Namespace) -> None:
    """Make the parts of this process, each saved as soon as it is made."""
    from tagger.imports import import_tensorflow

    import_tensorflow()
    begun = time.monotonic()
    if options.worker.startswith("two."):
        write_json(folder_of(options) / f"{options.worker}.json", one_of_two(options))
        return
    for name in options.worker.split(","):
        if time.monotonic() - begun < options.seconds:
            say(f"== {name}: {PARTS[name].about}")
            save(options, name, PARTS[name].measure(options))


def save(options: argparse.Namespace, name: str, run: Figures) -> None:
    """Add the figures of a part to the file."""
    save_run(options.out, json.loads(options.out.read_text("utf-8")), {"part": name, **run}, key)


# ---- corpora, vectors, trainings --------------------------------------------------------------------------------


def prepare(options: argparse.Namespace) -> None:
    """Learn vectors in one pass, or take those that are given, unless they are there."""
    vectors = folder_of(options) / "vectors"
    if vectors.exists():
        return
    vectors.parent.mkdir(parents=True, exist_ok=True)
    if options.vectors:
        shutil.copytree(options.vectors, vectors)
        return
    train, _ = corpus(options, "core2016")
    changes = ["vectors.epochs=1", *(TINY if options.tiny else ())]
    changes = [part for change in changes for part in ("--set", change)]
    subprocess.run(tagger_command("vectors", train, "--out", vectors, *changes), cwd=PROJECT, check=True)


def corpus(options: argparse.Namespace, name: str, texts: int = 0) -> tuple[Path, Path]:
    """Return train and dev of a corpus, with this number of training texts at most; 0 for all."""
    files = [corpus_file(options.data, name, part) for part in ("train", "dev")]
    if options.tiny:
        files, texts = [PROJECT / "data" / f"{part}.jsonl" for part in ("train", "dev")], 240
    if texts:
        short = folder_of(options) / f"{name}.{texts}.jsonl"
        with files[0].open(encoding="utf-8") as lines:
            short.write_text("".join(itertools.islice(lines, texts)), "utf-8")
        files[0] = short
    return files[0], files[1]


@dataclass
class Training:
    """A training that is measured.

    Args:
        options: Of the command line.
        name: Of its bundle in the shared folder.
        corpus: Its name.
        settings: That differ from the preset.
        preset: Its name.
        texts: For training, at most; 0 for all.
        before_epoch: Called with the number of the epoch before its steps, the first of which has number 0.
    """

    options: argparse.Namespace
    name: str
    corpus: str
    settings: Sequence[str] = ()
    preset: str = "default"
    texts: int = 0
    before_epoch: Callable[[int], None] = lambda epoch: None
    spans: list[tuple[float, float]] = field(default_factory=list)  # of the steps of each epoch

    @property
    def bundle(self) -> Path:
        """Where it writes its bundle."""
        return folder_of(self.options) / self.name

    def run(self, resume: bool = False) -> Figures:
        """Train, and return speed, peak memory, losses, best F1, and how busy the card was."""
        import keras
        import tensorflow as tf

        from tagger.config import load
        from tagger.learning import training
        from tagger.learning.device import use_device
        from tagger.learning.run import Sources

        settings = [*(TINY if self.options.tiny else ()), *self.settings]
        if self.preset == "default":
            settings.append(f"vectors.pretrained={folder_of(self.options) / 'vectors'}")
        config = load(self.preset, settings)
        device = use_device(config.training)
        keras.backend.clear_session()
        gc.collect()
        if device.kind == "card":
            tf.config.experimental.reset_memory_stats("GPU:0")
        with self._watched(training), Samples() as samples:
            scores = training.train(
                config, Sources(*corpus(self.options, self.corpus, self.texts)), self.bundle, resume, replace=True
            )
        history = json.loads((self.bundle / "history.json").read_text("utf-8"))
        speeds = [row["units_per_second"] for row in history[1:] or history]
        return {
            "device": device.name, "units_per_second": statistics.median(speeds), "peak_mib": device.peak_mib,
            "f1": scores["f1"], "epochs": len(history), "losses": [row["loss"] for row in history],
            **samples.figures(self.spans[1:]),
        }  # fmt: skip

    @contextlib.contextmanager
    def _watched(self, training: Any) -> Iterator[None]:
        """Note when the steps of each epoch begin and end."""
        run_epoch = training.run_epoch

        def watched(step: Any, batches: Any, epoch: int, *more: Any) -> Any:
            self.before_epoch(epoch)
            begun = time.monotonic()
            result = run_epoch(step, batches, epoch, *more)
            self.spans.append((begun, time.monotonic()))
            return result

        training.run_epoch = watched
        try:
            yield
        finally:
            training.run_epoch = run_epoch


class Samples:
    """What `nvidia-smi` tells of the card several times a second; nothing where it is not there."""

    def __enter__(self) -> "Samples":
        self._rows: list[tuple[float, int, int]] = []  # time, share in use in percent, MiB in use by all programs
        query = [
            "nvidia-smi",
            "--query-gpu=utilization.gpu,memory.used",
            "--format=csv,noheader,nounits",
            "-lms",
            "200",
        ]
        self._process = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self._process
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    busy, used = map(int, line.split(","))
                    self._rows.append((time.monotonic(), busy, used))

    def figures(self, spans: Sequence[tuple[float, float]] = ()) -> Figures:
        """Return the mean share of the card that was in use during these times, and the most memory, driver included.

        Of several cards, lines alternate, and the mean is that of all.
        """
        inside = [busy for now, busy, _ in self._rows if any(begin <= now <= end for begin, end in spans)]
        return {
            "busy": statistics.mean(inside) / 100 if inside else None,
            "card_mib": max((used for *_, used in self._rows), default=None),
        }


# ---- parts ------------------------------------------------------------------------------------------------------


def small(options: argparse.Namespace) -> Figures:
    """Measure the batches of a processor on the device."""
    return Training(options, "small", "core2016", [SMALL, "training.epochs=2"], texts=2000).run()


def whole(options: argparse.Namespace) -> Figures:
    """Measure a whole training, its settings chosen for the device."""
    return Training(options, "training", "core2016", ["training.epochs=6"] if options.tiny else []).run()


def contest(options: argparse.Namespace) -> Figures:
    """Measure the preset of 2016."""
    settings = ["training.epochs=3", "vectors.epochs=1"]
    return Training(options, "contest", "core2016", settings, "contest").run()


def large_corpus(options: argparse.Namespace) -> Figures:
    """Measure the steps of a large corpus, and say how long those of a whole training take at that speed."""
    run = Training(options, "msra", "msra", ["training.epochs=2"], texts=0 if options.tiny else 20_000).run()
    return {**run, "extrapolated_seconds": MSRA_UNITS / run["units_per_second"]}


def repeat(options: argparse.Namespace) -> Figures:
    """Train twice with one seed, and compare losses and weights."""
    import numpy as np

    from tagger import bundle as bundles

    runs, weights = [], []
    for number in range(2):
        training = Training(options, f"repeat.{number}", "core2016", ["training.epochs=4"], texts=6000)
        runs.append(training.run())
        weights.append([weight.numpy() for weight in bundles.load(training.bundle).keras_model().weights])
    pairs = list(zip(*weights, strict=True))
    return {
        **runs[1],
        "same_losses": runs[0]["losses"] == runs[1]["losses"],
        "same_weights": all(np.array_equal(*pair) for pair in pairs),
        "largest_difference": max(float(np.abs(first - second).max()) for first, second in pairs),
    }


def parity(options: argparse.Namespace) -> Figures:
    """Tag dev by the Keras model on the device and by ONNX Runtime on the processor, and compare."""
    from tagger import Tagger
    from tagger.corpus import texts

    if not (bundle := folder_of(options) / "training").exists():
        whole(options)
    dev = list(texts(corpus(options, "core2016")[1]))
    found: dict[str, list[Any]] = {}
    figures: Figures = {"texts": len(dev)}
    for runtime in ("keras", "onnx"):
        tagger = Tagger.load(bundle, runtime)
        list(tagger.stream(dev[:100]))
        begun = time.monotonic()
        found[runtime] = list(tagger.stream(dev))
        figures[f"{runtime}_characters_per_second"] = sum(map(len, dev)) / (time.monotonic() - begun)
    pairs = list(zip(found["keras"], found["onnx"], strict=True))
    same = [[entity[:3] for entity in ours] == [entity[:3] for entity in theirs] for ours, theirs in pairs]
    scores = [
        abs(mine.score - other.score)
        for (ours, theirs), equal in zip(pairs, same, strict=True)
        if equal
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return {**figures, "same_texts": sum(same), "largest_score_difference": max(scores, default=0.0)}


def on_processor(options: argparse.Namespace) -> Figures:
    """Measure the processor beside the card."""
    settings = [SMALL, "training.epochs=2", "training.gpu=-1"]
    return Training(options, "processor", "core2016", settings, texts=2000).run()


RESUMED = ("training.epochs=2",)


def begin(options: argparse.Namespace) -> Figures:
    """Begin a training on the device, and interrupt it after its first epoch."""

    def stop(epoch: int) -> None:
        if epoch:
            raise KeyboardInterrupt

    training = Training(options, "resumed", "core2016", RESUMED, texts=1000, before_epoch=stop)
    shutil.rmtree(f"{training.bundle}.training", ignore_errors=True)
    with contextlib.suppress(KeyboardInterrupt):
        training.run()
    return {"checkpoint": Path(f"{training.bundle}.training", "checkpoint.npz").exists()}


def resume(options: argparse.Namespace) -> Figures:
    """Resume that training on the processor."""
    from tagger import bundle as bundles

    training = Training(options, "resumed", "core2016", [*RESUMED, "training.gpu=-1"], texts=1000)
    run = training.run(resume=True)
    return {**run, "steps_made_here": len(training.spans), "units": bundles.load(training.bundle).config.batches.units}


def one_of_two(options: argparse.Namespace) -> Figures:
    """Train while another process does: from the second epoch on, both are at it."""
    ready = [folder_of(options) / f"two.{number}.ready" for number in range(2)]

    def wait(epoch: int) -> None:
        if epoch == 1:
            (folder_of(options) / f"{options.worker}.ready").touch()
            begun = time.monotonic()
            while not all(file.exists() for file in ready) and time.monotonic() - begun < PATIENCE:
                time.sleep(0.01)

    settings = [f"training.gpu_memory_mib={options.cap}", "training.epochs=4"]
    return Training(options, options.worker, "core2016", settings, before_epoch=wait).run()


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Args:
        process: A key of `PROCESSES`; parts next to each other with the same one share a process.
        about: What it is, in one line.
        measure: Returns its figures.
    """

    process: str
    about: str
    measure: Callable[[argparse.Namespace], Figures]


PROCESSES: dict[str, Callable[[argparse.Namespace, Sequence[str], float], None]] = {
    "device": one_process,
    "processor": one_process,
    "two": two_processes,
}

PARTS = {
    "training": Part("device", "a whole training on core2016, all that is automatic chosen for the device", whole),
    "small": Part("device", "batches of 2,400 units, as on a processor", small),
    "msra": Part("device", "a large corpus; the steps of 24 million units extrapolated from one epoch", large_corpus),
    "contest": Part("device", "the preset of 2016, without a CRF", contest),
    "parity": Part("device", "entities by Keras on the device and by ONNX Runtime on the processor", parity),
    "repeat": Part("device", "the same training twice: to the bit?", repeat),
    "begin": Part("device", "a training that is interrupted after its first epoch", begin),
    "resume": Part("processor", "the same training, resumed on the processor", resume),
    "processor": Part("processor", "batches of 2,400 units, on the processor", on_processor),
    "two": Part("two", "two trainings at once, each with a hard cap on its memory", one_of_two),
}


# ---- table ------------------------------------------------------------------------------------------------------


def table(figures: Figures) -> Rows:
    """Return a row for each part that has been made."""
    rows: Rows = [("part", "k units/s", "busy", "peak, MiB", "with driver, MiB", "F1", "more")]
    for run in sorted(figures["runs"], key=lambda run: list(PARTS).index(run["part"])):
        cells = [
            shown(run.get("units_per_second"), ".1f", 1e-3),
            shown(run.get("busy"), ".0f", 100, " %"),
            shown(run.get("peak_mib"), ",.0f"),
            shown(run.get("card_mib"), ",.0f"),
            shown(run.get("f1"), ".2f", 100),
        ]
        more = {name: value for name, value in run.items() if name in MORE and value is not None}
        rows.append((run["part"], *cells, ", ".join(f"{name} {value}" for name, value in more.items())))
    return rows


MORE = (
    "epochs", "extrapolated_seconds", "same_losses", "same_weights", "largest_difference", "texts", "same_texts",
    "largest_score_difference", "keras_characters_per_second", "onnx_characters_per_second", "checkpoint",
    "steps_made_here", "units", "each", "cap_mib", "peaks_mib",
)  # fmt: skip


def shown(value: float | None, form: str, scale: float = 1, unit: str = "") -> str:
    """Return a figure as a cell."""
    return "-" if value is None else f"{value * scale:{form}}{unit}"


if __name__ == "__main__":
    main()
