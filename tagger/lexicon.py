"""The lexicon, which is jieba's dictionary with the user's words: which of its words begin at, cover and end at a
character, their vectors, and their parts of speech (nr: person, ns: place, nt: organisation, ...).

Lexicon features after Ma et al. (2020), of the longest words only.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagger.errors import VectorsError
from tagger.sections import TextConfig
from tagger.text import normal
from tagger.vectors import PADDING, RESERVED, UNKNOWN, Vocabulary

LONGEST = 8  # characters; longer words are not in the lexicon

NO_WORD, UNTAGGED = 0, 1  # parts of speech have ids from 2 on

TAGS = 64  # number of ids of parts of speech, including the two above

LENGTHS = 64  # number of joint lengths of the words that begin at, cover and end at a character

_BUCKETS = 19  # leading bits of a key that choose where its search starts


class Features(NamedTuple):
    """Features of N characters.

    Args:
        lengths: Joint length of the longest words that begin at, cover and end at each character, (1, N) int32.
        tags: Parts of speech of the segmented word around it and of these three, (4, N) int32.
        words: Ids of these three in the table of word vectors, 0 for no word, (3, N) int32.
    """

    lengths: np.ndarray
    tags: np.ndarray
    words: np.ndarray


class Lexicon:
    """Words and their parts of speech, stored as 32-bit hashes; about one string in 10,000 is mistaken for a word.

    Args:
        vocabulary: Of the table of word vectors.
        vocabulary_tags: Part of speech of each of its words, `NO_WORD` if it is not in the lexicon, (V,) uint8.
        keys: Hashes of other words, (N,) uint32.
        tags: Part of speech of each of these, (N,) uint8.
    """

    def __init__(self, vocabulary: Vocabulary, vocabulary_tags: np.ndarray, keys: np.ndarray, tags: np.ndarray) -> None:
        self._parts = vocabulary_tags, keys, tags
        known = np.flatnonzero(vocabulary_tags)
        all_keys = np.concatenate([_keys([vocabulary.words[number] for number in known]), keys])
        sorted_keys, first = np.unique(all_keys, return_index=True)  # the first of equal keys: a word with a vector
        self._keys = np.append(sorted_keys, np.uint32(2**32 - 1))
        self._tags = np.append(np.concatenate([vocabulary_tags[known], tags])[first], np.uint8(NO_WORD))
        ids = np.concatenate([known + RESERVED, np.full(len(keys), UNKNOWN)])[first]
        self._ids = np.append(ids, PADDING).astype(np.int32)
        counts = np.bincount(sorted_keys >> np.uint32(32 - _BUCKETS), minlength=2**_BUCKETS)
        self._first = (np.cumsum(counts) - counts).astype(np.int32)

    @staticmethod
    def of(words: Iterable[tuple[str, str]], vocabulary: Vocabulary, fold: bool) -> "Lexicon":
        """Return the lexicon of words and their parts of speech; the first of equal words counts.

        Args:
            words: Words and their parts of speech, such as "nr"; "" for none.
            vocabulary: Of the table of word vectors.
            fold: As `[text] fold`.
        """
        tag_ids: dict[str, int] = {}
        tags: dict[str, int] = {}  # of each word
        for word, tag in words:
            word = normal(word, fold)
            if 0 < len(word) <= LONGEST and " " not in word:
                tag_id = tag_ids.setdefault(tag, min(len(tag_ids) + 2, TAGS - 1)) if tag else UNTAGGED
                tags.setdefault(word, tag_id)
        size = len(vocabulary.words)
        vocabulary_tags = np.fromiter((tags.pop(word, NO_WORD) for word in vocabulary.words), np.uint8, size)
        keys = _keys(list(tags))
        order = np.argsort(keys, kind="stable")  # sorted, they are sorted sooner when they are loaded
        return Lexicon(vocabulary, vocabulary_tags, keys[order], np.fromiter(tags.values(), np.uint8, len(tags))[order])

    def __len__(self) -> int:
        return len(self._keys) - 1

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the number of the word with each key, `len(self)` where there is none, (N,) int32."""
        numbers = self._first[keys >> np.uint32(32 - _BUCKETS)]
        before = np.flatnonzero(self._keys[numbers] < keys)
        while len(before):
            numbers[before] += 1
            before = before[self._keys[numbers[before]] < keys[before]]
        numbers[self._keys[numbers] != keys] = len(self)
        return numbers

    def features(self, codes: np.ndarray, lengths: np.ndarray) -> Features:
        """Return the features of each character of a text.

        Args:
            codes: Code points, (N,) uint32. No word contains a space.
            lengths: Of the segmented words, (W,) int; they add up to N.
        """
        size = len(codes)
        longest = np.zeros((3, size), np.int32)  # lengths of the words that begin at, cover, end at a character
        numbers = np.full((4, size), len(self), np.int32)  # of the segmented word around it, and of these three
        around, begins, covers, ends = numbers
        strings = self._strings(codes)
        starts = np.cumsum(lengths) - lengths
        short = lengths <= LONGEST
        around[starts[short]] = strings[lengths[short] - 1, starts[short]]
        around[:] = np.repeat(around[starts], lengths)
        # Every word in the text, the longest last, and of equally long ones the first: the last one written stays.
        row, start = np.nonzero(strings[1:, ::-1] < len(self))
        length, start = row + 2, size - 1 - start
        words, last = strings[length - 1, start], start + length - 1
        begins[start], longest[0, start] = words, length
        ends[last], longest[2, last] = words, length
        inner = np.repeat(np.arange(len(start)), length - 2)  # the word, for each character between its first and last
        inside = start[inner] + np.arange(len(inner)) - np.repeat(np.cumsum(length - 2) - length + 1, length - 2)
        covers[inside], longest[1, inside] = words[inner], length[inner]
        begin, cover, end = np.maximum(np.minimum(longest, 4) - 1, 0)
        joint = 16 * begin + 4 * cover + end
        return Features(joint[None], self._tags[numbers].astype(np.int32), self._ids[numbers[1:]])

    def _strings(self, codes: np.ndarray) -> np.ndarray:
        """Return the number of the word that each string of 1 to `LONGEST` characters is, (LONGEST, N) int32.

        Row and column are the length less 1 and the start of the string; `len(self)` where it is not a word.
        """
        size = len(codes)
        codes = np.concatenate([codes, np.full(LONGEST - 1, _SPACE)])
        steps = np.ndarray((LONGEST, size), codes.dtype, codes, strides=2 * codes.strides)  # a string's last character
        states, state = np.empty_like(steps), np.zeros(size, np.uint32)
        for state_after, step in zip(states, steps, strict=True):
            state = _on(state, step, state_after)
        keys = _key(states, np.arange(1, LONGEST + 1, dtype=np.uint32)[:, None])
        numbers = self.find(keys.ravel()).reshape(keys.shape)
        numbers[np.logical_or.accumulate(steps == _SPACE)] = len(self)  # whatever its key: it may be from two texts
        return numbers

    def save(self, folder: Path) -> None:
        """Write `lexicon.words.npy`, `lexicon.keys.npy` and `lexicon.tags.npy` into `folder`."""
        for name, part in zip(_FILES, self._parts, strict=True):
            np.save(folder / name, part, allow_pickle=False)

    @staticmethod
    def load(folder: Path, vocabulary: Vocabulary) -> "Lexicon":
        """Return a saved lexicon.

        Raises:
            VectorsError: If a file is missing or they do not fit together.
        """
        try:
            vocabulary_tags, keys, tags = (np.load(folder / name, allow_pickle=False) for name in _FILES)
        except (OSError, ValueError, EOFError) as error:
            raise VectorsError(f"{folder}: the lexicon cannot be read: {error}") from error
        fit = vocabulary_tags.shape == (len(vocabulary.words),) and keys.shape == tags.shape and keys.ndim == 1
        if not fit or (vocabulary_tags.dtype, keys.dtype, tags.dtype) != (np.uint8, np.uint32, np.uint8):
            raise VectorsError(f"{folder}: the files of the lexicon do not fit together: {', '.join(_FILES)}")
        return Lexicon(vocabulary, vocabulary_tags, keys, tags)


_SPACE = np.uint32(32)

_FILES = ("lexicon.words.npy", "lexicon.keys.npy", "lexicon.tags.npy")


def _keys(words: Sequence[str]) -> np.ndarray:
    """Return the key of each word, (len(words),) uint32; words have at most `LONGEST` characters."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    text = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32)
    starts = np.cumsum(lengths) - lengths
    keys = np.empty(len(words), np.uint32)
    for length in range(1, LONGEST + 1):
        chosen = np.flatnonzero(lengths == length)
        state = np.zeros(len(chosen), np.uint32)
        for offset in range(length):
            state = _on(state, text[starts[chosen] + offset])
        keys[chosen] = _key(state, np.uint32(length))
    return keys


def jieba_lexicon(config: TextConfig, vocabulary: Vocabulary) -> Lexicon:
    """Return the lexicon of jieba's dictionary and of the user's words, `text.words`.

    Args:
        config: The `[text]` section.
        vocabulary: Of the table of word vectors.
    """
    import jieba

    def words() -> Iterator[tuple[str, str]]:
        with jieba.Tokenizer().get_dict_file() as lines:
            for line in lines:
                word, *_, tag = line.decode("utf-8").split(" ")
                yield word, tag.strip()
        yield from ((normal(word, config.fold, config.simplify), "") for word in config.words)

    return Lexicon.of(words(), vocabulary, config.fold)


_FACTOR, _TERM = np.uint32(0x9E3779B1), np.uint32(0x7F4A7C15)


def _on(state: np.ndarray, codes: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the states of the hash after one more character of each string, in `out` if given."""
    out = np.bitwise_xor(state, codes, out=out)
    out *= _FACTOR
    out += _TERM
    return out


def _key(state: np.ndarray, length: np.ndarray | np.uint32) -> np.ndarray:
    """Return the keys of strings of these lengths, mixed from the final states of their hashes."""
    state = (state + length) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(15))) * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))
