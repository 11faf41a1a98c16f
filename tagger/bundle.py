"""The model directory: save, load, check. Nothing in it is ever executed; there is no pickle.

config.toml        all settings, resolved
labels.txt         label names, one a line, in the order of their tags
transitions.npy    (K + 2, K) float32: tag after tag, then starts, then ends
lexicon.*.npy      the lexicon: hashes of its words and their parts of speech
NAME.txt, NAME.npy a table's vocabulary and vectors, mapped from disk (int8 with NAME.scales.npy)
model.onnx         the network, its weights in half precision
model.int8.onnx    the network in 8-bit integers
calibration.json   what dev said of the probabilities
gazetteer         mentions of one's own, as given; not in every bundle
history.json       each epoch's figures
metrics.json       scores on the dev corpus
manifest.json      format version, libraries, segmenter, SHA-256 of every other file
"""

import importlib.metadata
import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagger.calibration import Calibration
from tagger.config import Config, to_toml
from tagger.decode import Transitions
from tagger.errors import BundleError, ConfigError, CorpusError, VectorsError
from tagger.files import atomic_folder, sha256
from tagger.gazetteer import Gazetteer
from tagger.lexicon import Lexicon
from tagger.lookup import Lookup
from tagger.settings import merge
from tagger.tags import TagScheme
from tagger.text import Segmenter, UnitMaker
from tagger.vectors import load_tables, save_tables

FORMAT_VERSION = 2

ONNX, EIGHT_BITS = "model.onnx", "model.int8.onnx"

NETWORKS = {"onnx": ONNX, "int8": EIGHT_BITS}  # by runtime

GAZETTEER, MANIFEST = "gazetteer", "manifest.json"

_LIBRARIES = ("tensorflow", "keras", "numpy", "gensim", "jieba", "rjieba", "onnxruntime")


@dataclass(frozen=True)
class Bundle:
    """Everything a trained tagger is, but the network's weights, which stay in their files.

    Args:
        folder: Where the files are.
        config: All settings.
        scheme: The tags.
        transitions: What may follow what, and its score.
        units: Text -> units.
        lookup: Units -> ids -> vectors.
        calibration: What dev said of the scores.
        gazetteer: Mentions of one's own, where some are kept.
        manifest: As read from `manifest.json`.
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

    def json(self, name: str) -> Any:
        """Return the content of a JSON file of the bundle."""
        return json.loads((self.folder / name).read_text("utf-8"))


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
    """Write a bundle; it is there whole, or not at all.

    Args:
        path: The bundle's folder.
        config, scheme, transitions, lookup: As in `Bundle`.
        segmenter: The one the vectors were learnt with.
        calibration: What dev said of the scores.
        write_network: Called with a folder; writes the network's files there.
        reports: Name -> content of each JSON file beside the manifest.
        replace: Whether an existing bundle may be replaced.

    Raises:
        BundleError: If it cannot be written.
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
        manifest = {
            "format": FORMAT_VERSION,
            "libraries": _versions(),
            "segmenter": {"name": segmenter.engine, "fingerprint": segmenter.fingerprint},
        }
        _write_manifest(folder, manifest)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    files = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": files}, indent=1), "utf-8")


def keep_gazetteer(path: Path | str, file: Path | None) -> None:
    """Keep a gazetteer in a bundle, in place of the one it has; None for none.

    Raises:
        BundleError: If the bundle is not in order or cannot be written.
        CorpusError: If the gazetteer is not in order.
    """
    found = load(path)
    if file:
        if str(file) == "-" or file.is_fifo():
            raise CorpusError(str(file), "a file that can be copied", "a stream", "save it in a file first")
        Gazetteer.read(file, found.scheme)
    whole = found.folder.resolve()
    with atomic_folder(whole, replace=True) as folder:
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        (folder / GAZETTEER).unlink(missing_ok=True)
        if file:
            shutil.copyfile(file, folder / GAZETTEER)
        _write_manifest(folder, found.manifest)


def load(path: Path | str) -> Bundle:
    """Return the bundle in a folder, checked file by file.

    Raises:
        BundleError: If it is missing, damaged, of another format, or made with another segmenter.
    """
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        found_format, files = manifest["format"], dict(manifest["files"])
        fingerprint = manifest["segmenter"]["fingerprint"]
    except FileNotFoundError:
        raise BundleError(f"{folder}: not a bundle (no manifest.json); make one with: tagger train") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: manifest.json is damaged ({error}); copy the bundle again") from error
    if found_format != FORMAT_VERSION:
        raise BundleError(
            f"{folder}: bundle format {found_format}, expected {FORMAT_VERSION}; train again or use that version"
        )
    for name, digest in files.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"{folder}: {name} is missing; copy the bundle again")
        if sha256(file) != digest:
            raise BundleError(f"{folder}: {name} is damaged (its SHA-256 differs); copy the bundle again")
    try:
        config = merge(Config(), tomllib.loads((folder / "config.toml").read_text("utf-8")), "config.toml")
        scheme = TagScheme(tuple((folder / "labels.txt").read_text("utf-8").splitlines()))
        rows = np.load(folder / "transitions.npy", allow_pickle=False)
        tables = load_tables(folder, config.text.unit)
        lookup = Lookup(tables, Lexicon.load(folder, tables[-1].vocabulary) if config.has_lexicon else None)
        calibration = Calibration(**json.loads((folder / "calibration.json").read_text("utf-8")))
        gazetteer = Gazetteer.read(folder / GAZETTEER, scheme) if GAZETTEER in files else None
    except (OSError, ValueError, TypeError, ConfigError, CorpusError, VectorsError) as error:
        raise BundleError(f"{folder}: {error}") from error
    if rows.shape != (scheme.size + 2, scheme.size):
        raise BundleError(f"{folder}: transitions.npy is {rows.shape}, expected {(scheme.size + 2, scheme.size)}")
    units = UnitMaker(config.text)
    if units.segmenter.fingerprint != fingerprint:
        raise BundleError(
            f"{folder}: its words were made by {manifest['segmenter']['name']} with another lexicon than the "
            f"{units.segmenter.engine} installed here; install the versions in its manifest.json"
        )
    return Bundle(
        folder, config, scheme, Transitions(rows[:-2], rows[-2], rows[-1]), units, lookup, calibration, gazetteer,
        manifest,
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
