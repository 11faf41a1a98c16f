"""Which bundle is used: named, or the general tagger."""

import pickle
import shutil

import pytest

from tagger import Tagger, default_bundle
from tagger.cli import main
from tagger.default_bundle import bundle_and_inputs, general_bundle
from tagger.errors import BundleError, ConfigError
from tagger.serve.retraining import Retraining, TrainingPlan
from tests.conftest import GOLDEN_BUNDLE

LINE = "第一届全国人民代表大会于1954年在北京召开。\n"


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """A folder, which is the current one, with a bundle, texts, and what looks like a bundle."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN_BUNDLE, "bundle")
    shutil.copytree(GOLDEN_BUNDLE, "cut")
    (tmp_path / "cut" / "manifest.json").unlink()
    (tmp_path / "bundle.training").mkdir()
    (tmp_path / "bundle.training" / "run.json").write_text("{}")
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt", "texts/c.txt"):
        (tmp_path / name).write_text(LINE, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "bundle", "inputs"),
    [
        ([], None, []),
        (["bundle"], "bundle", []),
        (["bundle", "a.txt", "b.txt"], "bundle", ["a.txt", "b.txt"]),
        (["a.txt", "b.txt"], None, ["a.txt", "b.txt"]),
        (["texts"], None, ["texts"]),
        (["-"], None, ["-"]),
        (["*.txt"], None, ["*.txt"]),
    ],
)
def test_the_first_path_is_a_bundle_if_it_has_a_manifest(paths, given, bundle, inputs):
    assert bundle_and_inputs(given) == (bundle, inputs)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["nowhere", "a.txt"], BundleError, "nowhere: expected a bundle .* or a text .* nothing that exists"),
        (["cut", "a.txt"], BundleError, r"cut: not a bundle \(model\.onnx is there, and no manifest\.json\)"),
        (["bundle.training", "a.txt"], BundleError, r"bundle\.training: not a bundle \(run\.json is there"),
        (["a.txt", "bundle"], ConfigError, "bundle: is a bundle; .* before the texts"),
    ],
)
def test_what_is_probably_a_mistake_is_an_error(paths, given, error, message):
    with pytest.raises(error, match=message):
        bundle_and_inputs(given)


def test_a_remote_folder_is_a_bundle_if_it_has_a_manifest(paths):
    pytest.importorskip("pyarrow")
    uri = f"file://{paths}"
    assert bundle_and_inputs([f"{uri}/bundle", f"{uri}/a.txt"]) == (f"{uri}/bundle", [f"{uri}/a.txt"])
    assert bundle_and_inputs([f"{uri}/a.txt"]) == (None, [f"{uri}/a.txt"])


@pytest.fixture
def general(monkeypatch):
    """The golden bundle in the place of the general tagger."""
    monkeypatch.setattr(default_bundle, "GENERAL", GOLDEN_BUNDLE)


# Arguments, exit code, and what standard output and standard error must hold.
@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ("predict --text 好", 0, '{"text": "好"', ""),
        ("predict a.txt", 0, '"entities"', "the general tagger is used"),
        ("predict bundle a.txt", 0, '"entities"', ""),
        ("predict a.txt --threshold 0.5 b.txt", 0, '"entities"', "the general tagger is used"),
        ("predict", 2, "", "nothing to tag"),
        ("predict nowhere a.txt", 1, "", "nowhere: expected a bundle"),
        ("predict cut a.txt", 1, "", "cut: not a bundle"),
        ("redact a.txt a.txt", 1, "", "a.txt: expected a bundle"),
        ("evaluate bundle", 2, "", "bundle: is a bundle; give the file"),
        ("evaluate nowhere a.txt", 1, "", "nowhere: not a bundle"),
        ("redact bundle", 2, "", "bundle: is a bundle; give the file"),
        ("redact a.txt", 0, "", "the general tagger is used"),
        ("redact bundle --by label a.txt", 0, "", "texts; "),
    ],
)  # fmt: skip
def test_commands_take_a_bundle_or_none(paths, general, capsys, arguments, code, out, err):
    assert main(arguments.split()) == code
    printed = capsys.readouterr()
    assert out in printed.out
    assert err in printed.err
    assert err or "general" not in printed.err


def test_a_damaged_bundle_is_no_input(paths, capsys):
    (paths / "bundle" / "labels.txt").write_text("X\n")
    assert main(["predict", "bundle", "a.txt"]) == 1
    assert "labels.txt is damaged" in capsys.readouterr().err


def test_without_a_general_tagger_the_error_says_so(paths, monkeypatch, capsys):
    monkeypatch.setattr(default_bundle, "GENERAL", paths / "texts")
    with pytest.raises(BundleError, match="this installation has no general tagger"):
        general_bundle()
    with pytest.raises(BundleError, match="this installation has no general tagger"):
        Tagger.load()
    assert main(["predict", "--text", "好"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_tagger_load_without_a_path_is_the_general_tagger_wherever_it_is_unpickled(general, monkeypatch, tmp_path):
    tagger = Tagger.load(workers=1)
    assert tagger.labels == Tagger.load(GOLDEN_BUNDLE, workers=1).labels
    assert repr(tagger).startswith("<Tagger general; ")
    pickled = pickle.dumps(tagger)
    shutil.copytree(GOLDEN_BUNDLE, tmp_path / "elsewhere")
    monkeypatch.setattr(default_bundle, "GENERAL", tmp_path / "elsewhere")
    assert pickle.loads(pickled)(LINE) == tagger(LINE)


def test_what_a_page_trains_from_the_general_tagger_lies_in_the_current_folder(paths):
    retraining = Retraining(TrainingPlan(default_bundle.GENERAL), paths / "corrected.jsonl", lambda folder: None)
    assert retraining.base == paths / "general"
    shutil.copytree(GOLDEN_BUNDLE, "general.2")
    assert retraining.newest() == paths / "general.2"
