"""The `Tagger` of the package's interface: what programs and notebooks need beside tagging."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

from tagger import pipeline
from tagger.config import Config, check
from tagger.config import load as load_config
from tagger.default_bundle import general_bundle
from tagger.documents import Entity
from tagger.errors import BundleError
from tagger.files import sha256
from tagger.groups import Wait
from tagger.imports import import_tensorflow
from tagger.reports.html import fragment
from tagger.runtime import DEFAULT
from tagger.settings import merge


class Entities(list[Entity]):
    """The entities of one text: a list that a notebook shows as the text with its entities marked.

    Args:
        entities: In the order of the text.
        text: The text.
        labels: All labels of the tagger, which give each label its colour.
    """

    def __init__(self, entities: Iterable[Entity] = (), text: str = "", labels: tuple[str, ...] = ()) -> None:
        super().__init__(entities)
        self.text, self.labels = text, labels

    def _repr_html_(self) -> str:
        return fragment(self.text, self, self.labels)


class Record(TypedDict):
    """An entity as a row of a table; `row` is the number of its text, from 0."""

    row: int
    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True)
class Loaded:
    """What a tagger was loaded from, to load it again in another process.

    Args:
        folder: The bundle; None for the general tagger, which may lie elsewhere on another machine.
        sha256: Of its manifest.
        runtime, workers: As for `Tagger.load`.
        gazetteer: The file that replaces the bundle's own, and its SHA-256 ("" of a stream); None for none.
    """

    folder: Path | None
    sha256: str
    runtime: str
    workers: int
    gazetteer: tuple[Path, str] | None


class Tagger(pipeline.Tagger):
    """Predicts the entities of texts with a trained model, which `Tagger.train` makes and `Tagger.load` loads.

    `tagger(text)` tags one text, `batch` a list, `stream` any number, in bounded memory; `records` returns rows for a
    table, `results` and `tag` more than entities. All are safe to use from several threads, and raise `TypeError` where
    a text is not a string. The offsets of an entity are those of the text as given: `text[e.start:e.end] == e.text`.
    One line end at the end of a text, as lines of a file have it, is not tagged.

    A tagger that was loaded can be pickled: it is then loaded from its bundle again, which must not have changed.

    Args:
        As for `tagger.pipeline.Tagger`.

    Example:
        tagger = Tagger.load("bundle")
        for entity in tagger("遵义会议旧址，主要指召开遵义会议的那座小楼。"):
            print(entity.text, entity.label, entity.score)
    """

    _loaded: Loaded | None = None

    @classmethod
    def train(
        cls,
        train: Path | str,
        dev: Path | str,
        out: Path | str,
        *,
        unlabelled: Iterable[Path | str] = (),
        config: Config | Path | str = "default",
        settings: Mapping[str, Any] | None = None,
        start: Path | str | None = None,
        resume: bool = False,
        replace: bool = False,
    ) -> Self:
        """Train a tagger, write its bundle, and return it; as `tagger train` does.

        Args:
            train: Labelled corpus to learn from.
            dev: Labelled corpus that picks the best epoch and calibrates probabilities.
            out: The bundle's folder.
            unlabelled: Files with more text to learn vectors from.
            config: Name of a preset, a TOML file, or settings.
            settings: Settings to change, by their names: `{"training.epochs": 60}`.
            start: Trained or pretrained bundle whose vectors and network to start from.
            resume: Continue an interrupted training; start one if there is none.
            replace: Whether an existing bundle may be replaced.

        Raises:
            TaggerError: If a file, a setting or the folder is at fault.
            MissingExtraError: If the extra `train` is not installed.
        """
        if not isinstance(config, Config):
            config = load_config(config)
        config = check(merge(config, _by_section(settings or {}), "settings"))
        import_tensorflow()
        from tagger.learning import training
        from tagger.learning.run import Sources

        first = Path(start) if start else None
        more = tuple(Path(file) for file in unlabelled)
        sources = Sources(Path(train), Path(dev), more, vectors=first, start=first)
        training.train(config, sources, Path(out), resume, replace)
        return cls.load(out)

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        runtime: str = DEFAULT,
        workers: int = 0,
        gazetteer: Path | str | None = None,
    ) -> Self:
        """Return the tagger in a bundle.

        Args:
            path: The bundle's folder; None for the general tagger, which finds people, places and organisations.
            runtime, workers, gazetteer: As for `tagger.pipeline.Tagger.load`, as are the errors.
        """
        tagger = super().load(general_bundle() if path is None else path, runtime, workers, gazetteer)
        assert tagger.identity
        file = Path(gazetteer).absolute() if gazetteer else None
        read = (file, sha256(file) if file.is_file() else "") if file else None
        folder = None if path is None else Path(path).absolute()
        tagger._loaded = Loaded(folder, tagger.identity.sha256, runtime, tagger.workers, read)
        return tagger

    def __call__(self, text: str) -> Entities:
        """Return the entities of one text, in the order of the text.

        Raises:
            TypeError: If it is not a string.
        """
        return Entities(super().__call__(text), text, self.labels)

    def records(self, texts: Iterable[str], wait: Wait = "auto") -> Iterator[Record]:
        """Yield a dictionary for each entity of each text, for `pandas.DataFrame` or `polars.DataFrame`.

        Args:
            texts, wait: As for `results`.
        """
        for row, entities in enumerate(self.stream(texts, wait)):
            for entity in entities:
                yield {"row": row, **entity._asdict()}  # type: ignore[typeddict-item]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the tagger was loaded from, not what was loaded."""
        if self._loaded is None:
            raise TypeError("a Tagger that was not loaded from a bundle cannot be pickled; load it with Tagger.load")
        return _reloaded, (type(self), self._loaded)

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:8]) + (f", ... ({len(self.labels)})" if len(self.labels) > 8 else "")
        parts = [f"labels {shown}", f"unit {self.config.text.unit}", f"workers {self.workers}"]
        if self._loaded:
            parts = [str(self._loaded.folder or "general"), *parts, f"runtime {self._loaded.runtime}"]
        return f"<Tagger {'; '.join(parts)}>"


@functools.lru_cache(maxsize=1)  # a pool's process gets the same one with each of its tasks
def _reloaded(kind: type[Tagger], loaded: Loaded) -> Tagger:
    """Return a tagger that was pickled.

    Raises:
        BundleError: If the bundle or the gazetteer changed in the meantime.
    """
    file = loaded.gazetteer[0] if loaded.gazetteer else None
    tagger = kind.load(loaded.folder, loaded.runtime, loaded.workers, file)
    if tagger._loaded != loaded:
        name = (
            file if tagger._loaded and tagger._loaded.sha256 == loaded.sha256 else loaded.folder or "the general tagger"
        )
        raise BundleError(f"{name}: changed since the Tagger was pickled; load it again with Tagger.load")
    return tagger


def _by_section(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return settings `{"section.key": value}` by section and key."""
    sections: dict[str, Any] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections[section] = {**sections.get(section, {}), key: value} if key else value
    return sections
