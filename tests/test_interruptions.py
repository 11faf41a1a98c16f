"""What comes from outside: signals, closed streams, full disks, a second process, damaged folders, no home."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tagger import config
from tagger.cli import main
from tagger.errors import TrainingError
from tests.conftest import ROOT, SMALL
from tests.make_golden_bundle import GOLDEN

TAGGER = [sys.executable, "-m", "tagger"]
GOLDEN_BUNDLE = str(GOLDEN / "format-3")


def shell(line, folder, **changes):
    """Run a line of the shell in a folder; `$T` is the command, `$B` a bundle."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "T": " ".join(TAGGER), "B": GOLDEN_BUNDLE, **changes}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text("李明在北京大学读书。\n", "utf-8")
    spans = [{"start": 0, "end": 2, "label": "PER"}]
    (tmp_path / "gold.jsonl").write_text(json.dumps({"text": "李明在北京。", "entities": spans}), "utf-8")
    return tmp_path


# ---- streams ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_what_needs_no_stream_works_without(folder, closed):
    done = shell(f"$T predict $B text.txt --out out.jsonl {closed}", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((folder / "out.jsonl").read_text("utf-8"))["text"] == "李明在北京大学读书。"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict $B --text 李明 >&-", "standard output: is closed"),
        ("inspect gold.jsonl >&-", "standard output: is closed"),
        ("evaluate $B gold.jsonl >&-", "standard output: is closed"),
        ("--help >&-", "standard output: is closed"),
        ("predict $B - <&-", "standard input: expected an open stream"),
        ("predict $B text.txt --out /dev/full", "/dev/full: cannot be written: No space left on device"),
    ],
)
def test_a_stream_that_is_missing_is_one_line(folder, line, message):
    done = shell(f"$T {line}", folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"tagger: {message}")
    assert done.stderr.count("\n") == 1
    assert shell(f"$T {line} 2>&-", folder).returncode == 1


@pytest.mark.parametrize("line", ["evaluate $B gold.jsonl", "inspect gold.jsonl", "predict $B text.txt"])
def test_a_reader_that_has_enough_is_no_error(folder, line):
    assert shell(f"$T {line} | true; exit ${{PIPESTATUS[0]}}", folder).returncode == 0


def test_there_are_no_bars_where_nobody_looks(folder):
    done = shell("$T convert text.txt out.jsonl", folder)
    assert done.stderr == "text.txt: read as plain text\nout.jsonl: 1 texts, 0 entities, as jsonl\n"


@pytest.mark.parametrize("label", ["[per]", "LOC[city]", "[/per]", ":smile:", "[red]"])
def test_names_stand_in_tables_as_they_are(folder, label, capsys):
    corpus = folder / "corpus[v2].jsonl"
    record = {"text": "李明在北京。", "entities": [{"start": 0, "end": 2, "label": label}]}
    corpus.write_text(json.dumps(record), "utf-8")
    assert main(["inspect", str(corpus), str(corpus)]) == 0
    inspected = capsys.readouterr().out
    assert label in inspected
    assert "corpus[v2].jsonl" in inspected
    assert main(["evaluate", GOLDEN_BUNDLE, str(corpus)]) == 0
    assert label in capsys.readouterr().out


# ---- before the work ----------------------------------------------------------------------------------------------
LEARNING = [
    "train --train {} --dev gold.jsonl --out out",
    "train --train gold.jsonl --dev {} --out out",
    "transfer --train gold.jsonl --dev gold.jsonl --unlabelled {} --out out",
    "pretrain text.txt {} --out out",
    "vectors {} --out out",
]


@pytest.mark.parametrize("command", LEARNING)
@pytest.mark.parametrize("corpus", ["-", "pipe", "nothing.txt"])
def test_a_corpus_that_cannot_be_read_twice_is_refused_before_imports(folder, command, corpus, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tagger.commands.learning.import_tensorflow", lambda: pytest.fail("imported"))
    os.mkfifo("pipe")
    assert main(command.format(corpus).split()) == 1
    expected = "no such file" if corpus == "nothing.txt" else "received a stream; save it as a file first"
    assert f"tagger: {corpus}: expected a" in (err := capsys.readouterr().err)
    assert expected in err


def test_what_is_started_from_is_checked_before_imports(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tagger.commands.learning.import_tensorflow", lambda: pytest.fail("imported"))
    assert main(["train", "--train", "gold.jsonl", "--dev", "gold.jsonl", "--start", "nothing", "--out", "out"]) == 1
    assert capsys.readouterr().err == "tagger: nothing: not a bundle (no manifest.json); make one with: tagger train\n"


WRITING = [
    ("predict {b} text.txt --out {o}", "file"),
    ("evaluate {b} gold.jsonl --html {o}", "file"),
    ("inspect gold.jsonl --html {o}", "file"),
    ("inspect gold.jsonl --out {o}", "file"),
    ("evaluate {b} gold.jsonl --suspects {o}", "file"),
    ("split gold.jsonl --out {o} --dev 0.5", "folder"),
    ("inspect {b} --html {o}", "file"),
    ("convert gold.jsonl {o} --to bio", "file"),
    ("export {b} {o} --to weights", "file"),
    ("convert gold.jsonl {o} --to brat", "folder"),
    ("export {b} {o} --to onnx", "folder"),
    ("vectors text.txt --out {o}", "folder"),
    ("train --train gold.jsonl --dev gold.jsonl --out {o}", "folder"),
    ("transfer --train gold.jsonl --dev gold.jsonl --unlabelled text.txt --out {o}", "folder"),
    ("pretrain text.txt --out {o}", "folder"),
]


@pytest.mark.parametrize(("command", "kind"), WRITING)
def test_nothing_is_overwritten_by_any_command(folder, command, kind, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for module in ("commands.learning", "commands.bundles", "runtime"):
        monkeypatch.setattr(f"tagger.{module}.import_tensorflow", lambda: pytest.fail("imported"))
    out = folder / "out.safetensors"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    expected = {"": "exists already; choose" if kind == "file" else "exists already and holds thesis.txt"}
    if kind == "folder":
        expected["--force"] = expected[""]
    for force, message in expected.items():
        assert main([*command.format(b=GOLDEN_BUNDLE, o=out).split(), *force.split()]) == 1
        assert f"tagger: {out}: {message}" in capsys.readouterr().err
    link = folder / "link.safetensors"  # an input under another name
    link.symlink_to(GOLDEN_BUNDLE if "{b}" in command else "gold.jsonl" if "gold.jsonl" in command else "text.txt")
    assert main([*command.format(b=GOLDEN_BUNDLE, o=link).split(), "--force"]) == 1
    assert f"tagger: {link}: is read by this command" in capsys.readouterr().err
    assert (out if kind == "file" else out / "thesis.txt").read_text() == "mine"
    assert "李明" in (folder / "text.txt").read_text("utf-8")


# ---- signals ------------------------------------------------------------------------------------------------------
def ended_by(number, arguments, begun, folder):
    """Return exit code and standard error of a command that gets a signal once `begun()` is true."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [*TAGGER, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True)
    while not begun() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert not [file for file in temporary.iterdir() if file.name != ".ses"]  # of ONNX Runtime
    return process.returncode, err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_cleans_up_and_is_reported(folder, number):
    (folder / "many.txt").write_text("李明在北京大学读书。\n" * 300_000, "utf-8")
    arguments = ["predict", GOLDEN_BUNDLE, "many.txt", "--format", "html", "--out", "out.html"]
    ended = ended_by(number, arguments, lambda: any(folder.glob(".*.part.*")), folder)
    assert ended == (128 + number, "tagger: interrupted")
    assert not [file.name for file in folder.iterdir() if "out" in file.name or "part" in file.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_what_can_be_resumed_and_says_so(folder, number):
    (folder / "many.txt").write_text("李明在北京大学读书。\n" * 300_000, "utf-8")
    arguments = ["predict", GOLDEN_BUNDLE, "many.txt", "--out", "out.jsonl"]
    part = folder / "out.jsonl.part"
    code, line = ended_by(number, arguments, lambda: part.exists() and part.stat().st_size > 1 << 20, folder)
    assert code == 128 + number
    assert re.fullmatch(
        r"tagger: interrupted; [\d,]+ records are done and kept in out\.jsonl\.part: add --resume to continue", line
    )
    left = {file.name for file in folder.iterdir() if "out" in file.name or "part" in file.name}
    assert left == {"out.jsonl.part", "out.jsonl.predict.json"}


@pytest.mark.train
def test_vectors_that_are_terminated_leave_nothing(folder):
    (folder / "many.txt").write_text("李明在北京大学读书。\n" * 100_000, "utf-8")
    arguments = ["vectors", "many.txt", "--out", "tables"]
    ended = ended_by(signal.SIGTERM, arguments, lambda: any((folder / "temporary").glob("*/*")), folder)
    assert ended == (143, "tagger: interrupted")
    assert sorted(file.name for file in folder.iterdir()) == ["gold.jsonl", "many.txt", "temporary", "text.txt"]


# ---- trainings ----------------------------------------------------------------------------------------------------
SETTINGS = [*SMALL, "batches.texts=16", "training.epochs=40"]


def training(corpus, out):
    options = [option for setting in SETTINGS for option in ("--set", setting)]
    return ["train", "--train", corpus / "train.jsonl", "--dev", corpus / "dev.jsonl", "--out", out, *options]


@pytest.fixture(scope="module")
def interrupted(small_corpus, tmp_path_factory):
    """The folder of a training that was terminated after its first epoch, while a second one was refused."""
    folder = tmp_path_factory.mktemp("interrupted")
    run, arguments, refused = folder / "out.training", training(small_corpus, folder / "out"), []

    def begun():
        if (run / "store").exists() and not refused:
            refused.append(subprocess.run([*TAGGER, *map(str, [*arguments, "--force"])], cwd=ROOT, capture_output=True))
        return (run / "checkpoint.npz").exists()

    code, line = ended_by(signal.SIGTERM, arguments, begun, folder)
    assert code == 143
    assert line == f"tagger: interrupted; the work so far is kept in {run}: add --resume to continue"
    (folder / "temporary").rmdir()
    assert refused[0].returncode == 1
    last = refused[0].stderr.decode("utf-8").splitlines()[-1]
    assert last.startswith(f"tagger: {run}: another training is under way there (process ")
    assert [file.name for file in folder.iterdir()] == ["out.training"]  # the lock is gone
    return run


def resume(run, corpus):
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    settings = config.load("default", SETTINGS)
    train(settings, Sources(corpus / "train.jsonl", corpus / "dev.jsonl"), run.with_suffix(""), resume=True)


@pytest.mark.train
@pytest.mark.parametrize(
    "name", ["run.json", "decided.json", "store/rows.bin", "store/texts.npz", "tables/word/word.npy", "checkpoint.npz"]
)
@pytest.mark.parametrize("damage", ["short", "empty", "changed"])
def test_a_damaged_run_folder_is_one_line(interrupted, small_corpus, tmp_path, name, damage):
    run = shutil.copytree(interrupted, tmp_path / "out.training")
    data = bytearray((run / name).read_bytes())
    data[len(data) // 2] ^= 0x80
    changed = {"short": data[: len(data) // 2], "empty": b"", "changed": data}[damage]
    (run / name).write_bytes(changed)
    with pytest.raises(TrainingError, match=f"out.training: {name} is damaged; delete the folder and start again"):
        resume(run, small_corpus)


@pytest.mark.train
def test_a_folder_of_the_users_is_no_run_folder(small_corpus, tmp_path):
    run = tmp_path / "out.training"
    run.mkdir()
    for name in ("notes.txt", "labels.json"):
        (run / name).write_text("mine")
        with pytest.raises(TrainingError, match=f"out.training: holds {name}, which no training left there"):
            resume(run, small_corpus)
        assert (run / name).read_text() == "mine"
        (run / name).unlink()


def test_a_run_removes_only_what_it_kept(tmp_path):
    from tagger.learning.run import RunFolder, Sources

    (tmp_path / "train.jsonl").write_text("{}")
    sources, settings = Sources(tmp_path / "train.jsonl", tmp_path / "train.jsonl"), config.load("default")
    run = RunFolder(tmp_path / "out.training", settings, sources, resume=False)
    run.save_checkpoint({"a": np.zeros(3)})
    (run.folder / "notes.txt").write_text("mine")
    run.remove()
    assert [file.name for file in run.folder.iterdir()] == ["notes.txt"]
    (run.folder / "notes.txt").unlink()
    RunFolder(run.folder, settings, sources, resume=False).remove()
    assert not run.folder.exists()


@pytest.mark.train
def test_a_full_disk_names_the_file_and_the_way_on(interrupted, small_corpus, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(interrupted, tmp_path / "out.training")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    assert main([*map(str, training(small_corpus, tmp_path / "out")), "--resume"]) == 1
    place = f"tagger: {run / 'checkpoint.npz'}: cannot be written: No space left on device; the work so far is kept in"
    assert f"{place} {run}: add --resume to continue\n" in capsys.readouterr().err


# ---- the cache of vectors -----------------------------------------------------------------------------------------
@pytest.mark.train
@pytest.mark.parametrize("damage", ["short", "missing", "changed"])
def test_a_damaged_cache_is_learnt_anew(small_corpus, tmp_path, monkeypatch, capsys, damage):
    from tagger.learning.run import RunFolder, Sources
    from tagger.learning.tables import vector_tables
    from tagger.text import UnitMaker

    monkeypatch.setenv("TAGGER_CACHE", str(tmp_path / "cache"))

    def vectors(name):
        settings, sources = config.load("default", SMALL), Sources(*[small_corpus / "train.jsonl"] * 2)
        run = RunFolder(tmp_path / name, settings, sources, resume=False)
        tables = vector_tables(run, settings, sources, UnitMaker(settings.text))
        return tables[-1].vectors, capsys.readouterr().err

    first, _ = vectors("a")
    (file,) = (tmp_path / "cache" / "vectors").glob("*/word/word.npy")
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:500] if damage == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    again, told = vectors("b")
    assert "word.npy is damaged; these vectors are learnt again" in told
    np.testing.assert_array_equal(first, again)
    assert file.read_bytes() == data
    assert "reused" in vectors("c")[1]


def test_commands_work_without_a_home(folder, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nowhere)
    monkeypatch.setenv("HOME", "")
    assert main(["inspect", str(folder / "gold.jsonl")]) == 0
    assert not os.access(os.environ["HOME"], os.F_OK)


@pytest.mark.parametrize("home", [None, RuntimeError])
def test_without_a_home_there_is_no_cache(monkeypatch, home):
    from tagger.learning.cache import cache_folder

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TAGGER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home:
        monkeypatch.setattr("pathlib.Path.home", nowhere)
    assert (cache_folder() is None) == bool(home)
