import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from tagger.errors import TrainingError
from tagger.learning.workers import VARIABLE, Workers, local_workers, workers_here
from tests.conftest import ROOT, SMALL

ADDRESSES = ["a:1", "b:2", "c:3"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", Workers()),
        ("{}", Workers()),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, Workers()),
        ({"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}, "environment": "cloud"}, Workers()),
        ({"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": 2}}, Workers(("a:1", "b:2", "c:3"), 2)),
        (
            {"cluster": {"chief": ["a:1"], "worker": ["b:2"]}, "task": {"type": "worker", "index": 0}},
            Workers(("a:1", "b:2"), 1),
        ),
    ],
)
def test_the_variable_tells_who_trains(monkeypatch, config, expected):
    monkeypatch.setenv(VARIABLE, config if isinstance(config, str) else json.dumps(config))
    assert workers_here() == expected
    monkeypatch.setenv(VARIABLE, expected.variable)
    assert workers_here() == expected
    assert workers_here().chief == (expected.number == 0)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[1]",
        '"worker"',
        {"cluster": {"worker": ADDRESSES}},
        {"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": 3}},
        {"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": -1}},
        {"cluster": {"worker": ADDRESSES}, "task": {"type": "worker", "index": "first"}},
        {"cluster": {"worker": ADDRESSES}, "task": {"type": "evaluator", "index": 0}},
        {"cluster": {"worker": ADDRESSES, "ps": ["d:4"]}, "task": {"type": "worker", "index": 0}},
        {"cluster": {"worker": 7}, "task": {"type": "worker", "index": 0}},
    ],
)
def test_a_malformed_variable_is_one_line(monkeypatch, config):
    monkeypatch.setenv(VARIABLE, config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(TrainingError, match=r"^TF_CONFIG: expected the workers .* received .*; see"):
        workers_here()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--replicas", "0"], 2, "--replicas 0: expected a number of at least 1"),
        (
            ["train", "--replicas", "2"],
            1,
            "--replicas 2: expected as many graphics cards, received 0; .*local",
        ),
        (["train", "--cluster", "slurm"], 1, "--cluster slurm: expected .* start it with srun"),
        (["transfer", "--unlabelled", "F"], 1, "TF_CONFIG names several workers, and tagger transfer is for one"),
    ],
)
@pytest.mark.train
def test_what_cannot_be_shared_is_one_line(small_corpus, tmp_path, capsys, monkeypatch, arguments, code, message):
    from tagger.cli import main

    monkeypatch.setenv(VARIABLE, Workers(("a:1", "b:2"), 0).variable if arguments[0] == "transfer" else "")
    files = ["--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--out", tmp_path / "out"]
    arguments = [str(small_corpus / "more.txt") if part == "F" else part for part in arguments]
    assert main([*arguments, *map(str, files)]) == code
    assert re.match(f"tagger: {message}", capsys.readouterr().err.splitlines()[-1])
    assert not (tmp_path / "out.training").exists()


@pytest.mark.train
def test_another_process_that_ended_is_one_line_with_its_name(tmp_path):
    import tensorflow as tf

    from tagger.learning.replicas import told_of_others

    workers = Workers(tuple(ADDRESSES), 0)
    message = "Error from /job:worker/task:0: unhealthy tasks: /job:worker/replica:0/task:2"
    named = pytest.raises(TrainingError, match=r"^worker 2 \(c:3\) has stopped.*kept in .*--resume")
    with named, told_of_others(workers, tmp_path):
        raise tf.errors.UnavailableError(None, None, message)
    with pytest.raises(TrainingError, match=r"^another worker has stopped"), told_of_others(workers, tmp_path):
        raise tf.errors.AbortedError(None, None, "connection reset")
    with pytest.raises(RuntimeError, match="own fault"), told_of_others(workers, tmp_path):
        raise RuntimeError("own fault")
    with pytest.raises(tf.errors.UnavailableError), told_of_others(Workers(), tmp_path):
        raise tf.errors.UnavailableError(None, None, message)


@pytest.mark.train
def test_several_replicas_make_the_steps_of_one():
    done = subprocess.run(
        [sys.executable, "-m", "tests.replicas_alike"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [name for name, _ in rows] == ["crf", "softmax"]
    assert all(float(difference) < 1e-5 for _, difference in rows), rows


def start(small_corpus, out, workers, *more):
    settings = [*SMALL, "batches.texts=16", "training.epochs=4", "training.matmul_dtype=float32"]
    options = [option for setting in settings for option in ("--set", setting)]
    files = ["--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--out", out]
    command = [sys.executable, "-m", "tagger", "train", *map(str, files), *options, *more]
    environment = {**os.environ, VARIABLE: workers.variable if workers else ""}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.train
@pytest.mark.slow
def test_two_processes_train_as_one_does_and_a_lost_one_is_told_of(small_corpus, tmp_path):
    alone = start(small_corpus, tmp_path / "alone", None)
    lost, checkpoint = tmp_path / "lost", tmp_path / "lost.training" / "checkpoint.npz"
    chief, other = [start(small_corpus, lost, worker) for worker in local_workers(2)]
    while not checkpoint.exists() and chief.poll() is None:
        time.sleep(0.02)
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    told = chief.communicate(timeout=120)[1]
    assert chief.returncode == 1
    assert told.splitlines()[-1].startswith("tagger: worker 1 (127.0.0.1:")
    assert not lost.exists()
    chief, other = [start(small_corpus, lost, worker, "--resume") for worker in local_workers(2)]
    assert "resuming after epoch" in chief.communicate(timeout=300)[1]
    assert other.communicate(timeout=60)[1] == ""
    assert (chief.returncode, other.returncode) == (0, 0)
    alone.communicate(timeout=300)
    histories = [json.loads((tmp_path / name / "history.json").read_text("utf-8")) for name in ("alone", "lost")]
    for one, shared in zip(*histories, strict=True):
        assert shared["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert not (tmp_path / "lost.training").exists()


def told_to(folder):
    """What the processes on a Ray cluster do in tests: write down what they are told, and end as the folder says."""
    workers = workers_here()
    (folder / str(workers.number)).write_text(os.environ[VARIABLE], "utf-8")
    if not workers.chief and (folder / "kill").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if not workers.chief and (folder / "fail").exists():
        raise TrainingError("no room left")
    while any(folder.glob("[kf]*")):
        time.sleep(0.1)
    return workers.number


@pytest.mark.slow
def test_processes_on_a_ray_cluster_know_each_other_and_end_together(tmp_path, monkeypatch):
    if not find_spec("ray"):  # importing it here would fix how it is set up
        pytest.skip("Ray is not installed, or has no wheel for this Python")
    from tagger.learning.launching import run_on_ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    work = functools.partial(told_to, tmp_path)
    assert run_on_ray(work, "local", 2, cards=False) == 0
    told = [json.loads((tmp_path / name).read_text("utf-8")) for name in ("0", "1")]
    assert told[0]["cluster"] == told[1]["cluster"]
    assert all(address.startswith("127.0.0.1:") for address in told[0]["cluster"]["worker"])
    for name, message in (("kill", "was lost.*--resume"), ("fail", "no room left")):
        (tmp_path / name).touch()
        with pytest.raises(TrainingError, match=rf"^worker 1 \(127\.0\.0\.1:\d+\).*{message}"):
            run_on_ray(work, "local", 2, cards=False)
        (tmp_path / name).unlink()


@pytest.mark.train
def test_the_tasks_of_a_slurm_step_know_each_other(monkeypatch):
    from tagger.learning.launching import set_from_slurm

    step = {
        "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "node[9-10]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURMD_NODENAME": "node9", "SLURM_LOCALID": "1",
    }  # fmt: skip
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(TrainingError, match=r"^--cluster slurm: expected .*; start it with srun"):
        set_from_slurm()
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    set_from_slurm()
    workers = workers_here()
    assert workers.addresses == ("node10:10448", "node10:10449", "node9:10448", "node9:10449")
    assert workers.number == 3  # not that of Slurm, which sorts nodes by number


def test_the_commands_of_the_page_are_understood(tmp_path):
    from tagger.cli import parser
    from tagger.docs import page

    text = page("replicas").replace("\\\n", "")
    commands = [line.strip() for line in text.splitlines() if line.strip().startswith(("tagger train", "srun "))]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command.replace("...", "--train F --dev F --out B"))
        options = parser(every=True).parse_args(words[words.index("tagger") + 1 :])
        assert options.replicas == 2 or options.out.name == "bundle"
    script = tmp_path / "script.sh"
    script.write_text(re.search(r"#!/bin/bash(?s:.*?)--resume", text)[0], "utf-8")
    subprocess.run(["bash", "-n", script], check=True, timeout=20)
