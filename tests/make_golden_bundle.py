"""Write `tests/golden/bundles/format-N`: a tiny trained bundle of the current format, and what it predicts.

    python -m tests.make_golden_bundle

Run it once for each new format, before release; keep the bundles of older formats as they are. `test_golden_bundles`
loads each of them, with every runtime, and expects the predictions of the file beside it. The bundle has everything
that a bundle can have: character units, a lexicon, a CRF, a gazetteer.
"""

import itertools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tagger import Document, Tagger, config
from tagger import bundle as bundles
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "bundles"

SETTINGS = (
    "vectors.word_dimensions=4",
    "vectors.char_dimensions=4",
    "vectors.bigram_dimensions=4",
    "vectors.learnt_dimensions=4",
    "vectors.epochs=5",
    "vectors.workers=1",
    "model.layers=[6]",
    "model.char_dimensions=4",
    "model.position_dimensions=2",
    "model.lexicon_dimensions=2",
    "model.dropout=0.0",
    "model.output_dropout=0.0",
    "batches.units=200",
    "training.epochs=30",
    "training.learning_rate=0.03",
    "training.ema_momentum=0.9",
)

PERSONS, PLACES = ("李明", "王芳", "张三丰"), ("北京", "上海", "长江大桥")

SENTENCES = ("{0}去了{1}。", "{1}人{0}在读书", "昨天，{0}在{1}讲课。", "{1}很大。", "他们都不在。", "我们和{0}回到{1}")

TEXTS = (
    "",
    "李明去了上海。",
    "王芳和张三丰都在北京讲课，他们昨天去了长江大桥。",
    "Ｌｉ明２号😀在北京",
    "都不在。",
    "孙悟空回到上海",
)


def corpus() -> list[Document]:
    """Return sentences with persons and places, each sentence with each pair of them."""
    documents = []
    for sentence, person, place in itertools.product(SENTENCES, PERSONS, PLACES):
        text = sentence.format(person, place)
        spans = [
            {"start": text.index(name), "end": text.index(name) + len(name), "label": label}
            for name, label in ((person, "PER"), (place, "LOC"))
            if name in text
        ]
        documents.append({"text": text, "entities": sorted(spans, key=lambda span: span["start"])})
    return documents


def key(word: str) -> int:
    """Return the key of a word in the lexicon, as the `tagger.json` of an ONNX export describes it."""
    state = 0
    for character in word:
        state = ((state ^ ord(character)) * 0x9E3779B1 + 0x7F4A7C15) % 2**32
    state = (state + len(word)) * 0x85EBCA6B % 2**32
    state = (state ^ (state >> 15)) * 0xC2B2AE35 % 2**32
    return state ^ (state >> 16)


def prune_lexicon(folder: Path, texts: list[str]) -> None:
    """Leave in a bundle's lexicon only words of these texts: the whole of it has some 350,000."""
    keys, tags = (np.load(folder / f"lexicon.{name}.npy") for name in ("keys", "tags"))
    strings = {text[start : start + size] for text in texts for start in range(len(text)) for size in range(1, 9)}
    used = np.isin(keys, np.array(sorted(map(key, strings)), np.uint32))
    np.save(folder / "lexicon.keys.npy", keys[used])
    np.save(folder / "lexicon.tags.npy", tags[used])


def make(folder: Path) -> list[dict]:
    """Train the bundle and return its predictions, as lines of the native format."""
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    rows = corpus()
    with tempfile.TemporaryDirectory() as work:
        train_file, dev_file, gazetteer = (Path(work) / name for name in ("train.jsonl", "dev.jsonl", "names.tsv"))
        for file, part in ((train_file, rows), (dev_file, rows[::4])):
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part), "utf-8")
        gazetteer.write_text("孙悟空\tPER\n", "utf-8")
        train(config.load("default", SETTINGS), Sources(train_file, dev_file), folder)
        bundles.keep_gazetteer(folder, gazetteer)
    before = list(Tagger.load(folder).stream(TEXTS))
    (folder / "curves.png").unlink()
    prune_lexicon(folder, [*(row["text"] for row in rows), *TEXTS])
    bundles.write_manifest(folder, json.loads((folder / bundles.MANIFEST).read_text("utf-8")))
    after = list(Tagger.load(folder).stream(TEXTS))
    assert before == after, "the smaller lexicon changes predictions"
    return [
        {"text": text, "entities": [entity._asdict() for entity in entities]}
        for text, entities in zip(TEXTS, after, strict=True)
    ]


def main() -> None:
    folder = GOLDEN / f"format-{bundles.FORMAT_VERSION}"
    shutil.rmtree(folder, ignore_errors=True)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    predictions = make(folder)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in predictions)
    folder.with_suffix(".jsonl").write_text(lines, "utf-8")
    print(lines)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
