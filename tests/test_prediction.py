"""`tagger predict` over files: records come back whole, bad ones are dealt with, a resumed run gives the same bytes."""

import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from tagger import Tagger, cli, groups
from tagger.documents import Document
from tagger.errors import CorpusError
from tagger.prediction import checkpoints, inputs, processes
from tagger.prediction.inputs import Fault, Inputs
from tests.conftest import ROOT
from tests.make_golden_bundle import GOLDEN

GOLDEN_BUNDLE = GOLDEN / "format-3"

TEXT = "李明去了上海。"


@pytest.fixture
def predict(capsys, tmp_path, monkeypatch):
    """Return a function that runs `tagger predict` and returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            code = cli.main(["predict", str(GOLDEN_BUNDLE), *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def write(path, *records):
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records)
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def records(text):
    return [json.loads(line) for line in text.splitlines()]


# ---- records go through whole -------------------------------------------------------------------------------------
def test_every_key_comes_back_and_gold_under_another_name(predict, tmp_path):
    gold = [{"start": 0, "end": 2, "label": "PER", "sure": False}]
    given = [
        {"id": "a-1", "text": TEXT, "meta": {"page": [3, None]}, "entities": gold},
        {"text": TEXT, "label": "positive"},
        {"text": TEXT, "gold": 1, "entities": [], "core_entity": ["李明"]},
        {"text": TEXT, "label": [[0, 2, "PER"]]},
        {"content": TEXT, "year": 2021},
    ]
    _, out, _ = predict(write(tmp_path / "a.jsonl", *given))
    rows = records(out)
    entities = rows[0]["entities"]
    assert [entity["text"] for entity in entities] == ["李明", "上海"]
    assert [{key: value for key, value in row.items() if key not in ("text", "entities")} for row in rows] == [
        {"id": "a-1", "meta": {"page": [3, None]}, "gold": gold},
        {"label": "positive"},
        {"gold": 1, "gold_entities": [], "gold_core_entity": ["李明"]},
        {"gold": [[0, 2, "PER"]]},
        {"year": 2021},
    ]
    assert all((row["text"], row["entities"]) == (TEXT, entities) for row in rows)
    assert list(rows[0])[:2] == ["text", "entities"]


def test_records_without_further_keys_are_as_they_were(predict, tmp_path):
    _, out, _ = predict(write(tmp_path / "a.txt", TEXT, "", "好"))
    assert [list(row) for row in records(out)] == [["text", "entities"]] * 3


def test_tasks_come_back_as_the_same_tasks(predict, tmp_path):
    annotation = {
        "id": 5,
        "result": [{"type": "labels", "value": {"start": 0, "end": 2, "text": "李明", "labels": ["X"]}}],
    }
    other = {"model_version": "another", "result": []}
    tasks = [
        {"id": 71, "data": {"text": TEXT, "doc": "d-1"}, "meta": {"batch": 2}, "annotations": [annotation]},
        {"id": 72, "data": {"review": TEXT, "n": 4}, "predictions": [other]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False), "utf-8")
    first, second = json.loads(predict(tmp_path / "tasks.json", "--format", "labelstudio")[1])
    for task, given in ((first, tasks[0]), (second, tasks[1])):
        assert {key: task["data"][key] for key in given["data"]} == given["data"]
        assert all(task[key] == given[key] for key in ("id", "meta", "annotations") if key in given)
        assert task["predictions"][0]["model_version"] == "tagger"
    assert second["predictions"][1:] == [other]


def test_columns_of_a_table_come_back(predict, tmp_path):
    table = write(tmp_path / "a.csv", "n,text,who", f'1,{TEXT},"B, C"', "2,好,D")
    code, _, _ = predict(table, "--format", "csv", "--out", tmp_path / "b.csv")
    rows = [json.loads(line) for line in predict(tmp_path / "b.csv", "--column", "text")[1].splitlines()]
    assert code == 0
    assert [(row["n"], row["who"], len(row["gold"])) for row in rows] == [("1", "B, C", 2), ("2", "D", 0)]


def test_what_a_format_cannot_hold_is_said(predict, tmp_path):
    _, _, err = predict(write(tmp_path / "a.jsonl", {"text": TEXT, "id": 1}), "--format", "bio")
    assert "left out: further keys of records (1)" in err


def test_source_names_the_file_under_a_free_key(predict, tmp_path):
    write(tmp_path / "a.jsonl", {"text": "好", "source": "web"})
    write(tmp_path / "b.txt", "好")
    _, out, _ = predict("a.jsonl", "b.txt", "--source")
    assert [(row["source_file"], row.get("source")) for row in records(out)] == [("a.jsonl", "web"), ("b.txt", None)]
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=lambda: (tmp_path / "pipe").write_text('{"text": "好"}\n' * 3, "utf-8"))
    writing.start()
    _, out, _ = predict("pipe", "--source")
    writing.join()
    assert [row["source"] for row in records(out)] == ["pipe"] * 3
    late = [{"text": "好"}] * inputs._PEEKED + [{"text": "好", "source": 1}]
    code, _, err = predict(write(tmp_path / "c.jsonl", *late), "--source")
    assert (code, 'expected no key "source"' in err) == (1, True)


def test_what_lies_beside_an_output_is_no_input(tmp_path):
    names = ("a.txt", "out.jsonl.predict.json", "out.jsonl.part", "out.jsonl.errors.jsonl", "own.errors.jsonl")
    for name in names:
        (tmp_path / name).touch()
    read, others = inputs.expand([str(tmp_path)])
    assert [os.path.basename(path) for path in read] == ["a.txt", "own.errors.jsonl"]
    assert len(others) == 3


# ---- which files --------------------------------------------------------------------------------------------------
def test_folders_and_patterns_stand_for_files_in_order(tmp_path, predict):
    for name in ("in/b.txt", "in/a/z.jsonl.gz", "in/a/notes.pdf", "in/.hidden/x.txt", "in/10.txt", "in/2.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b'{"text": "z"}') if name.endswith(".gz") else name.encode())
    shutil.copytree(GOLDEN.parent / "brat", tmp_path / "in" / "corpus")
    (tmp_path / "in[1].txt").write_text("as named", "utf-8")
    paths, left_out = inputs.expand(["in", "in/*.txt", "in[1].txt", "-"])
    whole = ["in/10.txt", "in/2.txt", "in/a/z.jsonl.gz", "in/b.txt", "in/corpus"]
    assert paths == [*whole, "in/10.txt", "in/2.txt", "in/b.txt", "in[1].txt", "-"]
    assert left_out == ["in/a/notes.pdf"]
    code, out, err = predict("in/a")
    assert (code, records(out)[0]["text"]) == (0, "z")
    assert "files of no known suffix, left out (1): in/a/notes.pdf" in err
    for nothing in ("*.none", "in/a/b"):
        (tmp_path / "in/a/b").mkdir(exist_ok=True)
        with pytest.raises(CorpusError):
            inputs.expand([nothing])


# ---- thresholds ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "kept"), [("0.7", ["上海"]), ("LOC=1", ["李明"]), ("0.99,PER=0.1", ["李明"]), ("0", ["李明", "上海"])]
)
def test_a_threshold_leaves_out_what_is_less_probable(predict, given, kept):
    _, out, _ = predict("--text", TEXT, "--threshold", given)
    assert [entity["text"] for entity in records(out)[0]["entities"]] == kept


@pytest.mark.parametrize(
    ("given", "reason"),
    [("2", "expected 0 to 1"), ("x", "expected 0 to 1"), ("nan", "expected 0 to 1"), ("XY=0.5", "the tagger has: ")],
)
def test_a_wrong_threshold_is_one_line(predict, given, reason):
    code, _, err = predict("--text", TEXT, "--threshold", given)
    assert (code, reason in err, err.count("\n")) == (2, True, 1)


# ---- what cannot be read ------------------------------------------------------------------------------------------
BAD = [{"text": "一", "id": 1}, {"id": 2, "text": 3}, "{nothing", "", {"text": TEXT, "id": 3}]


def test_bad_records_stop_or_are_skipped_or_replaced(predict, tmp_path):
    path = write(tmp_path / "a.jsonl", *BAD)
    code, _, err = predict(path, "--out", "o.jsonl")
    assert (code, "a.jsonl:2 (id 2): expected" in err, sorted(os.listdir())) == (1, True, ["a.jsonl"])
    code, out, err = predict(path, "--errors", "skip")
    assert (code, [row["text"] for row in records(out)]) == (0, ["一", "", TEXT])
    assert "a.jsonl:3: expected a JSON object" in err
    assert "left out (2)" in err
    code, _, err = predict(path, "--errors", "replace", "--out", "o.jsonl")
    rows = records((tmp_path / "o.jsonl").read_text("utf-8"))
    assert [row["text"] for row in rows] == ["一", "", "", "", TEXT]
    assert ["error" in row for row in rows] == [False, True, True, False, False]
    assert "replaced (2): see o.jsonl.errors.jsonl" in err
    faults = records((tmp_path / "o.jsonl.errors.jsonl").read_text("utf-8"))
    assert [(fault["place"].rpartition("/")[2], fault["raw"]) for fault in faults] == [
        ("a.jsonl:2 (id 2)", json.dumps(BAD[1])), ("a.jsonl:3", "{nothing"),
    ]  # fmt: skip
    assert predict("--text", TEXT, "--out", "o.jsonl", "--force")[0] == 0
    assert sorted(os.listdir()) == ["a.jsonl", "o.jsonl"]  # what could not be read went with the output before


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_bytes_that_cannot_be_decoded(tmp_path, name):
    form = {"a.txt": b"%s\n", "a.jsonl": b'{"text": "%s"}\n', "a.csv": b"1,%s\n"}[name]
    content = (b"n,text\n" if name == "a.csv" else b"") + b"".join(form % text for text in (b"a", b"b\xff\xfe", b"c"))
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="expected UTF-8"):
        list(Inputs((), [path]))
    items = list(Inputs((), [path], errors="replace"))
    assert [item.text for item in items if isinstance(item, Document)] == ["a", "b\ufffd\ufffd", "c"]
    assert sum(isinstance(item, Fault) for item in items) == 1
    if name != "a.csv":  # rows may go on over several lines: where the next begins is not sure
        assert [getattr(item, "text", None) for item in Inputs((), [path], errors="skip")] == ["a", None, "c"]


def test_bytes_of_another_encoding(predict, tmp_path):
    (tmp_path / "a.txt").write_bytes("好\n".encode("gbk") + b"\xff\xff\n" + "明\n".encode("gbk"))
    texts = {
        errors: [row["text"] for row in records(predict("*.txt", "--encoding", "gbk", "--errors", errors)[1])]
        for errors in ("stop", "skip", "replace")
    }
    assert texts == {"stop": [], "skip": ["好", "明"], "replace": ["好", "\ufffd\ufffd", "明"]}


def test_rows_of_a_table_with_too_many_cells_are_skipped(predict, tmp_path):
    table = write(tmp_path / "a.csv", "n,text", "1,一", "2,二,又", "3,三")
    _, out, _ = predict(table, "--errors", "skip")
    assert [row["text"] for row in records(out)] == ["一", "三"]


def test_a_record_that_is_nested_too_deeply_is_a_bad_record(predict, tmp_path):
    deep = '{"text": "好", "a": ' + "[" * 300 + "]" * 300 + "}"
    code, _, err = predict(write(tmp_path / "a.jsonl", deep))
    assert (code, "nested at most 100 deep" in err) == (1, True)


# ---- interrupted and resumed --------------------------------------------------------------------------------------
@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A file of some 20 groups, with two bad records."""
    monkeypatch.setattr(groups, "_CHARACTERS", 300)
    source = random.Random(7)
    rows = [{"text": TEXT * source.randint(1, 5), "id": number} for number in range(300)]
    return write(tmp_path / "in.jsonl", *rows[:200], "{", *rows[200:], "[]")


def interrupted_at(monkeypatch, boundary, error):
    """Let a run end with `error` at a boundary; each boundary is saved."""
    monkeypatch.setattr(checkpoints, "_SECONDS", -1)
    mark, count = checkpoints.Checkpoints.boundary, iter(range(boundary))

    def counted(self, *arguments):
        mark(self, *arguments)
        if next(count, None) is None:
            raise error

    monkeypatch.setattr(checkpoints.Checkpoints, "boundary", counted)
    return mark


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz", "o.csv", "o.bio", "o.table"])
@pytest.mark.parametrize("boundary", [0, 7])
def test_a_resumed_run_ends_with_the_same_bytes(predict, corpus, tmp_path, monkeypatch, name, boundary):
    monkeypatch.setattr(checkpoints, "_MEMBER", 3_000)
    form = name.removesuffix(".gz").partition(".")[2]
    command = (corpus, corpus, "--errors", "skip", "--source", "--format", form)
    assert predict(*command, "--out", f"whole-{name}")[0] == 0
    mark = interrupted_at(monkeypatch, boundary, KeyboardInterrupt())
    code, _, err = predict(*command, "--out", name)
    assert (code, "records are done and kept in" in err) == (130, True)
    monkeypatch.setattr(checkpoints.Checkpoints, "boundary", mark)
    with open(f"{name}.part", "ab") as part:
        part.write(b"written, but not yet marked as done")
    code, _, err = predict(*command, "--out", name, "--resume")
    assert (code, "records are done; going on" in err) == (0, True)
    for suffix in ("", ".errors.jsonl"):
        assert (tmp_path / (name + suffix)).read_bytes() == (tmp_path / f"whole-{name}{suffix}").read_bytes()
    assert not list(tmp_path.glob("*.part*")) + list(tmp_path.glob("*.predict.json")) + list(tmp_path.glob(".*"))


def test_a_full_disk_keeps_what_is_done(predict, corpus, tmp_path, monkeypatch):
    append = checkpoints._Appended._append

    def full(self, content):
        if self.size > 20_000:
            with self._writable():
                raise OSError(28, "No space left on device")
        append(self, content)

    monkeypatch.setattr(checkpoints._Appended, "_append", full)
    code, _, err = predict(corpus, "--errors", "skip", "--out", "o.jsonl")
    assert (code, "o.jsonl.part: cannot be written: No space left" in err, "add --resume" in err) == (1, True, True)
    monkeypatch.setattr(checkpoints._Appended, "_append", append)
    assert predict(corpus, "--errors", "skip", "--out", "o.jsonl", "--resume")[0] == 0
    assert predict(corpus, "--errors", "skip", "--out", "whole.jsonl")[0] == 0
    assert (tmp_path / "o.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_bad_record_keeps_what_is_done_and_may_then_be_skipped(predict, corpus, tmp_path):
    code, _, err = predict(corpus, "--out", "o.jsonl")
    assert (code, "add --resume" in err, "in.jsonl:201: expected" in err) == (1, True, True)
    assert predict(corpus, "--out", "o.jsonl", "--resume", "--errors", "skip")[0] == 0
    assert predict(corpus, "--out", "whole.jsonl", "--errors", "skip")[0] == 0
    assert (tmp_path / "o.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_only_the_same_run_is_resumed(predict, corpus, tmp_path, monkeypatch):
    command = (corpus, "--errors", "skip", "--out", "o.jsonl")
    mark = interrupted_at(monkeypatch, 3, KeyboardInterrupt())
    assert predict(*command)[0] == 130
    monkeypatch.setattr(checkpoints.Checkpoints, "boundary", mark)
    part = (tmp_path / "o.jsonl.part").read_bytes()
    for arguments, reason in (
        ((), "add --resume to continue, or --force to begin again"),
        (("--resume", "--threshold", "0.5"), "differs in options threshold"),
        (("--resume", "--format", "bio"), "differs in options format"),
    ):
        code, _, err = predict(*command, *arguments)
        assert (code, reason in err, (tmp_path / "o.jsonl.part").read_bytes() == part) == (1, True, True), err
    before = corpus.stat()
    os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert f"differs in files {corpus}" in predict(*command, "--resume")[2]
    os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "o.jsonl.part").write_bytes(b"x" * len(part))
    assert "not as the interrupted run left it" in predict(*command, "--resume")[2]
    assert predict(*command, "--force")[0] == 0


def test_what_cannot_be_resumed_is_refused_before_any_work(predict, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Tagger, "load", lambda *_: pytest.fail("the tagger is loaded"))
    before = sorted(tmp_path.iterdir())
    one_piece = r"{} is one piece; write one of .*jsonl.*csv.*table, and convert that"
    for arguments, reason in (
        ((corpus,), "needs --out"),
        (("-", "--out", "o.jsonl"), "standard input cannot be read again"),
        ((corpus, "--out", "o.json", "--format", "labelstudio"), one_piece.format("labelstudio")),
        ((corpus, "--out", "o.parquet", "--format", "parquet"), one_piece.format("parquet")),
        ((corpus, "--out", "o.html", "--format", "html"), one_piece.format("html")),
        ((corpus, "--out", "/dev/null"), "is not a file"),
    ):
        code, _, err = predict(*arguments, "--resume")
        assert (code, err.count("\n"), bool(re.search(reason, err))) == (2, 1, True), err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["o.jsonl.part", "o.jsonl.predict.json", "o.jsonl.errors.jsonl.part"])
def test_a_strangers_file_is_never_touched(predict, tmp_path, name):
    write(tmp_path / "a.txt", TEXT)
    (tmp_path / name).write_text("notes", "utf-8")
    for more in ((), ("--force",), ("--resume",)):
        code, _, err = predict("a.txt", "--out", "o.jsonl", *more)
        assert (code, "no interrupted run left it" in err) == (1, True)
        assert sorted(os.listdir()) == sorted(["a.txt", name])
    assert (tmp_path / name).read_text("utf-8") == "notes"


def test_a_file_that_is_empty(predict, tmp_path):
    (tmp_path / "a.txt").touch()
    assert predict("a.txt", "--out", "o.jsonl")[0] == predict("a.txt", "--out", "o.jsonl.gz")[0] == 0
    assert (tmp_path / "o.jsonl").read_bytes() == gzip.decompress((tmp_path / "o.jsonl.gz").read_bytes()) == b""


@pytest.mark.train
@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz"])
def test_a_run_that_is_killed_again_and_again(bundle, tmp_path, name):
    """Threads and processes, SIGKILL, SIGINT and SIGTERM at random moments, in a program of its own."""
    source = random.Random(3)
    rows = [{"text": TEXT * source.randint(1, 30), "id": number} for number in range(5000)]
    write(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.txt").write_bytes(
        b"".join(f"{TEXT}{n}\n".encode() + b"\xff\n" * (n % 500 == 9) for n in range(2000))
    )
    arguments = [sys.executable, "-m", "tagger", "predict", bundle, tmp_path / "a.jsonl", tmp_path / "b.txt"]
    arguments += ["--errors", "skip", "--source", "--out"]
    started = time.monotonic()
    subprocess.run([*arguments, tmp_path / f"whole-{name}"], check=True, cwd=ROOT, capture_output=True)
    taken = time.monotonic() - started
    for attempt in range(6):
        last = attempt == 5
        process = subprocess.Popen(
            [*arguments, tmp_path / name, "--resume"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if not last:
            time.sleep(source.uniform(0.2, 0.6) * taken)
            process.send_signal(source.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
        _, err = process.communicate()
        assert b"Traceback" not in err
        if process.returncode == 0:
            break
    for suffix in ("", ".errors.jsonl"):
        assert (tmp_path / (name + suffix)).read_bytes() == (tmp_path / f"whole-{name}{suffix}").read_bytes()


@pytest.mark.train
@pytest.mark.parametrize("what", ["replaced", "gone"])
def test_a_bundle_that_is_replaced_changes_nothing(bundle, tmp_path, monkeypatch, capsys, what):
    """All of a run is tagged with the bundle that was loaded at its start."""
    monkeypatch.setattr(processes, "_GROUPS_BEFORE", 1)
    shutil.copytree(bundle, tmp_path / "bundle")
    write(tmp_path / "a.txt", *[f"{TEXT}{number}" * 20 for number in range(2000)])
    arguments = [str(tmp_path / "a.txt"), "--workers", "2", "--out"]
    assert cli.main(["predict", str(bundle), *arguments, str(tmp_path / "whole.jsonl")]) == 0
    start = processes._start_process

    class Pool(processes.ProcessPoolExecutor):
        def __init__(self, *settings, **more):
            shutil.rmtree(tmp_path / "bundle")
            if what == "replaced":
                shutil.copytree(GOLDEN_BUNDLE, tmp_path / "bundle")
            super().__init__(*settings, **more)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    assert start
    assert cli.main(["predict", str(tmp_path / "bundle"), *arguments, str(tmp_path / "out.jsonl")]) == 0
    assert "going on without more processes" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
