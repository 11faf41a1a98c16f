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


def test_a_text_in_traditional_characters_has_the_entities_of_the_simplified_one():
    tagger = Tagger.load(GOLDEN / f"format-{bundles.FORMAT_VERSION}", workers=1)
    pairs = (
        ("王芳和张三丰都在北京讲课，他们昨天去了长江大桥。", "王芳和張三豐都在北京講課，他們昨天去了長江大橋。"),
        ("孙悟空回到上海", "孫悟空回到上海"),  # in the gazetteer
    )
    for text, other in pairs:
        expected, entities = tagger(text), tagger(other)
        assert [(e.start, e.end, e.label, e.score) for e in entities] == [
            (e.start, e.end, e.label, e.score) for e in expected
        ]
        assert len(entities) >= 2
        assert all(other[e.start : e.end] == e.text for e in entities)
    before = Tagger.load(GOLDEN / "format-3", workers=1)
    assert not before.config.text.simplify
    assert before(pairs[1][0])[0].score == 1.0
    assert not any(entity.score == 1.0 for entity in before(pairs[1][1]))


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda file: file.stem)
def test_bundles_load_with_either_segmenter(expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert bundles.load(expected.with_suffix("")).units.segmenter.engine == "jieba"
    check(expected, "onnx")
