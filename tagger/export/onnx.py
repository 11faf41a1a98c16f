"""Export to ONNX: the network with its vectors in one graph, and a description of how to use it in JSON."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from tagger import onnx_graph
from tagger.bundle import Bundle
from tagger.lexicon import LONGEST
from tagger.lookup import word_positions
from tagger.onnx_graph import FrozenTable
from tagger.sections import TextConfig
from tagger.text import normal
from tagger.vectors import PADDING, RESERVED, UNKNOWN


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.onnx`, and `tagger.json`, which describes how to feed it and how to decode its output.

    The model takes `ids` (B, T, F) int32 and `lengths` (B,) int32 and returns `scores` (B, T, K); the tables of
    vectors are inside. It has ONNX's standard operators only. Needs no TensorFlow.
    """
    lookup = bundle.lookup
    tables = [
        FrozenTable(tuple(column for column, own in lookup.looked_up if own is table), table.vectors, table.scales)
        for table in lookup.tables
    ]
    onnx_graph.write(bundle.weights(), folder / "model.onnx", tables)
    parts = (f"{json.dumps(key)}: {_compact(value)}" for key, value in description(bundle).items())
    (folder / "tagger.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def description(bundle: Bundle) -> dict[str, Any]:
    """Return what another language needs to feed the network and to decode its scores, as JSON holds it."""
    config, lookup, transitions = bundle.config, bundle.lookup, bundle.transitions
    of_characters = config.text.unit == "char"
    each_length = {str(size): word_positions(np.array([size])).tolist() for size in (1, 2, 3, 4)}
    return {
        "format": 1,
        "about": _ABOUT,
        "text": {
            "about": _TEXT,
            "replace": _replaced(config.text),
            "fold": config.text.fold,
            "simplify": config.text.simplify,
            "clean": config.text.clean,
            "segmenter": {**bundle.manifest["segmenter"], "about": _SEGMENTER, "words": list(config.text.words)},
        },
        "unit": config.text.unit,
        "window": {"about": _WINDOW, "units": config.text.maxlen, "overlap": config.text.overlap},
        "ids": {"about": _IDS, "padding": PADDING, "unknown": UNKNOWN, "first": RESERVED},
        "columns": [{"vocabulary": column.table or None, "about": column.description} for column in lookup.layout],
        "positions": each_length if of_characters else None,
        "lexicon": _lexicon(bundle.folder) if lookup.lexicon else None,
        "tags": bundle.scheme.names,
        "decode": {"about": _DECODE, "log_softmax": not config.model.crf, "score": config.decode.score},
        "transitions": [_legal(row) for row in transitions.scores],
        "starts": _legal(transitions.starts),
        "ends": _legal(transitions.ends),
        "calibration": {"about": _CALIBRATION, **bundle.calibration.to_dict()},
        "vocabularies": {table.name: table.vocabulary.words for table in lookup.tables},
    }


def _replaced(config: TextConfig) -> dict[str, str]:
    """Return each character that is looked up as another one, except lone surrogates, which JSON cannot hold."""
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    replaced = normal(characters, config.fold, config.simplify)
    return {old: new for old, new in zip(characters, replaced, strict=True) if old != new}


def _legal(scores: np.ndarray) -> list[float | None]:
    """Return scores with None for what is forbidden."""
    return [float(score) if np.isfinite(score) else None for score in scores]


def _lexicon(folder: Path) -> dict[str, Any]:
    """Return the lexicon in a bundle's folder, its arrays in Base64."""

    def encoded(name: str, kind: str) -> str:
        array = np.load(folder / f"lexicon.{name}.npy", allow_pickle=False)
        return base64.b64encode(array.astype(kind).tobytes()).decode("ascii")

    return {
        "about": _LEXICON,
        "longest": LONGEST,
        "vocabulary_tags": encoded("words", "u1"),
        "keys": encoded("keys", "<u4"),
        "tags": encoded("tags", "u1"),
    }


# Explanations in tagger.json.
_ABOUT = (
    "How to use model.onnx. Inputs: ids (B, T, F) int32, a row of F ids for each unit, padded on the right with 0; "
    "lengths (B,) int32, number of units of each text, at least 1. Output: scores (B, T, K) float32, one for each tag; "
    "those past the end of a text have no meaning. Text -> words -> units -> ids -> scores -> tags -> entities."
)

_TEXT = (
    "A character is a Unicode code point. Replace characters by 'replace', one for one, so that offsets stay the same; "
    "fold tells whether Latin letters become lower case and digits 0 thereby, simplify whether traditional characters "
    "become simplified ones. With clean, every character outside Han, "
    "0-9, a-z, A-Z, 《》 () （） “” · . then becomes one space, and these are one word each, the leftmost first: the "
    "inside of 《…》, the inside of “…” up to ten characters, a run of Latin letters, digits, dots and the spaces "
    "between them, a run of spaces. The rest is cut into words by the segmenter. A unit is a character, or, with unit "
    "= word, a word."
)

_SEGMENTER = "jieba's standard dictionary and these words; HMM off. The words of a text, joined, are the text again."

_WINDOW = (
    "Longest text, in units, that the network takes at once. A longer one is scored in windows, each of which shares "
    "'overlap' units with the one before; the score of a unit is that of the window in which it is farther from an end."
)

_IDS = "A vocabulary's strings have ids from 'first' on, in order; 'unknown' is for strings that are not in it."

_LEXICON = (
    "Words of at most 'longest' characters, each with its key, its tag (a part of speech) and its id. First, those "
    "words of the vocabulary 'word' whose vocabulary_tags (Base64 of one byte each) is not 0: that is their tag, and "
    "they have their id in the vocabulary. Then words of which only the key is known: keys (Base64 of little-endian "
    "uint32) and tags (of one byte each); their id is 'unknown'. Of equal keys the first counts. The key of a word, "
    "all modulo 2^32: state = 0; for each character c: state = (state xor c) * 0x9E3779B1 + 0x7F4A7C15; then key = "
    "(state + length) * 0x85EBCA6B; key = (key xor (key >> 15)) * 0xC2B2AE35; key = key xor (key >> 16)."
)

_DECODE = (
    "With log_softmax, take it of the scores of each unit. The tags are the path with the largest sum of scores, "
    "transitions[i][j] for tag j after tag i, starts and ends; null is forbidden. O is outside; an entity with label X "
    "is S-X, or B-X, any number of M-X, and E-X. Its score is its probability over all paths (marginal) or the "
    "geometric mean of its tags' probabilities (mean)."
)

_CALIBRATION = (
    "The log-odds of an entity's score become slope * log-odds + offset. Unless repeats is 0, other occurrences in the "
    "text of an entity's string (two or more characters) are entities too, if repeats times its score is at least 0.5."
)
