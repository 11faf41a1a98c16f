import subprocess
import sys

import numpy as np
import pytest

from tagger import Tagger
from tagger import bundle as bundles
from tagger.batches import pad
from tagger.errors import BundleError
from tagger.pipeline import Tagger as PipelineTagger
from tagger.runtime import KerasRuntime

pytestmark = pytest.mark.train
TEXTS = ["遵义会议旧址，主要指召开遵义会议的那座小楼。", "好", "《瓦尔登湖》记下了梭罗在湖边独居的两年多时光。"]


@pytest.fixture(scope="module", params=["bundle", "contest_bundle"])
def found(request):
    return bundles.load(request.getfixturevalue(request.param))


def batch(found):
    return pad(found.lookup.ids([found.units(text) for text in TEXTS]), length=40)


def inside(scores, lengths):
    return np.concatenate([row[:length] for row, length in zip(scores, lengths, strict=True)])


def test_onnx_gives_the_scores_of_keras(found):
    ids, lengths = batch(found)
    keras, onnx = (PipelineTagger.load(found.folder, runtime).runtime for runtime in ("keras", "onnx"))
    ours, theirs = onnx.scores(ids, lengths), keras.scores(ids, lengths)
    np.testing.assert_allclose(inside(ours, lengths), inside(theirs, lengths), atol=1e-4)


def test_eight_bits_give_nearly_the_scores_of_keras(found):
    ids, lengths = batch(found)
    eight, onnx = (PipelineTagger.load(found.folder, runtime).runtime for runtime in ("int8", "onnx"))
    ours, theirs = inside(eight.scores(ids, lengths), lengths), inside(onnx.scores(ids, lengths), lengths)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.mark.parametrize("runtime", ["onnx", "int8"])
def test_padding_and_company_change_no_score(found, runtime):
    runtime = PipelineTagger.load(found.folder, runtime).runtime
    ids, lengths = batch(found)
    together = runtime.scores(ids, lengths)
    for row, length in enumerate(lengths):
        alone = runtime.scores(ids[row : row + 1, :length], lengths[row : row + 1])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.safetensors"])
def test_exported_weights_load_into_a_fresh_model(found, tmp_path, name):
    from tagger.export import build, fresh_model, load_safetensors, to_weights

    to_weights(found, tmp_path / name)
    fresh = fresh_model(found.config, found.scheme, found.lookup)
    if name.endswith(".h5"):
        fresh.load_weights(tmp_path / name)
    else:
        load_safetensors(fresh, tmp_path / name)
    ids, lengths = batch(found)
    ours, theirs = (KerasRuntime(model, found.lookup).scores(ids, lengths) for model in (fresh, build(found)))
    np.testing.assert_array_equal(ours, theirs)


def test_a_weights_file_needs_a_known_suffix(found, tmp_path):
    from tagger.export import to_weights

    with pytest.raises(BundleError, match="safetensors"):
        to_weights(found, tmp_path / "weights.bin")


def test_saved_model_is_served_without_tagger(found, tmp_path):
    from tagger.export import to_saved_model

    to_saved_model(found, tmp_path / "served")
    ids, lengths = batch(found)
    np.savez(tmp_path / "in.npz", ids=ids, lengths=lengths)
    code = """if True:
        import sys, numpy as np, tensorflow as tf
        given = np.load("in.npz")
        served = tf.saved_model.load("served").signatures["serving_default"]
        out = served(ids=tf.constant(given["ids"]), lengths=tf.constant(given["lengths"]))
        np.save("out.npy", out["scores"].numpy())
        assert not any(name.startswith("tagger") for name in sys.modules)
    """
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = Tagger.load(found.folder, "keras").runtime.scores(ids, lengths)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
