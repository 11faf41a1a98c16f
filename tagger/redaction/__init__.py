"""Redaction: what identifies people is replaced in documents, everywhere, and their annotations move along."""

import hashlib
import hmac
import itertools
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tagger.calibration import Thresholds
from tagger.documents import Document, Entity, Span, distinct, squeeze
from tagger.errors import ConfigError, CorpusError
from tagger.pipeline import Tagger
from tagger.redaction.lists import Lists
from tagger.redaction.occurrences import Occurrences
from tagger.redaction.rules import RULES, look_alikes, matches
from tagger.redaction.stand_ins import stand_in
from tagger.redaction.stretches import everywhere, joined

# What a mention can be replaced by.
REPLACEMENTS = {
    "label": "its label and a number, [PER_1], the same for the same string in a text",
    "mask": "asterisks, as many as it has characters",
    "stand-in": "another name or number of the same kind and length, the same for the same string in a text",
}

_UNSURE = 0.5  # probability below which a replaced entity is reported for review

_LEAST = 10**10  # a number in a record from which it may be that of a telephone

_TRIES = 100  # stand-ins that are made until one is no mention


@dataclass(frozen=True)
class Redacted:
    """A document after redaction.

    Args:
        document: With the new text; its entities, their offsets and all else of the record have moved along.
        changes: The replaced stretches of the old text, in order and apart; of what a rule, a list or an annotation
            says, the score is 1.
        replacements: What stands in the place of each.
        unsure: Entities for review: those replaced with a low probability, those too improbable to be replaced, and
            numbers in which only a check digit is wrong, with the score 0.
        elsewhere: What stands in the other values of the record in the place of what rules and lists found there alone,
            and its label.
        left_out: How many lists of the record were left out, as what was replaced stood there in pieces: tokens.
    """

    document: Document
    changes: tuple[Entity, ...]
    replacements: tuple[str, ...]
    unsure: tuple[Entity, ...]
    elsewhere: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    @property
    def replaced(self) -> list[dict[str, Any]]:
        """Return where each replacement stands in the new text: `start`, `end`, `label`, `text`."""
        shift, replaced = 0, []
        for change, new in zip(self.changes, self.replacements, strict=True):
            start = change.start + shift
            shift += len(new) - len(change.text)
            replaced.append({"start": start, "end": start + len(new), "label": change.label, "text": new})
        return replaced


@dataclass(frozen=True)
class Redactor:
    """Replaces what a tagger, rules, lists and annotations say, wherever it occurs in a document.

    The tagger reads the text; rules and lists read all strings of the record, but for its `id`. A string of one
    character is replaced where it was found, and where the same character follows.

    Args:
        tagger: None for rules and lists alone.
        by: One of `REPLACEMENTS`.
        thresholds: How probable an entity must be to be replaced.
        labels: Labels of entities, predicted or annotated, and names of rules to replace; if empty, all of the tagger
            and all rules.
        lists: Strings that are always or never replaced, and a secret.
    """

    tagger: Tagger | None
    by: str = "label"
    thresholds: Thresholds = field(default_factory=Thresholds)
    labels: frozenset[str] = frozenset()
    lists: Lists = field(default_factory=Lists)

    def __call__(self, documents: Iterable[Document]) -> Iterator[Redacted]:
        """Yield each document after redaction, in order and in bounded memory."""
        documents, copies = itertools.tee(documents)
        texts = (document.text for document in copies)
        predicted = (result.entities for result in self.tagger.results(texts, answers=False)) if self.tagger else None
        for document in documents:
            yield self.redact(document, next(predicted) if predicted else ())

    def redact(self, document: Document, entities: Iterable[Entity]) -> Redacted:
        """Return a document after redaction, given what the tagger predicts for its text.

        Raises:
            CorpusError: If its record is nested so deeply that it cannot be searched.
        """
        try:
            return self._redacted(document, entities)
        except RecursionError as error:
            place = document.place or "document"
            raise CorpusError(place, "a record of ordinary depth", "one nested deeply", "flatten it") from error

    def _redacted(self, document: Document, entities: Iterable[Entity]) -> Redacted:
        entities = [entity for entity in entities if self._wanted(entity.label) and entity.text not in self.lists.never]
        replaced = self.thresholds(entities)
        values = _joined_strings({key: value for key, value in document.extra.items() if key != "id"})
        of_values = {entity.text: entity.label for entity in joined(values, self._by_rules(values))}
        given = [*self._by_rules(document.text), *self._annotated(document), *replaced]
        changes = everywhere(document.text, [*given, *_found(document.text, of_values, Occurrences(of_values))])
        strings: dict[str, str] = {}
        for change in changes:
            strings.setdefault(change.text, change.label)
        elsewhere = {string: label for string, label in of_values.items() if string not in strings}
        new = self._replacements(strings | elsewhere)
        move = _Move(changes, [new[change.text] for change in changes])
        probable = set(replaced)
        unsure = [entity for entity in entities if entity not in probable or entity.score < _UNSURE]
        others = _Strings(new)
        return Redacted(
            _moved(document, move, others),
            tuple(changes),
            tuple(move.replacements),
            (*unsure, *self._look_alikes(document.text, changes)),
            tuple((new[string], label) for string, label in elsewhere.items()),
            others.left_out,
        )

    def _wanted(self, label: str) -> bool:
        return not self.labels or label in self.labels

    def _annotated(self, document: Document) -> Iterator[Entity]:
        """Yield the entities that the document is annotated with, of labels that the tagger has."""
        wanted = self.labels or (self.tagger.labels if self.tagger else ())
        for start, end, label in document.entities:
            if label in wanted and document.text[start:end] not in self.lists.never:
                yield Entity(start, end, label, document.text[start:end], 1.0)

    def _by_rules(self, text: str) -> Iterator[Entity]:
        if not text:
            return
        for start, end, label in matches(text, self._rules):
            if text[start:end] not in self.lists.never:
                yield Entity(start, end, label, text[start:end], 1.0)
        yield from _found(text, self.lists.always, self.lists.occurrences)

    def _look_alikes(self, text: str, changes: list[Entity]) -> Iterator[Entity]:
        starts = [change.start for change in changes]
        for start, end, label in look_alikes(text, self._rules):
            before = bisect_left(starts, end) - 1
            if (before < 0 or changes[before].end <= start) and text[start:end] not in self.lists.never:
                yield Entity(start, end, label, text[start:end], 0.0)

    @property
    def _rules(self) -> list[str]:
        return [name for name in RULES if self._wanted(name)]

    def _replacements(self, strings: Mapping[str, str]) -> dict[str, str]:
        """Return what each string is replaced by, given its label, in the order in which they occur."""
        key = self.lists.key or secrets.token_bytes(16)
        counts: dict[str, int] = {}
        new: dict[str, str] = {}
        taken = Occurrences(strings)
        for string, label in strings.items():
            digest = hmac.digest(key, f"{label}\0{string}".encode("utf-8", "surrogatepass"), hashlib.sha256)
            if self.by == "mask":
                new[string] = "*" * len(string)
            elif self.by == "label":
                counts[label] = counts.get(label, 0) + 1
                new[string] = f"[{label}_{digest.hex()[:8] if self.lists.key else counts[label]}]"
            else:
                new[string] = _fresh(label, string, Random(digest), taken)
                taken.add(new[string])
        return new


def parse_labels(given: str, labels: Iterable[str], name: str = "--labels") -> frozenset[str]:
    """Return the labels in `PER,PHONE`, for `Redactor`.

    Args:
        given: As given by the user.
        labels: Of the tagger.
        name: Of the option, for the error.

    Raises:
        ConfigError: If one is neither a label of the tagger nor a rule.
    """
    wanted, known = frozenset(filter(None, given.split(","))), [*labels, *RULES]
    if unknown := sorted(wanted.difference(known)):
        raise ConfigError(f"{name}: no label or rule {unknown[0]!r}; there are: {', '.join(known)}")
    return wanted


def _found(text: str, labels: Mapping[str, str], occurrences: Occurrences) -> Iterator[Entity]:
    """Yield where strings that have a label occur in a text."""
    for start, string in occurrences(text):
        yield Entity(start, start + len(string), labels[string], string, 1.0)


def _fresh(label: str, string: str, random: Random, taken: Occurrences) -> str:
    """Return a stand-in in which none of the strings taken occurs; asterisks if there is none."""
    for _ in range(_TRIES):
        made = stand_in(label, string, random)
        if not taken.are_in(made):
            return made
    return "*" * len(string)


# ---- what moves along ---------------------------------------------------------------------------------------------
class _Move:
    """From places in the old text to places in the new one."""

    def __init__(self, changes: list[Entity], replacements: list[str]) -> None:
        self.changes, self.replacements = changes, replacements
        self._starts = [change.start for change in changes]
        grown = (len(new) - len(change.text) for change, new in zip(changes, replacements, strict=True))
        self._grown = [0, *itertools.accumulate(grown)]

    def text(self, text: str) -> str:
        parts, at = [], 0
        for change, new in zip(self.changes, self.replacements, strict=True):
            parts += [text[at : change.start], new]
            at = change.end
        return "".join([*parts, text[at:]])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch is now; one that begins or ends inside a change is widened to the whole of it."""
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._starts, end) - 1
        start_inside = first >= 0 and start < self.changes[first].end
        end_inside = last >= 0 and end <= self.changes[last].end
        new_start = self._start(first) if start_inside else start + self._grown[first + 1]
        new_end = self._start(last) + len(self.replacements[last]) if end_inside else end + self._grown[last + 1]
        return new_start, new_end

    def _start(self, number: int) -> int:
        return self.changes[number].start + self._grown[number]


class _Strings:
    """The strings that are replaced, to be replaced in the other values of a record, whatever blanks are in them.

    Attributes:
        left_out: Lists that were left out, as they had a string in pieces: the tokens of a text.
    """

    def __init__(self, new: Mapping[str, str]) -> None:
        self._new = {squeeze(string): replacement for string, replacement in new.items()}
        self._occurrences = Occurrences(string for string in self._new if len(string) > 1)
        self.left_out = 0

    def replaced(self, value: Any) -> Any:
        """Return a value with all strings in it changed, the keys of its objects included."""
        if isinstance(value, str):
            return self._new.get(value) or self._in_string(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._new.get(str(value), value)
        if isinstance(value, Mapping):
            new: dict[str, Any] = {}
            for key, inner in value.items():
                if not self._spelt(inner):
                    new[_distinct(self.replaced(key), new)] = self.replaced(inner)
            return new
        if isinstance(value, list | tuple):
            return [self.replaced(inner) for inner in value if not self._spelt(inner)]
        return value

    def record(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values of a record, under the same keys."""
        return {key: self.replaced(value) for key, value in extra.items() if not self._spelt(value)}

    def _in_string(self, value: str) -> str:
        places = [place for place, sign in enumerate(value) if not sign.isspace()]
        parts, end = [], 0
        for start, string in self._occurrences.apart("".join([value[place] for place in places])):
            parts += [value[end : places[start]], self._new[string]]
            end = places[start + len(string) - 1] + 1
        return "".join([*parts, value[end:]])

    def _spelt(self, value: Any) -> bool:
        """Return whether a list has a string in several of its items, as the tokens of a text, and count it."""
        if not isinstance(value, list | tuple):
            return False
        ends = [0, *itertools.accumulate(len(squeeze(_piece(item))) for item in value)]
        joined = squeeze("".join(map(_piece, value)))
        is_spelt = any(
            ends[bisect_right(ends, start)] < start + len(string) for start, string in self._occurrences(joined)
        )
        self.left_out += is_spelt
        return is_spelt


def _distinct(key: str, taken: Container[str]) -> str:
    """Return a key, or where it is taken, with a number behind it."""
    numbered = (f"{key}_{number}" for number in itertools.count(2))
    return key if key not in taken else next(new for new in numbered if new not in taken)


def _piece(item: Any) -> str:
    """Return an item of a list of tokens as a string: itself, the first in an object, those in a list; "" if none."""
    if isinstance(item, Mapping):
        return next((value for value in item.values() if isinstance(value, str)), "")
    if isinstance(item, list | tuple):
        return "".join(inner for inner in item if isinstance(inner, str))
    return item if isinstance(item, str) else ""


def _moved(document: Document, move: _Move, strings: _Strings) -> Document:
    text = move.text(document.text)
    entities = _apart(Span(*move.span(start, end), label) for start, end, label in document.entities)
    return replace(
        document,
        text=text,
        entities=entities,
        scores=document.scores if len(entities) == len(document.entities) else (),
        answers=distinct(map(strings.replaced, document.answers)),
        unlabelled=_merged(move.span(start, end) for start, end in document.unlabelled),
        extra=strings.record(document.extra),
        predicted=tuple(
            entity._replace(start=start, end=end, text=text[start:end])
            for entity in document.predicted
            for start, end in [move.span(entity.start, entity.end)]
        ),
    )


def _merged(stretches: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return stretches in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in stretches:
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)


def _joined_strings(value: Any) -> str:
    """Return all strings and large numbers in a value, keys included, apart so that no pattern sees two as one."""
    return "\n\0\n".join(filter(None, _strings(value)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int):
        yield str(value) if value >= _LEAST else ""
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_strings(key), *_strings(inner))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans that were apart in the old text; of two in one change, the first."""
    apart: list[Span] = []
    for span in spans:
        if not apart or span.start >= apart[-1].end:
            apart.append(span)
    return tuple(apart)
