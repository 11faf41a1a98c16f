"""brat standoff: a folder in which NAME.txt holds a text and NAME.ann its entities, one on each line.

A line is `T1 TAB LABEL start end TAB mention`. Offsets count the characters of the file as it is, line ends and byte
order mark included. An entity that contains a line end is written in fragments, `0 2;3 5`, as brat requires. Fragments
separated by more than white space cannot be represented, and relations, events, attributes and comments have no place
in a document: all are noted.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from tagger.documents import Document, Notes, Span, is_label, labelled, unannotated, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError, shortened
from tagger.files import archives, decoded, read_text

_LINE = re.compile(r"T\S*\t(\S+) (\d{1,18} \d{1,18}(?:;\d{1,18} \d{1,18})*)(?:\t(.*))?", re.S)

_OTHER = ("R", "E", "A", "M", "N", "#", "*")


def is_standoff(path: Path) -> bool:
    """Return whether the path is a folder with .ann files, a .ann file, or a .txt file beside one."""
    if path.is_dir():
        return any(not _is_hidden(file, path) for file in path.rglob("*.ann"))
    if path.suffix == ".zip" and zipfile.is_zipfile(path):
        return any(name.endswith(".ann") for name in archives.Texts(path).names)
    return path.suffix == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").is_file())


def files(path: Path) -> list[Path]:
    """Return the files of a corpus; a .txt file without annotations is listed with the .ann file it lacks."""
    if path.suffix == ".zip":
        return [path]
    return [Path(f"{base}{end}") for base in _bases(path) for end in (".txt", ".ann")]


def _is_hidden(file: Path, folder: Path) -> bool:
    return archives.is_hidden(file.relative_to(folder).as_posix())


def _bases(path: Path) -> list[Path]:
    """Return the names, without suffix, of the pairs of files in a folder and in those inside it, or of one file."""
    if not path.is_dir():
        return [path.with_suffix("")]
    files = [file for end in ("txt", "ann") for file in path.rglob(f"*.{end}") if not _is_hidden(file, path)]
    return sorted({file.with_suffix("") for file in files})


def read(path: Path, notes: Notes) -> Iterator[Document]:
    """Yield a document for each pair of files, in order of their names; a text without a .ann file is not annotated.

    Files and folders whose names begin with a dot, and `__MACOSX`, are passed over.

    Raises:
        CorpusError: At an annotation that is malformed, or whose mention is not at its offsets.
    """
    for place, text, annotations in _zipped(path) if path.suffix == ".zip" else _unzipped(path):
        if annotations is None:
            yield replace(unannotated(text, notes), place=f"{place}.txt")
            continue
        spans: list[Span] = []
        for number, line in enumerate(annotations.removeprefix("\ufeff").split("\n"), 1):
            spans += _spans(line.removesuffix("\r"), text, f"{place}.ann:{number}", notes)
        yield labelled(text, without_overlaps(spans, notes), place=f"{place}.txt")


def _unzipped(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield the name, the text and the annotations, if there are any, of each pair of files."""
    for base in _bases(path):
        annotations = Path(f"{base}.ann")
        yield str(base), read_text(Path(f"{base}.txt")), read_text(annotations) if annotations.exists() else None


def _zipped(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield what `_unzipped` does, for the files in a .zip."""
    texts = archives.Texts(path)
    known = set(texts.names)
    for base in sorted({name[:-4] for name in known if name.endswith((".txt", ".ann"))}):
        place = Path(path, base)
        if f"{base}.txt" not in known:
            raise CorpusError(f"{place}.txt", "a readable file", "none", "check the .zip")
        text = decoded(texts.read(f"{base}.txt"), Path(f"{place}.txt"))
        annotations = f"{base}.ann" if f"{base}.ann" in known else None
        yield str(place), text, decoded(texts.read(annotations), Path(f"{place}.ann")) if annotations else None


def _spans(line: str, text: str, place: str, notes: Notes) -> Iterator[Span]:
    """Yield the span of an annotation line if it is an entity."""
    if not line.strip():
        return
    if line.startswith(_OTHER):
        notes["left out: annotations that are not entities"] += 1
        return
    match = _LINE.fullmatch(line)
    if not match:
        raise CorpusError(place, 'an annotation such as "T1 TAB PER 0 2 TAB mention"', repr(line), SEE_FORMATS)
    if not is_label(match[1]):
        raise CorpusError(place, "a label of printable characters", repr(line), SEE_FORMATS)
    fragments = [(int(start), int(end)) for start, end in (pair.split(" ") for pair in match[2].split(";"))]
    start, end = fragments[0][0], fragments[-1][1]
    between = [text[before:after] for (_, before), (after, _) in pairwise(fragments)]
    if any(not 0 <= first < last <= len(text) for first, last in fragments):
        raise CorpusError(place, f"an entity with 0 <= start < end <= {len(text)}", repr(line), SEE_FORMATS)
    shown = " ".join(text[first:last] for first, last in fragments)
    if match[3] is not None and match[3].split() != shown.split():
        raise CorpusError(
            place, f"{shortened(repr(shown))}, the text at these offsets", repr(match[3]), "offsets count characters"
        )
    if any(gap.strip() for gap in between) or fragments != sorted(fragments):
        notes["lost: entities in fragments"] += 1
    else:
        yield Span(start, end, match[1])


def write(documents: Iterable[Document], notes: Notes) -> Iterator[tuple[str, str]]:
    """Yield the name and content of each file: 00000001.txt, 00000001.ann and so on."""
    for number, document in enumerate(documents, 1):
        lines: list[str] = []
        for start, end, label in document.entities:
            parts = [(start + m.start(), start + m.end()) for m in re.finditer(r"[^\r\n]+", document.text[start:end])]
            if not parts:
                notes["lost: entities of white space"] += 1
                continue
            if (parts[0][0], parts[-1][1]) != (start, end):
                notes["changed: entities that began or ended with a line end, now without it"] += 1
            places = ";".join(f"{first} {last}" for first, last in parts)
            mention = " ".join(document.text[first:last] for first, last in parts)
            lines.append(f"T{len(lines) + 1}\t{label} {places}\t{mention}\n")
        yield f"{number:08}.txt", document.text
        yield f"{number:08}.ann", "".join(lines)
