"""Files by their path, or by the URI of a remote file system: s3://, gs://, hdfs://, file://; by pyarrow, an extra."""

import fnmatch
import functools
import glob
import io
import os
import re
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from tagger.errors import ConfigError, require

_URI = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")

_BUFFER = 1 << 22  # bytes that are asked for at once


def is_uri(path: str | Path) -> bool:
    """Return whether a path is a URI."""
    return isinstance(path, str) and _URI.match(path) is not None


def file_system(uri: str) -> tuple[Any, str]:
    """Return the file system of a URI, as `pyarrow.fs` has it, and the path there.

    Raises:
        ConfigError: If there is none for its scheme, or it holds a password: plans, manifests and messages show it.
        MissingExtraError: If pyarrow is not installed.
    """
    parts = urlsplit(uri)
    if "@" in parts.netloc and ":" in parts.netloc.rpartition("@")[0]:
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise ConfigError(f"{address}: holds a password, which others would see; set it in the environment instead")
    system, root = _root(parts.scheme, parts.netloc, parts.query)
    return system, f"{root.rstrip('/')}/{unquote(parts.path).lstrip('/')}"


@functools.lru_cache(maxsize=64)
def _root(scheme: str, place: str, query: str) -> tuple[Any, str]:
    arrow, fs = require("pyarrow", "cluster"), require("pyarrow.fs", "cluster")
    root = f"{scheme}://{place}/" + (f"?{query}" if query else "")
    try:
        system, path = fs.FileSystem.from_uri(root)
    except (arrow.ArrowException, OSError, ValueError) as error:
        shown = str(error).partition("\n")[0]
        raise ConfigError(f"{root}: no such file system ({shown}); one of s3, gs, hdfs, file") from error
    return system, str(path)


def open_binary(path: str | Path) -> IO[bytes]:
    """Open a local or a remote file for reading.

    Raises:
        OSError: If it cannot be read.
    """
    if not is_uri(path):
        return open(path, "rb")
    system, inner = file_system(str(path))
    return io.BufferedReader(_Remote(system.open_input_file(inner)), _BUFFER)


def size_and_time(path: str | Path) -> tuple[int, int]:
    """Return the bytes of a local or remote file, and when it was changed, in nanoseconds; 0 where that is not known.

    Raises:
        OSError: If there is no such file.
    """
    if not is_uri(path):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    system, inner = file_system(str(path))
    info = system.get_file_info(inner)
    if not info.is_file:
        raise FileNotFoundError(2, "No such file", str(path))
    return int(info.size), int(info.mtime_ns or 0)


def remote_files(uri: str) -> tuple[list[str], bool]:
    """Return the URIs of the files that one stands for, sorted, and whether it names one file.

    Args:
        uri: Of a file; of a folder, for all in it and in the folders below; or a pattern with `*`, `?` or `[...]`, none
            of which stands for a `/`.

    Raises:
        OSError: If there is no such file or folder, or it cannot be read.
    """
    from pyarrow.fs import FileSelector

    system, path = file_system(uri)
    parts = urlsplit(uri)
    root = _root(parts.scheme, parts.netloc, parts.query)[1].rstrip("/")
    if not glob.has_magic(path):
        if system.get_file_info(path).is_file:
            return [uri], True
        found = system.get_file_info(FileSelector(path, recursive=True))
    else:
        above = path[: re.search(r"[*?\[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        found = system.get_file_info(FileSelector(above or "/", recursive="/" in path[len(above) + 1 :]))
        found = [info for info in found if _matches(info.path, path)]
    query = f"?{parts.query}" if parts.query else ""
    start = f"{parts.scheme}://{parts.netloc}"
    paths = sorted(info.path for info in found if info.is_file)
    return [f"{start}/{quote(one.removeprefix(root).lstrip('/'))}{query}" for one in paths], False


def _matches(path: str, pattern: str) -> bool:
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


class _Remote(io.RawIOBase):
    """A file of `pyarrow.fs`, which has no `peek` and reads as little as it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
