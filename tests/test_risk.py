import itertools

import numpy as np
import pytest

from tagger.decode import Transitions, lattice
from tagger.risk import LEAST, likely_spans
from tagger.tags import TagScheme
from tests.test_decode import SCHEMES, all_spans


def texts_at_random(tags, seed, spread=2.0):
    """Return scores of units, lengths of texts, and transitions, all legal ones finite."""
    rng = np.random.default_rng((tags, seed))
    lengths = rng.integers(1, 7, 5)
    scores = rng.normal(scale=spread, size=(int(lengths.sum()), tags)).astype(np.float32)
    return scores, lengths, Transitions.legal(SCHEMES[tags], rng.normal(size=(tags, tags)))


def apart(spans):
    return all(one.end <= other.start or other.end <= one.start for one, other in itertools.combinations(spans, 2))


@pytest.mark.parametrize("threshold", [LEAST, 0.4, 0.5, 0.7])
@pytest.mark.parametrize(("tags", "seed"), [(tags, seed) for tags in SCHEMES for seed in range(15)])
def test_of_all_sets_of_spans_it_is_the_one_with_the_highest_gain(tags, seed, threshold):
    scores, lengths, transitions = texts_at_random(tags, seed)
    weights = lattice(scores, lengths, transitions)
    rows, spans, probabilities = likely_spans(weights, threshold)
    np.testing.assert_allclose(probabilities, weights.spans(rows, spans))
    for row, length in enumerate(lengths.tolist()):
        every = all_spans(length, (tags - 1) // 4)
        of_every = weights.spans(np.full(len(every), row), np.array(every))
        likely = [(span, p) for span, p in zip(every, of_every, strict=True) if p > threshold]
        sets = itertools.chain.from_iterable(itertools.combinations(likely, n) for n in range(len(likely) + 1))
        gains = [sum(p - threshold for _, p in chosen) for chosen in sets if apart([span for span, _ in chosen])]
        own = rows == row
        assert (probabilities[own] - threshold).sum() == pytest.approx(max(gains), abs=1e-6)
        assert spans[own][:, 0].tolist() == sorted(spans[own][:, 0].tolist())


def test_two_halves_may_be_better_than_the_whole_and_the_whole_better_than_a_half():
    from tagger.risk import _apart

    assert _apart([(0, 2, 0), (2, 4, 0), (0, 4, 0)], [0.1, 0.1, 0.15]) == [0, 1]
    assert _apart([(0, 2, 0), (0, 4, 0), (5, 6, 0)], [0.1, 0.15, 0.2]) == [1, 2]
    assert _apart([(0, 2, 0), (1, 3, 0), (2, 4, 0)], [0.1, 0.15, 0.1]) == [0, 2]


def test_without_a_likely_span_there_is_none():
    scheme = TagScheme(("A",))
    scores = np.zeros((3, 5), np.float32)
    scores[:, 0] = 9
    found = likely_spans(lattice(scores, np.array([2, 1]), Transitions.legal(scheme)), 0.4)
    assert [len(each) for each in found] == [0, 0, 0]
