"""A bundle of each format is loaded, and predicts what it predicted when it was written; see `make_golden_bundle`."""

import json
import sys

import pytest

from tagger import Tagger
from tagger import bundle as bundles
from tagger.runtime import RUNTIMES
from tests.make_golden_bundle import GOLDEN

EXPECTED = sorted(GOLDEN.glob("format-*.jsonl"))

# How far probabilities may be from those of the runtime "onnx".
TOLERANCE = {"onnx": 2e-4, "keras": 2e-4, "int8": 0.05, "openvino": 0.05}


def check(expected, runtime):
    """Compare a bundle's predictions with those in the file beside it."""
    tagger = Tagger.load(expected.with_suffix(""), runtime, workers=1)
    for line in expected.read_text("utf-8").splitlines():
        row = json.loads(line)
        entities = tagger(row["text"])
        wanted = [(e["start"], e["end"], e["label"], e["text"]) for e in row["entities"]]
        assert [entity[:4] for entity in entities] == wanted
        scores = [entity.score for entity in entities]
        assert scores == pytest.approx([e["score"] for e in row["entities"]], abs=TOLERANCE.get(runtime, 0.05))


def test_each_format_has_a_bundle():
    formats = [int(file.stem.removeprefix("format-")) for file in EXPECTED]
    assert sorted(formats) == list(range(bundles.OLDEST_FORMAT, bundles.FORMAT_VERSION + 1))
    for file, version in zip(EXPECTED, formats, strict=True):
        assert bundles.load(file.with_suffix("")).manifest["format"] == version


@pytest.mark.parametrize(
    "runtime",
    [pytest.param(name, marks=pytest.mark.train) if row.tensorflow else name for name, row in RUNTIMES.items()],
)
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda file: file.stem)
def test_bundles_of_all_formats_predict_what_they_did(expected, runtime):
    check(expected, runtime)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda file: file.stem)
def test_bundles_load_with_either_segmenter(expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert bundles.load(expected.with_suffix("")).units.segmenter.engine == "jieba"
    check(expected, "onnx")
