"""Tagging in several processes, for much text: threads of one process wait for one another in the interpreter."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tagger.bundle import Identity
from tagger.calibration import Thresholds
from tagger.errors import TaggerError
from tagger.groups import Group, grouped, in_order, strings
from tagger.pipeline import Result, Tagger
from tagger.progress import say
from tagger.runtime import runtime_spec

_GROUPS_BEFORE = 20  # groups of texts that are tagged by threads before processes are started


def results(tagger: Tagger, bundle: Path, runtime: str, texts: Iterable[str], answers: bool = True) -> Iterator[Result]:
    """Yield the `Result` of each text, in order, as `Tagger.results` does; arguments as for `tagged`."""
    for _, group in tagged(tagger, bundle, runtime, grouped(strings(texts), len), answers):
        yield from group


def tagged(
    tagger: Tagger, bundle: Path, runtime: str, groups: Iterator[Group], answers: bool = True
) -> Generator[tuple[Group, list[Result]]]:
    """Yield groups of texts with their results, in order and in bounded memory.

    The result of a text depends on its group alone, to the bit.

    The first 400,000 characters or so are tagged by threads of this process. If there is more text, processes take
    over, as many as the tagger has workers, as soon as each has loaded the bundle; but not where the runtime's row
    excludes it, nor with a gazetteer, which counts the mentions that it skips, nor where the bundle has been replaced
    in the meantime: then the threads go on, with the tagger that was loaded. The processes import the main module, as
    `multiprocessing` does.

    Args:
        tagger: The tagger, loaded from the bundle.
        bundle: The bundle's folder.
        runtime: As given to `Tagger.load`.
        groups: As for `in_order`; read only as far as needed.
        answers: As in `Tagger.results`.

    Raises:
        TaggerError: If a process ends before its work is done.
    """
    threads_only = tagger.workers == 1 or tagger.gazetteer or not runtime_spec(runtime).processes
    by_threads = itertools.islice(groups, None if threads_only else _GROUPS_BEFORE)
    with ThreadPoolExecutor(tagger.workers) as threads:
        yield from in_order(threads, tagger.tag, by_threads, tagger.workers, answers)
        if (first := next(groups, None)) is None:
            return
        groups = itertools.chain([first], groups)
        with ProcessPoolExecutor(
            tagger.workers,
            multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(bundle, runtime, tagger.identity, tagger.thresholds),
        ) as pool:
            try:
                loading = [pool.submit(_why_not_loaded) for _ in range(tagger.workers)]
                yield from in_order(threads, tagger.tag, _until_done(loading, groups), tagger.workers, answers)
                failures = [failure for future in loading if (failure := future.result())]
                if failures:
                    say(f"tagger: {failures[0]}; going on without more processes, with the bundle that was loaded")
                    yield from in_order(threads, tagger.tag, groups, tagger.workers, answers)
                else:
                    yield from in_order(pool, _tag, groups, tagger.workers, answers)
            except BrokenProcessPool:
                raise TaggerError(
                    "a tagging process ended before its work was done, perhaps for lack of memory; "
                    "give it more, or tag less at a time"
                ) from None


def _until_done(loading: list[Future[str]], groups: Iterator[Group]) -> Iterator[Group]:
    """Yield groups while any process is still loading its bundle."""
    while not all(future.done() for future in loading) and (group := next(groups, None)) is not None:
        yield group


_tagger: Tagger | str  # in the processes of a pool: the tagger of this process, or why there is none


def _start_process(bundle: Path, runtime: str, identity: Identity | None, thresholds: Thresholds) -> None:
    """Load the tagger of this process; signals to end are left to its parent, with which it ends."""
    global _tagger
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        _tagger = Tagger.load(bundle, runtime, workers=1)
        _tagger.thresholds = thresholds
        if identity and _tagger.identity and _tagger.identity.sha256 != identity.sha256:
            _tagger = f"{bundle}: replaced by another bundle since this run loaded it"
    except TaggerError as error:
        _tagger = str(error)


def _why_not_loaded() -> str:
    """Return why this process has no tagger; empty if it has one."""
    return _tagger if isinstance(_tagger, str) else ""


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tag(texts: list[str], answers: bool) -> list[Result]:
    assert isinstance(_tagger, Tagger)
    return _tagger.tag(texts, answers)
