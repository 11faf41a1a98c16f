"""Responses: JSON, and JSON Lines that begin before the request has ended."""

import asyncio
import contextlib
import errno
import json
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tagger.serve.requests import JSON, JSON_LINES

_MEMORY_BYTES = 1 << 20  # of a response that waits for its client; more goes to disk
_READ_BYTES = 1 << 16


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON in ASCII: a reason may quote what a client sent, lone surrogates included."""
    return Response(json.dumps(value), status, headers, media_type=JSON)


def error_response(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `{"error": reason}` with a status."""
    return json_response({"error": reason}, status, headers)


class JsonLinesResponse(Response):
    """A response in JSON Lines that begins before the body of the request has been read.

    Many clients send a whole body before they read a byte of the response, so lines that a client has not taken yet
    are buffered, on disk where they are many. A fault after the first lines is reported by a last line,
    `{"error": reason, "status": status}`.

    Args:
        first: The first lines.
        rest: The lines that follow.
        seconds: How long to wait for a client that does not read.
    """

    media_type = JSON_LINES

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes], seconds: int) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.first, self.rest, self.seconds = first, rest, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send lines while further ones are computed."""
        with tempfile.SpooledTemporaryFile(_MEMORY_BYTES, buffering=0) as file:
            buffer = _Buffer(file)
            filling = asyncio.create_task(self._fill(buffer))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for chunk in buffer.read():
                    async with asyncio.timeout(self.seconds):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await filling
                await send({"type": "http.response.body"})
            except TimeoutError:
                pass  # the client does not read: the connection is closed
            finally:
                filling.cancel()
                await asyncio.wait([filling])

    async def _fill(self, buffer: "_Buffer") -> None:
        last = b""
        try:
            async with contextlib.aclosing(self.rest):
                buffer.write(self.first)
                async for lines in self.rest:
                    buffer.write(lines)
        except HTTPException as reason:
            last = _error_line(reason.status_code, reason.detail)
        except OSError as reason:
            last = _error_line(507, f"results could not be buffered: {reason.strerror or reason}")
        except ClientDisconnect:
            pass
        finally:
            buffer.close(last)


def _error_line(status: int, reason: str) -> bytes:
    return json.dumps({"error": reason, "status": status}).encode() + b"\n"


class _Buffer:
    """Bytes in a file, between a task that writes and one that reads."""

    def __init__(self, file: Any) -> None:
        self._file, self._written, self._closed, self._last = file, 0, False, b""
        self._changed = asyncio.Event()

    def write(self, content: bytes) -> None:
        self._file.seek(self._written)
        if self._file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += len(content)
        self._changed.set()

    def close(self, last: bytes) -> None:
        """End the writing; the reader receives `last` after the rest, without the file."""
        self._closed, self._last = True, last
        self._changed.set()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what is written, until the buffer is closed; the file never holds more than is unread."""
        position = 0
        while True:
            self._changed.clear()
            while position < self._written:
                self._file.seek(position)
                chunk = self._file.read(_READ_BYTES)
                position += len(chunk)
                yield chunk
            if position:
                self._file.truncate(0)
                position = self._written = 0
            if self._closed:
                break
            await self._changed.wait()
        if self._last:
            yield self._last
