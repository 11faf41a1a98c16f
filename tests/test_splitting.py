import gzip
import json
from collections import Counter

import pytest

from tagger import corpus
from tagger.cli import main
from tagger.documents import Document, Span, squeeze
from tagger.errors import ConfigError, CorpusError
from tagger.splitting import PARTS, Split


def document(text, *labels):
    return Document(text, tuple(Span(n, n + 1, label) for n, label in enumerate(labels)))


def divided(documents, **options):
    """Return the texts of each part."""
    split = Split(**{"sizes": {"dev": 0.2, "test": 0.1}, **options}).fit(documents)
    return {part: [one.text for one in split.of(part, documents, Counter())] for part in PARTS}


TEXTS = [document(f"第{n}篇", *["PER", "LOC", "ORG"][: n % 3]) for n in range(300)]


def test_every_document_is_in_one_part_and_the_parts_have_their_sizes():
    parts = divided(TEXTS)
    assert {part: len(texts) for part, texts in parts.items()} == {"train": 210, "dev": 60, "test": 30}
    assert sorted(text for texts in parts.values() for text in texts) == sorted(one.text for one in TEXTS)
    assert parts["dev"] == [one.text for one in TEXTS if one.text in set(parts["dev"])]  # in order


def test_a_seed_gives_the_same_parts_and_another_gives_others():
    assert divided(TEXTS) == divided(TEXTS)
    assert divided(TEXTS)["dev"] != divided(TEXTS, seed=2)["dev"]


def test_a_number_of_texts_or_none():
    assert [len(texts) for texts in divided(TEXTS, sizes={"dev": 7, "test": 0}).values()] == [293, 7, 0]


def test_labels_are_divided_in_proportion():
    of = {one.text: len(one.entities) for one in TEXTS}
    for texts in divided(TEXTS).values():
        counts = Counter(of[text] for text in texts)
        assert max(counts.values()) - min(counts.values()) <= 2


def test_texts_that_are_equal_apart_from_white_space_stay_together():
    texts = [document(f"{' ' * (n % 5)}第{n // 5}\u3000篇" if n % 2 else f"第{n // 5}篇", "PER") for n in range(300)]
    parts = divided(texts)
    squeezed = [{squeeze(text) for text in texts} for texts in parts.values()]
    assert not squeezed[0] & squeezed[1] | squeezed[0] & squeezed[2] | squeezed[1] & squeezed[2]
    assert len(parts["dev"]) == 60


def test_duplicates_are_dropped_if_that_is_wanted_but_not_other_annotation():
    texts = [document("第一篇", "PER"), document("第一篇", "LOC"), document("第 一篇", "PER"), *TEXTS]
    split = Split({"dev": 0.1, "test": 0}, drop_duplicates=True).fit(texts)
    assert (split.repeats, split.dropped) == (2, 1)
    assert sum(len(list(split.of(part, texts, Counter()))) for part in PARTS) == len(texts) - 1


def test_what_nobody_annotated_is_not_for_dev_and_test():
    texts = [Document(one.text, unlabelled=((0, len(one.text)),)) if n % 2 else one for n, one in enumerate(TEXTS)]
    parts = divided(texts)
    assert not {one.text for one in texts if one.is_unlabelled} & {*parts["dev"], *parts["test"]}
    assert (len(parts["dev"]), len(parts["test"])) == (30, 15)


@pytest.mark.parametrize("sizes", [{"dev": 200, "test": 100}, {"dev": 0.5, "test": 0.6}])
def test_something_must_be_left_to_train_on(sizes):
    with pytest.raises(ConfigError, match="would leave none for train"):
        divided(TEXTS, sizes=sizes)


def test_a_corpus_that_changes_meanwhile_is_refused():
    split = Split({"dev": 0.1, "test": 0.1}).fit(TEXTS)
    for changed in (TEXTS[:-1], [*TEXTS, TEXTS[0]], [*TEXTS[:-1], document("别的")]):
        with pytest.raises(CorpusError):
            list(split.of("train", changed, Counter()))


# ---- the command ------------------------------------------------------------------------------------------------
ROWS = [{"id": n, "text": f"李{n}在北京。", "label": [[0, 2, "PER"]], "who": "a"} for n in range(40)]


def write(path, rows):
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_the_parts_are_of_the_corpuss_form_and_complete(tmp_path, capsys, name):
    source, out = write(tmp_path / name, ROWS), tmp_path / "parts"
    assert main(["split", str(source), "--out", str(out), "--dev", "0.25", "--test", "4"]) == 0
    ending = name.removeprefix("all")
    read = {}
    for part in PARTS:
        content = (out / f"{part}{ending}").read_bytes()
        content = gzip.decompress(content) if ending.endswith(".gz") else content
        read[part] = [json.loads(line) for line in content.decode("utf-8").splitlines()]
    assert {part: len(rows) for part, rows in read.items()} == {"train": 26, "dev": 10, "test": 4}
    assert sorted((row for rows in read.values() for row in rows), key=lambda row: row["id"]) == ROWS
    assert f"dev{ending}: 10 texts, 10 entities (PER 10)" in capsys.readouterr().out
    assert main(["split", str(source), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(("to", "names"), [("bio", "bio"), ("brat", ""), ("inline", "txt"), ("labelstudio", "json")])
def test_the_parts_can_have_another_form(tmp_path, to, names):
    out = tmp_path / "parts"
    assert main(["split", str(write(tmp_path / "all.jsonl", ROWS)), "--out", str(out), "--to", to, "--test", "0"]) == 0
    files = [out / f"{part}{names and '.' + names}" for part in ("train", "dev")]
    assert [len(list(corpus.read(file))) for file in files] == [36, 4]
    assert not list(out.glob("test*"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["-"], "a stream can be read only once"),
        (["{c}", "--dev", "1.5"], "must be a share below 1, or a whole number"),
        (["{c}", "--dev", "-1"], "must be a share below 1, or a whole number"),
        (["{c}", "--dev", "inf"], "must be a share below 1, or a whole number"),
        (["{c}", "--dev", "nan"], "must be a share below 1, or a whole number"),
        (["{c}", "--seed", "-1"], "must be at least 0"),
        (["{c}", "--dev", "40"], "would leave none for train"),
        (["{t}/none.jsonl"], "expected a readable file"),
    ],
)
def test_what_cannot_be_divided(tmp_path, capsys, options, error):
    source = write(tmp_path / "all.jsonl", ROWS)
    options = [option.format(c=source, t=tmp_path) for option in options]
    try:
        code = main(["split", *options, "--out", str(tmp_path / "parts")])
    except SystemExit as exit:
        code = exit.code
    assert code in (1, 2)
    assert error in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()
