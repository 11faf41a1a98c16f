import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from tagger import Tagger
from tagger import bundle as bundles
from tagger.batches import pad
from tagger.decode import log_softmax, viterbi
from tagger.errors import OutputError
from tagger.export import EXPORTERS
from tagger.files.outputs import LISTING
from tagger.runtime.keras import KerasRuntime
from tagger.text import normal
from tagger.weights import fresh_model
from tests.samples import TEXTS

pytestmark = pytest.mark.train


@pytest.fixture(scope="module", params=["bundle", "contest_bundle"])
def bundle(request):
    return bundles.load(request.getfixturevalue(request.param))


def batch(bundle):
    return pad(bundle.lookup.ids([bundle.units(text) for text in TEXTS]), length=40)


def inside(scores, lengths):
    return np.concatenate([row[:length] for row, length in zip(scores, lengths, strict=True)])


@pytest.mark.parametrize("name", ["w.weights.h5", "w.safetensors"])
def test_exported_weights_load_into_a_new_model(bundle, tmp_path, name):
    EXPORTERS["weights"].write(bundle, tmp_path / name)
    model = fresh_model(bundle.config, bundle.scheme, bundle.lookup)
    if name.endswith(".h5"):
        model.load_weights(tmp_path / name)
    else:
        arrays = load_file(tmp_path / name)
        for weight in model.weights:
            weight.assign(arrays[weight.path])
    ids, lengths = batch(bundle)
    ours, theirs = (KerasRuntime(one, bundle.lookup).scores(ids, lengths) for one in (model, bundle.keras_model()))
    np.testing.assert_array_equal(ours, theirs)


def run_alone(code, folder, bundle):
    """Run code without this package, beside `in.npz` and, in `words.json`, the words of each text."""
    ids, lengths = batch(bundle)
    np.savez(folder / "in.npz", ids=ids, lengths=lengths)
    words = [bundle.units(text).words for text in TEXTS]
    (folder / "words.json").write_text(json.dumps(words), "utf-8")
    code += "\nimport sys\nassert not any(name.startswith('tagger') for name in sys.modules)\n"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Tagger.load(bundle.folder, "keras").runtime.scores(ids, lengths), ids, lengths


def test_saved_model_is_served_without_tagger(bundle, tmp_path):
    EXPORTERS["saved_model"].write(bundle, tmp_path / "served")
    code = """if True:
        import numpy as np, tensorflow as tf
        given = np.load("in.npz")
        served = tf.saved_model.load("served").signatures["serving_default"]
        out = served(ids=tf.constant(given["ids"]), lengths=tf.constant(given["lengths"]))
        np.save("out.npy", out["scores"].numpy())
    """
    expected, _, _ = run_alone(code, tmp_path, bundle)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_litert_runs_one_text_after_another(bundle, tmp_path):
    EXPORTERS["litert"].write(bundle, tmp_path / "model.tflite")
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
    expected, _, lengths = run_alone(code, tmp_path, bundle)
    out = np.load(tmp_path / "out.npz")
    for row, length in enumerate(lengths):
        for way in ("alone", "padded"):
            np.testing.assert_allclose(out[f"{way}{row}"], expected[row, :length], atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_what_exists_is_not_replaced_unless_asked(bundle, tmp_path, name):
    out = tmp_path / "out.tflite"
    out.mkdir()
    with pytest.raises(OutputError, match="--force" if name == "onnx" else "is a folder, and a file is to be written"):
        EXPORTERS[name].write(bundle, out)
    assert list(tmp_path.iterdir()) == [out]
    assert not list(out.iterdir())
    if name == "onnx":
        EXPORTERS[name].write(bundle, out, replace=True)
        assert {path.name for path in out.iterdir()} == {"model.onnx", "tagger.json", LISTING}


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [("weights", "weights.bin", r"\.weights\.h5 or \.safetensors"), ("litert", "model.bin", r"\.tflite")],
)
def test_a_wrong_suffix_is_refused_before_any_work(tmp_path, name, file, expected):
    with pytest.raises(OutputError, match=f"ends in {expected}"):
        EXPORTERS[name].check(tmp_path / file)


FOREIGN = """
import base64, json
import numpy as np, onnxruntime

spec = json.load(open("onnx/tagger.json", encoding="utf-8"))
known = {name: {s: id for id, s in enumerate(strings, 2)} for name, strings in spec["vocabularies"].items()}


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
if spec["lexicon"]:
    own, keys, tags = (base64.b64decode(spec["lexicon"][part]) for part in ("vocabulary_tags", "keys", "tags"))
    for word, tag in zip(spec["vocabularies"]["word"], own):
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
    if spec["unit"] == "word":
        return [[by_parts(word)] for word in words]
    text, found = "".join(words), []
    for word in words:
        places = spec["positions"][str(min(len(word), 4))]
        places = places[:2] + [8] * (len(word) - 4) + places[2:] if len(word) > 4 else places
        for place in places:
            at, around = len(found), (" " + text + " ")[len(found) : len(found) + 3]
            row = [known["char"].get(around[1], 1)]
            row += [known["bigram"].get(pair, 1) for pair in (around[1:], around[:2])]
            row += [by_parts(word), place]
            if spec["lexicon"]:
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
    if spec["decode"]["log_softmax"]:
        scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    (starts, ends), steps = numbers([spec["starts"], spec["ends"]]), numbers(spec["transitions"])
    best, back = starts + scores[0], []
    for now in scores[1:]:
        ways = best[:, None] + steps
        back.append(ways.argmax(axis=0))
        best = ways.max(axis=0) + now
    path = [int((best + ends).argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return [spec["tags"][tag] for tag in reversed(path)]


given = np.load("in.npz")
session = onnxruntime.InferenceSession("onnx/model.onnx")
(scores,) = session.run(["scores"], {"ids": given["ids"], "lengths": given["lengths"]})
np.save("scores.npy", scores)
out = {
    "normal": ["".join(spec["text"]["replace"].get(c, c) for c in text) for text in TEXTS],
    "ids": [rows(words) for words in json.load(open("words.json", encoding="utf-8"))],
    "tags": [decode(row[:length]) for row, length in zip(scores, given["lengths"])],
}
json.dump(out, open("out.json", "w"))
"""


def test_the_onnx_folder_describes_all_that_another_language_needs(bundle, tmp_path):
    import onnx

    EXPORTERS["onnx"].write(bundle, tmp_path / "onnx")
    domains = {node.domain for node in onnx.load(tmp_path / "onnx" / "model.onnx").graph.node}
    assert domains == {""}  # standard operators
    keras, ids, lengths = run_alone(f"TEXTS = {TEXTS!r}\n{FOREIGN}", tmp_path, bundle)
    out, settings = json.loads((tmp_path / "out.json").read_text("utf-8")), bundle.config.text
    np.testing.assert_allclose(inside(np.load(tmp_path / "scores.npy"), lengths), inside(keras, lengths), atol=1e-4)
    assert out["normal"] == [normal(text, settings.fold, settings.simplify) for text in TEXTS]
    for ours, theirs, length in zip(out["ids"], ids, lengths, strict=True):
        np.testing.assert_array_equal(ours, theirs[:length])
    own = inside(keras, lengths)
    tags = viterbi(own if bundle.config.model.crf else log_softmax(own), lengths, bundle.transitions)
    assert list(itertools.chain(*out["tags"])) == [bundle.scheme.names[tag] for tag in tags]
