"""The journal of a cluster's run: a line of JSON for each shard that is done. It is what says that a shard is done.

In a local folder it is `journal.jsonl`, which is appended to. An object store has no appending: there it is a sequence
of objects `journal/000000.jsonl`, each with the lines of some seconds.
"""

import io
import json
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from tagger.cluster.storage import Storage

JOURNAL, SEGMENTS = "journal.jsonl", "journal"

_SECONDS = 2.0  # between the times at which lines are made safe


@dataclass(frozen=True)
class Report:
    """What a worker did for a shard.

    Args:
        shard: Its number.
        texts, characters, entities: Of the result.
        faults: Records that could not be read.
        bytes, sha256: Of the file of results.
        seconds: That it took the worker.
        notes: What the format could not hold, by kind.
        errors: What was done about the faults, as in `Inputs`; empty if there was none.
    """

    shard: int
    texts: int
    characters: int
    entities: int
    faults: int
    bytes: int
    sha256: str
    seconds: float
    notes: dict[str, int] = field(default_factory=dict)
    errors: str = ""


class Journal:
    """Which shards are done, and the reports on them. In memory are eight bytes for each shard.

    Args:
        storage: Where it is; one that is there is gone on with.
        shards: Number of all shards.
        guard: Called before lines are made safe; raises an error where another process has taken over.

    Attributes:
        done: Number of shards that are done.

    Raises:
        OutputError: If it cannot be read or written.
    """

    def __init__(self, storage: Storage, shards: int, guard: Callable[[], None] = lambda: None) -> None:
        self._storage, self._guard = storage, guard
        self._places = array("q", [-1]) * shards  # byte at which the line of a shard begins
        self.done, self._segments = 0, 0
        self._file = self._opened()
        self._size = self._safe = self._load()
        self._saved_at = time.monotonic()

    def _opened(self) -> IO[bytes]:
        """Return a local file with what is there of the journal."""
        if self._storage.folder:
            with self._storage.writable(JOURNAL):
                self._storage.folder.mkdir(parents=True, exist_ok=True)
                return open(self._storage.folder / JOURNAL, "a+b")
        file = tempfile.TemporaryFile()  # noqa: SIM115
        names = sorted(self._storage.sizes(SEGMENTS))
        for name in names:
            file.write(self._storage.read(f"{SEGMENTS}/{name}") or b"")
        self._segments = int(names[-1].partition(".")[0]) + 1 if names else 0
        return file

    def _load(self) -> int:
        """Read the lines that are there; return the size of those that are whole, to which the file is cut."""
        size = 0
        self._file.seek(0)
        for line in self._file:
            try:
                number = Report(**json.loads(line)).shard
                if not line.endswith(b"\n") or not 0 <= number < len(self._places):
                    break
                self._note(number, size)
            except (ValueError, TypeError):
                break
            size += len(line)
        self._file.truncate(size)
        self._file.seek(0, io.SEEK_END)
        return size

    def _note(self, number: int, place: int) -> None:
        self.done += self._places[number] < 0
        self._places[number] = place

    def is_done(self, number: int) -> bool:
        """Return whether a shard is done."""
        return self._places[number] >= 0

    def forget(self, number: int) -> None:
        """Take a shard for one that is not done: its file is not there."""
        self.done -= self.is_done(number)
        self._places[number] = -1

    def add(self, report: Report) -> None:
        """Add a shard that is done: in a local folder, safe at once from the end of this process.

        From a power cut, and in an object store, it is safe after `_SECONDS` and the next shard, or after `save`.
        """
        line = (json.dumps(asdict(report)) + "\n").encode()
        with self._storage.writable(JOURNAL):
            self._file.write(line)
            self._file.flush()
        self._note(report.shard, self._size)
        self._size += len(line)
        if time.monotonic() - self._saved_at >= _SECONDS:
            self.save()

    def save(self) -> None:
        """Make all lines safe."""
        self._saved_at = time.monotonic()
        if self._size == self._safe:
            return
        self._guard()
        with self._storage.writable(JOURNAL):
            self._file.flush()
            if self._storage.folder:
                os.fsync(self._file.fileno())
            else:
                with self._storage.writing(f"{SEGMENTS}/{self._segments:06d}.jsonl") as segment:
                    segment.write(os.pread(self._file.fileno(), self._size - self._safe, self._safe))
                self._segments += 1
        self._safe = self._size

    def reports(self) -> Iterator[Report]:
        """Yield the reports in the order of the shards; those that are not done are left out."""
        self.save()
        for place in self._places:
            if place >= 0:
                yield Report(**self._line(place))

    def _line(self, place: int) -> Any:
        line = b""
        while not line.endswith(b"\n") and (block := os.pread(self._file.fileno(), 4096, place + len(line))):
            line += block[: block.find(b"\n") + 1] or block
        return json.loads(line)

    def close(self) -> None:
        """Save and close it."""
        self.save()
        self._file.close()
