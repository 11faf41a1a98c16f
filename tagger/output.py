"""Results to look at, a table and a page, and as documents, which `formats` writes. All streaming."""

import html
from collections.abc import Callable, Iterable, Iterator, Sequence

from tagger.documents import Document, Span, labelled
from tagger.pipeline import Result

# Pairs of (background in light mode, in dark mode), readable under black and white text; one per label, in turn.
_COLOURS = [
    ("#cfe8ff", "#1f4e79"), ("#ffe3c2", "#7a4a12"), ("#d5f2d0", "#2c5e26"), ("#f6d4ea", "#70335a"),
    ("#e3dcff", "#463a86"), ("#fff3b0", "#6b5b00"), ("#d0f1ee", "#1d5b57"), ("#ffd6d3", "#7c2f2a"),
]  # fmt: skip


def documents(results: Iterable[Result], answers: bool) -> Iterator[Document]:
    """Yield each result as a document, for the writers of `formats`: its entities, or its answer alone."""
    for result in results:
        if answers:
            yield Document(result.text, answers=(result.answer.text,) if result.answer else ())
        else:
            scores = tuple(entity.score for entity in result.entities)
            yield labelled(result.text, [Span(*entity[:3]) for entity in result.entities], scores=scores)


def table(results: Iterable[Result], labels: Sequence[str]) -> Iterator[str]:
    """Yield a line an entity: text number, start, end, label, score, entity, separated by tabs; a heading first."""
    yield "text\tstart\tend\tlabel\tscore\tentity\n"
    for number, result in enumerate(results, 1):
        for entity in result.entities:
            shown = " ".join(entity.text.split())
            yield f"{number}\t{entity.start}\t{entity.end}\t{entity.label}\t{entity.score:.3f}\t{shown}\n"


def page(results: Iterable[Result], labels: Sequence[str]) -> Iterator[str]:
    """Yield an HTML page of its own with the entities highlighted, a colour a label, the score on hover."""
    light = "".join(f".l{n}{{background:{_COLOURS[n % len(_COLOURS)][0]}}}" for n in range(len(labels)))
    dark = "".join(f".l{n}{{background:{_COLOURS[n % len(_COLOURS)][1]}}}" for n in range(len(labels)))
    legend = " ".join(f'<mark class="l{n}">{html.escape(label)}</mark>' for n, label in enumerate(labels))
    yield (
        '<!doctype html>\n<html lang="zh">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>tagger</title>\n<style>\n'
        ":root{color-scheme:light dark}\n"
        "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1.05rem/1.9 system-ui,sans-serif}\n"
        "header{font-size:.9rem;margin-bottom:1.5rem}\n"
        "p{margin:0;padding:.5rem 0;border-bottom:1px solid #8883;white-space:pre-wrap}\n"
        "mark{color:inherit;border-radius:.25rem;padding:.1rem .25rem}\n"
        f"{light}\n@media (prefers-color-scheme:dark){{{dark}}}\n</style>\n"
        f"<header>{legend}</header>\n"
    )
    places = {label: number for number, label in enumerate(labels)}
    for result in results:
        yield f"<p>{_marked(result, places)}</p>\n"
    yield "</html>\n"


def _marked(result: Result, places: dict[str, int]) -> str:
    parts, done = [], 0
    for entity in result.entities:
        parts.append(_escape(result.text[done : entity.start]))
        title = f"{html.escape(entity.label)} {entity.score:.2f}"
        parts.append(f'<mark class="l{places[entity.label]}" title="{title}">{_escape(entity.text)}</mark>')
        done = entity.end
    return "".join([*parts, _escape(result.text[done:])])


def _escape(text: str) -> str:
    return html.escape(text).encode("utf-8", "replace").decode("utf-8")


VIEWS: dict[str, Callable[[Iterable[Result], Sequence[str]], Iterator[str]]] = {"table": table, "html": page}
