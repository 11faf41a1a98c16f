"""Read the body of a request within limits: a JSON object, or JSON Lines as they arrive."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tagger.formats.records import is_deep
from tagger.prediction.inputs import kept
from tagger.serve.limits import Limits

JSON, JSON_LINES = "application/json", "application/x-ndjson"

_TYPE_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


def reject(status: int, reason: str, headers: dict[str, str] | None = None) -> NoReturn:
    """Stop handling the request; the client receives this status and reason.

    Raises:
        HTTPException: Always.
    """
    raise HTTPException(status, reason, headers)


def media_type(request: Request) -> str:
    """Return the media type of a request's body, without parameters.

    Raises:
        HTTPException: If it is neither JSON nor JSON Lines, or the body is compressed (415).
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        reject(415, "expected a body that is not compressed")
    received = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if received not in (JSON, JSON_LINES):
        reject(415, f"expected the Content-Type {JSON} or {JSON_LINES}")
    return received


async def chunks(request: Request, limit: int, seconds: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body as they arrive.

    Raises:
        HTTPException: If the body is longer than `limit` bytes (413), or no chunk arrives within `seconds` (408).
    """
    too_long = f"expected a body of at most {limit:,} bytes"
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        reject(413, too_long)
    size = 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(stream, None)
        except TimeoutError:
            reject(408, f"expected the next part of the body within {seconds} seconds", {"Connection": "close"})
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            reject(413, too_long)
        yield chunk


async def json_body(request: Request, limits: Limits) -> str:
    """Return the text of a JSON body, not parsed.

    Raises:
        HTTPException: If the body exceeds a limit (408, 413), is no JSON by its type (415), or is not UTF-8 (400).
    """
    if media_type(request) != JSON:
        reject(415, f"expected the Content-Type {JSON}")
    parts = []
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in chunks(request, limits.body, limits.seconds):
                parts.append(chunk)
    except TimeoutError:
        reject(408, f"expected the whole body within {limits.seconds} seconds", {"Connection": "close"})
    return _decode(b"".join(parts))


class Given(NamedTuple):
    """A text to tag, and what comes back with its result: what else its object holds, annotations as `gold`."""

    text: str
    extra: Mapping[str, Any]


def parse_texts(content: str, limits: Limits) -> tuple[list[Given], Mapping[str, Any] | None]:
    """Return the texts in `{"text": ...}` or `{"texts": [...]}`, and what else the second holds; None for the first.

    Raises:
        HTTPException: If it is not JSON (400), not of these forms (422), or exceeds a limit (413).
    """
    value = json_object(content)
    if ("text" in value) == ("texts" in value):
        reject(422, 'expected either "text" with a string or "texts" with a list of strings')
    if "text" in value:
        return [_given(value, limits)], None
    texts = value.pop("texts")
    if not isinstance(texts, list):
        reject(422, f'expected "texts" with a list of strings, received {_type_name(texts)}')
    if len(texts) > limits.texts:
        reject(413, f"expected at most {limits.texts:,} texts, received {len(texts):,}; send {JSON_LINES} for more")
    checked = [_checked_text(text, f'"texts"[{index}]', limits) for index, text in enumerate(texts)]
    return [Given(text, {}) for text in checked], _further(value, "results")


def _given(value: dict[str, Any], limits: Limits) -> Given:
    """Return the text of an object and what else it holds."""
    text = _checked_text(value.pop("text"), '"text"', limits)
    return Given(text, _further(kept(value, None)))


def _further(value: dict[str, Any], key: str = "") -> dict[str, Any]:
    """Return what comes back with results, without what they have under the same key."""
    try:
        if is_deep(value) or (value and not json.dumps(value, allow_nan=False)):
            raise ValueError
    except ValueError:  # NaN, Infinity: they are read, but are no JSON
        reject(400, "expected JSON of ordinary depth and numbers")
    return {name: inner for name, inner in value.items() if name != key}


async def json_lines(request: Request, limits: Limits) -> AsyncIterator[list[Given]]:
    """Yield the texts of a body of JSON Lines as lists: texts that arrive together; a blank line is an empty text.

    Raises:
        HTTPException: At the first line with a fault, as `parse_texts`, with the line's number.
    """
    rest, number = b"", 0
    async for chunk in chunks(request, limits.stream, limits.seconds):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > limits.body:
            reject(413, f"line {number + len(lines) + 1}: expected at most {limits.body:,} bytes")
        for start in range(0, len(lines), limits.texts):
            part = lines[start : start + limits.texts]
            yield [_parse_line(line, number + offset, limits) for offset, line in enumerate(part, 1)]
            number += len(part)
    if rest:
        yield [_parse_line(rest, number + 1, limits)]


def _parse_line(line: bytes, number: int, limits: Limits) -> Given:
    if not line.strip():
        return Given("", {})
    try:
        if len(line) > limits.body:
            reject(413, f"expected at most {limits.body:,} bytes")
        value = json_object(_decode(line))
        if "text" not in value:
            reject(422, 'expected "text" with a string')
        return _given(value, limits)
    except HTTPException as error:
        reject(error.status_code, f"line {number}: {error.detail}")


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        reject(400, f"expected UTF-8, received other bytes at {error.start}")


def json_object(content: str) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        HTTPException: If it is not JSON (400), or no object (422).
    """
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        reject(400, f"expected JSON: {error}")
    except (ValueError, RecursionError):  # a number with too many digits; nested too deeply
        reject(400, "expected JSON of ordinary depth and numbers")
    if not isinstance(value, dict):
        reject(422, f"expected a JSON object, received {_type_name(value)}")
    return value


def _checked_text(value: Any, name: str, limits: Limits) -> str:
    if not isinstance(value, str):
        reject(422, f"expected {name} with a string, received {_type_name(value)}")
    if len(value) > limits.characters:
        reject(413, f"expected {name} of at most {limits.characters:,} characters, received {len(value):,}")
    return value


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "a number")
