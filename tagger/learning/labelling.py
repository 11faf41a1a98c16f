"""What a student learns from: texts labelled by a teacher, as far as the teacher is confident."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from tagger.documents import Document, Span, mark
from tagger.pipeline import Result, Tagger
from tagger.sections import TransferConfig


class Teacher(Protocol):
    """Who tags the texts: a `Tagger`, or something else with its results."""

    def results(self, texts: Iterable[str], answers: bool, outside: bool) -> Iterator[Result]:
        """See `Tagger.results`."""


# Bundle -> its teacher, while a block runs.
Teachers = Callable[[Path], AbstractContextManager[Teacher]]


@contextmanager
def on_this_machine(bundle: Path) -> Iterator[Teacher]:
    """Yield the teacher in a bundle, which tags in threads of this process."""
    yield Tagger.load(bundle)


def label_texts(
    teacher: Teacher,
    documents: Iterable[Document],
    settings: TransferConfig,
    agreeing: bool,
    write: Callable[[Document], None],
) -> dict[str, float]:
    """Tag texts, and write what is to be learnt from them.

    Args:
        teacher: The tagger.
        documents: The texts, with the labels of an earlier round if `agreeing`.
        settings: The `[transfer]` section: `select` and the two thresholds are used.
        agreeing: Whether to leave out texts whose labels differ from those they have.
        write: Takes each labelled document.

    Returns:
        Counts: `texts` and `entities` written, and the share of all characters read that is `labelled` now.
    """
    by_confidence = settings.select == "sure"
    counts, characters, labelled = {"texts": 0, "entities": 0}, 0, 0
    documents, copies = itertools.tee(documents)
    results = teacher.results((document.text for document in copies), answers=False, outside=by_confidence)
    for document, result in zip(documents, results, strict=True):
        characters += len(document.text)
        if by_confidence:
            learnt = confident_labels(result, settings.entity_threshold, settings.outside_threshold)
        else:
            learnt = answer_labels(result)
        if learnt is None or (agreeing and learnt.entities != document.entities):
            continue
        write(learnt)
        counts["texts"] += 1
        counts["entities"] += len(learnt.entities)
        labelled += len(learnt.text) - sum(end - start for start, end in learnt.unlabelled)
    return {**counts, "labelled": labelled / max(characters, 1)}


def confident_labels(result: Result, entity_threshold: float, outside_threshold: float) -> Document | None:
    """Return the labels of a result that are probable enough, all else unlabelled; None if nothing is.

    Args:
        result: With `outside`.
        entity_threshold: Least probability of an entity.
        outside_threshold: Least probability that a character is in no entity.
    """
    assert result.outside is not None
    spans = tuple(Span(e.start, e.end, e.label) for e in result.entities if e.score >= entity_threshold)
    known = np.concatenate([[True], result.outside >= outside_threshold, [True]])
    for start, end, _ in spans:
        known[start + 1 : end + 1] = True
    starts, ends = np.flatnonzero(known[:-1] & ~known[1:]), np.flatnonzero(~known[:-1] & known[1:])
    unlabelled = tuple(zip(starts.tolist(), ends.tolist(), strict=True))
    if unlabelled == ((0, len(result.text)),) or not result.text:
        return None
    return Document(result.text, spans, unlabelled=unlabelled)


def answer_labels(result: Result) -> Document | None:
    """Return a text with every occurrence of its most probable entity labelled, as in 2016; None without an entity."""
    if result.answer is None:
        return None
    spans = mark(result.text, [result.answer.text])
    return Document(result.text, tuple(span._replace(label=result.answer.label) for span in spans))
