"""jieba's dictionary as a gazetteer: which of its words begin at, cover, and end at a character, and their part of
speech (nr: person, ns: place, nt: organisation, ...).

Lexicon features after Ma et al. (2020), reduced to the longest word on each side and its part of speech.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tagger.config import TextConfig
from tagger.errors import VectorsError
from tagger.text import normal

LONGEST = 8  # characters; longer words are not in the lexicon
NO_WORD, UNTAGGED = 0, 1  # parts of speech have ids from 2 on
TAGS = 64  # ids of parts of speech, the two above included
LENGTHS = 64  # joint lengths of the words that begin at, cover, and end at a character
COLUMNS = 5  # joint lengths; part of speech of the word around, beginning at, covering, and ending at a character

_BUCKETS = 19  # bits of a key that say where to look for it


class Lexicon:
    """Words and their parts of speech, found by 32-bit hash; about one string in ten thousand is taken for a word.

    Args:
        keys: Hashes of the words, ascending, (N,) uint32.
        tags: Part of speech of each word, (N,) uint8.
    """

    def __init__(self, keys: np.ndarray, tags: np.ndarray) -> None:
        self.keys, self.tags = keys, tags
        last = np.uint32(2**32 - 1)
        self._keys, self._tags = np.append(keys, last), np.append(tags, np.uint8(NO_WORD))
        buckets = np.arange(2**_BUCKETS, dtype=np.uint32) << np.uint32(32 - _BUCKETS)
        self._first = np.searchsorted(keys, buckets).astype(np.int32)

    @staticmethod
    def of(words: Iterable[tuple[str, str]], fold: bool) -> "Lexicon":
        """Return the lexicon of words and their parts of speech; the first of equal words counts.

        Args:
            words: Words, and tags such as "nr"; an empty tag for none.
            fold: As `[text] fold`.
        """
        tags: dict[str, int] = {}
        found: dict[str, int] = {}
        for word, tag in words:
            word = normal(word, fold)
            if 0 < len(word) <= LONGEST and " " not in word:
                known = tags.setdefault(tag, min(len(tags) + 2, TAGS - 1)) if tag else UNTAGGED
                found.setdefault(word, known)
        hashes = np.empty(len(found), np.uint32)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        values = np.fromiter(found.values(), np.uint8, len(found))
        text = np.frombuffer("".join(found).encode("utf-32-le", "surrogatepass"), np.uint32)
        starts = np.cumsum(lengths) - lengths
        for length in range(1, LONGEST + 1):
            chosen = np.flatnonzero(lengths == length)
            parts = text[starts[chosen][:, None] + np.arange(length)]
            state = np.zeros(len(chosen), np.uint32)
            for column in range(length):
                state = _on(state, parts[:, column])
            hashes[chosen] = _key(state, length)
        keys, first = np.unique(hashes, return_index=True)
        return Lexicon(keys, values[first])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the part of speech of the word with each key, `NO_WORD` where there is none, (N,) uint8."""
        place = self._first[keys >> np.uint32(32 - _BUCKETS)]
        before = np.flatnonzero(self._keys[place] < keys)
        while len(before):
            place[before] += 1
            before = before[self._keys[place[before]] < keys[before]]
        return np.where(self._keys[place] == keys, self._tags[place], np.uint8(NO_WORD))

    def columns(self, codes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the features of each character of a text.

        Args:
            codes: Code points, (N,) uint32. A space is in no word.
            lengths: Of the segmented words, (W,) int; they add up to N.

        Returns:
            (`COLUMNS`, N) int32.
        """
        size = len(codes)
        result = np.zeros((COLUMNS, size), np.int32)
        longest = np.zeros((3, size), np.int32)  # word that begins at, covers, ends at a character
        _, around, begins, covers, ends = result
        starts = np.cumsum(lengths) - lengths
        state = np.zeros(size, np.uint32)
        for length in range(1, min(LONGEST, size) + 1):
            state = _on(state[: size - length + 1], codes[length - 1 :])
            tags = self.find(_key(state, length))
            own = starts[lengths == length]
            around[own] = tags[own]
            if length == 1:
                continue
            (at,) = np.nonzero(tags)
            values = tags[at]
            begins[at], longest[0, at] = values, length
            ends[at + length - 1], longest[2, at + length - 1] = values, length
            for offset in range(1, length - 1):
                covers[at + offset], longest[1, at + offset] = values, length
        result[1] = np.repeat(around[starts], lengths)
        short = np.clip(longest - 1, 0, 3)
        result[0] = 16 * short[0] + 4 * short[1] + short[2]
        return result

    def save(self, folder: Path) -> None:
        """Write `lexicon.keys.npy` and `lexicon.tags.npy` into `folder`."""
        np.save(folder / "lexicon.keys.npy", self.keys, allow_pickle=False)
        np.save(folder / "lexicon.tags.npy", self.tags, allow_pickle=False)

    @staticmethod
    def load(folder: Path) -> "Lexicon":
        """Return a saved lexicon.

        Raises:
            VectorsError: If a file is missing or they do not fit together.
        """
        try:
            keys, tags = (np.load(folder / f"lexicon.{name}.npy", allow_pickle=False) for name in ("keys", "tags"))
        except (OSError, ValueError, EOFError) as error:
            raise VectorsError(f"{folder}: the lexicon cannot be read: {error}") from error
        if keys.dtype != np.uint32 or tags.dtype != np.uint8 or keys.shape != tags.shape or keys.ndim != 1:
            raise VectorsError(f"{folder}: lexicon.keys.npy and lexicon.tags.npy do not fit together")
        return Lexicon(keys, tags)


def dictionary(config: TextConfig) -> Lexicon:
    """Return the lexicon of jieba's dictionary, and of the words of `[text]`."""
    import jieba

    def words() -> Iterator[tuple[str, str]]:
        with jieba.Tokenizer().get_dict_file() as lines:
            for line in lines:
                word, *_, tag = line.decode("utf-8").split(" ")
                yield word, tag.strip()
        yield from ((word, "") for word in config.words)

    return Lexicon.of(words(), config.fold)


def _on(state: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the hash states of strings one character longer."""
    return (state ^ codes) * np.uint32(0x9E3779B1) + np.uint32(0x7F4A7C15)


def _key(state: np.ndarray, length: int) -> np.ndarray:
    """Return the keys of strings of this length: their states, stirred."""
    state = (state + np.uint32(length)) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(15))) * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))
