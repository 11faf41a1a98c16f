"""Where the results of a cluster's run are kept: a folder, local or remote, whose files are written whole."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tagger.errors import OutputError
from tagger.files.outputs import atomic_file
from tagger.files.remote import file_system, is_uri, open_binary


class Storage:
    """A folder of results. Names in it are relative, with `/` between their parts.

    Args:
        root: Path of a folder, or its URI.

    Attributes:
        folder: The folder where it is a local one; None for a URI.
    """

    def __init__(self, root: str) -> None:
        self.root = root if is_uri(root) else os.path.abspath(root)
        self.folder = None if is_uri(root) else Path(self.root)

    def path(self, name: str) -> str:
        """Return the path or the URI of a name."""
        base, query, more = self.root.partition("?")
        return f"{base.rstrip('/')}/{name}{query}{more}"

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None if there is none."""
        try:
            with self.opened(name) as file:
                return file.read()
        except FileNotFoundError:
            return None

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Raises:
            FileNotFoundError: If there is none.
            OutputError: If it cannot be read.
        """
        try:
            with open_binary(self.path(name)) as file:
                yield file
        except FileNotFoundError:
            raise
        except OSError as error:
            raise OutputError(f"{self.path(name)}: cannot be read: {error.strerror or error}") from error

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a file that gets its name when the block succeeds; nothing is left of it when it fails.

        An object store has no names that change: there the file is written on the local disk first. What breaks off
        while it is sent may be there in part; that it is whole is for the journal to say.

        Raises:
            OutputError: If it cannot be written.
        """
        if self.folder:
            target = self.folder / name
            with self.writable(name):
                target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(target) as part, part.open("wb") as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            system, path = file_system(self.path(name))
            with self.writable(name):
                system.create_dir(path.rpartition("/")[0], recursive=True)
                with system.open_output_stream(path) as stream:
                    shutil.copyfileobj(file, stream, 1 << 20)

    @contextmanager
    def writable(self, name: str) -> Iterator[None]:
        """Name the file in an error of the block that writes it.

        Raises:
            OutputError: In place of `OSError`.
        """
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.path(name)}: cannot be written: {error.strerror or error}") from error

    def sizes(self, folder: str) -> dict[str, int | None]:
        """Return the names in a folder, and the bytes of each that is a file; empty if there is no such folder."""
        if self.folder:
            found: dict[str, int | None] = {}
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path(folder)) as entries:
                for one in entries:
                    with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                        found[one.name] = one.stat().st_size if one.is_file() else None
            return found
        from pyarrow.fs import FileSelector

        system, path = file_system(self.path(folder))
        infos: list[Any] = system.get_file_info(FileSelector(path, allow_not_found=True))
        return {info.base_name: info.size if info.is_file else None for info in infos}

    def delete(self, name: str) -> None:
        """Delete a file or a folder with all that is in it, if it is there."""
        if not self.folder:
            system, path = file_system(self.path(name))
            with contextlib.suppress(FileNotFoundError):
                system.delete_dir(path) if not system.get_file_info(path).is_file else system.delete_file(path)
        elif (self.folder / name).is_dir():
            shutil.rmtree(self.folder / name)
        else:
            (self.folder / name).unlink(missing_ok=True)
