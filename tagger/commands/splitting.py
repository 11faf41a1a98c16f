"""The command that divides a corpus: split."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tagger.commands.base import Command, add_force, add_from, add_reading
from tagger.commands.output import print_notes
from tagger.errors import ConfigError


def split(options: argparse.Namespace) -> None:
    """Divide a corpus into train, dev and test at random, without texts in common."""
    from tagger import corpus
    from tagger.commands.corpora import read_corpus
    from tagger.documents import Notes
    from tagger.files.outputs import atomic_folder, check_writable
    from tagger.splitting import PARTS, Split

    if str(options.corpus) == "-" or options.corpus.is_fifo():
        raise ConfigError(f"{options.corpus}: a stream can be read only once; save it as a file first")
    check_writable(options.out, options.force, [options.corpus], folder=True)
    notes = Notes()
    sizes = {"dev": options.dev, "test": options.test}
    parts = Split(sizes, options.seed, options.drop_duplicates)
    parts.fit(read_corpus(options.corpus, options.source_format, notes))
    name = options.to or notes.format
    ending = _ending(options.corpus, options.to, name)
    print_notes(options.corpus, notes)
    lines = []
    with atomic_folder(options.out, options.force) as folder:
        for part in PARTS:
            if part == "train" or sizes[part]:
                counts, lost = Counter[str](), Notes()
                documents = parts.of(part, corpus.read(options.corpus, options.source_format), counts)
                corpus.write(documents, folder / f"{part}{ending}", name, False, lost)
                lines.append(_line(options.out / f"{part}{ending}", counts))
                print_notes(options.out / f"{part}{ending}", lost, every=bool(options.to))
    print("\n".join(lines))
    for count, what in (
        (parts.repeats, "texts that repeat an earlier one, kept in its part"),
        (parts.dropped, "duplicates, dropped"),
        (parts.unannotated, "texts that nobody has annotated, kept in train"),
    ):
        if count:
            print(f"{options.corpus}: {what} ({count:,})", file=sys.stderr)


def _ending(source: Path, to: str, name: str) -> str:
    """Return how the names of the parts end: as the corpus's, unless another format is wanted or it was an archive."""
    from tagger.formats import written

    row = written(name)
    if row.folder and not row.binary:
        return ""
    unzipped = source.name.removesuffix(".gz")
    suffix = Path(unzipped).suffix
    if to or suffix in ("", ".zip"):
        json = ".json" if name == "labelstudio" else ".jsonl"
        suffix = row.suffixes[0] if row.suffixes else json if row.parse else ".txt"
    return suffix + (".gz" if unzipped != source.name and not row.binary else "")


def _line(file: Path, counts: Counter[str]) -> str:
    labels = ", ".join(f"{label} {counts[label]:,}" for label in sorted(counts) if label)
    entities = counts.total() - counts[""]
    return f"{file}: {counts['']:,} texts, {entities:,} entities" + (f" ({labels})" if labels else "")


def _size(given: str) -> float:
    value = float(given)
    if not (0 <= value < 1 or (value > 0 and value.is_integer())):
        raise argparse.ArgumentTypeError("must be a share below 1, or a whole number of texts")
    return value


def _seed(given: str) -> int:
    value = int(given)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


def _add_split(parser: argparse.ArgumentParser) -> None:
    from tagger.formats import WRITABLE

    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="labelled corpus; .gz too")
    about = "folder to write train, dev and test to, in files named so"
    parser.add_argument("--out", required=True, metavar="FOLDER", type=Path, help=about)
    for part in ("dev", "test"):
        about = f"texts for {part}: a share below 1, or a number of texts; 0 for none (default: 0.1)"
        parser.add_argument(f"--{part}", type=_size, default=0.1, metavar="N", help=about)
    parser.add_argument("--seed", type=_seed, default=1, metavar="N", help="of the random division (default: 1)")
    about = "of records with equal texts and entities, white space apart, keep the first"
    parser.add_argument("--drop-duplicates", action="store_true", help=about)
    add_from(parser)
    add_reading(parser, "corpus")
    about = f"format of the parts (default: that of the corpus): {', '.join(WRITABLE)}"
    parser.add_argument("--to", choices=WRITABLE, default="", metavar="FORMAT", help=about)
    add_force(parser)


SPLIT = Command(
    split,
    _add_split,
    """
  tagger split all.jsonl --out parts
  tagger split all.jsonl --out parts --dev 500 --test 0
  tagger split export.json --out parts --to jsonl --drop-duplicates
""",
)
