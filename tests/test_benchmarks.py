"""The scripts that measure: what of them can be tried without measuring."""

import importlib
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
