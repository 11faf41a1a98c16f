"""Entities in characters to spans of units, and a report on the entities that units cannot represent."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import Document, squeeze
from tagger.errors import CorpusError
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker, Units

EXAMPLES = 5  # of each finding


@dataclass
class Alignment:
    """Counts of what a tagger's units can and cannot represent of a corpus, so that nothing is dropped silently.

    Args:
        texts, characters, units: Size of the corpus.
        entities: Number of entities by label.
        cut: Entities whose ends are not unit boundaries.
        long: Entities longer than a window.
        absent: Answers that do not occur in their text.
        empty: Texts without an entity.
        blank: Texts of white space alone.
        examples: At most `EXAMPLES` of each of the last five but blank texts, by name.
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
        """Keep `text` as an example of a finding, if there are fewer than `EXAMPLES` yet."""
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(text)

    def found(
        self, kind: str, document: Document, example: str, start: int = -1, end: int = -1, label: str = ""
    ) -> None:
        """Take a finding in a document, at these characters; here its example is kept."""
        self.example(kind, example)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain numbers, and the findings with their examples."""
        findings = {"cut": self.cut, "long": self.long, "absent": self.absent, "empty": self.empty, "blank": self.blank}
        return {
            "texts": self.texts,
            "characters": self.characters,
            "units": self.units,
            "entities": dict(sorted(self.entities.items())),
            "findings": {
                kind: {"count": count, "examples": self.examples.get(kind, [])} for kind, count in findings.items()
            },
        }


def align(document: Document, units: UnitMaker, scheme: TagScheme, report: Alignment) -> tuple[Units, list[UnitSpan]]:
    """Return the units of a document, and those of its entities that units can represent.

    Args:
        document: Its entities become spans of units.
        units: Splits texts into units.
        scheme: Has the labels.
        report: Everything is counted here.

    Raises:
        CorpusError: If a label is not in the scheme.
    """
    text = document.text
    text_units = units(text)
    report.texts += 1
    report.characters += len(text)
    report.units += len(text_units)
    if not text.strip():
        report.blank += 1
        report.found("blank", document, "")
    if not document.entities:
        report.empty += 1
        report.found("empty", document, text[:60])
    squeezed = squeeze(text)
    for answer in document.answers:
        if answer not in squeezed:
            report.absent += 1
            report.found("absent", document, f"{answer} | {text[:60]}")
    spans = []
    for start, end, label in document.entities:
        report.entities[label] += 1
        if label not in scheme.labels:
            raise CorpusError(
                f"text {text[:20]!r}", f"one of the labels {', '.join(scheme.labels)}", label,
                "the labels are those of the training corpus",
            )  # fmt: skip
        bounds = text_units.unit_span(start, end)
        if bounds is None:
            report.cut += 1
            context = "/".join(_words_between(text_units.words, max(start - 4, 0), end + 4))
            report.found("cut", document, f"{text[start:end]} in {context}", start, end, label)
        elif bounds[1] - bounds[0] > units.config.maxlen:
            report.long += 1
            report.found("long", document, text[start:end][:60], start, end, label)
        else:
            spans.append(UnitSpan(*bounds, scheme.labels.index(label)))
    return text_units, spans


def _words_between(words: Iterable[str], first: int, last: int) -> Iterator[str]:
    """Yield the words that touch the characters from `first` to `last`."""
    position = 0
    for word in words:
        if position + len(word) > first and position < last:
            yield word
        position += len(word)
