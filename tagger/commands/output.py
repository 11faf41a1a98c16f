"""What commands print: tables, scores, notes on corpora, progress."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from tagger.documents import Notes

Item = TypeVar("Item")


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]], file: TextIO | None = None) -> None:
    """Print a table, by default to standard output; all columns but the first are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise

    table = Table(*heading)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    width = None if (file or sys.stdout).isatty() else 100
    console = Plain(file=file, width=width, markup=False, emoji=False)  # names stand as they are
    console.print(table)


def print_scores(scores: dict[str, Any], file: TextIO | None = None) -> None:
    """Print what `Scores.to_dict` returned, as tables."""
    from tagger.score import reliability_rows, row, rows

    heading = ["precision", "recall", "F1", "gold", "predicted"]
    print_table(["label", *heading], rows(scores), file)
    if "mentions" in scores:
        print_table(["mention", *heading], [row(*mentions) for mentions in scores["mentions"].items()], file)
    if "errors" in scores:
        print_table(["error", "count"], [(kind, f"{count:,}") for kind, count in scores["errors"].items()], file)
    print_table(["probability", "predicted", "correct, %"], reliability_rows(scores), file)
    if "top1" in scores:
        line = f"top-1 accuracy {100 * scores['top1']:.2f}   contest score {scores['contest']:.4f}"
        print(line, file=file or sys.stdout)


def print_format(place: object, name: str, always: bool = False) -> None:
    """Print which format was read to standard error: `always`, or only if that is plain text."""
    if name == "plain" or (always and name):
        print(f"{place}: read as {'plain text' if name == 'plain' else name}", file=sys.stderr)


def print_notes(place: object, notes: "Notes", every: bool = False) -> None:
    """Print what was lost or repaired in a corpus to standard error; `every` kind, or those that matter."""
    from tagger.corpus import describe_notes

    for note in describe_notes(notes, every):
        print(f"{place}: {note}", file=sys.stderr)


def progress(items: Iterable[Item], text: Callable[[Item], str], shown: bool = True) -> Iterator[Item]:
    """Yield `items`, showing characters per second on standard error."""
    from tagger.progress import bar

    with bar(shown=shown, unit=" characters", unit_scale=True, mininterval=0.5) as shown_bar:
        for item in items:
            yield item
            shown_bar.update(len(text(item)))


def write_page(path: Path, page: str) -> None:
    """Write an HTML page to a file, whose place has been checked before the work."""
    from tagger.files.outputs import open_output

    with open_output(path) as write:
        write(page)
    print(f"{path}: written", file=sys.stderr)
