"""What is worth knowing of a corpus before training on it, and of a bundle.

The files of a corpus are its splits. Each is read twice: the first pass collects what must be known of the whole
corpus, the second counts findings. In memory stay a hash of each text and annotation (16 bytes), the distinct mentions
and some examples, but not the texts.
"""

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tagger import alignment, corpus
from tagger.alignment import EXAMPLES, Alignment
from tagger.bundle import Bundle
from tagger.config import Config
from tagger.documents import Document, Notes, annotation_key, text_key
from tagger.errors import ConfigError
from tagger.findings import Finding, finding
from tagger.presets import PRESETS
from tagger.reports.contradictions import SHOWN, Mention, Repeats, SeveralLabels, Unmarked, context
from tagger.sections import TextConfig
from tagger.settings import merge
from tagger.tags import TagScheme
from tagger.text import UnitMaker, Units

# What may be wrong with a corpus: its key in the report, and its name.
FINDINGS = {
    "cut": "entities that units cut",
    "long": "entities longer than a window",
    "absent": "answers not in their text",
    "empty": "texts without an entity",
    "blank": "blank texts",
    "long_text": "texts longer than a window",
    "repeated": "texts that repeat an earlier one",
    "edge": "entities with white space at an end",
    "wide_space": "texts with full-width spaces",
    "zero_width": "texts with zero-width characters",
    "control": "texts with control characters",
    "replaced": "texts with characters lost in decoding",
    "both_scripts": "texts in simplified and traditional characters",
}

_SUSPICIOUS = {
    "wide_space": re.compile("\u3000"),
    "zero_width": re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"),
    "control": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"),
    "replaced": re.compile("[\ufffd\ud800-\udfff\ue000-\uf8ff]"),
}


# Findings that concern no single file: their kind in `--out`, and their name.
CONFLICTS = {
    "labels": "entities with another label than their string mostly has",
    "unmarked": "mentions that are entities elsewhere",
    "disputed": "texts annotated in several ways",
    "shared": "texts that an earlier file has too",
}

# What suggests that an annotation is wrong.
SUSPICIOUS = ("cut", "absent", "edge", "labels", "unmarked", "disputed")

_OFTEN = 2  # times that a string is an entity elsewhere, so that it is suspicious where it is none


# ---- corpus -----------------------------------------------------------------------------------------------------
Watch = Callable[[Iterator[Document]], Iterable[Document]]


def inspect(
    paths: Sequence[Path], config: TextConfig, format: str = "", watch: Watch = lambda documents: documents
) -> dict[str, Any]:
    """Return counts and findings of the files of a corpus; arguments and errors as for `Inspection`."""
    inspection = Inspection(paths, config, format, watch)
    for _ in inspection.findings():
        pass
    return inspection.to_dict()


class Inspection:
    """What is found in the files of a corpus, text by text.

    Args:
        paths: Labelled files, the training corpus first. They are read once here, and again by `findings`.
        config: The `[text]` section: what units are, and how long a window is.
        format: Of the files, as for `corpus.read`.
        watch: Passes the documents of a file through, to show progress.

    Attributes:
        splits: One for each file.

    Raises:
        CorpusError: If a file is not in order.
        ConfigError: If a path is a stream, which can be read only once.
    """

    def __init__(
        self, paths: Sequence[Path], config: TextConfig, format: str = "", watch: Watch = lambda documents: documents
    ) -> None:
        for path in paths:
            if str(path) == "-" or path.is_fifo():
                raise ConfigError(
                    f"{path}: a stream can be read only once, and inspect reads twice; save it as a file first"
                )
        self.config, self.format, self.watch = config, format, watch
        self.splits = [Split(path, config.simplify) for path in paths]
        for split in self.splits:
            for document in watch(corpus.read(split.path, format, split.notes)):
                split.first_pass(document)
        mentions = sum((split.mentions for split in self.splits), Counter())
        self._scheme = TagScheme(tuple(sorted({label for _, label in mentions})))
        self._unmarked, self._labels = Unmarked(mentions), SeveralLabels(mentions)
        self._repeats = Repeats([(split.text_keys, split.annotation_keys) for split in self.splits])

    def findings(self) -> Iterator[tuple[Document, list[Finding]]]:
        """Yield each document of all files with its findings, one by one; to be called once, before `to_dict`."""
        units = UnitMaker(self.config)
        for number, split in enumerate(self.splits):
            documents = self.watch(corpus.read(split.path, self.format))
            for key, document in zip(split.text_keys, documents, strict=True):
                text_units = split.second_pass(document, units, self._scheme)
                kinds = self._repeats.add(document, number, key)
                if "repeated" in kinds:
                    split.count("repeated", document, document.text)
                found = split.alignment.findings + self._labels.add(document)
                found += self._unmarked.add(document, text_units)
                yield document, found + [finding(kind, document) for kind in kinds if kind != "repeated"]

    def to_dict(self) -> dict[str, Any]:
        """Return counts and examples.

        Returns:
            "splits": `Split.to_dict` of each file; "shared": texts that two files have in common; "unseen": mentions of
            a file that the first one does not have; "conflicts": contradictory annotation in all files together.
        """
        return {
            "splits": [split.to_dict() for split in self.splits],
            "shared": self._repeats.shared([str(split.path) for split in self.splits]),
            "unseen": [_unseen(self.splits[0], split) for split in self.splits[1:]],
            "conflicts": {
                "labels": self._labels.to_dict(),
                "unmarked": self._unmarked.to_dict(),
                "texts": self._repeats.disputed(),
            },
        }


def suspicions(found: Iterable[Finding]) -> list[str]:
    """Return why the annotation of a document is suspicious, in a few words each; empty if it is not."""
    reasons = []
    for one in found:
        if one["kind"] in SUSPICIOUS and one.get("marked", _OFTEN) >= _OFTEN:
            what = {**FINDINGS, **CONFLICTS}[one["kind"]]
            shown = " ".join(str(one[key]) for key in ("label", "mention") if key in one)
            usual = f" ({one['usual']})" if "usual" in one else ""
            reasons.append(f"{what}: {shown}{usual}" if shown else what)
    return reasons


class _Findings(Alignment):
    """What does not fit units, and whatever else is found: of the last document each finding, of all a few examples."""

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self.placed: dict[str, list[dict[str, str]]] = {}

    def found(
        self, kind: str, document: Document, example: str, start: int = -1, end: int = -1, label: str = ""
    ) -> None:
        """Take a finding in a document, at these characters."""
        self.findings.append(finding(kind, document, start, end, label))
        examples = self.placed.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append({"text": example[:SHOWN], "place": document.place})


class Split:
    """Counts and findings of one file.

    Args:
        path: Of the file.
        simplify: As `[text] simplify`: a mixture of simplified and traditional characters is then no finding.
    """

    def __init__(self, path: Path, simplify: bool) -> None:
        self.path = path
        self._kinds = [kind for kind in FINDINGS if kind != "both_scripts" or not simplify]
        self.notes = Notes()  # what was lost or repaired in reading
        self.mentions: Counter[Mention] = Counter()
        self.text_keys = array("Q")  # of all texts, blank ones included
        self.annotation_keys = array("Q")
        self.alignment = _Findings()
        self._findings: Counter[str] = Counter()  # those that the alignment does not count
        self._text_lengths: Counter[int] = Counter()
        self._entity_lengths: dict[str, Counter[int]] = {}  # by label
        self._scripts: Counter[str] = Counter()

    def first_pass(self, document: Document) -> None:
        """Collect mentions and hashes."""
        text = document.text
        self.text_keys.append(text_key(text))
        self.annotation_keys.append(annotation_key(document))
        for start, end, label in document.entities:
            self.mentions[text[start:end], label] += 1
            self._entity_lengths.setdefault(label, Counter())[end - start] += 1

    def second_pass(self, document: Document, units: UnitMaker, scheme: TagScheme) -> Units:
        """Count the findings in a document, which are then in `alignment.findings`, and return its units."""
        text = document.text
        self.alignment.findings = []
        text_units, _ = alignment.align(document, units, scheme, self.alignment)
        self._text_lengths[len(text)] += 1
        if len(text_units) > units.config.maxlen:
            self.count("long_text", document, text)
        for start, end, label in document.entities:
            if text[start].isspace() or text[end - 1].isspace():
                example = f"{text[start:end]!r} in {context(text, start, end)}"
                self.count("edge", document, example, start, end, label)
        for kind, pattern in _SUSPICIOUS.items():
            if match := pattern.search(text):
                example = f"{ascii(match.group())[1:-1]} in {context(text, *match.span())}"
                self.count(kind, document, example, *match.span())
        simplified, traditional = (characters.intersection(text) for characters in scripts())
        both = bool(simplified and traditional)
        if both and "both_scripts" in self._kinds:
            first = min(map(text.index, traditional))
            example = f"{text[first]} in {context(text, first, first + 1)}"
            self.count("both_scripts", document, example, first, first + 1)
        kind = "both" if both else "simplified" if simplified else "traditional" if traditional else "neither"
        self._scripts[kind] += 1
        return text_units

    def count(
        self, kind: str, document: Document, example: str, start: int = -1, end: int = -1, label: str = ""
    ) -> None:
        """Count a finding, one of `FINDINGS`, in a document, with an example."""
        self._findings[kind] += 1
        self.alignment.found(kind, document, example, start, end, label)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dictionaries."""
        report = self.alignment.to_dict()
        total = sum(report["entities"].values())
        labels = {
            label: {
                "entities": count,
                "share": count / total,
                "mentions": sum(1 for _, other in self.mentions if other == label),
                "lengths": _distribution(self._entity_lengths[label]),
            }
            for label, count in report.pop("entities").items()
        }
        counts = {kind: finding["count"] for kind, finding in report.pop("findings").items()}
        findings = {
            kind: {"count": counts.get(kind, self._findings[kind]), "examples": self.alignment.placed.get(kind, [])}
            for kind in self._kinds
        }
        return {
            "file": str(self.path),
            **report,
            "format": self.notes.format,
            "notes": dict(self.notes),
            "entities": total,
            "labels": labels,
            "entity_lengths": _distribution(sum(self._entity_lengths.values(), Counter())),
            "text_lengths": _distribution(self._text_lengths),
            "scripts": {kind: self._scripts[kind] for kind in ("simplified", "traditional", "both", "neither")},
            "findings": findings,
        }


@cache
def scripts() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that occur in simplified text alone, and those that occur in traditional text alone.

    The former are in GB 2312 and not in Big5, the latter the other way round. Some rare characters of names that
    simplified text uses too are not in GB 2312 and count as traditional.
    """

    def characters_of(codec: str) -> frozenset[str]:
        return frozenset(han.encode(codec, "ignore").decode(codec))

    han = "".join(map(chr, range(0x4E00, 0xA000)))
    return characters_of("gb2312") - characters_of("big5"), characters_of("big5") - characters_of("gb2312")


def _unseen(first: Split, second: Split) -> dict[str, Any]:
    """Return how many mentions of the second file, with their labels, the first does not have."""
    unseen = {mention: count for mention, count in second.mentions.items() if mention not in first.mentions}
    entities = sum(unseen.values())
    return {
        "first": str(first.path),
        "second": str(second.path),
        "mentions": len(unseen),
        "entities": entities,
        "share": entities / max(second.mentions.total(), 1),
    }


def _distribution(lengths: Counter[int]) -> dict[str, Any]:
    """Return median, 90th percentile and maximum of lengths, and the count of each length."""
    ordered = sorted(lengths)
    reached = list(itertools.accumulate(lengths[length] for length in ordered))

    def percentile(share: float) -> int:
        return next((n for n, count in zip(ordered, reached, strict=True) if count >= share * reached[-1]), 0)

    return {
        "median": percentile(0.5),
        "percentile_90": percentile(0.9),
        "longest": max(ordered, default=0),
        "counts": {str(length): lengths[length] for length in ordered},
    }


# ---- bundle -----------------------------------------------------------------------------------------------------
def inspect_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return what is in a bundle, and how it was trained.

    Returns:
        Among others "settings": those that differ from the nearest preset, as [here, in the preset] by name.
    """
    differences = {name: _differences(bundle.config, preset.settings) for name, preset in PRESETS.items()}
    preset = min(differences, key=lambda name: len(differences[name]))
    return {
        "preset": preset,
        "settings": differences[preset],
        "labels": list(bundle.scheme.labels),
        "alignment": bundle.json("alignment.json"),
        "vectors": {table.name: [len(table.vocabulary), table.dimensions] for table in bundle.lookup.tables},
        "gazetteer": len(bundle.gazetteer) if bundle.gazetteer else 0,
        "calibration": bundle.calibration.to_dict(),
        "metrics": bundle.json("metrics.json"),
        "history": bundle.json("history.json"),
        "files": {file.name: file.stat().st_size for file in sorted(bundle.folder.iterdir())},
        "config": bundle.config.to_dict(),
        "manifest": bundle.manifest,
    }


def _differences(config: Config, preset: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the settings that differ from those of a preset, as [here, in the preset] by name."""
    there = merge(Config(), preset, "preset").to_dict()
    return {
        f"{section}.{key}": [value, there[section][key]]
        for section, values in config.to_dict().items()
        for key, value in values.items()
        if value != there[section][key]
    }
