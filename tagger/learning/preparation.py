"""What is prepared in the run folder before the first epoch: labels, tables of vectors, ids and tags.

Each result is written under a temporary name and renamed, so what is there is complete; a resumed run reuses it.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tagger import alignment, corpus
from tagger.alignment import Alignment
from tagger.batches import Store, StoreWriter
from tagger.config import Config
from tagger.documents import Document, Notes
from tagger.errors import OutputError, TrainingError, VectorsError
from tagger.learning.run import RunFolder, Sources, TextSources, read_record
from tagger.lexicon import jieba_lexicon
from tagger.lookup import Lookup
from tagger.outputs import atomic_folder, damaged_file, write_json
from tagger.progress import bar, say
from tagger.tags import TagScheme
from tagger.text import UnitMaker, grouped, pieces, windows
from tagger.vectors import TABLES, Table, learn, load_tables, load_word2vec, save_tables

ALIGNMENT = "alignment.json"

NO_TAGS = TagScheme(())  # the scheme of a network without labels

_LABELS, _TABLES, _STORE = "labels.json", "tables", "store"

_CACHED = 10  # sets of tables, some ten megabytes each


def corpus_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the text of each document of labelled or plain files."""
    return (document.text for path in paths for document in corpus.read(path))


# ---- labels -----------------------------------------------------------------------------------------------------
def training_labels(run: RunFolder, train: Path) -> tuple[str, ...]:
    """Return the labels of the training corpus."""
    file = run.folder / _LABELS
    if not file.exists():
        write_json(file, corpus.labels(corpus.read(train)))
    return tuple(read_record(file))


# ---- vectors ----------------------------------------------------------------------------------------------------
def make_lookup(run: RunFolder, config: Config, sources: Sources | TextSources, units: UnitMaker) -> Lookup:
    """Return the lookup of units: tables of vectors and, if the settings ask for it, the segmenter's lexicon."""
    tables = vector_tables(run, config, sources, units)
    lexicon = jieba_lexicon(config.text, tables[-1].vocabulary) if config.has_lexicon else None
    return Lookup(tables, lexicon)


def vector_tables(run: RunFolder, config: Config, sources: Sources | TextSources, units: UnitMaker) -> list[Table]:
    """Return the tables of vectors: those of the bundle given by `sources`, those in the cache, or new ones."""
    unit = config.text.unit
    if sources.vectors:
        return load_tables(sources.vectors, unit)
    folder = run.folder / _TABLES
    if not run.holds(_TABLES):
        cached = None if config.vectors.pretrained else _cache_entry(run, config, sources, units)
        tables = _cached_tables(cached, unit) if cached else None
        if tables is None:
            tables = _new_tables(config, corpus_texts(sources.vector_texts), units, run.folder)
            if cached:
                add_to_cache(tables, cached)
        with atomic_folder(folder) as part:
            save_tables(tables, part)
    return load_tables(folder, unit)


def _cached_tables(folder: Path, unit: str) -> list[Table] | None:
    """Return the tables of a cache folder; None if there are none, or one is damaged: then the folder is deleted."""
    try:
        if not folder.exists():
            return None
        if file := damaged_file(folder):
            say(f"vectors: {folder / file} is damaged; the vectors are learnt again and replaced")
            shutil.rmtree(folder, ignore_errors=True)
            return None
        tables = load_tables(folder, unit)
    except (OSError, VectorsError) as error:
        say(f"vectors: {folder} cannot be used ({error}); the vectors are learnt again")
        return None
    say(f"vectors: reused from an earlier run with the same texts and settings ({folder})")
    with contextlib.suppress(OSError):
        os.utime(folder)  # the most recently used one now
    return tables


def _new_tables(config: Config, texts: Iterable[str], units: UnitMaker, folder: Path) -> list[Table]:
    """Return tables learnt from `texts`, or ready-made ones; of a word2vec file, only the word table is ready-made."""
    settings, seed = config.vectors, config.training.seed
    if not settings.pretrained:
        return learn(bar(texts, desc="segmenting", unit=" texts"), units, settings, seed, folder)
    path = Path(settings.pretrained)
    if path.is_dir():
        return [table.head(settings.limit) for table in load_tables(path, config.text.unit)]
    if not path.is_file():
        raise VectorsError(f"{path}: vectors.pretrained is neither a file nor a folder of `tagger vectors`")
    words = load_word2vec(path, settings, config.text.fold)
    other_names = [name for name in TABLES[config.text.unit] if name != "word"]
    others = learn(texts, units, settings, seed, folder, other_names) if other_names else []
    return [*others, words]


def _cache_entry(run: RunFolder, config: Config, sources: Sources | TextSources, units: UnitMaker) -> Path | None:
    """Return the cache folder of tables learnt from these texts with these settings, named by the hash of both."""
    key = {
        "texts": [run.hashes[str(file)] for file in sources.vector_texts],
        "settings": [asdict(config.text), asdict(config.vectors), config.training.seed],
        "words": units.segmenter.fingerprint,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache_folder()
    return folder / "vectors" / name if folder else None


def cache_folder() -> Path | None:
    """Return the folder `$TAGGER_CACHE`, by default `~/.cache/tagger`.

    None if the variable is set and empty, or if there is no home.
    """
    configured = os.environ.get("TAGGER_CACHE")
    if configured is not None:
        return Path(configured) if configured else None
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "tagger"
    try:
        return Path.home() / ".cache" / "tagger"
    except RuntimeError:  # no HOME, and a user without an entry in the list of users
        return None


def add_to_cache(tables: Sequence[Table], folder: Path) -> None:
    """Save `tables` in `folder` and delete all but the latest `_CACHED` folders beside it; a full disk is no error."""
    with contextlib.suppress(OutputError, OSError):
        with atomic_folder(folder) as part:
            save_tables(tables, part)
        by_age = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in by_age[:-_CACHED]:
            shutil.rmtree(old, ignore_errors=True)


# ---- ids and tags -----------------------------------------------------------------------------------------------
def training_store(run: RunFolder, sources: Sources, units: UnitMaker, lookup: Lookup, scheme: TagScheme) -> Store:
    """Return the ids and tags of the training corpus, followed by those of the predicted texts.

    Raises:
        CorpusError: If a line of a file is not in order.
        TrainingError: If there is no text.
    """
    folder = run.folder / _STORE
    if not run.holds(_STORE):
        report, notes = Alignment(), Notes()
        with _new_store(folder, lookup, report) as writer:
            fill_store(writer, corpus.read(sources.train, notes=notes), units, lookup, scheme, report)
            if sources.predicted:
                predicted = corpus.read(sources.predicted)
                fill_store(writer, predicted, units, lookup, scheme, Alignment(), sources.weight)
        for note in corpus.describe_notes(notes, left_out=False):
            say(f"{sources.train}: {note}")
        if report.cut or report.long:
            say(
                f"{sources.train}: {report.cut + report.long} of {sum(report.entities.values())} entities cannot be "
                f"represented by these units; for examples run: tagger inspect {sources.train}"
            )
    return _open_store(folder, sources.train)


def text_store(run: RunFolder, files: Sequence[Path], units: UnitMaker, lookup: Lookup) -> Store:
    """Return the ids of the texts of files, long ones in pieces, without tags; errors as in `training_store`."""
    folder = run.folder / _STORE
    if not run.holds(_STORE):
        texts = corpus_texts(files)
        documents = (Document(text[start:end]) for text in texts for start, end in pieces(text))
        report = Alignment()
        with _new_store(folder, lookup, report) as writer:
            fill_store(writer, documents, units, lookup, NO_TAGS, report)
    return _open_store(folder, files[0])


@contextlib.contextmanager
def _new_store(folder: Path, lookup: Lookup, report: Alignment) -> Iterator[StoreWriter]:
    """Yield the writer of a store; its folder, with the alignment report, appears once it is complete."""
    with atomic_folder(folder) as part:
        writer = StoreWriter(part, lookup.columns)
        yield writer
        writer.close()
        write_json(part / ALIGNMENT, report.to_dict())


def _open_store(folder: Path, corpus_path: Path) -> Store:
    store = Store(folder)
    if not len(store):
        raise TrainingError(f"{corpus_path}: contains no text to learn from")
    return store


def fill_store(
    writer: StoreWriter,
    documents: Iterator[Document],
    units: UnitMaker,
    lookup: Lookup,
    scheme: TagScheme,
    report: Alignment,
    weight: float = 1.0,
) -> None:
    """Write the ids and tags of documents, window by window; an entity that fits a window is never cut by one."""
    for group in grouped(bar(documents, desc="ids", unit=" texts"), lambda document: len(document.text)):
        aligned = [alignment.align(document, units, scheme, report) for document in group]
        all_ids = lookup.ids([text_units for text_units, _ in aligned])
        for document, (text_units, spans), ids in zip(group, aligned, all_ids, strict=True):
            unlabelled = [text_units.touched(start, end) for start, end in document.unlabelled]
            tags = scheme.encode(spans, len(text_units), unlabelled)
            for window in windows(text_units, units.config.maxlen, whole=spans):
                part = slice(window.start, window.stop)
                writer.add(ids[part], tags[part], weight)


def alignment_report(run: RunFolder) -> Any:
    """Return the alignment report of the store, as `Alignment.to_dict`."""
    return json.loads((run.folder / _STORE / ALIGNMENT).read_text("utf-8"))
