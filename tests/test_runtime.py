import numpy as np
import pytest

from tagger import Tagger
from tagger import bundle as bundles
from tagger.batches import pad
from tagger.errors import ConfigError, MissingExtraError
from tagger.runtime import RUNTIMES, RuntimeSpec, runtime_spec
from tagger.runtime.openvino import OpenvinoRuntime
from tests.samples import TEXTS


@pytest.fixture(scope="module", params=["bundle", "contest_bundle"])
def bundle(request):
    return bundles.load(request.getfixturevalue(request.param))


def batch(bundle):
    return pad(bundle.lookup.ids([bundle.units(text) for text in TEXTS]), length=40)


def inside(scores, lengths):
    """The scores of all units, without those of padding."""
    return np.concatenate([row[:length] for row, length in zip(scores, lengths, strict=True)])


def load(bundle, name):
    """A runtime; OpenVINO in single precision, which is exact."""
    if name == "openvino":
        return OpenvinoRuntime(bundle.folder / bundles.ONNX, bundle.config.model, bundle.lookup, single=True)
    return RUNTIMES[name].load(bundle, 1)


@pytest.mark.train
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_scores_are_those_of_keras(bundle, name):
    ids, lengths = batch(bundle)
    ours, theirs = (load(bundle, runtime).scores(ids, lengths) for runtime in (name, "keras"))
    np.testing.assert_allclose(inside(ours, lengths), inside(theirs, lengths), atol=1e-4)


@pytest.mark.train
@pytest.mark.parametrize("name", ["int8", "openvino"])
def test_narrower_numbers_give_nearly_these_scores(bundle, name):
    ids, lengths = batch(bundle)
    ours, theirs = (RUNTIMES[runtime].load(bundle, 1).scores(ids, lengths) for runtime in (name, "onnx"))
    ours, theirs = inside(ours, lengths), inside(theirs, lengths)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.mark.train
def test_openvino_does_not_overwrite_the_scores_it_returned(bundle):
    ids, lengths = batch(bundle)
    runtime = load(bundle, "openvino")
    first = runtime.scores(ids, lengths)
    copy = first.copy()
    runtime.scores(ids[::-1].copy(), lengths[::-1].copy())
    np.testing.assert_array_equal(first, copy)


@pytest.mark.train
@pytest.mark.parametrize("name", RUNTIMES)
def test_padding_and_other_texts_change_no_score(bundle, name):
    runtime = load(bundle, name)
    ids, lengths = batch(bundle)
    together = runtime.scores(ids, lengths)
    for row, length in enumerate(lengths):
        alone = runtime.scores(ids[row : row + 1, :length], lengths[row : row + 1])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_row_is_complete(name):
    spec = RUNTIMES[name]
    assert spec.about
    assert "\n" not in spec.about
    assert spec.extra == "train" or not spec.tensorflow


def test_an_unknown_runtime_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="runtime 'onx' does not exist; did you mean 'onnx'"):
        runtime_spec("onx")
    with pytest.raises(ConfigError, match="there are: onnx, int8, openvino, keras"):
        Tagger.load("no folder is looked at", runtime="?")


def test_a_row_and_a_class_are_all_that_a_new_runtime_takes(tmp_path, monkeypatch):
    """The class of a row is imported when it is loaded, not before."""
    (tmp_path / "zero.py").write_text(
        "class Zero:\n    @classmethod\n    def load(cls, bundle, workers):\n        return bundle, workers\n", "utf-8"
    )
    import tagger.runtime

    monkeypatch.setattr(tagger.runtime, "__path__", [*tagger.runtime.__path__, str(tmp_path)])
    monkeypatch.setitem(RUNTIMES, "zero", RuntimeSpec("zero.Zero", "scores of zero"))
    assert runtime_spec("zero").load("bundle", 3) == ("bundle", 3)


def test_a_runtime_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"\[fast\]"):
        OpenvinoRuntime("model.onnx", None, None)
