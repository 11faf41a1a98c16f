""".zip files: the one data file of an annotation tool's export, read as it is unzipped; never unzipped to disk."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tagger.errors import CorpusError

LARGEST = 1 << 26  # bytes of a file that is read whole

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # the second where nothing is in it

# What else is a .zip: file inside, what it is.
_DOCUMENTS = {
    "xl/workbook.xml": "an Excel workbook, to be saved as CSV",
    "word/document.xml": "a Word document, to be saved as plain text",
    "mimetype": "an office document, to be saved as CSV or plain text",
}


def is_hidden(name: str) -> bool:
    """Return whether a path inside a folder is one that systems and tools add: `.name`, `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def is_zip(start: bytes) -> bool:
    """Return whether a file that starts like this is a .zip."""
    return start.startswith(_MAGIC)


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Report what is wrong with a .zip in one line."""
    try:
        yield
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, zlib.error, UnicodeError) as error:
        raise CorpusError(place, "a whole .zip file", str(error), "copy it again") from error
    except NotImplementedError as error:
        raise CorpusError(place, "a .zip file compressed with deflate", str(error), "zip it again") from error
    except RuntimeError as error:  # so zipfile reports what is encrypted
        raise CorpusError(place, "a .zip file without a password", str(error), "unzip it") from error


def members(archive: zipfile.ZipFile, place: str) -> list[zipfile.ZipInfo]:
    """Return the files in an archive by name, without those that systems add.

    Raises:
        CorpusError: If the archive is an office document, or a file of it is encrypted.
    """
    infos = archive.infolist()
    if not all(info.filename for info in infos):  # of which zipfile itself makes an IndexError
        raise CorpusError(place, "a whole .zip file", "one with a file without a name", "zip it again")
    found = [info for info in infos if not info.is_dir() and not is_hidden(info.filename)]
    names = {info.filename for info in found}
    for name, about in _DOCUMENTS.items():
        if name in names:
            raise CorpusError(place, "a corpus or text", about, 'see "tagger help formats"')
    if any(info.flag_bits & 1 for info in found):
        raise CorpusError(place, "a .zip file without a password", "an encrypted one", "unzip it")
    return sorted(found, key=lambda info: info.filename)


@contextmanager
def only_member(raw: IO[bytes], place: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name of the only data file in a .zip, and its bytes as they are unzipped.

    Raises:
        CorpusError: If there is none or more than one, or the archive cannot be read.
    """
    with readable(place), zipfile.ZipFile(raw) as archive:
        found = members(archive, place)
        if len(found) != 1:
            names = ", ".join(info.filename for info in found[:4]) + (", ..." if len(found) > 4 else "")
            received = f"{len(found)}: {names}" if found else "none"
            raise CorpusError(place, "one data file in the .zip", received, "unzip it and name the file")
        with archive.open(found[0]) as member:
            yield found[0].filename, member


class Texts:
    """The files of a .zip that are read whole, such as those of a brat folder.

    Args:
        path: Of the archive.

    Raises:
        CorpusError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with readable(str(path)), zipfile.ZipFile(path) as archive:
            self.names = [info.filename for info in members(archive, str(path))]

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        place = f"{self._path}/{name}"
        with readable(place), zipfile.ZipFile(self._path) as archive, archive.open(name) as member:
            content = member.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise CorpusError(place, f"a file of at most {LARGEST >> 20} MiB", "a larger one", "unzip it and check it")
        return content
