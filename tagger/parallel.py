"""Tagging in several processes, for much text: threads of one process wait for one another in the interpreter."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tagger.bundle import Identity
from tagger.calibration import Thresholds
from tagger.errors import BundleError, TaggerError
from tagger.pipeline import Along, Result, Tagger, tag_in_order
from tagger.runtime import runtime_spec
from tagger.text import grouped

_GROUPS_BEFORE = 20  # groups of texts that are tagged by threads before processes are started


def results(tagger: Tagger, bundle: Path, runtime: str, texts: Iterable[str], answers: bool = True) -> Iterator[Result]:
    """Yield the `Result` of each text, in the order of the texts; arguments and errors as for `tagged`."""
    groups = ((None, group) for group in grouped(texts, len))
    for _, group in tagged(tagger, bundle, runtime, groups, answers):
        yield from group


def tagged(
    tagger: Tagger, bundle: Path, runtime: str, groups: Iterable[tuple[Along, list[str]]], answers: bool = True
) -> Iterator[tuple[Along, list[Result]]]:
    """Yield the results of groups of texts, in order and in bounded memory.

    What a text's result is depends on its group alone, to the bit.

    The first 400,000 characters or so are tagged by threads of this process. If there is more text, processes take
    over, as many as the tagger has workers, as soon as each has loaded the bundle; but not where the runtime's row
    excludes it, nor with a gazetteer, which counts the mentions that it skips. The processes import the main module,
    as `multiprocessing` does.

    Args:
        tagger: The tagger, loaded from the bundle.
        bundle: The bundle's folder.
        runtime: As given to `Tagger.load`.
        groups: What goes along with a group of texts, and the texts; read only as far as needed.
        answers: As in `Tagger.results`.

    Raises:
        BundleError: If another bundle is in the folder by now.
        TaggerError: If a process ends before its work is done.
    """
    waiting = iter(groups)
    threads_only = tagger.workers == 1 or tagger.gazetteer or not runtime_spec(runtime).processes
    by_threads = itertools.islice(waiting, None if threads_only else _GROUPS_BEFORE)
    with ThreadPoolExecutor(tagger.workers) as threads:
        yield from tag_in_order(threads, tagger.tag, by_threads, tagger.workers, answers)
        if (first := next(waiting, None)) is None:
            return
        waiting = itertools.chain([first], waiting)
        with ProcessPoolExecutor(
            tagger.workers,
            multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(bundle, runtime, tagger.identity, tagger.thresholds),
        ) as pool:
            try:
                loading = [pool.submit(os.getpid) for _ in range(tagger.workers)]
                yield from tag_in_order(threads, tagger.tag, _until_done(loading, waiting), tagger.workers, answers)
                yield from tag_in_order(pool, _tag, waiting, tagger.workers, answers)
            except BrokenProcessPool:
                raise TaggerError(
                    "a tagging process ended before its work was done, perhaps for lack of memory; "
                    "give it more, or tag less at a time"
                ) from None


def _until_done(
    loading: list[Future[int]], groups: Iterator[tuple[Along, list[str]]]
) -> Iterator[tuple[Along, list[str]]]:
    """Yield groups while any process is still loading its bundle."""
    while not all(future.done() for future in loading) and (group := next(groups, None)) is not None:
        yield group


_tagger: Tagger | TaggerError  # the tagger of this process, in the processes of a pool; or why there is none


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
            reason = "was replaced while it was in use; keep a bundle until the work with it has ended"
            _tagger = BundleError(f"{bundle}: {reason}")
    except TaggerError as error:  # an error in here would break the pool, without a word why
        _tagger = BundleError(f"{bundle}: no longer loads, as it did at the start: {error}")


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tag(texts: list[str], answers: bool) -> list[Result]:
    if isinstance(_tagger, TaggerError):
        raise _tagger
    return _tagger.tag(texts, answers)
