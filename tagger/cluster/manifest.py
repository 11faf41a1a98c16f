"""What a cluster's run leaves beside its results: where they are, the manifest of all shards, and a summary.

results/000000/000000000.jsonl  the results of shard 0; in the order of their names, these files are the output of
                                the plain command
faults/000000/000000000.jsonl   what could not be read of shard 0, if anything
errors.jsonl                    all of what could not be read, in the order of the input
failed.jsonl                    shards that were set aside, and why
manifest.jsonl                  a line for each shard: its file, its input, counts, checksum, seconds
summary.json                    what the run was, and the sums of all that
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tagger import __version__
from tagger.cluster.journal import Journal
from tagger.cluster.plan import Plan, Shard
from tagger.cluster.storage import Storage
from tagger.formats import FORMATS

FOLDER_SIZE = 1_000  # files in a folder at most

RESULTS, FAULTS = "results", "faults"

MANIFEST, SUMMARY, ERRORS, FAILED = "manifest.jsonl", "summary.json", "errors.jsonl", "failed.jsonl"


def folder_of(number: int) -> str:
    """Return the folder of a shard's files, in that of all results."""
    return f"{number // FOLDER_SIZE:06d}"


def results_name(number: int, format: str) -> str:
    """Return the name of a shard's results in a format."""
    row = FORMATS[format]
    suffix = row.suffixes[0] if row.suffixes else ".jsonl" if row.parse else ".txt"
    return f"{RESULTS}/{folder_of(number)}/{number:09d}{suffix}"


def faults_name(number: int) -> str:
    """Return the name of the file of what could not be read of a shard."""
    return f"{FAULTS}/{folder_of(number)}/{number:09d}.jsonl"


def foreign_file(storage: Storage) -> str | None:
    """Return the name of a file among the results that no run has written; None if there is none."""
    return next((name for name in _files(storage) if not _OURS.search(name)), None)


def delete_leftovers(storage: Storage) -> None:
    """Delete what workers that were killed have left half written."""
    if storage.folder:
        for name in filter(_PART.search, itertools.chain(storage.sizes(""), _files(storage))):
            storage.delete(name)


_PART = re.compile(r"(^|/)\.\d+-[0-9a-f]{8}\.part\.[^/]+$")  # the temporary names of `files.outputs`

_OURS = re.compile(rf"/\d{{6}}/\d{{9}}\.\w+$|{_PART.pattern}")


def _files(storage: Storage) -> Iterator[str]:
    """Yield the name of each file of results and of faults."""
    for kind in (RESULTS, FAULTS):
        for folder, size in sorted(storage.sizes(kind).items()):
            inside = (f"{kind}/{folder}/{name}" for name in storage.sizes(f"{kind}/{folder}"))
            yield from inside if size is None else [f"{kind}/{folder}"]


def check_results(storage: Storage, journal: Journal, format: str) -> int:
    """Take shards for not done whose results are missing or of another size; return how many there are."""
    missing, folder = 0, ""
    sizes: dict[str, int | None] = {}
    for report in journal.reports():
        if folder_of(report.shard) != folder:
            folder = folder_of(report.shard)
            sizes = storage.sizes(f"{RESULTS}/{folder}")
        if sizes.get(results_name(report.shard, format).rpartition("/")[2]) != report.bytes:
            journal.forget(report.shard)
            missing += 1
    return missing


def write_manifest(
    storage: Storage, plan: Plan, journal: Journal, failed: Mapping[int, str], seconds: float
) -> dict[str, Any]:
    """Write the manifest, the list of what could not be read, and the summary, all as streams; return the summary.

    Args:
        storage, plan, journal: Of the run.
        failed: The reason of each shard that was set aside.
        seconds: That this process took.
    """
    delete_leftovers(storage)
    sums: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    reports = journal.reports()
    digest = hashlib.sha256()
    with storage.writing(MANIFEST) as manifest:
        for shard in plan.shards():
            if not journal.is_done(shard.number):
                continue
            report = next(reports)
            figures = asdict(report)
            notes.update(figures.pop("notes"))
            sums.update({name: figures[name] for name in _SUMMED})
            file = results_name(shard.number, plan.run["options"]["format"])
            entry = {"shard": shard.number, "file": file, "inputs": _inputs(shard), **figures}
            line = (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
            manifest.write(line)
            digest.update(line)
    _gather_faults(storage, journal)
    _write_failed(storage, failed)
    summary = {
        "tagger": __version__,
        "run": plan.run,
        "shards": plan.count,
        "done": journal.done,
        "failed": len(failed),
        **{name: round(sums[name], 3) for name in _SUMMED},
        "elapsed": round(seconds, 3),
        "notes": dict(notes),
        "manifest_sha256": digest.hexdigest(),
    }
    with storage.writing(SUMMARY) as out:
        out.write((json.dumps(summary, indent=1) + "\n").encode())
    return summary


_SUMMED = ("texts", "characters", "entities", "faults", "bytes", "seconds")


def _inputs(shard: Shard) -> list[list[Any]]:
    return [[one.input.path, *((one.part.start, one.part.stop) if one.part else ())] for one in shard.parts]


def _gather_faults(storage: Storage, journal: Journal) -> None:
    """Write what could not be read of all shards into one file, in order; no file if there is nothing."""
    faulty = (report.shard for report in journal.reports() if report.faults)
    first = next(faulty, None)
    if first is None:
        storage.delete(ERRORS)
        return
    with storage.writing(ERRORS) as errors:
        for number in (first, *faulty):
            with storage.opened(faults_name(number)) as file:
                while block := file.read(1 << 20):
                    errors.write(block)


def _write_failed(storage: Storage, failed: Mapping[int, str]) -> None:
    if not failed:
        storage.delete(FAILED)
        return
    with storage.writing(FAILED) as file:
        for number in sorted(failed):
            line = json.dumps({"shard": number, "reason": failed[number]}, ensure_ascii=False) + "\n"
            file.write(line.encode("utf-8", "backslashreplace"))
