"""Results to look at, a table and a page, and as documents, which `formats` writes. All streaming."""

import html
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from tagger.documents import Document, Entity, Span
from tagger.pipeline import Result

# Pairs of (background in light mode, in dark mode), readable under black and white text; one per label, in turn.
COLOURS = [
    ("#cfe8ff", "#1f4e79"), ("#ffe3c2", "#7a4a12"), ("#d5f2d0", "#2c5e26"), ("#f6d4ea", "#70335a"),
    ("#e3dcff", "#463a86"), ("#fff3b0", "#645500"), ("#d0f1ee", "#1d5b57"), ("#ffd6d3", "#7c2f2a"),
]  # fmt: skip


def documents(results: Iterable[Result], answers: bool) -> Iterator[Document]:
    """Yield each result as a document, for the writers of `formats`: its entities, or its answer alone."""
    for result in results:
        if answers:
            yield Document(result.text, answers=(result.answer.text,) if result.answer else ())
        else:
            spans = tuple(Span(entity.start, entity.end, entity.label) for entity in result.entities)
            yield Document(result.text, spans, scores=tuple(entity.score for entity in result.entities))


def table(results: Iterable[Result], labels: Sequence[str]) -> Iterator[str]:
    """Yield a line an entity: text number, start, end, label, score, entity, separated by tabs; a heading first."""
    yield "text\tstart\tend\tlabel\tscore\tentity\n"
    for number, result in enumerate(results, 1):
        for entity in result.entities:
            shown = " ".join(entity.text.split())
            yield f"{number}\t{entity.start}\t{entity.end}\t{entity.label}\t{entity.score:.3f}\t{shown}\n"


def page(results: Iterable[Result], labels: Sequence[str]) -> Iterator[str]:
    """Yield an HTML page of its own with the entities highlighted, a colour a label, the score on hover."""
    style = "p{margin:0;padding:.5rem 0;border-bottom:1px solid #8883;white-space:pre-wrap}\n"
    yield f"{head('tagger', labels, style)}<header>{legend(labels)}</header>\n"
    for result in results:
        yield f"<p>{marked(result.text, result.entities, labels)}</p>\n"
    yield "</html>\n"


def head(title: str, labels: Sequence[str], style: str = "") -> str:
    """Return the beginning of a page: light or dark as the reader has it, with a colour a label."""
    light, dark = (
        "".join(f".l{n}{{background:{COLOURS[n % len(COLOURS)][mode]}}}" for n in range(len(labels))) for mode in (0, 1)
    )
    return (
        '<!doctype html>\n<html lang="zh">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n"
        ":root{color-scheme:light dark}\n"
        "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1.05rem/1.9 system-ui,sans-serif}\n"
        "header{font-size:.9rem;margin-bottom:1.5rem}\n"
        "mark{color:inherit;border-radius:.25rem;padding:.1rem .25rem}\n"
        f"{style}{light}\n@media (prefers-color-scheme:dark){{{dark}}}\n</style>\n"
    )


def legend(labels: Sequence[str]) -> str:
    """Return the labels in their colours."""
    return " ".join(f'<mark class="l{n}">{escape(label)}</mark>' for n, label in enumerate(labels))


def marked(text: str, entities: Iterable[Entity | Span], labels: Sequence[str], wrong: Container[Span] = ()) -> str:
    """Return a text with its entities in the colours of their labels, those that are `wrong` of this class too."""
    parts, done = [], 0
    for entity in entities:
        start, end, label = entity[:3]
        title = label + (f" {entity.score:.2f}" if isinstance(entity, Entity) else "")
        kind = f"l{labels.index(label)}" + (" wrong" if Span(start, end, label) in wrong else "")
        parts += [
            escape(text[done:start]),
            f'<mark class="{kind}" title="{escape(title)}">{escape(text[start:end])}</mark>',
        ]
        done = end
    return "".join([*parts, escape(text[done:])])


def escape(text: str) -> str:
    """Return `text` as it stands in a page; lone surrogates become question marks."""
    return html.escape(text).encode("utf-8", "replace").decode("utf-8")


VIEWS: dict[str, Callable[[Iterable[Result], Sequence[str]], Iterator[str]]] = {"table": table, "html": page}
