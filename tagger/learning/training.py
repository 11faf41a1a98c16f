"""Fit the network, keep the weights that are best on dev, go on after an interruption."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tagger import bundle as bundles
from tagger import corpus, onnx_graph
from tagger.batches import Batches, BatchMaker, Store, ahead
from tagger.calibration import Calibrator
from tagger.config import Config, TrainingConfig, passes_over
from tagger.decode import Transitions
from tagger.errors import TrainingError
from tagger.files import refuse_existing
from tagger.learning.device import matmul_dtype, use_device
from tagger.learning.plots import draw_curves
from tagger.learning.run import ALIGNMENT, RunFolder, Sources
from tagger.learning.state import State
from tagger.lookup import Lookup
from tagger.pipeline import Tagger
from tagger.progress import say
from tagger.runtime.keras import KerasRuntime
from tagger.settings import merge
from tagger.tags import TagScheme
from tagger.text import UnitMaker
from tagger.weights import Weights, fresh_model


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
    refuse_existing(out, replace)
    work = RunFolder(out.with_name(out.name + ".training"), config, sources, resume)
    use_device(config.training)
    scheme = TagScheme(work.labels())
    if not scheme.labels:
        raise TrainingError(f"{sources.train}: has no entity to learn from")
    units = UnitMaker(config.text)
    lookup = work.lookup(units)
    store = work.store(units, lookup, scheme)
    if config.training.epochs == "auto":
        config = merge(config, {"training": {"epochs": epochs_for(int(store.lengths.sum()))}}, "epochs_for")
    keeper = fit(config, scheme, units, lookup, store, work)
    scores = calibrate(keeper.tagger, sources.dev) if config.decode.calibrate else keeper.best_scores
    metrics = {**scores, "epoch": keeper.best_epoch, "seed": config.training.seed}

    def write_network(folder: Path) -> None:
        write_networks(keeper.state.model, lookup, folder)
        draw_curves(keeper.history, folder / "curves.png")

    reports = {"history.json": keeper.history, "metrics.json": metrics, ALIGNMENT: work.alignment()}
    transitions = keeper.tagger.transitions
    calibration = keeper.tagger.calibration
    bundles.save(
        out, config, scheme, transitions, lookup, units.segmenter, calibration, write_network, reports, replace
    )
    work.remove()
    return metrics


def write_networks(model: Any, lookup: Lookup, folder: Path) -> None:
    """Write a model's weights into a bundle's folder, as graphs."""
    weights = Weights.from_model(model, lookup.columns)
    onnx_graph.write(weights, folder / bundles.ONNX)
    onnx_graph.write_eight_bits(weights, folder / bundles.EIGHT_BITS, lookup.largest)


def epochs_for(units: int) -> int:
    """Return the number of epochs, where it is left open, for a corpus of so many units."""
    return passes_over(units, 6_400_000, least=12, most=24)


def fit(
    config: Config, scheme: TagScheme, units: UnitMaker, lookup: Lookup, store: Store, work: RunFolder
) -> "EpochKeeper":
    """Fit a fresh model, or go on with the one kept in `work`; its best weights are in it at the end."""
    settings = config.training
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    model = fresh_model(config, scheme, lookup)
    silence_unseen(model, store)
    if work.sources.start:
        bundles.load(work.sources.start).load_weights(model)
    make = BatchMaker(store, lookup, scheme.size, config.batches.word_dropout, config.batches.masking)
    batches = Batches(make, config.batches, settings.seed)
    accumulate = config.batches.accumulate
    optimizer = keras.optimizers.Adam(
        learning_rate(settings, -(-len(batches) // accumulate)),
        global_clipnorm=settings.clip_norm or None,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
    optimizer.build(model.trainable_variables)
    transitions = Transitions.contest(scheme) if config.decode.transitions == "contest" else Transitions.legal(scheme)
    tagger = Tagger(config, scheme, transitions, units, lookup, KerasRuntime(model, lookup))
    state = State(model, optimizer, settings.ema_momentum)
    keeper = EpochKeeper(tagger, state, batches, work)
    step = train_step(model, optimizer, state, lookup, matmul_dtype(settings), store.partial)
    watched = [keras.callbacks.TensorBoard(settings.tensorboard)] if settings.tensorboard else []
    watchers = keras.callbacks.CallbackList(watched, model=model)
    watchers.on_train_begin()
    while len(keeper.history) < settings.passes and not keeper.finished:
        epoch = len(keeper.history)
        with keeper.epoch(epoch) as count:
            for batch in ahead(batches.epoch(epoch)):
                count(step(*batch))
        watchers.on_epoch_end(epoch, keeper.history[-1])
    watchers.on_train_end()
    state.use([weight.astype(np.float16).astype(np.float32) for weight in keeper.best_weights])  # as bundles keep them
    keeper.refresh_transitions()
    return keeper


def train_step(
    model: Any,
    optimizer: Any,
    state: "State",
    lookup: Lookup,
    matmul_dtype: tf.DType = tf.float32,
    partial: bool = False,
) -> Callable[..., tf.Tensor]:
    """Return a function that takes a `Batch`, makes one step of training, and returns the loss.

    Matrix products of the LSTMs are computed in `matmul_dtype`; weights and all else are float32. Where training is
    `partial`, some units are not labelled.
    """
    targets = tf.TensorSpec((None, None, model.scheme.size), tf.float32)

    @tf.function(input_signature=(inputs_of(lookup), targets, tf.TensorSpec((None, None), tf.float32)))
    def step(inputs: dict[str, tf.Tensor], targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            scores = model(inputs, training=True, matmul_dtype=matmul_dtype)
            loss = model.compute_loss(inputs, targets, scores, weights, partial=partial)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        state.update_averages()
        return loss

    return step


def inputs_of(lookup: Lookup) -> dict[str, tf.TensorSpec]:
    """Return what the inputs of a `Batch` look like."""
    return {
        "ids": tf.TensorSpec((None, None, lookup.columns), tf.int32),
        "vectors": tf.TensorSpec((None, None, lookup.dimensions), tf.float32),
        "lengths": tf.TensorSpec((None,), tf.int32),
    }


def silence_unseen(model: Any, store: Store) -> None:
    """Set the trainable vectors of what the training texts do not have to zero: they would stay the noise they are."""
    for columns, layer in zip(model.columns, model.embeddings, strict=True):
        seen = store.occurring(columns, layer.input_dim)
        layer.embeddings.assign(layer.embeddings.numpy() * seen[:, None])


def calibrate(tagger: Tagger, dev: Path) -> dict[str, Any]:
    """Give a trained tagger its calibration, learnt on dev, and return its scores there, as `Scores.to_dict`."""
    calibrator = Calibrator()
    documents, copies = itertools.tee(corpus.read(dev))
    results = tagger.results((document.text for document in copies), answers=False)
    for document, result in zip(documents, results, strict=True):
        calibrator.add(document, result.entities)
    tagger.calibration = calibrator.fit()
    return tagger.evaluate(corpus.read(dev)).to_dict()


def learning_rate(settings: TrainingConfig, steps: int) -> Any:
    """Return the learning rate, or its schedule over all epochs of so many steps."""
    if settings.schedule == "constant":
        return settings.learning_rate
    total = settings.passes * steps
    warm = max(1, total // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warm, alpha=0.01, warmup_target=settings.learning_rate, warmup_steps=warm
    )


class EpochKeeper:
    """Scores each epoch on dev through the public tagger, keeps the best weights and the state, and stops.

    Args:
        tagger: Round the model in training.
        state: What changes in training; taken from the checkpoint in `work`, if there is one.
        batches: The training batches.
        work: Where checkpoints are kept.
    """

    def __init__(self, tagger: Tagger, state: State, batches: Batches, work: RunFolder) -> None:
        self.tagger, self.state, self.batches, self.work = tagger, state, batches, work
        self.settings = tagger.config.training
        self.history: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best_scores: dict[str, Any] = {self.settings.metric: -1.0}
        self.best_weights = state.evaluated()
        kept = work.load_checkpoint()
        if kept is not None:
            state.restore(kept)
            told = json.loads(str(kept["told"]))
            self.history, self.best_epoch, self.best_scores = told["history"], told["epoch"], told["scores"]
            self.best_weights = [kept[f"best_{number}"] for number in range(len(self.best_weights))]
            say(f"resuming after epoch {len(self.history)}")

    @property
    def finished(self) -> bool:
        """Whether patience has run out."""
        return bool(self.settings.patience) and len(self.history) - self.best_epoch >= self.settings.patience

    @contextlib.contextmanager
    def epoch(self, number: int) -> Iterator[Callable[[tf.Tensor], None]]:
        """Yield a function that takes each batch's loss; after the epoch score, keep and print."""
        begun = time.monotonic()
        losses: list[tf.Tensor] = []
        about = f"epoch {number + 1}/{self.settings.epochs}"
        with tqdm(total=len(self.batches), desc=about, unit="batch", leave=False) as bar:

            def count(loss: tf.Tensor) -> None:
                losses.append(loss)
                if bar.update():
                    bar.set_postfix(loss=f"{float(loss):.4f}", refresh=False)

            yield count
        self._close(number, float(np.mean([float(loss) for loss in losses])), time.monotonic() - begun)

    def _close(self, epoch: int, loss: float, seconds: float) -> None:
        kept = self.state.evaluated()
        trained = self.state.use(kept)
        self.refresh_transitions()
        scores = self.tagger.evaluate(corpus.read(self.work.sources.dev)).to_dict()
        self.state.use(trained)
        row = {"epoch": epoch + 1, "loss": loss, "seconds": seconds}
        row["units_per_second"] = self.batches.units / seconds
        row |= {key: scores[key] for key in ("precision", "recall", "f1", "top1", "contest") if key in scores}
        self.history.append(row)
        now, before = (some.get(self.settings.metric, 0.0) for some in (scores, self.best_scores))
        if now > before:
            self.best_epoch, self.best_scores, self.best_weights = epoch + 1, scores, kept
        self._save_checkpoint()
        self._print(row)

    def refresh_transitions(self) -> None:
        """Give the tagger the transitions that the CRF has learnt."""
        if self.tagger.config.model.crf:
            learnt = self.state.model.transitions.numpy()
            self.tagger.transitions = Transitions.legal(self.tagger.scheme, learnt)

    def _save_checkpoint(self) -> None:
        told = {"history": self.history, "epoch": self.best_epoch, "scores": self.best_scores}
        best = {f"best_{number}": weight for number, weight in enumerate(self.best_weights)}
        self.work.save_checkpoint({**self.state.arrays(), **best, "told": np.array(json.dumps(told))})

    def _print(self, row: dict[str, Any]) -> None:
        top1 = f"  top-1 {row['top1']:.4f}" if "top1" in row else ""
        best = " *" if self.best_epoch == row["epoch"] else ""
        say(
            f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  dev P {row['precision']:.4f} R {row['recall']:.4f} "
            f"F1 {row['f1']:.4f}{top1}  {row['seconds']:.1f} s  {row['units_per_second'] / 1000:.1f} k units/s{best}"
        )
