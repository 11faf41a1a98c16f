"""Which bundle is used: the one that is named, or, where none is, the general tagger that the package holds."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tagger.bundle import MANIFEST, is_bundle
from tagger.errors import BundleError, ConfigError
from tagger.files.remote import is_uri, size_and_time

GENERAL = Path(__file__).with_name("general")

# A folder that holds one of these and no manifest is a bundle that was not copied whole, or the work of a training.
_PARTS = ("model.onnx", "transitions.npy", "config.toml", "run.json", "rounds.json")


def general_bundle() -> Path:
    """Return the folder of the general tagger.

    Raises:
        BundleError: If this installation does not have it.
    """
    if not is_bundle(GENERAL):
        raise BundleError(f"{GENERAL}: this installation has no general tagger; name the folder of a trained one")
    return GENERAL


def bundle_and_inputs(paths: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the bundle that the paths of a command line begin with, None for the general tagger, and the inputs.

    The first path is a bundle if it is a folder with a manifest; otherwise it is an input as the others are.

    Args:
        paths: Files, folders, patterns, URIs, and `-` for standard input.

    Raises:
        BundleError: If the first path is neither, or a folder that looks like a bundle and is none.
        ConfigError: If a bundle stands behind an input.
    """
    first, *others = paths or [""]
    if first and _is_bundle(first):
        return first, others
    if misplaced := next((path for path in others if _is_bundle(path)), None):
        raise ConfigError(f"{misplaced}: is a bundle; one is used at a time, and it is given before the texts")
    if first:
        _check_input(first)
    return None, list(paths)


def _is_bundle(path: str) -> bool:
    if not is_uri(path):
        return is_bundle(path)
    parts = urlsplit(path)
    try:
        size_and_time(parts._replace(path=f"{parts.path.rstrip('/')}/{MANIFEST}").geturl())
    except OSError:
        return False
    return True


def _check_input(path: str) -> None:
    """Raise `BundleError` if a path was probably meant as a bundle."""
    if path == "-" or is_uri(path) or glob.has_magic(path):
        return
    if not os.path.lexists(path):
        raise BundleError(
            f"{path}: expected a bundle (a folder with {MANIFEST}) or a text to tag with the general tagger, received "
            "the name of nothing that exists; correct the path"
        )
    if os.path.isdir(path) and (found := next((part for part in _PARTS if (Path(path) / part).is_file()), None)):
        raise BundleError(f"{path}: not a bundle ({found} is there, and no {MANIFEST}); copy or train it again")
