import contextvars
import itertools
import sqlite3
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.groups import SECONDS, gathered, grouped, seconds_to_wait, strings
from tests.samples import few


def slow(items, pause):
    for item in items:
        yield item
        time.sleep(pause)


@few
@given(st.lists(st.integers(0, 30_000), max_size=40))
def test_a_fast_source_is_grouped_in_the_same_way(lengths):
    expected = list(grouped(lengths, int))
    assert [group for group in gathered(lengths, int, 30) if group] == expected
    assert list(itertools.chain(*expected)) == lengths
    assert all(sum(group[:-1]) < 20_000 for group in expected)


def test_what_has_waited_is_given_and_then_an_empty_group():
    started = time.monotonic()
    groups = gathered(slow("ab", 5), len, 0.05)
    assert [next(groups), next(groups)] == [["a"], []]
    assert time.monotonic() - started < 3


def test_items_that_come_together_stay_together():
    groups = gathered(itertools.chain(["a", "b"], slow(["c"], 5)), len, 0.3)
    assert next(groups) == ["a", "b", "c"]


@pytest.mark.parametrize("wait", [None, 0.01, 10])
def test_what_came_before_an_error_is_given_first(wait):
    def source():
        yield "a"
        raise ValueError("no more")

    groups = gathered(source(), len, wait)
    assert next(group for group in groups if group) == ["a"]
    with pytest.raises(ValueError, match="no more"):
        list(groups)


def test_a_fast_source_is_read_at_most_one_group_ahead():
    numbers = itertools.count()
    groups = gathered((str(n) for n in numbers), lambda item: 10_000, 10)
    assert [next(groups), next(groups)] == [["0", "1"], ["2", "3"]]
    time.sleep(0.2)
    assert next(numbers) <= 8


def test_a_caller_that_stops_ends_the_thread():
    groups = gathered(slow(itertools.repeat("a"), 0.01), len, 0.01)
    next(groups)
    groups.close()
    deadline = time.monotonic() + 10
    while any(thread.name == "tagger-source" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "tagger-source" for thread in threading.enumerate())


def test_the_source_sees_the_context_of_the_caller():
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("here")
    assert list(gathered((variable.get() for _ in range(1)), len, 1)) == [["here"]]


def test_what_belongs_to_one_thread_says_how_to_read_it_there():
    with sqlite3.connect(":memory:") as database:
        rows = (text for (text,) in database.execute("select 'a'"))
        with pytest.raises(sqlite3.ProgrammingError) as failure:
            list(gathered(rows, len, 1))
        assert "wait=None" in failure.value.__notes__[0]
        assert list(gathered((text for (text,) in database.execute("select 'a'")), len, None)) == [["a"]]
    database.close()


def test_time_is_given_to_what_may_be_slow(tmp_path):
    import io
    import os

    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        assert seconds_to_wait(file) is None
    reading, writing = os.pipe()
    with open(reading) as pipe, open(writing, "w"):
        assert seconds_to_wait(pipe) == SECONDS
    assert seconds_to_wait(io.StringIO("a")) is None
    assert seconds_to_wait(["a"]) is None
    assert seconds_to_wait(iter("a")) is None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("遵义会议", r"texts: expected strings, received '遵义会议' \(str\); give \[text\]"),
        (b"a", r"received b'a' \(bytes\)"),
        (None, r"received None \(NoneType\)"),
        (["a", None], r"texts\[1\]: expected a string, received None \(NoneType\)"),
        (iter([float("nan")]), r"texts\[0\]: expected a string, received nan \(float\)"),
        ({"a": 1, 7: 2}, r"texts\[1\]: .*received 7 \(int\)"),
        ([["x" * 99]], r"received \['xxx.*\.\.\. \(list\)"),
    ],
)
def test_what_is_not_a_text_is_refused_with_its_place(texts, message):
    with pytest.raises(TypeError, match=message):
        list(strings(texts))
