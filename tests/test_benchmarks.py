"""The scripts that measure: what of them can be tried without measuring."""

import importlib
import json
import sys

import pytest

from tests.conftest import ROOT

NAMES = sorted(
    file.stem for file in (ROOT / "scripts").glob("bench*.py") if "parse_arguments" in file.read_text("utf-8")
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setenv("TAGGER_CACHE", "")  # which they set


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_takes(name, monkeypatch, capsys):
    script = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        script.parse_arguments()
    assert "--out F" in capsys.readouterr().out


def test_shares_in_old_figures_get_their_present_name():
    accuracy = importlib.import_module("bench_accuracy")
    bins = [{"from": 0.5, "to": 0.6, "predicted": 4, name: 0.75} for name in ("correct", "accuracy")]
    runs = [{"corpus": "x", "system": "default", "seed": seed, "reliability": [row]} for seed, row in enumerate(bins)]
    accuracy.rename_shares([*runs, {"corpus": "x", "system": "crfsuite", "seed": None}])
    assert accuracy.reliability_rows(runs)[1][:2] == ("x", "75.0 % of 8")


def test_the_costs_in_the_page_on_clusters_are_those_that_follow_from_the_figures():
    costs, benching = importlib.import_module("cluster_costs"), importlib.import_module("benching")
    table = benching.markdown_table(costs.costs())
    assert f"<!-- costs -->\n{table}\n<!-- /costs -->" in costs.PAGE.read_text("utf-8")
    assert "| core hours | 2.8 | 28 | 2,800 |" in table
    assert f"{costs.TAGGED:,} characters a second and core" in costs.PAGE.read_text("utf-8")


def test_files_of_all_formats_are_redacted_and_restored(tmp_path, monkeypatch, capsys):
    redaction, files = importlib.import_module("bench_redaction"), importlib.import_module("redaction_files")
    count = len(files.FORMS)
    arguments = ["--files", str(count), "--look-alikes", "500", "--out", str(tmp_path / "figures.json")]
    monkeypatch.setattr(sys, "argv", ["bench_redaction", *arguments])
    monkeypatch.setattr(redaction, "GENERAL", tmp_path / "none")  # rules alone
    redaction.main()
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert figures["restored"] == count
    assert figures["replaced"] == figures["planted"]
    assert (figures["left"], figures["look_alikes"]) == (0, 0)
    assert "files restored byte for byte" in capsys.readouterr().out


def test_a_simulated_run_on_a_cluster_does_each_shard_once(tmp_path, monkeypatch):
    simulated = importlib.import_module("bench_cluster_simulated")
    arguments = ["--workers", "100", "--shards", "1900", "--scale", "10000", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench_cluster", *arguments, "--out", str(tmp_path / "figures.json")])
    simulated.main()
    (row,) = json.loads((tmp_path / "figures.json").read_text("utf-8"))["rows"]
    assert row["shards"] == 1990  # some that are small at the end; ten cannot be read
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]
