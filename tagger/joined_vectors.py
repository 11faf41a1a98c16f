"""Word vectors of two origins, joined: those learnt from one's own texts, and ready-made ones, which know more words.

Both are put side by side and reduced to their principal components (Yin and Schütze, 2016, "Learning word
meta-embeddings"). Where a word lacks one of the two, linear regression over the words that have both makes it from the
other.
"""

import re
from collections.abc import Sequence

import numpy as np

from tagger.errors import VectorsError
from tagger.sections import VectorsConfig
from tagger.text import UnitMaker
from tagger.vectors import Table, make_table, of_unit_length, reduced, regression

_RIDGE = 10.0  # weight of the penalty on the squared coefficients of the regression; vectors have unit length

_OWN = 2  # words with vectors of their own for each that only the ready-made ones have, in the order of the table

_HAN = re.compile("[\u3400-\u9fff]+")


def joined(own: Table, other: Table, units: UnitMaker, config: VectorsConfig) -> Table:
    """Return the word table of two, with all words of the first, and the Chinese words of the second.

    Both tables have their most frequent words first; they take turns, so that a part of the table from its start has
    words of both.

    Args:
        own: Learnt from the texts that are to be tagged, or trained on.
        other: Ready-made, of more words; those that `units` would cut, and so never look up, are left out.
        units: Cuts texts into words.
        config: The `[vectors]` section: `word_dimensions`, `limit` and how a table is stored.

    Raises:
        VectorsError: If no word is in both.
    """
    ours, theirs = own.vocabulary.numbers, other.vocabulary.numbers
    others = [w for w in other.vocabulary.words if w not in ours and _HAN.fullmatch(w) and units.words(w) == [w]]
    words = _in_turns(own.vocabulary.words, others)
    words = words[: config.limit or None]
    common = [word for word in own.vocabulary.words if word in theirs]
    if not common:
        raise VectorsError("the ready-made vectors have no word in common with the texts; are they Chinese?")
    one, two = (of_unit_length(table.rows(np.arange(len(table.vocabulary)))) for table in (own, other))
    parts = []
    for have, vectors, lack, sources in ((ours, one, theirs, two), (theirs, two, ours, one)):
        made = sources @ regression(sources[[lack[w] for w in common]], vectors[[have[w] for w in common]], _RIDGE)
        parts.append(of_unit_length(np.stack([vectors[have[w]] if w in have else made[lack[w]] for w in words])))
    return make_table("word", words, reduced(np.concatenate(parts, axis=1), config.word_dimensions), config)


def _in_turns(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the words of both, `_OWN` of the first to one of the second, while there are any."""
    places = [(number / _OWN, 0, word) for number, word in enumerate(one)]
    places += [(float(number + 1), 1, word) for number, word in enumerate(other)]
    return [word for _, _, word in sorted(places)]
