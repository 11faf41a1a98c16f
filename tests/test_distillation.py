import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from tagger import bundle as bundles
from tagger import config, corpus, edges
from tagger.decode import Transitions, lattice
from tagger.documents import Document, Span
from tagger.errors import ConfigError, TrainingError
from tagger.groups import grouped
from tagger.learning.posteriors import Ensemble, read_posteriors, write_posteriors
from tagger.learning.preparation import lists_of
from tagger.sections import TextConfig
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker
from tests.conftest import GOLDEN_BUNDLE, ROOT, SMALL, shared_folder
from tests.test_edges import dense

SCHEME = TagScheme(("LOC", "PER"))

TEXTS = ["遵义会议旧址在贵州", "", "李", "他去了北京大学。他又走了"]


class Teacher:
    """Scores at random, the same for the same text."""

    def __init__(self, labels=("LOC", "PER"), unit="char", spread=3.0):
        self.scheme, self.units, self._spread = TagScheme(labels), UnitMaker(TextConfig(unit=unit)), spread
        rng = np.random.default_rng(3)
        self.transitions = Transitions.legal(self.scheme, rng.normal(size=(self.scheme.size,) * 2))

    def scores(self, units):
        rngs = [np.random.default_rng(zlib.crc32(each.text.encode())) for each in units]
        size = self.scheme.size
        return [
            rng.normal(0, self._spread, (len(each), size)).astype(np.float32)
            for rng, each in zip(rngs, units, strict=True)
        ]

    def pairs(self, text):
        """Return the probabilities of pairs of tags of a text of characters."""
        (scores,), lengths = self.scores([self.units(text)]), np.array([len(text)])
        return lattice(scores, lengths, self.transitions).pairs(0, 0, len(text))


def taught(*teachers, documents=None, temperature=1.0):
    return Ensemble(teachers, SCHEME, temperature).edges(documents or [Document(text) for text in TEXTS])


# ---- what teachers believe ------------------------------------------------------------------------------------


def test_what_one_teacher_believes_is_the_probability_of_each_pair_that_is_worth_keeping():
    for text, found in zip(TEXTS, taught(Teacher()), strict=True):
        if not text:
            assert len(found) == 0
            continue
        expected = Teacher().pairs(text)
        kept = dense(found, len(text))
        assert kept.sum(axis=(1, 2)) == pytest.approx(np.ones(len(text)), abs=1e-5)
        assert np.abs(kept - expected).max() < 0.1
        assert not kept[expected < 0.009].any()


def test_a_long_text_is_taught_in_parts(monkeypatch):
    whole = taught(Teacher())
    monkeypatch.setattr("tagger.learning.posteriors._UNITS", 3)
    for one, other in zip(taught(Teacher()), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_teachers_believe_the_mean_whatever_the_order_of_their_labels():
    one, other = Teacher(spread=2.0), Teacher(("PER", "LOC"))
    swapped = np.array([0, 5, 6, 7, 8, 1, 2, 3, 4])
    text = TEXTS[0]
    mean = (one.pairs(text) + other.pairs(text)[:, swapped][:, :, swapped]) / 2
    np.testing.assert_allclose(dense(taught(one, other)[0], len(text)), mean, atol=0.1)
    same = taught(one, one)[0]
    np.testing.assert_allclose(dense(same, len(text)), dense(taught(one)[0], len(text)), atol=0.02)


def test_a_teacher_of_words_teaches_characters():
    found = taught(Teacher(unit="word"))
    for text, some in zip(TEXTS, found, strict=True):
        pairs = dense(some, len(text))
        assert pairs.sum(axis=(1, 2)) == pytest.approx(np.ones(len(text)), abs=1e-5)
        assert not pairs[1:][:, ~SCHEME.allowed].any()
        np.testing.assert_allclose(pairs[:-1].sum(axis=1)[1:], pairs[2:].sum(axis=2), atol=0.05)  # one walk


def test_a_high_temperature_makes_teachers_unsure():
    sure, unsure = (taught(Teacher(), temperature=temperature)[0] for temperature in (0.2, 5.0))
    assert sure["probability"].max() > 0.95
    assert len(unsure) > 2 * len(sure)


def test_what_is_labelled_of_a_partly_labelled_text_is_certain():
    text = TEXTS[3]
    document = Document(text, (Span(3, 7, "LOC"),), unlabelled=((0, 2), (9, len(text))))
    pairs = dense(taught(Teacher(), documents=[document])[0], len(text))
    tags = pairs.sum(axis=1)
    path = SCHEME.encode([UnitSpan(3, 7, 0)], len(text))
    for unit in range(2, 9):
        assert tags[unit, path[unit]] == pytest.approx(1, abs=1e-5)
    assert (tags[9:].max(axis=1) < 0.999).any()
    free = dense(taught(Teacher(), documents=[Document(text, unlabelled=((0, len(text)),))])[0], len(text))
    np.testing.assert_allclose(free, dense(taught(Teacher(), documents=[Document(text)])[0], len(text)))


# ---- on disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr("tagger.groups._CHARACTERS", 10)
    monkeypatch.setattr("tagger.learning.posteriors._GROUPS", 2)


def test_an_interrupted_teacher_goes_on_where_it_was(parts, tmp_path):
    documents = [Document(text) for text in TEXTS * 4]
    ensemble = Ensemble([Teacher()], SCHEME)
    write_posteriors(ensemble, documents, tmp_path / "whole")
    files = sorted((tmp_path / "whole").iterdir())
    assert len(files) > 2
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / files[0].name).write_bytes(files[0].read_bytes())
    write_posteriors(ensemble, documents, tmp_path / "some")
    found = list(read_posteriors(tmp_path / "some"))
    groups = grouped(documents, lambda document: len(document.text))
    beliefs = [each for group in groups for each in ensemble.edges(group)]
    for one, other, direct in zip(found, read_posteriors(tmp_path / "whole"), beliefs, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, direct)


def test_a_damaged_part_is_an_error_that_says_what_to_do(tmp_path):
    write_posteriors(Ensemble([Teacher()], SCHEME), [Document(TEXTS[0])], tmp_path)
    part = tmp_path / "part_00000.npz"
    whole = part.read_bytes()
    flipped = bytes(byte ^ 255 if 60 <= number < 90 else byte for number, byte in enumerate(whole))
    for damaged in (b"no archive", b"", whole[: len(whole) // 2], flipped):
        part.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"part_00000\.npz: is damaged; delete it, and continue with --resume"):
            list(read_posteriors(tmp_path))


# ---- what is learnt -------------------------------------------------------------------------------------------


def test_a_labelled_text_teaches_its_annotation_and_the_teachers_in_shares():
    from tagger.learning.preparation import Taught, _known

    path = np.array([0, 2, 4, 0])
    theirs = edges.of_path(np.array([0, 1, 0, 0]))
    found = _known(Document("甲乙丙丁"), path, SCHEME, Taught(iter([theirs]), 0.25))
    expected = 0.75 * dense(edges.of_path(path), 4) + 0.25 * dense(theirs, 4)
    np.testing.assert_allclose(dense(found, 4), expected, atol=1e-6)
    partly = Document("甲乙丙丁", unlabelled=((0, 2),))
    assert _known(partly, path, SCHEME, Taught(iter([theirs]), 0.25)) is theirs


# ---- the command ----------------------------------------------------------------------------------------------

SETTINGS = [*SMALL, "batches.texts=16", "training.epochs=2", "distil.epochs=2"]


def command(small_corpus, out, *more):
    teacher = out.with_name("teacher.toml")
    teacher.write_text(config.to_toml(config.load("default", SETTINGS)), "utf-8")
    settings = [*SETTINGS, "distil.teachers=2", f"distil.teacher={teacher}"]
    options = [option for setting in settings for option in ("--set", setting)]
    files = ["--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--out", out]
    files += ["--unlabelled", small_corpus / "more.txt"]
    return [sys.executable, "-m", "tagger.cli", "distil", *map(str, [*more, *files]), *options]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)


def weights(folder):
    return bundles.load(folder).folder.joinpath(bundles.ONNX).read_bytes()


@pytest.fixture(scope="session")
def finished(small_corpus, tmp_path_factory):
    """The bundle of a finished run whose teachers were made."""

    def make(folder):
        done = run(small_corpus, folder / "out")
        assert done.returncode == 0, done.stderr

    return shared_folder(tmp_path_factory, "distillation", make) / "out"


@pytest.mark.train
@pytest.mark.slow
def test_teachers_are_made_and_teach_a_student(finished, small_corpus, capsys):
    from tagger.cli import main

    kept = finished.with_name("out.distil")
    assert [bundles.read_settings(kept / f"teacher_{n}").training.seed for n in (1, 2)] == [1, 2]
    assert weights(kept / "teacher_1") != weights(kept / "teacher_2")
    train = small_corpus / "train.jsonl"
    texts = [*corpus.read(train), *lists_of(train, config.load()), *corpus.read(kept / "texts.jsonl.gz")]
    assert len(texts) > 300
    for document, found in zip(texts, read_posteriors(kept / "posteriors"), strict=True):
        assert len(np.unique(found["unit"])) == len(document.text)
    history = json.loads((finished / "history.json").read_text("utf-8"))
    assert [row["epoch"] for row in history] == [1, 2]
    assert bundles.read_settings(finished).text.unit == "char"
    assert weights(finished) == weights(kept / "student")
    assert main(command(small_corpus, finished)[3:]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.train
@pytest.mark.slow
def test_a_run_killed_anywhere_resumes_and_ends_with_the_same_weights(finished, small_corpus, tmp_path):
    out, kept = tmp_path / "killed", tmp_path / "killed.distil"
    moments = ["teacher_2.training/checkpoint.npz", "student.training/checkpoint.npz"]
    for number, moment in enumerate(moments):
        more = ["--resume"] if number else []
        process = subprocess.Popen(command(small_corpus, out, *more), cwd=ROOT, stderr=subprocess.DEVNULL)
        while not (kept / moment).exists() and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = run(small_corpus, out, "--resume")
    assert done.returncode == 0, done.stderr
    assert weights(out) == weights(finished)
    shutil.rmtree(out)  # as if it had been killed before the bundle was there
    again = run(small_corpus, out, "--resume")
    assert "scores on" in again.stderr


@pytest.fixture
def steps(tmp_path):
    """What teachers would be trained with, for these settings of a run."""
    from tagger.learning.distillation import teaching_step
    from tagger.learning.run import Sources

    bundles_of = [tmp_path / f"teacher_{number}" for number in (1, 2, 3)]

    def made(*settings):
        run = config.load("small", settings)
        sources = Sources(tmp_path / "train", tmp_path / "dev")
        return [teaching_step(number, run, sources, bundles_of) for number in range(run.distil.teachers)]

    return made


def test_teachers_are_of_several_kinds_whatever_the_size_of_their_student(steps):
    (one, first), (two, second), (three, third) = steps()
    assert [each.model.layers for each in (one, two, three)] == [(224, 112), (128, 64), (224, 112)]
    assert [each.training.seed for each in (one, two, three)] == [1, 2, 3]
    assert [each.training.start for each in (one, two, three)] == ["new", "general", "new"]
    assert one.vectors == three.vectors != two.vectors
    assert (first.vectors, second.vectors, third.vectors.name) == (None, None, "teacher_1")


def test_a_start_that_is_asked_for_is_that_of_all_teachers_that_it_fits(steps):
    assert [each.training.start for each, _ in steps("training.start=new")] == ["new", "new", "new"]
    assert [each.training.start for each, _ in steps("training.start=vectors")] == ["new", "vectors", "new"]
    fixed = [each.training.start for each, _ in steps("vectors.epochs=3")]
    assert fixed == ["new", "new", "new"]


@pytest.mark.parametrize("kind", ["defalt", ""])
def test_a_teacher_that_does_not_exist_is_an_error_before_any_is_trained(kind, small_corpus, tmp_path):
    from tagger.learning.distillation import distil
    from tagger.learning.run import Sources

    settings = config.load("default", [f'distil.teacher="default,{kind}"'])
    sources = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    with pytest.raises(ConfigError):
        distil(settings, sources, tmp_path / "out")
    assert not list((tmp_path / "out.distil").glob("teacher_*"))


@pytest.mark.parametrize(("preset", "texts", "share"), [("small", 1, 0.3), ("small", 0, 1.0), ("default", 1, 0.5)])
def test_a_student_of_more_than_the_labelled_texts_has_less_dropout(preset, texts, share, tmp_path):
    from tagger.learning.distillation import student_step
    from tagger.learning.run import Sources

    given = config.load(preset, ["distil.epochs=4"])
    sources = Sources(tmp_path / "train.jsonl", tmp_path / "dev.jsonl")
    own, _ = student_step(given, sources, tmp_path / "texts" if texts else None, tmp_path / "posteriors", None)
    assert own.training.epochs == 4
    for section, name in (("model", "dropout"), ("model", "output_dropout"), ("batches", "word_dropout")):
        whole, kept = (getattr(getattr(each, section), name) for each in (given, own))
        assert whole > 0
        assert kept == share * whole


def test_a_student_has_characters_and_its_teachers_the_labels_of_its_corpus(small_corpus, tmp_path):
    from tagger.learning.distillation import distil
    from tagger.learning.run import Sources

    files = small_corpus / "train.jsonl", small_corpus / "dev.jsonl"
    with pytest.raises(ConfigError, match=r"needs a student with text\.unit"):
        distil(config.load("contest"), Sources(*files), tmp_path / "out")
    with pytest.raises(TrainingError, match=r"format-3: expected a teacher with the labels of .*train\.jsonl \(CORE\)"):
        distil(config.load("default"), Sources(*files, teachers=(GOLDEN_BUNDLE,)), tmp_path / "out")
