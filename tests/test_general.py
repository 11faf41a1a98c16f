"""The sentences written for the general tagger: their marks, their counts, and that nothing is filled into patterns."""

import re
from collections import Counter

import pytest

from tagger.corpus import labels, read
from tests.conftest import SAMPLE
from tests.samples import around, commonest_stretch, rows

FOLDER = SAMPLE / "general"
REGISTERS = {
    *("news", "business", "sport", "microblog", "chat", "notice"),
    *("law", "medicine", "travel", "history", "fiction", "forms"),
}
SENTENCES = {file.stem: list(read(file, "inline")) for file in sorted(FOLDER.glob("*.txt"))}
ALL = [sentence for sentences in SENTENCES.values() for sentence in sentences]
of_each_register = pytest.mark.parametrize("register", SENTENCES)

# Names that are also words, or that are marked in one sense only.
AMBIGUOUS = {"省人民", "最高法"}

# Titles of works, and words that other names seem to begin in: 教育部门 and 教育部长 are not 教育部.
_NO_NAME = re.compile("《.*?》|部[门长]")

# What turns the place before it into a person's origin, which is not marked.
_PERSON = re.compile(r"人|籍|裔|族|\w{0,4}(?:手|家|员|师|客|星|商|者|将|锋|卫|生|兵|枭|民|官|奶|脚)")


def _parts(sentence):
    return sentence.text, sentence.entities


def test_registers_have_their_names():
    assert set(SENTENCES) == REGISTERS


@of_each_register
def test_there_is_enough_of_it_with_and_without_entities(register):
    sentences = SENTENCES[register]
    without = sum(not sentence.entities for sentence in sentences)
    assert len(sentences) >= 250
    assert 0.2 <= without / len(sentences) <= 0.55
    assert len({len(sentence.text) for sentence in sentences}) >= 40


@of_each_register
def test_labels_and_offsets_fit(register):
    assert labels(SENTENCES[register]) == ("LOC", "ORG", "PER")
    for sentence in SENTENCES[register]:
        assert sentence.text == sentence.text.strip() != "", sentence.place
        assert len(sentence.text) <= 200, sentence.place
        for start, end, _ in sentence.entities:
            mention = sentence.text[start:end]
            assert mention == mention.strip(" 　，。！？；：、《》“”‘’@#") != "", sentence.place


@of_each_register
def test_labels_are_balanced_and_mentions_various(register):
    sentences = SENTENCES[register]
    mentions = Counter(
        (text[start:end], label) for text, spans in map(_parts, sentences) for start, end, label in spans
    )
    labelled = Counter(label for _, label in mentions.elements())
    assert min(labelled.values()) >= mentions.total() / 8
    assert len(mentions) >= mentions.total() * 0.7
    assert max(mentions.values()) <= len(sentences) / 20


def test_no_text_stands_twice():
    sample = [row["text"] for split in ("train", "dev") for row in rows(split)]
    counts = Counter(re.sub(r"[\W_]", "", text) for text in [*sample, *(sentence.text for sentence in ALL)])
    assert [text for text, count in counts.items() if count > 1] == []


@of_each_register
def test_sentences_are_not_made_from_a_pattern(register):
    sentences = SENTENCES[register]
    stretch, count = commonest_stretch(map(_parts, sentences), 8)
    assert count <= len(sentences) / 60, stretch


def test_no_long_stretch_stands_in_two_sentences():
    stretch, count = commonest_stretch(map(_parts, ALL), 13)
    assert count <= 1, stretch


def test_titles_are_not_marked_but_for_the_press():
    for sentence in ALL:
        for title in re.finditer("《[^》]*》", sentence.text):
            marked = [label for start, _, label in sentence.entities if title.start() < start < title.end()]
            assert set(marked) <= {"ORG"}, sentence.place


def test_every_occurrence_of_a_name_is_marked():
    texts = [(text, spans, sentence.place) for sentence in ALL for text, spans in [_parts(sentence)]]
    names = {text[start:end] for text, spans, _ in texts for start, end, _ in spans if end - start >= 3} - AMBIGUOUS
    missed = []
    for text, spans, place in texts:
        for part in around(_NO_NAME.sub(lambda match: " " * len(match[0]), text), spans):
            stretches = {(part[at : at + size], part[at + size :]) for size in range(3, 13) for at in range(len(part))}
            missed += [(place, name) for name, rest in stretches if name in names and not _PERSON.match(rest)]
    assert missed == []
