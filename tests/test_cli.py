import gzip
import json
import re
import subprocess
import sys
import time
import tracemalloc

import pytest

from tagger.cli import main
from tests.conftest import ROOT, SAMPLE

TEXT = "遵义会议旧址，主要指召开遵义会议的那座小楼。"


def run(capsysbinary, *arguments):
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit:
        code = exit.code
    out, err = capsysbinary.readouterr()
    return code, out.decode("utf-8"), err.decode("utf-8")


# Arguments, exit code, and what standard output and standard error must show; {b} is a bundle, {c} a corpus,
# {g} the golden files.
ROWS = [
    ("", 2, "examples:", ""),
    ("--help", 0, "训练自己的中文实体识别模型", ""),
    ("--version", 0, r"tagger \d", ""),
    ("nonsense", 2, "", "invalid choice"),
    ("predict {b}", 2, "", "nothing to tag"),
    ("predict nowhere --text x", 1, "", "nowhere: not a bundle"),
    ("predict {b} nothing.txt", 1, "", r"nothing\.txt: expected a readable file"),
    ("predict {b} --text 好 --format jsonl", 0, r'^\{"text": "好", "entities": \[', ""),
    ("predict {b} --text 好 --format conll", 0, r"^好\t[OB]", ""),
    ("predict {b} --text 好 --format bmes", 0, r"^好\t[OSBME]", ""),
    ("predict {b} --text 好 --format labelstudio", 0, r'^\[\n\{"data": \{"text": "好"\}', ""),
    ("predict {b} --text 好 --format brat", 2, "", "invalid choice"),
    ("predict {b} {g}/brat --format plain", 0, "^李明在北京大学读书。\n王芳去了上海", ""),
    ("predict {b} {g}/cluener.json --from plain", 0, r'^\{"text": "\{\\"text', ""),
    ("predict {b} --text 好 --format contest", 0, r'^\{"content": "好", "core_entity": \["好"\]\}\n$', ""),
    ("predict {b} --text 好 --format table", 0, r"^text\tstart\tend\tlabel\tscore\tentity\n", ""),
    ("predict {b} --text <b> --format html", 0, r"(?s)^<!doctype html>.*&lt;b&gt;", ""),
    ("evaluate {b} {c}/dev.jsonl --json", 0, r'^\{"texts": 60, "precision"', ""),
    ("evaluate {b} {c}/dev.jsonl", 0, r"(?s)CORE.*all.*top-1 accuracy.*contest score", ""),
    ("evaluate {b} {c}/dev.jsonl --train {c}/train.jsonl", 0, r"(?s)seen.*unseen.*boundary.*spurious", ""),
    ("evaluate {b} {c}/dev.jsonl --html {t}/page.html", 0, "boundary", r"page\.html: written"),
    ("evaluate {b} {c}/dev.jsonl --gazetteer {c}/none.tsv", 1, "", r"none\.tsv: expected a readable file"),
    ("predict {b} --text x --gazetteer {c}/train.jsonl", 1, "", r'train\.jsonl:1: expected \{"mention"'),
    ("gazetteer {b}", 2, "", "give either a gazetteer to store, or --remove"),
    ("gazetteer {b} -", 1, "", "-: expected a file that can be copied"),
    ("gazetteer nowhere --remove", 1, "", "nowhere: not a bundle"),
    ("evaluate {b} {c}/none.jsonl", 1, "", "expected a readable file"),
    ("inspect {c}/train.jsonl", 0, r"(?s)texts.*240.*entities CORE.*entities that units cut +│ +0 │", ""),
    ("inspect {c}/train.jsonl --config contest --json", 0, r'^\{"splits": \[\{"file": ".*"findings": \{"cut": ', ""),
    ("inspect {c}/train.jsonl {c}/dev.jsonl", 0, r"(?s)train\.jsonl.*dev\.jsonl.*texts in both.*: 0", ""),
    ("inspect {c}/train.jsonl --html {t}/page.html", 0, "texts", r"page\.html: written"),
    ("inspect {b} {c}/train.jsonl", 2, "", "one bundle at a time"),
    ("inspect -", 2, "", "-: a stream can be read only once"),
    ("evaluate {b} {g}/bioes.conll", 0, r"LOC", "^((?!left out).)*$"),
    ("evaluate {b} {c}/ill.conll", 0, r"LOC", r"ill\.conll: repaired: entities that nothing began \(1\)"),
    ("evaluate {b} {g}/bioes.conll --from jsonl", 1, "", r"bioes\.conll:1: expected a JSON object"),
    ("inspect {g}/labelstudio.json", 0, r"entities PER.*2", ""),
    ("inspect {g}/brat --json", 0, r'"PER": \{"entities": 2', ""),
    (
        "convert {g}/brat - --to jsonl",
        0,
        r'^\{"text": "李明在',
        r"(?s)-: 3 texts, 5 entities, as jsonl.*left out: anno",
    ),
    ("convert {g}/cluener.json {t}/a.bmes", 0, "^$", r"a\.bmes: 3 texts, 5 entities, as bmes"),
    ("convert {g}/native.jsonl {t}/a --to brat", 0, "^$", "as brat"),
    ("convert {g}/native.jsonl - --to brat", 2, "", "brat is a folder of files"),
    ("convert {g}/native.jsonl - --to plain", 0, "^李明在", r"-: lost: entities \(5\)"),
    ("convert {g}/native.jsonl {g}/inline.txt --to inline", 1, "", "exists already"),
    ("convert {g}/native.jsonl {t}/a.txt", 2, "", "the name does not say which format to write; add --to FORMAT"),
    ("convert {g}/native.jsonl {t}/a.txt --to xml", 2, "", "invalid choice"),
    ("convert {g}/native.jsonl {t}/a.bio --from bmes", 1, "", "native.jsonl:1: expected a token and a tag"),
    ("convert {t} {t}/a.bio", 1, "", "expected a readable file, received Is a directory"),
    ("convert {c}/empty {t}/a.bio", 1, "", "empty: expected at least one text, received none"),
    ("inspect {b}", 0, r"(?s)model\.onnx.*char.*epoch.*CORE", ""),
    ("inspect {b} --json", 0, r'^\{"preset": "default", "settings": \{', ""),
    ("inspect {c}/train.jsonl --config nothing", 2, "", "neither a file nor a preset"),
    ("inspect {c}/train.jsonl --set text.unti=word", 2, "", "did you mean 'unit'"),
    ("inspect {c}/train.jsonl --set texts.unit=word", 2, "", "did you mean 'text'"),
    ("inspect {c}/train.jsonl --set text.maxlen=0", 2, "", "text.maxlen must be at least 2"),
    ("train --train {c}/none.jsonl --dev {c}/dev.jsonl --out {t}/o", 1, "", r"none\.jsonl: no such file"),
    ("train --train {c}/train.jsonl --dev {c}/dev.jsonl --out {b}", 1, "", "exists already"),
    ("export {b} {t}/weights.txt --to weights", 1, "", r"ends in \.weights\.h5 or \.safetensors"),
    ("export {b} {t}/w.safetensors --to weights", 0, "^$", "written"),
    ("serve nowhere", 1, "", "nowhere: not a bundle"),
    ("serve {b} --save {t}/corrected.txt", 1, "", r"a name that ends in \.jsonl"),
    ("serve {b} --port 99999", 2, "", "must be 0 to 65535"),
    ("serve {b} --token 秘密", 2, "", "printable ASCII"),
    ("serve {b} --max-texts 0", 2, "", "must be at least 1"),
]


@pytest.mark.train
@pytest.mark.parametrize(("arguments", "code", "out", "err"), ROWS, ids=[row[0] for row in ROWS])
def test_rows(bundle, small_corpus, tmp_path, capsysbinary, arguments, code, out, err):
    (small_corpus / "empty").write_bytes(b"")
    (small_corpus / "ill.conll").write_text("北\tI-LOC\n京\tI-LOC\n", "utf-8")
    filled = arguments.format(b=bundle, c=small_corpus, t=tmp_path, g=ROOT / "tests" / "golden").split()
    found = run(capsysbinary, *filled)
    assert found[0] == code, found
    assert re.search(out, found[1]), found[1]
    assert re.search(err, found[2]), found[2]
    if code:
        assert "Traceback" not in found[2]


@pytest.mark.train
def test_prediction_reads_files_gz_and_standard_input_alike(bundle, tmp_path, capsysbinary):
    lines = [TEXT, "", "  ", "好\u2028好", TEXT * 3]
    data = ("\ufeff" + "\r\n".join(lines) + "\r\n").encode("utf-8")
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
    native = "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "a.jsonl").write_text(native, "utf-8")
    outputs = [run(capsysbinary, "predict", bundle, tmp_path / name)[1] for name in ("a.txt", "a.txt.gz", "a.jsonl")]
    piped = subprocess.run(
        [sys.executable, "-m", "tagger", "predict", str(bundle), "-"], input=data, capture_output=True, cwd=ROOT
    )
    assert outputs == [piped.stdout.decode("utf-8")] * 3
    assert [json.loads(line)["text"] for line in outputs[0].splitlines()] == lines


@pytest.mark.train
def test_output_is_whole_or_not_there(bundle, tmp_path, capsysbinary):
    (tmp_path / "bad.jsonl").write_text('{"text": "好"}\n{"text": \n', "utf-8")
    code, _, err = run(capsysbinary, "predict", bundle, tmp_path / "bad.jsonl", "--out", tmp_path / "out.jsonl")
    assert code == 1
    assert "bad.jsonl:2: expected a JSON object" in err
    assert [file.name for file in tmp_path.iterdir()] == ["bad.jsonl"]


@pytest.mark.train
def test_prediction_is_a_stream(bundle):
    """Memory while predicting does not grow with the number of texts."""
    from tagger import Tagger

    tagger = Tagger.load(bundle, workers=1)  # how groups overlap in time would change the peak from run to run
    peaks = []
    for count in (3_000, 9_000):
        tracemalloc.start()
        for _ in tagger.results(TEXT for _ in range(count)):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.train
def test_vectors_are_learnt_once_and_reused(small_corpus, bundle, tmp_path, capsysbinary):
    settings = ("--set", "vectors.epochs=1", "--set", "vectors.word_dimensions=8")
    code, _, err = run(capsysbinary, "vectors", small_corpus / "more.txt", "--out", tmp_path / "v", *settings)
    assert code == 0
    assert "word" in err
    options = ("--set", f"vectors.pretrained={tmp_path / 'v'}", "--set", "training.epochs=1")
    files = ("--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl")
    code, _, err = run(capsysbinary, "train", *files, "--out", tmp_path / "b", *options)
    assert code == 0, err
    assert (tmp_path / "b" / "word.npy").read_bytes() == (tmp_path / "v" / "word.npy").read_bytes()


@pytest.mark.train
def test_a_corpus_of_another_form_is_trained_on(small_corpus, tmp_path, capsysbinary):
    files = [tmp_path / "train.bioes", tmp_path / "dev"]
    for name, out, form in zip(("train.jsonl", "dev.jsonl"), files, ("bioes", "brat"), strict=True):
        assert run(capsysbinary, "convert", small_corpus / name, out, "--to", form)[0] == 0
    with files[0].open("a", encoding="utf-8") as more:
        more.write("\n房\tI-CORE\n\n")
    options = ("--set", "training.epochs=1", "--set", "vectors.epochs=1", "--set", "vectors.word_dimensions=8")
    code, _, err = run(capsysbinary, "train", "--train", files[0], "--dev", files[1], "--out", tmp_path / "b", *options)
    assert code == 0, err
    assert "repaired: entities that nothing began (1)" in err
    assert json.loads(run(capsysbinary, "inspect", tmp_path / "b", "--json")[1])["labels"] == ["CORE"]


@pytest.mark.train
def test_user_words_go_into_the_segmenter_and_the_bundle(small_corpus, tmp_path, capsysbinary):
    words = tmp_path / "words.txt"
    words.write_text("召开遵义会议\n\n小楼房子 3 n\n", "utf-8")
    files = ("--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--words", words)
    options = ("--set", "training.epochs=1", "--set", "vectors.epochs=1", "--set", "vectors.word_dimensions=8")
    assert run(capsysbinary, "train", *files, "--out", tmp_path / "b", *options)[0] == 0
    from tagger import Tagger

    assert "召开遵义会议" in Tagger.load(tmp_path / "b").units.words(TEXT)


def test_help_is_quick_and_needs_no_heavy_library():
    code = "import sys, tagger.cli; tagger.cli.parser(); print([m for m in sys.modules if m in %r])"
    heavy = ("tensorflow", "keras", "gensim", "numpy", "onnxruntime", "jieba", "rjieba")
    found = subprocess.run(
        [sys.executable, "-c", code % (heavy,)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_the_console_script_shows_help():
    start = time.monotonic()
    found = subprocess.run([sys.executable, "-m", "tagger", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0
    assert "tagger train" in found.stdout
    print(f"tagger --help: {time.monotonic() - start:.2f} s")


def test_lone_surrogates_are_printed_as_json_writes_them(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"text": "\\ud800好"}\n', "utf-8")
    for options in ((), ("--json",)):
        found = subprocess.run(
            [sys.executable, "-m", "tagger", "inspect", str(tmp_path / "odd.jsonl"), *options],
            cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8",
        )  # fmt: skip
        assert "\\ud800好" in found.stdout
    (split,) = json.loads(found.stdout)["splits"]
    assert split["findings"]["empty"]["examples"] == ["\ud800好"]


def test_the_sample_is_inspected():
    found = subprocess.run(
        [sys.executable, "-m", "tagger", "inspect", str(SAMPLE / "train.jsonl"), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (split,) = json.loads(found.stdout)["splits"]
    assert (split["file"], split["texts"]) == (str(SAMPLE / "train.jsonl"), 1105)
