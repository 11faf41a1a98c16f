import json
import shutil

import pytest

from tagger import __version__
from tagger import bundle as bundles
from tagger.config import Config
from tagger.errors import BundleError
from tests.make_golden_bundle import GOLDEN


def change_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | changes), "utf-8")


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(GOLDEN / f"format-{bundles.FORMAT_VERSION}", tmp_path / "copy")


@pytest.mark.train
def test_a_bundle_says_everything_and_pickles_nothing(bundle):
    names = {file.name for file in bundle.iterdir()}
    wanted = {"config.toml", "labels.txt", "transitions.npy", "char.txt", "bigram.npy", "word.npy", "manifest.json"}
    assert wanted | {bundles.ONNX, "calibration.json", "history.json", "metrics.json", "curves.png"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".model"))]
    for file in bundle.glob("*.npy"):
        assert b"'descr': '|O'" not in file.read_bytes()[:200]


@pytest.mark.parametrize("name", ["config.toml", "word.npy", "transitions.npy", bundles.ONNX, "labels.txt"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damage_is_reported_by_file(copy, name, damage):
    file = copy / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        bundles.load(copy)


def test_a_damaged_manifest(copy):
    (copy / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        bundles.load(copy)


def test_another_segmenter_is_refused(copy):
    change_manifest(copy, segmenter={"name": "other", "fingerprint": "0"})
    with pytest.raises(BundleError, match="another lexicon"):
        bundles.load(copy)


@pytest.mark.parametrize("change", [{"files": 1}, {"segmenter": {}}])
def test_a_manifest_without_its_fields_is_damaged(copy, change):
    change_manifest(copy, **change)
    with pytest.raises(BundleError, match="files or segmenter are missing"):
        bundles.load(copy)


@pytest.mark.train
def test_the_manifest_records_what_wrote_it(bundle):
    manifest = bundles.load(bundle).manifest
    assert (manifest["format"], manifest["tagger"]) == (bundles.FORMAT_VERSION, __version__)
    assert {"numpy", "tensorflow", "onnxruntime"} <= set(manifest["libraries"])


def test_a_folder_that_is_no_bundle(tmp_path):
    assert not bundles.is_bundle(tmp_path)
    with pytest.raises(BundleError, match="not a bundle"):
        bundles.load(tmp_path)


OLD = r"expected format 3 or later; train it again, or use the version of tagger that wrote it$"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"files": {}}, f"no format number, written by tagger before 0.2.0; {OLD}"),
        ({"format": 2, "files": {}}, f"bundle format 2, written by tagger before 0.2.0; {OLD}"),
        ({"format": "x", "tagger": "0.1.9"}, f"bundle format x, written by tagger 0.1.9; {OLD}"),
        (
            {"format": 99, "tagger": "7.0"},
            r"bundle format 99, written by tagger 7.0; expected formats up to \d+ \(tagger .*\); upgrade with: pip",
        ),
        ({"format": 99}, r"written by tagger \(unknown version\); expected formats up to"),
        ([], "damaged"),
    ],
)
def test_a_format_that_cannot_be_read_is_refused_in_one_line(tmp_path, manifest, message):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert bundles.is_bundle(tmp_path)
    with pytest.raises(BundleError, match=message) as refused:
        bundles.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_settings_that_an_older_format_lacks_have_the_values_they_had_then(monkeypatch):
    before = {
        4: {"model": {"dropout": 0.25}, "text": {"maxlen": 40}},
        5: {"model": {"dropout": 0.75}, "decode": {"calibrate": False}},
    }
    monkeypatch.setattr(bundles, "SETTINGS_BEFORE", before)
    toml = "[text]\nmaxlen = 60\n"  # what a bundle says itself always counts
    configs = {version: bundles.read_config(toml, version) for version in (3, 4, 5)}
    assert {config.text.maxlen for config in configs.values()} == {60}
    assert [configs[version].model.dropout for version in (3, 4, 5)] == [0.25, 0.75, Config().model.dropout]
    assert [configs[version].decode.calibrate for version in (3, 4, 5)] == [False, False, Config().decode.calibrate]


def test_settings_of_older_formats_exist():
    assert all(bundles.OLDEST_FORMAT < version <= bundles.FORMAT_VERSION for version in bundles.SETTINGS_BEFORE)
    for version in range(bundles.OLDEST_FORMAT, bundles.FORMAT_VERSION + 1):
        bundles.read_config("", version)
