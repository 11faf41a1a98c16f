"""The output of a long run, written so that an interrupted run goes on where it was, and ends with the same bytes.

Beside OUT stand, until the run has ended:

    OUT.part                what is written so far; whole up to the last line or so, and safe to read
    OUT.errors.jsonl.part   what could not be read so far; if there is anything
    OUT.predict.json        what the run is, and how far it is: saved every few seconds, when all before it is on disk

A run is cut at fixed places of its input (`boundary`), not at times, so that what is written does not depend on when it
was interrupted. A gzipped output is a sequence of members that are cut so too, which is a gzip file as well.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tagger import __version__
from tagger.errors import OutputError, exit_code
from tagger.files.outputs import locked, write_json
from tagger.files.remote import open_binary, size_and_time
from tagger.progress import say

_SECONDS = 2.0  # between checkpoints on disk

_MEMBER = 1 << 20  # bytes of a gzip member, before compression

_LEVEL = 6  # of compression

_TAIL = 4096  # bytes before a checkpoint that are compared when a run is resumed


def fingerprint(path: Path | str) -> dict[str, Any]:
    """Return what tells whether a file is still the same: size, time of change, and a hash of its head and tail.

    Raises:
        OSError: If it cannot be read.
    """
    size, changed = size_and_time(path)
    with open_binary(path) as file:
        digest = hashlib.sha256(file.read(1 << 16))
        file.seek(max(0, size - (1 << 16)))
        digest.update(file.read())
    return {"size": size, "changed": changed, "sha256": digest.hexdigest()}


class _Appended:
    """A file that is appended to and can be cut back to a checkpoint; gzipped in members.

    Args:
        path: Created when something is written, unless it is there.
        gzipped: Whether to gzip it.
        size: Bytes that are kept of the file that is there.

    Raises:
        OutputError: As all methods do, if it cannot be written.
    """

    def __init__(self, path: Path, gzipped: bool, size: int) -> None:
        self.path, self.size, self._gzipped = path, size, gzipped
        self._file: BinaryIO | None = None
        self._member: Any = None
        self._unzipped = 0  # bytes of the open member
        self.is_named = False  # whether `finish` has been
        if size or path.exists():
            self.cut(size)

    @property
    def is_between_members(self) -> bool:
        return self._member is None

    def write(self, content: bytes) -> None:
        if self._gzipped and content:
            self._member = self._member or zlib.compressobj(_LEVEL, wbits=31)
            self._unzipped += len(content)
            content = self._member.compress(content)
        self._append(content)

    def end_member(self, least: int) -> None:
        """End the open gzip member, if it has so many bytes."""
        if self._member and self._unzipped >= least:
            self._append(self._member.flush())
            self._member, self._unzipped = None, 0

    def _append(self, content: bytes) -> None:
        with self._writable():
            file, view = self._opened(), memoryview(content)
            while view:
                view = view[file.write(view) :]
            self.size += len(content)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        return self._file

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def cut(self, size: int) -> None:
        """Drop what was written after a place."""
        with self._writable():
            self._opened().truncate(size)
            self.size = size

    def sync(self) -> None:
        """Wait until all is on disk."""
        if self._file:
            with self._writable():
                os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file:
            self._file.close()

    def finish(self, path: Path) -> None:
        """Give the file its name."""
        if self._gzipped and not self.size and self.is_between_members:
            self._member = zlib.compressobj(_LEVEL, wbits=31)
        self.end_member(0)
        self._append(b"")
        self.sync()
        with self._writable():
            if path.exists():
                shutil.copymode(path, self.path)
            self._opened().close()
            self._file = None
            self.path.replace(path)
        self.is_named = True


class Checkpoints:
    """The output of a run, and how far it is.

    Args:
        out: Where the output is to be.
        run: What the run is, in JSON: a run is resumed only by one of the same.
        done: How far it is, as saved; empty at the start.

    Attributes:
        records: Records of the input that are done.
        faults: Faults that were written.
        notes: What was counted so far, by kind.

    Raises:
        OutputError: As all methods do, if something cannot be written.
    """

    def __init__(self, out: Path, run: dict[str, Any], done: dict[str, Any]) -> None:
        self._out, self._run = out, run
        self.records: int = done.get("records", 0)
        self.faults: int = done.get("faults", 0)
        self.notes: dict[str, int] = done.get("notes", {})
        self._saved_at, self._state, self._on_disk = time.monotonic(), done, self.records
        if not done:
            write_json(_record(out), {"tagger": __version__, "run": run, "done": {}})
        self._output = _Appended(_part(out), out.suffix == ".gz", done.get("bytes", 0))
        self._errors = _Appended(_part(errors_path(out)), False, done.get("error_bytes", 0))
        self._waiting: list[str] = []

    def write(self, text: str) -> None:
        """Append text to the output."""
        self._waiting.append(text)

    def fault(self, fault: dict[str, Any]) -> None:
        """Append a line to the file of what could not be read."""
        self.faults += 1
        self._errors.write((json.dumps(fault, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))

    def boundary(self, records: int, notes: dict[str, int]) -> None:
        """Mark a place at which a resumed run can go on.

        Args:
            records: Records of the input before it; all of their results have been written.
            notes: What was counted so far.
        """
        self._flush()
        self._output.end_member(_MEMBER)
        if self._output.is_between_members:
            self._state = {
                "records": records, "bytes": self._output.size, "error_bytes": self._errors.size,
                "faults": self.faults, "notes": dict(notes),
            }  # fmt: skip
            if time.monotonic() - self._saved_at > _SECONDS:
                self._save()

    def _flush(self) -> None:
        self._output.write("".join(self._waiting).encode("utf-8", "replace"))
        self._waiting.clear()

    def _save(self) -> None:
        """Save how far the run is, as of the last boundary."""
        self._output.sync()
        self._errors.sync()
        done = {**self._state, "tail": _tail(self._output.path, self._state["bytes"])}
        write_json(_record(self._out), {"tagger": __version__, "run": self._run, "done": done})
        self._saved_at, self._on_disk = time.monotonic(), done["records"]

    def finish(self) -> None:
        """Give the output its name."""
        self._flush()
        self._output.finish(self._out)
        if self.faults:
            self._errors.finish(errors_path(self._out))
        delete(self._out)

    def close(self) -> None:
        """Close the files."""
        self._output.close()
        self._errors.close()

    def abandon(self) -> str:
        """Save what is done, if anything is, else delete it; return what to tell the user of it."""
        if self._output.is_named:
            return ""  # nothing is left to be done
        if not self._state.get("records"):
            delete(self._out)
            return ""
        with contextlib.suppress(OutputError, OSError):
            self._output.cut(self._state["bytes"])  # which makes room, if there was none
            if self._errors.path.exists():
                self._errors.cut(self._state["error_bytes"])
            self._save()
        if not self._on_disk:
            return ""
        return f"{self._on_disk:,} records are done and kept in {self._output.path}: add --resume to continue"


# ---- beside the output --------------------------------------------------------------------------------------------
def _record(out: Path) -> Path:
    return out.with_name(f"{out.name}.predict.json")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def errors_path(out: Path) -> Path:
    """Return where what could not be read for an output is written."""
    return out.with_name(f"{out.name}.errors.jsonl")


def is_of_a_run(name: str, names: Container[str]) -> bool:
    """Return whether a file, by its name and those beside it, was written by a run beside its output."""
    base = name.removesuffix(".errors.jsonl")
    return name.endswith(".predict.json") or (base != name and (base in names or f"{base}.part" in names))


def _parts(out: Path) -> tuple[Path, Path]:
    return _part(out), _part(errors_path(out))


def delete(out: Path) -> None:
    """Delete what a run has left beside its output."""
    for path in (*_parts(out), _record(out)):
        path.unlink(missing_ok=True)


def _tail(path: Path, size: int) -> str:
    """Return the SHA-256 of the last bytes of a file that is cut to `size` bytes; "" if it is shorter."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        content = file.read(min(size, _TAIL))
        return hashlib.sha256(content).hexdigest() if len(content) == min(size, _TAIL) else ""
    return ""


def _interrupted(out: Path) -> dict[str, Any] | None:
    """Return what an interrupted run saved beside its output; None if there is none.

    Raises:
        OutputError: If something else has its names.
    """
    stranger = "exists, and no interrupted run left it; move it, or choose another --out"
    record = _record(out)
    try:
        saved = json.loads(record.read_text("utf-8"))
    except FileNotFoundError:
        if part := next((part for part in _parts(out) if os.path.lexists(part)), None):
            raise OutputError(f"{part}: {stranger}") from None
        return None
    except (OSError, ValueError):
        saved = None
    if not (isinstance(saved, dict) and saved.keys() == {"tagger", "run", "done"} and isinstance(saved["done"], dict)):
        raise OutputError(f"{record}: {stranger}")
    return saved


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the name of the first thing that differs between two runs; "" if nothing does."""
    for key in {**before, **now}:
        one, other = before.get(key), now.get(key)
        if one != other:
            inner = difference(one, other) if isinstance(one, dict) and isinstance(other, dict) else ""
            return f"{key} {inner}".strip()
    return ""


# ---- a run --------------------------------------------------------------------------------------------------------
@contextmanager
def checkpointed(out: Path, run: dict[str, Any], resume: bool, replace: bool) -> Iterator[Checkpoints]:
    """Yield the output of a run; it gets its name when the block has succeeded.

    If the block fails or is interrupted, what is done is kept, and how to go on is told.

    Args:
        out: File to write, gzipped if its name ends in `.gz`; locked meanwhile.
        run: What the run is, as for `Checkpoints`.
        resume: Whether to go on with an interrupted run, if there is one.
        replace: Whether to begin again where there is one.

    Raises:
        OutputError: If an interrupted run is there and neither is wanted, if it was another run, if something else has
            the names of what is kept beside the output, or if something cannot be written.
    """
    out = out.resolve() if out.is_symlink() else out
    with locked(out, "predict"):
        checkpoints = _start(out, run, resume, replace)
        try:
            yield checkpoints
            checkpoints.finish()
        except KeyboardInterrupt as interrupt:
            kept = checkpoints.abandon()
            say(f"tagger: interrupted{'; ' if kept else ''}{kept}")
            raise SystemExit(exit_code(interrupt)) from None
        except BaseException:
            if kept := checkpoints.abandon():
                say(f"tagger: {kept}")
            raise
        finally:
            checkpoints.close()


def _start(out: Path, run: dict[str, Any], resume: bool, replace: bool) -> Checkpoints:
    saved = _interrupted(out)
    if not (saved and saved["done"].get("records")):
        if saved:
            delete(out)
        return Checkpoints(out, run, {})
    done = saved["done"]
    if resume:
        _check_same(out, saved["run"], run, done)
        return Checkpoints(out, run, done)
    if not replace:
        raise OutputError(
            f"{out}: an interrupted run is kept beside it ({done['records']:,} records in {_part(out)}); "
            "add --resume to continue, or --force to begin again"
        )
    delete(out)
    return Checkpoints(out, run, {})


def _check_same(out: Path, before: dict[str, Any], run: dict[str, Any], done: dict[str, Any]) -> None:
    """Check that a run can be resumed by another.

    What is done about bad records may differ as long as there was none.
    """
    again = "give --force instead of --resume to begin again"
    if not done["faults"]:
        before = {**before, "errors": run["errors"]}
    if differing := difference(before, run):
        raise OutputError(f"{out}: the interrupted run differs in {differing}; {again}")
    if _tail(_part(out), done["bytes"]) != done["tail"]:
        raise OutputError(f"{_part(out)}: is not as the interrupted run left it; {again}")
    errors = _part(errors_path(out))
    if done["error_bytes"] and not (errors.is_file() and errors.stat().st_size >= done["error_bytes"]):
        raise OutputError(f"{errors}: is not as the interrupted run left it; {again}")
