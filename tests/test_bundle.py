import json
import shutil

import pytest

from tagger import bundle as bundles
from tagger.errors import BundleError

pytestmark = pytest.mark.train


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


def test_a_bundle_says_everything_and_pickles_nothing(bundle):
    names = {file.name for file in bundle.iterdir()}
    wanted = {"config.toml", "labels.txt", "transitions.npy", "char.txt", "bigram.npy", "word.npy", "manifest.json"}
    assert wanted | {bundles.ONNX, "calibration.json", "history.json", "metrics.json", "curves.png"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".model"))]
    for file in bundle.glob("*.npy"):
        assert b"'descr': '|O'" not in file.read_bytes()[:200]


def test_nothing_is_left_beside_it(bundle):
    assert [file.name for file in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["config.toml", "word.npy", "transitions.npy", bundles.ONNX, "labels.txt"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damage_is_told_by_file(copy, name, damage):
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


def test_another_format_and_another_segmenter_are_refused(copy):
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    for change, message in (
        ({"format": 99}, "bundle format 99"),
        ({"segmenter": {"name": "other", "fingerprint": "0"}}, "another lexicon"),
    ):
        (copy / "manifest.json").write_text(json.dumps(manifest | change), "utf-8")
        with pytest.raises(BundleError, match=message):
            bundles.load(copy)


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="not a bundle"):
        bundles.load(tmp_path)
