"""Labelled documents from files of any form, and what of them a tagger's units can represent.

A file's form is told from its content (`formats`); `.gz` is read as it is, `-` is standard input.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagger import formats, standoff
from tagger.documents import Document, Entity, Notes, Span, mark, open_source, open_text, squeeze
from tagger.errors import CorpusError
from tagger.records import to_contest, to_native
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker

__all__ = [
    "EXAMPLES", "Alignment", "Document", "Entity", "Notes", "Span", "align", "files", "labels", "mark", "open_text",
    "read", "squeeze", "texts", "to_contest", "to_native", "told",
]  # fmt: skip


def read(path: str | Path, form: str = "", notes: Notes | None = None) -> Iterator[Document]:
    """Yield the documents of a corpus one by one.

    Args:
        path: A file, `-`, or a folder of brat files.
        form: Name of its form in `formats.FORMS`; told from the content if empty.
        notes: Where to count what was lost or repaired.

    Raises:
        ConfigError: If there is no such form.
        CorpusError: At the first line that is not of the form, with its number.
    """
    notes = Notes() if notes is None else notes
    if _is_standoff(path, form):
        yield from standoff.read(Path(path), notes)
        return
    with open_source(path) as source:
        yield from formats.form_of(form or formats.detect(source)).read(source, notes)


def texts(path: str | Path, form: str = "") -> Iterator[str]:
    """Yield the text of each document, blank ones included; arguments and errors as in `read`."""
    if _is_standoff(path, form):
        yield from (document.text for document in standoff.read(Path(path), Notes()))
        return
    with open_source(path) as source:
        known = formats.form_of(form or formats.detect(source))
        yield from known.texts(source) if known.texts else (document.text for document in known.read(source, Notes()))


def told(notes: Notes, all_of_them: bool = True) -> list[str]:
    """Return the notes for a person; or only those that concern texts and entities, not what was left out."""
    wanted = sorted(what for what, count in notes.items() if count and (all_of_them or "left out:" not in what))
    return [f"{what} ({notes[what]:,})" for what in wanted]


def _is_standoff(path: str | Path, form: str) -> bool:
    return form == "brat" or (not form and standoff.is_standoff(Path(path)))


def files(path: Path) -> list[Path]:
    """Return the files that a corpus is made of; empty if there is none."""
    found = [file for pair in standoff.pairs(path) for file in pair] if standoff.is_standoff(path) else [path]
    return [file for file in found if file.is_file()]


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

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain numbers, each finding with its examples."""
        found = {"cut": self.cut, "long": self.long, "absent": self.absent, "empty": self.empty, "blank": self.blank}
        return {
            "texts": self.texts,
            "characters": self.characters,
            "units": self.units,
            "entities": dict(sorted(self.entities.items())),
            "findings": {
                kind: {"count": count, "examples": self.examples.get(kind, [])} for kind, count in found.items()
            },
        }


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
