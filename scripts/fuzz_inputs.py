"""Hostile inputs for `fuzz.py`, drawn from a random generator: texts, records, columns, tables, bytes, archives.

Each function takes the generator and draws from nothing else, so that an input can be made again from its seed.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tagger import formats
from tagger.documents import Document, Notes, Span, labelled

Json = Any

# What segmenters, cleaners and line readers treat in their own way, beside ordinary text.
_ODD = "《》“”。！…?;:,|aZ.9１Ａ \n\r\t\v\f\x1c\x1e\x85\u3000\u2028\u2029\u200b\u200d"
_ODD += "\x00\x07\x1b\x7f\ufeff\ufffe\ud800\udc80\\\"'[]{}()<>#%=-_/&😀👨\u0301\u202e\U0010ffff龘龍"

_ORDINARY = (
    "李明", "北京大学", "在", "读书。", "遵义会议旧址", "《瓦尔登湖》", "的", "2024年", "Ｔhoreau", "了", "上海",
    "\n", " ", "\t",
    "B-PER", "I-PER", "O", "S-LOC", "M-LOC", "E-LOC", "L-ORG", "U-ORG",
    "[北京]{LOC}", "\\n", "\\u0041", "<b>", "&amp;",
    "T1\tPER 0 2\t李明", '{"text": "', "[[0, 1]]", "-DOCSTART-", "# text = 李", "\r\n", "1e309", "-0", "''", '""', ",",
)  # fmt: skip

LABELS = ("PER", "LOC", "ORG", "B-地点", "a}[]{\\#", "类", "O", "per", "-", "x" * 300)

_ODD_LABELS = ("", " ", "a b", "\n", "\x00", "\ud800", "\t", "B-", "\u2028", "\x1b[31m")

_KEYS = (
    "text", "content", "data", "label", "labels", "entities", "annotations", "spans", "ents", "start", "end", "tokens",
    "ner_tags", "tags", "result", "result_list", "prompt", "value", "core_entity", "unlabelled", "id", "answer", "type",
    "from_name", "to_name", "predictions", "score", "start_offset", "end_offset", "relations", "meta", "was_cancelled",
    "hypertextlabels", "paragraphs", "", "\u2028", "__proto__",
)  # fmt: skip

_NUMBERS: tuple[Json, ...] = (
    0, 1, 2, -1, 3, 10**6, 2**31, 2**63, -(2**64), 10**40, 0.0, 1.0, 0.5, 1e308, -0.0, float("nan"), float("inf"),
)  # fmt: skip

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030", "big5", "latin-1", "cp1252", "shift_jis")


# ---- text ---------------------------------------------------------------------------------------------------------
def text(rng: Random, most: int = 12) -> str:
    """Return a text of up to `most` pieces: ordinary words, odd characters, any code points."""
    pieces = []
    for _ in range(rng.randrange(most + 1)):
        kind = rng.random()
        if kind < 0.5:
            pieces.append(rng.choice(_ORDINARY))
        elif kind < 0.85:
            pieces.append(rng.choice(_ODD))
        else:
            pieces.append(chr(rng.randrange(0x110000)))
    if rng.random() < 0.01:
        pieces.append(rng.choice(_ODD) * rng.randrange(1, 3000))
    # A high surrogate before a low one is no text: JSON cannot write the two apart.
    return re.sub("([\ud800-\udbff])(?=[\udc00-\udfff])", "", "".join(pieces))


def line(rng: Random, most: int = 12) -> str:
    """Return a text without line ends and without what UTF-8 has no bytes for."""
    return re.sub(r"[\r\n\ud800-\udfff]", "", text(rng, most))


def label(rng: Random) -> str:
    """Return a label that is printable and not blank."""
    return rng.choice(LABELS[:6]) if rng.random() < 0.9 else rng.choice(LABELS)


def document(rng: Random, piece: Callable[[Random], str] = lambda rng: text(rng, 3)) -> Document:
    """Return a document of pieces, some of which are entities; neighbours may both be."""
    whole, spans = "", []
    for _ in range(rng.randrange(6)):
        part = piece(rng)
        if whole and re.fullmatch("[\ud800-\udbff].*[\udc00-\udfff]", whole[-1] + part[:1], re.S):
            continue
        if part and rng.random() < 0.5:
            spans.append(Span(len(whole), len(whole) + len(part), label(rng)))
        whole += part
    return labelled(whole, spans)


# ---- JSON ---------------------------------------------------------------------------------------------------------
def value(rng: Random, depth: int = 3) -> Json:
    """Return any JSON value."""
    kind = rng.randrange(10 if depth else 6)
    if kind < 2:
        return rng.choice(_NUMBERS)
    if kind < 4:
        return text(rng, 3)
    if kind == 4:
        return rng.choice((None, True, False, "", "PER", "B-PER", "O"))
    if kind == 5:
        return rng.choice(([], {}, [[]], [0, 1, "PER"], {"start": 0, "end": 1, "label": "PER"}, [None], ["李", "明"]))
    if kind < 8:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(_KEYS): value(rng, depth - 1) for _ in range(rng.randrange(5))}


def record(rng: Random) -> Json:
    """Return a record of one of the JSON formats, mostly with something wrong."""
    made = json.loads(rng.choice(_valid_records(rng)))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        made = _spoilt(rng, made)
    return made


def _valid_records(rng: Random) -> list[str]:
    some = document(rng)
    content, tags = some.text, ["O"] * len(some.text)
    first = some.entities[0] if some.entities else Span(0, len(content), "PER")
    for start, end, name in some.entities:
        tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    pair = {"start": first.start, "end": first.end}
    region = {
        "type": "labels",
        "from_name": "l",
        "to_name": "t",
        "value": {**pair, "labels": [first.label], "text": "x"},
    }
    records = [
        *(
            row
            for name in ("jsonl", "doccano", "cluener", "contest", "prodigy", "tokens")
            for row in _lines(name, some)
        ),
        json.dumps({"content": content, "result_list": [{**pair, "text": "x"}], "prompt": first.label}),
        json.dumps({"text": content, "ents": [{**pair, "label": first.label}]}),
        json.dumps({"tokens": list(content), "ner_tags": tags}),
        json.dumps({"data": {"text": content}, "annotations": [{"result": [region]}]}),
        json.dumps({"text": content, "label": [{**pair, "text": "x", "labels": [first.label]}], "id": 1}),
        json.dumps([content, {"entities": [[first.start, first.end, first.label]]}]),
        json.dumps({"text": content, "entities": [{"start_offset": 0, "end_offset": 1, "label": "PER", "id": 1}]}),
    ]
    return [row for row in records if row.strip()]


def _lines(name: str, some: Document) -> list[str]:
    return "".join(formats.write(name, [some], Notes())).splitlines() if formats.FORMATS[name].write else []


def _spoilt(rng: Random, whole: Json) -> Json:
    """Return a JSON value with one part of it changed, left out, doubled, or replaced by anything."""
    if rng.random() < 0.15 or not isinstance(whole, dict | list) or not whole:
        return value(rng)
    if isinstance(whole, list):
        at = rng.randrange(len(whole))
        change = rng.randrange(4)
        if change == 0:
            return whole[:at] + whole[at + 1 :]
        if change == 1:
            return [*whole, whole[at]]
        return [*whole[:at], _spoilt(rng, whole[at]), *whole[at + 1 :]]
    key = rng.choice(list(whole))
    change = rng.randrange(5)
    if change == 0:
        return {other: whole[other] for other in whole if other != key}
    if change == 1:
        return {**whole, rng.choice(_KEYS): value(rng)}
    if change == 2:
        return {rng.choice(_KEYS) if other == key else other: whole[other] for other in whole}
    return {**whole, key: _spoilt(rng, whole[key])}


def json_file(rng: Random) -> bytes:
    """Return a file of records: one a line, one array, or over several lines each; some of it is no JSON."""
    records = [record(rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 5)))]
    if rng.random() < 0.02:
        depth = rng.choice((200, 5000, 200_000))
        return rng.choice((b"[", b'{"text":', b'{"text": "a", "entities": [')) * depth
    ascii_only = rng.random() < 0.5
    form = rng.randrange(4)
    if form == 0:
        content = json.dumps(records, ensure_ascii=ascii_only, indent=rng.choice((None, 1)))
    elif form == 1:
        content = "\n".join(json.dumps(one, ensure_ascii=ascii_only, indent=2) for one in records)
    else:
        ends = rng.choice(("\n", "\r\n", "\n\n", "\r", " "))
        content = ends.join(json.dumps(one, ensure_ascii=ascii_only) for one in records)
    return content.encode("utf-8", "replace")


# ---- columns, tables, brat ----------------------------------------------------------------------------------------
def columns_file(rng: Random) -> bytes:
    """Return lines of tokens and tags, of any scheme or of none."""
    separator = rng.choice(("\t", " ", ",", "\t\t", "|", "  ", ";"))
    scheme = rng.choice((("B-", "I-"), ("B-", "M-", "E-", "S-"), ("B-", "I-", "L-", "U-"), ("", "b-"), ("B_", "I_")))
    wide, rows = rng.choice((2, 2, 3, 4, 10)), []
    for number in range(rng.randrange(12)):
        if rng.random() < 0.15:
            rows.append(
                rng.choice(("", " ", "-DOCSTART- O", "# text = 李明", "#", "1-2\t李\t_\t_", "\ufeff", line(rng)))
            )
            continue
        token = rng.choice("李明在北京大学读书。") if rng.random() < 0.8 else line(rng, 2)
        tag = "O" if rng.random() < 0.4 else rng.choice(scheme) + rng.choice(LABELS[:4])
        if rng.random() < 0.05:
            tag = line(rng, 2)
        middle = [rng.choice(("_", "NN", str(number), "name=B-PER", "")) for _ in range(wide - 2)]
        cells = [token, *middle, tag] if rng.random() < 0.95 else [token]
        rows.append(separator.join(cells if rng.random() < 0.9 else reversed(cells)))
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(rows).encode("utf-8", "replace")


def table_file(rng: Random) -> tuple[bytes, str]:
    """Return a table as text and the suffix of its name."""
    separator, suffix = rng.choice(((",", ".csv"), ("\t", ".tsv")))
    heading = ["text", "entities", *(rng.choice(_KEYS) for _ in range(rng.randrange(3)))]
    if rng.random() < 0.3:
        rng.shuffle(heading)
    if rng.random() < 0.1:
        heading.remove("text")
    rows = [heading]
    for _ in range(rng.randrange(5)):
        some = document(rng)
        entities = json.dumps([span._asdict() for span in some.entities])
        known = {"text": some.text, "entities": entities if rng.random() < 0.8 else json.dumps(value(rng))}
        row = [known.get(key, text(rng, 2)) for key in heading]
        rows.append(row if rng.random() < 0.9 else row[: rng.randrange(len(row) + 1)] + ["", "x"][: rng.randrange(3)])
    lines = [separator.join(_cell(rng, cell) for cell in row) for row in rows]
    return rng.choice(("\n", "\r\n")).join(lines).encode("utf-8", "replace"), suffix


def _cell(rng: Random, cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if rng.random() < 0.85 else cell


def brat_files(rng: Random) -> dict[str, bytes]:
    """Return the files of a brat folder by name: good, damaged, or without their other half."""
    files: dict[str, bytes] = {}
    for number in range(rng.randrange(1, 4)):
        some = document(rng)
        rows = []
        for count, (start, end, name) in enumerate(some.entities, 1):
            mention = some.text[start:end].replace("\n", " ")
            rows.append(f"T{count}\t{name} {start} {end}\t{mention}")
        for _ in range(rng.choice((0, 0, 1, 2))):
            offsets = (0, 1, 2, 5, -1, 10**30, "9" * 5000, "x", "0;3")
            numbers = " ".join(str(rng.choice(offsets)) for _ in range(rng.randrange(4)))
            others = (
                f"T9\t{label(rng)} {numbers}\t{line(rng, 2)}",
                "R1\tx Arg1:T1 Arg2:T2",
                "#1\tNote T1\tx",
                line(rng),
            )
            rows.insert(
                rng.randrange(len(rows) + 1), rng.choice((*others, "T1", "E1\tx:T1", "*\tEquiv T1 T2", "A1\tx T1"))
            )
        pair = {
            f"{number}.txt": some.text.encode("utf-8", "replace"),
            f"{number}.ann": "\n".join(rows).encode("utf-8", "replace"),
        }
        if rng.random() < 0.1:
            pair.pop(rng.choice(list(pair)))
        files |= {name: mutated(rng, content) if rng.random() < 0.1 else content for name, content in pair.items()}
    return files


# ---- bytes --------------------------------------------------------------------------------------------------------
def valid_file(rng: Random) -> tuple[bytes, str]:
    """Return a valid file of one of the formats, and a suffix for its name."""
    name = rng.choice([name for name in formats.WRITABLE if not formats.FORMATS[name].folder])
    pieces = formats.write(name, [document(rng) for _ in range(rng.randrange(1, 5))], Notes())
    suffix = rng.choice((*formats.FORMATS[name].suffixes, ".txt", ".json", ""))
    return "".join(pieces).encode("utf-8", "replace"), suffix


def mutated(rng: Random, content: bytes) -> bytes:
    """Return bytes with some cut off, changed, put in, left out, or doubled."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        kind, size = rng.randrange(6), rng.choice((1, 1, 2, 8, 100))
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at : at + size] = rng.randbytes(size)
        elif kind == 2:
            data[at:at] = rng.randbytes(size)
        elif kind == 3:
            del data[at : at + size]
        elif kind == 4:
            data[at:at] = data[at : at + size]
        else:
            data[at:at] = rng.choice(
                (b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\r", b"\x1f\x8b", b"PK\x03\x04", b"\xed\xa0\x80")
            )
    return bytes(data)


def bytes_file(rng: Random) -> tuple[bytes, str]:
    """Return the content of a file and the suffix of its name: random bytes, or a damaged or recoded valid file."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice((0, 1, 3, 20, 300))), rng.choice(
            (".txt", ".jsonl", ".csv", ".conll", ".parquet", "")
        )
    content, suffix = valid_file(rng)
    if rng.random() < 0.2:
        content = content.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")
    return (mutated(rng, content) if rng.random() < 0.8 else content), suffix


def archive_file(rng: Random) -> tuple[bytes, str]:
    """Return a gzip or zip file and the suffix of its name: valid, damaged, nested, or with several members."""
    content, suffix = valid_file(rng)
    if rng.random() < 0.5:
        packed = gzip.compress(content, 1, mtime=0)
        if rng.random() < 0.2:
            packed += gzip.compress(content, mtime=0)
        suffix += ".gz"
    else:
        packed, suffix = _zipped(rng, content, suffix), ".zip"
    if rng.random() < 0.1:
        packed, suffix = gzip.compress(packed, mtime=0), suffix + ".gz"
    return (mutated(rng, packed) if rng.random() < 0.7 else packed), suffix


def _zipped(rng: Random, content: bytes, suffix: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        names = [
            "data" + suffix, "../up.txt", "/abs.jsonl", "__MACOSX/._data", "a/b/c.ann", "a/b/c.txt", "x/",
            ".hidden",
        ]  # fmt: skip
        for name in rng.sample(names, rng.randrange(4)) if rng.random() < 0.4 else names[:1]:
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


# ---- what is given to the tagger ----------------------------------------------------------------------------------
def texts(rng: Random) -> Sequence[str]:
    """Return texts to be tagged, now and then one that is long."""
    some = [text(rng, 20) for _ in range(rng.randrange(4))]
    if rng.random() < 0.02:
        some.append(((text(rng, 20) or "李") * rng.randrange(1, 200))[:30_000])  # more than is tagged in one piece
    return some
