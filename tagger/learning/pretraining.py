"""Pretraining on text without labels: the network learns to predict masked words from their context.

The task of BERT (Devlin et al., 2019, section 3.1), for a BiLSTM: a share of the words is masked, and each of their
characters is to be predicted.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tagger import bundle as bundles
from tagger.batches import WHOLE, Batches, Numbers, Part, Store
from tagger.calibration import Calibration
from tagger.config import Config
from tagger.decode import Transitions
from tagger.errors import ConfigError
from tagger.execution import traced
from tagger.files.outputs import check_writable, locked
from tagger.learning.automatic import automatic_pretraining, decide
from tagger.learning.device import matmul_dtype, memory_errors, use_device
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
from tagger.learning.preparation import ALIGNMENT, NO_TAGS, alignment_report, make_lookup, text_store
from tagger.learning.run import RunFolder, TextSources, run_folder_of
from tagger.learning.start import begun
from tagger.learning.tables import table_stages, vectors_origin
from tagger.lookup import Lookup
from tagger.progress import Stages, say, time_left
from tagger.settings import merge
from tagger.text import UnitMaker


def pretrain(
    config: Config,
    sources: TextSources,
    out: Path,
    resume: bool = False,
    replace: bool = False,
    texts: Sequence[Path] = (),
    stages: Stages | None = None,
    kind: str = "",
) -> list[dict[str, float]]:
    """Pretrain a network and write its bundle, from which `train` and `transfer` may start.

    Work in progress is kept in `OUT.training`, as `training.train` does.

    Args:
        config: All settings; `pretrain.epochs` are used instead of `training.epochs`.
        sources: Texts, or labelled corpora whose labels are ignored; they are streamed.
        out: The bundle's folder.
        resume: Continue an interrupted pretraining; start one if there is none.
        replace: Whether an existing bundle may be replaced.
        texts: Files that the network is trained on, if not all that the vectors are learnt from.
        stages: Where to announce what begins, by default as stages of this pretraining.
        kind: As for `training.train`.

    Returns:
        Each epoch's figures: `loss`, and `masked_accuracy`, the share of masked characters predicted correctly.

    Raises:
        TaggerError: If a file, a setting or the output folder is at fault.
    """
    if config.text.unit != "char":
        raise ConfigError('tagger pretrain needs text.unit = "char"')
    check_writable(out, replace, sources.paths, folder=True)
    folder = run_folder_of(out)
    with locked(folder, "training"):
        run = RunFolder(folder, config, sources, resume)
        config, sources = begun(config, sources, folder)
        stages = stages or Stages([*table_stages(config, sources), _IDS, _PRETRAINING])
        return _pretrain(config, sources, out, run, replace, texts, stages, kind)


_IDS, _PRETRAINING = "ids", "pretraining"  # stages


def _pretrain(
    config: Config,
    sources: TextSources,
    out: Path,
    run: RunFolder,
    replace: bool,
    texts: Sequence[Path],
    stages: Stages,
    kind: str,
) -> list[dict[str, float]]:
    """Pretrain as `pretrain` does, in a run folder that is locked."""
    device = use_device(config.training)
    units = UnitMaker(config.text)
    lookup = make_lookup(run, config, sources, units, stages)
    stages.begin(_IDS)
    store = text_store(run, texts or sources.vector_texts, units, lookup)
    config = merge(config, {"training": {"epochs": config.pretrain.epochs}}, "pretrain.epochs")
    config = decide(config, kind or device.kind, run.folder, lambda: int(store.lengths.sum()), automatic_pretraining)
    stages.begin(_PRETRAINING)
    say_expected(device, config)
    with memory_errors(device, config, run.folder):
        model, history = fit(config, lookup, store, sources, run)
    say_peak(device, config)
    reports = {"history.json": history, "metrics.json": vectors_origin(run, sources), ALIGNMENT: alignment_report(run)}
    bundles.save(
        out, config, NO_TAGS, Transitions.legal(NO_TAGS), lookup, units.segmenter, Calibration(),
        lambda folder: write_networks(model, lookup, folder), reports, replace,
    )  # fmt: skip
    run.remove()
    stages.end()
    return history


def fit(
    config: Config, lookup: Lookup, store: Store, sources: TextSources, run: RunFolder
) -> tuple[Any, list[dict[str, float]]]:
    """Return a fitted `TaggerModel` without tags, and each epoch's figures."""
    settings = config.training
    tagger = seeded_model(config, NO_TAGS, lookup, store, sources.start)
    model = CharacterPredictor(tagger, len(lookup.tables[0].vocabulary))
    maker = MaskedBatchMaker(store, lookup, config.pretrain.masking, vectors=tagger.frozen is None)
    batches = Batches(maker, config.batches, settings.seed)
    optimizer = make_optimizer(settings, model.trainable_variables, settings.passes * len(batches))
    state = TrainingState(model, optimizer, settings, compiled=tagger.execution.compiled)
    step = train_step(state, lookup, matmul_dtype(settings))
    history: list[dict[str, float]] = []
    if (checkpoint := run.load_checkpoint()) is not None:
        state.restore(checkpoint)
        history = json.loads(str(checkpoint["progress"]))
        say(f"resuming after epoch {len(history)}")
    begin, resumed = time.monotonic(), len(history)
    while (epoch := len(history)) < settings.passes:
        figures, seconds = run_epoch(step, batches, epoch, settings)
        require_finite(state.evaluated_weights(), epoch, settings)
        loss, accuracy = np.mean(figures, axis=0).tolist()
        history.append({"epoch": epoch + 1, "loss": loss, "masked_accuracy": accuracy, "seconds": seconds})
        run.save_checkpoint({**state.arrays(), "progress": np.array(json.dumps(history))})
        left = time_left(begin, len(history) - resumed, settings.passes - len(history))
        say(f"epoch {epoch + 1:3d}  loss {loss:.4f}  masked accuracy {100 * accuracy:.1f} %  {seconds:.1f} s{left}")
    state.swap_weights(state.evaluated_weights())
    return tagger, history


class CharacterPredictor(keras.Model):
    """A `TaggerModel` and a layer that predicts characters from its last hidden layer.

    Args:
        tagger: The model; its own output layer is not trained.
        characters: Number of characters.
    """

    def __init__(self, tagger: Any, characters: int) -> None:
        super().__init__(name="character_predictor")
        self.tagger = tagger
        tagger.output_.trainable = False
        if tagger.config.crf:
            tagger.transitions.trainable = False
        self.head = keras.layers.Dense(characters, name="characters")
        self.head.build((None, tagger.output_.kernel.shape[0]))
        self.built = True


class MaskedBatch(NamedTuple):
    """What the network is pretrained on.

    Args:
        inputs: As those of `batches.Batch`, without what reveals the masked words.
        characters: Id of the character at each unit, (B, T) int32; 0 in padding.
        masked: Whether the unit is masked, and so to be predicted, (B, T) bool.
    """

    inputs: dict[str, np.ndarray]
    characters: np.ndarray
    masked: np.ndarray


@dataclass(frozen=True)
class MaskedBatchMaker:
    """Makes batches in which a random share of the words is masked.

    Args:
        store: Ids of the texts.
        lookup: Ids -> vectors.
        share: Of the words that are masked, 0 to 1.
        vectors: As for `BatchMaker`.
    """

    store: Store
    lookup: Lookup
    share: float
    vectors: bool = True

    def __call__(self, numbers: Numbers, seed: int | None = None, part: slice = WHOLE) -> MaskedBatch:
        """Return a part of the batch of these texts, padded on the right to the longest."""
        own = Part(self.store, numbers, seed, part)
        ids, lengths = own.ids()
        masked = self.lookup.sample_words(ids, self.share, own)
        visible = self.lookup.mask(ids, masked)
        inputs = {"ids": visible, "lengths": lengths, **own.dropout}
        if self.vectors:
            inputs["vectors"] = self.lookup.vectors(visible)
        return MaskedBatch(inputs, ids[:, :, 0], masked)


def train_step(state: TrainingState, lookup: Lookup, matmul_dtype: tf.DType = tf.float32) -> Callable[..., tf.Tensor]:
    """Return a function that takes the parts of a `MaskedBatch` and makes one step.

    It returns the loss and the share of masked characters that are predicted correctly, (2,) float32.

    Args:
        state: Of a `CharacterPredictor`; changed by each step.
        lookup: Gives the shapes of the inputs.
        matmul_dtype: Dtype of the LSTMs' matrix products; weights and all else are float32.
    """
    model = state.model
    characters_spec, masked_spec = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.bool)

    @traced(input_signature=(input_signature(model.tagger, lookup), characters_spec, masked_spec))
    def step(inputs: dict[str, tf.Tensor], characters: tf.Tensor, masked: tf.Tensor) -> tf.Tensor:
        chosen = tf.transpose(masked)  # (T, B)
        gold = tf.boolean_mask(tf.transpose(characters), chosen)  # (N,)
        count = tf.maximum(tf.cast(tf.shape(gold)[0], tf.float32), 1.0)
        with tf.GradientTape() as tape:
            hidden = model.tagger.hidden(inputs, training=True, matmul_dtype=matmul_dtype)  # (T, B, H)
            scores = model.head(tf.boolean_mask(hidden, chosen))  # (N, characters)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(gold, scores)
            loss = tf.reduce_sum(losses) / count
        state.apply_gradients(tape.gradient(loss, state.weights))
        correct = tf.argmax(scores, axis=1, output_type=tf.int32) == gold
        return tf.stack([loss, tf.reduce_sum(tf.cast(correct, tf.float32)) / count])

    return step
