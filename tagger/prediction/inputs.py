"""What is tagged: the records of files and folders, with all they hold, and what could not be read of them."""

import glob
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tagger import corpus, formats
from tagger.documents import Document, Notes
from tagger.errors import ConfigError, CorpusError
from tagger.files import Part, Source
from tagger.files.remote import is_uri, remote_files, size_and_time
from tagger.formats import records
from tagger.formats.base import Format
from tagger.formats.records import Record, Unread
from tagger.prediction.checkpoints import is_of_a_run

Errors = Literal["stop", "skip", "replace"]

ERRORS: dict[Errors, str] = {
    "stop": "end with an error",
    "skip": "leave it out",
    "replace": "put an empty result in its place, and U+FFFD for bytes that cannot be decoded",
}

# Suffixes of files in folders, besides those of the formats.
_SUFFIXES = (".txt", ".json", ".text")

# Keys for the name of a file.
SOURCES = ("source", "source_file", "source_path", "tagger_source")

_PEEKED = 200  # records of each input whose keys are looked at

_SHOWN = 10_000  # characters of a bad record that are quoted


@dataclass(frozen=True)
class Fault:
    """What could not be read of an input.

    Args:
        place: File and line.
        reason: What is wrong, the place included.
        raw: What stands there, as far as it is text.
    """

    place: str
    reason: str
    raw: str


# ---- which files --------------------------------------------------------------------------------------------------
def expand(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the inputs that files, folders and patterns stand for, in order, and the files that were left out.

    A folder stands for the files in it and in the folders below whose suffix is that of text or of a corpus format,
    sorted by path; a folder that is one corpus stands for itself. A pattern such as `part-*.jsonl` stands for what it
    matches, sorted, where there is no file of that name.

    Raises:
        CorpusError: If a folder or a pattern stands for nothing.
    """
    inputs: list[str] = []
    left_out: list[str] = []
    for path in given:
        if is_uri(path):
            inside, others = _remote(path)
            inputs += inside
            left_out += others
            continue
        matching = [path]
        if path != "-" and not os.path.lexists(path) and glob.has_magic(path):
            matching = sorted(glob.glob(path, recursive=True))
            if not matching:
                raise CorpusError(path, "files that match the pattern", "none", "check the pattern")
        for match in matching:
            if path == "-" or not os.path.isdir(match) or _is_corpus(match):
                inputs.append(match)
                continue
            inside, others = _inside(match)
            if not inside:
                raise CorpusError(match, f"files named {', '.join(suffixes())} in the folder", "none", "name the files")
            inputs += inside
            left_out += others
    return inputs, left_out


def _remote(uri: str) -> tuple[list[str], list[str]]:
    """Return the files that a URI stands for and that are read, and the others."""
    try:
        found, is_file = remote_files(uri)
    except OSError as error:
        raise CorpusError(uri, "a remote file or folder", error.strerror or str(error), "check the address") from error
    known = suffixes()
    read = [one for one in found if is_file or urlsplit(one).path.removesuffix(".gz").endswith(known)]
    if not read:
        raise CorpusError(uri, f"files named {', '.join(known)}", "none", "check the address")
    return read, sorted(set(found) - set(read))


def suffixes() -> tuple[str, ...]:
    """Return the suffixes of the files in a folder that are read, `.gz` after them allowed."""
    return tuple(dict.fromkeys([*_SUFFIXES, *(suffix for row in formats.FORMATS.values() for suffix in row.suffixes)]))


def _inside(folder: str) -> tuple[list[str], list[str]]:
    """Return the files in a folder and below that are read, corpora of several files as one, and the others."""
    inputs: list[str] = []
    others: list[str] = []
    known = suffixes()
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
        if above != folder and _is_corpus(above):
            inputs.append(above)
            folders.clear()
            continue
        for name in names:
            if not name.startswith(".") and not (name.endswith(".ann") and name[:-4] + ".txt" in names):
                is_read = name.removesuffix(".gz").endswith(known) and not is_of_a_run(name, names)
                (inputs if is_read else others).append(os.path.join(above, name))
    return sorted(inputs), sorted(others)


def _is_corpus(folder: str) -> bool:
    """Return whether a folder is one corpus: of a format of folders, and without files of other formats."""
    known = tuple(suffix for suffix in suffixes() if suffix != ".txt")
    names = (name for _, _, names in os.walk(folder) for name in names if not name.startswith("."))
    is_one = formats.by_folder(folder) is not None
    return is_one and not any(name.removesuffix(".gz").endswith(known) for name in names)


# ---- records ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stretch:
    """What is read of one input.

    Args:
        path: A file, a folder that is a corpus, or `-`.
        format: Name of the format, one of `formats.FORMATS`; detected if empty.
        part: As in `corpus.opened`.
    """

    path: str
    format: str = ""
    part: Part | None = None


class Inputs:
    """The records of texts and files, one after the other; iterable once.

    Annotations are not read, but kept: what a result calls `entities` is `gold` here.

    Args:
        texts: Given on the command line.
        inputs: Paths of files, of folders that are corpora, or `-`; or stretches of them.
        format: Name of the format of paths, one of `formats.FORMATS`; detected if empty.
        errors: What is done about a record that cannot be read.
        source_key: Key under which each record gets the name of its file; none if empty.

    Attributes:
        size: Bytes of all files; 0 if that is not known, or if not all of them is read.
    """

    def __init__(
        self,
        texts: Sequence[str],
        inputs: Sequence[str | Stretch],
        format: str = "",
        errors: Errors = "stop",
        source_key: str = "",
    ) -> None:
        self._texts, self._errors, self._source_key = texts, errors, source_key
        self._stretches = [one if isinstance(one, Stretch) else Stretch(one, format) for one in inputs]
        sizes = [size_of(one) if isinstance(one, str) else None for one in inputs]
        self.size = 0 if None in sizes else sum(size or 0 for size in sizes)
        self._before = 0  # bytes of the files before this one
        self._number = 0
        self._opened: Any = None
        self._source: Source | None = None

    @property
    def position(self) -> int:
        """Bytes that have been read of `size`."""
        return self._before + (self._source.position if self._source else 0)

    @property
    def chunk(self) -> tuple[int, int]:
        """Where the item lies that was read last: which input, and where in it. Items of different chunks are not
        tagged together, so that results do not depend on which of them are read by one process.
        """
        return self._number, getattr(self._opened, "chunk", 0)

    def __iter__(self) -> Generator[Document | Fault]:
        """Yield each record, its text and what else it holds; and each fault.

        Raises:
            CorpusError: At the first fault, or at one after which the file cannot be read on.
        """
        yield from map(Document, self._texts)
        for stretch in self._stretches:
            path, self._number = stretch.path, self._number + 1
            with corpus.opened(path, stretch.format, stretch.part) as (known, source):
                try:
                    self._opened, self._source = source, source if isinstance(source, Source) else None
                    if self._source and self._errors == "replace":
                        self._source.replaced = []
                    for item in self._items(known, source):
                        yield self._with_source(item, str(path)) if self._source_key else item
                finally:
                    self._source = None
            self._before += size_of(path) or 0 if self.size else 0

    def _items(self, known: Format, source: Any) -> Iterator[Document | Fault]:
        if known.records:
            for place, record in known.records(source):
                yield from self._replaced()
                yield from self._document(record, place)
        elif known.name == "plain":
            for number, line in source.raw_lines():
                try:
                    document = Document(source.decoded(line, number))
                except CorpusError as error:
                    yield from self._document(Unread(error, line.decode("utf-8", "backslashreplace")), "")
                else:
                    yield from self._replaced()
                    yield document
        else:
            for document in known.read(source, Notes()):
                yield from self._replaced()
                gold = [span._asdict() for span in document.entities] or None
                yield Document(document.text, extra=kept(dict(document.extra), gold), place=document.place)

    def _document(self, record: Record | Unread, place: str) -> Iterator[Document | Fault]:
        """Yield the document of a record or, if it is none, what is to be done about that."""
        try:
            if isinstance(record, Unread):
                raise record.error
            yield carried(record, place)
        except CorpusError as error:
            if self._errors == "stop":
                raise
            raw = record.raw if isinstance(record, Unread) else records.dumps(record)
            yield _fault(error, raw)
            if self._errors == "replace":
                yield Document("", extra={"error": str(error)}, place=place)

    def _replaced(self) -> Iterator[Fault]:
        """Yield the faults of bytes that were replaced since the last call."""
        while self._source and self._source.replaced:
            error, line = self._source.replaced.pop(0)
            yield _fault(error, line.decode("utf-8", "backslashreplace"))

    def _with_source(self, item: Document | Fault, path: str) -> Document | Fault:
        if isinstance(item, Fault):
            return item
        if self._source_key in item.extra:
            expected = f'no key "{self._source_key}", as --source adds it and the first records have none'
            raise CorpusError(item.place or path, expected, "one", "rename it in the input, or leave --source out")
        return replace(item, extra={self._source_key: path, **item.extra})


def _fault(error: CorpusError, raw: str) -> Fault:
    return Fault(error.place, str(error), raw[:_SHOWN])


def size_of(path: str) -> int | None:
    """Return the size of an input in bytes; None for a stream."""
    if is_uri(path):
        return size_and_time(path)[0]
    if _is_stream(path):
        return None
    return sum(file.stat().st_size for file in corpus.files(Path(path)))


def _is_stream(path: str) -> bool:
    """Return whether an input is standard input or a pipe."""
    return path == "-" or (os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)))


def source_key(paths: Sequence[str], format: str = "") -> str:
    """Return a key for the name of the file, which the first records of no input have.

    Raises:
        ConfigError: If they have all of those that there are.
    """
    keys: set[str] = set()
    for path in paths:
        if not _is_stream(path):  # which can be read but once
            items = iter(Inputs((), [path], format, "skip"))
            for _, item in zip(range(_PEEKED), items, strict=False):
                keys.update(item.extra if isinstance(item, Document) else ())
    free = next((key for key in SOURCES if key not in keys), None)
    if free is None:
        raise ConfigError(f"--source: the records have all of the keys {', '.join(SOURCES)}; rename one of them")
    return free


# ---- what else a record holds -------------------------------------------------------------------------------------
_ANNOTATIONS = ("entities", "label", "labels", "annotations", "completions", "predictions", "spans", "result_list")

_OURS = ("core_entity", "unlabelled")


def carried(record: Record, place: str) -> Document:
    """Return the text of a record, and all else that it holds, annotations as `gold`.

    Raises:
        CorpusError: If it has no text, or is nested too deeply.
    """
    text = formats.text_of(record, place)
    if records.is_deep(record):
        raise CorpusError(place, "values that are nested at most 100 deep", "deeper ones", "flatten them")
    if records.is_task(record):
        record = {**{key: value for key, value in record.items() if key != "data"}, **record["data"]}
    key = next((key for key in records.TEXTS if key in record), None)
    rest = {name: value for name, value in record.items() if name != key} if key and record[key] == text else record
    return Document(text, extra=kept(rest, None), place=place)


def kept(record: Record, gold: Any) -> Record:
    """Return what a result keeps of a record: annotations are renamed, to `gold` or `gold_KEY`.

    Args:
        record: Without its text.
        gold: Annotations that are under no key of the record; None for none.
    """
    if not record and gold is None:
        return record
    renamed: Record = {} if gold is None else {"gold": gold}
    for key, value in record.items():
        if key == "entities" or key in _OURS or (key in _ANNOTATIONS and _is_annotated(value)):
            is_further = "gold" in renamed or key in _OURS or key == "predictions"
            name = f"gold_{key}" if is_further else "gold"
            renamed[records.free_key(name, record, renamed)] = value
        else:
            renamed[key] = value
    return renamed


def _is_annotated(value: Any, depth: int = 4) -> bool:
    """Return whether a value holds, or could hold, entities of an annotation tool, rather than data of the user's."""
    if isinstance(value, dict):
        if any(type(value.get(key)) is int for key in ("start", "start_offset", "begin")):
            return True
        return depth > 0 and any(_is_annotated(inner, depth - 1) for inner in value.values())
    if isinstance(value, list):
        numbers = [type(item) for item in value[:2]] == [int, int]
        return not value or numbers or (depth > 0 and any(_is_annotated(item, depth - 1) for item in value[:20]))
    return False
