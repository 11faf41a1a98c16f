"""Labelled documents: readers and writers, streaming, and the alignment report.

Native form: JSON Lines, `{"text": ..., "entities": [{"start", "end", "label"}]}`, character offsets, half-open.
Contest form (2016): `{"content": ..., "core_entity": [strings]}`; every occurrence of an answer is marked.
Anything else is plain text, one document a line, without labels. `.gz` is read as it is; `-` is standard input.
"""

import gzip
import io
import itertools
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from tagger.errors import CorpusError
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker

CONTEST_LABEL = "CORE"
_FORM = 'see "Corpus formats" in the README'


class Span(NamedTuple):
    """Characters `start` to `end` (half-open) are an entity."""

    start: int
    end: int
    label: str


class Entity(NamedTuple):
    """An entity found in a text: `text[start:end] == entity.text`, and how sure the tagger is, 0 to 1."""

    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True)
class Document:
    """A text and its entities.

    Args:
        text: As given, never changed.
        entities: Gold spans in order of start, not overlapping.
        answers: Strings that count as right in the contest, without white space; they may not occur in the text.
    """

    text: str
    entities: tuple[Span, ...] = ()
    answers: tuple[str, ...] = ()


@contextmanager
def open_text(path: str | Path) -> Iterator[Iterator[tuple[int, str]]]:
    r"""Yield `(line number, line)` of a file, of a `.gz` file, or of standard input for `-`.

    Lines end at `\n` or `\r\n` only, which are taken off; a byte order mark is too.

    Raises:
        CorpusError: If the file is missing, not UTF-8, or a damaged `.gz`.
    """
    try:
        if str(path) == "-":
            yield _numbered(sys.stdin.buffer, "standard input")
            return
        with open(path, "rb") as raw:
            zipped = raw.peek(2)[:2] == b"\x1f\x8b" if isinstance(raw, io.BufferedReader) else False
            if not zipped:
                yield _numbered(raw, str(path))
                return
            with gzip.open(raw) as unzipped:
                yield _numbered(unzipped, str(path))  # type: ignore[arg-type]
    except OSError as error:
        reason = error.strerror or str(error)
        raise CorpusError(str(path), "a readable file", reason, "check the path and the file") from error


def _numbered(raw: IO[bytes], place: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        for number, line in enumerate(raw, 1):
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield number, line.decode("utf-8")
    except UnicodeDecodeError as error:
        found = repr(error.object[error.start : error.start + 8])
        raise CorpusError(f"{place}:{number}", "UTF-8", f"bytes {found}", "convert the file to UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(f"{place}:{number + 1}", "a whole .gz file", str(error), "copy it again") from error


def read(path: str | Path) -> Iterator[Document]:
    """Yield the documents of a corpus file one by one; its form is told from its first line.

    Raises:
        CorpusError: At the first line that is not of the form, with its number.
    """
    with open_text(path) as lines:
        parse: Callable[[str, str], Document] | None = None
        for number, line in lines:
            if parse is None:
                if not line.strip():
                    continue
                parse = _form(path, line, f"{path}:{number}")
            if parse is not _plain and not line.strip():
                continue
            yield parse(line, f"{path}:{number}")


def texts(path: str | Path) -> Iterator[str]:
    """Yield the text of each document, blank ones included: each line of a plain file, `text` of a `.jsonl`."""
    with open_text(path) as lines:
        parse = _json_text if is_jsonl(path) else None
        for number, line in lines:
            yield parse(line, f"{path}:{number}") if parse else line


def is_jsonl(path: str | Path) -> bool:
    """Return whether the name says JSON Lines: `.jsonl` or `.jsonl.gz`."""
    return str(path).removesuffix(".gz").endswith((".jsonl", ".json"))


def _form(path: str | Path, line: str, place: str) -> Callable[[str, str], Document]:
    if not line.lstrip().startswith("{"):
        if is_jsonl(path):
            return _native
        return _plain
    return _contest if isinstance(_object(line, place).get("content"), str) else _native


def _plain(line: str, place: str) -> Document:
    return Document(line)


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, "a JSON object", f"{line.strip()!r} ({error})", _FORM) from error
    if not isinstance(value, dict):
        raise CorpusError(place, "a JSON object", repr(line.strip()), _FORM)
    return value


def _string(value: dict[str, Any], key: str, place: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise CorpusError(place, f'"{key}" with a string', json.dumps(value, ensure_ascii=False), _FORM)
    return text


def parse(line: str, place: str) -> Document:
    """Return the document in one line of native JSON.

    Raises:
        CorpusError: If it is not of that form; `place` says where it stands.
    """
    return _native(line, place)


def _json_text(line: str, place: str) -> str:
    if not line.strip():
        return ""
    value = _object(line, place)
    return _string(value, "content" if "text" not in value and "content" in value else "text", place)


def _native(line: str, place: str) -> Document:
    value = _object(line, place)
    text = _string(value, "text", place)
    entities = value.get("entities", [])
    if not isinstance(entities, list):
        raise CorpusError(place, '"entities" with a list', repr(entities), _FORM)
    spans = sorted(_span(entity, text, place) for entity in entities)
    for before, after in itertools.pairwise(spans):
        if after.start < before.end:
            shown = f"{before.label} {text[before.start : before.end]!r} at {before.start} and "
            shown += f"{after.label} {text[after.start : after.end]!r} at {after.start}"
            raise CorpusError(place, "entities that do not overlap", shown, "keep one of the two")
    given = value.get("core_entity")
    answers = [a for a in given if isinstance(a, str)] if isinstance(given, list) else []
    answers += [text[span.start : span.end] for span in spans]
    return Document(text, tuple(spans), _answers(answers))


def _span(entity: Any, text: str, place: str) -> Span:
    if isinstance(entity, dict):
        start, end, label = entity.get("start"), entity.get("end"), entity.get("label")
        whole = type(start) is int and type(end) is int and 0 <= start < end <= len(text)
        if whole and isinstance(label, str) and re.fullmatch(r"\S+", label):
            return Span(start, end, label)  # type: ignore[arg-type]
    expected = f"an entity with 0 <= start < end <= {len(text)} and a label without spaces"
    raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), _FORM)


def _contest(line: str, place: str) -> Document:
    value = _object(line, place)
    text = _string(value, "content", place)
    answers = value.get("core_entity", [])
    if isinstance(answers, str):
        answers = [answers]
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise CorpusError(place, '"core_entity" with a list of strings', repr(answers), _FORM)
    return Document(text, mark(text, answers), _answers(answers))


def _answers(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(squeeze, given))))


def squeeze(text: str) -> str:
    """Return `text` without white space, the form in which answers are compared: the contest dropped it."""
    return "".join(text.split())


def mark(text: str, answers: Iterable[str]) -> tuple[Span, ...]:
    """Return every occurrence of every answer in `text`, white space inside it allowed.

    Where two occurrences overlap, the longer answer is marked.
    """
    taken: list[Span] = []
    for answer in sorted(_answers(answers), key=lambda a: (-len(a), a)):
        pattern, at = re.compile(r"\s*".join(map(re.escape, answer))), 0
        while match := pattern.search(text, at):
            span = Span(match.start(), match.end(), CONTEST_LABEL)
            free = all(span.end <= other.start or other.end <= span.start for other in taken)
            if free:
                taken.append(span)
            at = match.end() if free else match.start() + 1
    return tuple(sorted(taken))


def to_native(text: str, entities: Iterable[Entity | Span]) -> str:
    """Return one line of native JSON, without the line end; lone surrogates are escaped."""
    value = {"text": text, "entities": [entity._asdict() for entity in entities]}
    return _dumps(value)


def to_contest(text: str, answers: Iterable[str]) -> str:
    """Return one line of the contest's form, without the line end."""
    return _dumps({"content": text, "core_entity": list(answers)})


def _dumps(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    for end in "\x85\u2028\u2029":  # line ends to some readers of lines
        line = line.replace(end, f"\\u{ord(end):04x}")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return line


EXAMPLES = 5


@dataclass
class Alignment:
    """What of a corpus a tagger with these units can represent; nothing is dropped in silence.

    `cut` entities do not fall on unit boundaries, `long` ones do not fit a window, `absent` answers do not occur
    in their text, `empty` texts have no entity. Each count has some examples.
    """

    texts: int = 0
    characters: int = 0
    units: int = 0
    entities: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    long: int = 0
    absent: int = 0
    empty: int = 0
    blank: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def example(self, kind: str, text: str) -> None:
        """Keep `text` as an example of `kind`, if there are few yet."""
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(text)

    def rows(self) -> list[tuple[str, str, list[str]]]:
        """Return (what, count, examples) of each finding, for a table."""
        total = sum(self.entities.values())
        share = f" ({100 * self.cut / total:.1f} %)" if total else ""
        return [
            ("texts", f"{self.texts:,}", []),
            ("characters", f"{self.characters:,}", []),
            ("units", f"{self.units:,}", []),
            *((f"entities {label}", f"{count:,}", []) for label, count in sorted(self.entities.items())),
            ("entities that units cut", f"{self.cut:,}{share}", self.examples.get("cut", [])),
            ("entities longer than a window", f"{self.long:,}", self.examples.get("long", [])),
            ("answers not in their text", f"{self.absent:,}", self.examples.get("absent", [])),
            ("texts without an entity", f"{self.empty:,}", self.examples.get("empty", [])),
            ("blank texts", f"{self.blank:,}", []),
        ]


def align(document: Document, units: UnitMaker, scheme: TagScheme, report: Alignment) -> tuple[Any, list[UnitSpan]]:
    """Return the units of a document and its gold spans in units, counting in `report` what cannot be represented.

    Raises:
        CorpusError: If a label is not in the scheme.
    """
    text = document.text
    made = units(text)
    report.texts += 1
    report.characters += len(text)
    report.units += len(made)
    report.blank += not text.strip()
    if not document.entities:
        report.empty += 1
        report.example("empty", text[:60])
    squeezed = squeeze(text)
    for answer in document.answers:
        if answer not in squeezed:
            report.absent += 1
            report.example("absent", f"{answer} | {text[:60]}")
    spans = []
    for start, end, label in document.entities:
        report.entities[label] += 1
        if label not in scheme.labels:
            raise CorpusError(
                f"text {text[:20]!r}", f"one of the labels {', '.join(scheme.labels)}", label,
                "the labels are those of the training corpus",
            )  # fmt: skip
        found = made.unit_span(start, end)
        if found is None:
            report.cut += 1
            first, last = max(start - 4, 0), end + 4
            around = "/".join(_words_around(made.words, first, last))
            report.example("cut", f"{text[start:end]} in {around}")
        elif found[1] - found[0] > units.config.maxlen:
            report.long += 1
            report.example("long", text[start:end][:60])
        else:
            spans.append(UnitSpan(*found, scheme.labels.index(label)))
    return made, spans


def _words_around(words: Iterable[str], first: int, last: int) -> Iterator[str]:
    position = 0
    for word in words:
        if position + len(word) > first and position < last:
            yield word
        position += len(word)


def labels(documents: Iterable[Document]) -> tuple[str, ...]:
    """Return the labels of a corpus in alphabetical order."""
    found: set[str] = set()
    for document in documents:
        found.update(span.label for span in document.entities)
    return tuple(sorted(found))
