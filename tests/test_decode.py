import itertools
import random

import numpy as np
import pycrfsuite
import pytest

from tagger import decode
from tagger.decode import Transitions, best_span, lattice, log_softmax, viterbi
from tagger.tags import TagScheme, UnitSpan
from tests.samples import probability

SCHEMES = {5: TagScheme(("A",)), 9: TagScheme(("A", "B"))}
CASES = [(tags, seed) for tags in SCHEMES for seed in range(12)]


def case(tags, seed, texts=6, longest=4, spread=2.0):
    """Return random scores of a batch, lengths (one of each at least), and transitions, all legal ones finite."""
    rng = np.random.default_rng((tags, seed))
    lengths = np.concatenate([np.arange(1, longest + 1), rng.integers(1, longest + 1, texts - longest)])
    scores = rng.normal(scale=spread, size=(texts, longest, tags)).astype(np.float32)
    return scores, lengths, Transitions.legal(SCHEMES[tags], rng.normal(scale=spread, size=(tags, tags)))


def flat(scores, lengths):
    """Return the scores of each text's own units, one text after the other, (N, K)."""
    return np.concatenate([row[:length] for row, length in zip(scores, lengths, strict=True)])


def by_text(values, lengths):
    """Return the values of each text's units."""
    return np.split(values, np.cumsum(lengths)[:-1])


def all_paths(scores, transitions):
    """Return every tag path of one text, (P, T), and the score of each by definition, (P,)."""
    length, tags = scores.shape
    paths = np.array(list(itertools.product(range(tags), repeat=length)))
    total = scores.astype(np.float64)[np.arange(length), paths].sum(axis=1)
    total += transitions.starts[paths[:, 0]] + transitions.ends[paths[:, -1]]
    return paths, total + transitions.scores[paths[:, :-1], paths[:, 1:]].sum(axis=1)


def all_spans(length, labels):
    bounds = itertools.combinations(range(length + 1), 2)
    return [UnitSpan(start, end, label) for (start, end), label in itertools.product(bounds, range(labels))]


@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize(("tags", "seed"), CASES)
def test_viterbi_is_the_best_of_all_paths(tags, seed, few, monkeypatch):
    monkeypatch.setattr(decode, "_FEW", few)
    scores, lengths, transitions = case(tags, seed)
    found = viterbi(flat(scores, lengths), lengths, transitions)
    assert found.dtype == np.int32
    for row, (path, length) in enumerate(zip(by_text(found, lengths), lengths, strict=True)):
        paths, totals = all_paths(scores[row, :length], transitions)
        assert path.tolist() == paths[totals.argmax()].tolist()


@pytest.mark.parametrize("short", [0, 1000])
def test_the_path_of_a_single_text_is_that_which_it_has_among_others(short, monkeypatch):
    monkeypatch.setattr(decode, "_SHORT", short)
    scores, lengths, transitions = case(9, 1, texts=30, longest=20)
    together = by_text(viterbi(flat(scores, lengths), lengths, transitions), lengths)
    for row, length in enumerate(lengths):
        alone = viterbi(scores[row, :length], lengths[row : row + 1], transitions)
        assert alone.tolist() == together[row].tolist()


@pytest.mark.parametrize(("tags", "seed"), CASES)
def test_the_lattice_sums_over_all_paths(tags, seed):
    scores, lengths, transitions = case(tags, seed)
    weights = lattice(flat(scores, lengths), lengths, transitions)
    for row, length in enumerate(lengths):
        paths, totals = all_paths(scores[row, :length], transitions)
        log_total = np.logaddexp.reduce(totals)
        shares = np.exp(totals - log_total)
        assert weights.total[row] == pytest.approx(log_total, abs=1e-4)
        marginals = [[shares[paths[:, t] == tag].sum() for tag in range(tags)] for t in range(length)]
        np.testing.assert_allclose(weights.marginals(row), marginals, atol=1e-5)
        spans = all_spans(length, len(SCHEMES[tags].labels))
        expected = {}
        for span in spans:
            inside = SCHEMES[tags].encode([UnitSpan(0, span.end - span.start, span.label)], span.end - span.start)
            expected[span] = shares[(paths[:, span.start : span.end] == inside).all(axis=1)].sum()
            assert probability(weights, row, span) == pytest.approx(expected[span], abs=1e-5)
        lone = lattice(scores[row, :length], lengths[row : row + 1], transitions)
        for path, share in zip(paths[:40], shares[:40], strict=True):
            assert np.exp(lone.log_probabilities(path)) == pytest.approx(share, abs=1e-5)
        best, likely = best_span(weights, row, SCHEMES[tags])
        assert expected[best] == pytest.approx(max(expected.values()), abs=1e-5)
        assert likely == pytest.approx(expected[best], abs=1e-5)


@pytest.mark.parametrize(("tags", "seed"), CASES)
def test_the_best_path_has_its_share_of_all_paths(tags, seed):
    scores, lengths, transitions = case(tags, seed)
    own = flat(scores, lengths)
    best = viterbi(own, lengths, transitions)
    logs = lattice(own, lengths, transitions).log_probabilities(best)
    for row, length in enumerate(lengths):
        _, totals = all_paths(scores[row, :length], transitions)
        assert logs[row] == pytest.approx(totals.max() - np.logaddexp.reduce(totals), abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_what_a_text_is_batched_with_changes_nothing(seed):
    scores, lengths, transitions = case(9, seed, texts=40, longest=12)
    beside = np.full((7, 9), 1e4, np.float32) * (-1) ** np.arange(7)[:, None]
    own, own_lengths = np.concatenate([beside, flat(scores, lengths), beside]), np.array([7, *lengths, 7])
    paths, weights = viterbi(own, own_lengths, transitions), lattice(own, own_lengths, transitions)
    for row, (path, length) in enumerate(zip(by_text(paths, own_lengths)[1:-1], lengths, strict=True)):
        alone = scores[row, :length], lengths[row : row + 1], transitions
        lonely = lattice(*alone)
        assert path.tolist() == viterbi(*alone).tolist()
        np.testing.assert_allclose(weights.marginals(row + 1), lonely.marginals(0), atol=1e-6)
        assert weights.total[row + 1] == pytest.approx(lonely.total[0], abs=1e-6)
        assert probability(weights, row + 1, UnitSpan(0, length, 1)) == pytest.approx(
            probability(lonely, 0, UnitSpan(0, length, 1)), abs=1e-6
        )


@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize("make", [Transitions.legal, Transitions.contest], ids=["legal", "contest"])
@pytest.mark.parametrize("tags", SCHEMES)
def test_no_path_starts_or_ends_inside_an_entity(make, tags, few, monkeypatch):
    monkeypatch.setattr(decode, "_FEW", few)
    scheme = SCHEMES[tags]
    scores, lengths, _ = case(tags, 1, texts=40, longest=9)
    scores[:, :, [tag for tag, name in enumerate(scheme.names) if name[0] in "BME"]] += 5
    paths = viterbi(flat(scores, lengths), lengths, make(scheme))
    for row, path in enumerate(by_text(paths, lengths)):
        covered = sum(end - start for start, end, _ in scheme.decode(path))
        assert covered == np.count_nonzero(path), row
        assert scheme.starts[path[0]]
        assert scheme.ends[path[-1]]


def test_two_entities_side_by_side_are_possible_under_the_table_of_2016():
    scheme = SCHEMES[5]
    spans = [UnitSpan(0, 2, 0), UnitSpan(2, 3, 0), UnitSpan(3, 6, 0)]
    scores = 20 * np.eye(5, dtype=np.float32)[scheme.encode(spans, 6)]
    assert scheme.decode(viterbi(scores, np.array([6]), Transitions.contest(scheme))) == spans


def test_the_table_of_2016_for_any_number_of_labels():
    one, two = (Transitions.contest(SCHEMES[tags]).scores for tags in (5, 9))
    table = {(0, 0): 0.15, (0, 1): 0.15, (0, 2): 0.7, (1, 0): 1, (2, 3): 0.5, (2, 4): 0.5, (3, 3): 0.5, (3, 4): 0.5}
    for step, weight in {**table, (4, 0): 1}.items():
        assert one[step] == pytest.approx(np.log(weight))
    assert np.isneginf(one[~SCHEMES[5].allowed]).all()
    np.testing.assert_array_equal(two[:5, :5], one)
    np.testing.assert_array_equal(two[5:, 5:], one[1:, 1:])


@pytest.mark.parametrize("few", [0, 100])
def test_ties_take_the_lower_tag(few, monkeypatch):
    monkeypatch.setattr(decode, "_FEW", few)
    free = Transitions(np.zeros((3, 3), np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32))
    assert not viterbi(np.zeros((8, 3), np.float32), np.array([5, 3]), free).any()


def test_no_texts_have_no_path():
    assert viterbi(np.zeros((0, 5), np.float32), np.zeros(0, int), Transitions.legal(SCHEMES[5])).shape == (0,)


def large(make, sign, units=2_000):
    """Return scores of 50 and -50 of two texts, (2, T, 9) float32, as a runtime gives them."""
    shape = (2, units, 9)
    scores = {
        "random": np.random.default_rng(1).choice([-50.0, 50.0], shape),
        "alternating": 50.0 * (-1) ** np.indices(shape).sum(axis=0),
        "constant": np.full(shape, 50.0),
    }[make]
    return (sign * scores).astype(np.float32)


def log_marginals(scores, transitions):
    """Return log of the marginals of one text, (T, K), and of the sum over all paths, with logarithms throughout."""

    def forward(scores, steps, starts):
        sums = [scores[0] + starts]
        for unit in scores[1:]:
            sums.append(np.logaddexp.reduce(sums[-1][:, None] + steps, axis=0) + unit)
        return np.array(sums)

    scores = scores.astype(np.float64)
    steps, starts, ends = (np.float64(part) for part in (transitions.scores, transitions.starts, transitions.ends))
    up_to = forward(scores, steps, starts)
    onwards = forward(scores[::-1], steps.T, ends)[::-1] - scores
    total = np.logaddexp.reduce(up_to[-1] + ends)
    return up_to + onwards - total, total


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("make", ["random", "alternating", "constant"])
def test_large_scores_over_long_texts_stay_finite(make, sign):
    scores, lengths = large(make, sign), np.array([2_000, 1_234])
    transitions = Transitions.legal(SCHEMES[9], np.random.default_rng(1).normal(scale=5, size=(9, 9)))
    own = flat(scores, lengths)
    weights = lattice(own, lengths, transitions)
    assert np.isfinite(weights.total).all()
    path = by_text(viterbi(own, lengths, transitions), lengths)
    for row, length in enumerate(lengths):
        marginals = weights.marginals(row)
        expected, total = log_marginals(scores[row, :length], transitions)
        np.testing.assert_allclose(marginals, np.exp(expected), atol=1e-4)
        np.testing.assert_allclose(marginals.sum(axis=1), 1, atol=1e-4)
        assert weights.total[row] == pytest.approx(total, abs=1e-3)
        tags = path[row]
        best = scores[row, np.arange(length), tags].sum(dtype=np.float64)
        best += transitions.scores[tags[:-1], tags[1:]].sum(dtype=np.float64)
        assert best <= weights.total[row] + 1e-3
        for span in SCHEMES[9].decode(tags)[:50]:
            assert 0 <= probability(weights, row, span) <= 1


def test_a_text_with_large_scores_leaves_those_beside_it_alone():
    scores, lengths, transitions = case(9, 1, longest=20, texts=30)
    own = flat(scores, lengths)
    rest = large("random", 1, 300)
    # Beside calm texts of the same lengths: how a matrix product is rounded may depend on its shape.
    both, alone = (
        lattice(np.concatenate([own, *others]), np.append(lengths, [300, 300]), transitions)
        for others in (rest, rest / 50)
    )
    assert (alone.forward.dtype, both.forward.dtype) == (np.float32, np.float64)  # summed in double precision
    for row in range(len(lengths)):
        np.testing.assert_allclose(both.marginals(row), alone.marginals(row), atol=1e-7)
    assert (both.total[: len(lengths)] == alone.total[: len(lengths)]).all()


def test_log_softmax_is_normal_and_keeps_differences():
    scores = np.array([[1.0, 2.0, 4.0], [1e4, 0.0, -1e4]], np.float32)
    made = log_softmax(scores)
    np.testing.assert_allclose(np.exp(made).sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diff(made), np.diff(scores), rtol=1e-6)


# ---- CRFsuite as oracle -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crfsuite(tmp_path_factory):
    """A CRF trained on random texts of five words, which finds entities among them."""
    scheme, rng = SCHEMES[9], random.Random(1)
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params(
        {"max_iterations": 30, "c2": 0.1, "feature.possible_states": True, "feature.possible_transitions": True}
    )
    for _ in range(60):
        spans, size = [], 0
        while size < 12:
            start = size + rng.randint(0, 2)
            size = start + rng.randint(1, 4)
            spans.append(UnitSpan(start, size, rng.randint(0, 1)))
        tags = [scheme.names[tag] for tag in scheme.encode(spans, size)]
        trainer.append([[rng.choice([f"w{len(tag)}{tag[-1]}", "w1", "w2"])] for tag in tags], tags)
    path = tmp_path_factory.mktemp("crfsuite") / "model"
    trainer.train(str(path))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(path))
    return tagger


def test_crfsuite_finds_the_same_paths_and_marginals(crfsuite):
    names, info = SCHEMES[9].names, crfsuite.info()
    steps = [[info.transitions.get((before, after), 0.0) for after in names] for before in names]
    nothing = np.zeros(9, np.float32)
    transitions = Transitions(np.array(steps, np.float32), nothing, nothing)
    words = sorted({word for word, _ in info.state_features})
    rng = random.Random(2)
    texts = [[rng.choice(words) for _ in range(rng.randint(1, 12))] for _ in range(20)]
    lengths = np.array([len(text) for text in texts])
    scores = [[info.state_features.get((word, name), 0.0) for name in names] for text in texts for word in text]
    given = np.array(scores, np.float32), lengths, transitions
    paths, weights = viterbi(*given), lattice(*given)
    assert np.count_nonzero(paths) > 20
    for row, (text, path) in enumerate(zip(texts, by_text(paths, lengths), strict=True)):
        assert [names[tag] for tag in path] == crfsuite.tag([[word] for word in text])
        expected = [[crfsuite.marginal(name, t) for name in names] for t in range(len(text))]
        np.testing.assert_allclose(weights.marginals(row), expected, atol=1e-4)
