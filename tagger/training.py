"""Fit the network, keep the best weights by entity F1 on dev, go on after an interruption."""

import itertools
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tagger import bundle as bundles
from tagger import corpus
from tagger.batches import Batches, BatchMaker, Store, StoreWriter
from tagger.config import Config, TrainingConfig
from tagger.corpus import Alignment, Document
from tagger.decode import Transitions
from tagger.errors import TrainingError, VectorsError, require
from tagger.export import fresh_model, write_onnx
from tagger.pipeline import Tagger, evaluate
from tagger.runtime import KerasRuntime
from tagger.tags import TagScheme
from tagger.text import UnitMaker, windows
from tagger.vectors import TABLES, Lookup, Table, learn, load_tables, load_word2vec, save_tables


@dataclass(frozen=True)
class Sources:
    """The files a training reads.

    Args:
        train: Labelled corpus.
        dev: Labelled corpus that picks the best epoch.
        unlabelled: More text for the vectors.
    """

    train: Path
    dev: Path
    unlabelled: tuple[Path, ...] = ()

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each file."""
        files = [self.train, self.dev, *self.unlabelled]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise TrainingError(f"{missing[0]}: no such file")
        return {str(file): bundles.sha256(file) for file in files}


def train(config: Config, sources: Sources, out: Path, resume: bool = False, replace: bool = False) -> dict[str, Any]:
    """Train a tagger and write its bundle.

    What is done is kept beside the bundle, in `OUT.training`, until the bundle is there: an interrupted training
    goes on with `resume` at the last whole epoch, and ends with the weights it would have had.

    Args:
        config: All settings.
        sources: The files to read; they are streamed.
        out: The bundle's folder.
        resume: Go on with an interrupted training; start one where there is none.
        replace: Whether an existing bundle may be replaced.

    Returns:
        Scores of the kept weights on dev, as `Scores.to_dict`, and the number of the kept epoch.

    Raises:
        TaggerError: If a file, a setting or the place to write to is at fault.
    """
    require("tensorflow", "train")
    bundles.refuse_existing(out, replace)
    work = Workplace(out.with_name(out.name + ".training"), config, sources, resume)
    use_device(config.training)
    scheme = TagScheme(work.labels())
    if not scheme.labels:
        raise TrainingError(f"{sources.train}: has no entity to learn from")
    units = UnitMaker(config.text)
    lookup = Lookup(work.tables(units))
    store = work.store(units, lookup, scheme)
    fitted = fit(config, scheme, units, lookup, store, sources.dev, work)
    metrics = {**fitted.best_scores, "epoch": fitted.best_epoch, "seed": config.training.seed}

    def write_network(folder: Path) -> None:
        bare = fresh_model(config, scheme, lookup)  # without the optimizer's state, twice the weights
        bare.set_weights(fitted.model.get_weights())
        bare.save_weights(folder / bundles.WEIGHTS)
        write_onnx(fitted.model, lookup.columns, folder / bundles.ONNX)
        draw_curves(fitted.history, folder / "curves.png")

    reports = {"history.json": fitted.history, "metrics.json": metrics, "alignment.json": work.alignment()}
    bundles.save(
        out, config, scheme, fitted.tagger.transitions, lookup, units.segmenter, write_network, reports, replace
    )
    work.remove()
    return metrics


class Workplace:
    """The folder in which a training keeps what it has done.

    Each step writes its result under a temporary name and renames it, so that what is there is whole.

    Args:
        folder: `OUT.training`.
        config, sources: Of this training; a resumed one must have the same.
        resume: Whether what is there may be used.
    """

    def __init__(self, folder: Path, config: Config, sources: Sources, resume: bool) -> None:
        self.folder, self.config, self.sources = folder, config, sources
        wanted = {"config": config.to_dict(), "files": sources.fingerprint()}
        kept = folder / "run.json"
        if kept.exists():
            if not resume:
                raise TrainingError(
                    f"{folder}: an interrupted training is kept here; add --resume to go on, or delete the folder"
                )
            if json.loads(kept.read_text("utf-8")) != wanted:
                raise TrainingError(
                    f"{folder}: was started with other settings or files; use those, or delete the folder"
                )
        else:
            try:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                self._write_json("run.json", wanted)
            except OSError as error:
                raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the training corpus."""
        kept = self.folder / "labels.json"
        if not kept.exists():
            self._write_json("labels.json", corpus.labels(corpus.read(self.sources.train)))
        return tuple(json.loads(kept.read_text("utf-8")))

    def tables(self, units: UnitMaker) -> list[Table]:
        """Return the tables of vectors, learnt or loaded."""
        kept = self.folder / "tables"
        if not kept.exists():
            tables = make_tables(self.config, self._texts(), units, self.folder)
            with self._renamed(kept) as folder:
                save_tables(tables, folder)
        return load_tables(kept, self.config.text.unit)

    def _texts(self) -> Iterator[str]:
        files = [self.sources.train, *self.sources.unlabelled]
        return itertools.chain.from_iterable(map(corpus_texts, files))

    def store(self, units: UnitMaker, lookup: Lookup, scheme: TagScheme) -> Store:
        """Return the ids and tags of the training corpus."""
        kept = self.folder / "store"
        if not kept.exists():
            report = Alignment()
            with self._renamed(kept) as folder:
                documents = corpus.read(self.sources.train)
                fill_store(folder, tqdm(documents, "ids", unit=" texts"), units, lookup, scheme, report)
                (folder / "alignment.json").write_text(json.dumps(report.rows(), ensure_ascii=False), "utf-8")
            if report.cut or report.long:
                say(
                    f"{report.cut + report.long} of {sum(report.entities.values())} training entities cannot be "
                    f"represented by these units; see: tagger inspect {self.sources.train}"
                )
        store = Store(kept)
        if not len(store):
            raise TrainingError(f"{self.sources.train}: has no text to learn from")
        return store

    def alignment(self) -> Any:
        """Return the rows of the alignment report."""
        return json.loads((self.folder / "store" / "alignment.json").read_text("utf-8"))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save_checkpoint(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the state after an epoch, in place of the one before."""
        path = self.folder / "checkpoint.npz"
        part = self.folder / "checkpoint.part.npz"
        np.savez(part, allow_pickle=False, **arrays)
        part.replace(path)

    def load_checkpoint(self) -> dict[str, np.ndarray] | None:
        """Return the kept state, or None."""
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)

    def _write_json(self, name: str, content: Any) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
        part.replace(self.folder / name)

    def _renamed(self, path: Path) -> Any:
        return bundles.atomic_folder(path)


def corpus_texts(path: Path) -> Iterator[str]:
    """Yield the text of each document of a labelled or plain file."""
    return (document.text for document in corpus.read(path))


def make_tables(config: Config, texts: Iterable[str], units: UnitMaker, folder: Path) -> list[Table]:
    """Return tables learnt from `texts`, ready-made, or the word table ready-made and the others learnt."""
    given = config.vectors.pretrained
    if not given:
        counted = tqdm(texts, "segmenting", unit=" texts")
        return learn(counted, units, config.vectors, config.training.seed, folder)
    path = Path(given)
    if path.is_dir():
        return load_tables(path, config.text.unit)
    if not path.is_file():
        raise VectorsError(f"{path}: vectors.pretrained is neither a file nor a folder of `tagger vectors`")
    words = load_word2vec(path, config.vectors)
    names = [name for name in TABLES[config.text.unit] if name != "word"]
    others = learn(texts, units, config.vectors, config.training.seed, folder, names) if names else []
    return [*others, words]


def fill_store(
    folder: Path,
    documents: Iterable[Document],
    units: UnitMaker,
    lookup: Lookup,
    scheme: TagScheme,
    report: Alignment,
) -> Store:
    """Write the ids and tags of documents, window by window; no gold entity is cut that fits a window."""
    writer = StoreWriter(folder, lookup.columns)
    for document in documents:
        made, spans = corpus.align(document, units, scheme, report)
        ids, tags = lookup.ids(made), scheme.encode(spans, len(made))
        for window in windows(made, units.config.maxlen, whole=spans):
            writer.add(ids[window.start : window.stop], tags[window.start : window.stop])
    return writer.close()


@dataclass
class Fitted:
    """A fitted model with its best weights."""

    model: Any
    tagger: Tagger
    history: list[dict[str, Any]]
    best_epoch: int
    best_scores: dict[str, Any]


def fit(
    config: Config,
    scheme: TagScheme,
    units: UnitMaker,
    lookup: Lookup,
    store: Store,
    dev: Path,
    work: Workplace,
) -> Fitted:
    """Fit a fresh model, or go on with the one kept in `work`."""
    import keras

    from tagger.model import seed_everything

    settings = config.training
    seed_everything(settings.seed)
    model = fresh_model(config, scheme, lookup)
    batches = Batches(BatchMaker(store, lookup, scheme.size), config.batches, settings.seed)
    rate = learning_rate(settings, len(batches))
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=settings.clip or None)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)
    transitions = Transitions.contest(scheme) if config.decode.transitions == "contest" else Transitions.legal(scheme)
    tagger = Tagger(config, scheme, transitions, units, lookup, KerasRuntime(model, lookup))
    state = State(model, optimizer, settings.average)
    keeper = epoch_keeper(config, tagger, state, batches, dev, work)
    callbacks = [state.callback(), keeper]
    if settings.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(settings.tensorboard))
    done = len(keeper.history)
    if done < settings.epochs and not keeper.finished:
        model.fit(
            batches.as_dataset(done),
            steps_per_epoch=len(batches),
            initial_epoch=done,
            epochs=settings.epochs,
            verbose=0,
            shuffle=False,
            callbacks=callbacks,
        )
    state.use(keeper.best_weights)
    keeper.refresh_transitions()
    return Fitted(model, tagger, keeper.history, keeper.best_epoch, keeper.best_scores)


def learning_rate(settings: TrainingConfig, steps: int) -> Any:
    """Return the learning rate or its schedule over all epochs of so many steps."""
    import keras

    if settings.schedule == "constant":
        return settings.learning_rate
    total = settings.epochs * steps
    warm = max(1, total // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warm, alpha=0.01, warmup_target=settings.learning_rate, warmup_steps=warm
    )


class State:
    """All that changes in training: weights, optimizer, dropout's seeds, the moving average of the weights.

    Args:
        model: A built model.
        optimizer: Its optimizer, built.
        momentum: Of the average; 0 keeps none. Early on the average follows faster, so that it does not
            remember the random weights it began with.
    """

    def __init__(self, model: Any, optimizer: Any, momentum: float) -> None:
        import tensorflow as tf

        self.model, self.momentum = model, momentum
        self.variables = [*model.variables, *optimizer.variables]
        self.weights = model.trainable_variables
        self.averages = [tf.Variable(w.value) for w in self.weights] if momentum else []
        self.step = tf.Variable(0.0)

        @tf.function
        def update() -> None:
            self.step.assign_add(1.0)
            keep = tf.minimum(momentum, self.step / (self.step + 9.0))
            for average, weight in zip(self.averages, self.weights, strict=True):
                average.assign(keep * average + (1 - keep) * weight.value)

        self.update = update

    def callback(self) -> Any:
        """Return the Keras callback that updates the average after each batch."""
        import keras

        state = self

        class Averaging(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if state.averages:
                    state.update()

        return Averaging()

    def evaluated(self) -> list[np.ndarray]:
        """Return the weights that are evaluated and kept: the averages, or the weights themselves."""
        return [v.numpy().copy() for v in (self.averages or self.weights)]

    def use(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Put `weights` into the model, and return those it had."""
        before = [w.numpy().copy() for w in self.weights]
        for variable, value in zip(self.weights, weights, strict=True):
            variable.assign(value)
        return before

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything by name, for a checkpoint."""
        every = [*self.variables, *self.averages, self.step]
        return {f"state_{number}": variable.numpy() for number, variable in enumerate(every)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take everything from a checkpoint."""
        for number, variable in enumerate([*self.variables, *self.averages, self.step]):
            variable.assign(arrays[f"state_{number}"])


def epoch_keeper(config: Config, tagger: Tagger, state: State, batches: Batches, dev: Path, work: Workplace) -> Any:
    """Return the Keras callback that scores each epoch on dev, keeps the best weights and the state, and stops."""
    import keras

    settings = config.training

    class EpochKeeper(keras.callbacks.Callback):
        history: list[dict[str, Any]]

        def __init__(self) -> None:
            super().__init__()
            self.history = []
            self.best_epoch, self.best_scores, self.best_weights = 0, {"f1": -1.0}, state.evaluated()
            kept = work.load_checkpoint()
            if kept is not None:
                state.restore(kept)
                told = json.loads(str(kept["told"]))
                self.history, self.best_epoch, self.best_scores = told["history"], told["epoch"], told["scores"]
                self.best_weights = [kept[f"best_{n}"] for n in range(len(self.best_weights))]
                say(f"resuming after epoch {len(self.history)}")

        @property
        def finished(self) -> bool:
            return bool(settings.patience) and len(self.history) - self.best_epoch >= settings.patience

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.monotonic()
            self.bar = tqdm(total=len(batches), desc=f"epoch {epoch + 1}/{settings.epochs}", unit="batch", leave=False)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.bar.update()
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.bar.close()
            seconds = time.monotonic() - self.begun
            kept = state.evaluated()
            trained = state.use(kept)
            self.refresh_transitions()
            scores = evaluate(tagger, corpus.read(dev)).to_dict()
            state.use(trained)
            row = {
                "epoch": epoch + 1, "loss": float((logs or {}).get("loss", float("nan"))), "seconds": seconds,
                "units_per_second": batches.units / seconds,
            }  # fmt: skip
            row |= {key: scores[key] for key in ("precision", "recall", "f1", "top1", "contest") if key in scores}
            self.history.append(row)
            if scores["f1"] > self.best_scores["f1"]:
                self.best_epoch, self.best_scores, self.best_weights = epoch + 1, scores, kept
            told = {"history": self.history, "epoch": self.best_epoch, "scores": self.best_scores}
            best = {f"best_{n}": weight for n, weight in enumerate(self.best_weights)}
            work.save_checkpoint({**state.arrays(), **best, "told": np.array(json.dumps(told))})
            top1 = f"  top-1 {row['top1']:.4f}" if "top1" in row else ""
            mark = " *" if self.best_epoch == epoch + 1 else ""
            say(
                f"epoch {epoch + 1:3d}  loss {row['loss']:.4f}  dev P {row['precision']:.4f} R {row['recall']:.4f} "
                f"F1 {row['f1']:.4f}{top1}  {seconds:.1f} s  {row['units_per_second'] / 1000:.1f} k units/s{mark}"
            )
            if self.finished:
                self.model.stop_training = True

        def refresh_transitions(self) -> None:
            if config.model.crf:
                tagger.transitions = Transitions.legal(tagger.scheme, state.model.transitions.numpy())

    return EpochKeeper()


def say(line: str) -> None:
    """Print a line of progress to standard error, above any progress bar."""
    tqdm.write(line, file=sys.stderr)


def use_device(settings: TrainingConfig) -> None:
    """Choose the graphics card and how much of its memory to take, as `[training]` says; nothing where none is.

    Must come before the framework first uses a device.

    Raises:
        TrainingError: If the card does not exist, or the framework is already using devices.
    """
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    if not cards:
        return
    if settings.gpu >= len(cards):
        raise TrainingError(f"training.gpu = {settings.gpu}, but there are only cards 0 to {len(cards) - 1}")
    try:
        if settings.gpu < 0:
            tf.config.set_visible_devices([], "GPU")
            return
        card = cards[settings.gpu]
        tf.config.set_visible_devices([card], "GPU")
        if settings.gpu_memory_mib:
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=settings.gpu_memory_mib)
            tf.config.set_logical_device_configuration(card, [limit])
        else:
            tf.config.experimental.set_memory_growth(card, settings.gpu_memory_growth)
    except RuntimeError as error:
        raise TrainingError(f"the device was chosen too late: {error}") from error


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and dev F1 over the epochs as a picture."""
    matplotlib = require("matplotlib", "train")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    epochs = [row["epoch"] for row in history]
    figure, left = pyplot.subplots(figsize=(7, 4), layout="constrained")
    right = left.twinx()
    left.plot(epochs, [row["loss"] for row in history], color="tab:gray", label="loss")
    right.plot(epochs, [100 * row["f1"] for row in history], color="tab:blue", label="dev entity F1")
    if all("top1" in row for row in history):
        right.plot(epochs, [100 * row["top1"] for row in history], color="tab:orange", label="dev top-1")
    left.set(xlabel="epoch", ylabel="training loss per unit")
    right.set(ylabel="%", ylim=(0, 100))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
