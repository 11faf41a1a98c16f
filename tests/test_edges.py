import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import edges
from tagger.decode import lattice
from tagger.tags import TagScheme, UnitSpan
from tests.samples import few
from tests.test_decode import CASES, all_paths, case, flat

SCHEME = TagScheme(("A", "B"))


def span(start, end, label):
    return UnitSpan(int(start), int(end), label)


def dense(some, length, size=SCHEME.size):
    """Return edges as probabilities of pairs, (length, size, size)."""
    pairs = np.zeros((length, size, size))
    np.add.at(pairs, (some["unit"], some["before"], some["tag"]), some["probability"])
    return pairs


def mean_path(paths, shares, size=SCHEME.size):
    """Return the pairs of several paths of one length, each with its share."""
    return sum(
        share * dense(edges.of_path(np.array(path)), len(path), size) for path, share in zip(paths, shares, strict=True)
    )


@pytest.mark.parametrize(("tags", "seed"), CASES)
def test_the_pairs_of_a_lattice_are_those_of_all_paths(tags, seed):
    scores, lengths, transitions = case(tags, seed)
    weights = lattice(flat(scores, lengths), lengths, transitions)
    for row, length in enumerate(lengths.tolist()):
        paths, totals = all_paths(scores[row, :length], transitions)
        shares = np.exp(totals - np.logaddexp.reduce(totals))
        pairs = weights.pairs(row, 0, length)
        parts = [weights.pairs(row, unit, unit + 1) for unit in range(length)]
        np.testing.assert_allclose(np.concatenate(parts), pairs, atol=1e-6)
        np.testing.assert_allclose(pairs, mean_path(paths, shares, tags), atol=1e-5)
        kept = edges.of_marginals(pairs, 0.0)
        np.testing.assert_allclose(dense(kept, length, tags), pairs, atol=1e-5)


def test_what_is_rare_is_dropped_but_never_all_and_the_rest_is_whole_again():
    pairs = np.zeros((2, 9, 9))
    pairs[0, 0, :3] = [0.6, 0.395, 0.005]
    pairs[1] = 1 / 81
    kept = dense(edges.of_marginals(pairs, 0.1), 2)
    assert kept[0, 0, :3] == pytest.approx([0.6 / 0.995, 0.395 / 0.995, 0])
    assert kept[1] == pytest.approx(pairs[1])


paths_of_words = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=6)


@few
@given(paths_of_words)
def test_a_path_of_words_becomes_that_of_their_characters(words):
    """Entities of one word each, or of none: what the characters' path is follows from the spans."""
    bounds = np.cumsum([0, *(length for length, _ in words)])
    spans = [(n, n + 1, label - 1) for n, (_, label) in enumerate(words) if label]
    tags = SCHEME.encode([span(*each) for each in spans], len(words))
    characters = SCHEME.encode([span(bounds[s], bounds[e], label) for s, e, label in spans], int(bounds[-1]))
    found = edges.of_characters(edges.of_path(tags), bounds, SCHEME)
    np.testing.assert_array_equal(found, edges.of_path(characters))


@few
@given(paths_of_words, st.data())
def test_an_entity_of_several_words_becomes_one_of_their_characters(words, data):
    bounds = np.cumsum([0, *(length for length, _ in words)])
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    tags = SCHEME.encode([span(start, end, 1)], len(words))
    characters = SCHEME.encode([span(bounds[start], bounds[end], 1)], int(bounds[-1]))
    found = edges.of_characters(edges.of_path(tags), bounds, SCHEME)
    np.testing.assert_array_equal(found, edges.of_path(characters))


def test_the_mean_of_several_sources_is_that_of_their_pairs_in_order():
    paths = [[0, 2, 4, 0], [0, 1, 1, 0], [0, 2, 4, 0]]
    shares = [0.5, 0.3, 0.2]
    found = edges.joined([edges.of_path(np.array(path)) for path in paths], shares, SCHEME.size)
    np.testing.assert_allclose(dense(found, 4), mean_path(paths, shares), atol=1e-6)
    assert found["unit"].tolist() == sorted(found["unit"].tolist())
    rare = edges.joined([edges.of_path(np.array(path)) for path in paths], shares, SCHEME.size, least=0.4)
    np.testing.assert_allclose(dense(rare, 4), dense(edges.of_path(np.array(paths[0])), 4))
    empty = edges.of_path(np.zeros(0, np.int32))
    assert len(edges.joined([empty, empty], [0.5, 0.5], SCHEME.size)) == 0


@pytest.mark.parametrize(("start", "stop"), list(itertools.combinations(range(5), 2)))
def test_a_window_is_a_text_of_its_own(start, stop):
    path = np.array([1, 2, 3, 4])
    found = edges.window(edges.of_path(path), start, stop)
    np.testing.assert_array_equal(found, edges.of_path(path[start:stop]))


def test_tags_are_renamed():
    found = edges.renamed(edges.of_path(np.array([0, 1, 6, 8])), np.array([0, 5, 6, 7, 8, 1, 2, 3, 4]))
    np.testing.assert_array_equal(found, edges.of_path(np.array([0, 5, 2, 4])))
