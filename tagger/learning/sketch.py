"""Sketches of texts: in bounded memory, which texts there are, to see how far two sets of texts differ."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagger.files.arrays import read_arrays
from tagger.files.outputs import atomic_file

_MOST = 1 << 17  # hashes in a sketch: a megabyte and a half


class Difference(NamedTuple):
    """How far two sets of texts differ.

    Args:
        texts: That only one of them has, of the one that has more such texts; an estimate where there are many texts.
        characters: Share of the characters that are in such texts, of the one of which it is higher, 0 to 1.
    """

    texts: int
    characters: float


EQUAL = Difference(0, 0.0)


@dataclass(frozen=True)
class Sketch:
    """The hashes of texts; of many texts, of a sample that is the same in every set of texts which has them.

    Args:
        digest: SHA-256 of all texts in their order, in hexadecimal digits.
        texts: Number of texts that are not blank, repeated ones included.
        characters: Number of their characters.
        level: Only texts whose hash ends in so many zero bits are sampled.
        hashes: Of the distinct sampled texts, in ascending order, (N,) uint64.
        lengths: Their numbers of characters, (N,) uint32.
    """

    digest: str
    texts: int
    characters: int
    level: int
    hashes: np.ndarray
    lengths: np.ndarray

    @staticmethod
    def of(texts: Iterable[str], most: int = _MOST) -> "Sketch":
        """Return the sketch of texts, which are read one by one; of `most` texts at most."""
        digest, count, characters, level = hashlib.sha256(), 0, 0, 0
        sampled: dict[int, int] = {}
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little") + content)
            if not text or text.isspace():
                continue
            count, characters = count + 1, characters + len(text)
            key = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
            if not key & ((1 << level) - 1):
                sampled[key] = min(len(text), 2**32 - 1)
            while len(sampled) > most:
                level += 1
                sampled = {key: length for key, length in sampled.items() if not key & ((1 << level) - 1)}
        hashes = np.array(sorted(sampled), np.uint64)
        lengths = np.array([sampled[key] for key in hashes.tolist()], np.uint32)
        return Sketch(digest.hexdigest(), count, characters, level, hashes, lengths)

    def difference(self, other: "Sketch") -> Difference:
        """Return how far the texts of two sketches differ."""
        level = max(self.level, other.level)
        (ours, our_lengths), (theirs, their_lengths) = self._at(level), other._at(level)
        only_ours, only_theirs = ~np.isin(ours, theirs), ~np.isin(theirs, ours)
        shares = [
            _share(our_lengths, only_ours),
            _share(their_lengths, only_theirs),
            abs(self.characters - other.characters) / max(self.characters, other.characters, 1),
        ]
        texts = max(int(only_ours.sum()), int(only_theirs.sum())) << level
        return Difference(max(texts, abs(self.texts - other.texts)), max(shares))

    def _at(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Return hashes and lengths of the texts that are sampled at this level."""
        sampled = (self.hashes & np.uint64((1 << level) - 1)) == 0
        return self.hashes[sampled], self.lengths[sampled]

    def save(self, path: Path) -> None:
        """Write a file."""
        counts = np.array([self.texts, self.characters, self.level], np.int64)
        with atomic_file(path) as part, part.open("wb") as file:
            np.savez(file, digest=np.array(self.digest), counts=counts, hashes=self.hashes, lengths=self.lengths)

    @staticmethod
    def load(path: Path) -> "Sketch | None":
        """Return what `save` wrote; None if it is not there or damaged."""
        arrays = read_arrays(path) or {}
        try:
            texts, characters, level = arrays["counts"].tolist()
            sketch = Sketch(str(arrays["digest"]), texts, characters, level, arrays["hashes"], arrays["lengths"])
        except (KeyError, ValueError, TypeError):
            return None
        return sketch if sketch.hashes.shape == sketch.lengths.shape and 0 <= level < 64 else None


def _share(lengths: np.ndarray, chosen: np.ndarray) -> float:
    """Return the share of the characters that are in the chosen texts."""
    return float(lengths[chosen].sum(dtype=np.float64) / max(lengths.sum(dtype=np.float64), 1.0))
