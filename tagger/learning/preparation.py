"""What is prepared in the run folder before the first epoch: tables of vectors, ids and tags.

Each result is written under a temporary name and renamed, so what is there is complete; a resumed run reuses it.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagger import alignment, corpus, edges
from tagger.alignment import Alignment
from tagger.batches import Store, StoreWriter
from tagger.config import Config
from tagger.documents import Document, Notes
from tagger.errors import TrainingError
from tagger.files.outputs import atomic_folder, write_json
from tagger.groups import grouped
from tagger.learning.lists import lists_without_signs
from tagger.learning.posteriors import read_posteriors
from tagger.learning.run import RunFolder, Sources, TextSources
from tagger.learning.tables import corpus_texts, vector_tables
from tagger.lexicon import jieba_lexicon
from tagger.lookup import Lookup
from tagger.progress import Stages, bar, say
from tagger.tags import OUTSIDE, TagScheme
from tagger.text import UnitMaker, pieces, windows

ALIGNMENT = "alignment.json"

NO_TAGS = TagScheme(())  # the scheme of a network without labels

_STORE = "store"


def make_lookup(
    run: RunFolder, config: Config, sources: Sources | TextSources, units: UnitMaker, stages: Stages | None = None
) -> Lookup:
    """Return the lookup of units: tables of vectors and, if the settings ask for it, the segmenter's lexicon."""
    tables = vector_tables(run, config, sources, units, stages)
    lexicon = jieba_lexicon(config.text, tables[-1].vocabulary) if config.has_lexicon else None
    return Lookup(tables, lexicon)


@dataclass(frozen=True)
class Taught:
    """What teachers believe of documents.

    Args:
        edges: Of the characters of each document, in order.
        share: Of the teachers in what is learnt of a document; the rest is its annotation's.
    """

    edges: Iterator[np.ndarray]
    share: float


def training_store(
    run: RunFolder, sources: Sources, units: UnitMaker, lookup: Lookup, scheme: TagScheme, config: Config
) -> Store:
    """Return the ids and tags of the training corpus, of its lists, and of the predicted texts, in this order.

    Args:
        run, sources, units, lookup, scheme, config: Of the training.

    Raises:
        CorpusError: If a line of a file is not in order.
        TrainingError: If there is no text.
    """
    folder = run.folder / _STORE
    if not run.holds(_STORE):
        report, notes = Alignment(), Notes()
        with _new_store(folder, lookup, report) as writer:
            share = config.distil.share
            taught = Taught(read_posteriors(sources.posteriors), share) if sources.posteriors else None
            fill_store(writer, corpus.read(sources.train, notes=notes), units, lookup, scheme, report, taught=taught)
            lists = lists_of(sources.train, config)
            fill_store(writer, lists, units, lookup, scheme, Alignment(), taught=taught)
            if sources.predicted:
                predicted = corpus.read(sources.predicted)
                taught = taught and Taught(taught.edges, 1.0)
                fill_store(writer, predicted, units, lookup, scheme, Alignment(), sources.weight, taught)
        if notes.format == "plain":
            say(f"{sources.train}: read as plain text")
        for note in corpus.describe_notes(notes, left_out=False):
            say(f"{sources.train}: {note}")
        if report.cut or report.long:
            say(
                f"{sources.train}: {report.cut + report.long} of {sum(report.entities.values())} entities cannot be "
                f"represented by these units; for examples run: tagger inspect {sources.train}"
            )
    return _open_store(folder, sources.train)


def lists_of(train: Path, config: Config) -> Iterator[Document]:
    """Return the texts with lists of a labelled corpus, without the signs in these, if the settings ask for them."""
    return lists_without_signs(corpus.read(train)) if config.training.lists else iter(())


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
    taught: Taught | None = None,
) -> None:
    """Write the ids and tags of documents, window by window; an entity that fits a window is never cut by one."""
    for group in grouped(bar(documents, desc="ids", unit=" texts"), lambda document: len(document.text)):
        aligned = [alignment.align(document, units, scheme, report) for document in group]
        all_ids = lookup.ids([text_units for text_units, _ in aligned])
        for document, (text_units, spans), ids in zip(group, aligned, all_ids, strict=True):
            unlabelled = [text_units.touched(start, end) for start, end in document.unlabelled]
            tags = scheme.encode(spans, len(text_units), unlabelled)
            known = _known(document, tags, scheme, taught) if taught else None
            for window in windows(text_units, units.config.maxlen, whole=spans):
                part = slice(window.start, window.stop)
                if known is None:
                    writer.add(ids[part], tags[part], weight)
                else:
                    own = edges.window(known, window.start, window.stop)
                    writer.add(ids[part], np.maximum(tags[part], OUTSIDE), weight, own)


def _known(document: Document, tags: np.ndarray, scheme: TagScheme, taught: Taught) -> np.ndarray:
    """Return the edges that are learnt of a document: its own path and the teachers', or these alone where it has none.

    Of a partly labelled document, the teachers' agree with what is labelled.
    """
    theirs = next(taught.edges)
    if document.unlabelled:
        return theirs
    return edges.joined([edges.of_path(tags), theirs], [1 - taught.share, taught.share], scheme.size)


def alignment_report(run: RunFolder) -> Any:
    """Return the alignment report of the store, as `Alignment.to_dict`."""
    return json.loads((run.folder / _STORE / ALIGNMENT).read_text("utf-8"))
