import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import bundle as bundles
from tagger.config import TextConfig
from tagger.lookup import Lookup
from tagger.text import UnitMaker
from tagger.vectors import UNKNOWN
from tests.conftest import ROOT, SMALL
from tests.samples import few, table

SETTINGS = [option for setting in [*SMALL, "training.epochs=3", "pretrain.epochs=3"] for option in ("--set", setting)]
TEXT = "北京大学的学生去北京"


def lookup():
    pairs = [a + b for a, b in zip(" " + TEXT, TEXT + " ", strict=True)]
    return Lookup([table("char", sorted(set(TEXT))), table("bigram", sorted(set(pairs))), table("word", ["北京"])])


@few
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_whole_words_are_hidden_and_padding_is_not(seed, share):
    made = UnitMaker(TextConfig())(TEXT)
    found = lookup()
    ids = np.zeros((2, len(TEXT) + 3, found.columns), np.int32)
    ids[:, : len(TEXT)] = found.ids([made])[0]
    chosen = found.sample_words(ids, share, np.random.default_rng(seed))
    assert not chosen[:, len(TEXT) :].any()
    start = 0
    for word in made.words:
        assert len(set(chosen[0, start : start + len(word)].tolist())) == 1
        start += len(word)


def test_what_is_hidden_is_told_by_nothing():
    """Texts that differ in the hidden characters alone look the same."""
    found, units = lookup(), UnitMaker(TextConfig())
    chosen = np.zeros((1, 5), bool)
    chosen[0, 2] = True
    seen = [found.mask(found.ids([units(text)])[0][None], chosen) for text in ("北京大学生", "北京去学生")]
    columns = [0, 1, 2]  # the word, and the place in it, are those of the segmenter, who hides whole words
    np.testing.assert_array_equal(seen[0][:, :, columns], seen[1][:, :, columns])
    assert (seen[0][0, 2, [0, 1, 2, 3]] == UNKNOWN).all()
    assert seen[0][0, 2, 4] == found.ids([units("北京大学生")])[0][2, 4]
    assert (seen[0][0, [1, 3], 1] == UNKNOWN).all()
    assert (seen[0][0, [0, 4], 0] != UNKNOWN).all()


def command(what, *arguments):
    return [sys.executable, "-m", "tagger.cli", what, *map(str, arguments)]


def run(what, *arguments):
    return subprocess.run(command(what, *arguments), cwd=ROOT, capture_output=True, text=True)


@pytest.mark.train
def test_a_killed_pretraining_goes_on_and_training_starts_from_it(small_corpus, tmp_path):
    texts = (small_corpus / "more.txt", small_corpus / "train.jsonl")
    assert run("pretrain", *texts, "--out", tmp_path / "whole", *SETTINGS).returncode == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command("pretrain", *texts, "--out", out, *SETTINGS), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "killed.training" / "checkpoint.npz").exists() and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = run("pretrain", *texts, "--out", out, *SETTINGS, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch" in done.stderr
    whole, killed = (bundles.load(tmp_path / name) for name in ("whole", "killed"))
    assert (whole.folder / bundles.ONNX).read_bytes() == (killed.folder / bundles.ONNX).read_bytes()
    history = killed.json("history.json")
    assert history[-1]["loss"] < history[0]["loss"]
    assert run("inspect", out).returncode == 0
    corpora = ("--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl")
    done = run("train", *corpora, "--out", tmp_path / "trained", "--start", out, *SETTINGS)
    assert done.returncode == 0, done.stderr
    trained = bundles.load(tmp_path / "trained")
    assert (trained.folder / "word.npy").read_bytes() == (out / "word.npy").read_bytes()
    done = run("train", *corpora, "--out", tmp_path / "b", "--start", out, *SETTINGS, "--set", "model.layers=[8]")
    assert done.returncode == 1
    assert "model.layers is [8] and model.merge 'concat', expected [16, 16]" in done.stderr


@pytest.mark.train
def test_the_start_is_what_training_begins_with(small_corpus, bundle):
    from tagger.tags import TagScheme
    from tagger.weights import fresh_model

    found = bundles.load(bundle)
    for labels, same in ((found.scheme.labels, True), (("X", "Y"), False)):
        model = fresh_model(found.config, TagScheme(labels), found.lookup)
        found.load_weights(model)
        theirs = {weight.path: weight.numpy() for weight in found.keras_model().weights}
        for weight in model.weights:
            of_tags = any(name in weight.path for name in ("scores", "transitions"))
            if same or not of_tags:
                np.testing.assert_array_equal(weight.numpy(), theirs[weight.path])


@pytest.mark.train
def test_pretraining_goes_on_from_another_network(small_corpus, bundle, tmp_path):
    """With steps too small to tell, what comes out is what it started from."""
    still = [*SETTINGS, "--set", "training.learning_rate=1e-12"]
    done = run("pretrain", small_corpus / "more.txt", "--out", tmp_path / "on", "--start", bundle, *still)
    assert done.returncode == 0, done.stderr
    before, after = (bundles.load(folder).weights() for folder in (bundle, tmp_path / "on"))
    for one, other in zip(before.layers, after.layers, strict=True):
        for weights, same in zip(itertools.chain(*one), itertools.chain(*other), strict=True):
            np.testing.assert_array_equal(weights, same)
    assert (tmp_path / "on" / "word.npy").read_bytes() == (bundle / "word.npy").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing.txt"], 1, "nothing.txt: expected a corpus, received no such file"),
        (["{c}/more.txt", "--config", "contest"], 2, 'needs text.unit = "char"'),
        (["{c}/more.txt", "--set", "pretrain.masking=0"], 2, "pretrain.masking must be above 0 and below 1"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(small_corpus, tmp_path, capsys, arguments, code, message):
    from tagger.cli import main

    given = [argument.format(c=small_corpus) for argument in arguments]
    assert main(["pretrain", *given, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
