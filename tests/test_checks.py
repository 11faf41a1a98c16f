"""What is said of a corpus and its dev set before anything is learnt."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tagger.cli import main
from tagger.errors import CorpusError, TrainingError
from tagger.learning.checks import check_corpora
from tests.conftest import ROOT


def corpus_of(*texts, label="ORT"):
    """Return lines of native records; the first two characters of each text are an entity, if there is a label."""
    spans = [{"start": 0, "end": 2, "label": label}] if label else []
    return "".join(json.dumps({"text": text, "entities": spans}, ensure_ascii=False) + "\n" for text in texts)


TRAIN = ["苏州有许多园林", "扬州在长江北岸", "绍兴出好黄酒"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a function that writes train.jsonl and dev.jsonl into the current folder and checks them."""
    monkeypatch.chdir(tmp_path)

    def check(dev, train=None, name="dev.jsonl"):
        (tmp_path / "train.jsonl").write_text(corpus_of(*TRAIN) if train is None else train, "utf-8")
        (tmp_path / name).write_text(dev, "utf-8")
        return check_corpora(Path("train.jsonl"), Path(name))

    return check


def test_corpora_in_order_are_passed_without_a_word(files, capsys):
    assert files(corpus_of("镇江的醋很有名"), corpus_of(*TRAIN) + corpus_of("鲁迅是绍兴人", label="MENSCH")) == (
        "MENSCH",
        "ORT",
    )
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ("", "dev.jsonl: contains no text; dev needs annotated texts"),
        ("\n\n", "dev.jsonl: contains no text; dev needs annotated texts"),
        (corpus_of(""), "dev.jsonl: contains no text"),
        (
            corpus_of("湖州产毛笔", "嘉兴的粽子", label=None),
            "dev.jsonl: expected entities, received 2 texts without one",
        ),
        (
            corpus_of("湖州产毛笔", label="ort"),
            "dev.jsonl: expected labels of train.jsonl (ORT), received others (ort)",
        ),
    ],
)
def test_a_dev_set_without_what_is_learnt_is_refused(files, dev, message):
    with pytest.raises(TrainingError) as error:
        files(
            dev.replace(
                '{"text": "", "entities": [{"start": 0, "end": 2, "label": "ORT"}]}', '{"text": "", "entities": []}'
            )
        )
    assert str(error.value).startswith(message)


def test_a_file_without_annotation_is_refused(files):
    with pytest.raises((TrainingError, CorpusError), match=r"dev\.txt: "):
        files("湖州产毛笔\n嘉兴的粽子\n", name="dev.txt")


@pytest.mark.parametrize("train", ["", corpus_of(*TRAIN, label=None)])
def test_a_corpus_without_entities_is_refused(files, train):
    with pytest.raises(TrainingError, match=r"^train\.jsonl: contains no entity to learn from"):
        files(corpus_of("湖州产毛笔"), train)


def test_labels_that_only_dev_has_are_warned_of(files, capsys):
    files(corpus_of("湖州产毛笔") + corpus_of("鲁迅生于清末", "王冕画梅花", label="MENSCH"))
    line = "dev.jsonl: warning: train.jsonl lacks the labels MENSCH of 2 entities, which count as missed\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("dev", "which"),
    [(["湖州产毛笔", TRAIN[1], " " + TRAIN[1]], "1 of 2"), (TRAIN, "all 3"), ([TRAIN[0], TRAIN[0]], "all 1")],
)
def test_texts_in_both_are_warned_of(files, capsys, dev, which):
    files(corpus_of(*dev))
    assert f"dev.jsonl: warning: {which} texts are in train.jsonl too" in capsys.readouterr().err


def test_files_are_warned_of_once_until_they_change(files, capsys):
    files(corpus_of(*TRAIN))
    capsys.readouterr()
    check_corpora(Path("train.jsonl"), Path("dev.jsonl"))
    assert capsys.readouterr().err == ""
    files(corpus_of(*TRAIN[:2]))
    assert "all 2 texts" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_commands_check_before_they_import_what_takes_long(files, tmp_path, command):
    with pytest.raises(TrainingError):
        files("")
    code = f"""
import sys
from tagger.cli import main
more = ["--unlabelled", "train.jsonl"] if "{command}" == "transfer" else []
assert main(["{command}", "--train", "train.jsonl", "--dev", "dev.jsonl", "--out", "out", *more]) == 1
assert not set(sys.modules) & {{"tensorflow", "gensim", "keras"}}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("tagger: dev.jsonl: contains no text")
    assert not (tmp_path / "out.training").exists()


def test_the_command_says_it_in_one_line(files, capsys):
    with pytest.raises(TrainingError):
        files("")
    assert main(["train", "--train", "train.jsonl", "--dev", "dev.jsonl", "--out", "out"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
