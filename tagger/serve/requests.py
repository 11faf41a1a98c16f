"""What a client sent, read within limits: a JSON object, or JSON Lines as they arrive."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tagger.serve.limits import Limits

JSON, JSON_LINES = "application/json", "application/x-ndjson"

_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


def refuse(status: int, reason: str, **headers: str) -> NoReturn:
    """Answer the request with this status and reason instead.

    Raises:
        HTTPException: Always.
    """
    raise HTTPException(status, reason, {name.replace("_", "-"): value for name, value in headers.items()} or None)


def media_type(request: Request) -> str:
    """Return the type of a request's body, without parameters."""
    if request.headers.get("content-encoding", "identity") != "identity":
        refuse(415, "expected a body that is not compressed")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, JSON_LINES):
        refuse(415, f"expected the Content-Type {JSON} or {JSON_LINES}")
    return kind


async def chunks(request: Request, limit: int, seconds: int) -> AsyncIterator[bytes]:
    """Yield a body as it arrives.

    Raises:
        HTTPException: If it is longer than `limit` bytes (413), or no part of it came for so many seconds (408).
    """
    too_long = f"expected a body of at most {limit:,} bytes"
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        refuse(413, too_long)
    size = 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(stream, None)
        except TimeoutError:
            refuse(408, f"expected the next part of the body within {seconds} seconds", Connection="close")
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            refuse(413, too_long)
        yield chunk


async def body(request: Request, limits: Limits) -> str:
    """Return the text of a JSON body.

    Raises:
        HTTPException: Beyond the limits, or if it is not UTF-8 (400).
    """
    if media_type(request) != JSON:
        refuse(415, f"expected the Content-Type {JSON}")
    parts = []
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in chunks(request, limits.body, limits.seconds):
                parts.append(chunk)
    except TimeoutError:
        refuse(408, f"expected the whole body within {limits.seconds} seconds", Connection="close")
    return _decoded(b"".join(parts))


def texts(content: str, limits: Limits) -> tuple[list[str], bool]:
    """Return the texts in `{"text": ...}` or `{"texts": [...]}`, and whether it was the second form.

    Raises:
        HTTPException: If it is neither JSON (400) nor of these forms (422), or beyond the limits (413).
    """
    value = _object(content)
    if ("text" in value) == ("texts" in value):
        refuse(422, 'expected either "text" with a string or "texts" with a list of strings')
    if "text" in value:
        return [_text(value["text"], '"text"', limits)], False
    found = value["texts"]
    if not isinstance(found, list):
        refuse(422, f'expected "texts" with a list of strings, received {_kind(found)}')
    if len(found) > limits.texts:
        refuse(413, f"expected at most {limits.texts:,} texts, received {len(found):,}; send {JSON_LINES} for more")
    return [_text(text, f'"texts"[{place}]', limits) for place, text in enumerate(found)], True


async def lines(request: Request, limits: Limits) -> AsyncIterator[list[str]]:
    """Yield the texts of a body of JSON Lines, those that arrived together in one list; a blank line is a blank text.

    Raises:
        HTTPException: At the first line that is wrong, as `texts` does, with its number.
    """
    rest, number = b"", 0
    async for chunk in chunks(request, limits.stream, limits.seconds):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > limits.body:
            refuse(413, f"line {number + len(whole) + 1}: expected at most {limits.body:,} bytes")
        for start in range(0, len(whole), limits.texts):
            some = whole[start : start + limits.texts]
            yield [_line(line, number + place, limits) for place, line in enumerate(some, 1)]
            number += len(some)
    if rest:
        yield [_line(rest, number + 1, limits)]


def _line(line: bytes, number: int, limits: Limits) -> str:
    if not line.strip():
        return ""
    try:
        if len(line) > limits.body:
            refuse(413, f"expected at most {limits.body:,} bytes")
        value = _object(_decoded(line))
        if "text" not in value:
            refuse(422, 'expected "text" with a string')
        return _text(value["text"], '"text"', limits)
    except HTTPException as error:
        refuse(error.status_code, f"line {number}: {error.detail}")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(400, f"expected UTF-8, received bytes that are not at {error.start}")


def _object(content: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        refuse(400, f"expected JSON: {error}")
    except (ValueError, RecursionError):  # a number of too many digits; too deep
        refuse(400, "expected JSON of ordinary depth and numbers")
    if not isinstance(value, dict):
        refuse(422, f"expected a JSON object, received {_kind(value)}")
    return value


def _text(value: Any, place: str, limits: Limits) -> str:
    if not isinstance(value, str):
        refuse(422, f"expected {place} with a string, received {_kind(value)}")
    if len(value) > limits.characters:
        refuse(413, f"expected {place} of at most {limits.characters:,} characters, received {len(value):,}")
    return value


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
