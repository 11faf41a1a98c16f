"""What the parts of `fuzz.py` have in common: the folder of an input, and the checks of what comes back."""

import contextlib
import functools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tagger import Tagger
from tagger.documents import Document, Entity, Notes, is_label
from tagger.errors import TaggerError
from tagger.files import sha256
from tagger.formats.native import parse, to_native
from tagger.formats.records import parse_object

BUNDLE = Path(__file__).resolve().parents[1] / "tests" / "golden" / "bundles" / "format-3"

KEPT = "keep.txt"  # a file of the user's beside everything

_LONGEST = 4000  # characters of a message


class Fault(AssertionError):  # noqa: N818 - it is no error of the package
    """Something that must not happen has happened."""


class Place:
    """The folder of one input, with a file of the user's in it, and what was put there.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes: dict[Path, str] = {}
        self.outputs: list[str] = []  # names that a command line gives as outputs
        self.is_resumable = False  # what is left of a run may stay, to be resumed
        self.file(KEPT, b"mine\n")

    def file(self, name: str, content: bytes) -> Path:
        """Write a file that has to stay as it is, and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._hashes[path] = sha256(path)
        return path

    def may_replace(self, arguments: list[str]) -> None:
        """Take back that outputs have to stay as they are, where they are not read as well."""
        for name in self.outputs:
            if arguments.count(name) == self.outputs.count(name):
                self._hashes.pop(self.folder / name, None)

    def check(self) -> None:
        """Check that all files are as they were, and that nothing half written is left."""
        for path, digest in self._hashes.items():
            if not path.is_file() or sha256(path) != digest:
                raise Fault(f"{path.name} was changed or deleted")
        for path in self.folder.rglob("*") if not self.is_resumable else ():
            if re.search(r"\.part\b|\.lock$", path.name) and path not in self._hashes:
                raise Fault(f"{path.name} was left behind")


@contextlib.contextmanager
def refusable() -> Iterator[None]:
    """Take an error on purpose for an answer, if its message is one line of bounded length."""
    try:
        yield
    except TaggerError as error:
        check_line(str(error))


def check_line(message: str) -> None:
    """Check that a message is one line that says something."""
    if len(message.splitlines()) != 1 or len(message) > _LONGEST:
        raise Fault(f"expected a message of one line, received {message[:500]!r}")


def check_document(document: Document) -> None:
    """Check a document by itself: offsets, order, labels; and that its own format gives it back."""
    text, end = document.text, 0
    for span in document.entities:
        if not end <= span.start < span.end <= len(text) or not is_label(span.label):
            raise Fault(f"{span} after {end} in a text of {len(text)} characters")
        end = span.end
    if document.scores and len(document.scores) != len(document.entities):
        raise Fault("not as many scores as entities")
    if not all(0 <= start < end <= len(text) for start, end in document.unlabelled):
        raise Fault(f"stretches {document.unlabelled} of {len(text)} characters")
    if re.search("[\ud800-\udbff][\udc00-\udfff]", text) is None:
        line = to_native(text, document.entities, (), document.unlabelled)
        if len(line.splitlines()) != 1:
            raise Fault(f"more than one line: {line!r}")
        again = parse(parse_object(line, "again"), "again", Notes())
        if (again.text, again.entities) != (text, document.entities):
            raise Fault("the native format does not give the document back")


def check_entities(text: str, entities: Sequence[Entity]) -> None:
    """Check predicted entities: places, order, probabilities."""
    end = 0
    for entity in entities:
        if text[entity.start : entity.end] != entity.text or not entity.text or entity.start < end:
            raise Fault(f"{entity} is not in {text!r}")
        if not 0 <= entity.score <= 1:
            raise Fault(f"{entity} has no probability")
        end = entity.end


@functools.cache
def tagger() -> Tagger:
    """Return the tagger that everything is given to."""
    return Tagger.load(BUNDLE, workers=1)


def clear(folder: Path) -> None:
    """Make a folder anew, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
