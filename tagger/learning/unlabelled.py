"""The unlabelled texts of self-training: which of them are tagged, and how much disk a run needs."""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tagger.config import Config
from tagger.documents import Document, Notes
from tagger.errors import TrainingError
from tagger.files.outputs import open_output
from tagger.formats import native
from tagger.learning.replacement import COPIES, exchanged_texts
from tagger.learning.run import Sources
from tagger.learning.tables import corpus_texts
from tagger.lookup import CHARACTER_COLUMNS, WORD_COLUMNS
from tagger.progress import bar, say
from tagger.text import pieces


@dataclass
class TextSize:
    """How much text there is."""

    texts: int = 0
    characters: int = 0

    @staticmethod
    def of(texts: Iterable[str]) -> "TextSize":
        """Return the size of texts, which are read one by one."""
        size = TextSize()
        for text in texts:
            size.texts += 1
            size.characters += len(text)
        return size


@dataclass(frozen=True)
class Disk:
    """What a run leaves on disk.

    Args:
        config: All settings of its bundles.
        bundles: How many of them there are.
        copies: How often it keeps the unlabelled texts that it takes, as they are or as what is learnt of them.
    """

    config: Config
    bundles: int
    copies: int

    @staticmethod
    def of_rounds(config: Config) -> "Disk":
        """Return that of self-training."""
        return Disk(config, 2 * config.transfer.rounds + 3, config.transfer.rounds + 1)

    def use(self, labelled: int, unlabelled: int, taken: int) -> tuple[int, int]:
        """Return an estimate of the bytes that the run needs at most, and of those that it leaves.

        Args:
            labelled, unlabelled, taken: Characters of the labelled texts, the unlabelled ones, and those that it takes.
        """
        vectors, of_characters = self.config.vectors, self.config.text.unit == "char"
        sizes = [vectors.word_dimensions]
        sizes += [vectors.char_dimensions, vectors.bigram_dimensions] if of_characters else []
        rows = (labelled + unlabelled) // 10  # a text of n characters rarely has more than n / 10 distinct items
        rows = min(rows, vectors.limit or rows)
        network = 4 * 4 * 2 * sum(size * (size + 500) for size in self.config.model.layers)
        bundle = network + rows * sum(size * (4 if vectors.storage == "float32" else 1) + 10 for size in sizes)
        left = self.bundles * bundle + taken * 3 * self.copies
        for_vectors = (15 if of_characters else 5) * (labelled + unlabelled)
        columns = len(CHARACTER_COLUMNS if of_characters else WORD_COLUMNS) + 1  # ids and the tag
        for_ids = 4 * columns * (labelled + taken)
        return left + max(for_vectors, for_ids), left


def gather_unlabelled(sources: Sources, characters: int, seed: int, disk: Disk, out: Path, exchanged: int = 0) -> None:
    """Write the unlabelled texts that are to be tagged: each once, and none that is blank or labelled.

    If there are more than wanted, an even random share is taken. Long texts are cut into pieces.

    Args:
        sources: `train` and `unlabelled` are read; they are streamed.
        characters: Characters that are taken at most; 0 for all.
        seed: Of the random share.
        disk: What the run needs; so much must be free.
        out: File to write, in the folder of the run.
        exchanged: Characters of labelled texts with exchanged entities that are taken before the others, at most.

    Raises:
        TrainingError: If there is no such text in files that are named, or too little disk.
    """
    labelled = TextSize.of(corpus_texts([sources.train]))
    unlabelled = TextSize.of(bar(corpus_texts(sources.unlabelled), desc="reading", unit=" texts"))
    taken = min(characters or unlabelled.characters, unlabelled.characters)
    exchanged = min(exchanged, COPIES * labelled.characters)
    if sources.unlabelled:
        size = f"{unlabelled.texts:,} texts, {unlabelled.characters:,} characters"
        say(f"unlabelled: {size}; at most {taken:,} are tagged")
    check_disk(out.parent, *disk.use(labelled.characters, unlabelled.characters, taken + exchanged))
    share = taken / max(unlabelled.characters, 1)
    rng = random.Random(seed)
    seen = set(map(_hash, corpus_texts([sources.train])))

    with document_writer(out) as write:

        def add(texts: Iterable[str]) -> int:
            """Write what is new, and return the number of texts written."""
            count = 0
            for text in texts:
                if not text.strip() or (key := _hash(text)) in seen:
                    continue
                seen.add(key)
                for start, end in pieces(text):
                    write(Document(text[start:end]))
                count += 1
            return count

        if exchanged:
            copies = exchanged_texts(sources.train, exchanged / labelled.characters, seed)
            count = add(bar(copies, desc="exchanging", unit=" texts"))
            say(f"exchanged: {count:,} labelled texts with other entities of their labels are tagged, too")
        some = (text for text in corpus_texts(sources.unlabelled) if rng.random() < share)
        if not add(some) and sources.unlabelled:
            names = ", ".join(map(str, sources.unlabelled))
            raise TrainingError(f"{names}: no text that is not labelled already; give other texts with --unlabelled")


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()


@contextmanager
def document_writer(path: Path) -> Iterator[Callable[[Document], None]]:
    """Yield a function that writes a document to a native file, which appears once it is complete."""
    with open_output(path) as write:

        def write_document(document: Document) -> None:
            write("".join(native.write([document], Notes())))

        yield write_document


def check_disk(folder: Path, needed: int, left: int) -> None:
    """Report how many bytes of disk a run needs at most, and leaves.

    Raises:
        TrainingError: If less is free.
    """
    free = shutil.disk_usage(folder).free
    need = f"{folder}: needs at most about {needed / 1e6:,.0f} MB of disk"
    if free < needed:
        raise TrainingError(
            f"{need}, but {free / 1e6:,.0f} MB are free; make room, or take fewer characters of the unlabelled texts"
        )
    say(f"{need}, {left / 1e6:,.0f} MB in the end; {free / 1e6:,.0f} MB are free")
