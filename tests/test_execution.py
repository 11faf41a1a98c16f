from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tagger import bundle as bundles
from tagger import crf, execution
from tagger.batches import BatchMaker, StoreWriter
from tagger.execution import EXECUTIONS
from tagger.learning import fitting, training
from tagger.learning.automatic import BATCH_UNITS
from tagger.lstm import KERNELS
from tagger.model import FrozenVectors
from tagger.runtime.keras import KerasRuntime
from tagger.sections import TrainingConfig
from tagger.tags import OPEN
from tests.conftest import GOLDEN_BUNDLE

# What a card computes, as far as a processor can: all but cuDNN.
LIKE_A_CARD = replace(EXECUTIONS["card"], kernel="loop")


def test_the_table_names_what_there_is():
    assert {row.kernel for row in EXECUTIONS.values()} <= set(KERNELS)
    assert {row.crf for row in EXECUTIONS.values()} <= set(crf.METHODS)
    assert set(BATCH_UNITS) <= set(EXECUTIONS)


def test_a_processor_computes_as_its_row_says():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("there is a graphics card")
    assert execution.here() == EXECUTIONS["processor"]


@pytest.mark.parametrize(
    ("fault", "compiler", "expected"),
    [
        ("", "", {}),
        ("no such version", "", {"kernel": "keras"}),
        ("", "no libraries", {"compiled": False}),
        ("no such version", "no libraries", {"kernel": "keras", "compiled": False}),
    ],
)
def test_a_card_does_without_what_does_not_work(monkeypatch, capsys, fault, compiler, expected):
    monkeypatch.setattr(execution.tf.config, "list_logical_devices", lambda kind: ["a card"])
    monkeypatch.setattr(execution, "cudnn_fault", lambda: fault)
    monkeypatch.setattr(execution, "_compiler_fault", lambda: compiler)
    execution.say_once.cache_clear()
    assert execution.here() == execution.here() == replace(EXECUTIONS["card"], **expected)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(expected)
    assert all(line.endswith(("no such version", "no libraries")) for line in said)


class Steps:
    """Steps of training on a few texts at random, with the settings and tables of a bundle.

    Args:
        row: How it computes.
        folder: For the texts.
    """

    def __init__(self, row, folder):
        found = bundles.load(GOLDEN_BUNDLE)
        rng, lookup, scheme = np.random.default_rng(4), found.lookup, found.scheme
        writer = StoreWriter(folder, lookup.columns)
        for length in (9, 4, 12, 1, 7, 10):
            ids = rng.integers(2, 9, (length, lookup.columns))
            writer.add(ids, rng.choice([OPEN, 0, 1], length))
        store = writer.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tagger.model.here", lambda: row)
            model = fitting.seeded_model(found.config, scheme, lookup, store, None)
        self.maker = BatchMaker(store, lookup, scheme.size, vectors=model.frozen is None)
        settings = TrainingConfig(learning_rate=0.003, ema_momentum=0.9)
        optimizer = fitting.make_optimizer(settings, model.trainable_variables, 20)
        self.state = fitting.TrainingState(model, optimizer, settings, compiled=row.compiled)
        self.step = training.train_step(self.state, lookup, partial=store.partial)

    def losses(self, seeds):
        """Make a step with each seed, and return the losses."""
        return [float(self.step(*self.maker(range(6), seed=seed))) for seed in seeds]


def test_steps_as_on_a_card_are_those_of_a_processor_and_a_run_goes_on_on_either(tmp_path):
    processor, card = (Steps(row, tmp_path / row.crf) for row in (EXECUTIONS["processor"], LIKE_A_CARD))
    for one, other in zip(
        [*processor.losses(range(3)), *processor.state.evaluated_weights()],
        [*card.losses(range(3)), *card.state.evaluated_weights()],
        strict=True,
    ):
        np.testing.assert_allclose(other, one, atol=1e-3)
    card.losses(range(3, 5))
    processor.state.restore(card.state.arrays())
    np.testing.assert_allclose(processor.losses(range(5, 7)), card.losses(range(5, 7)), atol=1e-3)


def test_a_card_has_a_kernel_for_every_operation_of_a_step(tmp_path):
    """Without one, TensorFlow would compute on the processor and copy back and forth, and say nothing."""
    kernels = pytest.importorskip("tensorflow.python.framework.kernels")

    def of_cards(node):
        """Return the kernels of cards for the types of this operation."""
        there = kernels.get_registered_kernels_for_op(node.op).kernel
        return [
            kernel for kernel in there
            if kernel.device_type in ("GPU", "DEFAULT")
            and all(node.attr[each.name].type in (0, *each.allowed_values.list.type) for each in kernel.constraint)
        ]  # fmt: skip

    graph = Steps(EXECUTIONS["card"], tmp_path).step.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    operations = {node.op for node in nodes}
    assert {"CudnnRNNV3", "CudnnRNNBackpropV3", "GatherV2", "BatchMatMulV2"} <= operations
    if not kernels.get_registered_kernels_for_op("CudnnRNNV3").kernel:
        pytest.skip("this TensorFlow is built for processors alone")
    known = [node for node in nodes if kernels.get_registered_kernels_for_op(node.op).kernel]  # all but calls
    assert [f"{node.op} {node.name}" for node in known if not of_cards(node)] == []


def test_frozen_vectors_are_those_of_the_lookup():
    lookup = bundles.load(GOLDEN_BUNDLE).lookup
    ids = np.random.default_rng(1).integers(0, 9, (3, 7, lookup.columns)).astype(np.int32)
    np.testing.assert_array_equal(FrozenVectors(lookup)(tf.constant(ids)), lookup.vectors(ids))


def test_scores_are_the_same_from_ids_alone():
    found = bundles.load(GOLDEN_BUNDLE)
    rng = np.random.default_rng(2)
    ids, lengths = rng.integers(0, 9, (2, 6, found.lookup.columns)).astype(np.int32), np.array([6, 4], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagger.model.here", lambda: LIKE_A_CARD)
        alone = found.keras_model()
    assert alone.frozen
    expected = KerasRuntime(found.keras_model("processor"), found.lookup).scores(ids, lengths)
    np.testing.assert_allclose(KerasRuntime(alone, found.lookup).scores(ids, lengths), expected, atol=1e-5)
