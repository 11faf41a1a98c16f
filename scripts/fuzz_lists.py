"""Hostile inputs for `fuzz.py` that are no corpora: gazetteers, lists of words, settings, word vectors."""

import gzip
import json
from random import Random

from fuzz_inputs import LABELS, line, mutated, text, value

from tagger.config import sections


def gazetteer_file(rng: Random) -> bytes:
    """Return lines of mentions, labels and weights."""
    rows = []
    for _ in range(rng.randrange(6)):
        mention = rng.choice(("李明", "北京", "大", "北京大学")) if rng.random() < 0.8 else line(rng, 2)
        name = rng.choice(("PER", "LOC")) if rng.random() < 0.9 else rng.choice(LABELS)
        weight = rng.choice(("", "", "1", "-2.5", "50", "51", "nan", "inf", "1e400", "x", "１", "0x1", "1_0"))
        if rng.random() < 0.3:
            rows.append(
                json.dumps(
                    {"mention": mention, "label": name, "weight": value(rng, 1)} if rng.random() < 0.8 else value(rng)
                )
            )
        else:
            rows.append("\t".join(filter(None, (mention, name, weight))) if rng.random() < 0.9 else line(rng))
    content = rng.choice(("\n", "\r\n", "\n\n")).join(rows).encode("utf-8", "replace")
    return mutated(rng, content) if rng.random() < 0.15 else content


def words_file(rng: Random) -> bytes:
    """Return lines of words with frequencies and parts of speech."""
    rows = [
        rng.choice(("李明明 3 nr", "遵义会议旧址", "词,3", "a b", "词\t5", "", line(rng), line(rng, 2)))
        for _ in range(rng.randrange(6))
    ]
    content = "\n".join(rows).encode("utf-8", "replace")
    return mutated(rng, content) if rng.random() < 0.15 else content


def setting(rng: Random) -> str:
    """Return `section.key=value` as `--set` and, line for line, TOML take it; the value is mostly wrong."""
    known = [one.name for _, _, settings in sections() for one in settings]
    name = (
        rng.choice(known)
        if rng.random() < 0.85
        else rng.choice(("", ".", "text", "text.", "model.layer", text(rng, 2)))
    )
    return f"{name}={toml_value(rng)}"


def toml_value(rng: Random) -> str:
    """Return a value as TOML has it, or nearly."""
    if rng.random() < 0.6:
        plain = (
            "0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e400", "9" * 30, "9" * 5000, "0x" + "f" * 5000,
            "true", '"auto"', "[]", "[1, 2]", '"char"', "2020-01-01", "[[[]]]", "'x'", '""', "{}", "{a = 1}",
            '["\\u0000"]', "char", "auto",
        )  # fmt: skip
        return rng.choice(plain)
    return rng.choice((text(rng, 3), json.dumps(text(rng, 3)), "[" * rng.choice((3, 2000)), json.dumps(value(rng, 1))))


def toml_file(rng: Random) -> bytes:
    """Return a file of settings."""
    rows = []
    for _ in range(rng.randrange(5)):
        section, _, rest = setting(rng).partition(".")
        rows += [f"[{section}]", rest] if rng.random() < 0.95 else [text(rng)]
    content = "\n".join(rows).encode("utf-8", "replace")
    return mutated(rng, content) if rng.random() < 0.2 else content


def vectors_file(rng: Random) -> tuple[bytes, str]:
    """Return a file of word2vec's text or binary form, and its suffix."""
    count, size = rng.choice((0, 1, 3, 3, 3)), rng.choice((1, 4, 4, 4))
    shown = rng.choice((count, count, count, count + 1, 10**12, -1, "x"))
    header = f"{shown} {rng.choice((size, size, size, size, 0, -1, 10**9))}\n".encode()
    rows, binary = [], rng.random() < 0.5
    for _ in range(count):
        word = (line(rng, 1) if rng.random() < 0.3 else rng.choice(("李明", "北京", "的"))).encode()
        numbers = " ".join(
            rng.choice(("0.5", "-1", "nan", "1e400", "x") if rng.random() < 0.1 else ("0.5", "-1")) for _ in range(size)
        )
        rows.append(word + b" " + (rng.randbytes(4 * size) if binary else numbers.encode()) + b"\n")
    content = header + b"".join(rows)
    content = mutated(rng, content) if rng.random() < 0.3 else content
    suffix = ".bin" if binary else rng.choice((".txt", ".vec", ".bin"))
    return (gzip.compress(content, 1, mtime=0), suffix + ".gz") if rng.random() < 0.1 else (content, suffix)
