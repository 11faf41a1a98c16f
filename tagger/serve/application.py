"""HTTP and the page, round one `Tagger`, in one process.

    GET  /               the page
    POST /tag            entities of one text, of several, or of a stream of JSON Lines
    POST /save           add a corrected document to a corpus file
    GET  /about          labels, limits, version
    GET  /health         whether the server answers
    GET  /metrics        counters, in Prometheus form
    GET  /openapi.json   all of this for programs

A wrong request gets `{"error": reason}` with a 4xx status, and never anything worse.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from importlib import resources
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tagger import __version__
from tagger.documents import Entity, Notes
from tagger.errors import ConfigError, CorpusError
from tagger.formats.native import parse, to_native
from tagger.formats.records import parse_object
from tagger.pipeline import Tagger
from tagger.serve import requests
from tagger.serve.batching import BusyError, SharedTagger
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits
from tagger.serve.middleware import Guard, Metrics
from tagger.serve.requests import refuse
from tagger.serve.responses import Lines, answer, error

# The files of the page, by path; nothing else is loaded, from anywhere.
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("page", "state", "view", "words")},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}


class Service:
    """Answers the requests.

    Args:
        tagger: Finds the entities.
        limits: Beyond which requests are refused.
        save: Where corrected documents go; None for nowhere.
        metrics: Counts.
    """

    def __init__(self, tagger: Tagger, limits: Limits, save: CorpusFile | None, metrics: Metrics) -> None:
        self.limits, self.file, self.metrics = limits, save, metrics
        self.labels = tagger.labels
        self.shared = SharedTagger(tagger, limits.waiting, metrics.group)

    async def tag(self, request: Request) -> Response:
        """`POST /tag`: JSON of one text or several, or JSON Lines."""
        if requests.media_type(request) == requests.JSON_LINES:
            answers = self._stream(request)
            first = await anext(answers, b"")  # what is wrong with the first lines still decides the status
            return Lines(first, answers, self.limits.seconds)
        texts, several = requests.texts(await requests.body(request, self.limits), self.limits)
        found = await self._tag(texts)
        results = [to_native(text, entities) for text, entities in zip(texts, found, strict=True)]
        content = f'{{"results": [{", ".join(results)}]}}' if several else results[0]
        return Response(content, media_type=requests.JSON)

    async def save(self, request: Request) -> Response:
        """`POST /save`: add a document in native form to the corpus file."""
        if self.file is None:
            refuse(404, "this server saves nothing; start it with --save FILE.jsonl")
        content = await requests.body(request, self.limits)
        try:
            document = parse(parse_object(content, "document"), "document", Notes())
        except CorpusError as reason:
            refuse(422, str(reason))
        except RecursionError:  # while it shows what is wrong
            refuse(422, "document: expected entities, received something deeply nested")
        if len(document.text) > self.limits.characters:
            refuse(413, f"expected a text of at most {self.limits.characters:,} characters")
        try:
            await asyncio.to_thread(self.file.add, document)
        except OSError as reason:
            refuse(507, f"{self.file.path}: {reason.strerror or reason}")
        self.metrics.saved.inc()
        return answer({"saved": self.file.path.name, "entities": len(document.entities)})

    async def about(self, request: Request) -> Response:
        """`GET /about`: what a client needs to know of this server."""
        limits = vars(self.limits)
        return answer({"version": __version__, "labels": self.labels, "save": self.file is not None, "limits": limits})

    async def health(self, request: Request) -> Response:
        """`GET /health`."""
        return answer({"status": "ok"})

    async def show_metrics(self, request: Request) -> Response:
        """`GET /metrics`."""
        self.metrics.waiting.set(self.shared.waiting)
        return Response(generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return Response(_file("openapi.json").replace(b"VERSION", __version__.encode()), media_type=requests.JSON)

    async def _tag(self, texts: Sequence[str], patient: bool = False) -> list[list[Entity]]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                found = await self.shared.tag(texts, patient)
        except BusyError:
            refuse(429, f"more than {self.limits.waiting:,} characters wait to be tagged; try again", Retry_After="1")
        except TimeoutError:
            refuse(503, f"no result within {self.limits.seconds} seconds; try again", Retry_After="1")
        for entity in (entity for entities in found for entity in entities):
            self.metrics.entities.labels(entity.label).inc()
        return found

    async def _stream(self, request: Request) -> AsyncGenerator[bytes]:
        async for texts in requests.lines(request, self.limits):
            found = await self._tag(texts, patient=True)
            results = [to_native(text, entities) + "\n" for text, entities in zip(texts, found, strict=True)]
            yield "".join(results).encode("utf-8")


def _file(name: str) -> bytes:
    return resources.files("tagger.serve").joinpath("page", name).read_bytes()


def _page(name: str, media_type: str) -> Callable[[Request], Any]:
    content = _file(name)

    async def give(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return give


async def _refused(request: Request, reason: Any) -> Response:
    return error(reason.status_code, reason.detail, reason.headers)


async def _gone(request: Request, reason: Any) -> Response:
    return error(400, "the client has gone")


async def _failed(request: Request, reason: Any) -> Response:
    return error(500, "the server failed; its log says more")


# By path: the method, what answers, and whether a token is asked for.
_HANDLERS = {
    "/tag": ("POST", Service.tag, True),
    "/save": ("POST", Service.save, True),
    "/about": ("GET", Service.about, True),
    "/health": ("GET", Service.health, False),
    "/metrics": ("GET", Service.show_metrics, True),
    "/openapi.json": ("GET", Service.openapi, False),
}


def application(
    tagger: Tagger,
    limits: Limits | None = None,
    save: CorpusFile | None = None,
    token: str = "",
    hosts: set[str] | None = None,
) -> Starlette:
    """Return the ASGI application round a tagger.

    Args:
        tagger: Finds the entities.
        limits: Beyond which requests are refused.
        save: Where corrected documents go; None for nowhere.
        token: What clients must show; empty for none.
        hosts: Names that may stand in a request's `Host`; any by default.
    """
    limits, metrics = limits or Limits(), Metrics()
    service = Service(tagger, limits, save, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        service.shared.close()

    routes = [Route(path, _page(*file)) for path, file in _PAGE.items()]
    paths = dict.fromkeys(_PAGE, False)
    for path, (method, handler, paths[path]) in _HANDLERS.items():
        routes.append(Route(path, handler.__get__(service), methods=[method]))
    guard = Middleware(Guard, limits=limits, metrics=metrics, paths=paths, token=token, hosts=hosts or set())
    handlers: dict[Any, Any] = {HTTPException: _refused, ClientDisconnect: _gone, Exception: _failed}
    app = Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def serve(tagger: Tagger, host: str, port: int, limits: Limits, save: CorpusFile | None, token: str) -> None:
    """Answer requests until the process is interrupted or terminated; what was accepted is finished.

    Raises:
        ConfigError: If the address cannot be listened on.
    """
    listening = _listen(host, port)
    local = host in ("127.0.0.1", "localhost", "::1")
    app = application(tagger, limits, save, token, _LOOPBACK if local and not token else None)
    config = uvicorn.Config(
        app, ws="none", proxy_headers=False, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=limits.seconds,
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    print(f"tagger: http://{shown}:{listening.getsockname()[1]}/  (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if not (local or token):
        print("tagger: whoever reaches this machine can use it; --token asks for a token", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it is done
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as reason:
        shown = reason.strerror or reason
        raise ConfigError(f"cannot listen on {host}, port {port}: {shown}; try another --host or --port") from None
