"""Tokens with tags: entities from tags of any scheme, a text from its tokens, and the tags of spans.

A letter means the same in every scheme: B begins an entity, I and M continue it, E and L end it, S and U are an entity
of one token. Therefore one reader serves all schemes. Ill-formed sequences are repaired as the scorer of the CoNLL
shared task reads them: a tag that continues or ends an entity which has not begun, or has another label, begins one; an
entity that is not ended ends with its last tag.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from tagger.documents import Document, Notes, Span, is_label, labelled

# Letters of the only, first, middle and last token of an entity. Not taken from `tags`, which imports NumPy.
SCHEMES = {"bio": tuple("BBII"), "bioes": tuple("SBIE"), "bmes": tuple("SBME"), "bilou": tuple("UBIL")}

SINGLE, FIRST, MIDDLE, INNER, LAST = 1, 2, 3, 4, 5  # INNER is a middle in a scheme that has a last

UNNAMED = "ENTITY"  # the label where tags have none

Tag = tuple[int, str]  # part of an entity, 0 for none; its label

_PARTS = {"B": FIRST, "I": MIDDLE, "M": INNER, "E": LAST, "L": LAST, "S": SINGLE, "U": SINGLE}

_CONTINUING = (MIDDLE, INNER, LAST)

_TAG = re.compile(r"[Oo]|([BIMELSUbimelsu])[-_](\S.*)")

_REVERSED = re.compile(r"[Oo]|(\S.*)[-_]([BIMELSUbimelsu])")

_KEYED = re.compile(r"(?i)(?:^|.*\|)(?:name|ne|ner|entity)=([^|]+)(?:\|.*)?")

_CELL = re.compile(r"[A-Za-z][A-Za-z_.]*")


# ---- tags -------------------------------------------------------------------------------------------------------
@lru_cache(1024)
def plain_tag(tag: str) -> Tag | None:
    """Return (part of the entity, label) of `B-PER`, (0, "") of `O`, None if it is not a tag."""
    match = _TAG.fullmatch(tag)
    if not match:
        return None
    label = "_".join((match[2] or "").split())
    if match[1] and not is_label(label):
        return None
    return (_PARTS[match[1].upper()], label) if match[1] else (0, "")


@lru_cache(1024)
def reversed_tag(tag: str) -> Tag | None:
    """Return what `plain_tag` does, of `PER-B`."""
    match = _REVERSED.fullmatch(tag)
    return plain_tag(f"{match[2]}-{match[1]}" if match[1] else "O") if match else None


@lru_cache(1024)
def keyed_tag(tag: str) -> Tag | None:
    """Return what `plain_tag` does, of a cell of CoNLL-U such as `SpaceAfter=No|name=B-PER`; `_` is outside."""
    match = _KEYED.fullmatch(tag)
    return plain_tag(match[1]) if match else (0, "") if tag == "_" or "=" in tag else None


@lru_cache(1024)
def bare_tag(tag: str) -> Tag | None:
    """Return what `plain_tag` does, of `B`, which has no label."""
    return plain_tag(tag if tag in ("O", "o") else f"{tag}-{UNNAMED}") if len(tag) == 1 else None


@lru_cache(1024)
def inside_tag(tag: str) -> Tag | None:
    """Return what `plain_tag` does, of `PER`, which has no letter; equal neighbours are one entity."""
    return plain_tag("O" if tag == "O" else f"I-{tag}") if _CELL.fullmatch(tag) else None


class Decoder:
    """Tags -> spans of tokens, counting repairs.

    Args:
        tag: Returns the part and the label of a tag that was checked before.
        headless: Whether it is a fault that nothing begins an entity.
    """

    def __init__(self, tag: Callable[[str], Tag | None] = plain_tag, headless: bool = True) -> None:
        self._tag, self._noted = tag, headless
        self.headless = self.endless = 0
        self.parts: set[int] = set()
        self.spaced = self.entities = 0

    def __call__(self, tags: Sequence[str]) -> list[tuple[int, int, str]]:
        """Return the (start, end, label) of each entity."""
        spans = []
        start, open_label = -1, ""
        for position, tag in enumerate([*tags, "O"]):
            part, label = self._tag(tag) or (0, "")
            continues = start >= 0 and part in _CONTINUING and label == open_label
            if start >= 0 and not continues:
                spans.append((start, position, open_label))
                self.endless += 1
                start = -1
            self.headless += part in _CONTINUING and not continues
            if part and not continues:
                start, open_label = position, label
                self.spaced += any(map(str.isspace, tag))
            if part in (SINGLE, LAST):
                spans.append((start, position + 1, label))
                start = -1
            self.parts.add(part)
        self.entities += len(spans)
        return spans

    def note(self, notes: Notes) -> None:
        """Note the repairs; in a scheme without letters for the end, such as BIO, no entity needs to be ended."""
        if self._noted:
            notes["repaired: entities that nothing began"] += self.headless
        if self.parts & {INNER, LAST, SINGLE}:
            notes["repaired: entities that nothing ended"] += self.endless
        notes["repaired: labels with white space, written with _"] += self.spaced


# ---- tokens -----------------------------------------------------------------------------------------------------
def joined(tokens: Sequence[str]) -> tuple[str, list[int]]:
    """Return the text of tokens, none of them empty, and where each begins; a space is put between Latin words."""
    starts, size, before, parts = [], 0, "", []
    for token in tokens:
        if max(len(before), len(token)) > 1 and _is_latin(before[-1:]) and _is_latin(token[0]):
            parts.append(" ")
            size += 1
        starts.append(size)
        parts.append(token)
        size, before = size + len(token), token
    return "".join(parts), starts


def document(tokens: Sequence[str], spans: Iterable[tuple[int, int, str]], **more: object) -> Document:
    """Return the document of tokens and of spans of them."""
    text, starts = joined(tokens)
    ends = [start + len(token) for start, token in zip(starts, tokens, strict=True)]
    found = [Span(starts[first], ends[last - 1], label) for first, last, label in spans]
    return labelled(text, found, **more)  # type: ignore[arg-type]


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def tags(size: int, spans: Iterable[tuple[int, int, str]], scheme: str) -> list[str]:
    """Return the tags of `size` tokens of which these spans (start, end, label) are entities."""
    single, first, middle, last = SCHEMES[scheme]
    found = ["O"] * size
    for start, end, label in spans:
        letters = single if end - start == 1 else first + middle * (end - start - 2) + last
        found[start:end] = [f"{letter}-{label}" for letter in letters[: end - start]]
    return found
