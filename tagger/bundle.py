"""The folder of a trained model: save, load, check. Loading executes nothing that is in it; there is no pickle.

config.toml        all settings, resolved
labels.txt         label names, one a line, in the order of their tags
transitions.npy    (K + 2, K) float32: scores of tag after tag, then of starts, then of ends
lexicon.*.npy      the lexicon: hashes of its words and their parts of speech
NAME.txt, NAME.npy vocabulary and vectors of a table, memory-mapped (int8 with NAME.scales.npy)
model.onnx         the network, its weights in half precision
model.int8.onnx    the network in 8-bit integers
calibration.json   how scores were mapped to probabilities on the dev corpus
gazetteer          the user's own list of mentions, as given; optional
history.json       figures of each epoch
metrics.json       scores on the dev corpus
manifest.json      format, version of tagger and of libraries, time, segmenter, SHA-256 of every other file

The format is a number. Any change to the files, to their content or to the id columns raises it; so does any new,
renamed or removed setting. Bundles of all formats from 3 on can be loaded; a change keeps it so:

1. Raise `FORMAT_VERSION`. Where a setting is new, or its default changes, add to `SETTINGS_BEFORE` the value by which
   older bundles behave. Where a setting is renamed or removed, let `read_config` translate it; where a file changes,
   let `load` read both forms, by the format in the manifest.
2. Run `python -m tests.make_golden_bundle`, which writes a small bundle of the new format; keep those of older ones.
   A test loads each of them and checks its predictions.
"""

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tagger import __version__, onnx_graph
from tagger.calibration import Calibration
from tagger.config import Config, to_toml
from tagger.decode import Transitions
from tagger.errors import BundleError, ConfigError, CorpusError, VectorsError
from tagger.files import outputs, sha256
from tagger.files.outputs import atomic_folder
from tagger.gazetteer import Gazetteer
from tagger.lexicon import Lexicon
from tagger.lookup import Lookup
from tagger.settings import merge
from tagger.tags import TagScheme
from tagger.text import Segmenter, UnitMaker
from tagger.vectors import load_tables, save_tables
from tagger.weights import Weights, fresh_model

FORMAT_VERSION, OLDEST_FORMAT = 4, 3

# For each format after `OLDEST_FORMAT`: the settings that came with it, by section and name, and their value before.
SETTINGS_BEFORE: dict[int, dict[str, dict[str, Any]]] = {4: {"text": {"simplify": False}, "training": {"start": "new"}}}

ONNX, EIGHT_BITS = "model.onnx", "model.int8.onnx"

GAZETTEER, MANIFEST = "gazetteer", outputs.MANIFEST

_LIBRARIES = ("tensorflow", "keras", "numpy", "gensim", "jieba", "rjieba", "onnxruntime")


@dataclass(frozen=True)
class Identity:
    """Which bundle a tagger came from, and in which state.

    Args:
        name: Name of the folder.
        sha256: Of the manifest, which holds that of every other file.
        trained: When the bundle was written, as an ISO time in UTC; "" where it does not record that.
        version: Version of tagger that wrote it.
    """

    name: str
    sha256: str
    trained: str
    version: str = ""


@dataclass(frozen=True)
class Bundle:
    """A trained tagger without the network's weights, which stay in their files.

    Args:
        folder: Where the files are.
        config: All settings.
        scheme: The tags.
        transitions: Scores of the transitions between tags.
        units: Text -> units.
        lookup: Units -> ids -> vectors.
        calibration: Score -> probability.
        gazetteer: The user's own list of mentions, if there is one.
        manifest: Content of `manifest.json`.
        identity: Name, manifest's hash and time.
    """

    folder: Path
    config: Config
    scheme: TagScheme
    transitions: Transitions
    units: UnitMaker
    lookup: Lookup
    calibration: Calibration
    gazetteer: Gazetteer | None
    manifest: dict[str, Any]
    identity: Identity

    def json(self, name: str) -> Any:
        """Return the content of a JSON file of the bundle."""
        return json.loads((self.folder / name).read_text("utf-8"))

    def weights(self) -> Weights:
        """Return the trained weights; needs no TensorFlow.

        Raises:
            BundleError: If `model.onnx` does not fit the bundle's settings.
            MissingExtraError: If `onnx` is not installed.
        """
        with self._fitting():
            return onnx_graph.read(self.folder / ONNX, self.config.model, self.lookup)

    def load_weights(self, model: Any) -> None:
        """Copy the trained weights into a `TaggerModel` of the same settings and tables.

        The output layer and the CRF's transitions are copied only if the model has the same tags.

        Raises:
            BundleError: If the model's shape differs.
        """
        ours, theirs = self.config.model, model.config
        if (ours.layers, ours.merge) != (theirs.layers, theirs.merge):
            raise BundleError(
                f"{self.folder}: model.layers is {list(theirs.layers)} and model.merge {theirs.merge!r}, expected "
                f"{list(ours.layers)} and {ours.merge!r} as in this bundle; use its settings"
            )
        weights, same_tags = self.weights(), model.scheme == self.scheme
        with self._fitting():
            weights.assign_to(model, output=same_tags)
            if same_tags and ours.crf and theirs.crf:
                model.transitions.assign(np.where(self.scheme.allowed, self.transitions.scores, 0))

    def keras_model(self, execution: str = "") -> Any:
        """Return a `TaggerModel` with the trained weights; `execution` as for `weights.fresh_model`."""
        model = fresh_model(self.config, self.scheme, self.lookup, execution)
        self.load_weights(model)
        return model

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Turn errors about weights that do not fit into a `BundleError`."""
        try:
            yield
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise BundleError(f"{self.folder}: {ONNX} does not fit the bundle's settings: {error}") from error


def is_bundle(path: Path | str) -> bool:
    """Return whether a path is the folder of a bundle, of any format: it has a manifest."""
    return (Path(path) / MANIFEST).is_file()


def require_bundle(path: Path) -> None:
    """Raise `BundleError` unless a path is the folder of a bundle whose format can be loaded; no file is checked."""
    _read_manifest(path)


def save(
    path: Path,
    config: Config,
    scheme: TagScheme,
    transitions: Transitions,
    lookup: Lookup,
    segmenter: Segmenter,
    calibration: Calibration,
    write_network: Callable[[Path], None],
    reports: dict[str, Any],
    replace: bool = False,
) -> None:
    """Write a bundle, whole or not at all.

    Args:
        path: The bundle's folder.
        config, scheme, transitions, lookup, calibration: As in `Bundle`.
        segmenter: The one that the vectors were learnt with.
        write_network: Called with a folder; writes the network's files there.
        reports: Name -> content of each JSON file beside the manifest.
        replace: Whether an existing bundle may be replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_folder(path, replace) as folder:
        (folder / "config.toml").write_text(to_toml(config), "utf-8")
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in scheme.labels), "utf-8")
        rows = np.concatenate([transitions.scores, transitions.starts[None], transitions.ends[None]])
        np.save(folder / "transitions.npy", rows.astype(np.float32), allow_pickle=False)
        save_tables(lookup.tables, folder)
        if lookup.lexicon:
            lookup.lexicon.save(folder)
        write_network(folder)
        for name, content in {**reports, "calibration.json": calibration.to_dict()}.items():
            (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
        write_manifest(
            folder,
            {
                "format": FORMAT_VERSION,
                "tagger": __version__,
                "libraries": _library_versions(),
                "trained": datetime.now(UTC).isoformat(timespec="seconds"),
                "segmenter": {"name": segmenter.engine, "fingerprint": segmenter.fingerprint},
            },
        )


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest into a bundle's folder, with the SHA-256 of each file that is there now."""
    files = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": files}, indent=1), "utf-8")


def keep_gazetteer(path: Path | str, file: Path | None) -> None:
    """Store a gazetteer in a bundle, replacing the one it has; None removes it.

    Raises:
        BundleError: If the bundle cannot be loaded.
        OutputError: If it cannot be written.
        CorpusError: If the gazetteer cannot be read.
    """
    bundle = load(path)
    if file:
        if str(file) == "-" or file.is_fifo():
            raise CorpusError(str(file), "a file that can be copied", "a stream", "save it in a file first")
        Gazetteer.read(file, bundle.scheme, bundle.config.text.simplify)
    resolved = bundle.folder.resolve()
    with atomic_folder(resolved, replace=True) as folder:
        shutil.copytree(resolved, folder, dirs_exist_ok=True)
        (folder / GAZETTEER).unlink(missing_ok=True)
        if file:
            shutil.copyfile(file, folder / GAZETTEER)
        write_manifest(folder, bundle.manifest)


def load(path: Path | str) -> Bundle:
    """Return the bundle in a folder, every file checked against its SHA-256.

    Raises:
        BundleError: If it is missing, damaged, of a format that cannot be read, or made with another segmenter.
    """
    folder = Path(path)
    manifest, digest_of_all = _read_manifest(folder)
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"{folder}: {name} is missing; copy the bundle again")
        if sha256(file) != digest:
            raise BundleError(f"{folder}: {name} is damaged (its SHA-256 differs); copy the bundle again")
    try:
        config = read_config((folder / "config.toml").read_text("utf-8"), manifest["format"])
        scheme = TagScheme(_labels(folder))
        rows = np.load(folder / "transitions.npy", allow_pickle=False)
        tables = load_tables(folder, config.text.unit)
        lookup = Lookup(tables, Lexicon.load(folder, tables[-1].vocabulary) if config.has_lexicon else None)
        calibration = Calibration(**json.loads((folder / "calibration.json").read_text("utf-8")))
        listed = folder / GAZETTEER if GAZETTEER in manifest["files"] else None
        gazetteer = Gazetteer.read(listed, scheme, config.text.simplify) if listed else None
    except (OSError, ValueError, TypeError, ConfigError, CorpusError, VectorsError) as error:
        raise BundleError(f"{folder}: {error}") from error
    if rows.shape != (scheme.size + 2, scheme.size):
        raise BundleError(f"{folder}: transitions.npy is {rows.shape}, expected {(scheme.size + 2, scheme.size)}")
    units = UnitMaker(config.text)
    if units.segmenter.fingerprint != manifest["segmenter"]["fingerprint"]:
        raise BundleError(
            f"{folder}: its words were made by {manifest['segmenter']['name']} with another lexicon than the "
            f"{units.segmenter.engine} installed here; install the versions in its manifest.json"
        )
    return Bundle(
        folder, config, scheme, Transitions(rows[:-2], rows[-2], rows[-1]), units, lookup, calibration, gazetteer,
        manifest,
        Identity(folder.resolve().name, digest_of_all, str(manifest.get("trained", "")), str(manifest["tagger"])),
    )  # fmt: skip


def read_config(toml: str, bundle_format: int) -> Config:
    """Return the settings in a bundle's `config.toml`; those that its format lacks have the values they had then.

    Raises:
        ConfigError, ValueError: If it is not TOML, or not settings.
    """
    config = merge(Config(), _settings_before(bundle_format), f"settings of format {bundle_format}")
    return merge(config, tomllib.loads(toml), "config.toml")


def read_settings(path: Path) -> Config:
    """Return the settings of a bundle, without loading the rest of it.

    Raises:
        BundleError: If it is no bundle that can be loaded.
    """
    manifest, _ = _read_manifest(path)
    try:
        return read_config((path / "config.toml").read_text("utf-8"), manifest["format"])
    except (OSError, ValueError, ConfigError) as error:
        raise BundleError(f"{path}: {error}") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of a bundle, without loading the rest of it.

    Raises:
        BundleError: If it is no bundle that can be loaded.
    """
    _read_manifest(path)
    try:
        return _labels(path)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error


def _labels(folder: Path) -> tuple[str, ...]:
    return tuple((folder / "labels.txt").read_text("utf-8").splitlines())


def digest(path: Path) -> str:
    """Return the SHA-256 of a bundle's manifest, which holds that of every other file.

    Raises:
        BundleError: If it is no bundle that can be loaded.
    """
    return _read_manifest(path)[1]


def settings_since(path: Path) -> list[str]:
    """Return the settings that are newer than a bundle's format, as `section.key=value`, with their values back then.

    Raises:
        BundleError: If it is no bundle that can be loaded.
    """
    before = _settings_before(_read_manifest(path)[0]["format"])
    return [f"{section}.{key}={json.dumps(value)}" for section, row in before.items() for key, value in row.items()]


def _settings_before(bundle_format: int) -> dict[str, dict[str, Any]]:
    """Return the settings that are newer than a format, with their values then, by section and name."""
    before: dict[str, dict[str, Any]] = {}
    for version in sorted(SETTINGS_BEFORE, reverse=True):  # of two values of a setting, the older format's counts
        if version > bundle_format:
            for section, values in SETTINGS_BEFORE[version].items():
                before.setdefault(section, {}).update(values)
    return before


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the manifest in a folder, its format one that can be loaded, its fields there; and its SHA-256."""
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = json.loads(content.decode("utf-8"))
        bundle_format, writer = manifest.get("format"), manifest.get("tagger")
    except FileNotFoundError:
        raise BundleError(f"{folder}: not a bundle (no {MANIFEST}); make one with: tagger train") from None
    except NotADirectoryError:
        expected = "expected a bundle, the folder of a trained tagger; received a file"
        remedy = "leave it out to use the general tagger, and give one file at a time"
        raise BundleError(f"{folder}: {expected}; {remedy}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder}: {MANIFEST} is damaged ({error}); copy the bundle again") from error
    _check_format(folder, bundle_format, writer)
    files, segmenter = manifest.get("files"), manifest.get("segmenter")
    if not (isinstance(files, dict) and isinstance(segmenter, dict) and {"name", "fingerprint"} <= segmenter.keys()):
        raise BundleError(f"{folder}: {MANIFEST} is damaged (files or segmenter are missing); copy the bundle again")
    return manifest, hashlib.sha256(content).hexdigest()


def _check_format(folder: Path, bundle_format: Any, writer: Any) -> None:
    """Raise `BundleError` unless the format in a manifest can be loaded; `writer` is the version of tagger there."""
    if isinstance(bundle_format, int) and OLDEST_FORMAT <= bundle_format <= FORMAT_VERSION:
        return
    newer = isinstance(bundle_format, int) and bundle_format > FORMAT_VERSION
    number = "no format number" if bundle_format is None else f"bundle format {bundle_format}"
    received = f"{number}, written by tagger {writer or ('(unknown version)' if newer else 'before 0.2.0')}"
    if newer:
        expected = f"formats up to {FORMAT_VERSION} (tagger {__version__}); upgrade with: pip install -U hantagger"
    else:
        expected = f"format {OLDEST_FORMAT} or later; train it again, or use the version of tagger that wrote it"
    raise BundleError(f"{folder}: {received}; expected {expected}")


def _library_versions() -> dict[str, str]:
    import importlib.metadata

    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
