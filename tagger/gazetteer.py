"""A gazetteer: mentions that are to be entities, or are more likely to be.

A line is `mention TAB label`, which forces the entity, or `mention TAB label TAB weight`, which adds the weight to its
log-odds; or the same as JSON Lines, `{"mention": ..., "label": ..., "weight": ...}`. `.gz` is read as it is.
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
from tagger.text import Units

FORCED = math.inf

HEAVIEST = 50.0  # a finite weight; e to its power is certain enough

_BARRED = 1e4  # taken off the scores of the tags that a forced entity does not have

_FORM = "mention TAB label [TAB weight]"

_JSON_FORM = '{"mention": ..., "label": ..., "weight": ...}'

_REMEDY = 'see "tagger help gazetteer"'


class Matcher:
    """Finds strings in texts, by the two characters they begin with.

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
        found = []
        for start in starts:
            for length in heads[text[start : start + 2]]:
                if text[start : start + length] in self._strings:
                    found.append((start, start + length))
        if self._single:
            found += [(start, start + 1) for start, character in enumerate(text) if character in self._single]
        return found


class Gazetteer:
    """The gazetteer, ready to be added to scores of tags.

    Args:
        entries: Weight of each label of each mention; `FORCED` stands alone.
        scheme: The tags.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, float]], scheme: TagScheme) -> None:
        self._entries = {
            mention: [(scheme.labels.index(label), weight) for label, weight in weights.items()]
            for mention, weights in entries.items()
        }
        self._find = Matcher(entries)
        self._lock = threading.Lock()
        self.cut: Counter[str] = Counter()
        """How often a mention was passed over because units cut it."""

    @staticmethod
    def read(path: Path | str, scheme: TagScheme) -> "Gazetteer":
        """Return the gazetteer in a file; of lines with the same mention and label the last counts.

        Raises:
            CorpusError: At the first line that is not of the form, or whose label the scheme does not know.
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
                    known = f"one of the tagger's labels {', '.join(scheme.labels)}"
                    raise CorpusError(place, known, label, "a gazetteer cannot bring new labels")
                weights = entries.setdefault(mention, {})
                weights[label] = weight
                if len(weights) > 1 and FORCED in weights.values():
                    received = f"{mention} with the labels {' and '.join(weights)}"
                    raise CorpusError(place, "one label for a forced mention", received, "give both a weight")
        return Gazetteer(entries, scheme)

    def __len__(self) -> int:
        return len(self._entries)

    def found(self, units: Units) -> Iterator[tuple[UnitSpan, float]]:
        """Yield the entries that count in a text and their weights, once for each label.

        No two mentions overlap: forced ones come first, then longer ones, then those on the left. One that units cut
        is counted in `cut` and leaves its place to others.
        """
        text, taken = units.text, bytearray(len(units.text))
        matches = [(start, end, self._entries[text[start:end]]) for start, end in self._find(text)]
        matches.sort(key=lambda match: (match[2][0][1] != FORCED, match[0] - match[1], match[0]))
        for start, end, labels in matches:
            if any(taken[start:end]):
                continue
            span = units.unit_span(start, end)
            if span is None:
                with self._lock:
                    self.cut[text[start:end]] += 1
                continue
            taken[start:end] = b"\1" * (end - start)
            for label, weight in labels:
                yield UnitSpan(*span, label), weight

    def add(self, made: Sequence[Units], scores: np.ndarray) -> None:
        """Add the gazetteer to the scores of tags.

        A weight is shared out among the units of its entity, so that it is added once to the score of a path with that
        entity. Where an entity is forced, all tags but its own are barred.

        Args:
            made: Texts.
            scores: Score of each tag at each of their units, one text after another, (T, K) float32; modified.
        """
        rows: list[int] = []
        tags: list[int] = []
        weights: list[float] = []
        offset = 0
        for units in made:
            for (start, end, label), weight in self.found(units):
                rows += range(offset + start, offset + end)
                tags += TagScheme.entity_tags(label, end - start)
                weights += [weight / (end - start)] * (end - start)
            offset += len(units)
        if not rows:
            return
        places, columns, added = np.array(rows), np.array(tags), np.array(weights, np.float32)
        forced = np.isinf(added)
        scores[places[~forced], columns[~forced]] += added[~forced]
        places, columns = places[forced], columns[forced]
        own = scores[places, columns]
        scores[places] -= np.float32(_BARRED)
        scores[places, columns] = own


def _entry(line: str, place: str) -> tuple[str, str, float]:
    mention, *rest = line.split("\t")
    if not 1 <= len(rest) <= 2:
        raise CorpusError(place, _FORM, repr(line), _REMEDY)
    try:
        weight = float(rest[1]) if len(rest) == 2 and rest[1].strip() else FORCED
    except ValueError:
        raise CorpusError(place, "a number as weight", repr(rest[1]), _REMEDY) from None
    return _checked(mention, rest[0].strip(), weight, place)


def _json_entry(line: str, place: str) -> tuple[str, str, float]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(place, _JSON_FORM, f"{line.strip()!r} ({error})", _REMEDY) from error
    given = [value.get(key) for key in ("mention", "label", "weight")] if isinstance(value, dict) else []
    match given:
        case [str(mention), str(label), None | int() | float() as weight] if not isinstance(weight, bool):
            return _checked(mention, label, FORCED if weight is None else float(weight), place)
    raise CorpusError(place, _JSON_FORM, line.strip(), _REMEDY)


def _checked(mention: str, label: str, weight: float, place: str) -> tuple[str, str, float]:
    if not mention or mention != mention.strip():
        raise CorpusError(place, "a mention without white space round it", repr(mention), _REMEDY)
    if weight != FORCED and not abs(weight) <= HEAVIEST:
        wanted = f"a weight from -{HEAVIEST:g} to {HEAVIEST:g}, or inf"
        raise CorpusError(place, wanted, str(weight), "leave the weight out to force the entity")
    return mention, label, weight
