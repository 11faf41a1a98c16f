import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOBES, Entities

from tagger.tags import PARTS, TagScheme, UnitSpan
from tests.samples import few, laid_out

SCHEME = TagScheme(("PER", "LOC", "ORG"))
NAMES = SCHEME.names


def test_names_and_sizes():
    expected = ["O", "S-PER", "B-PER", "M-PER", "E-PER", "S-LOC", "B-LOC", "M-LOC", "E-LOC"]
    assert TagScheme(("PER", "LOC")).names == expected
    for count in range(30):
        scheme = TagScheme(tuple(f"L{number}" for number in range(count)))
        assert scheme.size == len(scheme.names) == len(set(scheme.names)) == 4 * count + 1


@pytest.mark.parametrize(("tag", "name"), list(enumerate(NAMES)))
def test_a_tag_is_its_label_and_its_part(tag, name):
    letter, _, label = name.partition("-")
    part = PARTS.index(letter)
    assert (SCHEME.parts[tag], SCHEME.tag_labels[tag]) == (part, SCHEME.labels.index(label) if label else -1)
    if label:
        number = SCHEME.labels.index(label)
        assert SCHEME.tag(number, part) == tag
        assert np.arange(SCHEME.size)[SCHEME.tags_of(part)][number] == tag


@pytest.mark.parametrize(
    ("length", "names"), [(1, ["S-LOC"]), (2, ["B-LOC", "E-LOC"]), (4, ["B-LOC", "M-LOC", "M-LOC", "E-LOC"])]
)
def test_the_tags_of_an_entity(length, names):
    assert [NAMES[tag] for tag in SCHEME.entity_tags(SCHEME.labels.index("LOC"), length)] == names


@pytest.mark.parametrize(("tag", "name"), list(enumerate(NAMES)))
def test_the_tables_say_what_the_letters_say(tag, name):
    opens, closes = name[0] in "BM", name[0] in "ME"
    assert SCHEME.starts[tag] == (not closes)
    assert SCHEME.ends[tag] == (not opens)
    for after, other in enumerate(NAMES):
        same_entity = opens and other[0] in "ME" and other[2:] == name[2:]
        assert SCHEME.allowed[tag, after] == (same_entity or (not opens and other[0] in "OSB")), (name, other)


@few
@given(laid_out)
def test_spans_to_tags_and_back(case):
    size, spans = case
    tags = SCHEME.encode(spans, size)
    assert tags.shape == (size,)
    assert SCHEME.decode(tags) == spans


@few
@given(laid_out.filter(lambda case: case[0]))
def test_encoded_spans_are_legal(case):
    tags = SCHEME.encode(case[1], case[0])
    assert SCHEME.starts[tags[0]]
    assert SCHEME.ends[tags[-1]]
    assert SCHEME.allowed[tags[:-1], tags[1:]].all()


@few
@given(st.lists(st.integers(0, SCHEME.size - 1), max_size=12))
def test_any_tags_give_the_spans_that_are_whole(tags):
    def whole(start, end):
        return tags[start:end] in (SCHEME.encode([UnitSpan(0, end - start, n)], end - start).tolist() for n in range(3))

    bounds = [(start, end) for start in range(len(tags)) for end in range(start + 1, len(tags) + 1)]
    assert [span[:2] for span in SCHEME.decode(tags)] == [span for span in bounds if whole(*span)]


@few
@given(laid_out)
def test_legal_tags_mean_what_they_mean_to_seqeval(case):
    size, spans = case
    names = [NAMES[tag].replace("M-", "I-") for tag in SCHEME.encode(spans, size)]
    found = Entities([names], scheme=IOBES).entities[0]
    assert [UnitSpan(e.start, e.end, SCHEME.labels.index(e.tag)) for e in found] == spans


@pytest.mark.parametrize(
    "names", ["M-PER E-PER", "B-PER M-PER", "B-PER O E-PER", "B-PER E-LOC", "E-PER", "B-PER M-LOC E-PER", "B-PER", ""]
)
def test_what_is_not_legal_gives_no_span(names):
    assert SCHEME.decode([NAMES.index(name) for name in names.split()]) == []


@pytest.mark.parametrize("lengths", [(1, 1), (1, 3), (3, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("labels", [(0, 0), (0, 1)])
def test_two_entities_side_by_side(lengths, labels):
    cut, size = lengths[0], sum(lengths)
    spans = [UnitSpan(0, cut, labels[0]), UnitSpan(cut, size, labels[1])]
    tags = SCHEME.encode(spans, size)
    assert SCHEME.decode(tags) == spans
    assert SCHEME.allowed[tags[:-1], tags[1:]].all()


def test_no_units_have_no_tags():
    assert SCHEME.encode([], 0).shape == (0,)
    assert SCHEME.decode(np.zeros(0, np.int32)) == []
