"""What a format is: a row of `formats.FORMATS`, and the sample of a file by which rows recognise their own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tagger.documents import Document, Notes
from tagger.errors import CorpusError
from tagger.files import Part, Source
from tagger.formats.records import Record, Unread, is_array, is_json, read_records

SAMPLE_SIZE = 200  # lines or records of a file that are looked at

# What `Format.recognise` returns where no line or record is decisive; the lowest rank of all formats wins.
LIKELY = SAMPLE_SIZE  # the file as a whole looks like it
BY_NAME = LIKELY + 1  # the suffix says so; added by `rank`
FALLBACK = BY_NAME + 1  # any file can be read as it
NEVER = FALLBACK + 1


class Sample:
    """The first lines or records of a file, parsed when they are first asked for.

    Args:
        source: An open file; nothing of it is consumed.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name.removesuffix(".gz")
        self.path, self.place = source.path, source.place
        self.head = source.head
        self.is_json, self.is_array = is_json(self.head), is_array(self.head)
        self._source = source

    @cached_property
    def lines(self) -> list[str]:
        """The first lines that are not blank, without line ends; none where the file is JSON."""
        if self.is_json:
            return []
        raw = self.head.split(b"\n", SAMPLE_SIZE)[:SAMPLE_SIZE]
        lines = (line.decode("utf-8", "replace").removesuffix("\r") for line in raw)
        return [line for line in lines if line.strip()]

    @cached_property
    def records(self) -> list[Record]:
        """The first JSON objects, up to the first that is malformed; none where the file is not JSON."""
        parsed: list[Record] = []
        if self.is_json:
            try:
                for _, record in islice(read_records(self._source.peek()), SAMPLE_SIZE):
                    parsed.append(record)
            except CorpusError:
                pass  # reported when the file is read
        return parsed

    def first_record(self, decisive: Callable[[Record], bool]) -> int | None:
        """Return the number of the first record for which `decisive` is true, None if there is none."""
        return next((number for number, record in enumerate(self.records) if decisive(record)), None)


def _unrecognised(sample: Sample) -> int | None:
    return None


def _claims_nothing(record: Record) -> bool:
    return False


def _never(source: Source) -> bool:
    return False


def _whole(path: str | Path, part: Part | None) -> Path:
    return Path(path)


@dataclass(frozen=True)
class Folder:
    """How a format is handled that is read by its path: its corpora are folders, or files that are not text.

    Args:
        recognise: Returns whether a path holds such a corpus.
        files: Returns the files, existing or expected, of the corpus at a path.
        open: Returns what the format's reader takes, of a path and the part of it that is to be read.
    """

    recognise: Callable[[Path], bool]
    files: Callable[[Path], list[Path]]
    open: Callable[[str | Path, Part | None], Any] = _whole


@dataclass(frozen=True)
class Format:
    """A corpus format: one row of the table.

    Args:
        name: As given to `--from`, `--to` and `--format`.
        about: What it looks like, in one line of Markdown, for the table in `tagger help formats`.
        read: Yields the documents of a `Source`, counting in the notes what is lost or repaired. Where the format is
            a folder, of a `Path`.
        write: Yields the text to write for documents, in pieces; bytes where the format is `binary`. Where it is a
            folder, (file name, content) of each file. None where it can only be read.
        suffixes: File names that end so are of this format.
        aliases: Further names.
        recognise: Returns the number of the first line or record of a `Sample` that can be of this format only,
            `LIKELY` or `FALLBACK` where none is but the file fits as a whole, None where it does not.
        texts: Yields the texts alone, blank ones included; by default those of `read`.
        records: Yields (place, record) of each record as it is, or `Unread` where it is none but one can read on; None
            where the format has no records with keys.
        ahead: Documents that the writer reads before it writes the first.
        scores: Whether it holds scores.
        answers: Whether it holds answers that do not occur in their text.
        unlabelled: Whether it holds stretches that were not annotated: "" for no, "texts" for whole texts only.
        surrogates: Whether it holds lone surrogates.
        extra: Whether it holds what else a record has.
        predictions: Whether it holds predictions beside an annotation; others that hold `extra` have them there.
        binary: Whether it is no text: it is read by its `Path`, and can be written to a file only.
        folder: How its paths are handled where it is read by its `Path`; None where it is read as a `Source`.
        lines: Returns whether the records of a file are lines, so that parts of it can be read on their own.
        parse: Returns the document of a record, where it is a format of JSON records.
        claims: Returns whether a record holds entities in this form and no other.
    """

    name: str
    about: str
    read: Callable[[Any, Notes], Iterator[Document]]
    write: Callable[[Iterable[Document], Notes], Iterator[Any]] | None
    suffixes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    recognise: Callable[[Sample], int | None] = _unrecognised
    texts: Callable[[Source], Iterator[str]] | None = None
    records: Callable[[Any], Iterator[tuple[str, Record | Unread]]] | None = None
    ahead: int = 0
    scores: bool = False
    answers: bool = False
    unlabelled: Literal["", "texts", "stretches"] = ""
    surrogates: bool = True
    extra: bool = False
    predictions: bool = False
    binary: bool = False
    folder: Folder | None = None
    lines: Callable[[Source], bool] = _never
    parse: Callable[[Record, str, Notes], Document] | None = None
    claims: Callable[[Record], bool] = _claims_nothing

    def is_named(self, path: str | Path) -> bool:
        """Return whether a file name has a suffix of this format, `.gz` aside."""
        return bool(self.suffixes) and str(path).removesuffix(".gz").endswith(self.suffixes)

    def rank(self, sample: Sample) -> int:
        """Return how early the sample proves this format; of all formats the lowest wins."""
        place = self.recognise(sample)
        if place is None:
            return BY_NAME if self.is_named(sample.name) and not self.folder else NEVER
        return place
