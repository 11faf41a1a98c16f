"""The way back from a redacted file to its original, byte for byte: an encrypted file of what to put where.

A map begins with a line of JSON that says how it is encrypted; then come frames, each a length (4 bytes), and a part of
the zlib-compressed content under AES-256-GCM. The nonce of a frame is its number, with a mark on the last one, so that
no frame can be lost, moved or cut off unnoticed; the key is derived from the passphrase by scrypt. The content is JSON
Lines: a heading, the edits in the order of the file, and the hash of the original.
"""

import base64
import hashlib
import json
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tagger.errors import RedactionError, require
from tagger.files import sha256
from tagger.files.outputs import atomic_file

_FORMAT = 1

_FRAME = 1 << 16  # bytes of compressed content in a frame

_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1}

_MOST = {"n": 1 << 18, "r": 16, "p": 4}  # that a map may ask for: 512 MB


class Edit(NamedTuple):
    """Put `original` in the place of `length` bytes at `start` of the redacted file."""

    start: int
    length: int
    original: bytes


# ---- edits --------------------------------------------------------------------------------------------------------
def edits(original: Path, redacted: Path) -> Iterator[Edit]:
    """Yield what turns a redacted file into its original.

    Where both have as many lines, lines are compared one by one, and only what differs is kept of them; otherwise all
    of the original is.
    """
    if _lines(original) == _lines(redacted):
        with original.open("rb") as before, redacted.open("rb") as after:
            at = 0
            for old, new in zip(before, after, strict=True):
                if old != new:
                    yield _edit(old, new, at)
                at += len(new)
        return
    yield from _whole(original, redacted)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _edit(old: bytes, new: bytes, at: int) -> Edit:
    head = _shared(old, new)
    most = min(len(old), len(new)) - head
    tail = min(_shared(old[::-1], new[::-1]), most)
    return Edit(at + head, len(new) - head - tail, old[head : len(old) - tail])


def _shared(a: bytes, b: bytes) -> int:
    """Return the length of the longest common start."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _whole(original: Path, redacted: Path) -> Iterator[Edit]:
    """Yield the original in pieces, the first of which replaces all of the redacted file."""
    length = redacted.stat().st_size
    with original.open("rb") as file:
        first = True
        while (piece := file.read(1 << 20)) or first:
            yield Edit(0, length, piece) if first else Edit(length, 0, piece)
            first = False


# ---- the map ------------------------------------------------------------------------------------------------------
def write_map(original: Path, redacted: Path, path: Path, passphrase: str) -> None:
    """Write the map that leads back from a redacted file to its original, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
        MissingExtraError: If the package for encryption is not installed.
    """
    salt = secrets.token_bytes(16)
    encrypt = _cipher(passphrase, salt, _SCRYPT).encrypt
    heading = {"tagger_map": _FORMAT, "salt": salt.hex(), "scrypt": _SCRYPT}
    with atomic_file(path) as part, part.open("wb") as file:
        file.write(json.dumps(heading).encode() + b"\n")
        for number, (frame, is_last) in enumerate(_frames(_compressed(original, redacted))):
            sealed = encrypt(_nonce(number, is_last), frame, None)
            file.write(struct.pack(">I", len(sealed)) + sealed)


def _compressed(original: Path, redacted: Path) -> Iterator[bytes]:
    pack = zlib.compressobj()
    yield pack.compress(_line({"redacted": sha256(redacted), "name": original.name}))
    for start, length, old in edits(original, redacted):
        yield pack.compress(_line([start, length, base64.b64encode(old).decode()]))
    yield pack.compress(_line({"original": sha256(original)})) + pack.flush()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode() + b"\n"


def _frames(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield the pieces joined into frames of equal size, and whether a frame is the last."""
    waiting = b""
    for piece in pieces:
        waiting += piece
        while len(waiting) > _FRAME:
            yield waiting[:_FRAME], False
            waiting = waiting[_FRAME:]
    yield waiting, True


def _nonce(number: int, is_last: bool) -> bytes:
    return struct.pack(">QI", number, int(is_last))


def _cipher(passphrase: str, salt: bytes, scrypt: dict[str, int]) -> Any:
    require("cryptography", "redact")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt, length=32, **scrypt).derive(passphrase.encode("utf-8")))


# ---- back ---------------------------------------------------------------------------------------------------------
def restore(redacted: Path, path: Path, out: Path, passphrase: str) -> None:
    """Write the original of a redacted file, byte for byte, given its map; whole or not at all.

    Raises:
        RedactionError: If the map is damaged, is not that of this file, or the passphrase is another one.
        OutputError: If it cannot be written.
    """
    lines = _content(path, passphrase)
    heading: Any = next(lines, {})
    if not isinstance(heading, dict) or heading.get("redacted") != sha256(redacted):
        raise RedactionError(f"{redacted}: is not the file that {path} was written for, or has changed since")
    digest, expected = hashlib.sha256(), ""
    with atomic_file(out) as part, part.open("wb") as file, redacted.open("rb") as source:

        def put(content: bytes) -> None:
            digest.update(content)
            file.write(content)

        for line in lines:
            if isinstance(line, dict):
                expected = line["original"]
                break
            start, length, old = line
            _copy(source, start - source.tell(), put)
            source.seek(length, 1)
            put(base64.b64decode(old))
        _copy(source, None, put)
        if digest.hexdigest() != expected:
            raise RedactionError(f"{path}: does not lead back to the original; use an undamaged copy of it")


def _copy(source: BinaryIO, count: int | None, put: Any) -> None:
    while count is None or count > 0:
        piece = source.read(1 << 20 if count is None else min(count, 1 << 20))
        if not piece:
            return
        put(piece)
        count = None if count is None else count - len(piece)


def _content(path: Path, passphrase: str) -> Iterator[Any]:
    """Yield the lines of a map's content."""
    with path.open("rb") as file:
        encrypted = _heading(file, path)
        decrypt = _cipher(passphrase, bytes.fromhex(encrypted["salt"]), encrypted["scrypt"]).decrypt
        unpack, rest = zlib.decompressobj(), b""
        for number, (sealed, is_last) in enumerate(_sealed(file, path)):
            rest += unpack.decompress(_opened(decrypt, _nonce(number, is_last), sealed, path))
            *lines, rest = rest.split(b"\n")
            yield from map(json.loads, lines)


def _heading(file: BinaryIO, path: Path) -> dict[str, Any]:
    try:
        heading = json.loads(file.readline(4096))
        parameters = heading["scrypt"]
        bytes.fromhex(heading["salt"])
        is_known = heading["tagger_map"] == _FORMAT and parameters.keys() == _MOST.keys()
        is_sane = is_known and all(0 < parameters[name] <= most for name, most in _MOST.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        is_sane = False
    if not is_sane:
        raise RedactionError(f"{path}: is no map that this version of tagger can read; give the file of --map")
    return dict(heading)


def _sealed(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bool]]:
    frame = _next_frame(file, path)
    while frame is not None:
        following = _next_frame(file, path)
        yield frame, following is None
        frame = following


def _next_frame(file: BinaryIO, path: Path) -> bytes | None:
    length = file.read(4)
    if not length:
        return None
    size = int.from_bytes(length, "big")
    sealed = file.read(size) if len(length) == 4 and size <= 2 * _FRAME else b""
    if not sealed or len(sealed) != size:
        raise RedactionError(f"{path}: is damaged: it ends too early; use an undamaged copy of it")
    return sealed


def _opened(decrypt: Any, nonce: bytes, sealed: bytes, path: Path) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return bytes(decrypt(nonce, sealed, None))
    except InvalidTag:
        raise RedactionError(f"{path}: another passphrase is needed, or the file is damaged") from None
