"""What is fuzzed: one function a part, which makes an input, gives it to the package, and checks what comes back.

A part raises `Fault`, or whatever the package raised that is not a `TaggerError`, if something is wrong.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import fuzz_inputs as inputs
import fuzz_lists as lists
from fuzz_checks import Fault, Place, check_document, check_entities, check_line, refusable, tagger
from fuzz_commands import commands
from fuzz_server import http

from tagger import Tagger, config, corpus, formats
from tagger.documents import Notes
from tagger.files import open_text, reading
from tagger.gazetteer import Gazetteer
from tagger.pipeline import Result
from tagger.sections import VectorsConfig
from tagger.text import read_words
from tagger.vector_files import load_word2vec


# ---- what is read -------------------------------------------------------------------------------------------------
def _read(path: Path, name: str = "") -> None:
    """Read a corpus in both ways, each of which may refuse it."""
    with refusable():
        for document in corpus.read(path, name):
            check_document(document)
    with refusable():
        for text in corpus.texts(path, name):
            if not isinstance(text, str):
                raise Fault(f"a text that is {text!r}")


def _format(rng: Random) -> str:
    return rng.choice(list(formats.FORMATS)) if rng.random() < 0.3 else ""


def bytes_(rng: Random, place: Place) -> None:
    """Read random bytes, and valid files that are damaged or in other encodings."""
    content, suffix = inputs.bytes_file(rng)
    path = place.file("in" + suffix, content)
    encoding = rng.choice((*inputs.ENCODINGS, "rot13", "hex", "x", "idna", "utf-7")) if rng.random() < 0.3 else ""
    column = rng.choice(("content", "entities", "x")) if rng.random() < 0.1 else ""
    with refusable(), reading.read_as([path], encoding, column):
        _read(path, _format(rng))


def archives(rng: Random, place: Place) -> None:
    """Read gzip and zip files, most of them damaged."""
    content, suffix = inputs.archive_file(rng)
    _read(place.file("in" + suffix, content), _format(rng))


def json_(rng: Random, place: Place) -> None:
    """Read records of all JSON formats with something wrong in them."""
    path = place.file(rng.choice(("in.jsonl", "in.json", "in")), inputs.json_file(rng))
    _read(path, _format(rng))


def columns(rng: Random, place: Place) -> None:
    """Read columns of tokens and tags."""
    _read(place.file(rng.choice(("in.conll", "in.bio", "in.txt", "in")), inputs.columns_file(rng)), _format(rng))


def tables(rng: Random, place: Place) -> None:
    """Read CSV and TSV."""
    content, suffix = inputs.table_file(rng)
    path = place.file("in" + suffix, content)
    with refusable(), reading.read_as([path], "", rng.choice(("", "", "content", "x"))):
        _read(path, _format(rng))


def brat(rng: Random, place: Place) -> None:
    """Read folders of standoff annotation."""
    for name, content in inputs.brat_files(rng).items():
        place.file(f"in/{name}", content)
    _read(place.folder / "in", "brat" if rng.random() < 0.5 else "")


# ---- written, then read -------------------------------------------------------------------------------------------
_WHOLE = ("jsonl", "doccano", "labelstudio", "cluener", "inline", "prodigy", "csv", "tsv", "parquet", "brat")


def trips(rng: Random, place: Place) -> None:
    """Write documents in each format and read them again: what a format holds is the same, offsets included."""
    some = [inputs.document(rng) for _ in range(rng.randrange(1, 4))]
    name = rng.choice([one for one in formats.WRITABLE if one != "parquet" or _has_pyarrow()])
    row, notes = formats.FORMATS[name], Notes()
    out = place.folder / ("out" if row.folder and not row.binary else "out.parquet" if row.binary else "out.any")
    with refusable():
        corpus.write(some, out, name, False, notes)
        if any(note.startswith(("lost", "changed")) for note in corpus.describe_notes(notes)):
            for document in corpus.read(out, name):
                check_document(document)
            return
        again = list(corpus.read(out, name, notes := Notes()))
        if name in _WHOLE and [(d.text, d.entities) for d in again] != [(d.text, d.entities) for d in some]:
            raise Fault(f"{name} does not give back what was written without a note")
        for document in again:
            check_document(document)
    if not out.exists():
        raise Fault("nothing was written, and nothing said")


@functools.cache
def _has_pyarrow() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


# ---- lists, settings, vectors -------------------------------------------------------------------------------------
def gazetteers(rng: Random, place: Place) -> None:
    """Read gazetteers, and tag with those that are read."""
    path = place.file("names.tsv", lists.gazetteer_file(rng))
    with refusable():
        known = tagger()
        listed = Gazetteer.read(path, known.scheme)
        with_list = Tagger(
            known.config, known.scheme, known.transitions, known.units, known.lookup, known.runtime, known.calibration,
            gazetteer=listed,
        )  # fmt: skip
        for text in ("李明在北京大学读书。", inputs.text(rng)):
            check_entities(text, with_list(text))


def words(rng: Random, place: Place) -> None:
    """Read lists of words for the segmenter."""
    path = place.file("words.txt", lists.words_file(rng))
    with refusable(), open_text(path) as lines:
        for word in read_words((line for _, line in lines), str(path)):
            if not word or not word.isprintable() or " " in word:
                raise Fault(f"a word that no segmenter joins: {word!r}")


def settings(rng: Random, place: Place) -> None:
    """Read settings from TOML files and from `--set`; what is accepted can be written and is the same again."""
    path = place.file("in.toml", lists.toml_file(rng))
    source = str(path) if rng.random() < 0.6 else rng.choice(("default", "contest", "x"))
    overrides = [lists.setting(rng) for _ in range(rng.randrange(3))]
    with refusable():
        known = config.load(source, overrides, rng.choice(("", "", "sure", "contest", "x")))
        again = place.folder / "again.toml"
        again.write_text(config.to_toml(known), "utf-8")
        if config.load(again) != known:
            raise Fault("settings are not the same when they are written and read")


def vectors(rng: Random, place: Place) -> None:
    """Read word2vec files."""
    content, suffix = lists.vectors_file(rng)
    path = place.file("in" + suffix, content)
    with refusable():
        table = load_word2vec(path, VectorsConfig(), fold=rng.random() < 0.5)
        if len(table.vectors) != len(table.vocabulary):
            raise Fault("not as many vectors as words")


# ---- the library --------------------------------------------------------------------------------------------------
def library(rng: Random, place: Place) -> None:
    """Tag hostile strings in every way, and what is no string."""
    if rng.random() < 0.2:
        odd: Any = rng.choice((None, 1, b"x", ["a", None], [1], {"text": "a"}, object(), [["a"]], float("nan")))
        call: Callable[[Any], Any] = rng.choice((tagger(), tagger().batch, lambda some: list(tagger().stream(some))))
        try:
            call(odd)
        except TypeError as error:
            check_line(str(error))
        return
    texts = inputs.texts(rng)
    together = tagger().batch(texts)
    streamed = list(tagger().stream(iter(texts)))
    for text, first, second in zip(texts, together, streamed, strict=True):
        check_entities(text, first)
        if [entity[:4] for entity in first] != [entity[:4] for entity in second]:
            raise Fault(f"batch and stream differ on {text!r}")
    for result in tagger().results(texts, certainty=True):
        _check_result(result)


def _check_result(result: Result) -> None:
    check_entities(result.text, result.entities)
    if result.certainty is not None and not 0 <= result.certainty <= 1 + 1e-6:
        raise Fault(f"certainty {result.certainty}")


# Share of the inputs of each part, and its function.
PARTS: dict[str, tuple[int, Callable[[Random, Place], None]]] = {
    "bytes": (8, bytes_),
    "archives": (4, archives),
    "json": (10, json_),
    "columns": (5, columns),
    "tables": (4, tables),
    "brat": (3, brat),
    "trips": (6, trips),
    "gazetteers": (2, gazetteers),
    "words": (1, words),
    "settings": (3, settings),
    "vectors": (2, vectors),
    "library": (3, library),
    "http": (5, http),
    "commands": (4, commands),
}
