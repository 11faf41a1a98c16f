"""Tagging on clusters of Ray on this machine: what is lost is done again, nothing twice, and nobody is told."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import GOLDEN_BUNDLE, ROOT, SAMPLE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray has no wheel for this Python"),
]

# A command in which parts of files, and shards, are small: tests are short.
COMMAND = """
import sys
from tagger import cli, corpus, files
from tagger.cluster import plan
files.CHUNK = corpus.CHUNK = plan.CHUNK = plan.SHARD = 1 << 15
sys.exit(cli.main(sys.argv[1:]))
"""


def command(*arguments):
    return [sys.executable, "-c", COMMAND, "predict", str(GOLDEN_BUNDLE), *map(str, arguments)]


def run(*arguments, **environment):
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=150, env=settings)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Three files, and the results of the plain command."""
    folder = tmp_path_factory.mktemp("text")
    lines = (SAMPLE / "unlabelled.txt").read_text("utf-8").splitlines()
    content = "".join(f"{line}\n" for line in lines)
    (folder / "a.txt").write_text((content * 9)[:280_000], "utf-8")
    (folder / "b.jsonl").write_text('{"text": "李明去了上海。", "n": 1}\n{"none": 1}\n', "utf-8")
    (folder / "c.csv").write_text("text,n\n好,2\n", "utf-8")
    inputs = [folder / name for name in ("a.txt", "b.jsonl", "c.csv")]
    done = run(*inputs, "--errors", "skip", "--out", folder / "plain.jsonl")
    assert done.returncode == 0, done.stderr
    return inputs, (folder / "plain.jsonl").read_bytes()


def joined(out):
    return b"".join(path.read_bytes() for path in sorted((out / "results").rglob("*.jsonl")))


def journaled(out):
    with contextlib.suppress(FileNotFoundError):
        return [
            json.loads(line)["shard"] for line in (out / "journal.jsonl").read_text().splitlines(True) if "}" in line
        ]
    return []


def wait_for(condition, process):
    end = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of three nodes on this machine: its address, the nodes but the head, and how to kill one."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PYTHONPATH", str(ROOT)), ("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        others = [cluster.add_node(num_cpus=1) for _ in range(2)]
        yield cluster, others
        cluster.shutdown()


def workers_of(node):
    """Return the processes of a node that tag."""
    (raylet,) = node.all_processes["raylet"]
    found = []
    for one in psutil.Process(raylet.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if "ray::Worker" in " ".join(one.cmdline()):
                found.append(one)
    return found


def test_a_worker_a_node_and_the_driver_may_be_killed(nodes, text, tmp_path):
    cluster, others = nodes
    inputs, expected = text
    out = tmp_path / "out"
    arguments = [*inputs, "--errors", "skip", "--cluster", cluster.address, "--out", out]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, env=os.environ) as driver:
        wait_for(lambda: len(journaled(out)) >= 2 and workers_of(others[0]), driver)
        workers_of(others[0])[0].kill()
        wait_for(lambda: len(journaled(out)) >= 5, driver)
        cluster.remove_node(others[1], allow_graceful=False)
        wait_for(lambda: len(journaled(out)) >= 8, driver)
        driver.kill()
    before = journaled(out)
    assert not (out / "summary.json").exists()
    resumed = run(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert joined(out) == expected
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["failed"], summary["faults"]) == (0, 1)
    shards = journaled(out)
    assert sorted(shards) == list(range(summary["shards"]))
    assert shards[: len(before)] == before
    assert ".jsonl:2:" in (out / "errors.jsonl").read_text()
    again = run(*arguments)
    assert (again.returncode, "--resume to continue, or --force" in again.stderr) == (1, True)


TEACHING = """
import sys
from pathlib import Path
from tagger import Tagger
from tagger.cluster.teaching import on_cluster
bundle, address = Path(sys.argv[1]), sys.argv[2]
texts = ["李明去了上海。" * (n % 9) for n in range(9000)]
with on_cluster(address)(bundle) as teacher:
    results = list(teacher.results(texts, answers=False, outside=True))
expected = list(Tagger.load(bundle).results(texts, answers=False, outside=True))
assert [one.entities for one in results] == [one.entities for one in expected]
assert all((one.outside == other.outside).all() for one, other in zip(results, expected, strict=True))
print(len(results))
"""


def test_a_cluster_teaches_what_a_tagger_does(nodes):
    arguments = [sys.executable, "-c", TEACHING, str(GOLDEN_BUNDLE), nodes[0].address]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()  # of which Ray may have written some, on the node that another test has killed
    assert (done.returncode, lines[-1:]) == (0, ["9000"]), done.stderr


def test_a_local_cluster_speaks_to_this_machine_alone_and_leaves_nothing(text, tmp_path):
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    temporary = Path(tempfile.mkdtemp())  # not within `tmp_path`: names of sockets are short
    settings = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    arguments = command(*text[0], "--errors", "skip", "--cluster", "local", "--workers", "2", "--out", out)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=os.environ | settings) as driver:
        process, addresses = psutil.Process(driver.pid), set()
        while driver.poll() is None and not journaled(out):
            addresses |= addresses_of([process, *process.children(recursive=True)])
            time.sleep(0.05)
        addresses |= addresses_of([process, *process.children(recursive=True)])
        driver.send_signal(signal.SIGTERM)
        _, errors = driver.communicate(timeout=100)
    assert driver.returncode == 143, errors
    assert "shards are done and kept in" in errors
    assert len(errors.splitlines()) == 1
    assert addresses
    assert {address.removeprefix("::ffff:") for address in addresses} <= {"127.0.0.1", "::1"}
    assert list(home.rglob("*")) == []
    temporary.rmdir()
    assert journaled(out)


def addresses_of(processes):
    """Return the addresses that processes listen on and are connected with."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for one in process.net_connections("inet"):
                found |= {end.ip for end in (one.laddr, one.raddr) if end}
    return found
