"""What a report is about: which tagger, which files, when, with which options."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagger import __version__
from tagger.bundle import Identity
from tagger.files import sha256

_SHOWN = 12  # digits of a hash in a line


def provenance(
    files: Iterable[tuple[Path, int]], options: Mapping[str, Any], bundle: Identity | None = None, folder: str = ""
) -> dict[str, Any]:
    """Return what a report is about.

    Args:
        files: Each file that was read, with the number of its texts.
        options: The options that may change the result; those that are empty are left out.
        bundle: Which bundle was used, if one was.
        folder: Its folder, as given.

    Returns:
        "time" in UTC, "tagger": the version, "bundle": "folder", "sha256" of its manifest, "trained", "tagger";
        "files": "file", "sha256" (of a stream or folder none), "texts" of each; "options".
    """
    about: dict[str, Any] = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "tagger": __version__}
    if bundle:
        about["bundle"] = {
            "folder": folder, "sha256": bundle.sha256, "trained": bundle.trained, "tagger": bundle.version,
        }  # fmt: skip
    about["files"] = [
        {"file": str(path), "sha256": sha256(path) if path.is_file() else "", "texts": texts} for path, texts in files
    ]
    return about | {"options": {name: _plain(value) for name, value in options.items() if value}}


def _plain(value: Any) -> Any:
    """Return the value of an option as JSON holds it."""
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def provenance_line(about: Mapping[str, Any]) -> str:
    """Return on one line what `provenance` returned."""
    parts = []
    if bundle := about.get("bundle"):
        trained = f", trained {bundle['trained']}" if bundle["trained"] else ""
        parts.append(f"{bundle['folder']} ({bundle['sha256'][:_SHOWN]}{trained}, tagger {bundle['tagger']})")
    for file in about["files"]:
        digest = f"{file['sha256'][:_SHOWN]}, " if file["sha256"] else ""
        parts.append(f"{file['file']} ({digest}{file['texts']:,} texts)")
    for name, value in about["options"].items():
        parts.append(f"--{name} {' '.join(value) if isinstance(value, list) else value}")
    return " · ".join([*parts, about["time"], f"tagger {about['tagger']}"])
