"""Tagging on a cluster, without one: plans, shards, the journal, failures, and the bytes of the plain command."""

import contextlib
import dataclasses
import gzip
import json
import random

import pytest

from tagger import cli, cluster, corpus, files, groups
from tagger.cluster import ATTEMPTS, Outcome, Run, driver, plan, teaching
from tagger.cluster.engine import Failure, Setup, Worker
from tagger.cluster.journal import Journal, Report
from tagger.cluster.manifest import check_results, write_manifest
from tagger.cluster.plan import Plan, write_plan
from tagger.cluster.shards import ShardTagger, Task
from tagger.cluster.storage import Storage
from tagger.errors import ConfigError, CorpusError, OutputError, TaggerError
from tagger.pipeline import Tagger
from tests.conftest import GOLDEN_BUNDLE

TEXT = "李明去了上海。"

CHUNK = 1 << 14  # in place of that of `files`: tests are short

RUN = {"options": {"format": "jsonl"}}


@pytest.fixture(scope="module")
def tagger():
    return Tagger.load(GOLDEN_BUNDLE, workers=1)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    for module in (files, corpus, plan):
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    monkeypatch.setattr(plan, "SHARD", 2 * CHUNK)


class Here:
    """Workers in this process, whose shards end in random order and fail as told."""

    alive = 2

    def __init__(self, tag, fails=lambda number: False, most=3):
        self.tag, self.fails, self.most, self.waiting = tag, fails, most, []
        self.order = random.Random(1)

    @property
    def room(self):
        return self.most - len(self.waiting)

    def submit(self, shard):
        self.waiting.append(shard)
        assert len(self.waiting) <= self.most

    def completed(self, seconds):
        shard = self.waiting.pop(self.order.randrange(len(self.waiting)))
        if self.fails(shard.number):
            return [Outcome(shard, reason="a worker was lost")]
        try:
            return [Outcome(shard, self.tag(shard))]
        except TaggerError as error:
            return [Outcome(shard, reason=str(error), error=error)]


def long_lines(path, chunks, kind="jsonl", seed=0):
    """Write records of little text, which other keys make long, or lines of which some are very long."""
    rng, size = random.Random(seed), 0
    with path.open("wb") as file:
        while size < chunks * CHUNK:
            if kind == "plain":
                line = rng.choice([TEXT, "", " ", " " * rng.randrange(300), "甲" * 20 + TEXT])
            else:
                record = {"text": rng.choice([TEXT, "好", ""]), "n": size, "rest": "x" * rng.randrange(300)}
                line = json.dumps(record, ensure_ascii=False)
            size += file.write((line + "\n").encode())
    return path


def tagged(tagger, out, paths, errors="skip", fails=lambda number: False, stops=False, encoding="", format="jsonl"):
    """Run a plan that is made, or gone on with, and return its run and its summary."""
    storage = Storage(str(out))
    if storage.read(plan.PLAN) is None:
        write_plan(storage, RUN, [str(path) for path in paths], "", 2)
    planned = Plan(storage)
    planned.check(RUN)
    journal = Journal(storage, planned.count)
    check_results(storage, journal, "jsonl")
    task = Task(str(out), format, "onnx", errors, "", encoding, "")
    run = Run(planned.shards(), journal, Here(ShardTagger(tagger, task).tag, fails), stops)
    try:
        run.work()
        return run, write_manifest(storage, planned, journal, run.failed, 1.0)
    finally:
        journal.close()


def joined(out, folder="results"):
    return b"".join(path.read_bytes() for path in sorted((out / folder).rglob("*.*")))


def plain(tmp_path, *arguments):
    out = tmp_path / "plain.jsonl"
    out.unlink(missing_ok=True)
    assert cli.main(["predict", str(GOLDEN_BUNDLE), *map(str, arguments), "--out", str(out), "--workers", "1"]) == 0
    return out.read_bytes()


# ---- the plan -----------------------------------------------------------------------------------------------------
def test_a_plan_covers_each_input_once(tmp_path):
    paths = [tmp_path / name for name in ("a.jsonl", "b.txt.gz", "c.txt", "d.txt", "e.json", "f.csv")]
    long_lines(paths[0], 2.5)
    paths[1].write_bytes(gzip.compress(TEXT.encode()))
    paths[2].write_text("")
    paths[3].write_text(TEXT)
    paths[4].write_text('[{"text": "' + TEXT + '"}]')
    paths[5].write_text("text,n\n好,1\n")
    storage = Storage(str(tmp_path / "out"))
    write_plan(storage, RUN, [str(path) for path in paths], "", 1)
    planned = Plan(storage)
    shards = list(planned.shards())
    parts = [part for shard in shards for part in shard.parts]
    assert [shard.number for shard in shards] == list(range(planned.count))
    assert [one.input.path for one in parts if one.part is None] == [str(paths[n]) for n in (1, 4, 5)]
    ranges = [(one.part.start, one.part.stop) for one in parts if one.input.path == str(paths[0])]
    assert ranges == [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 3 * CHUNK)]
    assert planned.bytes == sum(path.stat().st_size for path in paths)
    assert [one.path for one in planned.inputs()] == [str(path) for path in paths]


def test_another_run_and_changed_inputs_are_refused(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text(TEXT)
    storage = Storage(str(tmp_path / "out"))
    write_plan(storage, RUN, [str(text)], "", 1)
    Plan(storage).check(RUN)
    with pytest.raises(OutputError, match="differs in options format"):
        Plan(storage).check({"options": {"format": "bio"}})
    text.write_text(TEXT + "。")
    with pytest.raises(OutputError, match=r"a\.txt: has changed"):
        Plan(storage).check(RUN)
    (tmp_path / "out" / plan.PLAN).write_text('{"tagger":')
    with pytest.raises(OutputError, match="is damaged"):
        Plan(storage)


# ---- the same bytes -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["jsonl", "plain"])
def test_shards_are_the_plain_output_in_order(tagger, tmp_path, kind):
    inputs = [long_lines(tmp_path / f"{n}.{kind}", 3, kind, n) for n in range(2)]
    run, summary = tagged(tagger, tmp_path / "out", inputs)
    assert joined(tmp_path / "out") == plain(tmp_path, *inputs)
    assert (summary["done"], summary["failed"], run.failed) == (summary["shards"], 0, {})
    assert summary["shards"] >= 4
    assert summary["bytes"] == len(joined(tmp_path / "out"))
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert sum(row["texts"] for row in rows) == summary["texts"] == joined(tmp_path / "out").count(b"\n")


def test_faults_have_the_places_of_the_plain_command(tagger, tmp_path):
    path = long_lines(tmp_path / "a.jsonl", 5)
    lines = path.read_bytes().split(b"\n")
    for number in (3, len(lines) // 2, len(lines) - 20, len(lines) - 5):
        lines[number] = b'{"none": 1}' if number % 2 else b'{"text": "\xff"}'
    path.write_bytes(b"\n".join(lines))
    for errors in ("skip", "replace"):
        out = tmp_path / errors
        _, summary = tagged(tagger, out, [path], errors)
        assert joined(out) == plain(tmp_path, path, "--errors", errors, "--force")
        assert (out / "errors.jsonl").read_bytes() == (tmp_path / "plain.jsonl.errors.jsonl").read_bytes()
        assert summary["faults"] == 4
    with pytest.raises(CorpusError, match=r"a\.jsonl:4: "):
        tagged(tagger, tmp_path / "stop", [path], "stop", stops=True)


def test_a_uri_with_a_password_is_refused_without_showing_it():
    with pytest.raises(ConfigError, match="holds a password, which others") as caught:
        Storage("s3://name:secret@bucket").sizes("a.txt")
    assert "secret" not in str(caught.value)


def test_lines_longer_than_a_part_belong_where_they_begin(tagger, tmp_path):
    path = tmp_path / "a.txt"
    lines = [" " * (CHUNK - 1), TEXT, " " * (CHUNK + 7), TEXT, "", " " * CHUNK, TEXT]
    path.write_text("\ufeff" + "\n".join(lines))
    tagged(tagger, tmp_path / "out", [path])
    assert joined(tmp_path / "out") == plain(tmp_path, path)


@pytest.mark.parquet
def test_row_groups_and_whole_files_are_parts(tagger, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"text": [TEXT, None, "好"] * 40, "n": list(range(120))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=50)
    (tmp_path / "b.csv").write_text(f"text,n\n{TEXT},1\n,2\n")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(f"{TEXT}\n\n{TEXT}".encode()))
    inputs = [tmp_path / name for name in ("a.parquet", "b.csv", "c.txt.gz")]
    tagged(tagger, tmp_path / "out", inputs)
    assert joined(tmp_path / "out") == plain(tmp_path, *inputs)


@pytest.mark.parquet
def test_uris_are_read_and_written(tagger, tmp_path):
    pytest.importorskip("pyarrow")
    path = long_lines(tmp_path / "a b.jsonl", 2)
    out = f"file://{tmp_path}/out"
    tagged(tagger, out, [f"file://{tmp_path}/a%20b.jsonl"], fails=lambda number: number == 1)
    run, summary = tagged(tagger, out, [])
    assert (summary["done"], run.bytes) == (summary["shards"], summary["shards"] and run.bytes)
    assert 0 < run.bytes < path.stat().st_size
    assert joined(tmp_path / "out") == plain(tmp_path, path)
    assert list((tmp_path / "out" / "journal").iterdir())
    assert plain(tmp_path, f"file://{tmp_path}/*b.jsonl") == plain(tmp_path, path)


# ---- what fails ---------------------------------------------------------------------------------------------------
def test_a_shard_that_fails_three_times_is_set_aside_and_tried_again_by_the_next_run(tagger, tmp_path):
    path = long_lines(tmp_path / "a.jsonl", 6)
    attempts = {}

    def fails(number):
        attempts[number] = attempts.get(number, 0) + 1
        return number == 1 or (number == 0 and attempts[number] < ATTEMPTS)

    run, summary = tagged(tagger, tmp_path / "out", [path], fails=fails)
    assert run.failed == {1: "a worker was lost"}
    assert attempts[1] == ATTEMPTS
    assert summary["done"] == summary["shards"] - 1
    assert "a worker was lost" in (tmp_path / "out" / "failed.jsonl").read_text()
    run, summary = tagged(tagger, tmp_path / "out", [path])
    assert (run.failed, summary["failed"]) == ({}, 0)
    assert not (tmp_path / "out" / "failed.jsonl").exists()
    assert joined(tmp_path / "out") == plain(tmp_path, path)


def test_an_input_at_fault_sets_its_shard_aside_or_ends_the_run(tagger, tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "' + TEXT * 9 + '"}, {"te')
    (tmp_path / "b.txt").write_text(TEXT * 9)
    inputs = [tmp_path / "a.json", tmp_path / "b.txt"]
    run, summary = tagged(tagger, tmp_path / "out", inputs)
    assert list(run.failed) == [0]
    assert (summary["done"], summary["texts"]) == (1, 1)
    with pytest.raises(CorpusError, match=r"a\.json"):
        tagged(tagger, tmp_path / "stop", inputs, stops=True)


def test_an_input_that_changes_under_way_is_refused(tagger, tmp_path):
    path = long_lines(tmp_path / "a.jsonl", 2)
    storage = Storage(str(tmp_path / "out"))
    write_plan(storage, RUN, [str(path)], "", 1)
    (shard, *_) = Plan(storage).shards()
    path.write_text("")
    task = Task(str(tmp_path / "out"), "jsonl", "onnx", "skip", "", "", "")
    with pytest.raises(TaggerError, match="has changed since"):
        ShardTagger(tagger, task).tag(shard)


# ---- the journal --------------------------------------------------------------------------------------------------
def report(number, **more):
    return Report(number, 1, 2, 3, 0, 4, "", 0.5, **more)


@pytest.mark.parametrize("scheme", ["", pytest.param("file://", marks=pytest.mark.parquet)])
def test_a_journal_keeps_what_is_whole(tmp_path, scheme):
    storage = Storage(f"{scheme}{tmp_path}/out")
    with contextlib.ExitStack() as stack:

        def opened():
            return stack.enter_context(contextlib.closing(Journal(storage, 5)))

        journal = opened()
        for number in (3, 0, 4):
            journal.add(report(number, notes={"lost": number}))
        journal.save()
        journal.add(report(1))
        again = opened()
        assert [one.shard for one in again.reports()] == [0, 3, 4]
        assert again.done == 3
        if not scheme:
            with (tmp_path / "out" / "journal.jsonl").open("ab") as file:
                file.write(b'{"shard": 2, "te')
            torn = opened()
            assert not torn.is_done(2)
            torn.add(report(2))
            torn.save()
            assert opened().done == 4


@pytest.mark.parametrize("line", ["[]", '"shard"', '{"shard": 0}', "9", '{"shard": %d}', '{"shard": "1"}', "\0\n\n"])
def test_a_journal_ends_where_a_line_is_no_report_of_this_plan(tmp_path, line):
    storage = Storage(str(tmp_path))
    with contextlib.closing(Journal(storage, 5)) as journal:
        journal.add(report(3))
    whole = json.dumps(dataclasses.asdict(report(0)))
    line = whole.replace("0", "5", 1) if "%" in line else line
    line = whole.replace("0", '"1"', 1) if '"1"' in line else line
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(f"{line}\n{whole}\n")
    with contextlib.closing(Journal(storage, 5)) as journal:
        assert [one.shard for one in journal.reports()] == [3]
        journal.add(report(1))
    with contextlib.closing(Journal(storage, 5)) as journal:
        assert [one.shard for one in journal.reports()] == [1, 3]


def test_what_killed_workers_left_half_written_is_deleted(tagger, tmp_path):
    path = long_lines(tmp_path / "a.jsonl", 4)
    tagged(tagger, tmp_path / "out", [path])
    names = {one.relative_to(tmp_path) for one in tmp_path.rglob("*")}
    for folder in ("", "results/000000/", "faults/000000/"):
        (tmp_path / "out" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / folder / ".12-0123abcd.part.000000001.jsonl").write_text("half")
    tagged(tagger, tmp_path / "out", [])
    assert {one.relative_to(tmp_path) for one in tmp_path.rglob("*") if one.is_file()} <= names


def test_results_that_are_not_there_are_done_again(tagger, tmp_path):
    path = long_lines(tmp_path / "a.jsonl", 4)
    tagged(tagger, tmp_path / "out", [path])
    files = sorted((tmp_path / "out" / "results").rglob("*.jsonl"))
    files[0].unlink()
    files[1].write_text("cut")
    files[0].with_name(f".1-0a1b2c3d.part.{files[0].name}").write_text("of a worker that was killed")
    tagged(tagger, tmp_path / "out", [])
    assert joined(tmp_path / "out") == plain(tmp_path, path)


# ---- the driver and the workers, without Ray ----------------------------------------------------------------------
def job(out, **more):
    task = Task(str(out), "jsonl", "onnx", "stop", "", "", "")
    settings = {"resume": False, "replace": False, "run": RUN, **more}
    return driver.Job("local", 1, [], "", setup=Setup("", "onnx", task=task), shown=False, **settings)


def test_a_folder_of_results_is_never_taken_for_another(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    storage = Storage(str(tmp_path / "out"))
    assert not driver._prepared(storage, job(storage.root))
    write_plan(storage, RUN, [str(tmp_path / "a.txt")], "", 1)
    with pytest.raises(OutputError, match="holds a run already; add --resume to continue, or --force"):
        driver._prepared(storage, job(storage.root))
    assert driver._prepared(storage, job(storage.root, resume=True))
    with pytest.raises(OutputError, match="differs in options"):
        driver._prepared(storage, job(storage.root, resume=True, run={"options": {"format": "bio"}}))
    assert not driver._prepared(storage, job(storage.root, replace=True))
    driver._delete_run(storage)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parquet
def test_of_two_drivers_one_goes_on(tmp_path):
    pytest.importorskip("pyarrow")
    local, remote = Storage(str(tmp_path / "out")), Storage(f"file://{tmp_path}/store")
    with driver._owned(local), pytest.raises(OutputError, match="another predict"), driver._owned(local):
        pass
    expected = "another predict has begun there; this one ends"
    with pytest.raises(OutputError, match=expected), driver._owned(remote), driver._owned(remote) as guard:
        guard()


@pytest.mark.parametrize("runtime", ["onnx", "int8", "openvino"])
def test_a_worker_gets_the_files_of_its_bundle(tagger, runtime):
    setup = Setup(str(GOLDEN_BUNDLE), runtime)
    worker = Worker(setup, driver.bundle_files(setup))
    assert worker.why_not_ready() == ""
    (((result,),),) = [worker.results([[TEXT]], (False,))]
    assert [one.text for one in result.entities] == ["李明", "上海"]
    assert "it has tagger" in Worker(dataclasses.replace(setup, version="0.1"), None).why_not_ready()
    damaged = {**driver.bundle_files(setup), "labels.txt": b"X"}
    assert "is damaged" in Worker(setup, damaged).why_not_ready()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.txt", "--cluster", "local"], "with --out the folder of the results"),
        (["-", "--out", "o", "--cluster", "local"], "its workers read files alone"),
        (["a.txt", "--out", "o", "--format", "csv", "--cluster", "local"], "the format csv cannot be joined"),
        (["a.txt", "--out", "o", "--format", "html", "--cluster", "local"], "the format html cannot be joined"),
        (["a.txt", "--out", "o", "--cluster", "somewhere"], "give local, auto, or the address of a cluster"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(capsys, arguments, expected):
    try:
        code = cli.main(["predict", str(GOLDEN_BUNDLE), *arguments])
    except SystemExit as end:
        code = end.code
    assert (code, expected in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(("given", "out"), [("in", "in"), ("in", "in/out"), ("in/a.txt", "in"), ("in/*.txt", ".")])
def test_results_are_not_written_among_inputs(tmp_path, monkeypatch, capsys, given, out):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", str(GOLDEN_BUNDLE), given, "--out", out, "--cluster", "local", "--force"]) == 2
    assert "choose a folder apart" in capsys.readouterr().err
    assert (tmp_path / "in" / "a.txt").read_text() == TEXT


# ---- teaching -----------------------------------------------------------------------------------------------------
class Pieces:
    """Workers that tag pieces of text in random order, of which each is lost once."""

    def __init__(self, tagger, losses=1):
        self.worker = Worker.__new__(Worker)
        self.worker._tagger, self.waiting, self.lost, self.losses = tagger, [], {}, losses
        self.order, self.alive, self.most = random.Random(3), 3, 0

    @property
    def room(self):
        return 3 - len(self.waiting)

    def ask(self, key, method, groups, options):
        self.waiting.append((key, groups, options))

    def answers(self, seconds):
        key, groups, options = self.waiting.pop(self.order.randrange(len(self.waiting)))
        self.lost[key] = self.lost.get(key, 0) + 1
        if self.lost[key] <= self.losses:
            return [(key, Failure("lost", "other"))]
        return [(key, self.worker.results(groups, options))]


def test_a_cluster_teaches_what_a_tagger_does(tagger, monkeypatch):
    monkeypatch.setattr(groups, "_CHARACTERS", 40)
    monkeypatch.setattr(teaching, "_GROUPS", 2)
    texts = [TEXT * (n % 4) for n in range(150)]
    expected = list(tagger.results(texts, answers=False, outside=True))
    results = list(teaching.ClusterTeacher(Pieces(tagger)).results(iter(texts), False, True))
    assert [(one.text, one.entities) for one in results] == [(one.text, one.entities) for one in expected]
    assert all((one.outside == other.outside).all() for one, other in zip(results, expected, strict=True))
    assert list(teaching.ClusterTeacher(Pieces(tagger)).results([], False, True)) == []
    with pytest.raises(TaggerError, match="could not be tagged: lost"):
        list(teaching.ClusterTeacher(Pieces(tagger, 3)).results(texts, False, True))


def test_the_rest_is_estimated_from_what_was_done():
    run = Run(iter(()), None, None, False, bytes=25)
    assert round(cluster.seconds_left(run, 100, cluster.time.monotonic() - 10)) == 30


# ---- the folder of results ----------------------------------------------------------------------------------------
def prepared(out, **more):
    return driver._prepared(Storage(str(out)), job(out, **more))


@pytest.fixture
def done(tagger, tmp_path):
    """A folder with a run."""
    (tmp_path / "in.txt").write_text(TEXT)
    tagged(tagger, tmp_path / "out", [tmp_path / "in.txt"])
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name", ["notes.txt", "results/notes.txt/0.txt", "results/000000/x.txt", "faults/1/x", "results/x"]
)
def test_nothing_is_replaced_where_something_else_lies(done, name):
    (done / name).parent.mkdir(parents=True, exist_ok=True)
    (done / name).write_text("mine")
    with pytest.raises(OutputError, match="which no such run has written"):
        prepared(done, replace=True)
    assert (done / name).read_text() == "mine"


@pytest.mark.parametrize("content", [None, b"", b"a plan of mine", b'{"tagger": '])
def test_a_folder_without_a_plan_is_no_run(done, content):
    (done / "plan.jsonl").unlink()
    if content is not None:
        (done / "plan.jsonl").write_bytes(content)
    if content == b'{"tagger": ':  # damaged, but ours
        assert not prepared(done, replace=True)
    else:
        with pytest.raises(OutputError, match="which no such run has written"):
            prepared(done, replace=True)
    for resume in (True, False):
        with pytest.raises(OutputError, match=r"holds a run already|is damaged"):
            prepared(done, resume=resume)
