"""The work of `tagger predict`: records in, results out, each with all that its record holds."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tagger import formats
from tagger.documents import Document, Notes
from tagger.groups import gathered
from tagger.pipeline import Result, Tagger
from tagger.prediction import processes
from tagger.prediction.checkpoints import Checkpoints
from tagger.prediction.inputs import Fault, Inputs
from tagger.progress import bar, say
from tagger.reports.results import VIEWS, document


@dataclass(frozen=True)
class Group:
    """Items of the input that are tagged together.

    Args:
        items: Documents and faults, in the order of the input; none where a slow source has nothing to give.
        end: Items of the input before the end of this group.
        position: Bytes of the input before it.
    """

    items: list[Document | Fault]
    end: int
    position: int

    def __len__(self) -> int:
        return len(self.items)

    @property
    def texts(self) -> list[str]:
        """The texts to tag."""
        return [item.text for item in self.items if isinstance(item, Document)]


@dataclass
class Prediction:
    """One run.

    Args:
        tagger: Loaded from the bundle.
        bundle: The bundle's folder.
        runtime: As given to `Tagger.load`.
        format: Name of the format to write, or of a view in `reports.results.VIEWS`.
        wait: Seconds that a text of a slow source waits for others; None for any time.
        shown: Whether to show progress, on a terminal.
        notes: Where to count what the format cannot hold.
        faults: Number of faults.
        texts, characters, entities: Of this run's results.
    """

    tagger: Tagger
    bundle: Path
    runtime: str
    format: str
    wait: float | None
    shown: bool
    notes: Notes
    faults: int = 0
    texts: int = 0
    characters: int = 0
    entities: int = 0

    def run(
        self,
        inputs: Inputs,
        write: Callable[[str], Any],
        write_fault: Callable[[dict[str, Any]], Any],
        checkpoints: Checkpoints | None = None,
        first: Sequence[Document] = (),
    ) -> None:
        """Tag the records of inputs, as far as that is not done, and write the results.

        Args:
            inputs: Read once, to their end.
            write: Called with pieces of the output.
            write_fault: Called with what could not be read.
            checkpoints: How far the run is, and where to mark that; None where it cannot be resumed.
            first: The first documents of the input, see `first_documents`; needed with checkpoints.

        Raises:
            TaggerError: If the input cannot be read, or the output cannot be written.
        """
        self._write_fault, self._checkpoints = write_fault, checkpoints
        done = results_done = 0
        if checkpoints and checkpoints.records:
            done, self.faults = checkpoints.records, checkpoints.faults
            self.notes.update(checkpoints.notes)
            results_done = done - checkpoints.faults
            say(f"{done:,} records are done; going on after them")
        items = iter(inputs)
        groups = self._groups(items, inputs, done)
        answers = self.format == "contest"
        tagged = processes.tagged(self.tagger, self.bundle, self.runtime, groups, answers)
        results = self._results(tagged, inputs)
        if self.format in VIEWS:
            pieces = VIEWS[self.format]((result for _, result in results), self.tagger.labels, results_done)
        else:
            documents = (document(result, given.extra, answers) for given, result in results)
            pieces = self._formatted(documents, first, bool(done))
        try:
            for piece in pieces:
                write(piece)
        finally:
            tagged.close()  # here, not by the garbage collector in one of its own threads
            if self.wait is None:  # otherwise another thread may be reading
                items.close()

    def _formatted(self, documents: Iterator[Document], first: Sequence[Document], resumed: bool) -> Iterator[Any]:
        """Yield what to write for documents, each before the next is asked for.

        A format with a heading asks for documents ahead. It is given the first of the input for that, before the real
        ones: what it writes for them is dropped, but for the heading of a run from the start.

        Args:
            documents: The results.
            first: As many documents of the input as the writer asks for; none if it may ask for the results ahead.
            resumed: Whether the heading has been written.
        """
        if not first:
            yield from formats.write(self.format, documents, self.notes, predicted=True)
            return
        before = Notes(self.notes)
        pieces = formats.write(self.format, itertools.chain(first, documents), self.notes, predicted=True)
        heading, *_ = itertools.islice(pieces, 1 + len(first))
        self.notes.clear()
        self.notes.update(before)
        if not resumed:
            yield heading
        yield from pieces

    def _groups(self, items: Iterator[Document | Fault], inputs: Inputs, done: int) -> Iterator[Group]:
        """Yield groups of the items after those that are done; groups depend on the items alone, unless one waits."""
        for _ in itertools.islice(items, done):
            pass
        if self.wait is None:
            chunks: Iterator[Any] = (chunk for _, chunk in itertools.groupby(items, lambda _: inputs.chunk))
        else:
            chunks = iter([items])
        for chunk in chunks:
            for group in gathered(chunk, _length, self.wait):
                done += len(group)
                yield Group(group, done, inputs.position)

    def _results(
        self, groups: Iterator[tuple[Group, list[Result]]], inputs: Inputs
    ) -> Iterator[tuple[Document, Result]]:
        """Yield each document with its result; write faults, show progress, mark where a resumed run can go on.

        A group is marked as done when the next one begins: by then all of it has been written, and it was not cut
        short by an error of the input.
        """
        before: Group | None = None
        with _Progress(inputs.size, self.shown) as progress:
            for group, results in groups:
                if before and self._checkpoints:
                    self._checkpoints.boundary(before.end, dict(self.notes))
                rest = iter(results)
                for item in group.items:
                    if isinstance(item, Fault):
                        self.faults += 1
                        self._write_fault(asdict(item))
                    else:
                        result = next(rest)
                        self.texts, self.characters = self.texts + 1, self.characters + len(item.text)
                        self.entities += len(result.entities)
                        yield item, result
                progress.update(group)
                before = group


def first_documents(inputs: Inputs, format: str) -> list[Document]:
    """Return as many documents of an input as the writer of a format asks for ahead, the same again if it has fewer.

    Args:
        inputs: Other ones than those of the run.
        format: Name of the format.
    """
    ahead = formats.by_name(format).ahead if format not in VIEWS else 0
    documents = list(itertools.islice((item for item in inputs if isinstance(item, Document)), ahead)) if ahead else []
    return list(itertools.islice(itertools.cycle(documents), ahead))


def _length(item: Document | Fault) -> int:
    return len(item.text) if isinstance(item, Document) else 0


class _Progress:
    """Progress on standard error: how much of the input is done, how fast, and how long the rest takes."""

    def __init__(self, size: int, shown: bool) -> None:
        self._size, self._shown = size, shown
        self._characters = 0
        self._bar: Any = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, group: Group) -> None:
        """Show that a group is done; time begins with the first, for what came before was not tagged now."""
        if not self._shown:
            return
        self._characters += sum(map(_length, group.items))
        if self._bar is None:
            settings = (
                {"total": self._size, "unit": "B", "unit_divisor": 1000} if self._size else {"unit": " characters"}
            )
            self._bar = bar(
                unit_scale=True, mininterval=0.5, smoothing=0.05,
                initial=group.position if self._size else 0, **settings,
            )  # fmt: skip
        if self._size:
            self._bar.set_postfix_str(f"{self._characters:,} characters", refresh=False)
        now = group.position if self._size else self._characters
        self._bar.update(now - self._bar.n)
