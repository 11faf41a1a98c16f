"""What a client gets: JSON, or JSON Lines that begin before its request has ended."""

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


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON; escaped, as a reason may show what a client sent, lone surrogates too."""
    return Response(json.dumps(value), status, headers, media_type=JSON)


def error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return `{"error": reason}`."""
    return answer({"error": reason}, status, headers)


class Lines(Response):
    """An answer in JSON Lines that begins before the body has been read.

    Many clients send a whole body before they read a byte of the answer, so what they do not take yet is kept on
    disk. What goes wrong after the beginning is told by a last line, `{"error": reason, "status": status}`.

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
        """Send the answer while it is made."""
        with tempfile.SpooledTemporaryFile(1 << 20, buffering=0) as kept:
            spool = _Spool(kept)
            filling = asyncio.create_task(self._fill(spool))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for chunk in spool.read():
                    async with asyncio.timeout(self.seconds):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await filling
                await send({"type": "http.response.body"})
            except TimeoutError:
                pass  # the client does not read: the connection is closed
            finally:
                filling.cancel()
                await asyncio.wait([filling])

    async def _fill(self, spool: "_Spool") -> None:
        last = b""
        try:
            async with contextlib.aclosing(self.rest):
                spool.write(self.first)
                async for lines in self.rest:
                    spool.write(lines)
        except HTTPException as reason:
            last = _line(reason.status_code, reason.detail)
        except OSError as reason:
            last = _line(507, f"no room to keep results in: {reason.strerror or reason}")
        except ClientDisconnect:
            pass
        finally:
            spool.end(last)


def _line(status: int, reason: str) -> bytes:
    return json.dumps({"error": reason, "status": status}).encode() + b"\n"


class _Spool:
    """Bytes in a file between a task that writes and one that reads."""

    def __init__(self, file: Any) -> None:
        self._file, self._written, self._done, self._last = file, 0, False, b""
        self._changed = asyncio.Event()

    def write(self, content: bytes) -> None:
        self._file.seek(self._written)
        if self._file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += len(content)
        self._changed.set()

    def end(self, last: bytes) -> None:
        """Say that nothing more is written; `last` comes after the rest."""
        self._done, self._last = True, last
        self._changed.set()

    async def read(self) -> AsyncIterator[bytes]:
        position = 0
        while True:
            self._changed.clear()
            while position < self._written:
                self._file.seek(position)
                chunk = self._file.read(1 << 16)
                position += len(chunk)
                yield chunk
            if position:
                self._file.truncate(0)
                position = self._written = 0
            if self._done:
                break
            await self._changed.wait()
        if self._last:
            yield self._last
