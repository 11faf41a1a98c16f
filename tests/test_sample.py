from collections import Counter

import pytest

from tagger.corpus import labels, read
from tagger.documents import mark
from tests.conftest import SAMPLE
from tests.samples import commonest_stretch, rows

SPLITS = ("train", "dev")
LABELLED = [row for split in SPLITS for row in rows(split)]
UNLABELLED = (SAMPLE / "unlabelled.txt").read_text("utf-8").splitlines()


def test_there_is_enough_of_it():
    assert len(LABELLED) >= 1_000
    assert len(UNLABELLED) >= 1_000
    assert all(len(rows(split)) >= 200 for split in SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_it_covers_many_registers(split):
    counts = Counter(row["register"] for row in rows(split))
    assert len(counts) >= 12
    assert counts.most_common()[0][1] <= len(rows(split)) / 4


@pytest.mark.parametrize("split", SPLITS)
def test_every_sentence_has_an_entity_and_its_offsets_fit(split):
    documents = list(read(SAMPLE / f"{split}.jsonl"))
    assert len(documents) == len(rows(split))
    assert labels(documents) == ("CORE",)
    for document in documents:
        assert document.entities
        for start, end, _ in document.entities:
            assert document.text[start:end].strip() == document.text[start:end] != ""


@pytest.mark.parametrize("split", SPLITS)
def test_every_occurrence_of_an_entity_is_marked(split):
    for document in read(SAMPLE / f"{split}.jsonl"):
        assert mark(document.text, document.answers) == document.entities


def test_no_text_stands_twice():
    counts = Counter([*(row["text"] for row in LABELLED), *UNLABELLED])
    assert [text for text, count in counts.items() if count > 1] == []
    assert all(text == text.strip() != "" for text in counts)


def test_sentences_are_not_made_from_a_pattern():
    documents = [document for split in SPLITS for document in read(SAMPLE / f"{split}.jsonl")]
    commonest, count = commonest_stretch(((document.text, document.entities) for document in documents), 8)
    assert count <= len(LABELLED) / 100, commonest
