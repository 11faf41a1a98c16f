"""Training word2vec vectors, loading them, and the tables in which ids are looked up.

Id 0 is padding (a zero vector), id 1 is unknown (the mean of the vectors of the rarest items).
"""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tagger.config import passes_over
from tagger.errors import VectorsError, require
from tagger.progress import Stages
from tagger.progress import bar as progress_bar
from tagger.sections import VectorsConfig
from tagger.settings import unless_auto
from tagger.text import UnitMaker

PADDING, UNKNOWN = 0, 1

RESERVED = 2  # ids of words start here

_SPACE = "\u2581"  # replaces a space inside a word in the temporary files that word2vec reads

_LONGEST = 10_000  # items of a sentence; gensim drops the rest

COUNTED = 2_000_000  # different items counted at once; beyond this the rarest are dropped, so that memory is bounded


class Vocabulary:
    """Words and their ids; ids 0 and 1 are padding and unknown.

    Args:
        words: Words in the order of their ids, from 2 on.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __len__(self) -> int:
        return len(self.words) + RESERVED

    def __contains__(self, word: str) -> bool:
        return word in self.numbers

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The id of each word."""
        return {word: number for number, word in enumerate(self.words, RESERVED)}

    def id(self, word: str) -> int:
        """Return the id of `word`, of its longest known ending, or of its longest known beginning.

        The ending says most about a Chinese word: an unknown 遵义会议纪念馆 gets the id of 纪念馆.
        """
        for start in range(len(word)):
            if found := self.numbers.get(word[start:]):
                return found
        for stop in range(len(word) - 1, 0, -1):
            if found := self.numbers.get(word[:stop]):
                return found
        return UNKNOWN

    def ids(self, words: Sequence[str]) -> np.ndarray:
        """Return the id of each word, (len(words),) int32."""
        ids = np.fromiter(map(self.numbers.get, words, itertools.repeat(-1)), np.int32, len(words))
        for position in np.flatnonzero(ids < 0).tolist():
            ids[position] = self.id(words[position])
        return ids


@dataclass(frozen=True)
class Table:
    """The vocabulary and the frozen vectors of one id column.

    Args:
        name: What the column holds: "word", "char", "bigram".
        vocabulary: Its words.
        vectors: One row per id, (V, D) float32, or int8 to be multiplied by `scales`.
        scales: Factor of each row, (V, 1) float32, or None for float32 vectors.
    """

    name: str
    vocabulary: Vocabulary
    vectors: np.ndarray
    scales: np.ndarray | None = None

    @property
    def dimensions(self) -> int:
        """Length D of a vector."""
        return int(self.vectors.shape[1])

    @property
    def largest(self) -> float:
        """Largest absolute number in the vectors."""
        return float(np.abs(self.vectors).max() if self.scales is None else 127 * self.scales.max())

    def rows(self, ids: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return the vectors of `ids`, (..., D) float32, in `out` if given."""
        scales = np.float32(1) if self.scales is None else self.scales[ids]
        vectors: np.ndarray = np.multiply(self.vectors[ids], scales, out=out)
        return vectors

    def head(self, limit: int) -> "Table":
        """Return the table of the first `limit` words, the most frequent; of all for 0.

        The vector for unknown words stays the one of the whole table.
        """
        if not limit or limit >= len(self.vocabulary.words):
            return self
        scales = None if self.scales is None else self.scales[: limit + RESERVED]
        words = Vocabulary(self.vocabulary.words[:limit])
        return Table(self.name, words, self.vectors[: limit + RESERVED], scales)

    def save(self, folder: Path) -> None:
        """Write `NAME.txt`, `NAME.npy` and, for int8 vectors, `NAME.scales.npy` into `folder`."""
        (folder / f"{self.name}.txt").write_text("".join(f"{w}\n" for w in self.vocabulary.words), "utf-8")
        np.save(folder / f"{self.name}.npy", self.vectors, allow_pickle=False)
        scaled = folder / f"{self.name}.scales.npy"
        scaled.unlink(missing_ok=True)
        if self.scales is not None:
            np.save(scaled, self.scales.astype(np.float16), allow_pickle=False)

    @staticmethod
    def load(folder: Path, name: str) -> "Table":
        """Return a saved table; its vectors stay on disk and are memory-mapped.

        Raises:
            VectorsError: If a file is missing or the files do not fit together.
        """
        try:
            words = (folder / f"{name}.txt").read_text("utf-8").split("\n")[:-1]
            vectors = np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
            scaled = folder / f"{name}.scales.npy"
            scales = np.load(scaled, allow_pickle=False).astype(np.float32) if scaled.exists() else None
        except (OSError, ValueError, EOFError) as error:
            raise VectorsError(f"{folder}: table {name!r} cannot be read: {error}") from error
        if vectors.ndim != 2 or len(vectors) != len(words) + RESERVED:
            raise VectorsError(f"{folder}: {name}.npy has shape {vectors.shape} for {len(words)} words in {name}.txt")
        shape = (len(vectors), 1) if vectors.dtype == np.int8 else None
        if shape != (None if scales is None else scales.shape):
            raise VectorsError(f"{folder}: {name}.npy and {name}.scales.npy do not fit together")
        return Table(name, Vocabulary(words), vectors, scales)


def make_table(name: str, words: Sequence[str], vectors: np.ndarray, config: VectorsConfig) -> Table:
    """Return a table of `vectors`, scaled and stored as `config` says.

    Args:
        name: The column's name.
        words: Words, most frequent first.
        vectors: Their vectors, (len(words), D) float32. Not modified.
        config: The `[vectors]` section.
    """
    vectors = np.asarray(vectors, np.float32)
    norm = unless_auto(config.norm, 0.5 * vectors.shape[1] ** 0.5)
    vectors = vectors * (norm / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
    rarest = vectors[-max(1, len(vectors) // 10) :]
    unknown = rarest.mean(axis=0, keepdims=True) if len(vectors) else np.zeros((1, vectors.shape[1]))
    rows = np.concatenate([np.zeros_like(unknown), unknown, vectors]).astype(np.float32)
    if config.storage == "float32":
        return Table(name, Vocabulary(words), rows)
    scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-3) / 127
    scales = scales.astype(np.float16).astype(np.float32)  # the precision of the file
    return Table(name, Vocabulary(words), np.clip(np.rint(rows / scales), -127, 127).astype(np.int8), scales)


def appended(table: Table, words: Sequence[str], vectors: np.ndarray, config: VectorsConfig) -> Table:
    """Return a table with more words behind its own, scaled and stored as those of `make_table` are.

    Args:
        table: Its rows, that of unknown words too, and their ids stay as they are.
        words, vectors: As for `make_table`; D is that of the table.
        config: The `[vectors]` section, whose `storage` is that of the table.
    """
    more = make_table(table.name, words, vectors, config)
    joined = [
        None if old is None or new is None else np.concatenate([old, new[RESERVED:]])
        for old, new in ((table.vectors, more.vectors), (table.scales, more.scales))
    ]
    vocabulary = Vocabulary([*table.vocabulary.words, *words])
    return Table(table.name, vocabulary, np.asarray(joined[0]), joined[1])


# The items of a segmented text, in order, from which the vectors of each table are learnt.
def _words(words: Sequence[str]) -> Sequence[str]:
    return words


def _characters(words: Sequence[str]) -> Sequence[str]:
    return "".join(words)


def _bigrams(words: Sequence[str]) -> Sequence[str]:
    """Each character with the one after it; a space stands before the first and after the last."""
    text = "".join(words)
    return list(map("".join, zip(" " + text, text + " ", strict=True)))


ITEMS: dict[str, Callable[[Sequence[str]], Sequence[str]]] = {
    "word": _words,
    "char": _characters,
    "bigram": _bigrams,
}

# The tables that each kind of unit uses.
TABLES = {"word": ("word",), "char": ("char", "bigram", "word")}


# ---- training -------------------------------------------------------------------------------------------------
def learn(
    texts: Iterable[str],
    units: UnitMaker,
    config: VectorsConfig,
    seed: int,
    folder: Path,
    names: Sequence[str] = (),
    stages: Stages | None = None,
) -> Iterator[Table]:
    """Yield the tables that word2vec learns from `texts`, one for each kind of item, each as soon as it is learnt.

    The texts are segmented once and written to temporary files; memory does not depend on how many there are.

    Args:
        texts: Labelled and unlabelled texts together; read once.
        units: Cuts them into units.
        config: The `[vectors]` section: skip-gram with negative sampling (Mikolov et al., 2013).
        seed: Same seed and texts, same vectors, while `config.workers` is 1.
        folder: For temporary files, about three times the size of the texts.
        names: Of the tables to learn; by default all that this kind of unit uses.
        stages: Where to announce `vector_stages`.

    Raises:
        VectorsError: If there is no text.
    """
    names, stages = names or TABLES[units.config.unit], stages or Stages()
    with tempfile.TemporaryDirectory(dir=folder) as spool:
        paths = [Path(spool) / name for name in names]
        stages.begin(_SEGMENTING)
        counts = _spool(texts, units, names, paths)
        if not all(counts):
            raise VectorsError("no text to learn vectors from; check the training and unlabelled files")
        seconds: float | None = None  # for each unit of work
        for name, path, count in zip(names, paths, counts, strict=True):
            passes = unless_auto(config.epochs, automatic_passes(name, count))
            work = count * passes * _WORK[name]
            stages.begin(_learning(name), None if seconds is None else seconds * work)
            begin = time.monotonic()
            yield _word2vec(name, path, passes, config, seed)
            seconds = (time.monotonic() - begin) / work
        stages.end()


_WORK = {"word": 1.0, "char": 1.0, "bigram": 2.7}  # that an item is in a pass; frequent items are often skipped

_SEGMENTING = "segmentation"


def _learning(name: str) -> str:
    return f"{name} vectors"


def vector_stages(names: Sequence[str]) -> list[str]:
    """Return the titles of the stages of `learn`."""
    return [_SEGMENTING, *map(_learning, names)] if names else []


# A tagger gains by many passes over words; over characters and bigrams, which occur more often, fewer serve as well.
_MOST_PASSES = {"word": 26, "char": 10, "bigram": 9}


def automatic_passes(name: str, items: int) -> int:
    """Return the passes over so many items of a table, where the settings leave them open."""
    return passes_over(items, 70_000_000, least=1, most=_MOST_PASSES[name])


def _spool(texts: Iterable[str], units: UnitMaker, names: Sequence[str], paths: Sequence[Path]) -> list[int]:
    """Write one line of items per text for each table, and return the number of items of each."""
    counts = [0] * len(names)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
        for text in texts:
            words = units.words(text)
            for place, (name, file) in enumerate(zip(names, files, strict=True)):
                items = ITEMS[name](words)
                counts[place] += len(items)
                for start in range(0, len(items), _LONGEST):
                    part = (item.replace(" ", _SPACE) for item in items[start : start + _LONGEST])
                    file.write(" ".join(part) + "\n")
    return counts


def _word2vec(name: str, corpus: Path, epochs: int, config: VectorsConfig, seed: int) -> Table:
    require("gensim", "train")
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    size = dimensions(name, config)
    learnt = max(size, config.learnt_dimensions) if name == "word" else size
    with progress_bar(total=epochs, desc=_learning(name), unit="epoch") as bar:

        class Progress(CallbackAny2Vec):
            def on_epoch_end(self, model: Any) -> None:
                bar.update()

        try:
            model = Word2Vec(
                corpus_file=str(corpus),
                vector_size=learnt,
                sg=1,
                window=config.window,
                negative=config.negative,
                min_count=config.min_count,
                max_final_vocab=config.limit or None,
                max_vocab_size=COUNTED,
                sample=config.sample * (1 if name == "word" else 10),
                epochs=epochs,
                alpha=config.learning_rate,
                workers=config.workers,
                seed=seed,
                callbacks=[Progress()],
            )
        except RuntimeError as error:
            least = f"occurs vectors.min_count = {config.min_count} times"
            raise VectorsError(f"too little text to learn {name} vectors from: no {name} {least}") from error
    words = [word.replace(_SPACE, " ") for word in model.wv.index_to_key]
    return make_table(name, words, reduced(model.wv.vectors, size), config)


def dimensions(name: str, config: VectorsConfig) -> int:
    """Return the dimensions of a table's vectors, as `config` says."""
    return {"word": config.word_dimensions, "char": config.char_dimensions, "bigram": config.bigram_dimensions}[name]


def fitted(table: Table, config: VectorsConfig) -> Table:
    """Return a table with no more words and dimensions than `config` says: the first ones, and principal components."""
    table, size = table.head(config.limit), dimensions(table.name, config)
    if table.dimensions <= size:
        return table
    vectors = reduced(table.rows(np.arange(RESERVED, len(table.vectors))), size)
    return make_table(table.name, table.vocabulary.words, vectors, config)


def reduced(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Return vectors (V, D), scaled to unit length, in their first principal components, (V, dimensions).

    The components are those of the 30,000 most frequent words, about the origin. Vectors that have no more dimensions
    already are returned unchanged.
    """
    if vectors.shape[1] <= dimensions:
        return vectors
    vectors = of_unit_length(vectors)
    frequent = vectors[:30_000].astype(np.float64)
    _, components = np.linalg.eigh(frequent.T @ frequent)  # in ascending order
    return vectors @ components[:, ::-1][:, :dimensions].astype(np.float32)


def of_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (V, D) scaled to unit length."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return scaled


def regression(inputs: np.ndarray, outputs: np.ndarray, penalty: float) -> np.ndarray:
    """Return the matrix (D, E) that maps inputs (N, D) to outputs (N, E) best, by ridge regression, in their type.

    Args:
        inputs, outputs: Of one float type.
        penalty: Weight of the sum of the squared coefficients.
    """
    squares = inputs.T @ inputs + penalty * np.eye(inputs.shape[1], dtype=inputs.dtype)
    return np.linalg.solve(squares, inputs.T @ outputs)


# ---- folders of tables ------------------------------------------------------------------------------------------
def save_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write `tables` into a new or existing `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        table.save(folder)


def load_tables(folder: Path, unit: str) -> list[Table]:
    """Return the tables that this kind of unit uses, from a folder of `save_tables`.

    Raises:
        VectorsError: If one is missing or damaged.
    """
    return [Table.load(folder, name) for name in TABLES[unit]]
