"""Suspicious records, to be looked at again in the annotation tool that they came from."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tagger import formats
from tagger.analysis import confidence
from tagger.documents import Document
from tagger.findings import Finding
from tagger.reports.inspection import suspicions

REASONS = "suspect"  # key of a record under which it says why

Row = tuple[Document, list[Finding]]


def form(out: Path, source: str) -> str:
    """Return the format in which to write suspicious records: the corpus's, unless the name of `out` says another.

    Args:
        out: File to write. A name in `.jsonl` can be of any format of JSON records.
        source: Name of the corpus's format.
    """
    named, row = formats.by_suffix(out), formats.FORMATS.get(source)
    if named and not (named == "jsonl" and row and row.parse):
        return named
    return source if source in formats.WRITABLE and source != "plain" else "jsonl"


def of_corpus(rows: Iterable[Row]) -> Iterator[Document]:
    """Yield the documents whose own annotation is suspicious, with the reasons."""
    for document, found in rows:
        if reasons := suspicions(found):
            yield _with_reasons(document, reasons)


def of_evaluation(rows: Iterable[Row], least: float, most: int = 0) -> Iterator[Document]:
    """Yield the documents that have a prediction against their annotation, with reasons and predictions.

    Args:
        rows: Documents with their predictions, and their errors.
        least: Probability that the prediction must have.
        most: How many documents, those with the most probable predictions, the most probable first; 0 for all, in the
            order of the corpus.
    """
    doubtful = (
        (confidence(document, document.predicted), -number, document, found)
        for number, (document, found) in enumerate(rows)
    )
    chosen = (row for row in doubtful if row[0] >= least and row[3])
    for _, _, document, found in heapq.nlargest(most, chosen, key=lambda row: row[:2]) if most else chosen:
        yield _with_reasons(document, [_difference(error) for error in found])


def _difference(error: Finding) -> str:
    """Return an error in a few words."""
    gold, predicted = (
        f"{side} {one['label']} {one['text']}" if (one := error[side]) else "" for side in ("gold", "predicted")
    )
    probability = f" ({error['score']:.2f})" if "score" in error else ""
    return f"{error['kind']}: " + ", ".join(filter(None, [gold, predicted + probability]))


def _with_reasons(document: Document, reasons: list[str]) -> Document:
    return replace(document, extra={**document.extra, REASONS: reasons})
