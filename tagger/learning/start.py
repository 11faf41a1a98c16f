"""What a run begins with where no bundle is given: nothing, or the vectors of the general tagger, or its network too.

It is decided once, when the run begins, and kept in the run's folder.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import Config
from tagger.default_bundle import GENERAL, general_bundle
from tagger.errors import ConfigError, TrainingError
from tagger.files.outputs import write_json
from tagger.learning.run import BEGINNING, Sources, TextSources, read_record
from tagger.progress import say
from tagger.sections import VectorsConfig
from tagger.settings import merge

Files = TypeVar("Files", Sources, TextSources)

NEW, VECTORS, NETWORK = "new", "vectors", "general"  # values of `training.start`

PAYS = 400_000  # characters of labelled text, up to which the general tagger is the better start for other labels

_ABOUT = {
    NEW: "new vectors and a new network",
    VECTORS: "the general tagger's vectors and a new network",
    NETWORK: "the general tagger's vectors and network",
}

# Settings that say how vectors are learnt; whoever changes one wants them learnt.
_OF_LEARNING = ("learnt_dimensions", "window", "negative", "sample", "epochs", "learning_rate")

_DIMENSIONS = ("word_dimensions", "char_dimensions", "bigram_dimensions")

# Settings that must be those of the general tagger, by section.
_OF_VECTORS = {"text": ("unit", "clean", "fold", "simplify"), "vectors": ("norm", "storage")}
_OF_NETWORK = {
    "vectors": _DIMENSIONS,
    "model": ("layers", "merge", "char_dimensions", "position_dimensions", "lexicon_dimensions"),
}


def begun(config: Config, sources: Files, folder: Path, pays: Callable[[], str] = lambda: NEW) -> tuple[Config, Files]:
    """Return settings and files of a run with what it begins with, and keep that in the run's folder.

    Args:
        config: All settings.
        sources: Where they name a bundle to begin with, there is nothing to decide.
        folder: Of the run; what it keeps counts more than the settings.
        pays: Gives the value of `training.start` that "auto" stands for, if the settings allow it.

    Raises:
        ConfigError: If the settings ask for what does not fit the general tagger.
        BundleError: If they ask for the general tagger, and this installation has none.
        TrainingError: If the general tagger is another one than when the run began.
    """
    if sources.vectors:
        return config, sources
    record = folder / BEGINNING
    if not record.exists():
        start = _decided(config, pays)
        write_json(record, {"start": start, "general": "" if start == NEW else bundles.digest(GENERAL)})
        if config.training.start == "auto":
            say(f"start: {_ABOUT[start]}" + ("" if start == NEW else "; for new ones add --start new"))
    kept = read_record(record)
    if kept["general"] not in ("", bundles.digest(general_bundle()) if kept["general"] else ""):
        raise TrainingError(f"{folder}: was begun with another general tagger; delete the folder and start again")
    config = merge(config, {"training": {"start": kept["start"]}}, str(record))
    return config, _with(sources, kept["start"])


def _with(sources: Files, start: str) -> Files:
    if start == NEW:
        return sources
    return dataclasses.replace(sources, vectors=GENERAL, start=GENERAL if start == NETWORK else None, extend=True)


def paying(train: Path, labels: Sequence[str]) -> str:
    """Return what a training of these labelled texts had best begin with: the general tagger, unless they are many.

    It is also the better start of however many texts that have its own labels.
    """
    if bundles.is_bundle(GENERAL) and set(labels) == set(bundles.read_labels(GENERAL)):
        return NETWORK
    sizes = itertools.accumulate(len(document.text) for document in corpus.read(train))
    return NEW if any(size > PAYS for size in sizes) else NETWORK


def _decided(config: Config, pays: Callable[[], str]) -> str:
    """Return what a run with these settings begins with: what they say, or what pays and fits them."""
    require_fitting(config)
    if config.training.start != "auto":
        return config.training.start
    return fitting(config, pays())


def fitting(config: Config, start: str) -> str:
    """Return a start, a value of `training.start` but "auto", or what is nearest to it and fits the settings."""
    if start == NEW or not bundles.is_bundle(GENERAL):
        return NEW
    return next((each for each in (start, VECTORS) if not contradiction(config, each)), NEW)


def require_fitting(config: Config) -> None:
    """Check that a run can begin with what its settings ask for.

    Raises:
        ConfigError: If another setting contradicts that.
        BundleError: If it is the general tagger, and this installation has none.
    """
    asked = config.training.start
    if asked != "auto" and (reason := contradiction(config, asked)):
        instead = NEW if contradiction(config, VECTORS) else VECTORS
        raise ConfigError(
            f"training.start = {asked}: does not fit {reason}; leave that setting out, or add --start {instead}"
        )


def contradiction(config: Config, start: str) -> str:
    """Return the first setting that does not fit a start, and what would; "" if all fit.

    Raises:
        BundleError: If the start is the general tagger, and this installation has none.
    """
    if start == NEW:
        return ""
    theirs = bundles.read_settings(general_bundle())
    if config.vectors.pretrained:
        return "vectors.pretrained, which gives other vectors"
    larger = [name for name in _DIMENSIONS if getattr(config.vectors, name) > getattr(theirs.vectors, name)]
    expected = [
        *((section, name, "", getattr(theirs, section)) for section, names in _OF_VECTORS.items() for name in names),
        *(("vectors", name, "", VectorsConfig()) for name in _OF_LEARNING),
        *(("vectors", name, "at most ", theirs.vectors) for name in larger),
    ]
    if start == NETWORK:
        expected += [
            (section, name, "", getattr(theirs, section)) for section, names in _OF_NETWORK.items() for name in names
        ]
    for section, name, limit, fitting in expected:
        given, value = getattr(getattr(config, section), name), getattr(fitting, name)
        if given != value:
            return f"{section}.{name} = {json.dumps(given)} (it takes {limit}{json.dumps(value)})"
    return ""
