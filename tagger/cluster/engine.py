"""Workers on a cluster of Ray, each a process with one tagger. Nothing else here knows of Ray."""

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger import __version__
from tagger.calibration import Thresholds
from tagger.cluster import Outcome
from tagger.cluster.journal import Report
from tagger.cluster.plan import Shard
from tagger.cluster.shards import ChangedInputError, ShardTagger, Task
from tagger.cores import usable_cores
from tagger.errors import BundleError, CorpusError, OutputError, TaggerError, shortened
from tagger.imports import import_ray
from tagger.pipeline import Result, Tagger

LOCAL = "local"

_STORE = 150_000_000  # bytes of a local cluster's object store; nothing large lies in it

_PAUSE = 1.0  # seconds before a worker that was lost is asked again whether it is there

_GROWTH = 30.0  # seconds between looks at whether the cluster has grown


# ---- in the processes of the workers ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Setup:
    """What a worker loads.

    Args:
        bundle: Folder of the bundle, where the worker sees it; otherwise its files come with the worker.
        runtime, gazetteer: As for `Tagger.load`; the gazetteer is one of the files where these come with the worker.
        thresholds: As for `Thresholds.parse`; none if empty.
        folder: What relative paths are relative to, where the worker has it.
        task: What is done with shards; None where there are none.
        version: Of this package, where the run was started.
    """

    bundle: str
    runtime: str
    gazetteer: str = ""
    thresholds: str = ""
    folder: str = ""
    task: Task | None = None
    version: str = __version__


@dataclass(frozen=True)
class Failure:
    """An error of a worker, as it is sent: some errors cannot be.

    Args:
        reason: In one line.
        kind: "input", "changed", "output" or "other".
    """

    reason: str
    kind: str


class Worker:
    """One tagger, in a process of its own.

    Args:
        setup: What to load.
        files: The bundle's files, where it is not to be read from its folder.
    """

    def __init__(self, setup: Setup, files: dict[str, bytes] | None) -> None:
        self._why_not = ""
        if setup.version != __version__:
            self._why_not = f"it has tagger {__version__}, and this is {setup.version}; install the same everywhere"
            return
        with contextlib.suppress(OSError):
            os.chdir(setup.folder)
        try:
            self._tagger = _load(setup, files)
            self._shards = ShardTagger(self._tagger, setup.task) if setup.task else None
        except TaggerError as error:
            self._why_not = str(error)

    def why_not_ready(self) -> str:
        """Return why this worker cannot work; empty if it can."""
        return self._why_not

    def tag(self, shard: Shard) -> Report | Failure:
        """Tag a shard."""
        assert self._shards
        try:
            return self._shards.tag(shard)
        except ChangedInputError as error:
            return Failure(str(error), "changed")
        except OutputError as error:
            return Failure(str(error), "output")
        except CorpusError as error:
            return Failure(str(error), "other" if isinstance(error.__cause__, OSError) else "input")
        except TaggerError as error:
            return Failure(str(error), "input")

    def results(self, groups: list[list[str]], options: tuple[bool, ...]) -> list[list[Result]]:
        """Return the results of groups of texts, each tagged on its own; options as for `Tagger.tag`."""
        return [self._tagger.tag(texts, *options) for texts in groups]


def _load(setup: Setup, files: dict[str, bytes] | None) -> Tagger:
    """Load a tagger, of files that are written into a private folder where they come with the worker."""
    with contextlib.ExitStack() as stack:
        bundle, gazetteer = setup.bundle, setup.gazetteer
        if files is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tagger-")))
            for name, content in files.items():
                (folder / name).write_bytes(content)
            bundle, gazetteer = str(folder), str(folder / gazetteer) if gazetteer else ""
        tagger = Tagger.load(bundle, setup.runtime, workers=1, gazetteer=gazetteer or None)
    if setup.thresholds:
        tagger.thresholds = Thresholds.parse(setup.thresholds, tagger.labels)
    return tagger


# ---- in the process of the driver ---------------------------------------------------------------------------------
@contextmanager
def connected(address: str, workers: int, prints: bool = False) -> Iterator[Any]:
    """Yield Ray, connected to a cluster.

    Args:
        address: `local` for a cluster of this machine, which ends with the block; otherwise that of a cluster.
        workers: That a local cluster has; 0 for one for each core that this process may use.
        prints: Whether what workers print appears here.

    Raises:
        TaggerError: If there is no cluster at the address.
        MissingExtraError: If Ray is not installed.
    """
    ray = import_ray(address == LOCAL)
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {"address": address, "logging_level": "ERROR", "log_to_driver": prints}
        if address == LOCAL:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tagger-", ignore_cleanup_errors=True))
            settings |= {
                "num_cpus": workers or usable_cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1",
                "object_store_memory": _STORE, "_temp_dir": folder,
            }  # fmt: skip
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**settings)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            shown = shortened(" ".join(str(error).split()))
            raise TaggerError(f"--cluster {address}: no cluster answers there ({shown}); check it") from error
        stack.callback(ray.shutdown)
        stack.enter_context(_named_signals(handler))
        yield ray


@contextmanager
def _named_signals(terminate: Any) -> Iterator[None]:
    """Raise what a signal's handler raises, though Ray makes a bare `KeyboardInterrupt` of it while it waits.

    Args:
        terminate: The handler of SIGTERM, which Ray has replaced.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised: list[KeyboardInterrupt] = []

    def noted(handler: Any) -> Any:
        def handle(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt as interrupt:
                raised.append(interrupt)
                raise

        return handle if callable(handler) else handler

    handlers = {signal.SIGTERM: terminate, signal.SIGHUP: signal.getsignal(signal.SIGHUP)}
    for number, handler in handlers.items():
        signal.signal(number, noted(handler))
    try:
        yield
    except KeyboardInterrupt:
        if raised:
            raise raised[0] from None
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class RayWorkers:
    """Workers on a cluster, each with at most one piece of work.

    A worker that is lost is started again by Ray, on any node. What it was doing has failed; it is for the caller to
    try again.

    Args:
        ray: As `connected` yields it.
        setup: What each loads.
        files: As for `Worker`.
        count: Number of workers; 0 for one for each core of the cluster, also of those that come later.
    """

    def __init__(self, ray: Any, setup: Setup, files: dict[str, bytes] | None, count: int = 0) -> None:
        self._ray, self._setup, self._count = ray, setup, count
        self._files = ray.put(files) if files is not None else None
        self._class = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=0)(Worker)
        self._idle: deque[Any] = deque()
        self._working: dict[Any, tuple[Any, Any]] = {}  # what was asked -> worker, key of the work
        self._joining: dict[Any, Any] = {}  # what was asked -> worker
        self._resting: deque[tuple[float, Any]] = deque()
        self._started = self._refused = 0
        self._looked_at = -_GROWTH
        self._grow()

    @property
    def alive(self) -> int:
        """Workers that there are now."""
        return len(self._idle) + len(self._working)

    @property
    def room(self) -> int:
        """Workers that have nothing to do."""
        return len(self._idle)

    def submit(self, shard: Shard) -> None:
        """Give a shard to a worker."""
        self.ask(shard, "tag", shard)

    def completed(self, seconds: float) -> list[Outcome]:
        """See `Workers.completed`."""
        return [_outcome(shard, answer) for shard, answer in self.answers(seconds)]

    def ask(self, key: Any, method: str, *arguments: Any) -> None:
        """Give a piece of work to a worker that has nothing to do."""
        worker = self._idle.popleft()
        self._working[getattr(worker, method).remote(*arguments)] = worker, key

    def answers(self, seconds: float) -> list[tuple[Any, Any]]:
        """Return the key of each piece of work that has ended, and what it has returned; a `Failure` where it failed.

        Args:
            seconds: To wait for one at most.

        Raises:
            TaggerError: If no worker can work.
        """
        self._grow()
        while self._resting and self._resting[0][0] <= time.monotonic():
            self._greet(self._resting.popleft()[1])
        waiting = [*self._working, *self._joining]
        if not waiting:
            time.sleep(min(seconds, _PAUSE))
            return []
        self._ray.wait(waiting, num_returns=1, timeout=seconds, fetch_local=False)
        ended, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for ref in [ref for ref in ended if ref in self._joining]:
            self._join(ref)
        return [self._answer(ref) for ref in ended if ref in self._working]

    def _grow(self) -> None:
        """Start a worker for each core of the cluster that has come."""
        if time.monotonic() - self._looked_at < _GROWTH:
            return
        self._looked_at = time.monotonic()
        wanted = self._count or max(1, int(self._ray.cluster_resources().get("CPU", 0)))
        for _ in range(wanted - self._started):
            self._start()

    def _start(self) -> None:
        self._started += 1
        self._greet(self._class.remote(self._setup, self._files))

    def _greet(self, worker: Any) -> None:
        self._joining[worker.why_not_ready.remote()] = worker

    def _join(self, ref: Any) -> None:
        """Note that a worker is there, or why it is not."""
        worker = self._joining.pop(ref)
        try:
            why_not = self._ray.get(ref)
        except self._ray.exceptions.ActorDiedError as error:
            why_not = ""
            self._started, self._refused = self._started - 1, self._refused + 1
            if self._refused > 2 * self._started + 2:
                raise TaggerError(f"no worker can be started: {_line(error)}") from error
            self._start()
        except self._ray.exceptions.RayError:
            self._resting.append((time.monotonic() + _PAUSE, worker))
            return
        else:
            if why_not:
                raise BundleError(f"a worker cannot tag: {why_not}")
            self._refused = 0
            self._idle.append(worker)

    def _answer(self, ref: Any) -> tuple[Any, Any]:
        """Return the key of a piece of work, and what it has returned."""
        worker, key = self._working.pop(ref)
        try:
            answer = self._ray.get(ref)
            self._idle.append(worker)
        except self._ray.exceptions.RayTaskError as error:  # an error that nobody has foreseen
            answer = Failure(_line(error.cause if getattr(error, "cause", None) else error), "other")
            self._idle.append(worker)
        except self._ray.exceptions.RayError as error:
            answer = Failure(f"the worker was lost: {_line(error)}", "other")
            self._resting.append((time.monotonic(), worker))
        return key, answer


def _outcome(shard: Shard, answer: Report | Failure) -> Outcome:
    if isinstance(answer, Report):
        return Outcome(shard, answer)
    error = TaggerError(answer.reason) if answer.kind in ("input", "changed") else None
    return Outcome(shard, None, answer.reason, error, ends=answer.kind in ("changed", "output"))


def _line(error: BaseException) -> str:
    """Return an error of Ray's, which has many lines, in one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


class RayMetrics:
    """The figures of a run as metrics of the cluster, for its dashboard and for Prometheus: `tagger_NAME`."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._kinds = metrics
        self._metrics: dict[str, Any] = {}
        self._counted = 0.0

    def set(self, figures: dict[str, float]) -> None:
        """See `progress.Metrics`."""
        for name, value in figures.items():
            if name == "characters":
                if value > self._counted:
                    self._of(name, "Counter").inc(value - self._counted)
                self._counted = value
            else:
                self._of(name, "Gauge").set(value)

    def _of(self, name: str, kind: str) -> Any:
        if name not in self._metrics:
            self._metrics[name] = getattr(self._kinds, kind)(f"tagger_{name}", f"{name.replace('_', ' ')} of a run")
        return self._metrics[name]
