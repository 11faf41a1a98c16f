import dataclasses
import json

import pytest

from tagger import bundle as bundles
from tagger import config
from tagger.errors import TrainingError
from tagger.presets import PRESETS
from tests.conftest import SMALL

pytestmark = pytest.mark.train


def passes(units):
    return 7


def suited(kind, units, *settings):
    from tagger.learning.automatic import automatic_epochs, suited

    return suited(config.load("default", settings), kind, units, automatic_epochs)


@pytest.mark.parametrize(("units", "epochs"), [(1, 24), (1_000_000, 12), (10**9, 6)])
def test_a_student_goes_over_many_texts_fewer_times(units, epochs):
    from tagger.learning.automatic import automatic_distillation

    assert automatic_distillation(units) == epochs


@pytest.mark.parametrize(("units", "epochs"), [(1, 24), (400_000, 16), (10**9, 12)])
def test_the_recipe_of_a_processor_is_what_it_was(units, epochs):
    assert suited("processor", units) == {
        "batches": {"units": 2400},
        "training": {"epochs": epochs, "learning_rate": 0.003, "ema_momentum": 0.997},
    }


@pytest.mark.parametrize("units", [1, 1000, 200_000])
def test_a_small_corpus_gets_the_same_on_every_device(units):
    assert suited("card", units) == suited("processor", units)


@pytest.mark.parametrize("units", [700_000, 2_000_000, 10**9])
def test_a_card_gets_batches_as_large_as_leave_enough_updates(units):
    from tagger.learning.automatic import BATCH_UNITS, UPDATES

    values = suited("card", units)
    size, training = values["batches"]["units"], values["training"]
    assert 2400 <= size <= BATCH_UNITS["card"]
    assert units * training["epochs"] / size >= UPDATES
    assert size == BATCH_UNITS["card"] or units * training["epochs"] / (size + 1) < UPDATES
    assert training["learning_rate"] == pytest.approx(0.003 * (size / 2400) ** 0.5, rel=0.005)
    forgotten = 1 - training["ema_momentum"] ** (2400 / size)  # with each 2,400 units
    assert forgotten == pytest.approx(0.003, rel=0.1)


@pytest.mark.parametrize("kind", ["processor", "card"])
@pytest.mark.parametrize(
    ("batches", "rate", "momentum"),
    [
        (["units=2400"], 0.003, 0.997),
        (["units=0"], 0.003, 0.997),
        (["units=1"], 0.003, 0.997),
        (["units=9600"], 0.006, 0.988),
        (["units=4800", "accumulate=2"], 0.006, 0.988),
        (["units=900000"], 0.012, 0.953),
    ],
)
def test_the_rate_suits_the_updates_that_somebody_chose(kind, batches, rate, momentum):
    assert suited(kind, 10**9, *(f"batches.{setting}" for setting in batches)) == {
        "batches": {},
        "training": {"epochs": 12, "learning_rate": rate, "ema_momentum": momentum},
    }


def test_batches_that_are_added_up_make_one_update():
    assert suited("card", 10**9, "batches.accumulate=4")["batches"] == {"units": 6000}
    assert suited("card", 10**9, "batches.accumulate=99")["batches"] == {"units": 2400}


def test_what_somebody_chose_is_kept():
    chosen = suited("card", 10**9, "training.learning_rate=0.1", "training.epochs=3")
    assert chosen == {"batches": {"units": 24_000}, "training": {"ema_momentum": 0.97}}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["processor", "card"])
def test_nothing_stays_open_but_what_the_machine_decides(kind, preset, tmp_path):
    from tagger.learning.automatic import decide

    decided = decide(config.load(preset), kind, tmp_path, lambda: 10**9, passes)
    of_machine = {"training.gpu", "training.matmul_dtype"}
    elsewhere = {"vectors.epochs", "vectors.norm", "pretrain.epochs", "distil.epochs", "training.start", "decode.spans"}
    names = {
        f"{name}.{key}" for name, section in decided.to_dict().items() for key, v in section.items() if v == "auto"
    }
    assert names <= of_machine | elsewhere
    if preset == "contest":
        assert json.loads((tmp_path / "decided.json").read_text("utf-8")) == {"batches": {}, "training": {}}


def test_what_is_decided_is_kept_whatever_the_device(tmp_path):
    from tagger.learning.automatic import decide, kept_kind

    open_settings = config.load("default")
    begun = decide(open_settings, "card", tmp_path, lambda: 10**9, passes)
    assert (begun.batches.units, begun.training.epochs) == (24_000, 7)
    assert decide(open_settings, "processor", tmp_path, lambda: 1, passes) == begun
    (tmp_path / "decided.json").write_text("{")
    with pytest.raises(TrainingError, match=r"decided\.json is damaged; delete the folder"):
        decide(open_settings, "processor", tmp_path, lambda: 1, passes)
    with pytest.raises(TrainingError, match=r"decided\.json is damaged; delete the folder"):
        kept_kind(tmp_path, "card")
    (tmp_path / "decided.json").unlink()
    assert [kept_kind(tmp_path, kind) for kind in ("card", "processor")] == ["card", "card"]


LEFT_OPEN = config.load(
    "default", [*SMALL, *(f"training.{name}=auto" for name in ("learning_rate", "ema_momentum", "epochs"))]
)


def interrupted_on_a_card(small_corpus, out, units):
    """Make the folder of a training that was interrupted on a card, before its first epoch had ended."""
    from tagger.learning.automatic import decide
    from tagger.learning.run import RunFolder, Sources, run_folder_of

    sources = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    run = RunFolder(run_folder_of(out), LEFT_OPEN, sources, resume=False)
    decide(LEFT_OPEN, "card", run.folder, lambda: units, lambda _: 2)
    return sources


def changed(**settings):
    return dataclasses.replace(LEFT_OPEN, training=dataclasses.replace(LEFT_OPEN.training, **settings))


def test_a_training_begun_on_a_card_goes_on_on_a_processor(small_corpus, tmp_path):
    from tagger.learning.training import train

    sources = interrupted_on_a_card(small_corpus, tmp_path / "out", units=11_520_000)
    train(changed(gpu=-1), sources, tmp_path / "out", resume=True)
    found = bundles.load(tmp_path / "out").config
    assert found.batches.units == 9600
    assert (found.training.learning_rate, found.training.ema_momentum) == (0.006, 0.988)
    assert found.training.epochs == len(json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))) == 2
    assert not (tmp_path / "out.training").exists()


def test_other_settings_are_not_those_of_the_device(small_corpus, tmp_path):
    from tagger.learning.training import train

    sources = interrupted_on_a_card(small_corpus, tmp_path / "out", units=11_520_000)
    with pytest.raises(TrainingError, match="was started with other settings or files"):
        train(changed(seed=9), sources, tmp_path / "out", resume=True)


def test_a_training_that_runs_out_of_memory_can_be_resumed(small_corpus, tmp_path, monkeypatch):
    import tensorflow as tf

    from tagger.learning import training

    sources = interrupted_on_a_card(small_corpus, tmp_path / "out", units=11_520_000)

    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")

    with monkeypatch.context() as patched:
        patched.setattr(training, "run_epoch", fail)
        message = r"^the processor: the memory is full; the work so far is kept in .*/out\.training; begin again with "
        with pytest.raises(
            TrainingError, match=message + r"batches\.units below 9600 or model\.layers below \[16, 16\]$"
        ):
            training.train(LEFT_OPEN, sources, tmp_path / "out", resume=True)
    training.train(changed(gpu=-1), sources, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "manifest.json").exists()
