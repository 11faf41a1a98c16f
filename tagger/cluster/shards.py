"""One shard at a time, in a worker's process: read, tagged, and written to a file of its own."""

import hashlib
import io
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tagger.cluster.journal import Report
from tagger.cluster.manifest import faults_name, results_name
from tagger.cluster.plan import Shard, ShardPart
from tagger.cluster.storage import Storage
from tagger.documents import Notes
from tagger.errors import CorpusError, TaggerError
from tagger.files import Part, lines_between
from tagger.files.reading import read_as
from tagger.files.remote import size_and_time
from tagger.formats.records import dumps
from tagger.pipeline import Tagger
from tagger.prediction import Prediction
from tagger.prediction.inputs import Errors, Inputs, Stretch


class ChangedInputError(TaggerError):
    """An input is not as it was planned."""


@dataclass(frozen=True)
class Task:
    """How the shards of a run are tagged.

    Args:
        out: Path or URI of the folder of results.
        format: Name of the format of the results.
        runtime: Of the tagger.
        errors, source_key: As for `Inputs`.
        encoding, column: As for `read_as`.
    """

    out: str
    format: str
    runtime: str
    errors: Errors
    source_key: str
    encoding: str
    column: str


class _UncountedError(Exception):
    """A message would name a line of a file whose lines before it are not counted."""


class ShardTagger:
    """Tags shards with one tagger.

    Args:
        tagger: With one worker.
        task: What is to be done.
    """

    def __init__(self, tagger: Tagger, task: Task) -> None:
        self._tagger, self._task, self._storage = tagger, task, Storage(task.out)
        self._lines = ("", 0, 0)  # a file, a byte of it, and the lines before that

    def tag(self, shard: Shard) -> Report:
        """Tag a shard, write its results whole or not at all, and return the report on it.

        Raises:
            TaggerError: If it cannot be read or written.
        """
        begin = time.monotonic()
        task, paths = self._task, [one.input.path for one in shard.parts]
        for one in shard.parts:
            if _size_and_time(one.input.path) != (one.input.size, one.input.changed):
                raise ChangedInputError(f"{one.input.path}: has changed since this run was planned; begin again")
        with read_as(paths, task.encoding, task.column, lenient=task.errors != "stop"):
            counted = self._lines[0] in paths or not any(map(_begins_within, shard.parts))
            try:
                return self._tag(shard, begin, counted)
            except (_UncountedError, CorpusError):
                if counted:
                    raise
                return self._tag(shard, begin, counted=True)

    def _tag(self, shard: Shard, begin: float, counted: bool) -> Report:
        """Tag a shard; its lines have their numbers in the file if `counted`, which only messages need."""
        task, notes = self._task, Notes()
        before = sum(self._tagger.gazetteer.cut.values()) if self._tagger.gazetteer else 0
        run = Prediction(self._tagger, Path(), task.runtime, task.format, None, False, notes)
        with ExitStack() as stack:
            results = _Hashed(stack.enter_context(self._storage.writing(results_name(shard.number, task.format))))
            faults: IO[bytes] | None = None

            def write_fault(fault: dict[str, Any]) -> None:
                nonlocal faults
                if not counted:
                    raise _UncountedError
                faults = faults or stack.enter_context(self._storage.writing(faults_name(shard.number)))
                faults.write((dumps(fault) + "\n").encode("utf-8", "backslashreplace"))

            stretches = [Stretch(one.input.path, one.input.format, one.part) for one in shard.parts]
            if counted:
                stretches = [self._with_lines(one) for one in stretches]
            run.run(Inputs((), stretches, "", task.errors, task.source_key), results.write, write_fault)
            results.flush()
        if self._tagger.gazetteer and (cut := sum(self._tagger.gazetteer.cut.values()) - before):
            notes["ignored: mentions of the gazetteer that words cut"] += cut
        return Report(
            shard.number, run.texts, run.characters, run.entities, run.faults, results.bytes, results.sha256,
            round(time.monotonic() - begin, 3), {kind: count for kind, count in notes.items() if count},
            task.errors if run.faults else "",
        )  # fmt: skip

    def _with_lines(self, stretch: Stretch) -> Stretch:
        """Return a stretch with the number of lines before it: counted from the last place where it was known."""
        part = stretch.part
        if not part or not part.start or stretch.format == "parquet":
            return stretch
        path, place, lines = self._lines
        if path != stretch.path or place > part.start:
            place = lines = 0
        # To the last byte but one before the part: the line to which the last one belongs begins before the part.
        last = part.start - 1
        try:
            lines += lines_between(stretch.path, place, last)
        except OSError as error:
            raise CorpusError(stretch.path, "a readable file", str(error), "check the file") from error
        self._lines = (stretch.path, last, lines)
        return replace(stretch, part=Part(part.start, part.stop, lines + 1))


def _begins_within(one: ShardPart) -> bool:
    """Return whether a part begins within a file of lines, whose numbers there are not known."""
    return one.part is not None and one.part.start > 0 and one.input.format != "parquet"


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        return size_and_time(path)
    except OSError as error:
        raise CorpusError(path, "a readable file", error.strerror or str(error), "check the path") from error


class _Hashed:
    """Text that is written to a file in pieces, counted and hashed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self._waiting: list[str] = []
        self.bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, text: str) -> None:
        self._waiting.append(text)
        if len(self._waiting) == io.DEFAULT_BUFFER_SIZE // 16:
            self.flush()

    def flush(self) -> None:
        content = "".join(self._waiting).encode("utf-8", "replace")
        self._waiting.clear()
        self._file.write(content)
        self._digest.update(content)
        self.bytes += len(content)
