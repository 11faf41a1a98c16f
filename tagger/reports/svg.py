"""Plots of the pages, as inline SVG."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tagger.reports.html import escape

_WIDTH, _HEIGHT = 640, 130  # pixels of the plot itself
_TOP = 4  # pixels above it
_COLUMNS = 32  # of a histogram, at most, but for the last

_NO_DATA = "<p>-</p>"


def histogram(counts: Mapping[str, int]) -> str:
    """Return a histogram of lengths.

    Args:
        counts: How often each length occurs, shortest first. The longest hundredth goes into the last column.
    """
    lengths = {int(length): count for length, count in counts.items()}
    if not lengths:
        return _NO_DATA
    first, width, columns = _binned(lengths)
    step, highest = _WIDTH / len(columns), max(columns)
    shapes = []
    for n, count in enumerate(columns):
        begin = first + n * width
        name = f"{begin}" if width == 1 else f"{begin} to {begin + width - 1}"
        name = f"{begin} and more" if n == len(columns) - 1 else name
        height = _HEIGHT * count / highest
        shapes.append(
            f'<rect class="shape" x="{n * step:.1f}" y="{_HEIGHT - height + _TOP:.1f}" width="{max(step - 2, 1):.1f}" '
            f'height="{height:.1f}"><title>{name}: {count:,}</title></rect>'
        )
        if n % max(1, len(columns) // 10) == 0:
            shapes.append(f'<text x="{n * step:.1f}" y="{_HEIGHT + 18}">{begin}</text>')
    return _svg(shapes, _HEIGHT + 24)


def _binned(lengths: Mapping[int, int]) -> tuple[int, int, list[int]]:
    """Return the first length, the number of lengths in a column, and the count of each column."""
    reached = itertools.accumulate(lengths.values())
    last = next(n for n, count in zip(lengths, reached, strict=True) if count >= 0.99 * sum(lengths.values()))
    first = min(lengths)
    width = math.ceil((last + 1 - first) / _COLUMNS)
    columns = [0] * ((last - first) // width + 1 + (max(lengths) > last))
    for length, count in lengths.items():
        columns[min((length - first) // width, len(columns) - 1)] += count
    return first, width, columns


def curves(history: Sequence[Mapping[str, Any]], key: str, name: str) -> str:
    """Return curves of the loss, on a scale of its own, and of scores, 0 to 100 %, over the epochs.

    Args:
        history: A row for each epoch, with `loss` and `key`, 0 to 1; `top1` is drawn if all have it.
        key, name: Of the score.
    """
    if not history:
        return _NO_DATA
    largest = max(row["loss"] for row in history) or 1
    best = 100 * max(row[key] for row in history)
    lines = [
        ("one", f"loss (at most {largest:.3f})", [row["loss"] / largest for row in history]),
        ("two", f"{name} (at most {best:.1f} %)", [row[key] for row in history]),
    ]
    if all("top1" in row for row in history):
        lines.append(("three", "dev top-1", [row["top1"] for row in history]))
    step = _WIDTH / max(len(history) - 1, 1)
    shapes = [f'<path d="M0 {_TOP}H{_WIDTH}M0 {_HEIGHT + _TOP}H{_WIDTH}" stroke="#8886"/>']
    for n, (kind, title, values) in enumerate(lines):
        points = " ".join(f"{e * step:.1f},{_TOP + _HEIGHT * (1 - value):.1f}" for e, value in enumerate(values))
        shapes.append(f'<polyline class="line {kind}" points="{points}"/>')
        shapes.append(f'<path class="line {kind}" d="M{180 * n} {_HEIGHT + 20}h20"/>')
        shapes.append(f'<text x="{180 * n + 26}" y="{_HEIGHT + 24}">{escape(title)}</text>')
    return _svg(shapes, _HEIGHT + 30)


def _svg(shapes: Sequence[str], height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">{"".join(shapes)}</svg>'
