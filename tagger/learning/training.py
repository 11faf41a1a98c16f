"""Training: fit the network on a labelled corpus and keep the weights of the epoch that is best on dev."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tagger import bundle as bundles
from tagger import corpus
from tagger.batches import Batches, BatchMaker, Store
from tagger.config import Config
from tagger.decode import Transitions
from tagger.errors import TrainingError
from tagger.files.outputs import check_writable, locked
from tagger.learning.automatic import automatic_distillation, automatic_epochs, decide
from tagger.learning.calibrating import calibrate, shows_contest
from tagger.learning.checks import check_corpora
from tagger.learning.device import matmul_dtype, memory_errors
from tagger.learning.fitting import (
    TrainingState,
    input_signature,
    make_optimizer,
    require_finite,
    run_epoch,
    seeded_model,
    write_networks,
)
from tagger.learning.memory import say_expected, say_peak
from tagger.learning.plots import draw_curves
from tagger.learning.preparation import ALIGNMENT, alignment_report, make_lookup, training_store
from tagger.learning.replicas import PartsMaker, Replicas, told_of_others, total, use_replicas
from tagger.learning.run import JoinedRun, RunFolder, Sources, run_folder_of
from tagger.learning.start import begun, paying
from tagger.learning.tables import table_stages, vectors_origin
from tagger.lookup import Lookup
from tagger.pipeline import Tagger
from tagger.progress import Stages, say, time_left
from tagger.runtime.keras import KerasRuntime
from tagger.tags import TagScheme
from tagger.text import UnitMaker


def train(
    config: Config,
    sources: Sources,
    out: Path,
    resume: bool = False,
    replace: bool = False,
    stages: Stages | None = None,
    cards: int = 1,
    kind: str = "",
) -> dict[str, Any]:
    """Train a tagger and write its bundle.

    Work in progress is kept beside the bundle, in `OUT.training`, until the bundle is written: an interrupted training
    continues with `resume` after its last complete epoch, and ends with the weights it would have had.

    Args:
        config: All settings.
        sources: The files to read; they are streamed.
        out: The bundle's folder.
        resume: Continue an interrupted training; start one if there is none.
        replace: Whether an existing bundle may be replaced.
        stages: Where to announce what begins, by default as stages of this training.
        cards: Graphics cards of this machine that share each batch, where there are several.
        kind: Of the device that settings left open are to suit, by default of the one that trains; see `automatic`.

    Where `TF_CONFIG` names several processes, each of them calls this with the same arguments: the chief prepares what
    all read from the run folder, scores and saves; the others share the steps.

    Returns:
        Scores of the saved weights on dev, as `Scores.to_dict`, with the number of their `epoch`, and the `seed`;
        nothing in a process that is not the chief.

    Raises:
        TaggerError: If a file, a setting or the output folder is at fault.
    """
    check_writable(out, replace, sources.paths, folder=True)
    scheme = TagScheme(check_corpora(sources.train, sources.dev))
    folder = run_folder_of(out)
    replicas = use_replicas(config.training, cards)
    with told_of_others(replicas.workers, folder):
        if not replicas.workers.chief:
            follow(config, scheme, sources, folder, replicas)
            return {}
        with locked(folder, "training"):
            run = RunFolder(folder, config, sources, resume)
            config, sources = begun(config, sources, folder, lambda: paying(sources.train, scheme.labels))
            stages = stages or Stages([*table_stages(config, sources), _IDS, _TRAINING, _CALIBRATION])
            return _train(config, scheme, sources, out, run, replace, stages, replicas, kind)


_IDS, _TRAINING, _CALIBRATION = "ids", "training", "calibration"  # stages


def _passes(sources: Sources) -> Callable[[int], int]:
    """Return what gives the number of passes, where that is left open."""
    return automatic_distillation if sources.posteriors else automatic_epochs


def _train(
    config: Config,
    scheme: TagScheme,
    sources: Sources,
    out: Path,
    run: RunFolder,
    replace: bool,
    stages: Stages,
    replicas: Replicas,
    kind: str,
) -> dict[str, Any]:
    """Train as `train` does, in a run folder that is locked."""
    device = replicas.device
    units = UnitMaker(config.text)
    lookup = make_lookup(run, config, sources, units, stages)
    stages.begin(_IDS)
    store = training_store(run, sources, units, lookup, scheme, config)
    stages.begin(_TRAINING)
    config = decide(config, kind or device.kind, run.folder, lambda: int(store.lengths.sum()), _passes(sources))
    replicas.agree()  # all is there that the others read
    say_expected(device, config)
    with memory_errors(device, config, run.folder):
        keeper = fit(config, scheme, units, lookup, store, sources, run, replicas)
    say_peak(device, config)
    tagger = keeper.tagger
    stages.begin(_CALIBRATION)
    scores = calibrate(tagger, sources.dev) if config.decode.calibrate else keeper.best_scores
    metrics = {**scores, "epoch": keeper.best_epoch, "seed": config.training.seed}
    metrics |= vectors_origin(run, sources)

    def write_network(folder: Path) -> None:
        write_networks(keeper.state.model, lookup, folder)
        draw_curves(keeper.history, folder / "curves.png")

    reports = {"history.json": keeper.history, "metrics.json": metrics, ALIGNMENT: alignment_report(run)}
    bundles.save(
        out, config, scheme, tagger.transitions, lookup, units.segmenter, tagger.calibration, write_network, reports,
        replace,
    )  # fmt: skip
    run.remove()
    stages.end()
    replicas.agree()  # the others end with the chief
    return metrics


def follow(config: Config, scheme: TagScheme, sources: Sources, folder: Path, replicas: Replicas) -> None:
    """Share the steps of a training whose chief is another process."""
    replicas.agree()
    run = JoinedRun(folder, config)
    config, sources = begun(config, sources, folder)
    units = UnitMaker(config.text)
    lookup = make_lookup(run, config, sources, units)
    store = training_store(run, sources, units, lookup, scheme, config)
    config = decide(config, replicas.device.kind, folder, lambda: int(store.lengths.sum()), _passes(sources))
    with memory_errors(replicas.device, config, folder):
        state, step, batches = make_step(config, scheme, lookup, store, sources.start, replicas)
        checkpoint = run.load_checkpoint()
        if checkpoint is not None:
            state.restore(checkpoint)
        epoch = len(json.loads(str(checkpoint["progress"]))["history"]) if checkpoint else 0
        while replicas.agree():
            run_epoch(step, batches, epoch, config.training)
            epoch += 1
    replicas.agree()


def fit(
    config: Config,
    scheme: TagScheme,
    units: UnitMaker,
    lookup: Lookup,
    store: Store,
    sources: Sources,
    run: RunFolder,
    replicas: Replicas,
) -> "EpochKeeper":
    """Fit a model, or continue from the checkpoint of `run`; at the end the model has the weights of the best epoch."""
    settings = config.training
    state, step, batches = make_step(config, scheme, lookup, store, sources.start, replicas)
    transitions = Transitions.contest(scheme) if config.decode.transitions == "contest" else Transitions.legal(scheme)
    tagger = Tagger(config, scheme, transitions, units, lookup, KerasRuntime(state.model, lookup))
    keeper = EpochKeeper(tagger, state, sources.dev, run)
    callbacks = [keras.callbacks.TensorBoard(settings.tensorboard)] if settings.tensorboard else []
    listeners = keras.callbacks.CallbackList(callbacks, model=state.model)
    listeners.on_train_begin()
    while replicas.agree(keeper.goes_on):
        epoch = len(keeper.history)
        losses, seconds = run_epoch(step, batches, epoch, settings)
        keeper.end_epoch(losses, seconds, batches.units)
        listeners.on_epoch_end(epoch, keeper.history[-1])
    listeners.on_train_end()
    keeper.restore_best()
    return keeper


def make_step(
    config: Config, scheme: TagScheme, lookup: Lookup, store: Store, start: Path | None, replicas: Replicas
) -> tuple[TrainingState, Callable[..., tf.Tensor], Batches[Any]]:
    """Return the state of a new training, the function that makes a step, and the batches that it takes."""
    settings, accumulate = config.training, config.batches.accumulate
    if replicas.count > 1 and accumulate > 1:
        raise TrainingError(
            f"batches.accumulate = {accumulate}: expected 1 with several replicas, which share large batches already; "
            f"set batches.accumulate=1 and make batches.units or batches.texts as large as a step is to be"
        )
    with replicas.strategy.scope():
        model = seeded_model(config, scheme, lookup, store, start)
        if replicas.here > 1:
            model.frozen = None  # its tables lie on one of the cards only
        drawn = config.batches.word_dropout, config.batches.masking
        maker = BatchMaker(store, lookup, scheme.size, *drawn, vectors=model.frozen is None)
        shared = PartsMaker(maker, replicas.parts) if replicas.count > 1 else maker
        batches: Batches[Any] = Batches(shared, config.batches, settings.seed)
        steps = settings.passes * -(-len(batches) // accumulate)
        optimizer = make_optimizer(settings, model.trainable_variables, steps)
        compiled = model.execution.compiled and replicas.count == 1
        state = TrainingState(model, optimizer, settings, accumulate, compiled)
    return state, train_step(state, lookup, matmul_dtype(settings), store.partial, replicas), batches


def train_step(
    state: TrainingState,
    lookup: Lookup,
    matmul_dtype: tf.DType = tf.float32,
    partial: bool = False,
    replicas: Replicas | None = None,
) -> Callable[..., tf.Tensor]:
    """Return a function that takes the parts of a `Batch`, makes one step of training, and returns the loss.

    Args:
        state: Changed by each step.
        lookup: Gives the shapes of the inputs.
        matmul_dtype: Dtype of the LSTMs' matrix products; weights and all else are float32.
        partial: Whether some units are unlabelled.
        replicas: That share the batch; the function then takes a `Batch` for each replica of this process.
    """
    model = state.model
    size = model.scheme.size
    shapes = (None, None, size), (size, size), (None, None)  # of targets, steps and weights

    def step(inputs: dict[str, tf.Tensor], targets: tf.Tensor, steps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = model(inputs, training=True, matmul_dtype=matmul_dtype)
            loss = model.compute_loss(inputs, targets, scores, weights, steps=steps, partial=partial)
        loss, *gradients = total([loss, *tape.gradient(loss, state.weights)])
        state.apply_gradients(gradients)
        return loss

    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return (replicas or Replicas()).step(step, (input_signature(model, lookup), *specs))


class EpochKeeper:
    """Scores each epoch on dev through the public tagger, keeps the best weights, and saves checkpoints.

    Args:
        tagger: Around the model in training.
        state: What changes in training; restored from the checkpoint of `run`, if there is one.
        dev: Labelled corpus.
        run: Where checkpoints are saved.

    Attributes:
        history: Figures of each epoch so far.
        best_epoch, best_scores, best_weights: Of the epoch with the highest `training.metric`, the first of equals.
    """

    def __init__(self, tagger: Tagger, state: TrainingState, dev: Path, run: RunFolder) -> None:
        self.tagger, self.state, self.dev, self.run = tagger, state, dev, run
        self.settings = tagger.config.training
        self.history: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best_scores: dict[str, Any] = {self.settings.metric: -1.0}
        self.best_weights = state.evaluated_weights()
        if (checkpoint := run.load_checkpoint()) is not None:
            self._resume(checkpoint)
        self._begin, self._resumed = time.monotonic(), len(self.history)
        self._report_progress()

    @property
    def out_of_patience(self) -> bool:
        """Whether `training.patience` epochs have passed without a better score."""
        return bool(self.settings.patience) and len(self.history) - self.best_epoch >= self.settings.patience

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch."""
        return len(self.history) < self.settings.passes and not self.out_of_patience

    def end_epoch(self, losses: np.ndarray, seconds: float, units: int) -> None:
        """Score the current weights, record the epoch, save a checkpoint, print a line.

        Args:
            losses: Of each batch, (N,) float32.
            seconds: Time of the epoch's steps.
            units: Units of the epoch, padding not counted.
        """
        weights = self.state.evaluated_weights()
        require_finite(weights, len(self.history), self.settings)
        trained = self.state.swap_weights(weights)
        self.update_transitions()
        scores = self.tagger.evaluate(corpus.read(self.dev)).to_dict(shows_contest(self.tagger.config))
        self.state.swap_weights(trained)
        epoch = len(self.history) + 1
        loss = float(losses.astype(np.float64).mean())
        row = {"epoch": epoch, "loss": loss, "seconds": seconds, "units_per_second": units / seconds}
        row |= {key: scores[key] for key in ("precision", "recall", "f1", "top1", "contest") if key in scores}
        self.history.append(row)
        metric = self.settings.metric
        score, best = scores.get(metric, 0.0), self.best_scores.get(metric, 0.0)
        if score > best or score == best == 0:  # as long as nothing is right, the latest epoch is the best
            self.best_epoch, self.best_scores, self.best_weights = epoch, scores, weights
        self._save_checkpoint()
        self._report_progress()
        self._print(row)

    def restore_best(self) -> None:
        """Put the best weights into the model, rounded to the half precision that bundles store."""
        self.state.swap_weights([weight.astype(np.float16).astype(np.float32) for weight in self.best_weights])
        self.update_transitions()

    def update_transitions(self) -> None:
        """Give the tagger the transitions that the CRF has learnt."""
        if self.tagger.config.model.crf:
            learnt = self.state.model.transitions.numpy()
            self.tagger.transitions = Transitions.legal(self.tagger.scheme, learnt)

    def _resume(self, checkpoint: dict[str, np.ndarray]) -> None:
        self.state.restore(checkpoint)
        progress = json.loads(str(checkpoint["progress"]))
        self.history, self.best_epoch, self.best_scores = progress["history"], progress["epoch"], progress["scores"]
        self.best_weights = [checkpoint[f"best_{number}"] for number in range(len(self.best_weights))]
        say(f"resuming after epoch {len(self.history)}")

    def _save_checkpoint(self) -> None:
        progress = {"history": self.history, "epoch": self.best_epoch, "scores": self.best_scores}
        best = {f"best_{number}": weight for number, weight in enumerate(self.best_weights)}
        self.run.save_checkpoint({**self.state.arrays(), **best, "progress": np.array(json.dumps(progress))})

    def _report_progress(self) -> None:
        done, epochs = len(self.history), self.settings.passes
        seconds = (time.monotonic() - self._begin) / max(done - self._resumed, 1)  # of an epoch
        left = seconds * (epochs - done) if done > self._resumed else None
        self.run.report_progress(done, epochs, self.best_scores.get("f1"), left)

    def _print(self, row: dict[str, Any]) -> None:
        done = len(self.history)
        left = time_left(self._begin, done - self._resumed, self.settings.passes - done)
        top1 = f"  top-1 {row['top1']:.4f}" if "top1" in row else ""
        best = " *" if self.best_epoch == row["epoch"] else ""
        say(
            f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  dev P {row['precision']:.4f} R {row['recall']:.4f} "
            f"F1 {row['f1']:.4f}{top1}  {row['seconds']:.1f} s  {row['units_per_second'] / 1000:.1f} k units/s"
            f"{left}{best}"
        )
