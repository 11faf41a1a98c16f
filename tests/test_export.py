import json
import subprocess
import sys

import numpy as np
import pytest

from tagger import Tagger
from tagger import bundle as bundles
from tagger.batches import pad
from tagger.decode import log_softmax, viterbi
from tagger.errors import BundleError, OutputError
from tagger.pipeline import Tagger as PipelineTagger
from tagger.runtime import KerasRuntime, OpenvinoRuntime
from tagger.text import normal

pytestmark = pytest.mark.train
TEXTS = ["遵义会议旧址，主要指召开遵义会议的那座小楼。", "好", "《瓦尔登湖》记下了梭罗Ｔhoreau在湖边独居的2年时光。"]


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


@pytest.mark.parametrize("runtime", ["int8", "openvino"])
def test_narrower_numbers_give_nearly_these_scores(found, runtime):
    ids, lengths = batch(found)
    ours, theirs = (PipelineTagger.load(found.folder, name).runtime for name in (runtime, "onnx"))
    ours, theirs = inside(ours.scores(ids, lengths), lengths), inside(theirs.scores(ids, lengths), lengths)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


def single(found):
    return OpenvinoRuntime(found.folder / bundles.ONNX, found.lookup, single=True)


def test_openvino_in_single_precision_gives_the_scores_of_onnx(found):
    ids, lengths = batch(found)
    onnx = PipelineTagger.load(found.folder, "onnx").runtime
    ours, theirs = inside(single(found).scores(ids, lengths), lengths), inside(onnx.scores(ids, lengths), lengths)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_openvino_keeps_what_it_gave_before(found):
    ids, lengths = batch(found)
    runtime = single(found)
    first = runtime.scores(ids, lengths)
    kept = first.copy()
    runtime.scores(ids[::-1].copy(), lengths[::-1].copy())
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("runtime", ["onnx", "int8", "openvino"])
def test_padding_and_company_change_no_score(found, runtime):
    runtime = single(found) if runtime == "openvino" else PipelineTagger.load(found.folder, runtime).runtime
    ids, lengths = batch(found)
    together = runtime.scores(ids, lengths)
    for row, length in enumerate(lengths):
        alone = runtime.scores(ids[row : row + 1, :length], lengths[row : row + 1])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.safetensors"])
def test_exported_weights_load_into_a_fresh_model(found, tmp_path, name):
    from tagger.export import load_safetensors, to_weights
    from tagger.weights import build, fresh_model

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


def run_alone(code, folder, found):
    """Run code that does not know this package; it finds in.npz, and in words.json each text's words."""
    ids, lengths = batch(found)
    np.savez(folder / "in.npz", ids=ids, lengths=lengths)
    words = [found.units(text).words for text in TEXTS]
    (folder / "words.json").write_text(json.dumps(words), "utf-8")
    code += "\nimport sys\nassert not any(name.startswith('tagger') for name in sys.modules)\n"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Tagger.load(found.folder, "keras").runtime.scores(ids, lengths), ids, lengths


def test_saved_model_is_served_without_tagger(found, tmp_path):
    from tagger.export import to_saved_model

    to_saved_model(found, tmp_path / "served")
    code = """if True:
        import numpy as np, tensorflow as tf
        given = np.load("in.npz")
        served = tf.saved_model.load("served").signatures["serving_default"]
        out = served(ids=tf.constant(given["ids"]), lengths=tf.constant(given["lengths"]))
        np.save("out.npy", out["scores"].numpy())
    """
    expected, _, _ = run_alone(code, tmp_path, found)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_litert_runs_one_text_after_another(found, tmp_path):
    from tagger.export import to_litert

    to_litert(found, tmp_path / "model.tflite")
    code = """if True:
        import numpy as np
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            from tensorflow import lite
            Interpreter = lite.Interpreter
        given = np.load("in.npz")
        served = Interpreter("model.tflite").get_signature_runner("serving_default")
        out = {}
        for row, length in enumerate(given["lengths"]):
            one = slice(row, row + 1)
            out[f"alone{row}"] = served(ids=given["ids"][one, :length], lengths=given["lengths"][one])["scores"][0]
            out[f"padded{row}"] = served(ids=given["ids"][one], lengths=given["lengths"][one])["scores"][0, :length]
        np.savez("out.npz", **out)
    """
    expected, _, lengths = run_alone(code, tmp_path, found)
    out = np.load(tmp_path / "out.npz")
    for row, length in enumerate(lengths):
        for way in ("alone", "padded"):
            np.testing.assert_allclose(out[f"{way}{row}"], expected[row, :length], atol=1e-4)


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_what_exists_is_kept_unless_it_may_be_replaced(found, tmp_path, form):
    from tagger.export import FORMATS

    out = tmp_path / "out.tflite"
    out.mkdir()
    with pytest.raises(OutputError, match="--force"):
        FORMATS[form](found, out)
    assert list(tmp_path.iterdir()) == [out]
    assert not list(out.iterdir())
    if form == "onnx":
        FORMATS[form](found, out, replace=True)
        assert {path.name for path in out.iterdir()} == {"model.onnx", "tagger.json"}


def test_a_litert_file_needs_its_suffix(found, tmp_path):
    from tagger.export import to_litert

    with pytest.raises(BundleError, match=r"ends in \.tflite"):
        to_litert(found, tmp_path / "model.bin")


FOREIGN = """
import base64, json
import numpy as np, onnxruntime

told = json.load(open("onnx/tagger.json", encoding="utf-8"))
known = {name: {s: id for id, s in enumerate(strings, 2)} for name, strings in told["vocabularies"].items()}


def by_parts(word):
    parts = [word[start:] for start in range(len(word))] + [word[:stop] for stop in range(len(word) - 1, 0, -1)]
    return next((known["word"][part] for part in parts if part in known["word"]), 1)


def key(word):
    state = 0
    for c in word:
        state = ((state ^ ord(c)) * 0x9E3779B1 + 0x7F4A7C15) % 2**32
    found = (state + len(word)) * 0x85EBCA6B % 2**32
    found = (found ^ (found >> 15)) * 0xC2B2AE35 % 2**32
    return found ^ (found >> 16)


lexicon = {}
if told["lexicon"]:
    own, keys, tags = (base64.b64decode(told["lexicon"][part]) for part in ("vocabulary_tags", "keys", "tags"))
    for word, tag in zip(told["vocabularies"]["word"], own):
        if tag:
            lexicon.setdefault(key(word), (tag, known["word"][word]))
    for number, tag in zip(np.frombuffer(keys, "<u4").tolist(), tags):
        lexicon.setdefault(number, (tag, 1))


def longest(text, spans):
    # length, tag and id of the longest of these spans that is in the lexicon
    spans = [(s, e) for s, e in spans if 0 <= s and e <= len(text) and key(text[s:e]) in lexicon]
    if not spans:
        return 0, 0, 0
    start, end = max(spans, key=lambda span: (span[1] - span[0], -span[0]))
    return end - start, *lexicon[key(text[start:end])]


def rows(words):
    if told["unit"] == "word":
        return [[by_parts(word)] for word in words]
    text, found = "".join(words), []
    for word in words:
        places = told["places"][str(min(len(word), 4))]
        places = places[:2] + [8] * (len(word) - 4) + places[2:] if len(word) > 4 else places
        for place in places:
            at, around = len(found), (" " + text + " ")[len(found) : len(found) + 3]
            row = [known["char"].get(around[1], 1)]
            row += [known["bigram"].get(pair, 1) for pair in (around[1:], around[:2])]
            row += [by_parts(word), place]
            if told["lexicon"]:
                sizes = range(2, 9)
                begins = longest(text, [(at, at + n) for n in sizes])
                covers = longest(text, [(at - before, at - before + n) for n in sizes for before in range(1, n - 1)])
                ends = longest(text, [(at + 1 - n, at + 1) for n in sizes])
                short = [min(max(size - 1, 0), 3) for size, _, _ in (begins, covers, ends)]
                tag = lexicon.get(key(word), (0, 0))[0] if len(word) <= 8 else 0
                row += [begins[2], covers[2], ends[2], 16 * short[0] + 4 * short[1] + short[2]]
                row += [tag, begins[1], covers[1], ends[1]]
            found.append(row)
    return found


def numbers(scores):
    return np.array([[-np.inf if score is None else score for score in row] for row in scores])


def decode(scores):
    if told["decode"]["log_softmax"]:
        scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    (starts, ends), steps = numbers([told["starts"], told["ends"]]), numbers(told["transitions"])
    best, back = starts + scores[0], []
    for now in scores[1:]:
        ways = best[:, None] + steps
        back.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + now
    path = [int((best + ends).argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return [told["tags"][tag] for tag in reversed(path)]


given = np.load("in.npz")
session = onnxruntime.InferenceSession("onnx/model.onnx")
(scores,) = session.run(["scores"], {"ids": given["ids"], "lengths": given["lengths"]})
np.save("scores.npy", scores)
out = {
    "normal": ["".join(told["text"]["replace"].get(c, c) for c in text) for text in TEXTS],
    "ids": [rows(words) for words in json.load(open("words.json", encoding="utf-8"))],
    "tags": [decode(row[:length]) for row, length in zip(scores, given["lengths"])],
}
json.dump(out, open("out.json", "w"))
"""


def test_onnx_folder_says_all_that_another_language_needs(found, tmp_path):
    import onnx

    from tagger.export import to_onnx

    to_onnx(found, tmp_path / "onnx")
    domains = {node.domain for node in onnx.load(tmp_path / "onnx" / "model.onnx").graph.node}
    assert domains == {""}  # standard operators
    keras, ids, lengths = run_alone(f"TEXTS = {TEXTS!r}\n{FOREIGN}", tmp_path, found)
    out = json.loads((tmp_path / "out.json").read_text("utf-8"))
    np.testing.assert_allclose(inside(np.load(tmp_path / "scores.npy"), lengths), inside(keras, lengths), atol=1e-4)
    assert out["normal"] == [normal(text, found.config.text.fold) for text in TEXTS]
    for ours, theirs, length in zip(out["ids"], ids, lengths, strict=True):
        np.testing.assert_array_equal(ours, theirs[:length])
    paths = viterbi(keras if found.config.model.crf else log_softmax(keras), lengths, found.transitions)
    for ours, path, length in zip(out["tags"], paths, lengths, strict=True):
        assert ours == [found.scheme.names[tag] for tag in path[:length]]
