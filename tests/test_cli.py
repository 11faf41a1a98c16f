import gzip
import json
import re
import subprocess
import sys
import time
import tracemalloc

import pytest

from tagger import docs
from tagger.cli import command_parsers, main
from tagger.commands import COMMANDS
from tagger.export import EXPORTERS
from tagger.formats import FORMATS, WRITABLE
from tagger.presets import RECIPES
from tagger.runtime import RUNTIMES
from tests.conftest import ROOT, SAMPLE

TEXT = "遵义会议旧址，主要指召开遵义会议的那座小楼。"


def run(capsysbinary, *arguments):
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit:
        code = exit.code
    out, err = capsysbinary.readouterr()
    return code, out.decode("utf-8"), err.decode("utf-8")


# Arguments, exit code, and what standard output and standard error must match; {b} is a bundle, {c} a corpus,
# {g} the golden files.
ROWS = [
    ("", 2, "examples:", ""),
    ("--help", 0, "训练自己的中文实体识别模型", ""),
    ("--version", 0, r"tagger \d", ""),
    ("nonsense", 2, "", "invalid choice"),
    ("predict {b}", 2, "", "nothing to tag"),
    ("predict nowhere --text x", 1, "", "nowhere: expected a bundle"),
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
    ("evaluate {b} {c}/none.jsonl", 1, "", "expected a corpus, received no such file"),
    ("inspect {c}/train.jsonl", 0, r"(?s)texts.*240.*entities CORE.*entities that units cut +│ +0 │", ""),
    ("inspect {c}/train.jsonl --config contest --json", 0, r'^\{"splits": \[\{"file": ".*"findings": \{"cut": ', ""),
    ("inspect {c}/train.jsonl {c}/dev.jsonl", 0, r"(?s)train\.jsonl.*dev\.jsonl.*texts in both.*: 0", ""),
    ("inspect {c}/train.jsonl --html {t}/page.html", 0, "texts", r"page\.html: written"),
    ("inspect {c}/train.jsonl --out {t}/f --suspects {t}/s", 0, r"train\.jsonl \(.*240 texts", r"s: .*texts, as jsonl"),
    ("evaluate {b} {c}/dev.jsonl --suspects-above 2", 2, "", "must be 0 to 1"),
    ("split {c}/train.jsonl --out {t}/parts --dev 40 --test 0.1", 0, r"dev\.jsonl: 40 texts", ""),
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
    ("convert {g}/plain.txt - --to jsonl", 0, "^{", r"plain\.txt: read as plain text\n"),
    ("convert {g}/native.jsonl - --to uie", 2, "", "invalid choice"),
    ("convert {g}/native.jsonl - --to plain --encoding klingon", 2, "", "--encoding klingon: is no encoding"),
    ("predict {b} {g}/native.jsonl --format csv", 0, "^text,entities,gold\n李明在北京大学读书。,", ""),
    ("predict {b} {g}/doccano_old.jsonl --column none", 1, "", 'expected the key "none"'),
    ("evaluate {b} {g}/plain.txt --json", 0, "^{", "plain.txt: read as plain text"),
    ("inspect {g}/plain.txt", 0, "", "plain.txt: read as plain text"),
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
    ("inspect {c}/train.jsonl --set training.epochs=0", 2, "", "training.epochs must be at least 1, received 0"),
    ("train --train x --dev x --out {t}/o --seed -1", 2, "", "training.seed must be at least 0, received -1"),
    (
        "train --train {c}/none.jsonl --dev {c}/dev.jsonl --out {t}/o",
        1,
        "",
        r"none\.jsonl: .* no such file",
    ),
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
    done = run(capsysbinary, *filled)
    assert done[0] == code, done
    assert re.search(out, done[1]), done[1]
    assert re.search(err, done[2]), done[2]
    if code:
        assert "Traceback" not in done[2]


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
def test_a_corpus_of_another_format_is_trained_on(small_corpus, tmp_path, capsysbinary):
    files = [tmp_path / "train.bioes", tmp_path / "dev"]
    for name, out, corpus_format in zip(("train.jsonl", "dev.jsonl"), files, ("bioes", "brat"), strict=True):
        assert run(capsysbinary, "convert", small_corpus / name, out, "--to", corpus_format)[0] == 0
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


# ---- help ---------------------------------------------------------------------------------------------------------


def test_the_parser_of_each_command_is_built_only_when_used():
    code = "import sys, tagger.cli; tagger.cli.parser(); print([m for m in sys.modules if m in %r])"
    heavy = ("tensorflow", "keras", "gensim", "numpy", "onnxruntime", "jieba", "rjieba", "tagger.corpus")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_options_and_examples(name, capsysbinary):
    code, out, _ = run(capsysbinary, name, "--help")
    assert code == 0
    assert "--debug" in out
    assert f"examples:\n  tagger {name}" in out
    assert ("`tagger help settings` lists" in out) == ("--set" in out)
    assert all(action.help for action in command_parsers()[name]._actions)


def test_choices_come_from_their_tables():
    choices = {
        (name, option): list(action.choices)
        for name, parser in command_parsers().items()
        for action in parser._actions
        for option in action.option_strings
        if action.choices
    }
    assert choices["predict", "--from"] == list(FORMATS)
    assert choices["convert", "--to"] == list(WRITABLE)
    assert choices["predict", "--runtime"] == choices["serve", "--runtime"] == list(RUNTIMES)
    assert choices["export", "--to"] == list(EXPORTERS)
    assert choices["transfer", "--recipe"] == list(RECIPES)


def test_an_option_that_stands_for_a_setting_shows_its_help_text(capsysbinary):
    out = " ".join(run(capsysbinary, "transfer", "--help")[1].split())
    assert "rounds at most (default: 3; contest: 4); the same as --set transfer.rounds=N" in out
    assert "(default: 1); the same as --set training.seed=N" in out


@pytest.mark.parametrize("command", [["-m", "tagger"], ["-m", "tagger.cli"]])
def test_both_modules_are_the_command(command):
    start = time.monotonic()
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: tagger [-h]")
    print(f"tagger --help: {time.monotonic() - start:.2f} s")


def test_topics_are_listed_in_reading_order_with_what_they_are_about(capsysbinary):
    code, out, _ = run(capsysbinary, "help", "--lang", "en")
    assert code == 0
    topics = [line.split()[0] for line in out.splitlines()]
    assert topics == list(docs.topics())
    assert topics.index("tutorial") < topics.index("settings") < topics.index("changelog")
    assert re.search("^settings +How to .*[a-z]$", out, re.M)


@pytest.mark.parametrize(
    ("arguments", "locale", "heading"),
    [
        (["tutorial"], {}, "# Tutorial"),
        (["tutorial"], {"LANG": "zh_CN.UTF-8"}, "# 教程"),
        (["tutorial"], {"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "# Tutorial"),
        (["tutorial"], {"LANG": "C", "LC_MESSAGES": "zh_TW"}, "# 教程"),
        (["tutorial", "--lang", "en"], {"LANG": "zh_CN.UTF-8"}, "# Tutorial"),
        (["tutorial", "--lang", "zh"], {}, "# 教程"),
        (["settings", "--lang", "zh"], {}, "# Settings"),
    ],
)
def test_a_page_is_shown_in_the_language_of_the_locale_or_as_asked_for(
    arguments, locale, heading, capsysbinary, monkeypatch
):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    code, out, _ = run(capsysbinary, "help", *arguments)
    assert code == 0
    assert out.startswith(heading)
    assert "<!--" not in out


def test_an_unknown_topic_names_the_nearest(capsysbinary):
    assert run(capsysbinary, "help", "setings") == (2, "", "tagger: no help on 'setings'; did you mean 'settings'?\n")


def test_a_terminal_gets_a_rendered_page_through_a_pager(monkeypatch):
    shown = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("pydoc.pager", shown.append)
    assert main(["help", "settings", "--lang", "en"]) == 0
    assert "training.epochs" in shown[0]
    assert "|---|" not in shown[0]


# ---- what is printed ----------------------------------------------------------------------------------------------


def test_lone_surrogates_are_printed_as_json_writes_them(tmp_path):
    (tmp_path / "odd.jsonl").write_text('{"text": "\\ud800好"}\n', "utf-8")
    for options in ((), ("--json",)):
        done = subprocess.run(
            [sys.executable, "-m", "tagger", "inspect", str(tmp_path / "odd.jsonl"), *options],
            cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8",
        )  # fmt: skip
        assert "\\ud800好" in done.stdout
    (split,) = json.loads(done.stdout)["splits"]
    assert [one["text"] for one in split["findings"]["empty"]["examples"]] == ["\ud800好"]


def test_the_sample_is_inspected():
    done = subprocess.run(
        [sys.executable, "-m", "tagger", "inspect", str(SAMPLE / "train.jsonl"), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (split,) = json.loads(done.stdout)["splits"]
    assert (split["file"], split["texts"]) == (str(SAMPLE / "train.jsonl"), 1105)
