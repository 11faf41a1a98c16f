"""What a careful person wants to know of a corpus before training on it. Several files are looked at as its splits.

Each file is read twice. What stays in memory is a hash of each text and annotation (16 bytes), the distinct mentions,
and some examples; not the texts.
"""

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from tagger import alignment, corpus
from tagger.alignment import EXAMPLES, Alignment
from tagger.bundle import Bundle
from tagger.config import Config, TextConfig
from tagger.documents import Document, Notes, squeeze
from tagger.errors import ConfigError
from tagger.gazetteer import Matcher
from tagger.presets import PRESETS
from tagger.settings import merge
from tagger.tags import TagScheme
from tagger.text import UnitMaker, Units

# What may be wrong with a corpus, by name: shown as.
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

_SHOWN = 60  # characters of an example

_SUSPICIOUS = {
    "wide_space": re.compile("\u3000"),
    "zero_width": re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"),
    "control": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"),
    "replaced": re.compile("[\ufffd\ud800-\udfff\ue000-\uf8ff]"),
}


@cache
def scripts() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that only simplified, and that only traditional text has.

    The former are in GB 2312 and not in Big5, the latter the other way round. Some rare characters of names that
    simplified text uses too are not in GB 2312 and count as traditional.
    """

    def of(codec: str) -> frozenset[str]:
        return frozenset(han.encode(codec, "ignore").decode(codec))

    han = "".join(map(chr, range(0x4E00, 0xA000)))
    return of("gb2312") - of("big5"), of("big5") - of("gb2312")


class Split:
    """What is found in one file.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alignment = Alignment()
        self.notes = Notes()  # what the file's form lost, and what was repaired
        self.counts: Counter[str] = Counter()  # of what the alignment does not count
        self.text_lengths: Counter[int] = Counter()
        self.lengths: dict[str, Counter[int]] = {}
        self.mentions: Counter[tuple[str, str]] = Counter()
        self.scripts: Counter[str] = Counter()
        self.hashes = array("Q")  # of texts, blank ones included
        self.annotations = array("Q")

    def learn(self, document: Document) -> None:
        """Note what has to be known before findings can be told; the first time through."""
        text = document.text
        self.hashes.append(_hash(squeeze(text)))
        self.annotations.append(_hash(repr([(squeeze(text[s:e]), label) for s, e, label in document.entities])))
        for start, end, label in document.entities:
            self.mentions[text[start:end], label] += 1
            self.lengths.setdefault(label, Counter())[end - start] += 1

    def find(self, kind: str, example: str) -> None:
        """Count a finding."""
        self.counts[kind] += 1
        self.alignment.example(kind, example[:_SHOWN])

    def look(self, document: Document, units: UnitMaker, scheme: TagScheme) -> Units:
        """Count what is found in a document, and return its units; the second time through."""
        text = document.text
        made, _ = alignment.align(document, units, scheme, self.alignment)
        self.text_lengths[len(text)] += 1
        if len(made) > units.config.maxlen:
            self.find("long_text", text)
        for start, end, _ in document.entities:
            if text[start].isspace() or text[end - 1].isspace():
                self.find("edge", f"{text[start:end]!r} in {_around(text, start, end)}")
        for kind, pattern in _SUSPICIOUS.items():
            if match := pattern.search(text):
                self.find(kind, f"{ascii(match.group())[1:-1]} in {_around(text, *match.span())}")
        simplified, traditional = (characters.intersection(text) for characters in scripts())
        if simplified and traditional:
            first = min(map(text.index, traditional))
            self.find("both_scripts", f"{text[first]} in {_around(text, first, first + 1)}")
            self.scripts["both"] += 1
        else:
            self.scripts["simplified" if simplified else "traditional" if traditional else "neither"] += 1
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dictionaries."""
        report = self.alignment.to_dict()
        total = sum(report["entities"].values())
        labels = {
            label: {
                "entities": count,
                "share": count / total,
                "mentions": sum(1 for _, other in self.mentions if other == label),
                "lengths": _distribution(self.lengths[label]),
            }
            for label, count in report.pop("entities").items()
        }
        findings = report.pop("findings")
        for kind in FINDINGS.keys() - findings.keys():
            findings[kind] = {"count": self.counts[kind], "examples": self.alignment.examples.get(kind, [])}
        return {
            "file": str(self.path),
            **report,
            "notes": dict(self.notes),
            "entities": total,
            "labels": labels,
            "entity_lengths": _distribution(sum(self.lengths.values(), Counter())),
            "text_lengths": _distribution(self.text_lengths),
            "scripts": {kind: self.scripts[kind] for kind in ("simplified", "traditional", "both", "neither")},
            "findings": {kind: findings[kind] for kind in FINDINGS},
        }


def inspect(
    paths: Sequence[Path],
    config: TextConfig,
    form: str = "",
    watch: Callable[[Iterator[Document]], Iterable[Document]] = lambda documents: documents,
) -> dict[str, Any]:
    """Return what is found in the files of a corpus.

    Args:
        paths: Labelled files, the one to train on first.
        config: The `[text]` section: what units are, and how long a window is.
        form: Of the files, as in `corpus.read`.
        watch: Passes the documents of a file through, to show progress.

    Returns:
        "splits": a dictionary a file (see `Split.to_dict`); "shared": texts in two files; "unseen": mentions of a
        file that the first does not have; "conflicts": what is annotated now one way, now another, over all files.

    Raises:
        CorpusError: If a file is not in order.
        ConfigError: If a stream is to be read, which can be read only once.
    """
    for path in paths:
        if str(path) == "-" or path.is_fifo():
            raise ConfigError(f"{path}: a stream can be read only once, and inspect reads twice; give a file")
    splits = [Split(path) for path in paths]
    for split in splits:
        for document in watch(corpus.read(split.path, form, split.notes)):
            split.learn(document)
    mentions = sum((split.mentions for split in splits), Counter())
    scheme, units = TagScheme(tuple(sorted({label for _, label in mentions}))), UnitMaker(config)
    unmarked = Unmarked({mention for mention, _ in mentions})
    repeats = Repeats(splits)
    for split in splits:
        for number, document in enumerate(watch(corpus.read(split.path, form))):
            made = split.look(document, units, scheme)
            unmarked.look(document, made)
            repeats.look(document, split, split.hashes[number])
    conflicts = {"labels": _by_label(mentions), "unmarked": unmarked.to_dict(mentions), "texts": repeats.disputed()}
    return {
        "splits": [split.to_dict() for split in splits],
        "shared": repeats.shared(),
        "unseen": [_unseen(splits[0], split) for split in splits[1:]],
        "conflicts": conflicts,
    }


class Unmarked:
    """Counts where strings that are entities elsewhere stand as words and are none.

    Longer strings come first. A single character does not count, nor what touches an entity: it is mostly part of a
    word.

    Args:
        mentions: The strings.
    """

    def __init__(self, mentions: Iterable[str]) -> None:
        self._find = Matcher(mention for mention in mentions if len(mention) > 1)
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def look(self, document: Document, units: Units) -> None:
        """Count what is unmarked in a document."""
        text = document.text
        matches = self._find(text)
        if len(matches) == len(document.entities) and {span[:2] for span in document.entities} == set(matches):
            return
        bounds = {0, *itertools.accumulate(map(len, units.words))}
        taken = bytearray(len(text))
        for start, end, _ in document.entities:
            taken[start:end] = b"\1" * (end - start)
        for start, end in sorted(matches, key=lambda match: match[0] - match[1]):
            if start in bounds and end in bounds and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                self._counts[text[start:end]] += 1
                self._examples.setdefault(text[start:end], _around(text, start, end))

    def to_dict(self, mentions: Counter[tuple[str, str]]) -> dict[str, Any]:
        """Return strings, how often they are marked and not, the most doubtful ones as examples."""
        marked: Counter[str] = Counter()
        for (mention, _), count in mentions.items():
            marked[mention] += count
        worst = sorted(self._counts, key=lambda m: (-min(marked[m], self._counts[m]), -marked[m], m))[: 2 * EXAMPLES]
        examples = [
            {"mention": m, "marked": marked[m], "unmarked": self._counts[m], "in": self._examples[m]} for m in worst
        ]
        return {"mentions": len(self._counts), "occurrences": self._counts.total(), "examples": examples}


class Repeats:
    """Texts that occur more than once, apart from white space: in a file, in two, with different entities.

    Args:
        splits: All files, gone through once.
    """

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits = splits
        rows = [np.array([split.hashes, split.annotations], np.uint64).T for split in splits]  # (texts, 2) each
        rows = [row[row[:, 0] != _hash("")] for row in rows]
        counts = [np.unique(row[:, 0], return_counts=True) for row in rows]
        self._repeated = [dict.fromkeys(keys[many > 1].tolist(), False) for keys, many in counts]  # -> seen before?
        pairs = itertools.combinations(range(len(splits)), 2)
        self._shared = {(a, b): set(np.intersect1d(counts[a][0], counts[b][0]).tolist()) for a, b in pairs}
        self._examples: dict[tuple[int, int], list[str]] = {pair: [] for pair in self._shared}
        keys, kinds = np.unique(np.unique(np.concatenate(rows), axis=0)[:, 0], return_counts=True)
        self._disputed = set(keys[kinds > 1].tolist())
        self._disputes: dict[int, str] = {}

    def look(self, document: Document, split: Split, key: int) -> None:
        """Note a document, whose text has this hash, where it repeats another."""
        number = self._splits.index(split)
        shown = document.text[:_SHOWN]
        seen = self._repeated[number].get(key)
        if seen:
            split.find("repeated", document.text)
        elif seen is not None:
            self._repeated[number][key] = True
        for (first, second), shared in self._shared.items():
            if number == second and key in shared and len(self._examples[first, second]) < EXAMPLES:
                self._examples[first, second].append(shown)
        if key in self._disputed and len(self._disputes) < EXAMPLES:
            self._disputes.setdefault(key, shown)

    def shared(self) -> list[dict[str, Any]]:
        """Return the number of distinct texts that each pair of files has in common."""
        return [
            {
                "first": str(self._splits[first].path),
                "second": str(self._splits[second].path),
                "texts": len(found),
                "examples": self._examples[first, second],
            }
            for (first, second), found in self._shared.items()
        ]

    def disputed(self) -> dict[str, Any]:
        """Return the number of texts that occur with different entities."""
        return {"count": len(self._disputed), "examples": list(self._disputes.values())}


def _by_label(mentions: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Return the mentions with several labels, the most doubtful ones as examples."""
    labels: dict[str, Counter[str]] = {}
    for (mention, label), count in mentions.items():
        labels.setdefault(mention, Counter())[label] = count
    several = {mention: counts for mention, counts in labels.items() if len(counts) > 1}
    worst = sorted(several, key=lambda m: (-several[m].most_common(2)[1][1], -several[m].total(), m))[: 2 * EXAMPLES]
    examples = [{"mention": mention, "labels": dict(several[mention].most_common())} for mention in worst]
    return {"mentions": len(several), "examples": examples}


def _unseen(first: Split, second: Split) -> dict[str, Any]:
    new = {pair: count for pair, count in second.mentions.items() if pair not in first.mentions}
    return {
        "first": str(first.path),
        "second": str(second.path),
        "mentions": len(new),
        "entities": sum(new.values()),
        "share": sum(new.values()) / max(second.mentions.total(), 1),
    }


def _distribution(lengths: Counter[int]) -> dict[str, Any]:
    """Return median, the length that nine in ten do not exceed, the longest, and the count of each length."""
    ordered = sorted(lengths)
    reached = list(itertools.accumulate(lengths[length] for length in ordered))

    def at(share: float) -> int:
        return next((n for n, count in zip(ordered, reached, strict=True) if count >= share * reached[-1]), 0)

    counts = {str(length): lengths[length] for length in ordered}
    return {"median": at(0.5), "ninety": at(0.9), "longest": max(ordered, default=0), "counts": counts}


def _around(text: str, start: int, end: int) -> str:
    return text[max(start - 12, 0) : end + 12]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def inspect_bundle(found: Bundle) -> dict[str, Any]:
    """Return what is in a bundle, and how it was trained.

    Returns:
        Among others "settings": those that differ from the nearest preset, as [here, there] by name.
    """
    differ = {name: _differences(found.config, preset.settings) for name, preset in PRESETS.items()}
    preset = min(differ, key=lambda name: len(differ[name]))
    return {
        "preset": preset,
        "settings": differ[preset],
        "labels": list(found.scheme.labels),
        "alignment": found.json("alignment.json"),
        "vectors": {table.name: [len(table.vocabulary), table.dimensions] for table in found.lookup.tables},
        "gazetteer": len(found.gazetteer) if found.gazetteer else 0,
        "calibration": found.calibration.to_dict(),
        "metrics": found.json("metrics.json"),
        "history": found.json("history.json"),
        "files": {file.name: file.stat().st_size for file in sorted(found.folder.iterdir())},
        "config": found.config.to_dict(),
        "manifest": found.manifest,
    }


def _differences(config: Config, preset: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    there = merge(Config(), preset, "preset").to_dict()
    return {
        f"{section}.{key}": [value, there[section][key]]
        for section, values in config.to_dict().items()
        for key, value in values.items()
        if value != there[section][key]
    }
