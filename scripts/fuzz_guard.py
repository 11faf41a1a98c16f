"""Confinement of what is fuzzed: nothing outside of one folder is created, changed or deleted, whatever goes wrong.

Python reports each operation on files to audit hooks before it is done. The hook of this module refuses those that
write elsewhere, so that a bug in the package cannot do to the machine what it is to be found doing.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Escape(BaseException):
    """Something outside of the folder was about to be written or deleted."""


# Operations, and which of their arguments are paths that they change.
_CHANGES = {
    "os.chmod": (0,), "os.chown": (0,), "os.link": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rename": (0, 1),
    "os.rmdir": (0,), "os.symlink": (1,), "os.truncate": (0,), "os.utime": (0,), "shutil.copyfile": (1,),
    "shutil.copymode": (1,), "shutil.copystat": (1,), "shutil.copytree": (1,), "shutil.move": (0, 1),
    "shutil.rmtree": (0,), "shutil.unpack_archive": (1,),
}  # fmt: skip

# Operations that are refused: they reach where the hook sees nothing.
_REFUSED = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_DIRECTORY_ARGUMENT = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2}  # where it holds the descriptor of a folder

_inside = ""  # the folder; empty while nothing is confined

_is_installed = False


@contextlib.contextmanager
def confined(folder: Path) -> Iterator[None]:
    """Raise `Escape` in any operation that would write or delete outside of `folder` while the block runs.

    Temporary files are made in the folder meanwhile. Descriptors that were opened before may be written to.
    """
    global _inside, _is_installed
    if not _is_installed:
        sys.addaudithook(_hook)  # for the rest of the process: it does nothing while nothing is confined
        _is_installed = True
    bytecode, temporary = sys.dont_write_bytecode, tempfile.tempdir
    sys.dont_write_bytecode, tempfile.tempdir = True, str(folder)
    _inside = os.path.realpath(folder)
    try:
        yield
    finally:
        _inside = ""
        sys.dont_write_bytecode, tempfile.tempdir = bytecode, temporary


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _inside:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING:
            _check(event, path)
    elif event in _CHANGES:
        at = _DIRECTORY_ARGUMENT.get(event)
        if at is not None and arguments[at] != -1:
            return  # within a folder that was opened: `shutil.rmtree`, which is checked by itself
        for number in _CHANGES[event]:
            _check(event, arguments[number], last=event not in ("open", "os.truncate", "shutil.copyfile"))
    elif event in _REFUSED:
        raise Escape(f"{event}{arguments!r}"[:500])


def _check(event: str, path: Any, last: bool = False) -> None:
    """Raise `Escape` if a path lies outside; of a link, it is what it leads to, unless it is the `last` part itself."""
    if isinstance(path, int):
        return
    whole = os.fsdecode(path)
    if last:
        whole = os.path.join(os.path.realpath(os.path.dirname(whole) or "."), os.path.basename(whole))
    else:
        whole = os.path.realpath(whole)
    if whole == _inside or whole.startswith(_inside + os.sep):
        return
    raise Escape(f"{event}: {whole}"[:500])
