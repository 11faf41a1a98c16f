"""The process that drives a cluster's run: what may be written, the plan, the workers, the journal, the manifest."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tagger import bundle as bundles
from tagger.cluster import Run
from tagger.cluster.engine import LOCAL, RayMetrics, RayWorkers, Setup, connected
from tagger.cluster.journal import JOURNAL, SEGMENTS, Journal
from tagger.cluster.manifest import (
    ERRORS,
    FAILED,
    FAULTS,
    MANIFEST,
    RESULTS,
    SUMMARY,
    check_results,
    foreign_file,
    write_manifest,
)
from tagger.cluster.plan import PLAN, PLAN_START, Plan, write_plan
from tagger.cluster.progress import Progress
from tagger.cluster.storage import Storage
from tagger.errors import BundleError, OutputError, TaggerError, exit_code
from tagger.files.outputs import locked
from tagger.files.remote import is_uri, open_binary
from tagger.progress import say

_OWNER = "owner.json"  # who writes into an object store, which has no locks

_NAMES = {PLAN, JOURNAL, SEGMENTS, RESULTS, FAULTS, MANIFEST, SUMMARY, ERRORS, FAILED, _OWNER}


@dataclass(frozen=True)
class Job:
    """A run of `tagger predict --cluster`.

    Args:
        address: As for `connected`.
        workers: Number of workers; 0 for one for each core of the cluster.
        paths: Files of the input, or their URIs.
        source_format: Of all of them; detected if empty.
        setup: What the workers load, and what they do.
        run: What the run is, in JSON, its files left out: it is resumed only by one of the same.
        resume: Whether to go on with a run that is there.
        replace: Whether to delete a run that is there.
        shown: Whether to show progress.
    """

    address: str
    workers: int
    paths: Sequence[str]
    source_format: str
    setup: Setup
    run: dict[str, Any]
    resume: bool
    replace: bool
    shown: bool


def predict(job: Job) -> dict[str, Any]:
    """Do a run, or what of it is not done, and return its summary, as `write_manifest` does.

    Raises:
        TaggerError: If the input, the bundle, the cluster or the folder of results is at fault.
    """
    assert job.setup.task
    storage = Storage(job.setup.task.out)
    with _owned(storage) as guard:
        resumed, done = _prepared(storage, job), _Done()
        try:
            with connected(job.address, job.workers) as ray:
                files = bundle_files(job.setup) if job.address != LOCAL or is_uri(job.setup.bundle) else None
                workers = RayWorkers(ray, _sent(job.setup, files), files, job.workers)
                if not resumed:
                    _delete_run(storage)
                    cores = job.workers or int(ray.cluster_resources().get("CPU", 1))
                    write_plan(storage, job.run, job.paths, job.source_format, cores)
                return _work(job, storage, guard, workers, RayMetrics(), done)
        except KeyboardInterrupt as interrupt:
            say(f"tagger: interrupted; {done.shards:,} of {done.count:,} shards are {_kept(storage)}")
            raise SystemExit(exit_code(interrupt)) from None
        except TaggerError:
            if done.shards:
                say(f"tagger: {done.shards:,} of {done.count:,} shards are {_kept(storage)}")
            raise


@dataclass
class _Done:
    """How many shards are done, and how many there are."""

    shards: int = 0
    count: int = 0


def _kept(storage: Storage) -> str:
    return f"done and kept in {storage.root}: add --resume to continue"


def _work(job: Job, storage: Storage, guard: Any, workers: RayWorkers, metrics: RayMetrics, done: _Done) -> Any:
    """Tag what is not done of a plan, and write the manifest."""
    assert job.setup.task
    plan, begin = Plan(storage), time.monotonic()
    done.count = plan.count
    with contextlib.closing(Journal(storage, plan.count, guard)) as journal:
        if any(report.errors not in ("", job.setup.task.errors) for report in journal.reports()):
            raise OutputError(f"{storage.root}: the interrupted run differs in errors; give --force to begin again")
        if missing := check_results(storage, journal, job.setup.task.format):
            say(f"results that are missing or were changed ({missing:,} shards) are made again")
        if journal.done:
            say(f"{journal.done:,} of {plan.count:,} shards are done; going on with the others")
        before = sum(shard.bytes for shard in plan.shards() if journal.is_done(shard.number))
        progress = Progress(plan.count, plan.bytes, before, job.shown, metrics)
        run = Run(plan.shards(), journal, workers, job.setup.task.errors == "stop", progress)
        try:
            run.work()
        finally:
            progress.close()
            done.shards = journal.done
        return write_manifest(storage, plan, journal, run.failed, time.monotonic() - begin)


# ---- the folder of results ----------------------------------------------------------------------------------------
@contextmanager
def _owned(storage: Storage) -> Iterator[Any]:
    """Be the only process that writes into a folder; yield a function that raises an error if it no longer is."""
    if storage.folder:
        with locked(storage.folder, "predict"):
            yield lambda: None
        return
    name = f"{os.uname().nodename} {os.getpid()} {os.urandom(8).hex()}"
    content = json.dumps({"tagger": 1, "owner": name}).encode()
    with storage.writing(_OWNER) as file:
        file.write(content)

    def check() -> None:
        if storage.read(_OWNER) != content:
            raise OutputError(f"{storage.root}: another predict has begun there; this one ends")

    yield check
    check()
    storage.delete(_OWNER)


def _prepared(storage: Storage, job: Job) -> bool:
    """Return whether there is a run to go on with, which is the same; otherwise what is there may be deleted.

    Raises:
        OutputError: If there is something else, or a run that nobody wants to go on with.
    """
    names = {name for name in storage.sizes("") if name != _OWNER and not name.startswith(".")}
    strangers = sorted(names - _NAMES)
    if PLAN in names and job.resume and not strangers:
        Plan(storage).check(job.run)
        return True
    if names and job.replace and not strangers:
        strangers += filter(None, [foreign_file(storage)]) if _is_plan(storage) else [min(names)]
    if strangers:
        raise OutputError(f"{storage.root}: holds {strangers[0]}, which no such run has written; choose another name")
    if names and not job.replace:
        remedy = "add --resume to continue, or --force to begin again" if PLAN in names else "choose another name"
        raise OutputError(f"{storage.root}: holds a run already; {remedy}")
    return False


def _is_plan(storage: Storage) -> bool:
    """Return whether a folder has a plan, though it may be damaged or of another version."""
    with contextlib.suppress(FileNotFoundError), storage.opened(PLAN) as file:
        return file.read(len(PLAN_START)) == PLAN_START
    return False


def _delete_run(storage: Storage) -> None:
    """Delete what a run has left, its plan last: as long as that is there, it can be deleted again."""
    for name in storage.sizes("").keys() & (_NAMES - {_OWNER, PLAN}):
        storage.delete(name)
    storage.delete(PLAN)


# ---- the bundle ---------------------------------------------------------------------------------------------------
def bundle_file(path: str, name: str) -> bytes:
    """Return the content of a file of a bundle, which may be a URI.

    Raises:
        BundleError: If there is none.
    """
    try:
        with open_binary(Storage(path).path(name)) as file:
            return file.read()
    except OSError as error:
        shown = error.strerror or error
        raise BundleError(f"{path}: not a bundle ({name}: {shown}); make one with: tagger train") from error


def bundle_files(setup: Setup) -> dict[str, bytes]:
    """Return the files that a worker loads, by name, for workers that may not see the driver's file system.

    Raises:
        BundleError: If the bundle is missing or damaged.
    """
    try:
        names = list(json.loads(bundle_file(setup.bundle, bundles.MANIFEST))["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{setup.bundle}: {bundles.MANIFEST} is damaged; copy the bundle again") from error
    if any("/" in name for name in names):
        raise BundleError(f"{setup.bundle}: {bundles.MANIFEST} is damaged; copy the bundle again")
    files = {name: bundle_file(setup.bundle, name) for name in (*names, bundles.MANIFEST)}
    if setup.gazetteer:
        files[_GAZETTEER] = Path(setup.gazetteer).read_bytes()
    return files


_GAZETTEER = "gazetteer.given"


def _sent(setup: Setup, files: dict[str, bytes] | None) -> Setup:
    """Return the setup for workers to which the files are sent."""
    return replace(setup, gazetteer=_GAZETTEER if setup.gazetteer else "") if files is not None else setup
