import dataclasses
import json

import pytest

from tagger import bundle as bundles
from tagger import config
from tagger.errors import TrainingError
from tagger.presets import DEVICES, PRESETS
from tests.conftest import SMALL

pytestmark = pytest.mark.train


def small_and_large():
    return (DEVICES[kind].settings for kind in ("processor", "card"))


def test_the_recipe_of_a_processor_is_what_it_was():
    small, _ = small_and_large()
    assert small == {
        "batches": {"units": 2400},
        "training": {"learning_rate": 0.003, "ema_momentum": 0.997},
        "transfer": {"fine_tune_rate": 0.002},
    }


@pytest.mark.parametrize("kind", DEVICES)
def test_what_is_left_open_is_decided_by_the_device(kind):
    from tagger.learning.automatic import by_device

    assert by_device(config.load("default"), kind) == DEVICES[kind].settings


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_stays_open_but_what_the_machine_decides(preset, tmp_path):
    from tagger.learning.automatic import decide
    from tagger.learning.device import PROCESSOR

    decided = decide(config.load(preset), PROCESSOR, tmp_path, lambda: 7)
    of_machine = {"training.gpu", "training.matmul_dtype"}
    elsewhere = {"vectors.epochs", "vectors.norm", "pretrain.epochs"}
    names = {
        f"{name}.{key}" for name, section in decided.to_dict().items() for key, v in section.items() if v == "auto"
    }
    assert names <= of_machine | elsewhere


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize(
    ("batches", "suited"),
    [
        (["units=2400"], "processor"),
        (["units=1"], "processor"),
        (["units=7000"], "processor"),
        (["units=8000"], "card"),
        (["units=90000"], "card"),
        (["units=0"], "card"),
        (["units=3000", "accumulate=8"], "card"),
    ],
)
def test_the_rate_suits_the_batches_that_somebody_chose(kind, batches, suited):
    from tagger.learning.automatic import by_device

    chosen = config.load("default", [f"batches.{setting}" for setting in batches])
    expected = {name: values for name, values in DEVICES[suited].settings.items() if name != "batches"}
    assert by_device(chosen, kind) == expected


def test_what_somebody_chose_is_kept():
    from tagger.learning.automatic import by_device

    chosen = config.load("default", ["training.learning_rate=0.1", "transfer.fine_tune_rate=0.2"])
    _, large = small_and_large()
    assert by_device(chosen, "card") == {
        "batches": large["batches"],
        "training": {"ema_momentum": large["training"]["ema_momentum"]},
    }
    assert by_device(config.load("contest"), "card") == {}


def test_what_is_decided_is_kept_whatever_the_device(tmp_path):
    from tagger.learning.automatic import decide
    from tagger.learning.device import PROCESSOR, Device

    open_settings = config.load("default")
    begun = decide(open_settings, Device("card", "a card"), tmp_path, lambda: 7)
    assert (begun.batches.units, begun.training.epochs) == (DEVICES["card"].settings["batches"]["units"], 7)
    assert decide(open_settings, PROCESSOR, tmp_path, lambda: 9) == begun
    (tmp_path / "decided.json").write_text("{")
    with pytest.raises(TrainingError, match=r"decided\.json is damaged; delete the folder"):
        decide(open_settings, PROCESSOR, tmp_path)


def interrupted_on_a_card(small_corpus, out, settings):
    """Make the folder of a training that was interrupted on a card, before its first epoch had ended."""
    from tagger.learning.automatic import decide
    from tagger.learning.device import Device
    from tagger.learning.run import RunFolder, Sources, run_folder_of

    sources = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    run = RunFolder(run_folder_of(out), settings, sources, resume=False)
    decide(settings, Device("card", "a card"), run.folder, lambda: 2)
    return sources


def test_a_training_begun_on_a_card_goes_on_on_a_processor(small_corpus, tmp_path):
    from tagger.learning.training import train

    left_open = ["training.learning_rate=auto", "training.ema_momentum=auto", "training.epochs=auto"]
    settings = config.load("default", [*SMALL, *left_open])
    sources = interrupted_on_a_card(small_corpus, tmp_path / "out", settings)
    elsewhere = dataclasses.replace(settings, training=dataclasses.replace(settings.training, gpu=-1))
    train(elsewhere, sources, tmp_path / "out", resume=True)
    found, (_, large) = bundles.load(tmp_path / "out").config, small_and_large()
    assert found.batches.units == large["batches"]["units"]
    assert (found.training.learning_rate, found.training.ema_momentum) == tuple(large["training"].values())
    assert found.training.epochs == len(json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))) == 2
    assert not (tmp_path / "out.training").exists()


def test_other_settings_are_not_those_of_the_device(small_corpus, tmp_path):
    from tagger.learning.training import train

    settings = config.load("default", SMALL)
    sources = interrupted_on_a_card(small_corpus, tmp_path / "out", settings)
    other = dataclasses.replace(settings, training=dataclasses.replace(settings.training, seed=9))
    with pytest.raises(TrainingError, match="was started with other settings or files"):
        train(other, sources, tmp_path / "out", resume=True)
