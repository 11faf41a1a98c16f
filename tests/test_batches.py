import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.batches import Batches, BatchMaker, StoreWriter, ahead, group, pad, shuffled
from tagger.sections import BatchesConfig
from tagger.tags import OPEN
from tagger.vectors import UNKNOWN
from tests.samples import char_lookup, few, word_lookup

TAGS = 5


@pytest.fixture
def make(tmp_path):
    """Return a function making a `BatchMaker` over texts of these lengths; even texts have id 2, odd ones 3."""

    def make(lengths, lookup=None):
        lookup = lookup or word_lookup()
        writer = StoreWriter(tmp_path / "store", lookup.columns)
        for number, length in enumerate(lengths):
            ids = np.full((length, lookup.columns), number % 2 + 2, np.int32)
            writer.add(ids, (np.arange(length) + number) % TAGS)
        return BatchMaker(writer.close(), lookup, TAGS)

    return make


def numbers(batches):
    """Return the text numbers of batches from a store whose text n has n + 1 units."""
    return [(batch.inputs["lengths"] - 1).tolist() for batch in batches]


# ---- the store ----------------------------------------------------------------------------------------------------


def test_a_store_returns_what_was_added(tmp_path):
    rng = np.random.default_rng(1)
    texts = [
        (rng.integers(0, 9, (length, 3), dtype=np.int32), rng.integers(0, 5, length, dtype=np.int32))
        for length in (3, 1, 0, 40, 2)
    ]
    writer = StoreWriter(tmp_path / "new" / "store", 3)
    for ids, tags in texts:
        writer.add(ids, tags)
    store = writer.close()
    assert len(store) == 5
    assert store.lengths.tolist() == [3, 1, 0, 40, 2]
    for number in (4, 0, 2, 3, 1):
        for received, expected in zip(store[number], texts[number], strict=True):
            assert received.dtype == np.int32
            np.testing.assert_array_equal(received, expected)


def test_a_store_knows_which_ids_occur(make):
    assert make([2, 0, 1]).store.occurring((0,), 5).tolist() == [False, False, True, False, False]
    assert make([2, 2, 1]).store.occurring((0,), 4).tolist() == [False, False, True, True]


def test_an_empty_store_has_no_batches(make):
    batches = Batches(make([]), BatchesConfig(units=0), seed=1)
    assert (len(batches), batches.units, list(batches.epoch(0))) == (0, 0, [])
    assert list(ahead(batches.epoch(0))) == []


# ---- grouping -----------------------------------------------------------------------------------------------------

lengths_of_texts = st.lists(st.integers(0, 50), max_size=60).map(lambda lengths: np.array(lengths, np.int64))
budgets = st.builds(BatchesConfig, units=st.integers(0, 120), texts=st.integers(1, 9))


@few
@given(lengths_of_texts, budgets)
def test_groups_hold_each_text_once_within_the_budgets(lengths, config):
    groups = group(lengths, config)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(len(lengths)))
    for some in groups:
        assert 1 <= len(some) <= config.texts
        assert len(some) == 1 or not config.units or lengths[some].max() * len(some) <= config.units
    ordered = [lengths[number] for some in groups for number in some]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("count", "texts", "sizes"),
    [(8, 4, [4, 4]), (9, 4, [4, 4, 1]), (3, 4, [3]), (4, 4, [4]), (0, 4, []), (3, 1, [1, 1, 1])],
)
def test_the_last_batch_is_kept_and_none_is_empty(make, count, texts, sizes):
    assert [len(some) for some in group(np.full(count, 7), BatchesConfig(units=0, texts=texts))] == sizes
    batches = Batches(make([7] * count), BatchesConfig(units=0, texts=texts), seed=1)
    assert len(batches) == len(sizes)
    for epoch in range(2):
        assert sorted((len(batch.weights) for batch in batches.epoch(epoch)), reverse=True) == sizes


@few
@given(lengths_of_texts, budgets, st.integers(0, 2**32))
def test_shuffled_groups_hold_each_text_once_and_hardly_exceed_the_budget(lengths, config, seed):
    groups = group(lengths, config)
    mixed = shuffled(groups, lengths, np.random.default_rng(seed))
    assert sorted(itertools.chain.from_iterable(mixed)) == list(range(len(lengths)))
    assert sorted(map(len, mixed)) == sorted(map(len, groups))
    longest = [sorted(lengths[some].max() for some in these) for these in (mixed, groups)]
    assert all(now <= 1.1 * before + 2 for now, before in zip(*longest, strict=True))


def test_every_epoch_has_another_order_and_the_same_seed_the_same():
    lengths = np.random.default_rng(1).integers(5, 60, 200)
    groups = group(lengths, BatchesConfig(units=400))

    def order(*seed):
        return [some.tolist() for some in shuffled(groups, lengths, np.random.default_rng(seed))]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    company = [{frozenset(some) for some in order(1, epoch)} for epoch in range(2)]
    assert len(company[0] & company[1]) < len(groups) / 2  # not the order of the groups alone


def test_epochs_hold_each_text_once_in_an_order_of_their_own(make):
    batches = Batches(make(range(1, 61)), BatchesConfig(units=200), seed=3)
    epochs = [numbers(batches.epoch(epoch)) for epoch in range(3)]
    for epoch in epochs:
        assert len(epoch) == len(batches)
        assert sorted(itertools.chain.from_iterable(epoch)) == list(range(60))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = Batches(batches.make, BatchesConfig(units=200), seed=3)
    assert numbers(again.epoch(1)) == epochs[1]  # without epoch 0, as after a resume
    assert batches.units == sum(range(1, 61))


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_batches_made_ahead_are_the_same_in_the_same_order(make, count):
    batches = Batches(make(range(1, 31)), BatchesConfig(units=90), seed=3)
    assert numbers(ahead(batches.epoch(0), count)) == numbers(batches.epoch(0))


def test_batches_are_made_ahead_of_their_use(make):
    batches = Batches(make(range(1, 31)), BatchesConfig(units=90), seed=3)
    made = []

    def watched():
        for batch in batches.epoch(0):
            made.append(batch)
            yield batch

    waiting = ahead(watched(), 2)
    first = next(waiting)
    second = next(waiting)
    assert made[:2] == [first, second]
    assert 2 <= len(made) <= 4  # those used, and at most two more
    waiting.close()


@pytest.mark.parametrize("lookup", [char_lookup, word_lookup])
def test_in_training_some_words_are_masked(make, lookup):
    whole = make([50] * 400, lookup())  # of characters, each odd text is one word
    masking_maker = replace(whole, masking=0.25)
    some, every = (maker(range(400)) for maker in (masking_maker, whole))
    np.testing.assert_array_equal(some.inputs["ids"], every.inputs["ids"])  # only where there is a seed
    batches = Batches(masking_maker, BatchesConfig(units=400), seed=3)
    ids = np.concatenate([batch.inputs["ids"].reshape(-1, whole.lookup.columns) for batch in batches.epoch(0)])
    assert (ids[:, 0] == UNKNOWN).mean() == pytest.approx(0.25, abs=0.05)
    again = np.concatenate([batch.inputs["ids"].reshape(-1, whole.lookup.columns) for batch in batches.epoch(0)])
    np.testing.assert_array_equal(ids, again)


def test_in_training_some_words_are_dropped(make):
    batches = Batches(replace(make([50] * 40, char_lookup()), word_dropout=0.25), BatchesConfig(units=400), seed=3)
    whole = Batches(make([50] * 40, char_lookup()), BatchesConfig(units=400), seed=3)

    def columns(batches):
        ids = np.concatenate([batch.inputs["ids"].reshape(-1, 5) for batch in batches.epoch(0)])
        return ids.T

    for number, (some, every) in enumerate(zip(columns(batches), columns(whole), strict=True)):
        dropped = some != every
        assert (some[dropped] == UNKNOWN).all()
        assert dropped.mean() == pytest.approx(0.25 if number in (1, 2, 3) else 0.0, abs=0.05)
    np.testing.assert_array_equal(columns(batches), columns(batches))


# ---- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookup", [word_lookup(), char_lookup()], ids=["word", "char"])
def test_a_batch_is_padded_on_the_right(make, lookup):
    maker = make([3, 1, 5, 2], lookup)
    inputs, targets, steps, weights = maker([2, 0, 1])
    assert inputs["ids"].shape == (3, 5, lookup.columns)
    assert inputs["vectors"].shape == (3, 5, lookup.dimensions)
    assert inputs["lengths"].tolist() == [5, 3, 1]
    assert targets.shape == (3, 5, TAGS)
    assert [array.dtype for array in (inputs["ids"], inputs["lengths"])] == [np.int32] * 2
    assert [array.dtype for array in (inputs["vectors"], targets, steps, weights)] == [np.float32] * 4
    for row, (number, length) in enumerate([(2, 5), (0, 3), (1, 1)]):
        ids, tags = maker.store[number]
        np.testing.assert_array_equal(inputs["ids"][row, :length], ids)
        np.testing.assert_array_equal(targets[row, :length], np.eye(TAGS)[tags])
        np.testing.assert_array_equal(inputs["vectors"][row, :length], lookup.vectors(ids))
        assert weights[row] == pytest.approx([1 / 9] * length + [0] * (5 - length))  # of nine units in all
        for padding in (inputs["ids"], inputs["vectors"], targets):
            assert not padding[row, length:].any()
        assert inputs["vectors"][row, :length].any(axis=1).all()


def test_an_unlabelled_unit_may_have_any_tag_and_a_text_counts_as_much_as_its_weight(tmp_path):
    lookup = word_lookup()
    writer = StoreWriter(tmp_path / "store", lookup.columns)
    for tags, weight in (([0, 2, 4], 1.0), ([OPEN, 1], 0.25)):
        writer.add(np.full((len(tags), 1), 2, np.int32), np.array(tags, np.int32), weight)
    store = writer.close()
    assert store.partial
    _, targets, _, weights = BatchMaker(store, lookup, TAGS)([1, 0])
    assert targets[0].tolist() == [[1] * TAGS, [0, 1, 0, 0, 0], [0] * TAGS]
    np.testing.assert_array_equal(targets[1], np.eye(TAGS)[[0, 2, 4]])
    assert weights == pytest.approx(np.array([[0.25, 0.25, 0], [1, 1, 1]]) / 5)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_parts_of_a_batch_are_those_of_the_whole(make, parts):
    maker, numbers = replace(make([9, 8, 9, 7, 10], char_lookup()), masking=0.3, word_dropout=0.3), [4, 0, 2, 1, 3]
    whole = maker(numbers, seed=5)
    assert whole.weights.sum() == pytest.approx(1)
    assert (whole.inputs["ids"] != maker(numbers, seed=6).inputs["ids"]).any()
    for first in range(parts):
        part = maker(numbers, 5, slice(first, None, parts))
        rows = part.inputs["rows"]
        if first < len(numbers):
            assert rows.tolist() == list(range(first, 5, parts))
            for key in ("ids", "vectors", "lengths"):
                np.testing.assert_array_equal(part.inputs[key], whole.inputs[key][rows])
            np.testing.assert_array_equal(part.targets, whole.targets[rows])
            np.testing.assert_array_equal(part.weights, whole.weights[rows])
        else:  # none is left for it
            assert not part.weights.any()
            assert not part.targets.any()
            assert part.inputs["lengths"].tolist() == [1]
        for key in ("seed", "texts"):
            np.testing.assert_array_equal(part.inputs[key], whole.inputs[key])


@few
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 9))
def test_padding_keeps_rows_and_reaches_the_length(sizes, length):
    rows = [np.full((size, 2), number + 1, np.int32) for number, size in enumerate(sizes)]
    padded, lengths = pad(rows, length)
    assert padded.shape == (len(rows), max(length, *sizes, 0), 2)
    assert lengths.tolist() == sizes
    assert [row[:size].tolist() for row, size in zip(padded, lengths, strict=True)] == [row.tolist() for row in rows]
    assert padded.sum() == sum(row.sum() for row in rows)
