"""The ASGI application: the HTTP interface, the page at `/`, the documentation at `/docs`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tagger.calibration import Thresholds
from tagger.pipeline import Tagger
from tagger.redaction.lists import Lists
from tagger.serve import documentation
from tagger.serve.corrections import CorpusFile
from tagger.serve.endpoints import ENDPOINTS, Api
from tagger.serve.limits import Limits
from tagger.serve.metrics import Metrics
from tagger.serve.middleware import AccessMiddleware
from tagger.serve.queue_endpoints import QueueSetup
from tagger.serve.responses import error_response

_SCRIPTS = ("page", "queue", "server", "state", "view", "theme", "messages", "docs")

# Path -> (file in page/, media type). No other file can be requested.
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/docs.css": ("docs.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}


def application(
    tagger: Tagger,
    limits: Limits | None = None,
    save: CorpusFile | None = None,
    token: str = "",
    hosts: set[str] | None = None,
    queue: QueueSetup | None = None,
    thresholds: Thresholds | None = None,
    lists: Lists | None = None,
) -> Starlette:
    """Return the ASGI application around a tagger.

    Args:
        tagger: Predicts the entities.
        limits: Requests beyond them are rejected.
        save: Where corrected documents are saved; None for nowhere.
        token: The token that clients must send; empty for none.
        hosts: The host names allowed in a request's `Host`; any by default.
        queue: Texts to correct one by one; needs `save`.
        thresholds: How probable an entity must be, where a request does not say so; all are returned by default.
        lists: What redaction replaces always or never, and its secret.
    """
    limits, metrics = limits or Limits(), Metrics()
    api = Api(tagger, limits, save, metrics, queue, thresholds, lists)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        api.start()
        yield
        await asyncio.to_thread(api.close)

    public = {path: _page_file(*file) for path, file in _PAGE_FILES.items()} | documentation.handlers()
    needs_token = dict.fromkeys(public, False) | {endpoint.path: endpoint.needs_token for endpoint in ENDPOINTS}
    routes = [Route(path, handler) for path, handler in public.items()]
    for endpoint in ENDPOINTS:
        routes.append(Route(endpoint.path, partial(endpoint.handler, api), methods=[endpoint.method]))
    access = Middleware(
        AccessMiddleware, limits=limits, metrics=metrics, needs_token=needs_token, token=token, hosts=hosts or set()
    )
    errors: dict[Any, Any] = {HTTPException: _rejected, ClientDisconnect: _disconnected, Exception: _failed}
    app = Starlette(routes=routes, middleware=[access], exception_handlers=errors, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def _page_file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = resources.files("tagger.serve").joinpath("page", name).read_bytes()

    async def respond(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return respond


async def _rejected(request: Request, error: Any) -> Response:
    return error_response(error.status_code, error.detail, error.headers)


async def _disconnected(request: Request, error: Any) -> Response:
    return error_response(400, "the client disconnected")


async def _failed(request: Request, error: Any) -> Response:
    return error_response(500, "internal error; see the log of the server")
