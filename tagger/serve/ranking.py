"""Compare the texts of a queue by the certainty of their predictions, in the background."""

import threading

from tagger.pipeline import Tagger
from tagger.serve.queue import TextQueue

# A batch is one call of the tagger: small, so that requests do not wait for it.
_BATCH_CHARACTERS, _BATCH_TEXTS = 4_000, 64


class Ranking:
    """A thread that tags the open texts of a queue and sets their certainties.

    Args:
        queue: Whose texts are compared.

    Attributes:
        started: Set once the first texts have been compared, or none are left.
    """

    def __init__(self, queue: TextQueue) -> None:
        self.queue, self.started = queue, threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tagger: Tagger) -> None:
        """Compare all open texts with this tagger; a comparison under way is given up."""
        self.stop()
        self.queue.start_ranking()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(tagger, self._stopped), name="ranking", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch that is being tagged."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _run(self, tagger: Tagger, stopped: threading.Event) -> None:
        try:
            self._rank_all(tagger, stopped)
        finally:
            self.started.set()

    def _rank_all(self, tagger: Tagger, stopped: threading.Event) -> None:
        while not stopped.is_set() and (batch := self.queue.to_rank(_BATCH_CHARACTERS, _BATCH_TEXTS)):
            indices, texts = zip(*batch, strict=True)
            results = tagger.tag(list(texts), certainty=True)
            self.queue.rank(indices, [result.certainty or 0.0 for result in results])
            self.started.set()
