"""Prints how far the weights of three replicas are from those of one after ten steps; run by `test_replicas.py`.

Each replica has a logical device of this process's processor.
"""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tagger.batches import StoreWriter
from tagger.config import load
from tagger.learning.device import PROCESSOR
from tagger.learning.replicas import Replicas
from tagger.learning.training import make_step
from tagger.tags import OPEN, TagScheme
from tests.conftest import SMALL
from tests.samples import char_lookup

TEXTS, STEPS = 47, 10

CASES = {
    "crf": ["batches.units=90", "batches.texts=2"],  # none is left for the third replica
    "softmax": ["batches.units=90", "model.crf=false", "model.activity_l1=0.01"],
}


def main() -> None:
    """Compare, and print a line for each case."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(3)])
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in CASES.items():
            alone = weights(Path(folder), settings, Replicas())
            shared = weights(Path(folder), settings, Replicas(PROCESSOR, strategy))
            print(f"{name}\t{max(np.abs(a - b).max() for a, b in zip(alone, shared, strict=True))}")


def weights(folder: Path, settings: list[str], replicas: Replicas) -> list[np.ndarray]:
    """Return weights and averages after ten steps."""
    lookup, rng = char_lookup(), np.random.default_rng(1)
    writer = StoreWriter(folder, lookup.columns)
    scheme = TagScheme(("A",))
    for number in range(TEXTS):
        length = int(rng.integers(1, 12))
        ids = rng.integers(1, 4, (length, lookup.columns)).astype(np.int32)
        tags = rng.choice([0, 1, OPEN], length).astype(np.int32)
        writer.add(ids, tags, 0.5 if number % 3 else 1.0)
    config = load("default", [*SMALL, "training.epochs=5", "training.matmul_dtype=float32", *settings])
    state, step, batches = make_step(config, scheme, lookup, writer.close(), None, replicas)
    made, first = 0, [weight.numpy() for weight in state.weights]
    for epoch in range(STEPS):
        for batch in batches.epoch(epoch):
            if made == STEPS:
                break
            step(*batch)
            made += 1
    assert max(np.abs(weight.numpy() - begun).max() for weight, begun in zip(state.weights, first, strict=True)) > 0.05
    return [*(weight.numpy() for weight in state.weights), *state.evaluated_weights()]


if __name__ == "__main__":
    main()
