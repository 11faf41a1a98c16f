"""What is written: where it may go, what it may replace; written whole or not at all, by one process at a time."""

import contextlib
import errno
import fcntl
import gzip
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tagger.errors import OutputError
from tagger.files import sha256

# The list of a folder's files and their SHA-256. A bundle's manifest is one too.
LISTING, MANIFEST = ".tagger-files.json", "manifest.json"

_CLUTTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what systems add to folders that are looked at

_SYNCED = 1000  # files that are synced one by one; where there are more, all of the system's are synced at once


# ---- what may be written, and where -------------------------------------------------------------------------------
def check_writable(out: Path, replace: bool, inputs: Iterable[Path | str | None] = (), folder: bool = False) -> None:
    """Check, before any work is done, that a result can be written to `out` and destroys nothing.

    Args:
        out: File or folder to write. A device or a pipe may be written to, but not replaced by a folder.
        replace: Whether an existing one may be replaced; a folder only if it holds nothing but what was written by
            this package, as its list of files says.
        inputs: Files and folders that are read meanwhile; they are never replaced, whatever name they go by.
        folder: Whether a folder is written. Folders above it are created; those above a file must exist.

    Raises:
        OutputError: If it cannot be written there, or must not.
    """
    out = Path(out)
    if _is_stream(out):
        if folder:
            _refuse_stream(out)
        return
    for given in inputs:
        if given is not None and _holds(out, Path(given)):
            raise OutputError(f"{out}: is read by this command ({given}); choose another name")
    if out.exists() and out.is_dir() != folder:
        kind, expected = ("folder", "file") if out.is_dir() else ("file", "folder")
        raise OutputError(f"{out}: is a {kind}, and a {expected} is to be written; choose another name")
    if out.exists() and folder and (stranger := _stranger(out)):
        raise OutputError(
            f"{out}: exists already and holds {stranger}, which was not written by tagger; choose another name"
        )
    if os.path.lexists(out) and not replace:
        raise OutputError(f"{out}: exists already; choose another name, or add --force to replace it")
    parent = _parent(_target(out), folder)
    if not parent.exists():
        raise OutputError(f"{out}: cannot be written: there is no folder {parent}; create it, or choose another name")
    with _writable(out):
        tempfile.TemporaryFile(dir=parent).close()


def same_file(one: Path, other: Path) -> bool:
    """Return whether two names lead to one file or folder, through links too, or will when it is written."""
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


def check_outputs(outs: Mapping[str, Path | None], replace: bool, inputs: Iterable[Path | str | None] = ()) -> None:
    """Check the files that one command writes, before any work is done: each of them, and that no two are the same.

    Args:
        outs: What the user calls each of them, such as an option, and its path; None for those that are not wanted.
        replace, inputs: As for `check_writable`.

    Raises:
        OutputError: If one cannot or must not be written, or two names or links lead to one file.
    """
    given, wanted = list(inputs), [(name, Path(out)) for name, out in outs.items() if out]
    for (name, out), (other_name, other) in itertools.combinations(wanted, 2):
        if same_file(out, other) and not _is_stream(out):
            raise OutputError(f"{out}: {name} and {other_name} would both be written there; choose different files")
    for _, out in wanted:
        check_writable(out, replace, given)


def _is_stream(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


def _refuse_stream(path: Path) -> None:
    """Raise `OutputError` if a path is a device or a pipe: it must not be renamed, or another put in its place."""
    if _is_stream(path):
        raise OutputError(f"{path}: is a device or a pipe, which cannot hold this; choose another name")


def _holds(out: Path, given: Path) -> bool:
    """Return whether writing to an existing `out` would destroy an input: one is the other, or lies in it."""
    if not (out.exists() and given.exists()):
        return False
    written, read = out.resolve(), given.resolve()
    return same_file(out, given) or written in read.parents or (read in written.parents and given.is_dir())


def _target(path: Path) -> Path:
    """Return what a symbolic link leads to: that is replaced, and the link stays."""
    return path.resolve() if path.is_symlink() else path


def _parent(path: Path, created: bool) -> Path:
    """Return the folder above; the first that exists, if those between are `created`."""
    parent = path.parent
    while created and not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent


# ---- folders and what they hold -----------------------------------------------------------------------------------
def listed_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that this package wrote into a folder, by its path there; empty if unknown."""
    for name in (MANIFEST, LISTING):
        with contextlib.suppress(OSError, ValueError):
            listing = json.loads((folder / name).read_text("utf-8"))
            if isinstance(listing, dict) and "tagger" in listing and isinstance(listing.get("files"), dict):
                return {**listing["files"], name: ""}
    return {}


def damaged_file(folder: Path) -> str | None:
    """Return the name of a file of a folder that is missing or has changed since it was written; None if none has."""
    files = listed_files(folder)
    if not files:
        return LISTING
    for name, digest in files.items():
        try:
            if digest and sha256(folder / name) != digest:
                return name
        except OSError:
            return name
    return None


def _stranger(folder: Path) -> str | None:
    """Return the name of a file in a folder that is not in its list of files; None if there is none."""
    known = listed_files(folder)
    return next((name for name in _files_in(folder) if name not in known and name not in _CLUTTER), None)


def _files_in(folder: Path) -> Iterator[str]:
    """Yield the path of each file in a folder, links to folders included, relative to it."""
    for above, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in [*links, *names]:
            yield Path(above, name).relative_to(folder).as_posix()


def _list_files(folder: Path) -> None:
    """Write the list of a folder's files into it, unless it is a bundle, whose manifest is one."""
    if not (folder / MANIFEST).exists():
        files = {name: sha256(folder / name) for name in sorted(_files_in(folder))}
        (folder / LISTING).write_text(json.dumps({"tagger": 1, "files": files}, ensure_ascii=False), "utf-8")


# ---- whole or not at all ------------------------------------------------------------------------------------------
@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _temporary(path: Path) -> Path:
    """Return a name in the folder of `path` that no other process has, with the same suffixes."""
    return path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}.part.{path.name[-60:]}")


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk, so that a name never appears before its content."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(opened)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file that becomes `path` if the block succeeds and is deleted if it fails.

    Raises:
        OutputError: If it cannot be written.
    """
    _refuse_stream(path)
    target = _target(Path(path))
    part = _temporary(target)
    with _writable(path):
        try:
            yield part
            _sync(part)
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
            _sync(target.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block succeeds and is deleted if it fails.

    A list of its files is written into it.

    Raises:
        OutputError: If `path` exists and must not be replaced, as `check_writable` says, or cannot be written.
    """
    path = Path(path)
    check_writable(path, replace, folder=True)
    target = _target(path)
    temporary = _temporary(target)
    with _writable(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            _list_files(temporary)
            _sync_folder(temporary)
            check_writable(path, replace, folder=True)  # again: the work may have taken hours
            _take_place(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    files = list(_files_in(folder))
    if len(files) > _SYNCED:
        os.sync()
    else:
        for name in files:
            _sync(folder / name)
        _sync(folder)


def _take_place(new: Path, target: Path) -> None:
    """Rename a folder to `target`, in place of the folder that is there."""
    old = _temporary(target) if target.is_dir() else None
    if old:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old:
            old.rename(target)
        raise
    _sync(target.parent)
    if old:
        shutil.rmtree(old, ignore_errors=True)


def standard_output() -> BinaryIO:
    """Return standard output, for bytes.

    Raises:
        OutputError: If it is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output: is closed; give a file to write to with --out")
    return sys.stdout.buffer


@contextmanager
def open_output(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text to a file, or to standard output for None.

    The file appears only when it is complete, gzipped if its name ends in `.gz`; a device or a pipe is written to
    directly. What UTF-8 cannot encode becomes `?`.

    Raises:
        OutputError: If the file cannot be written, or standard output is closed.
    """
    if path is None:
        stdout = standard_output()
        yield lambda text: stdout.write(text.encode("utf-8", "replace"))
        stdout.flush()
    elif _is_stream(path):
        with _writable(path), path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write
    else:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with atomic_file(path) as part, opened(part, "wt", encoding="utf-8", errors="replace", newline="\n") as file:
            yield file.write


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write a JSON file, completely or not at all; on one line unless `indent` is given.

    Raises:
        OutputError: If it cannot be written.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    if re.search("[\ud800-\udfff]", text):  # names of files need not be UTF-8
        text = json.dumps(content, indent=indent)
    with atomic_file(path) as part:
        part.write_text(f"{text}\n" if indent else text, "utf-8")


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, completely or not at all; when this returns, it is on disk.

    A last line that has no line end gets one first.

    Raises:
        OSError: If it could not be written; the file is then as before.
    """
    content = (line + "\n").encode("utf-8")
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            content = content if file.read(1) == b"\n" else b"\n" + content
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


# ---- one process at a time ----------------------------------------------------------------------------------------
@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a path, which one process at a time may have; it ends with the process, however that ends.

    The lock is a file beside `path`, `.NAME.lock`, with the number of the process; it is deleted at the end. Where the
    file system has no locks, nothing is locked; nor is a device or a pipe.

    Args:
        path: What is written: it need not exist, but is created with the folders above it.
        what: What the process does there, for the error of another: "training".

    Raises:
        OutputError: If another process has the lock, or the file cannot be written.
    """
    if _is_stream(path):
        yield
        return
    file = path.with_name(f".{path.name}.lock")
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = _acquire(file, f"{path}: another {what} is under way there")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is locked: no other process can have it
        os.close(opened)


def _acquire(file: Path, refusal: str) -> int:
    """Return the descriptor of a lock file that this process has locked."""
    while True:
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(opened, 20).decode("ascii", "replace")
            os.close(opened)
            process = f" (process {holder})" if holder else ""
            raise OutputError(f"{refusal}{process}; wait for its end, or choose another name") from None
        except OSError:
            return opened  # no locks here
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), file.stat()):
                os.ftruncate(opened, 0)
                os.write(opened, str(os.getpid()).encode())
                return opened
        os.close(opened)  # deleted by the process that had it
