"""Files by their path, or by the URI of a remote file system: s3://, gs://, hdfs://, file://; by pyarrow, an extra."""

import functools
import io
import os
import re
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from tagger.errors import ConfigError, require

_URI = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")

_BUFFER = 1 << 22  # bytes that are asked for at once


def is_uri(path: str | Path) -> bool:
    """Return whether a path is a URI."""
    return isinstance(path, str) and _URI.match(path) is not None


def file_system(uri: str) -> tuple[Any, str]:
    """Return the file system of a URI, as `pyarrow.fs` has it, and the path there.

    Raises:
        ConfigError: If there is none for its scheme.
        MissingExtraError: If pyarrow is not installed.
    """
    parts = urlsplit(uri)
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
