import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tagger import bundle as bundles
from tagger import config, corpus
from tagger.errors import TrainingError
from tagger.text import normal
from tagger.vectors import RESERVED
from tests.conftest import ROOT, SMALL

pytestmark = pytest.mark.train

SETTINGS = [*SMALL, "batches.texts=16", "training.epochs=4"]


def command(small_corpus, out, *more):
    options = [option for setting in SETTINGS for option in ("--set", setting)]
    files = ["--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--out", out]
    return [sys.executable, "-m", "tagger.cli", "train", *map(str, files), *options, *more]


def weights(folder):
    return [weight.numpy() for weight in bundles.load(folder).keras_model().weights]


def test_the_sample_is_learnt(bundle):
    history = bundles.load(bundle).json("history.json")
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert max(row["f1"] for row in history) > 0.1


@pytest.mark.slow
def test_a_killed_training_resumes_and_ends_with_the_same_weights(small_corpus, tmp_path, capsys):
    from tagger.cli import main

    subprocess.run(command(small_corpus, tmp_path / "whole"), cwd=ROOT, check=True, capture_output=True)
    killed = subprocess.Popen(command(small_corpus, tmp_path / "killed"), cwd=ROOT, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed.training" / "checkpoint.npz"
    while not checkpoint.exists() and killed.poll() is None:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed").exists()
    assert main(command(small_corpus, tmp_path / "killed")[3:]) == 1
    assert "--resume" in capsys.readouterr().err
    resumed = subprocess.run(
        command(small_corpus, tmp_path / "killed", "--resume"), cwd=ROOT, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch" in resumed.stderr
    for ours, theirs in zip(weights(tmp_path / "whole"), weights(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not (tmp_path / "killed.training").exists()


def test_resume_refuses_other_settings(small_corpus, tmp_path):
    from tagger.learning.run import RunFolder, Sources

    sources = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    RunFolder(tmp_path / "out.training", config.load("default"), sources, resume=False)
    with pytest.raises(TrainingError, match="other settings"):
        RunFolder(tmp_path / "out.training", config.load("contest"), sources, resume=True)
    RunFolder(tmp_path / "out.training", config.load("contest"), sources, resume=False).save_checkpoint({})
    with pytest.raises(TrainingError, match="--resume"):
        RunFolder(tmp_path / "out.training", config.load("default"), sources, resume=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no entity"),
        ('{"text": "没有实体", "entities": []}\n', "no entity"),
        ('{"text": "坏", "entities": [{"start": 0, "end": 9, "label": "A"}]}\n', r"train\.jsonl:1: expected"),
    ],
)
def test_an_error_in_the_corpus_is_one_line(small_corpus, tmp_path, content, message):
    from tagger.errors import TaggerError
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    path = tmp_path / "train.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(TaggerError, match=message):
        train(config.load("default"), Sources(path, small_corpus / "dev.jsonl"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("metric", "shown"), [("f1", None), ("top1", True), ("contest", True)])
def test_scores_of_the_contest_are_there_where_they_pick_the_epoch(metric, shown):
    from tagger.learning.calibrating import shows_contest

    assert shows_contest(config.load("default", [f"training.metric={metric}"])) is shown


@pytest.mark.parametrize("score", ["f1", "top1"])
def test_early_stopping_keeps_the_best_epoch(small_corpus, tmp_path, score):
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    stopping = ["training.epochs=30", "training.patience=2", f"training.metric={score}"]
    settings = config.load("default", [*SETTINGS, *stopping])
    metrics = train(settings, Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl"), tmp_path / "out")
    history = json.loads((tmp_path / "out" / "history.json").read_text("utf-8"))
    assert metrics["epoch"] == 1 + max(range(len(history)), key=lambda n: (history[n][score], -n))
    assert len(history) == min(30, metrics["epoch"] + 2)


@pytest.mark.parametrize("unit", ["char", "word"])
def test_a_single_step_is_a_training(small_corpus, tmp_path, unit):
    """One epoch on a handful of texts: the first thing that many do."""
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    lines = (small_corpus / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "few.jsonl").write_text("".join(lines[:12]), "utf-8")
    settings = config.load("default", [*SMALL, "training.epochs=1", f"text.unit={unit}"])
    train(settings, Sources(tmp_path / "few.jsonl", small_corpus / "dev.jsonl"), tmp_path / "out")
    [row] = bundles.load(tmp_path / "out").json("history.json")
    assert np.isfinite(row["loss"])


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 1000])
def test_the_learning_rate_of_any_number_of_steps(steps):
    from tagger.learning.fitting import learning_rate
    from tagger.sections import TrainingConfig

    schedule = learning_rate(TrainingConfig(learning_rate=0.003), steps)
    rates = [float(schedule(step)) for step in range(steps)] if callable(schedule) else [schedule]
    assert all(0 <= rate <= 0.0031 for rate in rates)
    assert max(rates) > 0.0029


def test_a_loss_that_is_not_a_number_stops_the_training(small_corpus, tmp_path):
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    wild = ["training.learning_rate=1e30", "training.schedule=constant", "training.clip_norm=0.0"]
    sources = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    with pytest.raises(
        TrainingError, match=r"^epoch \d: the loss is not a number .*; try a lower training.learning_rate"
    ):
        train(config.load("default", [*SETTINGS, *wild]), sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.training" / "checkpoint.npz").exists()


def test_weights_that_are_not_finite_are_refused():
    from tagger.learning.fitting import require_finite
    from tagger.sections import TrainingConfig

    settings = TrainingConfig(learning_rate=0.01)
    require_finite([np.zeros(3), np.ones((2, 2))], 0, settings)
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(TrainingError, match=r"^epoch 3: .*lower training.learning_rate than 0\.01"):
            require_finite([np.zeros(3), np.array([1, value])], 2, settings)


def test_the_kept_weights_are_those_that_were_scored(bundle, small_corpus):
    from tagger import Tagger

    scores = Tagger.load(bundle).evaluate(corpus.read(small_corpus / "dev.jsonl"))
    assert scores.overall.f1 == pytest.approx(bundles.load(bundle).json("metrics.json")["f1"], abs=1e-9)


def test_the_vector_of_a_character_unseen_in_training_is_zero(bundle, small_corpus):
    found = bundles.load(bundle)
    texts = (document.text for document in corpus.read(small_corpus / "train.jsonl"))
    shown = {character for text in texts for character in normal(text, found.config.text.fold)}
    rows = found.keras_model().embeddings[0].embeddings.numpy()[RESERVED:]
    seen = np.array([character in shown for character in found.lookup.tables[0].vocabulary.words])
    assert not seen.all()
    assert not rows[~seen].any()
    assert rows[seen].any(axis=1).all()
