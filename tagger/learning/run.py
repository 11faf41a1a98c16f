"""What a training makes before it fits, and where it keeps it: tables, ids, checkpoints.

Each step writes its result under a temporary name and renames it, so that what is there is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tagger import alignment, corpus
from tagger import bundle as bundles
from tagger.alignment import Alignment
from tagger.batches import Store, StoreWriter
from tagger.config import Config
from tagger.documents import Document, Notes
from tagger.errors import OutputError, TrainingError, VectorsError
from tagger.files import atomic_file, atomic_folder, sha256, write_json
from tagger.lexicon import jieba_lexicon
from tagger.lookup import Lookup
from tagger.progress import say
from tagger.tags import TagScheme
from tagger.text import UnitMaker, grouped, windows
from tagger.vectors import TABLES, Table, learn, load_tables, load_word2vec, save_tables

ALIGNMENT = "alignment.json"

_CHECKPOINT = "checkpoint.npz"

_REMEMBERED = 10  # sets of tables, some ten megabytes each


@dataclass(frozen=True)
class Sources:
    """The files a training reads.

    Args:
        train: Labelled corpus.
        dev: Labelled corpus that picks the best epoch.
        unlabelled: More text for the vectors.
        predicted: Texts labelled by a tagger, learnt from as well.
        weight: Of a predicted text, that of a labelled one being 1.
        vectors: Bundle whose vectors are used instead of new ones.
        start: Bundle whose network is trained further instead of a new one; its vectors are those of `vectors`.
    """

    train: Path
    dev: Path
    unlabelled: tuple[Path, ...] = ()
    predicted: Path | None = None
    weight: float = 1.0
    vectors: Path | None = None
    start: Path | None = None

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each corpus and bundle: that of its file, or of those of its files."""
        manifests = [bundle / bundles.MANIFEST for bundle in (self.vectors, self.start) if bundle]
        read = [self.train, self.dev, *self.unlabelled, *filter(None, [self.predicted]), *manifests]
        found = {str(path): corpus.files(path) for path in read}
        for path, read_files in found.items():
            if not read_files:
                raise TrainingError(f"{path}: no such file")
        return {path: _digest(some) for path, some in found.items()}


def _digest(files: list[Path]) -> str:
    digests = [sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


class RunFolder:
    """The folder in which a training keeps what it has done.

    Args:
        folder: `OUT.training`.
        config, sources: Of this training; a resumed one must have the same.
        resume: Whether what is there may be used.
    """

    def __init__(self, folder: Path, config: Config, sources: Sources, resume: bool) -> None:
        self.folder, self.config, self.sources = folder, config, sources
        self.files = claim(folder, config, sources, resume, _CHECKPOINT)

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the training corpus."""
        kept = self.folder / "labels.json"
        if not kept.exists():
            write_json(kept, corpus.labels(corpus.read(self.sources.train)))
        return tuple(json.loads(kept.read_text("utf-8")))

    def tables(self, units: UnitMaker) -> list[Table]:
        """Return the tables of vectors, learnt or loaded."""
        if self.sources.vectors:
            return load_tables(self.sources.vectors, self.config.text.unit)
        kept = self.folder / "tables"
        if not kept.exists():
            known = None if self.config.vectors.pretrained else self._cache(units)
            if known and known.exists():
                say(f"vectors: as learnt before from the same texts with the same settings ({known})")
                tables = load_tables(known, self.config.text.unit)
                with contextlib.suppress(OSError):
                    os.utime(known)  # it is the latest now
            else:
                tables = make_tables(self.config, corpus_texts(self._texts()), units, self.folder)
                if known:
                    remember(tables, known)
            with atomic_folder(kept) as folder:
                save_tables(tables, folder)
        return load_tables(kept, self.config.text.unit)

    def lookup(self, units: UnitMaker) -> Lookup:
        """Return units -> ids -> vectors, by the tables and, where the settings want it, the segmenter's dictionary."""
        tables = self.tables(units)
        lexicon = jieba_lexicon(self.config.text, tables[-1].vocabulary) if self.config.has_lexicon else None
        return Lookup(tables, lexicon)

    def _cache(self, units: UnitMaker) -> Path | None:
        """Return where tables learnt from these texts with these settings are remembered, by their hash."""
        about = {
            "texts": [self.files[str(file)] for file in self._texts()],
            "settings": [asdict(self.config.text), asdict(self.config.vectors), self.config.training.seed],
            "words": units.segmenter.fingerprint,
        }
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
        folder = cache_folder()
        return folder / "vectors" / name if folder else None

    def _texts(self) -> list[Path]:
        """Return the files that vectors are learnt from."""
        return [self.sources.train, *self.sources.unlabelled]

    def store(
        self, units: UnitMaker, lookup: Lookup, scheme: TagScheme, documents: Iterator[Document] | None = None
    ) -> Store:
        """Return the ids and tags of `documents`, by default the training corpus, and of the predicted texts after."""
        kept = self.folder / "store"
        if not kept.exists():
            report, notes = Alignment(), Notes()
            with atomic_folder(kept) as folder:
                writer = StoreWriter(folder, lookup.columns)
                documents = documents or corpus.read(self.sources.train, notes=notes)
                fill_store(writer, documents, units, lookup, scheme, report)
                if more := self.sources.predicted:
                    fill_store(writer, corpus.read(more), units, lookup, scheme, Alignment(), self.sources.weight)
                writer.close()
                write_json(folder / ALIGNMENT, report.to_dict())
            for note in corpus.describe_notes(notes, left_out=False):
                say(f"{self.sources.train}: {note}")
            if report.cut or report.long:
                say(
                    f"{report.cut + report.long} of {sum(report.entities.values())} training entities cannot be "
                    f"represented by these units; see: tagger inspect {self.sources.train}"
                )
        store = Store(kept)
        if not len(store):
            raise TrainingError(f"{self.sources.train}: has no text to learn from")
        return store

    def alignment(self) -> Any:
        """Return the alignment report."""
        return json.loads((self.folder / "store" / ALIGNMENT).read_text("utf-8"))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save_checkpoint(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the state after an epoch, in place of the one before."""
        with atomic_file(self.folder / _CHECKPOINT) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def load_checkpoint(self) -> dict[str, np.ndarray] | None:
        """Return the kept state, or None."""
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)


def claim(folder: Path, config: Config, sources: Sources, resume: bool, *begun: str) -> dict[str, str]:
    """Take a folder for work on these files with these settings: an empty one, or one to be resumed.

    Args:
        folder: Made if absent.
        config, sources: Of this work; what is resumed must have had the same.
        resume: Whether what is there may be used.
        begun: Patterns of what is there when something would be lost.

    Returns:
        The SHA-256 of each file.

    Raises:
        TrainingError: If the folder holds something else, or cannot be written.
    """
    files = sources.fingerprint()
    wanted = {"config": config.to_dict(), "files": files}
    kept = folder / "run.json"
    if kept.exists() and resume:
        if json.loads(kept.read_text("utf-8")) != wanted:
            raise TrainingError(f"{folder}: was started with other settings or files; use those, or delete the folder")
        return files
    if any(file for pattern in begun for file in folder.glob(pattern)):
        raise TrainingError(
            f"{folder}: an interrupted training is kept here; add --resume to go on, or delete the folder"
        )
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(kept, wanted)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    return files


def cache_folder() -> Path | None:
    """Return the folder `$TAGGER_CACHE`, by default `~/.cache/tagger`; None where the variable is set to nothing."""
    given = os.environ.get("TAGGER_CACHE")
    if given is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagger"
    return Path(given) if given else None


def remember(tables: Sequence[Table], folder: Path) -> None:
    """Keep `tables` in `folder`, and no more than the latest `_REMEMBERED` of its kind; a full disk is no error."""
    with contextlib.suppress(OutputError, OSError):
        with atomic_folder(folder) as part:
            save_tables(tables, part)
        others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in others[:-_REMEMBERED]:
            shutil.rmtree(old, ignore_errors=True)


def corpus_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the text of each document of labelled or plain files."""
    return (document.text for path in paths for document in corpus.read(path))


def make_tables(config: Config, texts: Iterable[str], units: UnitMaker, folder: Path) -> list[Table]:
    """Return tables learnt from `texts`, ready-made, or the word table ready-made and the others learnt."""
    given = config.vectors.pretrained
    if not given:
        counted = tqdm(texts, "segmenting", unit=" texts")
        return learn(counted, units, config.vectors, config.training.seed, folder)
    path = Path(given)
    if path.is_dir():
        return [table.head(config.vectors.limit) for table in load_tables(path, config.text.unit)]
    if not path.is_file():
        raise VectorsError(f"{path}: vectors.pretrained is neither a file nor a folder of `tagger vectors`")
    words = load_word2vec(path, config.vectors, config.text.fold)
    names = [name for name in TABLES[config.text.unit] if name != "word"]
    others = learn(texts, units, config.vectors, config.training.seed, folder, names) if names else []
    return [*others, words]


def fill_store(
    writer: StoreWriter,
    documents: Iterator[Document],
    units: UnitMaker,
    lookup: Lookup,
    scheme: TagScheme,
    report: Alignment,
    weight: float = 1.0,
) -> None:
    """Write the ids and tags of documents, window by window; no gold entity is cut that fits a window."""
    for some in grouped(tqdm(documents, "ids", unit=" texts"), lambda document: len(document.text)):
        aligned = [alignment.align(document, units, scheme, report) for document in some]
        all_ids = lookup.ids([made for made, _ in aligned])
        for document, (made, spans), ids in zip(some, aligned, all_ids, strict=True):
            unlabelled = [made.touched(start, end) for start, end in document.unlabelled]
            tags = scheme.encode(spans, len(made), unlabelled)
            for window in windows(made, units.config.maxlen, whole=spans):
                part = slice(window.start, window.stop)
                writer.add(ids[part], tags[part], weight)
