"""The queue of texts to correct: what is done, what was skipped, and which text is next, the least certain first."""

import hashlib
import json
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tagger import corpus
from tagger.documents import Document, Notes
from tagger.errors import CorpusError, OutputError
from tagger.files.outputs import write_json
from tagger.formats.native import parse, to_native

_ID_BYTES = 16


def id_of(text: str) -> str:
    """Return what a text is called in requests: the same in every run, whatever file it stands in."""
    return _digest(text).hex()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).digest()


class Counts(NamedTuple):
    """Numbers of texts in the queue: all, corrected, skipped and not corrected since, compared by certainty."""

    total: int
    done: int
    skipped: int
    ranked: int


class TextQueue:
    """Texts to correct, each once; thread-safe.

    A text is done when a document with the same text is in the corpus file of corrections. Of the others, the least
    certain is next, and skipped ones come last. The text that was offered stays the next one until it is saved or
    skipped. Which texts were skipped and which was offered is kept beside the corrections, in `NAME.queue`, so that a
    restarted server goes on in the same place.

    The texts lie in a temporary file; memory holds about 150 bytes for each.

    Args:
        documents: Texts and the entities to start from, read once.
        saved: The corpus file of corrections.
        longest: Longest text that the server accepts, in characters.

    Attributes:
        left_out: How many texts are not offered, by reason: "blank", "repeated", "too long".
        warning: Why the places could not be kept; "" if they could.

    Raises:
        CorpusError: If a text, a correction or the file of places cannot be read.
    """

    def __init__(self, documents: Iterable[Document], saved: Path, longest: int) -> None:
        self.left_out: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._offsets = array("Q")
        self._index: dict[bytes, int] = {}  # of each text, by digest
        try:
            for document in documents:
                self._add(document, longest)
            self._begin(saved)
        except BaseException:
            self._spool.close()
            raise

    def _begin(self, saved: Path) -> None:
        """Set where every text stands, after all have been read."""
        size = len(self._offsets)
        self._certainty = np.full(size, np.inf)  # inf: not computed yet
        self._open = np.ones(size, bool)  # neither done nor skipped
        self._ranked = np.zeros(size, bool)
        self._done: dict[int, None] = {}  # in the order of saving
        self._skipped: dict[int, None] = {}  # in the order of skipping
        self._handled: dict[int, None] = {}  # both, in the order in which they were left
        self._corrected: set[bytes] = set()  # digests of all corrected texts, of other queues too
        self.warning = ""
        self._places = saved.with_name(f"{saved.name}.queue")
        self._place: int | None = None
        self._learnt = 0
        self._restore(saved)

    def _add(self, document: Document, longest: int) -> None:
        digest = _digest(document.text)
        if not document.text.strip():
            self.left_out["blank"] += 1
        elif len(document.text) > longest:
            self.left_out["too long"] += 1
        elif digest in self._index:
            self.left_out["repeated"] += 1
        else:
            self._index[digest] = len(self._offsets)
            self._offsets.append(self._spool.tell())
            self._spool.write(to_native(document.text, document.entities).encode("utf-8") + b"\n")

    def close(self) -> None:
        """Delete the temporary file."""
        with self._lock:
            self._spool.close()

    # ---- the texts ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._offsets)

    def document(self, index: int) -> Document:
        """Return a text with the entities that the queue's file gives it."""
        with self._lock:
            self._spool.seek(self._offsets[index])
            return parse(json.loads(self._spool.readline()), "queue", Notes())

    def find(self, text_id: str) -> int | None:
        """Return the index of a text by its id, None if there is no such text."""
        try:
            return self._index.get(bytes.fromhex(text_id))
        except ValueError:
            return None

    # ---- places -------------------------------------------------------------------------------------------------

    def next(self) -> int | None:
        """Return the index of the text to correct now, None if all are done."""
        with self._lock:
            if self._place is None or self._place in self._done:
                self._place = self._choose()
                self._keep_places()
            return self._place

    def _choose(self) -> int | None:
        if self._open.any():
            certainty = np.where(self._open, self._certainty, np.inf)
            best = int(certainty.argmin())
            return best if np.isfinite(certainty[best]) else int(self._open.argmax())
        return next(iter(self._skipped), None)

    def before(self, index: int | None) -> int | None:
        """Return the text that was saved or skipped before this one; before an open one or None, the last such text."""
        with self._lock:
            handled = [other for other in self._handled if other != self._place]
            at = handled.index(index) if index in self._handled and index != self._place else len(handled)
            return handled[at - 1] if at else None

    def after(self, index: int) -> int | None:
        """Return the text that was saved or skipped after this one; after the last, the text to correct now."""
        with self._lock:
            handled = [other for other in self._handled if other != self._place]
            at = handled.index(index) + 1 if index in handled else len(handled)
            return handled[at] if at < len(handled) else self.next()

    def is_done(self, index: int) -> bool:
        """Return whether a text has been corrected."""
        return index in self._done

    def skip(self, index: int) -> None:
        """Put a text last; one that is done stays done."""
        with self._lock:
            if index in self._done:
                return
            self._skipped.pop(index, None)
            self._skipped[index] = None
            self._leave(index)
            self._keep_places()

    def save(self, text: str) -> None:
        """Note that a document with this text has been saved."""
        with self._lock:
            if self._finish(text):
                self._keep_places()

    def _finish(self, text: str) -> bool:
        """Count a corrected text; return whether it is one of the queue that was not done."""
        digest = _digest(text)
        self._corrected.add(digest)
        index = self._index.get(digest)
        if index is None or index in self._done:
            return False
        self._skipped.pop(index, None)
        self._done[index] = None
        self._leave(index)
        return True

    def _leave(self, index: int) -> None:
        self._open[index] = False
        self._handled.pop(index, None)
        self._handled[index] = None
        if self._place == index:
            self._place = None

    # ---- certainty ----------------------------------------------------------------------------------------------

    def start_ranking(self) -> None:
        """Forget which texts have been compared; their certainties hold until they are replaced."""
        with self._lock:
            self._ranked[:] = False

    def to_rank(self, characters: int, texts: int) -> list[tuple[int, str]]:
        """Return texts that are open and not compared yet, with their indices; empty if there are none.

        Those that were skipped come in the order in which they were skipped, and are not compared.

        Args:
            characters: Of all of them together, about.
            texts: At most.
        """
        with self._lock:
            waiting = np.flatnonzero(~self._ranked & self._open)
            batch: list[tuple[int, str]] = []
            size = 0
            for index in waiting[:texts].tolist():
                text = self.document(index).text
                if batch and size + len(text) > characters:
                    break
                batch.append((index, text))
                size += len(text)
            return batch

    def rank(self, indices: Sequence[int], certainties: Sequence[float]) -> None:
        """Set the certainties of some texts."""
        with self._lock:
            self._certainty[list(indices)] = certainties
            self._ranked[list(indices)] = True

    # ---- counts -------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """The numbers of texts."""
        with self._lock:
            return Counts(len(self), len(self._done), len(self._skipped), int((self._ranked | ~self._open).sum()))

    @property
    def corrected(self) -> int:
        """The number of distinct texts in the corpus file of corrections."""
        return len(self._corrected)

    @property
    def not_learnt(self) -> int:
        """The number of corrected texts since the last training from this page."""
        return max(self.corrected - self._learnt, 0)

    def set_learnt(self, corrected: int) -> None:
        """Note that a tagger has been trained on so many corrected texts."""
        with self._lock:
            self._learnt = corrected
            self._keep_places()

    # ---- what is kept -------------------------------------------------------------------------------------------

    def _restore(self, saved: Path) -> None:
        for text in corpus.texts(saved, "jsonl"):
            self._finish(text)
        kept = _read_places(self._places)
        self._learnt = kept["learnt"]
        for text_id in kept["skipped"]:
            index = self.find(text_id)
            if index is not None and index not in self._done:
                self._skipped[index] = None
                self._leave(index)
        place = self.find(kept["place"])
        self._place = None if place in self._done else place

    def _keep_places(self) -> None:
        ids = list(self._index)
        skipped = [ids[index].hex() for index in self._skipped]
        place = "" if self._place is None else ids[self._place].hex()
        try:
            write_json(self._places, {"place": place, "skipped": skipped, "learnt": self._learnt})
            self.warning = ""
        except OutputError as error:
            self.warning = str(error)


def _read_places(path: Path) -> dict[str, Any]:
    """Return what `TextQueue` wrote beside the corrections."""
    fresh: dict[str, Any] = {"place": "", "skipped": [], "learnt": 0}
    if not path.exists():
        return fresh
    try:
        kept = json.loads(path.read_text("utf-8"))
        if not all(type(kept[key]) is type(value) for key, value in fresh.items()):
            raise TypeError
        if not all(isinstance(text_id, str) for text_id in kept["skipped"]):
            raise TypeError
    except (OSError, ValueError, TypeError, KeyError) as error:
        expected = "the places that tagger serve --queue keeps"
        raise CorpusError(str(path), expected, "something else", "delete it; nothing that was saved is lost") from error
    return {key: kept[key] for key in fresh}
