import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tagger import Tagger
from tagger import bundle as bundles
from tagger.errors import TaggerError
from tagger.gazetteer import Gazetteer
from tagger.prediction import processes
from tests.conftest import GOLDEN_BUNDLE, ROOT


def texts(count):
    """Enough for several groups."""
    return [f"第{number}届遵义会议在北京大学召开，李明去了。" * 40 for number in range(count)]


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(processes, "_GROUPS_BEFORE", 1)


@pytest.mark.parametrize("answers", [False, True])
def test_processes_predict_what_threads_do_in_the_same_order(bundle, soon, answers):
    tagger, given = Tagger.load(bundle, workers=2), texts(150)
    results = list(processes.results(tagger, bundle, "onnx", iter(given), answers))
    assert results == list(tagger.results(given, answers))
    assert [result.text for result in results] == given


@pytest.mark.parametrize("why", ["one worker", "little text", "runtime", "gazetteer"])
def test_no_process_is_started_where_it_would_not_pay(bundle, monkeypatch, why):
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    monkeypatch.setattr(processes, "_GROUPS_BEFORE", 1000 if why == "little text" else 1)
    tagger, given = Tagger.load(bundle, workers=1 if why == "one worker" else 2), texts(40)
    tagger.gazetteer = Gazetteer({"龘": {tagger.labels[0]: 1.0}}, tagger.scheme) if why == "gazetteer" else None
    runtime = "keras" if why == "runtime" else "onnx"  # its row is all that is asked
    assert list(processes.results(tagger, bundle, runtime, given)) == list(tagger.results(given))


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_bundle_that_is_replaced_changes_nothing_that_is_under_way(tmp_path, soon, capsys, how):
    folder = shutil.copytree(GOLDEN_BUNDLE, tmp_path / "bundle")
    bundles.keep_gazetteer(folder, None)
    tagger, some = Tagger.load(folder, workers=2), texts(60)
    expected = list(tagger.results(some))
    if how == "replaced":
        bundles.write_manifest(folder, {**bundles.load(folder).manifest, "trained": "another day"})
    else:
        shutil.rmtree(folder)
    assert list(processes.results(tagger, folder, "onnx", iter(some))) == expected
    (line,) = capsys.readouterr().err.splitlines()
    reason = "replaced by another bundle" if how == "replaced" else "not a bundle"
    assert line.startswith(f"tagger: {folder}: {reason}")
    assert line.endswith("going on without more processes, with the bundle that was loaded")


def end(texts, answers):
    os._exit(1)


def test_a_process_that_ends_early_is_an_error(bundle, soon, monkeypatch):
    monkeypatch.setattr(processes, "_tag", end)
    with pytest.raises(TaggerError, match="ended before its work was done"):
        list(processes.results(Tagger.load(bundle, workers=2), bundle, "onnx", map(str, range(10**7))))


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(number) for number in listed.stdout.split()]


def alive(pid):
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(listed.strip()) and not listed.startswith("Z")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="lists processes as Linux does")
def test_processes_end_with_their_parent(bundle, tmp_path):
    (tmp_path / "much.txt").write_text("\n".join(texts(20_000)), "utf-8")
    command = [sys.executable, "-m", "tagger.cli", "predict", bundle, tmp_path / "much.txt"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(started := children(process.pid)) < 2 and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
    assert started
    deadline = time.monotonic() + 30
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, started))
