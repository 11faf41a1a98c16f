"""The general tagger of the package: what its bundle holds, and what it finds in plain sentences."""

import json
import re
import subprocess
import sys
import urllib.request
from itertools import chain

import pytest

from tagger import Tagger
from tagger.default_bundle import general_bundle
from tagger.serve.application import application
from tests.conftest import ROOT
from tests.serving import asked

JSON = {"content-type": "application/json"}

# Sentences, and their entities.
SENTENCES = {
    "钱钟书和杨绛从牛津去了巴黎。": {"PER": ["钱钟书", "杨绛"], "LOC": ["牛津", "巴黎"]},
    "张伟在上海市浦东新区的一家公司上班。": {"PER": ["张伟"], "LOC": ["上海市浦东新区"]},
    "清华大学和复旦大学的教授参加了会议。": {"ORG": ["清华大学", "复旦大学"]},
    "刘慧敏的老师从广东来到台湾。": {"PER": ["刘慧敏"], "LOC": ["广东", "台湾"]},
    "今天的天气很好，我们一起去吃饭吧。": {},
}


@pytest.fixture(scope="module")
def general():
    return Tagger.load(workers=1)


def found(entities):
    labels = {entity.label for entity in entities}
    return {label: [entity.text for entity in entities if entity.label == label] for label in labels}


def test_it_is_small_and_says_what_it_was_made_of():
    files = list(general_bundle().iterdir())
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    made = json.loads((general_bundle() / "made.json").read_text("utf-8"))
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for row in made["sources"] for digest in row["sha256"].values())
    assert all(row["licence"] for row in made["sources"])


def test_it_names_no_folder_of_the_machine_that_made_it():
    texts = chain.from_iterable(general_bundle().glob(pattern) for pattern in ("*.json", "*.toml"))
    assert [file.name for file in texts if re.search(r'"/|[a-z]:\\', file.read_text("utf-8"))] == []


@pytest.mark.parametrize("text", SENTENCES)
def test_it_finds_names(general, text):
    assert found(general(text)) == SENTENCES[text]


def test_it_finds_the_same_in_traditional_characters(general):
    forms = {}
    for line in (ROOT / "tagger" / "simplified.txt").read_text("utf-8").splitlines():
        if line[:1] != "#":
            forms[line[0]] = line[1]
    for text in SENTENCES:
        traditional = "".join(forms.get(character, character) for character in text)
        one, other = general.tag([text, traditional], answers=True)
        assert [entity[:3] for entity in one.entities] == [entity[:3] for entity in other.entities]
        assert all(traditional[e.start : e.end] == e.text for e in other.entities)


def test_it_serves(general):
    given = json.dumps({"text": "钱钟书去了巴黎。"}).encode()
    app = application(general)
    tagged, redacted = (asked(app, "POST", path, given, JSON).json for path in ("/tag", "/redact"))
    assert [entity["label"] for entity in tagged["entities"]] == ["PER", "LOC"]
    assert redacted["text"] == "[PER_1]去了[LOC_1]。"


def test_the_server_needs_no_bundle():
    command = [sys.executable, "-m", "tagger", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/about") as answer:
            assert json.load(answer)["labels"] == ["LOC", "ORG", "PER"]
        process.terminate()
        assert process.wait(20) == 0


def test_one_sentence_loads_only_what_it_needs():
    code = (
        "import sys\nfrom tagger.cli import main\nmain(['predict', '--text', '钱钟书去了巴黎。'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert not {"tensorflow", "keras", "gensim", "onnx", "matplotlib", "starlette", "jieba"} & set(done.stderr.split())
