"""The gazetteer: the user's own list of mentions that must be entities, or are more or less likely to be.

A line of its file is `mention TAB label`, which forces the entity, or `mention TAB label TAB weight`, which adds the
weight to the log-odds of the entity; or the same as JSON, `{"mention": ..., "label": ..., "weight": ...}`. A file that
ends in `.gz` is decompressed.
"""

import json
import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from pathlib import Path

import numpy as np

from tagger.errors import CorpusError
from tagger.files import open_text
from tagger.tags import TagScheme, UnitSpan
from tagger.text import Units, simplified

FORCED = math.inf  # the weight of a forced entity

HEAVIEST = 50.0  # the largest finite weight; e to its power is certain enough

_BARRED = 1e4  # subtracted from the scores of all tags but those of a forced entity

_FORM = "mention TAB label [TAB weight]"

_JSON_FORM = '{"mention": ..., "label": ..., "weight": ...}'

_REMEDY = 'see "tagger help gazetteer"'


class Matcher:
    """Finds all occurrences of many strings in a text, by their first two characters.

    Args:
        strings: Any number of strings; empty ones are ignored.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = frozenset(filter(None, strings))
        heads: dict[str, set[int]] = {}
        for string in self._strings:
            heads.setdefault(string[:2], set()).add(len(string))
        self._heads = {head: sorted(lengths) for head, lengths in heads.items()}
        self._single = {string for string in self._strings if len(string) == 1}

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of every occurrence of every string, overlapping ones too."""
        heads = self._heads
        starts = [start for start, head in enumerate(map(add, text, text[1:])) if head in heads]
        matches = []
        for start in starts:
            for length in heads[text[start : start + 2]]:
                if text[start : start + length] in self._strings:
                    matches.append((start, start + length))
        if self._single:
            matches += [(start, start + 1) for start, character in enumerate(text) if character in self._single]
        return matches


class Gazetteer:
    """A gazetteer, to be added to the scores of tags.

    Args:
        entries: Weight of each label of each mention; a label with the weight `FORCED` is the only one of its mention.
        scheme: The tags.
        simplify: As `[text] simplify`: mentions are found whether text and list are in simplified or in traditional
            characters.

    Attributes:
        cut: How often each mention was ignored because its bounds are not bounds of units.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, float]], scheme: TagScheme, simplify: bool = False) -> None:
        self._simplify = simplify
        self._entries = {
            mention: [(scheme.labels.index(label), weight) for label, weight in weights.items()]
            for mention, weights in entries.items()
        }
        self._find = Matcher(entries)
        self._lock = threading.Lock()
        self.cut: Counter[str] = Counter()

    @staticmethod
    def read(path: Path | str, scheme: TagScheme, simplify: bool = False) -> "Gazetteer":
        """Return the gazetteer in a file; of lines with the same mention and label the last counts.

        Arguments as for `Gazetteer`.

        Raises:
            CorpusError: At the first line that has another form, or a label that is not in the scheme.
        """
        entries: dict[str, dict[str, float]] = {}
        with open_text(path) as lines:
            parse = None
            for number, line in lines:
                if not line.strip():
                    continue
                parse = parse or (_json_entry if line.lstrip().startswith("{") else _entry)
                place = f"{path}:{number}"
                mention, label, weight = parse(line, place)
                if label not in scheme.labels:
                    expected = f"one of the tagger's labels {', '.join(scheme.labels)}"
                    raise CorpusError(place, expected, label, "a gazetteer cannot add labels")
                weights = entries.setdefault(simplified(mention) if simplify else mention, {})
                weights[label] = weight
                if len(weights) > 1 and FORCED in weights.values():
                    received = f"{mention} with the labels {' and '.join(weights)}"
                    raise CorpusError(place, "one label for a forced mention", received, "give both a weight")
        return Gazetteer(entries, scheme, simplify)

    def __len__(self) -> int:
        return len(self._entries)

    def matches(self, units: Units) -> Iterator[tuple[UnitSpan, float]]:
        """Yield the span and the weight of each entry that applies to a text, once for each label of a mention.

        No two mentions overlap: forced ones go first, then longer ones, then those on the left. A mention whose bounds
        are not bounds of units is counted in `cut` and does not stand in the way of others.
        """
        text, covered = simplified(units.text) if self._simplify else units.text, bytearray(len(units.text))
        matches = [(start, end, self._entries[text[start:end]]) for start, end in self._find(text)]
        matches.sort(key=lambda match: (match[2][0][1] != FORCED, match[0] - match[1], match[0]))
        for start, end, labels in matches:
            if any(covered[start:end]):
                continue
            span = units.unit_span(start, end)
            if span is None:
                with self._lock:
                    self.cut[text[start:end]] += 1
                continue
            covered[start:end] = b"\1" * (end - start)
            for label, weight in labels:
                yield UnitSpan(*span, label), weight

    def add(self, texts: Sequence[Units], scores: np.ndarray) -> None:
        """Add the gazetteer to the scores of tags.

        A weight is divided among the units of its entity, so that it is added once to the score of a path with that
        entity. Where an entity is forced, all tags but those of the entity are made impossible.

        Args:
            texts: The texts.
            scores: Score of each tag at each of their units, one text after another, (T, K) float32; modified.
        """
        rows: list[int] = []
        tags: list[int] = []
        weights: list[float] = []
        offset = 0
        for units in texts:
            for (start, end, label), weight in self.matches(units):
                rows += range(offset + start, offset + end)
                tags += TagScheme.entity_tags(label, end - start)
                weights += [weight / (end - start)] * (end - start)
            offset += len(units)
        if not rows:
            return
        positions, columns, added = np.array(rows), np.array(tags), np.array(weights, np.float32)
        forced = np.isinf(added)
        scores[positions[~forced], columns[~forced]] += added[~forced]
        positions, columns = positions[forced], columns[forced]
        unchanged = scores[positions, columns]
        scores[positions] -= np.float32(_BARRED)
        scores[positions, columns] = unchanged


def _entry(line: str, place: str) -> tuple[str, str, float]:
    """Return mention, label and weight of a line of the tabular form."""
    mention, *rest = line.split("\t")
    if not 1 <= len(rest) <= 2:
        raise CorpusError(place, _FORM, repr(line), _REMEDY)
    try:
        weight = float(rest[1]) if len(rest) == 2 and rest[1].strip() else FORCED
    except ValueError:
        raise CorpusError(place, "a number as weight", repr(rest[1]), _REMEDY) from None
    return _checked(mention, rest[0].strip(), weight, place)


def _json_entry(line: str, place: str) -> tuple[str, str, float]:
    """Return mention, label and weight of a line of JSON."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, _JSON_FORM, f"{line.strip()!r} ({error})", _REMEDY) from error
    match [value.get(key) for key in ("mention", "label", "weight")] if isinstance(value, dict) else []:
        case [str(mention), str(label), None | int() | float() as weight] if not isinstance(weight, bool):
            return _checked(mention, label, FORCED if weight is None else float(weight), place)
    raise CorpusError(place, _JSON_FORM, line.strip(), _REMEDY)


def _checked(mention: str, label: str, weight: float, place: str) -> tuple[str, str, float]:
    """Return an entry whose mention and weight are valid."""
    if not mention or mention != mention.strip():
        raise CorpusError(place, "a mention without white space at its ends", repr(mention), _REMEDY)
    if weight != FORCED and not abs(weight) <= HEAVIEST:
        expected = f"a weight from -{HEAVIEST:g} to {HEAVIEST:g}, or inf"
        raise CorpusError(place, expected, str(weight), "leave the weight out to force the entity")
    return mention, label, weight
