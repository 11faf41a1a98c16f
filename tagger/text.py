"""Source string -> units with character offsets: cleaning, segmentation, windows over long text.

A unit is what gets a tag: a single character, or a word of jieba. Units tile the text: unit t is
`text[bounds[t]:bounds[t + 1]]`, also of a cleaned text, because cleaning replaces character by character.
"""

import hashlib
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np

from tagger.errors import ConfigError, shortened
from tagger.sections import TextConfig
from tagger.tags import UnitSpan

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"

_UNCLEAN = re.compile(rf"[^{_HAN}0-9a-zA-Z《》()（）“”·.]")

# What the segmenter must not cut (2016 method): the inside of 《…》, the inside of “…” up to ten characters, and runs
# of Latin letters, digits, dots and the spaces between them.
_WHOLE = re.compile(r"(?<=《)[^《》]+(?=》)|(?<=“)[^“”]{1,10}(?=”)|[a-zA-Z0-9.](?:[a-zA-Z0-9. ]*[a-zA-Z0-9.])?| +")

_SENTENCE_END = frozenset("。！？!?；;…\n")


def _one_for_one() -> dict[int, int]:
    """Map full-width letters and digits to ASCII, white space and controls to a space, surrogates to U+FFFD."""
    table = dict.fromkeys(itertools.chain(range(32), range(127, 161), range(8192, 8208)), 32)
    table |= dict.fromkeys((5760, 8232, 8233, 8239, 8287, 12288, 65279), 32)
    for first, last in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A)):
        table |= {code: code - 0xFEE0 for code in range(first, last + 1)}
    table |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
    return table


def _small_letters_and_zero() -> dict[int, int]:
    """Map letters and digits, full-width ones too, to small ASCII letters and 0."""
    table = {code: 0x30 for first in (0x30, 0xFF10) for code in range(first, first + 10)}
    for first in (0x41, 0xFF21, 0xFF41):
        table |= {code: 0x61 + number for number, code in enumerate(range(first, first + 26))}
    return table


@cache
def _simplified() -> dict[int, int]:
    """Map traditional characters to simplified ones; made by `scripts/simplified.py`."""
    lines = resources.files("tagger").joinpath("simplified.txt").read_text("utf-8").splitlines()
    return {ord(other): ord(line[0]) for line in lines if not line.startswith("#") for other in line[1:]}


@cache
def _normal_table(fold: bool, simplify: bool) -> dict[int, int]:
    return _one_for_one() | (_small_letters_and_zero() if fold else {}) | (_simplified() if simplify else {})


def normal(text: str, fold: bool = False, simplify: bool = False) -> str:
    """Return the normal form of a text, in which vocabularies hold words, character by character.

    Args:
        text: Any string.
        fold: Also replace Latin capitals by small letters and every digit by 0.
        simplify: Also replace traditional characters by simplified ones.
    """
    return text.translate(_normal_table(fold, simplify))


def simplified(text: str) -> str:
    """Return a text with its traditional characters replaced by simplified ones, character by character."""
    return text.translate(_simplified())


def clean(text: str) -> str:
    """Return `text` with each character that the 2016 method discards replaced by one space."""
    return _UNCLEAN.sub(" ", text)


class Segmenter:
    """Cuts text into jieba's words, HMM off, with `rjieba` where it is installed and else with `jieba` itself.

    `rjieba` is ten times as fast and gives the same words, except for exact ties between two ways to cut, which
    rounding decides (掏心掏: 掏心/掏 or 掏/心掏).

    Args:
        words: Words to add to jieba's dictionary.
        engine: "rjieba" or "jieba"; by default the faster one that is installed.
    """

    def __init__(self, words: Sequence[str] = (), engine: str = "") -> None:
        self.words = tuple(words)
        self.engine, self._cut = _engine(self.words, engine)

    def cut(self, text: str) -> list[str]:
        """Return the words of `text`; joined, they are `text` again."""
        return self._cut(text) if text else []

    @cached_property
    def fingerprint(self) -> str:
        """A hash of how the segmenter cuts a fixed text, and of its added words: equal for equal dictionaries.

        A bundle stores it, because vectors of words are useful only with a segmenter that cuts the same words.
        """
        probe = "/".join(self.cut(_PROBE)) + "|" + "/".join(sorted(self.words))
        return hashlib.sha256(probe.encode("utf-8", "replace")).hexdigest()[:16]


_PROBE = (
    "研究生命起源的科学家在南京市长江大桥上发表了中国科学院计算所的最新结果，乒乓球拍卖完了，"
    "工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作；永和服装饰品有限公司"
    "结婚的和尚未结婚的都来到北京大学生活动中心，他说的确实在理，这几块地面积还真不小。"
    "人工智能与量子通信、一带一路、微信支付、共享单车、C++和c#，3.14％的iPhone 6s用户"
)  # fmt: skip


def _engine(words: Sequence[str], engine: str) -> tuple[str, Callable[[str], list[str]]]:
    """Return the name of an engine, and a function that cuts a text into words, these added to its dictionary."""
    if engine in ("", "rjieba"):
        try:
            import rjieba

            if not words:
                return "rjieba", lambda text: rjieba.cut(text, hmm=False)
            segmenter = rjieba.Jieba()
            for word in words:
                segmenter.add_word(word, None, None)
            return "rjieba", lambda text: segmenter.cut(text, hmm=False)
        except ImportError:
            if engine:
                raise
    import jieba

    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer() if words else jieba.dt
    tokenizer.initialize()
    for word in words:
        tokenizer.total -= tokenizer.FREQ.get(word, 0)  # add_word counts a known word's frequency twice
        tokenizer.add_word(word)
    return "jieba", lambda text: tokenizer.lcut(text, HMM=False)


@dataclass(frozen=True)
class Units:
    """A text and its units.

    Args:
        text: The text as given.
        bounds: Unit t is `text[bounds[t]:bounds[t + 1]]`, (T + 1,) int32.
        words: The words of the normal (and, if configured, cleaned) form of the text; their lengths add up to
            `len(text)`.
    """

    text: str
    bounds: np.ndarray
    words: list[str]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def unit_span(self, start: int, end: int) -> tuple[int, int] | None:
        """Return first unit and end of the units that are characters `start` to `end`, or None where a unit is cut."""
        if len(self) == len(self.text):
            return (start, end) if 0 <= start < end <= len(self) else None
        first, last = np.searchsorted(self.bounds, (start, end))
        if first < last < len(self.bounds) and self.bounds[first] == start and self.bounds[last] == end:
            return int(first), int(last)
        return None

    def touched(self, start: int, end: int) -> slice:
        """Return the units that contain any of the characters `start` to `end`."""
        first, last = np.searchsorted(self.bounds, (start, end), "right") - 1
        return slice(int(first), int(last) + bool(self.bounds[last] < end))

    def sentence_ends(self) -> np.ndarray:
        """Return whether a sentence ends at each bound, (T + 1,) bool; the text's end counts."""
        ends = np.zeros(len(self.bounds), bool)
        ends[1:] = [self.text[bound - 1] in _SENTENCE_END for bound in self.bounds[1:]]
        ends[-1] = True
        return ends


class UnitMaker:
    """Cuts texts into units as the `[text]` section says.

    Args:
        config: The `[text]` section.
    """

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        self.segmenter = Segmenter([normal(word, config.fold, config.simplify) for word in config.words])

    def __call__(self, text: str) -> Units:
        """Return the units of `text`; none when it is empty."""
        words = self.words(text)
        if self.config.unit == "char":
            return Units(text, np.arange(len(text) + 1, dtype=np.int32), words)
        lengths = np.fromiter(map(len, words), np.int32, len(words))
        return Units(text, np.concatenate(([0], np.cumsum(lengths))).astype(np.int32), words)

    def words(self, text: str) -> list[str]:
        """Return the words of the normal (and, if configured, cleaned) form of `text`."""
        text = normal(text, self.config.fold, self.config.simplify)
        if not self.config.clean:
            return self.segmenter.cut(text)
        text = clean(text)
        words: list[str] = []
        end = 0
        for whole in _WHOLE.finditer(text):
            words += self.segmenter.cut(text[end : whole.start()])
            words.append(whole.group())
            end = whole.end()
        return words + self.segmenter.cut(text[end:])


@dataclass(frozen=True)
class Window:
    """Units `start` to `stop` go through the network together; the output for `keep` to `keep_stop` is used."""

    start: int
    stop: int
    keep: int
    keep_stop: int


def windows(units: Units, maxlen: int, overlap: int = 0, whole: Iterable[UnitSpan] = ()) -> list[Window]:
    """Cut `units` into windows of at most `maxlen` units, at sentence ends where there are any.

    Args:
        units: Units of one text.
        maxlen: Longest window.
        overlap: Units that a window shares with the one before, as context; at most `maxlen // 4`. A unit is kept in
            one window only, the one in which it is farther from the edge.
        whole: Spans that must not be cut (gold entities in training) if they fit into a window; for an overlap of 0.

    Returns:
        Windows in order; the kept parts tile the units. Empty for no units.
    """
    size = len(units)
    if size <= maxlen:
        return [Window(0, size, 0, size)] if size else []
    sentence_ends = units.sentence_ends()
    allowed = np.ones(size + 1, bool)  # where no span is cut
    for start, end, _ in whole:
        allowed[start + 1 : end] = False
    cuts = []  # (start, stop) of each window
    start = 0
    while True:
        stop = min(start + maxlen, size)
        if stop < size:
            middle = start + maxlen // 2
            stop = _last(sentence_ends & allowed, middle, stop) or _last(allowed, start, stop) or stop
        cuts.append((start, stop))
        if stop == size:
            break
        start = max(_last(sentence_ends, stop - overlap, stop - overlap // 2) or stop - overlap, start + 1)
    inner = [(after + stop) // 2 for (_, stop), (after, _) in itertools.pairwise(cuts)]
    keeps = [0, *inner, size]
    return [Window(s, e, k, ks) for (s, e), (k, ks) in zip(cuts, itertools.pairwise(keeps), strict=True)]


def _last(marks: np.ndarray, after: int, until: int) -> int | None:
    """Return the last marked bound in `after + 1 .. until`, or None."""
    places = np.flatnonzero(marks[after + 1 : until + 1])
    return int(places[-1]) + after + 1 if len(places) else None


_PIECE = 20_000  # characters; all words of a piece are in memory at once


def pieces(text: str) -> list[tuple[int, int]]:
    """Cut a huge text into pieces of bounded size, at sentence ends where there are any.

    Returns:
        Start and end of each piece; one piece for a text of ordinary size, even an empty one.
    """
    cuts = [0]
    while len(text) - cuts[-1] > _PIECE:
        latest = cuts[-1] + _PIECE
        mark = max(text.rfind(mark, cuts[-1] + _PIECE // 2, latest) for mark in _SENTENCE_END)
        cuts.append(mark + 1 if mark >= 0 else latest)
    return list(itertools.pairwise([*cuts, len(text)]))


# Without a frequency, Latin letters are a tag only after a Chinese word: "iron fist" is not the word "iron".
_WORD_LINE = re.compile(r"(\S+?)(?:[ \t]+\d+(?:[ \t]+[A-Za-z]+)?|(?<=[^\x00-\x7f])[ \t]+[a-z]+)?")

_LISTED = re.compile(r"[,，;|]\s*\d+(?:\s*[,，;|]\s*[A-Za-z]*)?$")


def read_words(lines: Iterable[str], place: str) -> Iterator[str]:
    """Yield the words of a file of user words, one a line, as in jieba's user dictionaries.

    A frequency after the word, and a tag of small Latin letters after that, or after a Chinese word, are ignored.

    Args:
        lines: Of the file.
        place: Its name, for errors.

    Raises:
        ConfigError: If a word has white space or control characters inside, which the segmenter never joins, or its
            frequency is set off by a comma.
    """
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        match = _WORD_LINE.fullmatch(line)
        if not (match and match[1].isprintable()) or _LISTED.search(line):
            expected = 'expected "WORD [FREQUENCY] [TAG]", no space inside the word'
            received = f"received {shortened(repr(line))}"
            raise ConfigError(f"{place}:{number}: {expected}, {received}; correct the line, or delete it")
        yield match[1]
