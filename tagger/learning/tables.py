"""The tables of vectors of a run: ready-made, reused from an earlier run, or learnt. Each is kept once it is there."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import Config
from tagger.errors import BundleError, VectorsError
from tagger.files.outputs import atomic_folder, write_json
from tagger.learning.cache import Entry, exact_entry, similar_entry
from tagger.learning.induction import extended
from tagger.learning.run import RunFolder, Sources, TextSources, read_record
from tagger.learning.sketch import Sketch
from tagger.progress import Stages, bar, say
from tagger.text import UnitMaker
from tagger.vector_files import load_word2vec
from tagger.vectors import TABLES, Table, fitted, learn, load_tables, vector_stages

_TABLES, _ORIGIN = "tables", "vectors.json"

_EXTENDING = "vectors of new words"  # a stage

# Where tables come from: `reused` from which entry of the cache, `texts`, `differing`; or `general`, the manifest's
# hash of the general tagger, and the rows `added` to each of its tables.
Origin = dict[str, Any]


def corpus_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the text of each document of labelled or plain files."""
    return (document.text for path in paths for document in corpus.read(path))


def vector_tables(
    run: RunFolder, config: Config, sources: Sources | TextSources, units: UnitMaker, stages: Stages | None = None
) -> list[Table]:
    """Return the tables of vectors: those of the bundle given by `sources`, or those of the run folder.

    What the run folder lacks is added to it, table by table. A network that is trained further needs the tables of its
    bundle as they are, or with more rows; a new one takes as much of them as the settings say.

    Raises:
        BundleError: If the bundle's vectors are looked up in another form than these settings say.
    """
    unit = config.text.unit
    if sources.vectors:
        _require_same_form(config, sources.vectors)
        if sources.start and not sources.extend:
            return load_tables(sources.vectors, unit)
    missing = [name for name in TABLES[unit] if not run.holds(f"{_TABLES}/{name}")]

    def keep(table: Table) -> None:
        with atomic_folder(run.folder / _TABLES / table.name) as part:
            table.save(part)

    if missing and sources.vectors:
        theirs = [fitted(table, config.vectors) for table in load_tables(sources.vectors, unit)]
        if sources.extend:
            (stages or Stages()).begin(_EXTENDING)
            texts = functools.partial(corpus_texts, sources.vector_texts)
            ours = extended(theirs, texts, units, config.vectors)
            added = {table.name: len(table.vectors) - len(old.vectors) for table, old in zip(ours, theirs, strict=True)}
            write_json(run.folder / _ORIGIN, {"general": bundles.digest(sources.vectors), "added": added})
            theirs = ours
        for table in theirs:
            if table.name in missing:
                keep(table)
    elif missing:
        origin = make_tables(config, sources.vector_texts, units, missing, run.folder, keep, stages)
        write_json(run.folder / _ORIGIN, origin)
    return [Table.load(run.folder / _TABLES / name, name) for name in TABLES[unit]]


def _require_same_form(config: Config, folder: Path) -> None:
    theirs = bundles.read_settings(folder).text
    for name in ("fold", "simplify"):
        if (value := getattr(theirs, name)) != getattr(config.text, name):
            there, here = (str(of).lower() for of in (value, not value))
            reason = f"its vectors were learnt with text.{name}={there}, and the settings have {here}"
            raise BundleError(f"{folder}: {reason}; add --set text.{name}={there}")


def table_stages(config: Config, sources: Sources | TextSources) -> list[str]:
    """Return the titles of the stages that `vector_tables` announces at most."""
    pretrained = config.vectors.pretrained
    if sources.extend:
        return [_EXTENDING]
    if sources.vectors or (pretrained and Path(pretrained).is_dir()):
        return []
    return vector_stages([name for name in TABLES[config.text.unit] if not (pretrained and name == "word")])


def vectors_origin(run: RunFolder, sources: Sources | TextSources) -> Origin:
    """Return where the vectors of a run come from, for `metrics.json`: `{"vectors": {...}}`, or nothing if unknown."""
    if sources.vectors and not sources.extend:
        record = sources.vectors / "metrics.json"
        return {key: value for key, value in read_record(record).items() if key == "vectors"} if record.exists() else {}
    record = run.folder / _ORIGIN
    return {"vectors": read_record(record)} if record.exists() else {}


def make_tables(
    config: Config,
    files: Sequence[Path],
    units: UnitMaker,
    names: Sequence[str],
    folder: Path,
    keep: Callable[[Table], None],
    stages: Stages | None = None,
) -> Origin:
    """Make the tables of these names, and return where they come from.

    Args:
        config: All settings.
        files: Texts, labelled or not, that are learnt from.
        units: Cuts them into units.
        names: Of the tables.
        folder: For temporary files.
        keep: Takes each table as soon as it is there.
        stages: Where to announce `vectors.vector_stages`.

    Raises:
        VectorsError: If there is too little text, or ready-made vectors cannot be read.
    """
    ready_made = _ready_made(config, names)
    for table in ready_made:
        keep(table)
    missing = [name for name in names if name not in {table.name for table in ready_made}]
    origin: Origin = {"pretrained": config.vectors.pretrained} if ready_made else {}
    return {**origin, **_reuse_or_learn(config, files, units, missing, folder, keep, stages)} if missing else origin


def _ready_made(config: Config, names: Sequence[str]) -> list[Table]:
    """Return the tables of `vectors.pretrained`: all of a folder, and the word table of a file."""
    settings = config.vectors
    if not settings.pretrained:
        return []
    path = Path(settings.pretrained)
    if path.is_dir():
        return [fitted(Table.load(path, name), settings) for name in names]
    if not path.is_file():
        raise VectorsError(f"{path}: vectors.pretrained is neither a file nor a folder of `tagger vectors`")
    return [load_word2vec(path, settings, config.text.fold, config.text.simplify)] if "word" in names else []


def _reuse_or_learn(
    config: Config,
    files: Sequence[Path],
    units: UnitMaker,
    names: Sequence[str],
    folder: Path,
    keep: Callable[[Table], None],
    stages: Stages | None,
) -> Origin:
    """Make tables as `make_tables` does: from the cache, as far as it has them, else from the texts."""
    texts = Sketch.of(bar(corpus_texts(files), desc="reading", unit=" texts"))
    exact = exact_entry(config, units, texts)
    source, reused = _reused(exact, texts, names, config.vectors.reuse)
    for table in reused:
        keep(table)
    missing = [name for name in names if name not in {table.name for table in reused}]
    if missing:
        learning = bar(corpus_texts(files), total=texts.texts, desc="segmenting", unit=" texts")
        for table in learn(learning, units, config.vectors, config.training.seed, folder, missing, stages):
            keep(table)
            if exact:
                exact.add(table, texts)
    differing = source.difference.texts if source else 0
    return {"reused": source.name if source else "", "texts": texts.texts, "differing": differing}


def _reused(
    exact: Entry | None, texts: Sketch, names: Sequence[str], similar: bool
) -> tuple[Entry | None, list[Table]]:
    """Return the entry of the cache to be used, and what it has of these tables; all of them if its texts differ.

    Args:
        exact: The entry of these texts, if there is a cache.
        texts: The texts.
        names: Of the tables.
        similar: Whether texts may differ a little.
    """
    if not exact:
        return None, []
    if tables := [table for name in names if (table := exact.load(name))]:
        exact.touch()
        say(f"vectors: {_list(tables)} reused from an earlier run with the same texts and settings ({exact.folder})")
        return exact, tables
    if not similar or not (entry := similar_entry(exact, texts, names)):
        return None, []
    tables = [table for name in names if (table := entry.load(name))]
    if len(tables) < len(names):
        return None, []
    entry.touch()
    say(
        f"vectors: reused from an earlier run ({entry.difference.texts:,} of {texts.texts:,} texts differ; "
        f"vectors.reuse=false learns them anew): {entry.folder}"
    )
    return entry, tables


def _list(tables: Sequence[Table]) -> str:
    return ", ".join(table.name for table in tables)
