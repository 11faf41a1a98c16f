"""Much text is tagged by processes side by side: threads wait for one another in the interpreter."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tagger.errors import TaggerError
from tagger.pipeline import Result, RuntimeName, Tagger, in_order
from tagger.text import grouped

_FEW = 20  # groups of texts that are tagged before it is worth while to start processes


def results(
    tagger: Tagger, bundle: Path, runtime: RuntimeName, texts: Iterable[str], answers: bool = True
) -> Iterator[Result]:
    """Yield a `Result` for each text, in order, in bounded memory, as `Tagger.results` does.

    Some 400,000 characters are tagged by threads of this process. If there are more, processes take over, as many as
    the tagger has workers, once each has loaded the bundle; but not from Keras, nor with a gazetteer, which counts
    what it passes over. They import the main module, as `multiprocessing` does.

    Args:
        tagger: As loaded from the bundle.
        bundle: The bundle's folder.
        runtime: As given to `Tagger.load`.
        texts: Any iterable; read as far as needed.
        answers: As for `Tagger.results`.

    Raises:
        TaggerError: If a process has ended before its work.
    """
    groups = grouped(texts, len)
    alone = tagger.workers == 1 or tagger.gazetteer or runtime == "keras"
    few = itertools.islice(groups, None if alone else _FEW)
    with ThreadPoolExecutor(tagger.workers) as threads:
        yield from in_order(threads, tagger.tag, few, tagger.workers, answers)
        if (first := next(groups, None)) is None:
            return
        groups = itertools.chain([first], groups)
        with ProcessPoolExecutor(
            tagger.workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(bundle, runtime)
        ) as pool:
            try:
                loading = [pool.submit(os.getpid) for _ in range(tagger.workers)]
                yield from in_order(threads, tagger.tag, _until_done(loading, groups), tagger.workers, answers)
                yield from in_order(pool, _tag, groups, tagger.workers, answers)
            except BrokenProcessPool:
                told = "a process that tags has ended before its work; was there too little memory?"
                raise TaggerError(told) from None


def _until_done(loading: list[Future[int]], groups: Iterator[list[str]]) -> Iterator[list[str]]:
    while not all(future.done() for future in loading) and (some := next(groups, None)) is not None:
        yield some


_tagger: Tagger  # of a process


def _begin(bundle: Path, runtime: RuntimeName) -> None:
    """Load the tagger of a process, which ends when its parent does, and not by its own interrupt."""
    global _tagger
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tagger = Tagger.load(bundle, runtime, workers=1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tag(texts: list[str], answers: bool) -> list[Result]:
    return _tagger.tag(texts, answers)
