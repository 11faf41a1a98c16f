"""scripts/bench_gpu without a card: its parts in little, and how it goes on."""

import importlib
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.train


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setenv("TAGGER_CACHE", "")  # which the scripts set
    return importlib.import_module("bench_gpu")


@pytest.fixture
def options(bench, monkeypatch, tmp_path):
    """A function that returns options of a trial, the shared folder prepared."""

    def parse(*more):
        given = ["--device", "processor", "--tiny", "--out", tmp_path / "gpu.json", *more]
        monkeypatch.setattr(sys, "argv", ["bench_gpu", *map(str, given)])
        return bench.parse_arguments()

    return parse


def test_parts_that_train_on_one_device(bench, options):
    given = options()
    bench.prepare(given)
    whole = bench.whole(given)
    assert whole["units_per_second"] > 0
    assert whole["peak_mib"] is None
    assert whole["f1"] > 0.05
    parity = bench.parity(given)
    assert parity["same_texts"] == parity["texts"]
    assert parity["largest_score_difference"] < 1e-3
    repeated = bench.repeat(given)
    assert repeated["same_losses"]
    assert repeated["same_weights"]
    assert repeated["largest_difference"] == 0
    assert bench.begin(given) == {"checkpoint": True}
    resumed = bench.resume(given)
    assert (resumed["epochs"], resumed["steps_made_here"]) == (2, 1)


@pytest.mark.slow
def test_two_trainings_at_once(bench, options, capfd):
    given = options("--parts", "two", "--seconds", "500")
    bench.main()
    (run,) = json.loads(given.out.read_text("utf-8"))["runs"]
    assert run["units_per_second"] == pytest.approx(sum(run["each"]))
    assert min(run["each"]) > 0
    assert not bench.folder_of(given).exists()


def test_what_is_missing_is_made_by_the_next_call(bench, options, monkeypatch, capsys):
    made = []

    def process(given, names, seconds):
        for name in names:
            made.append(name)
            if name != "repeat":
                bench.save(given, name, {"units_per_second": 2000.0, "busy": 0.5})

    monkeypatch.setattr(bench, "PROCESSES", dict.fromkeys(bench.PROCESSES, process))
    monkeypatch.setattr(bench, "prepare", lambda given: None)
    options("--seconds", "0")
    bench.main()
    assert made == []
    options()
    bench.main()
    assert made == list(bench.PARTS)
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == "time is over, or a part failed; the same command goes on with: repeat"
    assert "2.0        50 %" in told.out
    bench.main()
    assert made == [*bench.PARTS, "repeat"]
    options("--parts", "two", "--again")
    bench.main()
    assert made == [*bench.PARTS, "repeat", "two"]
    options("--cap", "7")
    with pytest.raises(SystemExit, match="its runs were made with"):
        bench.main()


def test_without_a_card_it_is_refused_in_one_line(bench, options, monkeypatch):
    monkeypatch.setattr(bench, "cards", list)
    options("--device", "card")
    with pytest.raises(SystemExit, match=r"^bench_gpu: TensorFlow finds no graphics card here; .*--tiny$"):
        bench.main()
    with pytest.raises(SystemExit, match="2"):
        options("--parts", "small,speed")


def test_what_the_driver_tells_is_counted_while_steps_are_made(bench, monkeypatch, tmp_path):
    told = tmp_path / "nvidia-smi"
    told.write_text("#!/bin/sh\necho '40, 900'\necho '[N/A], 7'\necho '60, 1100'\n")
    told.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with bench.Samples() as samples:
        samples._process.wait()
        samples._reader.join()
    assert samples.figures([(0.0, float("inf"))]) == {"busy": 0.5, "card_mib": 1100}
    assert samples.figures() == {"busy": None, "card_mib": 1100}
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    with bench.Samples() as samples:
        pass
    assert samples.figures() == {"busy": None, "card_mib": None}
