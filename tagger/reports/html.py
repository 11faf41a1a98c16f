"""Parts of HTML pages: frame, headings, tables, a legend of labels, a text with its entities marked.

A page is one file that loads nothing else, in light or dark colours as the reader's system has them.
"""

import html
import itertools
from collections.abc import Container, Iterable, Sequence

from tagger.documents import Entity, Span
from tagger.reports.words import bilingual

# Pairs of (background in light mode, in dark mode), readable under black and white text; one for each label, in turn.
COLOURS = [
    ("#cfe8ff", "#1f4e79"), ("#ffe3c2", "#7a4a12"), ("#d5f2d0", "#2c5e26"), ("#f6d4ea", "#70335a"),
    ("#e3dcff", "#463a86"), ("#fff3b0", "#645500"), ("#d0f1ee", "#1d5b57"), ("#ffd6d3", "#7c2f2a"),
]  # fmt: skip

_REPORT_STYLE = """body{max-width:60rem;line-height:1.6;font-size:1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
small,.note{opacity:.7;font-size:.85rem;font-weight:400}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #8883;vertical-align:top}
th{font-weight:600;white-space:nowrap}td:first-child{white-space:nowrap}
td:first-child,th:first-child,.text th,.text td{text-align:left}.text td{white-space:normal}
.matrix{font-size:.85rem}.matrix th,.matrix td{padding:.15rem .45rem}
.bar{display:inline-block;width:7rem;height:.6rem;background:#8883;border-radius:.3rem;overflow:hidden}
.bar i{display:block;height:100%;background:#3b82c4}
.pair mark::after{content:attr(title);font-size:.65em;opacity:.75;margin-left:.3em}
.wrong{outline:2px solid #d33a2c;outline-offset:-1px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.2rem 1.5rem;padding:.6rem 0;
border-bottom:1px solid #8883}.pair p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9}
svg{max-width:100%;height:auto}svg text{fill:currentColor;font-size:11px}.shape{fill:#3b82c4}
.line{fill:none;stroke-width:2}.one{stroke:#8a8a8a}.two{stroke:#3b82c4}.three{stroke:#d9822b}
"""


def head(title: str, labels: Sequence[str], style: str = "") -> str:
    """Return the beginning of a page, with a colour for each label."""
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


def report(title: str, labels: Sequence[str], parts: Iterable[str]) -> str:
    """Return the page of a report: its title, in both languages, and its parts."""
    title = bilingual(title)
    return f"{head(title, labels, _REPORT_STYLE)}<h1>{title}</h1>\n" + "\n".join(parts) + "\n</html>\n"


def heading(english: str, level: int = 2, note: str = "") -> str:
    """Return a heading in both languages, with a note in small letters."""
    small = f" <small>{escape(note)}</small>" if note else ""
    return f"<h{level}>{escape(bilingual(english))}{small}</h{level}>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "", bars: Sequence[float] = ()) -> str:
    """Return a table.

    Args:
        columns: Headings in English; shown in both languages.
        rows: A cell for each column.
        kind: CSS class; "text" for cells of running text.
        bars: Share, 0 to 1, to draw as a bar at the end of each row; empty for no bars.
    """
    cells = "".join(f"<th>{escape(bilingual(name))}</th>" for name in columns)
    lines = [f"<tr>{cells}{'<th></th>' if bars else ''}</tr>"]
    for row, share in itertools.zip_longest(rows, bars):
        cells = "".join(f"<td>{escape(value)}</td>" for value in row)
        bar = "" if share is None else f'<td><span class="bar"><i style="width:{100 * share:.1f}%"></i></span></td>'
        lines.append(f"<tr>{cells}{bar}</tr>")
    return f'<div class="wide"><table class="{kind}">\n' + "\n".join(lines) + "\n</table></div>"


def legend(labels: Sequence[str]) -> str:
    """Return the labels in their colours."""
    return " ".join(f'<mark class="l{n}">{escape(label)}</mark>' for n, label in enumerate(labels))


def marked(text: str, entities: Iterable[Entity | Span], labels: Sequence[str], wrong: Container[Span] = ()) -> str:
    """Return a text with its entities in the colours of their labels; those in `wrong` have that class too."""
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


def fragment(text: str, entities: Iterable[Entity], labels: Sequence[str]) -> str:
    """Return a text with its entities marked, as a part of any page, a notebook's for example: styles are inside it."""
    parts, done = [], 0
    for entity in entities:
        colour = COLOURS[labels.index(entity.label) % len(COLOURS)][0] if entity.label in labels else COLOURS[0][0]
        style = f"background:{colour};color:#111;border-radius:.25em;padding:.1em .25em"
        label = f'<span style="font-size:.65em;opacity:.75;margin-left:.3em">{escape(entity.label)}</span>'
        parts += [
            escape(text[done : entity.start]),
            f'<mark style="{style}" title="{entity.score:.2f}">{escape(entity.text)}{label}</mark>',
        ]
        done = entity.end
    return f'<div style="white-space:pre-wrap;line-height:1.9">{"".join(parts)}{escape(text[done:])}</div>'


def escape(text: str) -> str:
    """Return `text` escaped for HTML; lone surrogates become question marks."""
    return html.escape(text).encode("utf-8", "replace").decode("utf-8")
