"""Parts of pages: head, colours, legend, a text with its entities marked."""

import html
from collections.abc import Container, Iterable, Sequence

from tagger.documents import Entity, Span

# Pairs of (background in light mode, in dark mode), readable under black and white text; one per label, in turn.
COLOURS = [
    ("#cfe8ff", "#1f4e79"), ("#ffe3c2", "#7a4a12"), ("#d5f2d0", "#2c5e26"), ("#f6d4ea", "#70335a"),
    ("#e3dcff", "#463a86"), ("#fff3b0", "#645500"), ("#d0f1ee", "#1d5b57"), ("#ffd6d3", "#7c2f2a"),
]  # fmt: skip


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
