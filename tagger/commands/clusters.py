"""What the commands that work on a cluster have in common, and predict on a cluster."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from tagger.errors import ConfigError, OutputError
from tagger.files.remote import is_uri

_ADDRESS = re.compile(r"(ray://)?([^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\]):\d+")


def add_cluster(parser: argparse.ArgumentParser, about: str, *others: str) -> None:
    """Add the cluster on which a command works; `others` are values that are not clusters of Ray."""
    about += (
        ": local, to start one on the cores of this machine; HOST:PORT, one that runs; auto, one that runs on this "
        "machine; needs Ray: pip install 'hantagger[cluster]'"
    )

    def known(given: str) -> str:
        return given if given in others else _address(given)

    parser.add_argument(
        "--cluster", type=known, default="", metavar="|".join(["local", "ADDRESS", *others]), help=about
    )


def _address(given: str) -> str:
    if given not in ("", "local", "auto") and not _ADDRESS.fullmatch(given):
        raise argparse.ArgumentTypeError(f"{given}: give local, auto, or the address of a cluster, HOST:PORT")
    return given


def check_predict(options: argparse.Namespace) -> None:
    """Check what predict on a cluster cannot do.

    Raises:
        ConfigError: If it is asked for.
    """
    from tagger.formats import FORMATS

    if not options.out or not options.files:
        raise ConfigError("--cluster: give files, and with --out the folder of the results")
    if options.text or "-" in options.files:
        raise ConfigError("--cluster: its workers read files alone; save the text as one")
    row = FORMATS.get(options.format)
    if row is None or row.ahead or row.binary or row.folder or options.format == "labelstudio":
        raise ConfigError(f"--cluster: results in the format {options.format} cannot be joined; write jsonl")


def predict_on_cluster(options: argparse.Namespace, paths: list[str]) -> None:
    """Tag the records of files on a cluster, and write a folder of results."""
    from tagger.cluster import driver
    from tagger.cluster.engine import Setup
    from tagger.cluster.manifest import ERRORS, FAILED
    from tagger.cluster.shards import Task
    from tagger.cluster.storage import Storage
    from tagger.commands.output import print_notes
    from tagger.documents import Notes
    from tagger.prediction.inputs import source_key

    _check_apart(options.out, [*options.files, *paths])
    run = _identity(options, paths)
    key = source_key(paths, options.source_format) if options.source else ""
    storage = Storage(str(options.out))
    task = Task(
        storage.root, options.format, options.runtime, options.errors, key, options.encoding, options.column
    )  # fmt: skip
    bundle = options.bundle if is_uri(options.bundle) else str(Path(options.bundle).absolute())
    gazetteer = str(options.gazetteer.absolute()) if options.gazetteer else ""
    setup = Setup(bundle, options.runtime, gazetteer, options.threshold, str(Path.cwd()), task)
    job = driver.Job(
        options.cluster, options.workers, paths, options.source_format, setup, run, options.resume, options.force, True
    )
    summary = driver.predict(job)
    print_notes(options.out, Notes(summary["notes"]), every=True)
    if summary["faults"]:
        done = "left out" if options.errors == "skip" else "replaced"
        where = storage.path(ERRORS)
        print(f"tagger: could not be read and {done} ({summary['faults']:,}): see {where}", file=sys.stderr)
    if summary["failed"]:
        where = storage.path(FAILED)
        raise OutputError(f"{summary['failed']:,} shards failed: see {where}; with --resume they are tried again")


def _check_apart(out: Path | str, inputs: list[str]) -> None:
    """Check that results are neither written among inputs nor in place of one.

    Raises:
        ConfigError: If they would be.
    """
    folder = _folder(out)
    for path in inputs:
        if (given := _folder(path)).startswith(folder) or folder.startswith(given):
            raise ConfigError(f"--out {out}: the input {path} is there, or around it; choose a folder apart")


def _folder(path: Path | str) -> str:
    """Return a path or URI in one form, such that what lies in it begins with that."""
    return f"{str(path) if is_uri(path) else os.path.realpath(path)}".rstrip("/") + "/"


def _identity(options: argparse.Namespace, paths: list[str]) -> dict[str, Any]:
    """Return all that the results of a run depend on, in JSON, but for the content of its files, which the plan has."""
    import hashlib

    from tagger.calibration import Thresholds
    from tagger.cluster.driver import bundle_file
    from tagger.prediction.checkpoints import fingerprint

    manifest = bundle_file(options.bundle, "manifest.json")
    if options.threshold:
        labels = bundle_file(options.bundle, "labels.txt").decode().splitlines()
        Thresholds.parse(options.threshold, labels)
    names = ("format", "source_format", "threshold", "source", "runtime", "encoding", "column")
    return {
        "bundle": hashlib.sha256(manifest).hexdigest(),
        "gazetteer": fingerprint(options.gazetteer) if options.gazetteer else {},
        "options": {name: getattr(options, name) for name in names},
        "files": {
            "count": len(paths),
            "sha256": hashlib.sha256("\n".join(paths).encode("utf-8", "surrogateescape")).hexdigest(),
        },
    }
