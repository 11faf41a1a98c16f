"""What the general tagger is made of: which texts are learnt from, and which are kept apart."""

import gzip
import json
import re
from pathlib import Path

import make_general
import pytest

from tagger.documents import Document, Span
from tagger.files import sha256


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder with the texts that are made of a few given ones."""
    data, work = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("work")
    for source in make_general.SOURCES:
        if not source.project:
            source.file(data).parent.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{source.path}的第{number}句话。\n" for number in range(60))
            if source.labelled:
                text = "".join(json.dumps({"text": line, "entities": []}) + "\n" for line in text.splitlines())
            opened = gzip.open if source.path.endswith(".gz") else open
            with opened(source.file(data), "wt", encoding="utf-8") as file:
                file.write(text)
    labels = make_general.Source("labels.tsv", "MIT")
    labels.file(data).write_text(f"{sha256(make_general.WIKIPEDIA.file(data))}\n3\n5\t0 1 LOC\t2 4 PER\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_general, "WIKIPEDIA_LABELS", labels)
        make_general.gather(data, work, seed=1)
    return work


def texts(file):
    lines = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line)["text"] for line in lines.splitlines()]


def test_nothing_of_dev_is_learnt_from(work):
    dev = texts(work / "dev.jsonl")
    assert dev == texts(work / "uner_dev.jsonl") + texts(work / "own_dev.jsonl")
    assert len(dev) > 500
    for name in ("labelled.jsonl", "train.jsonl", "unlabelled.jsonl.gz", "taught.jsonl.gz"):
        assert not set(dev) & set(texts(work / name))


def test_all_else_is(work):
    own = {sentence.text for sentence in make_general.own_sentences()}
    labelled = texts(work / "labelled.jsonl")
    assert own == set(labelled[60:-2]) | set(texts(work / "own_dev.jsonl"))
    assert texts(work / "train.jsonl")[: len(labelled)] == labelled
    assert len(texts(work / "unlabelled.jsonl.gz")) == 60 + 60 + 12
    assert len(texts(work / "taught.jsonl.gz")) == 58 + 10 + 2


def test_labels_and_sentences_of_wikipedia_meet(work):
    lines = (work / "labelled.jsonl").read_text("utf-8").splitlines()[-2:]
    assert [record["text"][-5:] for record in map(json.loads, lines)] == ["第2句话。", "第4句话。"]
    assert json.loads(lines[1])["entities"] == [
        {"start": 0, "end": 1, "label": "LOC"},
        {"start": 2, "end": 4, "label": "PER"},
    ]


def test_the_labels_of_wikipedia_hold_no_text():
    _, *rows = make_general.WIKIPEDIA_LABELS.file(Path()).read_text("utf-8").splitlines()
    numbers = [int(row.split("\t")[0]) for row in rows]
    assert numbers == sorted(set(numbers))
    assert all(re.fullmatch(r"\d+(\t\d+ \d+ (PER|LOC|ORG))*", row) for row in rows)


def test_organisations_are_exchanged_and_nothing_else():
    text = "李明在北京大学医学院和南开大学工作。"
    document = Document(text, (Span(0, 2, "PER"), Span(3, 10, "ORG"), Span(11, 15, "ORG")))
    (new,) = make_general.exchanged([document, Document("李明。", (Span(0, 2, "PER"),))], seed=2)
    assert new.text != text
    assert [label for *_, label in new.entities] == ["PER", "ORG", "ORG"]
    assert new.text.startswith("李明在")
    assert new.text.endswith("工作。")


def test_the_names_of_the_dictionary_are_organisations():
    names = list(make_general.dictionary_names())
    assert len(names) > 1000
    assert {"中国作家协会", "莫斯科大学"} <= set(names)


def test_work_of_other_texts_or_settings_is_not_gone_on_with(tmp_path):
    made = {"seed": 1, "settings": ("a=1",)}
    make_general.claim(tmp_path / "work", made)
    make_general.claim(tmp_path / "work", made)
    with pytest.raises(SystemExit, match="delete it"):
        make_general.claim(tmp_path / "work", made | {"seed": 2})
