"""The HTTP interface: a table of its endpoints, and what each of them does.

    POST /tag            predict the entities of one text, of several, or of a stream of JSON Lines
    POST /save           append a corrected document to the corpus file
    GET  /about          labels, limits, version
    GET  /health         whether the server answers
    GET  /metrics        counters, in the text form of Prometheus
    GET  /openapi.json   a description of these endpoints

A request that cannot be answered gets `{"error": reason}` with a status of 4xx or 5xx.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from importlib import resources
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from tagger import __version__
from tagger.documents import Entity, Notes
from tagger.errors import CorpusError
from tagger.formats.native import parse, to_native
from tagger.formats.records import dumps, parse_object
from tagger.pipeline import Tagger
from tagger.serve.batching import BusyError, SharedTagger
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits
from tagger.serve.metrics import Metrics
from tagger.serve.requests import JSON, JSON_LINES, Given, json_body, json_lines, media_type, parse_texts, reject
from tagger.serve.responses import JsonLinesResponse, json_response

_RETRY = {"Retry-After": "1"}


class Api:
    """Handlers of the endpoints.

    Args:
        tagger: Predicts the entities.
        limits: Requests beyond them are rejected.
        corpus_file: Where corrected documents are saved; None for nowhere.
        metrics: Where texts and entities are counted.
    """

    def __init__(self, tagger: Tagger, limits: Limits, corpus_file: CorpusFile | None, metrics: Metrics) -> None:
        self.limits, self.corpus_file, self.metrics = limits, corpus_file, metrics
        self.labels = tagger.labels
        self.tagger = SharedTagger(tagger, limits.waiting, metrics.count_batch)

    async def tag(self, request: Request) -> Response:
        """`POST /tag`: JSON of one text or several, or JSON Lines."""
        if media_type(request) == JSON_LINES:
            lines = self._tag_stream(request)
            first = await anext(lines, b"")  # a fault in the first lines decides the status
            return JsonLinesResponse(first, lines, self.limits.seconds)
        given, further = parse_texts(await json_body(request, self.limits), self.limits)
        results = await self._results(given)
        if further is None:
            return Response(results[0], media_type=JSON)
        rest = f", {dumps(further)[1:-1]}" if further else ""
        return Response(f'{{"results": [{", ".join(results)}]{rest}}}', media_type=JSON)

    async def save(self, request: Request) -> Response:
        """`POST /save`: append a document in native format to the corpus file."""
        if self.corpus_file is None:
            reject(404, "this server does not save documents; start it with --save FILE.jsonl")
        content = await json_body(request, self.limits)
        try:
            document = parse(parse_object(content, "document"), "document", Notes())
        except CorpusError as error:
            reject(422, str(error))
        except RecursionError:  # while the error message quotes the value
            reject(422, "document: expected entities, received something deeply nested")
        if len(document.text) > self.limits.characters:
            reject(413, f"expected a text of at most {self.limits.characters:,} characters")
        try:
            await asyncio.to_thread(self.corpus_file.append, document)
        except OSError as error:
            reject(507, f"{self.corpus_file.path}: {error.strerror or error}")
        self.metrics.saved.inc()
        return json_response({"saved": self.corpus_file.path.name, "entities": len(document.entities)})

    async def about(self, request: Request) -> Response:
        """`GET /about`: what a client needs to know about this server."""
        can_save, limits = self.corpus_file is not None, vars(self.limits)
        return json_response({"version": __version__, "labels": self.labels, "save": can_save, "limits": limits})

    async def health(self, request: Request) -> Response:
        """`GET /health`."""
        return json_response({"status": "ok"})

    async def prometheus(self, request: Request) -> Response:
        """`GET /metrics`."""
        self.metrics.waiting.set(self.tagger.waiting)
        return Response(generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        content = resources.files("tagger.serve").joinpath("page", "openapi.json").read_text("utf-8")
        return Response(content.replace("VERSION", __version__), media_type=JSON)

    async def _results(self, given: Sequence[Given], wait: bool = False) -> list[str]:
        """Return the result of each text in JSON, with what else was given."""
        predicted = await self._tag([text for text, _ in given], wait)
        return [
            to_native(text, entities, extra=extra) for (text, extra), entities in zip(given, predicted, strict=True)
        ]

    async def _tag(self, texts: Sequence[str], wait: bool = False) -> list[list[Entity]]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                predicted = await self.tagger.tag(texts, wait)
        except BusyError:
            reject(429, f"more than {self.limits.waiting:,} characters wait to be tagged; try again", _RETRY)
        except TimeoutError:
            reject(503, f"no result within {self.limits.seconds} seconds; try again", _RETRY)
        for entities in predicted:
            for entity in entities:
                self.metrics.entities.labels(entity.label).inc()
        return predicted

    async def _tag_stream(self, request: Request) -> AsyncGenerator[bytes]:
        async for given in json_lines(request, self.limits):
            yield "".join(line + "\n" for line in await self._results(given, wait=True)).encode("utf-8")


class Endpoint(NamedTuple):
    """One row of the HTTP interface."""

    method: str
    path: str
    handler: Callable[[Api, Request], Awaitable[Response]]
    needs_token: bool


ENDPOINTS = (
    Endpoint("POST", "/tag", Api.tag, needs_token=True),
    Endpoint("POST", "/save", Api.save, needs_token=True),
    Endpoint("GET", "/about", Api.about, needs_token=True),
    Endpoint("GET", "/health", Api.health, needs_token=False),
    Endpoint("GET", "/metrics", Api.prometheus, needs_token=True),
    Endpoint("GET", "/openapi.json", Api.openapi, needs_token=False),
)
