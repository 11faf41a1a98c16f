"""What is checked of a corpus and its dev set before anything is learnt: in one pass over each, without TensorFlow."""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tagger import corpus
from tagger.errors import TrainingError
from tagger.progress import say


def check_corpora(train: Path, dev: Path) -> tuple[str, ...]:
    """Return the labels of the training corpus, in alphabetical order, if it can be trained on and scored on dev.

    Warns, in one line each, of labels that only dev has, and of texts that are in both. Files that have not changed are
    read, and warned of, once in a process.

    Raises:
        CorpusError: If a file is not in order.
        TrainingError: If one has no text or no entity, or if no label of dev is one of the training corpus.
    """
    return _checked(train, dev, _state(train), _state(dev))


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a corpus changes: name, size and time of its files."""
    files = [(str(file), file.stat()) for file in corpus.files(path)]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in files)


@functools.lru_cache(maxsize=8)
def _checked(train: Path, dev: Path, *states: object) -> tuple[str, ...]:
    dev_texts: set[bytes] = set()
    dev_labels = _read(dev, dev_texts.add)
    both: set[bytes] = set()

    def note(key: bytes) -> None:
        if key in dev_texts:
            both.add(key)

    labels = _read(train, note)
    if not labels:
        raise TrainingError(f"{train}: contains no entity to learn from; annotate some texts first")
    if not dev_texts:
        raise TrainingError(f"{dev}: contains no text; dev needs annotated texts that are not in {train}")
    if not dev_labels:
        remedy = f'annotate it as {train} is, and see "tagger help formats" for what is read'
        raise TrainingError(f"{dev}: expected entities, received {len(dev_texts):,} texts without one; {remedy}")
    lacking = sorted(dev_labels.keys() - labels.keys())
    if len(lacking) == len(dev_labels):
        expected, received = _names(sorted(labels)), _names(lacking)
        raise TrainingError(
            f"{dev}: expected labels of {train} ({expected}), received others ({received}); use the same names in both"
        )
    if lacking:
        count = sum(dev_labels[label] for label in lacking)
        say(f"{dev}: warning: {train} lacks the labels {_names(lacking)} of {count:,} entities, which count as missed")
    if both:
        which = f"all {len(dev_texts):,}" if len(both) == len(dev_texts) else f"{len(both):,} of {len(dev_texts):,}"
        say(f"{dev}: warning: {which} texts are in {train} too, so that its scores are better than those on new texts")
    return tuple(sorted(labels))


def _names(labels: list[str]) -> str:
    """Return labels as a list for a message, the first five of them."""
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")


def _read(path: Path, take: Callable[[bytes], object]) -> Counter[str]:
    """Return the number of entities of each label; `take` is given the hash of each text that is not blank."""
    labels: Counter[str] = Counter()
    for document in corpus.read(path):
        labels.update(span.label for span in document.entities)
        if text := document.text.strip():
            take(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return labels
