"""What `tagger predict` writes: a table or a page to look at, or documents in a corpus format. All are streams."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tagger.documents import Document, Span
from tagger.pipeline import Result
from tagger.reports.html import head, legend, marked


def document(result: Result, extra: Mapping[str, Any], answers: bool) -> Document:
    """Return a result as a document, for the writers of `formats`: its entities or, with `answers`, its answer.

    Args:
        result: Of a text.
        extra: What else the record of the text holds.
        answers: Whether the format is one of answers.
    """
    if answers:
        return Document(result.text, answers=(result.answer.text,) if result.answer else (), extra=extra)
    spans = tuple(Span(entity.start, entity.end, entity.label) for entity in result.entities)
    return Document(result.text, spans, scores=tuple(entity.score for entity in result.entities), extra=extra)


def table(results: Iterable[Result], labels: Sequence[str], before: int = 0) -> Iterator[str]:
    """Yield a heading, and a line for each entity: text number, start, end, label, score, entity, between tabs.

    Args:
        results: Of the texts.
        labels: Of the tagger.
        before: Texts that are in the table already, with its heading.
    """
    if not before:
        yield "text\tstart\tend\tlabel\tscore\tentity\n"
    for number, result in enumerate(results, before + 1):
        for entity in result.entities:
            shown = " ".join(entity.text.split())
            yield f"{number}\t{entity.start}\t{entity.end}\t{entity.label}\t{entity.score:.3f}\t{shown}\n"


def page(results: Iterable[Result], labels: Sequence[str], before: int = 0) -> Iterator[str]:
    """Yield an HTML page with the entities in the colours of their labels, and the score on hover."""
    style = "p{margin:0;padding:.5rem 0;border-bottom:1px solid #8883;white-space:pre-wrap}\n"
    yield f"{head('tagger', labels, style)}<header>{legend(labels)}</header>\n"
    for result in results:
        yield f"<p>{marked(result.text, result.entities, labels)}</p>\n"
    yield "</html>\n"


# Views of results by the name that `--format` gives them: results, labels and texts before in, pieces of text out.
VIEWS: dict[str, Callable[[Iterable[Result], Sequence[str], int], Iterator[str]]] = {"table": table, "html": page}
