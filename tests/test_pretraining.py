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
from tagger.batches import StoreWriter
from tagger.lookup import Lookup
from tagger.sections import TextConfig
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
def test_whole_words_are_masked_and_padding_is_not(seed, share):
    units, tables = UnitMaker(TextConfig())(TEXT), lookup()
    ids = np.zeros((2, len(TEXT) + 3, tables.columns), np.int32)
    ids[:, : len(TEXT)] = tables.ids([units])[0]
    masked = tables.sample_words(ids, share, np.random.default_rng(seed))
    assert not masked[:, len(TEXT) :].any()
    start = 0
    for word in units.words:
        assert len(set(masked[0, start : start + len(word)].tolist())) == 1
        start += len(word)


def test_nothing_reveals_what_is_masked():
    """Texts that differ in the masked characters alone have the same ids."""
    tables, units = lookup(), UnitMaker(TextConfig())
    masked = np.zeros((1, 5), bool)
    masked[0, 2] = True
    first, second = (tables.mask(tables.ids([units(text)])[0][None], masked) for text in ("北京大学生", "北京去学生"))
    columns = [0, 1, 2]  # the others depend on the word, and words are masked as a whole
    np.testing.assert_array_equal(first[:, :, columns], second[:, :, columns])
    assert (first[0, 2, [0, 1, 2, 3]] == UNKNOWN).all()
    assert first[0, 2, 4] == tables.ids([units("北京大学生")])[0][2, 4]
    assert (first[0, [1, 3], 1] == UNKNOWN).all()
    assert (first[0, [0, 4], 0] != UNKNOWN).all()


@pytest.mark.train
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_batch_has_the_characters_that_its_inputs_hide(tmp_path, share):
    from tagger.learning.pretraining import MaskedBatchMaker

    tables, units = lookup(), UnitMaker(TextConfig())
    writer = StoreWriter(tmp_path / "store", tables.columns)
    texts = [TEXT, TEXT[:4]]
    for ids in tables.ids([units(text) for text in texts]):
        writer.add(ids, np.zeros(len(ids), np.int32))
    batch = MaskedBatchMaker(writer.close(), tables, share)([1, 0], seed=1)
    assert batch.inputs["lengths"].tolist() == [4, len(TEXT)]
    assert (batch.characters.shape, batch.masked.shape, batch.masked.dtype) == ((2, len(TEXT)),) * 2 + (np.bool_,)
    characters = batch.inputs["ids"][:, :, 0]
    assert (characters[batch.masked] == UNKNOWN).all()
    np.testing.assert_array_equal(characters[~batch.masked], batch.characters[~batch.masked])
    if share in (0, 1):
        np.testing.assert_array_equal(batch.masked, (batch.characters != 0) & (share == 1))


def command(what, *arguments):
    return [sys.executable, "-m", "tagger.cli", what, *map(str, arguments)]


def run(what, *arguments):
    return subprocess.run(command(what, *arguments), cwd=ROOT, capture_output=True, text=True)


@pytest.mark.train
@pytest.mark.slow
def test_a_killed_pretraining_resumes_and_training_starts_from_it(small_corpus, tmp_path, capsys):
    from tagger.cli import main

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
    assert main(["inspect", str(out)]) == 0
    corpora = ("--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl")
    done = run("train", *corpora, "--out", tmp_path / "trained", "--start", out, *SETTINGS)
    assert done.returncode == 0, done.stderr
    trained = bundles.load(tmp_path / "trained")
    assert (trained.folder / "word.npy").read_bytes() == (out / "word.npy").read_bytes()
    other = ("--start", out, *SETTINGS, "--set", "model.layers=[8]")
    assert main(command("train", *corpora, "--out", tmp_path / "b", *other)[3:]) == 1
    assert "model.layers is [8] and model.merge 'concat', expected [16, 16]" in capsys.readouterr().err


@pytest.mark.train
def test_training_begins_with_the_weights_of_its_start(small_corpus, bundle):
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
def test_pretraining_continues_from_another_network(small_corpus, bundle, tmp_path):
    """With a learning rate next to zero, the result is what it started from."""
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
def test_errors_are_one_line(small_corpus, tmp_path, capsys, arguments, code, message):
    from tagger.cli import main

    given = [argument.format(c=small_corpus) for argument in arguments]
    assert main(["pretrain", *given, "--out", str(tmp_path / "out")]) == code
    assert message in capsys.readouterr().err
