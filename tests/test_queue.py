"""The queue of texts to correct: its order, what is kept, its HTTP interface, and training from the page."""

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator

from tagger import Tagger, corpus
from tagger import bundle as bundles
from tagger.documents import Document, Span
from tagger.errors import ConfigError, CorpusError, OutputError, TrainingError
from tagger.files.outputs import append_line, atomic_folder
from tagger.formats.native import to_native
from tagger.serve import retraining
from tagger.serve.application import application
from tagger.serve.batching import SharedTagger
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits
from tagger.serve.queue import TextQueue, id_of
from tagger.serve.queue_endpoints import QueueSetup
from tagger.serve.ranking import Ranking
from tagger.serve.retraining import Retraining, TrainingPlan, join
from tests.make_golden_bundle import GOLDEN
from tests.samples import planted
from tests.serving import ask

JSON = {"content-type": "application/json"}
BUNDLE = GOLDEN / "format-3"
TEXTS = ["一", "二二", "三三三", "四四四四", "五五五五五"]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "corrected.jsonl"
    path.touch()
    return path


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """Close all queues at the end."""
    queues, make = [], TextQueue._begin
    monkeypatch.setattr(TextQueue, "_begin", lambda queue, saved: (queues.append(queue), make(queue, saved)))
    yield
    for queue in queues:
        queue.close()


def queue_of(saved, texts=TEXTS, longest=1000):
    return TextQueue(map(Document, texts), saved, longest)


def save(queue, saved, text, entities=()):
    append_line(saved, to_native(text, entities))
    queue.save(text)


def order(queue, saved):
    """Save everything, and return the texts in the order in which they were offered."""
    offered = []
    while (index := queue.next()) is not None:
        offered.append(queue.document(index).text)
        save(queue, saved, offered[-1])
    return offered


# ---- order --------------------------------------------------------------------------------------------------------


def test_the_least_certain_text_is_next_and_then_the_order_of_the_file(saved):
    queue = queue_of(saved)
    queue.rank([1, 3, 4], [0.9, 0.2, 0.5])
    assert order(queue, saved) == ["四四四四", "五五五五五", "二二", "一", "三三三"]
    assert queue.counts == (5, 5, 0, 5)


def test_what_is_offered_stays_until_it_is_left(saved):
    queue = queue_of(saved)
    assert queue.next() == 0
    queue.rank(range(5), [0.5, 0.4, 0.1, 0.3, 0.2])
    assert queue.next() == 0
    assert queue_of(saved).next() == 0  # after a restart, before anything is compared again
    save(queue, saved, TEXTS[0])
    assert queue.next() == 2


def test_skipped_texts_come_last_in_the_order_of_skipping(saved):
    queue = queue_of(saved)
    for index in (0, 1):
        queue.skip(index)
    restarted = queue_of(saved)
    assert order(restarted, saved) == ["三三三", "四四四四", "五五五五五", "一", "二二"]
    queue = queue_of(saved)
    assert queue.next() is None


def test_a_text_skipped_again_and_again_comes_round(saved):
    queue = queue_of(saved, TEXTS[:3])
    seen = []
    for _ in range(7):
        seen.append(queue.next())
        queue.skip(seen[-1])
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_what_is_saved_is_done_after_a_restart_whatever_saved_it(saved):
    append_line(saved, to_native("三三三", [Span(0, 1, "PER")]))
    append_line(saved, to_native("别的", []))
    queue = queue_of(saved)
    assert queue.counts == (5, 1, 0, 1)
    assert queue.corrected == queue.not_learnt == 2
    queue.set_learnt(2)
    assert queue_of(saved).not_learnt == 0


def test_back_and_forth(saved):
    queue = queue_of(saved)
    save(queue, saved, TEXTS[0])
    queue.skip(1)
    save(queue, saved, TEXTS[2])
    assert [queue.before(None), queue.before(3), queue.before(2), queue.before(1), queue.before(0)] == [
        2,
        2,
        1,
        0,
        None,
    ]
    assert [queue.after(0), queue.after(1), queue.after(2)] == [1, 2, 3]
    save(queue, saved, TEXTS[0])  # corrected again: its place stays
    assert queue.after(0) == 1
    queue.skip(0)  # done is done
    assert queue.counts.done == 2
    save(queue, saved, TEXTS[1])
    assert [queue.before(3), queue.counts.skipped] == [1, 0]
    assert [queue_of(saved).before(index) for index in (1, 2, 0)] == [2, 0, None]


def test_each_text_is_offered_once_and_what_cannot_be_corrected_is_counted(saved):
    queue = queue_of(saved, ["甲", " ", "乙", "甲", "", "丙" * 11, "\ud800"], longest=10)
    assert order(queue, saved) == ["甲", "乙", "\ud800"]
    assert queue.left_out == {"blank": 2, "repeated": 1, "too long": 1}


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"place": 1, "skipped": [], "learnt": 0}', "\x00", '{"skipped": ']
)
def test_damaged_places_are_reported_on_one_line(saved, content):
    saved.with_name("corrected.jsonl.queue").write_text(content, "utf-8")
    with pytest.raises(CorpusError, match=r"corrected\.jsonl\.queue: expected the places .*; delete it") as error:
        queue_of(saved)
    assert "\n" not in str(error.value)


def test_places_that_cannot_be_kept_are_reported_and_nothing_stops(saved, monkeypatch):
    def refuse(path, content):
        raise OutputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("tagger.serve.queue.write_json", refuse)
    queue = queue_of(saved)
    assert queue.next() == 0
    assert "cannot be written" in queue.warning


def test_a_hundred_thousand_texts_take_little_memory(saved):
    import tracemalloc

    tracemalloc.start()
    queue = TextQueue((Document(f"第{number}条文本" + "好" * 50) for number in range(100_000)), saved, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
    rng = np.random.default_rng(1)
    queue.rank(range(100_000), rng.random(100_000).tolist())
    begin = time.monotonic()
    for _ in range(20):
        queue.skip(queue.next())
    assert time.monotonic() - begin < 2


def test_texts_are_compared_by_the_certainty_of_a_unit(saved):
    class Wavering:
        """A tagger that is less certain of some texts."""

        def tag(self, texts, certainty):
            results = planted().tag(texts, certainty=certainty)
            return [type("R", (), {"certainty": r.certainty - ("四" in r.text) / 2}) for r in results]

    queue = queue_of(saved, ["好" * 300, "好", "四", "好" * 20])
    ranking = Ranking(queue)
    ranking.start(Wavering())
    ranking._thread.join()
    assert queue.counts.ranked == 4
    assert queue.document(queue.next()).text == "四"


# ---- HTTP ---------------------------------------------------------------------------------------------------------


def setup(saved, tmp_path, texts=TEXTS, **plan):
    return QueueSetup(queue_of(saved, texts), TrainingPlan(tmp_path / "bundle", **plan), Tagger.load)


@asynccontextmanager
async def running(saved, queue, **options):
    app = application(planted(labels=("PER", "LOC")), save=CorpusFile(saved), queue=queue, **options)
    async with app.router.lifespan_context(app):

        async def send(method, path, value=None, headers=JSON):
            body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
            return await ask(app, method, path, body, headers)

        yield send


def drive(saved, queue, steps, **options):
    async def run():
        async with running(saved, queue, **options) as send:
            return await steps(send)

    return asyncio.run(run())


def test_texts_are_corrected_one_by_one(saved, tmp_path):
    async def steps(send):
        document = (await send("GET", "/openapi.json")).json
        seen = []
        for action in ("save", "skip", "save", "save", "skip"):
            answer = (await send("GET", "/queue/text")).json
            schema = {"$ref": "#/components/schemas/QueueText", "components": document["components"]}
            OAS31Validator(schema).validate(answer)
            text = answer["text"]
            seen.append(text["text"])
            assert text["id"] == id_of(text["text"])
            if action == "save":
                entity = {"start": 0, "end": 1, "label": "LOC"}
                assert (await send("POST", "/save", {"text": text["text"], "entities": [entity]})).status == 200
            else:
                assert (await send("POST", "/queue/skip", {"id": text["id"]})).status == 200
        status = (await send("GET", "/queue")).json
        before = (await send("GET", f"/queue/text?before={id_of('我龘')}")).json["text"]
        after = (await send("GET", f"/queue/text?after={before['id']}")).json["text"]
        return seen, status, before, after

    seen, status, before, after = drive(saved, setup(saved, tmp_path, ["龘龘", "甲", "乙", "我龘"]), steps)
    assert sorted(seen[:4]) == sorted(["龘龘", "甲", "乙", "我龘"])
    assert seen[4] == seen[1]  # the skipped one
    assert (status["total"], status["done"], status["skipped"]) == (4, 3, 1)
    assert before["done"]
    assert before["entities"] == [{"start": 0, "end": 1, "label": "LOC"}]
    assert after["id"] != before["id"]
    assert len(list(corpus.read(saved))) == 3


def test_entities_are_predicted_or_those_of_the_file(saved, tmp_path):
    async def steps(send):
        return (await send("GET", "/queue/text")).json["text"]["entities"]

    documents = [Document("我龘啊", (Span(2, 3, "LOC"),))]
    for from_file in (False, True):
        queue = QueueSetup(TextQueue(documents, saved, 100), TrainingPlan(tmp_path), Tagger.load, from_file)
        (entity,) = drive(saved, queue, steps)
        assert entity["label"] == ("LOC" if from_file else "PER")
        assert ("score" in entity) is not from_file


def test_an_empty_and_a_finished_queue(saved, tmp_path):
    async def steps(send):
        return (await send("GET", "/queue/text")).json, (await send("GET", "/queue/text?before=")).json["text"]

    assert drive(saved, setup(saved, tmp_path, []), steps)[0]["text"] is None
    append_line(saved, to_native("甲", []))
    now, last = drive(saved, setup(saved, tmp_path, ["甲"]), steps)
    assert now["text"] is None
    assert (last["text"], last["done"], last["first"]) == ("甲", True, True)


def test_a_training_is_offered_after_so_many_texts(saved, tmp_path):
    async def steps(send):
        due = []
        for text in TEXTS:
            await send("POST", "/save", {"text": text})
            due.append((await send("GET", "/queue")).json["training"]["due"])
        return due, await send("POST", "/queue/train", {})

    due, refused = drive(saved, setup(saved, tmp_path, every=3), steps)
    assert due == [False, False, True, True, True]
    assert refused.status == 409
    assert "--train F and --dev F" in refused.json["error"]
    assert drive(saved, setup(saved, tmp_path, every=0), steps)[0] == [False] * 5


REFUSED = [
    ("POST", "/queue", {}, JSON, 405),
    ("GET", "/queue/skip", None, {}, 405),
    ("GET", "/queue/text?before=xx", None, {}, 404),
    ("GET", "/queue/text?after=", None, {}, 404),
    ("GET", f"/queue/text?after={'0' * 32}", None, {}, 404),
    ("GET", f"/queue/text?after={'0' * 32}&before=1", None, {}, 422),
    ("GET", "/queue/text?id=1", None, {}, 422),
    ("POST", "/queue/skip", {}, JSON, 422),
    ("POST", "/queue/skip", {"id": 5}, JSON, 422),
    ("POST", "/queue/skip", {"id": "\ud800"}, JSON, 404),
    ("POST", "/queue/skip", {"id": "../x"}, JSON, 404),
    ("POST", "/queue/skip", b"[" * 1500, JSON, 400),
    ("POST", "/queue/skip", b"\xff", JSON, 400),
    ("POST", "/queue/skip", {"id": "x" * 3000}, JSON, 413),
    ("POST", "/queue/train", {"resume": 1}, JSON, 422),
    ("POST", "/queue/train", {"resume": True}, JSON, 409),
    ("POST", "/queue/train", {}, {}, 415),
    ("POST", "/queue/train", {}, {"content-type": "text/plain"}, 415),
    ("POST", "/queue/stop", {}, {}, 415),
    ("POST", "/queue/stop", [], JSON, 422),
]


def test_wrong_requests_are_refused_and_change_nothing(saved, tmp_path):
    async def steps(send):
        first = (await send("GET", "/queue/text")).json
        answers = [await send(*row[:4]) for row in REFUSED]
        rng = random.Random(1)
        for _ in range(500):
            path = rng.choice(
                ["/queue/skip", "/queue/train", "/queue/stop", "/queue/text?before=%ff", "/queue/text?&&="]
            )
            junk = rng.choice([rng.randbytes(30), b"{", b'{"id": [1]}', b'{"id": null}', b'{"resume": "x"}', b"null"])
            method = rng.choice(["POST", "GET", "PUT"])
            answer = await send(method, path, junk, rng.choice([JSON, {}]))
            assert answer.status < 500, (method, path, junk)
        return first, answers, (await send("GET", "/queue/text")).json

    first, answers, after = drive(saved, setup(saved, tmp_path), steps, limits=Limits(body=2000))
    assert [answer.status for answer in answers] == [row[4] for row in REFUSED]
    assert all(list(answer.json) == ["error"] for answer in answers)
    assert after == first


def test_without_a_queue_and_without_the_token_there_is_none(saved, tmp_path):
    async def steps(send):
        paths = [
            ("GET", "/queue"),
            ("GET", "/queue/text"),
            *(("POST", f"/queue/{n}") for n in ("skip", "train", "stop")),
        ]
        return [(await send(method, path, {})).status for method, path in paths]

    assert drive(saved, None, steps) == [404] * 5
    assert drive(saved, setup(saved, tmp_path), steps, token="geheim") == [401] * 5


def test_about_names_the_bundle(saved):
    tagger = Tagger.load(BUNDLE)

    async def about():
        return (await ask(application(tagger), "GET", "/about")).json

    named = asyncio.run(about())
    assert named["bundle"] == {"name": "format-3", "sha256": bundles.load(BUNDLE).identity.sha256, "trained": None}
    assert named["queue"] is False


def test_a_bundle_that_is_replaced_changes_nothing_under_way(tmp_path):
    import shutil

    shutil.copytree(BUNDLE, tmp_path / "bundle")
    tagger = Tagger.load(tmp_path / "bundle")
    texts = [json.loads(line)["text"] for line in BUNDLE.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    before, identity = tagger.batch(texts), tagger.identity
    with atomic_folder(tmp_path / "bundle", replace=True) as folder:
        (folder / "other").touch()
    assert tagger.batch(texts) == before
    assert tagger.identity == identity


def test_another_tagger_answers_new_requests_and_the_old_one_finishes_its_own():
    class Named:
        workers, labels, identity = 2, (), None

        def __init__(self, name):
            self.name, self.go = name, threading.Event()

        def batch(self, texts):
            assert self.go.wait(20)
            return [[self.name] for _ in texts]

    async def swap():
        old, new = Named("old"), Named("new")
        shared = SharedTagger(old, 1000)
        first = asyncio.create_task(shared.tag(["x"]))
        await asyncio.sleep(0.05)
        shared.tagger = new
        new.go.set()
        second = await shared.tag(["y"])
        old.go.set()
        return await first, second

    assert asyncio.run(swap()) == ([["old"]], [["new"]])


# ---- training -----------------------------------------------------------------------------------------------------


def lines(path, *rows):
    path.write_text("".join(to_native(text, entities) + "\n" for text, entities in rows), "utf-8")
    return path


def test_the_last_correction_of_a_text_counts(saved, tmp_path):
    per, loc = [Span(0, 1, "PER")], [Span(0, 1, "LOC")]
    train = [lines(tmp_path / "a.jsonl", ("甲", per), ("乙", per)), lines(tmp_path / "b.jsonl", ("丙", per))]
    dev = lines(tmp_path / "dev.jsonl", ("丁", per))
    lines(saved, ("乙", loc), ("戊", per), ("丁", loc), ("乙", []))
    assert join(tuple(train), dev, saved, tmp_path / "joined.jsonl") == 1
    learnt = [(document.text, document.entities) for document in corpus.read(tmp_path / "joined.jsonl")]
    assert learnt == [("甲", tuple(per)), ("丙", tuple(per)), ("戊", tuple(per)), ("乙", ())]
    saved.write_text("\n" + saved.read_text("utf-8").replace("\n", "\n\n"), "utf-8")  # as by an editor
    assert join(tuple(train), dev, saved, tmp_path / "again.jsonl") == 1
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "joined.jsonl").read_bytes()


@pytest.fixture
def copy(tmp_path):
    import shutil

    shutil.copytree(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_new_bundle_never_has_a_name_that_is_taken(copy, saved):
    def trainer(bundle):
        return Retraining(TrainingPlan(bundle), saved, lambda _: None)

    assert trainer(copy)._free().name == "bundle.1"
    (copy.parent / "bundle.3.training").mkdir()
    (copy.parent / "bundle.backup").mkdir()
    assert trainer(copy)._free().name == "bundle.4"
    copy.rename(copy.with_name("bundle.5"))
    assert trainer(copy.with_name("bundle.5"))._free().name == "bundle.5.1"  # there is no bundle "bundle"


def test_a_start_from_the_bundle_unless_other_parts_are_asked_for(copy, tmp_path):
    def options(*settings):
        plan = TrainingPlan(copy, (tmp_path / "t",), tmp_path / "d", settings)
        return plan.arguments(copy, tmp_path / "joined", tmp_path / "out")

    assert "--start" in options("training.epochs=3")
    assert "--start" not in options("model.layers=[8]")
    before = ["--set", "text.simplify=false", "--set", 'training.start="new"']  # which an older bundle's settings lack
    assert options("training.epochs=3")[-7:] == [*before, "--set", "training.epochs=3", "--resume"]
    cards = [option for option in options("training.gpu=2") if "gpu" in option]
    assert cards == ["training.gpu=auto", "training.gpu=2"]  # the bundle's card is another machine's; the last counts


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"settings": ("training.epoch=3",)}, ConfigError, "did you mean 'epochs'"),
        ({"train": (Path("nowhere.jsonl"),)}, TrainingError, "nowhere.jsonl: no such file"),
        ({"dev": Path("nowhere.jsonl")}, TrainingError, "nowhere.jsonl: no such file"),
    ],
)
def test_what_a_training_lacks_is_said_at_the_start(copy, change, error, message):
    with pytest.raises(error, match=message):
        TrainingPlan(copy, **change).check()


class Script:
    """A stand-in for `tagger train`: a Python program that gets the options."""

    def __init__(self, monkeypatch, program):
        real = subprocess.Popen

        def start(command, **options):
            return real([sys.executable, "-c", program, *command[3:]], **options)

        monkeypatch.setattr(retraining.subprocess, "Popen", start)


def trainer_of(copy, saved, finished=lambda _: None):
    train = lines(copy.parent / "train.jsonl", ("李明在北京", [Span(0, 2, "PER")]))
    dev = lines(copy.parent / "dev.jsonl", ("王芳在上海", [Span(0, 2, "PER")]))
    return Retraining(TrainingPlan(copy, (train,), dev), saved, finished)


def test_a_failed_training_is_one_line_and_leaves_nothing(copy, saved, monkeypatch):
    Script(monkeypatch, "import sys; print('epoch 1\\rtagger: a.jsonl: bad', file=sys.stderr); sys.exit(1)")
    trainer = trainer_of(copy, saved)
    assert trainer.start()
    trainer._thread.join(20)
    assert trainer.error == "a.jsonl: bad"
    assert not trainer.running
    assert trainer.current == copy
    assert sorted(path.name for path in copy.parent.glob("bundle*")) == ["bundle"]


def test_one_training_at_a_time_which_ends_with_the_server_and_can_be_continued(copy, saved, monkeypatch):
    program = """
import pathlib, shutil, sys, time
out = sys.argv[sys.argv.index("--out") + 1]
work = pathlib.Path(out + ".training")
if work.exists():
    shutil.copytree(sys.argv[sys.argv.index("--start") + 1], out)
    shutil.rmtree(work)
    sys.exit()
work.mkdir()
(work / "progress.json").write_text('{"epoch": 1, "epochs": 3, "f1": 0.5, "seconds_left": 9.0}')
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("tagger: interrupted", file=sys.stderr)
    sys.exit(130)
"""
    Script(monkeypatch, program)
    finished = []
    trainer = trainer_of(copy, saved, finished.append)
    assert trainer.start()
    assert not trainer.start()
    while trainer.progress()["epochs"] is None or trainer._child is None:
        time.sleep(0.02)
    assert trainer.progress() == {"bundle": "bundle.1", "epoch": 1, "epochs": 3, "f1": 0.5, "seconds_left": 9.0}
    child = trainer._child
    trainer.close()
    assert child.returncode == 130
    assert (trainer.running, trainer.error) == (False, "")
    again = trainer_of(copy, saved, finished.append)  # the server was restarted
    assert again.interrupted() == copy.with_name("bundle.1")
    assert again.start(resume=True)
    again._thread.join(20)
    assert finished == [copy.with_name("bundle.1")]
    assert again.progress()["f1"] == json.loads((copy / "metrics.json").read_text("utf-8"))["f1"]
    assert not copy.with_name("bundle.1.train.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queue", "texts.txt"], "--queue needs --save"),
        (["--train", "a.jsonl", "--save", "c.jsonl"], "give --queue F too"),
        (["--queue", "texts.txt", "--save", "c.jsonl", "--retrain-every", "-1"], "at least 0"),
        (["--queue", "texts.txt", "--save", "c.jsonl", "--set", "training.epoch=1"], "did you mean 'epochs'"),
        (["--queue", "c.jsonl", "--save", "./c.jsonl"], "--queue c.jsonl: is the file of --save"),
        (["--queue", "texts.txt", "--save", "c.jsonl", "--dev", "d.jsonl"], "--dev d.jsonl: is the file of --save"),
        (["--queue", "nowhere.txt", "--save", "c.jsonl"], "nowhere.txt"),
        (["--queue", "texts.txt", "--save", "c.jsonl", "--dev", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_the_command_refuses_what_cannot_work(arguments, message, tmp_path, monkeypatch, capsys):
    from tagger import cli

    (tmp_path / "texts.txt").write_text("好\n", "utf-8")
    (tmp_path / "d.jsonl").symlink_to("c.jsonl")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", str(BUNDLE), "--port", "0", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_signal_ends_the_server_with_the_command(tmp_path):
    (tmp_path / "texts.txt").write_text("李明去了北京\n\n李明去了北京\n", "utf-8")
    command = [sys.executable, "-m", "tagger", "serve", str(BUNDLE), "--port", "0"]
    command += ["--queue", str(tmp_path / "texts.txt"), "--save", str(tmp_path / "c.jsonl")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=GOLDEN.parents[2]) as process:
        assert "1 texts, 0 done (left out: 1 blank, 1 repeated)" in process.stderr.readline()
        address = re.search(r"http://\S+/", process.stderr.readline())[0]
        with urllib.request.urlopen(f"{address}queue/text", timeout=20) as answer:
            assert json.load(answer)["text"]["text"] == "李明去了北京"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
