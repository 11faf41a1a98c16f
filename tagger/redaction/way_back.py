"""The way back from a redacted corpus to its original, byte for byte: an encrypted file of what to put where.

A map begins with a line of JSON that says how it is encrypted; then come frames, each a length (4 bytes), and a part of
the zlib-compressed content under AES-256-GCM. The nonce of a frame is its number, with a mark on the last one, so that
no frame can be lost, moved or cut off unnoticed; the key is derived from the passphrase by scrypt. The content is JSON
Lines: a heading, and for each file of the original its name, the edits in the order of the file, and its hash.
"""

import base64
import hashlib
import json
import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from tagger import corpus
from tagger.errors import RedactionError, require
from tagger.files import sha256
from tagger.files.outputs import atomic_file, atomic_folder

_FORMAT = 1

_PIECE = 1 << 20  # bytes that are read at once

_LONGEST = 1 << 24  # bytes of a line that is compared

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
    """Yield what turns a redacted file into its original, in bounded memory.

    Where both have as many lines, lines are compared one by one, and only what differs is kept of them; otherwise, and
    where lines are very long, all of the original is.
    """
    count = _lines(original)
    if count is None or count != _lines(redacted):
        yield from _whole(original, redacted.stat().st_size)
        return
    with original.open("rb") as before, redacted.open("rb") as after:
        at = 0
        for old, new in zip(before, after, strict=True):
            if old != new:
                yield _edit(old, new, at)
            at += len(new)


def _lines(path: Path) -> int | None:
    """Return how many lines a file has; None if one is too long to be compared."""
    count = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST):
            if len(line) == _LONGEST:
                return None
            count += 1
    return count


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


def _whole(original: Path, length: int) -> Iterator[Edit]:
    """Yield an original in pieces, the first of which replaces the `length` bytes of all of the redacted file."""
    with original.open("rb") as file:
        yield Edit(0, length, file.read(_PIECE))
        while piece := file.read(_PIECE):
            yield Edit(length, 0, piece)


# ---- the map ------------------------------------------------------------------------------------------------------
def write_map(original: Path, redacted: Path, path: Path, passphrase: str) -> None:
    """Write the map that leads back from a redacted corpus to its original, whole or not at all.

    Args:
        original: A file, or a folder of texts.
        redacted: The same; of a folder, the map holds whole files.
        path: Where to write the map.
        passphrase: It is encrypted under this.

    Raises:
        OutputError: If it cannot be written.
        MissingExtraError: If the package for encryption is not installed.
    """
    salt = secrets.token_bytes(16)
    encrypt = _cipher(passphrase, salt, _SCRYPT).encrypt
    files = corpus.files(original)
    is_folder = original.is_dir() or files != [original]
    heading = {"tagger_map": _FORMAT, "folder": is_folder, "salt": salt.hex(), "scrypt": _SCRYPT}
    with atomic_file(path) as part, part.open("wb") as file:
        file.write(json.dumps(heading).encode() + b"\n")
        for number, (frame, is_last) in enumerate(_frames(_compressed(original, files, redacted))):
            sealed = encrypt(_nonce(number, is_last), frame, None)
            file.write(struct.pack(">I", len(sealed)) + sealed)


def _compressed(original: Path, files: Iterable[Path], redacted: Path) -> Iterator[bytes]:
    pack = zlib.compressobj()
    yield pack.compress(_line({"redacted": _digest(redacted)}))
    for file in files:
        name = file.relative_to(original if original.is_dir() else original.parent).as_posix()
        yield pack.compress(_line({"file": name}))
        is_pair = file == original and redacted.is_file()
        for start, length, old in edits(file, redacted) if is_pair else _whole(file, 0):
            yield pack.compress(_line([start, length, base64.b64encode(old).decode()]))
        yield pack.compress(_line({"original": sha256(file)}))
    yield pack.flush()


def _digest(redacted: Path) -> str:
    """Return a hash of a file, or of all files of a folder that are not hidden."""
    if redacted.is_file():
        return sha256(redacted)
    files = sorted(file for file in redacted.rglob("[!.]*") if file.is_file())
    return hashlib.sha256(_line([(file.relative_to(redacted).as_posix(), sha256(file)) for file in files])).hexdigest()


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

    return AESGCM(Scrypt(salt, length=32, **scrypt).derive(passphrase.encode("utf-8", "surrogateescape")))


# ---- back ---------------------------------------------------------------------------------------------------------
def leads_to_folder(path: Path) -> bool:
    """Return whether a map leads back to a folder.

    Raises:
        RedactionError: If it is no map.
    """
    with path.open("rb") as file:
        return bool(_heading(file, path)["folder"])


def restore(redacted: Path, path: Path, out: Path, passphrase: str, replace: bool = False) -> None:
    """Write the original of a redacted file or folder, byte for byte, given its map; whole or not at all.

    Raises:
        RedactionError: If the map is damaged, is not that of this file, or the passphrase is another one.
        OutputError: If it cannot be written.
    """
    lines = _content(path, passphrase)
    heading: Any = next(lines, {})
    if not isinstance(heading, dict) or heading.get("redacted") != _digest(redacted):
        raise RedactionError(
            f"{redacted}: is not what {path} was written for, or has changed since; give the two that belong together"
        )
    if not leads_to_folder(path):
        with atomic_file(out) as part:
            next(lines)
            _restore_file(lines, redacted, part, path)
        return
    with atomic_folder(out, replace) as folder:
        for line in lines:
            name = PurePosixPath(line["file"])
            if name.is_absolute() or ".." in name.parts:
                raise RedactionError(f"{path}: names a file outside of the folder; use the map that tagger wrote")
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            _restore_file(lines, redacted, file, path)


def _restore_file(lines: Iterator[Any], redacted: Path, out: Path, path: Path) -> None:
    """Write one file of the original, given the lines of the map from its first edit; they are read up to its hash."""
    digest, expected = hashlib.sha256(), ""
    with out.open("wb") as file, (redacted if redacted.is_file() else Path(os.devnull)).open("rb") as source:

        def put(content: bytes) -> None:
            digest.update(content)
            file.write(content)

        for line in lines:
            if isinstance(line, dict):
                expected = line["original"]
                break
            start, length, old = line
            _copy(source, start - source.tell(), put)
            source.seek(length, os.SEEK_CUR)
            put(base64.b64decode(old))
        _copy(source, None, put)
    if digest.hexdigest() != expected:
        raise RedactionError(f"{path}: does not lead back to the original; use an undamaged copy of it")


def _copy(source: BinaryIO, count: int | None, put: Any) -> None:
    while count is None or count > 0:
        piece = source.read(_PIECE if count is None else min(count, _PIECE))
        if not piece:
            return
        put(piece)
        count = None if count is None else count - len(piece)


def _content(path: Path, passphrase: str) -> Iterator[Any]:
    """Yield the lines of a map's content."""
    with path.open("rb") as file:
        encrypted = _heading(file, path)
        try:
            decrypt = _cipher(passphrase, bytes.fromhex(encrypted["salt"]), encrypted["scrypt"]).decrypt
        except (ValueError, TypeError) as error:
            raise _no_map(path) from error
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
        is_known = heading["tagger_map"] == _FORMAT and "folder" in heading and parameters.keys() == _MOST.keys()
        is_sane = is_known and all(0 < parameters[name] <= most for name, most in _MOST.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_sane = False
    if not is_sane:
        raise _no_map(path)
    return dict(heading)


def _no_map(path: Path) -> RedactionError:
    return RedactionError(f"{path}: is no map that this version of tagger can read; give the file of --map")


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
        raise RedactionError(f"{path}: another passphrase is needed, or the file is damaged; check both") from None
