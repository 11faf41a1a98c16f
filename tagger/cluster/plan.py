"""The plan of a cluster's run: its input in shards, each of about half a minute's work, in a file that is streamed.

Lines of JSON: what the run is; each input with its format, size, time of change and hash, before the first shard that
has a part of it; each shard; and how many there are.

    {"tagger": "0.2.0", "plan": 1, "run": {...}}
    {"path": "a.jsonl", "format": "jsonl", "size": 9000000, "changed": 17..., "sha256": "..."}
    {"shard": 0, "bytes": 8388608, "parts": [[0, 0, 8388608]]}
    {"shard": 1, "bytes": 611392, "parts": [[0, 8388608, 12582912]]}
    {"inputs": 1, "shards": 2, "bytes": 9000000}

A part is the number of an input and a range: of bytes where its records are lines, of row groups where it is Parquet;
without a range it is all of the input.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import IO, Any, TypeVar

from tagger import __version__, corpus
from tagger.cluster.storage import Storage
from tagger.errors import CorpusError, OutputError
from tagger.files import CHUNK, Part
from tagger.files.remote import size_and_time
from tagger.formats import FORMATS
from tagger.prediction.checkpoints import difference, fingerprint

PLAN, PLAN_START = "plan.jsonl", b'{"tagger": '

SHARD = 2 * CHUNK  # bytes of a shard: about 3 million characters, which take a core half a minute

_SHARDS = 4  # for each worker at least, where there is enough text

_MOST_PARTS = 1_000  # of a shard

_AHEAD = 16  # inputs that are looked at side by side

_Given = TypeVar("_Given")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Input:
    """A file of the input.

    Args:
        path: Its path or URI.
        format: Name of its format.
        size, changed, sha256: As `fingerprint` returns them.
    """

    path: str
    format: str
    size: int
    changed: int
    sha256: str


@dataclass(frozen=True)
class ShardPart:
    """A part of an input; `part` is None for all of it."""

    input: Input
    part: Part | None


@dataclass(frozen=True)
class Shard:
    """What one worker tags at a time, into one file.

    Args:
        number: From 0, in the order of the input.
        bytes: Of its input.
        parts: What it consists of, in order.
    """

    number: int
    bytes: int
    parts: tuple[ShardPart, ...]


# ---- making it ----------------------------------------------------------------------------------------------------
def write_plan(storage: Storage, run: dict[str, Any], paths: Sequence[str], format: str, workers: int) -> None:
    """Write the plan of a run, whole or not at all.

    Args:
        storage: Where.
        run: What the run is, in JSON: it is resumed only by one of the same.
        paths: The files of the input, in order.
        format: Of all of them; detected if empty.
        workers: That there are about; a small input has several shards for each.

    Raises:
        CorpusError: If an input cannot be read.
        OutputError: If the plan cannot be written.
    """
    total = sum(size for size, _ in _side_by_side(lambda path: _read(path, size_and_time), paths))
    with storage.writing(PLAN) as file:
        _write_line(file, {"tagger": __version__, "plan": 1, "run": run})
        shards = _Shards(file, total, workers)
        looked_at = _side_by_side(lambda path: _look_at(path, format), paths)
        for number, (input, parts) in enumerate(looked_at):
            _write_line(file, asdict(input))
            for part, bytes in parts:
                shards.add(number, part, bytes)
        shards.end()
        _write_line(file, {"inputs": len(paths), "shards": shards.count, "bytes": total})


def _look_at(path: str, format: str) -> tuple[Input, Iterator[tuple[Part | None, int]]]:
    """Return an input and its parts, as `corpus.parts` does."""
    known = _read(path, fingerprint)
    name, parts = corpus.parts(path, format, known["size"])
    if FORMATS[name].folder and not FORMATS[name].binary:
        raise CorpusError(path, "a file", f"a folder of {name}", "convert it to jsonl: tagger convert")
    return Input(path, name, **known), parts


class _Shards:
    """The shards of a plan that is written: parts that follow each other, until they are enough.

    The last shards are the smallest that there can be, so that all workers end at about the same time.
    """

    def __init__(self, file: IO[bytes], total: int, workers: int) -> None:
        self._file, self._left, self._workers = file, total, workers
        self._enough = min(SHARD, total // (workers * _SHARDS))
        self._parts: list[list[int]] = []
        self._bytes = self.count = 0

    def add(self, number: int, part: Part | None, bytes: int) -> None:
        """Add a part of an input."""
        last = self._parts[-1] if self._parts else []
        if part and last[:1] == [number] and last[2] == part.start:
            last[2] = part.stop
        else:
            self._parts.append([number, part.start, part.stop] if part else [number])
        self._bytes += bytes
        self._left -= bytes
        is_last = self._left < self._workers * SHARD
        if self._bytes >= (min(CHUNK, self._enough) if is_last else self._enough) or len(self._parts) == _MOST_PARTS:
            self.end()

    def end(self) -> None:
        """End a shard, if one has begun."""
        if self._parts:
            _write_line(self._file, {"shard": self.count, "bytes": self._bytes, "parts": self._parts})
            self.count += 1
        self._parts, self._bytes = [], 0


def _write_line(file: IO[bytes], content: Any) -> None:
    file.write((json.dumps(content) + "\n").encode())


def _side_by_side(function: Callable[[_Given], _Answer], items: Iterable[_Given]) -> Iterator[_Answer]:
    """Yield what a function returns for each item, in order; some are asked ahead, for a remote file takes its time."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        asked: deque[Future[_Answer]] = deque()
        try:
            for item in items:
                asked.append(pool.submit(function, item))
                if len(asked) > 2 * _AHEAD:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read(path: str, what: Callable[[str], Any]) -> Any:
    try:
        return what(path)
    except OSError as error:
        raise CorpusError(path, "a readable file", error.strerror or str(error), "check the path") from error


# ---- reading it ---------------------------------------------------------------------------------------------------
class Plan:
    """A plan that is written; it is read anew each time, line by line.

    Args:
        storage: Where it is.

    Attributes:
        run: As given to `write_plan`.
        count: Number of shards.
        bytes: Of the input.

    Raises:
        OutputError: If it is damaged, or of another version.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        first = last = None
        for last in self._lines():
            first = first or last
        if not first or "run" not in first or not last or "shards" not in last:
            raise OutputError(f"{storage.path(PLAN)}: is damaged; give --force to begin again")
        if (first["tagger"], first["plan"]) != (__version__, 1):
            expected = f"of tagger {first['tagger']}, and this is {__version__}"
            raise OutputError(f"{storage.path(PLAN)}: is {expected}; go on with that version, or give --force")
        self.run: dict[str, Any] = first["run"]
        self.count, self.bytes = int(last["shards"]), int(last["bytes"])

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self._storage.opened(PLAN) as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:
                    raise OutputError(f"{self._storage.path(PLAN)}: is damaged; give --force to begin again") from None

    def inputs(self) -> Iterator[Input]:
        """Yield the files of the input, in order."""
        return (Input(**line) for line in self._lines() if "path" in line)

    def shards(self) -> Iterator[Shard]:
        """Yield the shards, in order."""
        inputs: dict[int, Input] = {}  # those that the present shard and later ones can have a part of
        count = 0
        for line in self._lines():
            if "path" in line:
                inputs[count] = Input(**line)
                count += 1
            elif "shard" in line:
                for number in [number for number in inputs if number < line["parts"][0][0]]:
                    del inputs[number]
                parts = (
                    ShardPart(inputs[number], Part(*bounds) if bounds else None) for number, *bounds in line["parts"]
                )
                yield Shard(line["shard"], line["bytes"], tuple(parts))

    def check(self, run: dict[str, Any]) -> None:
        """Check that it is the plan of the same run, of files that have not changed since.

        Raises:
            OutputError: If it is not.
        """
        again = "give --force instead of --resume to begin again"
        if differing := difference(self.run, run):
            raise OutputError(f"{self._storage.root}: the interrupted run differs in {differing}; {again}")
        for input, now in _side_by_side(lambda input: (input, _read(input.path, fingerprint)), self.inputs()):
            if now != {"size": input.size, "changed": input.changed, "sha256": input.sha256}:
                raise OutputError(f"{input.path}: has changed since this run was planned; {again}")
