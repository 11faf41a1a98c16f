"""Progress messages of long work, and progress bars."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def say(line: str) -> None:
    """Print a line of progress to standard error, above any progress bar; nothing where that is closed."""
    if sys.stderr is not None:
        tqdm.write(line, file=sys.stderr)


def bar(items: Iterable[Any] | None = None, shown: bool = True, **settings: Any) -> Any:
    """Return a `tqdm` progress bar over `items`, shown on standard error if that is a terminal.

    Args:
        items: Yielded by the bar; None where the caller updates it.
        shown: Whether to show it at all.
        settings: As for `tqdm`.
    """
    hidden = not shown or sys.stderr is None
    return tqdm(items, file=sys.stderr, disable=True if hidden else None, **settings)
