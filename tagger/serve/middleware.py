"""What stands before the application: host names, the token, requests at once; and what is counted."""

import asyncio
import contextlib
import hmac
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagger.serve.limits import Limits
from tagger.serve.responses import error

_DISCARD_SECONDS = 1

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Metrics:
    """What `/metrics` tells, of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("tagger_requests", "Requests answered", ["path", "status"], **own)
        self.seconds = Histogram("tagger_request_seconds", "Seconds from a request to its answer", ["path"], **own)
        self.texts = Counter("tagger_texts", "Texts tagged", **own)
        self.characters = Counter("tagger_characters", "Characters tagged", **own)
        self.entities = Counter("tagger_entities", "Entities found", ["label"], **own)
        sizes = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
        self.groups = Histogram("tagger_group_texts", "Texts tagged together", buckets=sizes, **own)
        self.waiting = Gauge("tagger_waiting_characters", "Characters that wait to be tagged", **own)
        self.under_way = Gauge("tagger_requests_under_way", "Requests not answered yet", **own)
        self.saved = Counter("tagger_saved_documents", "Corrected documents saved", **own)

    def group(self, texts: int, characters: int) -> None:
        """Count a group of texts that were tagged together."""
        self.groups.observe(texts)
        self.texts.inc(texts)
        self.characters.inc(characters)


class _Body:
    """A request's body, the rest of which can be thrown away.

    A client that is refused while it still sends would find its connection broken, and never see why.
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


class Guard:
    """Before the application: foreign host names, the token, requests at once; and the headers of every answer.

    Without a token, a server on the loopback address answers to the names of that address only: otherwise any web
    page could have a name of its own lead there, and read on.

    Args:
        app: What is guarded.
        limits: Of which `requests` is kept here.
        metrics: Told of every answer.
        paths: What there is, and whether a token is asked for there.
        token: What clients must show; empty for none.
        hosts: Names that may stand in a request's `Host`; empty for any.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, paths: dict[str, bool], token: str, hosts: set[str]
    ) -> None:
        self.app, self.limits, self.metrics, self.paths, self.hosts = app, limits, metrics, paths, hosts
        self.expected = f"Bearer {token}".encode() if token else b""
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        headers = Headers(scope=scope)
        body = _Body(receive, headers)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *more]}
            elif status >= 400 and body.pending and not message.get("more_body"):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        self.under_way += 1
        self.metrics.under_way.inc()
        try:
            refusal = self._refusal(scope["path"], headers)
            await (refusal or self.app)(scope, body.receive, sent)
        finally:
            self.under_way -= 1
            self.metrics.under_way.dec()
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - begun)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts and name.lower() not in self.hosts:
            return error(421, f"expected a Host that is one of {', '.join(sorted(self.hosts))}")
        if self.expected and self.paths.get(path, True):
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self.expected):
                reason = 'expected the header "Authorization: Bearer TOKEN" with the token of this server'
                return error(401, reason, {"WWW-Authenticate": "Bearer"})
        if self.under_way > self.limits.requests and path != "/health":
            return error(503, f"{self.limits.requests:,} requests are under way; try again", {"Retry-After": "1"})
        return None
