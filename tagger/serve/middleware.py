"""Access control before the application: host names, the token, concurrent requests; and headers and metrics."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagger.serve.limits import Limits
from tagger.serve.metrics import Metrics
from tagger.serve.responses import error_response

_DISCARD_SECONDS = 1

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Body:
    """The body of a request, whose unread part can be discarded.

    A client that is rejected while it still sends would see its connection reset instead of the reason.
    """

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        self.pending = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    async def receive(self) -> Message:
        message = await self._receive()
        self.pending = message.get("more_body", False)
        return message

    async def discard(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while self.pending:
                    await self.receive()


class AccessMiddleware:
    """Reject requests that may not reach the application, add security headers, count responses.

    A server on the loopback address that asks for no token must answer only to the host names of that address
    (`hosts`). Otherwise any web page could point a host name of its own there and read the responses (DNS rebinding).

    Args:
        app: The application.
        limits: Of which `requests` is enforced here.
        metrics: Where responses are counted.
        needs_token: Whether a path asks for the token, for each known path; an unknown path asks for it too.
        token: The token that clients must send; empty for none.
        hosts: The host names allowed in `Host`; empty for any.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        needs_token: Mapping[str, bool],
        token: str,
        hosts: set[str],
    ) -> None:
        self.app, self.limits, self.metrics, self.needs_token, self.hosts = app, limits, metrics, needs_token, hosts
        self.authorization = f"Bearer {token}".encode() if token else b""
        self.in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        headers = Headers(scope=scope)
        body = _Body(receive, headers)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            elif status >= 400 and body.pending and not message.get("more_body"):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        self.in_progress += 1
        self.metrics.in_progress.inc()
        try:
            rejection = self._rejection(scope["path"], headers)
            await (rejection or self.app)(scope, body.receive, send_with_headers)
        finally:
            self.in_progress -= 1
            self.metrics.in_progress.dec()
            path = scope["path"] if scope["path"] in self.needs_token else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - start)

    def _rejection(self, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts and name.lower() not in self.hosts:
            return error_response(421, f"expected a Host that is one of {', '.join(sorted(self.hosts))}")
        if self.authorization and self.needs_token.get(path, True):
            received = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(received, self.authorization):
                reason = 'expected the header "Authorization: Bearer TOKEN" with the token of this server'
                return error_response(401, reason, {"WWW-Authenticate": "Bearer"})
        if self.in_progress > self.limits.requests and path != "/health":
            reason = f"{self.limits.requests:,} requests are in progress; try again"
            return error_response(503, reason, {"Retry-After": "1"})
        return None
