"""Strategies, the embedded sample as objects, and small tables, for the tests that train nothing."""

import json
from collections import Counter
from itertools import accumulate

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from tagger import Tagger
from tagger.config import load
from tagger.decode import Transitions
from tagger.lookup import Lookup
from tagger.sections import VectorsConfig
from tagger.tags import OUTSIDE, SINGLE, TagScheme, UnitSpan
from tagger.text import UnitMaker
from tagger.vectors import RESERVED, Table, Vocabulary, make_table
from tests.conftest import SAMPLE

# Laws are checked on few cases, the same ones in every run.
few = settings(max_examples=60, deadline=None, derandomize=True, database=None)

# Any string, rich in what the segmenter and the cleaner treat in their own way; lone surrogates too.
anything = st.text(
    st.sampled_from("《》“”。！…?;aZ.9１Ａ中国北京大学的 \n\r\t\u3000\u2028\x00\ufeff\ud800\udfff😀") | st.characters(),
    max_size=40,
)


def _lay_out(pieces):
    ends = accumulate(length for length, _ in pieces)
    spans = [UnitSpan(end - length, end, label) for (length, label), end in zip(pieces, ends, strict=True)]
    return sum(length for length, _ in pieces), [span for span in spans if span.label is not None]


# (number of units, spans of three labels in them); entities often stand side by side.
laid_out = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, 0, 1, 2])), max_size=8).map(_lay_out)


def rows(split):
    """Return the JSON objects of a split of the embedded sample."""
    return [json.loads(line) for line in (SAMPLE / f"{split}.jsonl").read_text("utf-8").splitlines()]


def around(text, spans):
    """Return the parts of a text outside its (start, end, ...) spans, which are in order."""
    starts = [0, *(span[1] for span in spans)]
    ends = [*(span[0] for span in spans), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def commonest_stretch(texts, size):
    """Return the `size` characters that most (text, spans) have outside their spans, and how many have them."""
    counts = Counter()
    for text, spans in texts:
        counts.update({part[at : at + size] for part in around(text, spans) for at in range(len(part) - size + 1)})
    return max(counts.items(), key=lambda item: item[1], default=("", 0))


def table(name, words, dimensions=4):
    """Return a table of random float32 vectors."""
    vectors = np.random.default_rng(len(words)).normal(size=(len(words) + RESERVED, dimensions)).astype(np.float32)
    vectors[0] = 0
    return Table(name, Vocabulary(words), vectors)


def word_lookup():
    return Lookup([table("word", ["北京", "大学", "的", "生"])])


def char_lookup():
    bigrams = [" 北", "北京", "京大", "大学", "学生", "生 "]
    return Lookup([table("char", [*"北京大学生"], 3), table("bigram", bigrams, 2), table("word", ["北京", "大学生"])])


# Short texts with names, letters and digits.
TEXTS = ["遵义会议旧址，主要指召开遵义会议的那座小楼。", "好", "《瓦尔登湖》记下了梭罗Ｔhoreau在湖边独居的2年时光。"]


class Planted:
    """A runtime that knows one thing: this id is a single-unit entity of the first label."""

    batch_units = 100

    def __init__(self, wanted, tags):
        self.wanted, self.tags = wanted, tags

    def scores(self, ids, lengths):
        scores = np.zeros((*ids.shape[:2], self.tags), np.float32)
        scores[:, :, OUTSIDE] = 5
        scores[:, :, SINGLE] = np.where(ids[:, :, 0] == self.wanted, 10, -10)
        return scores


def planted(unit="char", labels=("CORE",), workers=1):
    """A tagger that predicts 龘, and nothing else."""
    names = ("char", "bigram", "word") if unit == "char" else ("word",)
    lookup = Lookup([make_table(name, ["龘"], np.ones((1, 4)), VectorsConfig()) for name in names])
    preset = load("default" if unit == "char" else "contest", ["decode.transitions=model"])
    scheme = TagScheme(labels)
    runtime = Planted(lookup.tables[0].vocabulary.id("龘"), scheme.size)
    return Tagger(preset, scheme, Transitions.legal(scheme), UnitMaker(preset.text), lookup, runtime, workers=workers)


def probability(lattice, row, span):
    """The probability of one span of text `row` in a lattice."""
    return float(lattice.spans(np.array([row]), np.array([span]))[0])
