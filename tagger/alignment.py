"""What of a corpus a tagger's units can represent: entities against units."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tagger.documents import Document, squeeze
from tagger.errors import CorpusError
from tagger.tags import TagScheme, UnitSpan
from tagger.text import UnitMaker

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
