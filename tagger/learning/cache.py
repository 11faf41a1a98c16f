"""The cache of learnt tables of vectors: an entry for each set of texts and settings, and what a run reuses of them.

An entry is a folder `SETTINGS-TEXTS`, named by the hashes of both, with a folder for each table and `texts.npz`, the
sketch of the texts. A table is added as soon as it is learnt.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

from tagger.config import Config
from tagger.errors import OutputError, VectorsError
from tagger.files.outputs import atomic_folder, damaged_file
from tagger.learning.sketch import EQUAL, Difference, Sketch
from tagger.progress import say
from tagger.text import UnitMaker
from tagger.vectors import Table

_ENTRIES = 10  # some ten megabytes each

_RULE = 2  # to be raised when other vectors are learnt from the same texts and settings

MOST_DIFFERENT = 0.02  # share of the characters in other texts up to which tables are reused

_TEXTS = "texts.npz"


@dataclass(frozen=True)
class Entry:
    """A folder of the cache.

    Args:
        folder: It need not exist.
        difference: Between its texts and those of the run.
    """

    folder: Path
    difference: Difference = EQUAL

    @property
    def name(self) -> str:
        """Its name in the cache."""
        return self.folder.name

    def load(self, name: str) -> Table | None:
        """Return a table; None if it is not there, or damaged: then it is deleted."""
        folder = self.folder / name
        try:
            if not folder.exists():
                return None
            if not (damaged := damaged_file(folder)):
                return Table.load(folder, name)
            say(f"vectors: {folder / damaged} is damaged; these vectors are learnt again and replaced")
        except (OSError, VectorsError) as error:
            say(f"vectors: {folder} cannot be used ({error}); these vectors are learnt again")
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def add(self, table: Table, texts: Sketch) -> None:
        """Save a table, and delete all entries but the latest `_ENTRIES`; a full disk is no error."""
        with contextlib.suppress(OutputError, OSError):
            with atomic_folder(self.folder / table.name) as part:
                table.save(part)
            if not (self.folder / _TEXTS).exists():
                texts.save(self.folder / _TEXTS)
            self.touch()
            by_age = sorted(self.folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in by_age[:-_ENTRIES]:
                shutil.rmtree(old, ignore_errors=True)

    def touch(self) -> None:
        """Make it the most recently used one."""
        with contextlib.suppress(OSError):
            os.utime(self.folder)


def exact_entry(config: Config, units: UnitMaker, texts: Sketch) -> Entry | None:
    """Return the entry for exactly these texts and settings, whether it is there or not; None without a cache."""
    cache = cache_folder()
    return Entry(cache / "vectors" / f"{_settings(config, units)}-{texts.digest[:32]}") if cache else None


def similar_entry(exact: Entry, texts: Sketch, names: Sequence[str]) -> Entry | None:
    """Return the complete entry with the settings of `exact` whose texts differ least, if they differ little."""
    entries = [entry for entry in _others(exact, texts) if all((entry.folder / name).exists() for name in names)]
    nearest = min(entries, key=lambda entry: entry.difference.characters, default=None)
    return nearest if nearest and nearest.difference.characters <= MOST_DIFFERENT else None


def _others(exact: Entry, texts: Sketch) -> Iterator[Entry]:
    """Yield the other entries with the settings of `exact`."""
    settings = exact.name.partition("-")[0]
    for folder in sorted(exact.folder.parent.glob(f"{settings}-*")):
        if folder != exact.folder and (sketch := Sketch.load(folder / _TEXTS)):
            yield Entry(folder, texts.difference(sketch))


def _settings(config: Config, units: UnitMaker) -> str:
    """Return the hash of all that decides which vectors are learnt from a text."""
    vectors = asdict(replace(config.vectors, pretrained="", reuse=True))
    versions = [_RULE, metadata.version("gensim"), units.segmenter.fingerprint]
    key = [asdict(config.text), vectors, config.training.seed, versions]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


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
