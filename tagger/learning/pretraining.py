"""Pretraining on text without labels: the network learns to tell hidden words by what stands around them.

The task of Devlin et al. (2019), for a BiLSTM: a share of the words is hidden, and what their neighbours tell of them.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tagger import bundle as bundles
from tagger.batches import Batch, Batches, BatchMaker, Store, ahead, pad
from tagger.calibration import Calibration
from tagger.config import Config, passes_over
from tagger.decode import Transitions
from tagger.documents import Document
from tagger.errors import ConfigError
from tagger.files import refuse_existing
from tagger.learning.device import matmul_dtype, use_device
from tagger.learning.run import ALIGNMENT, RunFolder, Sources, corpus_texts
from tagger.learning.state import State
from tagger.learning.training import inputs_of, learning_rate, silence_unseen, write_networks
from tagger.lookup import Lookup
from tagger.progress import say
from tagger.settings import merge, unless_auto
from tagger.tags import TagScheme
from tagger.text import UnitMaker, pieces
from tagger.weights import fresh_model

_NOTHING = TagScheme(())  # a tagger that knows no label yet


def pretrain(
    config: Config,
    files: Sequence[Path],
    out: Path,
    resume: bool = False,
    replace: bool = False,
    shown: Sequence[Path] = (),
    start: Path | None = None,
) -> list[dict[str, float]]:
    """Pretrain a network and write its bundle, from which `train` and `transfer` may start.

    What is done is kept in `OUT.training`, as `training.train` does.

    Args:
        config: All settings; `pretrain.epochs` are used instead of `training.epochs`.
        files: Texts, or labelled corpora whose labels are passed over; they are streamed.
        out: The bundle's folder.
        resume: Go on with an interrupted pretraining; start one where there is none.
        replace: Whether an existing bundle may be replaced.
        shown: What the network is shown of the files, if not all that the vectors are learnt from.
        start: Bundle whose vectors and network are used instead of new ones.

    Returns:
        Each epoch's figures: `loss`, and the share of hidden characters that were told, `right`.

    Raises:
        TaggerError: If a file, a setting or the place to write to is at fault.
    """
    refuse_existing(out, replace)
    if config.text.unit != "char":
        raise ConfigError('tagger pretrain needs text.unit = "char"')
    sources = Sources(files[0], files[0], tuple(files[1:]), vectors=start, start=start)  # without labels, no dev
    work = RunFolder(out.with_name(out.name + ".training"), config, sources, resume)
    use_device(config.training)
    units = UnitMaker(config.text)
    lookup = work.lookup(units)
    store = work.store(units, lookup, _NOTHING, _documents(shown or files))
    automatic = passes_over(int(store.lengths.sum()), 12_000_000, least=1, most=20)
    epochs = unless_auto(config.pretrain.epochs, automatic)
    config = merge(config, {"training": {"epochs": epochs}}, "pretrain.epochs")
    model, history = fit(config, lookup, store, work)
    reports = {"history.json": history, "metrics.json": {}, ALIGNMENT: work.alignment()}
    legal, none = Transitions.legal(_NOTHING), Calibration()
    bundles.save(
        out, config, _NOTHING, legal, lookup, units.segmenter, none,
        lambda folder: write_networks(model, lookup, folder), reports, replace,
    )  # fmt: skip
    work.remove()
    return history


def _documents(files: Sequence[Path]) -> Iterator[Document]:
    return (Document(text[start:end]) for text in corpus_texts(files) for start, end in pieces(text))


def fit(config: Config, lookup: Lookup, store: Store, work: RunFolder) -> tuple[Any, list[dict[str, float]]]:
    """Return a fitted `TaggerModel` without tags, and each epoch's figures."""
    settings = config.training
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    model = fresh_model(config, _NOTHING, lookup)
    silence_unseen(model, store)
    if work.sources.start:
        bundles.load(work.sources.start).load_weights(model)
    whole = CharacterPredictor(model, len(lookup.tables[0].vocabulary))
    batches = Batches(MaskedWords(store, lookup, 1, masking=config.pretrain.masking), config.batches, settings.seed)
    optimizer = keras.optimizers.Adam(learning_rate(settings, len(batches)), global_clipnorm=settings.clip_norm or None)
    optimizer.build(whole.trainable_variables)
    state = State(whole, optimizer, settings.ema_momentum)
    step = train_step(whole, optimizer, state, lookup, matmul_dtype(settings))
    history: list[dict[str, float]] = []
    if (kept := work.load_checkpoint()) is not None:
        state.restore(kept)
        history = json.loads(str(kept["told"]))
        say(f"resuming after epoch {len(history)}")
    while (epoch := len(history)) < settings.passes:
        begun = time.monotonic()
        told = f"epoch {epoch + 1}/{settings.epochs}"
        found = [step(*batch) for batch in tqdm(ahead(batches.epoch(epoch)), told, len(batches), False, unit="batch")]
        loss, right = np.mean(np.array(found), axis=0).tolist()
        history.append(
            {"epoch": epoch + 1, "loss": loss, "masked_accuracy": right, "seconds": time.monotonic() - begun}
        )
        work.save_checkpoint({**state.arrays(), "told": np.array(json.dumps(history))})
        say(f"epoch {epoch + 1:3d}  loss {loss:.4f}  told {100 * right:.1f} %  {history[-1]['seconds']:.1f} s")
    state.use(state.evaluated())
    return model, history


class CharacterPredictor(keras.Model):
    """A `TaggerModel` and a layer that tells characters from what it makes of a unit.

    Args:
        tagger: The model; its own last layer is not trained.
        characters: How many there are.
    """

    def __init__(self, tagger: Any, characters: int) -> None:
        super().__init__(name="teller")
        self.tagger = tagger
        tagger.output_.trainable = False
        if tagger.config.crf:
            tagger.transitions.trainable = False
        self.head = keras.layers.Dense(characters, name="characters")
        self.head.build((None, tagger.output_.kernel.shape[0]))
        self.built = True


def train_step(
    whole: CharacterPredictor, optimizer: Any, state: State, lookup: Lookup, matmul_dtype: tf.DType
) -> Callable[..., tf.Tensor]:
    """Return a function that takes a batch of `MaskedWords`, makes one step, and returns loss and share told, (2,)."""
    of_units = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)

    @tf.function(input_signature=(inputs_of(lookup), *of_units))
    def step(inputs: dict[str, tf.Tensor], targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        places = tf.where(tf.transpose(weights) > 0)  # (N, 2): unit and text of what is hidden
        hidden = tf.gather_nd(tf.transpose(targets), places)  # (N,)
        count = tf.maximum(tf.cast(tf.shape(hidden)[0], tf.float32), 1.0)
        with tf.GradientTape() as tape:
            known = whole.tagger.hidden(inputs, training=True, matmul_dtype=matmul_dtype)  # (T, B, H)
            scores = whole.head(tf.gather_nd(known, places))  # (N, characters)
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(hidden, scores)
            loss = tf.reduce_sum(each) / count
        gradients = tape.gradient(loss, whole.trainable_variables)
        optimizer.apply_gradients(zip(gradients, whole.trainable_variables, strict=True))
        state.update_averages()
        right = tf.argmax(scores, axis=1, output_type=tf.int32) == hidden
        return tf.stack([loss, tf.reduce_sum(tf.cast(right, tf.float32)) / count])

    return step


@dataclasses.dataclass(frozen=True)
class MaskedWords(BatchMaker):
    """Makes batches with a random share of the words hidden, `masking` of them.

    `targets` are the ids of all characters, (B, T) int32, and `weights` are 1 where they are hidden.
    """

    def __call__(self, numbers: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of these texts, padded on the right to the longest."""
        ids, lengths = pad([self.store[int(number)][0] for number in numbers])
        chosen = self.lookup.sample_words(ids, self.masking, rng or np.random.default_rng())
        left = self.lookup.mask(ids, chosen)
        inputs = {"ids": left, "vectors": self.lookup.vectors(left), "lengths": lengths}
        return Batch(inputs, ids[:, :, 0], chosen.astype(np.float32))
