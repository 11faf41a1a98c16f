"""The HTTP interface: a table of its endpoints, and what each of them does.

    POST /tag            predict the entities of one text, of several, or of a stream of JSON Lines
    POST /redact         replace the entities of texts, and what rules find in them
    POST /save           append a corrected document to the corpus file
    GET  /queue          how far the queue of texts to correct is, and the training on what was corrected
    GET  /queue/text     the text to correct now, or the one before or after another
    POST /queue/skip     put a text last
    POST /queue/train    train on what has been saved, and go on with the new bundle
    POST /queue/stop     interrupt that training
    GET  /about          bundle, labels, limits, version
    GET  /health         whether the server answers
    GET  /metrics        counters, in the text form of Prometheus
    GET  /openapi.json   a description of these endpoints

A request that cannot be answered gets `{"error": reason}` with a status of 4xx or 5xx.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from tagger import __version__
from tagger.calibration import Thresholds
from tagger.documents import Document, Entity, Notes
from tagger.errors import ConfigError, CorpusError
from tagger.formats.native import parse, to_native
from tagger.formats.records import dumps, parse_object
from tagger.pipeline import Tagger
from tagger.redaction import REPLACEMENTS, Redactor, parse_labels
from tagger.redaction.lists import Lists
from tagger.serve.batching import BusyError, SharedTagger
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits
from tagger.serve.metrics import Metrics
from tagger.serve.queue_endpoints import QueueApi, QueueSetup
from tagger.serve.requests import JSON, JSON_LINES, Given, json_body, json_lines, media_type, parse_texts, reject
from tagger.serve.responses import JsonLinesResponse, json_response

_RETRY = {"Retry-After": "1"}


class Api:
    """Handlers of the endpoints.

    Args:
        tagger: Predicts the entities; it leaves none out itself.
        limits: Requests beyond them are rejected.
        corpus_file: Where corrected documents are saved; None for nowhere.
        metrics: Where texts and entities are counted.
        queue: Texts to correct one by one; None for no queue. Needs `corpus_file`.
        thresholds: How probable an entity must be, where a request does not say so; all are returned by default.
        lists: What redaction replaces always or never, and its secret.
    """

    def __init__(
        self,
        tagger: Tagger,
        limits: Limits,
        corpus_file: CorpusFile | None,
        metrics: Metrics,
        queue: QueueSetup | None = None,
        thresholds: Thresholds | None = None,
        lists: Lists | None = None,
    ) -> None:
        self.limits, self.corpus_file, self.metrics = limits, corpus_file, metrics
        self.thresholds, self.lists = thresholds or Thresholds(), lists or Lists()
        self.tagger = SharedTagger(tagger, limits.waiting, metrics.count_batch)
        self.queue: QueueApi | None = None
        if queue and corpus_file:
            self.queue = QueueApi(queue, corpus_file.path, limits, self._tag, self._replace)

    def start(self) -> None:
        """Begin what runs beside the requests."""
        if self.queue:
            self.queue.start(self.tagger.tagger)

    def close(self) -> None:
        """End what runs beside the requests."""
        if self.queue:
            self.queue.close()
        self.tagger.close()

    async def tag(self, request: Request) -> Response:
        """`POST /tag`: JSON of one text or several, or JSON Lines."""
        return await self._answer(request, self._thresholds(request), _tagged)

    async def redact(self, request: Request) -> Response:
        """`POST /redact`: the same for texts without their entities and what rules find."""
        if (unsure := request.query_params.get("unsure", "false")) not in ("true", "false"):
            reject(400, "unsure: expected true or false")
        render = partial(_redacted, self._redactor(request), unsure == "true")
        return await self._answer(request, Thresholds(), render, shared=("id",))

    async def _answer(
        self, request: Request, thresholds: Thresholds, render: "Render", shared: Collection[str] | None = None
    ) -> Response:
        """Return what `render` makes of each text and its entities, in the form in which the texts came.

        Args:
            request: With the texts.
            thresholds: How probable an entity must be to be given to `render`.
            render: Makes the results.
            shared: Of what stands beside several texts, the keys that come back; None for all.
        """
        if media_type(request) == JSON_LINES:
            lines = self._answer_stream(request, thresholds, render)
            first = await anext(lines, b"")  # a fault in the first lines decides the status
            return JsonLinesResponse(first, lines, self.limits.seconds)
        given, further = parse_texts(await json_body(request, self.limits), self.limits)
        results = await self._results(given, thresholds, render)
        if further is None:
            return Response(results[0], media_type=JSON)
        further = {key: value for key, value in further.items() if shared is None or key in shared}
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
        if self.queue:
            await asyncio.to_thread(self.queue.texts.save, document.text)
        return json_response({"saved": self.corpus_file.path.name, "entities": len(document.entities)})

    async def about(self, request: Request) -> Response:
        """`GET /about`: what a client needs to know about this server."""
        tagger = self.tagger.tagger
        bundle = tagger.identity
        about = {
            "version": __version__,
            "bundle": bundle and {"name": bundle.name, "sha256": bundle.sha256, "trained": bundle.trained or None},
            "labels": tagger.labels,
            "thresholds": vars(self.thresholds),
            "save": self.corpus_file is not None,
            "queue": self.queue is not None,
            "limits": vars(self.limits),
        }
        return json_response(about)

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

    def _replace(self, tagger: Tagger) -> None:
        """Answer requests with another tagger from now on; batches under way are finished with the old one."""
        self.tagger.tagger = tagger

    def _thresholds(self, request: Request) -> Thresholds:
        """Return how probable an entity must be: as the request's `?threshold=` says, or else the server's."""
        given = request.query_params.getlist("threshold")
        if not given:
            return self.thresholds
        try:
            return Thresholds.parse(",".join(given), self.tagger.tagger.labels, "threshold")
        except ConfigError as error:
            reject(400, str(error))

    def _redactor(self, request: Request) -> Redactor:
        """Return what a request to `/redact` asks for, with `?by=`, `?labels=` and `?threshold=`."""
        by, given = request.query_params.get("by", "label"), request.query_params.get("labels", "")
        if by not in REPLACEMENTS:
            reject(400, f"by: expected one of {', '.join(REPLACEMENTS)}")
        try:
            labels = parse_labels(given, self.tagger.tagger.labels, "labels")
        except ConfigError as error:
            reject(400, str(error))
        return Redactor(self.tagger.tagger, by, self._thresholds(request), labels, self.lists)

    async def _results(
        self, given: Sequence[Given], thresholds: Thresholds, render: "Render", wait: bool = False
    ) -> list[str]:
        """Return the result of each text in JSON, with what else was given."""
        predicted = await self._tag([text for text, _ in given], thresholds, wait)
        return await render(given, predicted)

    async def _tag(
        self, texts: Sequence[str], thresholds: Thresholds | None = None, wait: bool = False
    ) -> list[list[Entity]]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                predicted = list(map(thresholds or self.thresholds, await self.tagger.tag(texts, wait)))
        except BusyError:
            reject(429, f"more than {self.limits.waiting:,} characters wait to be tagged; try again", _RETRY)
        except TimeoutError:
            reject(503, f"no result within {self.limits.seconds} seconds; try again", _RETRY)
        for entities in predicted:
            for entity in entities:
                self.metrics.entities.labels(entity.label).inc()
        return predicted

    async def _answer_stream(self, request: Request, thresholds: Thresholds, render: "Render") -> AsyncGenerator[bytes]:
        async for given in json_lines(request, self.limits):
            results = await self._results(given, thresholds, render, wait=True)
            yield "".join(line + "\n" for line in results).encode("utf-8")


# What makes the results in JSON of what was given, and the entities of each text.
Render = Callable[[Sequence[Given], list[list[Entity]]], Awaitable[list[str]]]


async def _tagged(given: Sequence[Given], predicted: list[list[Entity]]) -> list[str]:
    return [to_native(text, entities, extra=extra) for (text, extra), entities in zip(given, predicted, strict=True)]


async def _redacted(
    redactor: Redactor, unsure: bool, given: Sequence[Given], predicted: list[list[Entity]]
) -> list[str]:
    def result(given: Given, entities: list[Entity]) -> str:
        redacted = redactor.redact(_annotated(given), entities)
        document = redacted.document
        gold = {}
        if isinstance(given.extra.get("gold"), list):
            gold["gold"] = [entity._asdict() for entity in document.entities]
        review = {"unsure": [entity._asdict() for entity in redacted.unsure]} if unsure else {}
        return dumps({**document.extra, "text": document.text, **gold, "replaced": redacted.replaced, **review})

    return await asyncio.to_thread(lambda: list(map(result, given, predicted)))  # rules take a while


def _annotated(given: Given) -> Document:
    """Return a text with the entities that were given with it."""
    if not isinstance(gold := given.extra.get("gold"), list):
        return Document(given.text, extra=given.extra)
    try:
        document = parse({"text": given.text, "entities": gold}, "text", Notes())
    except CorpusError as error:
        reject(422, str(error))
    return replace(document, extra={key: value for key, value in given.extra.items() if key != "gold"})


def _queued(handler: Callable[[QueueApi, Request], Awaitable[Response]]) -> Callable[[Api, Request], Any]:
    """Return the handler of an endpoint that is there only with a queue."""

    async def respond(api: Api, request: Request) -> Response:
        if api.queue is None:
            reject(404, "this server has no queue; start it with --queue F --save FILE.jsonl")
        return await handler(api.queue, request)

    return respond


class Endpoint(NamedTuple):
    """One row of the HTTP interface."""

    method: str
    path: str
    handler: Callable[[Api, Request], Awaitable[Response]]
    needs_token: bool


ENDPOINTS = (
    Endpoint("POST", "/tag", Api.tag, needs_token=True),
    Endpoint("POST", "/redact", Api.redact, needs_token=True),
    Endpoint("POST", "/save", Api.save, needs_token=True),
    Endpoint("GET", "/queue", _queued(QueueApi.status), needs_token=True),
    Endpoint("GET", "/queue/text", _queued(QueueApi.text), needs_token=True),
    Endpoint("POST", "/queue/skip", _queued(QueueApi.skip), needs_token=True),
    Endpoint("POST", "/queue/train", _queued(QueueApi.train), needs_token=True),
    Endpoint("POST", "/queue/stop", _queued(QueueApi.stop), needs_token=True),
    Endpoint("GET", "/about", Api.about, needs_token=True),
    Endpoint("GET", "/health", Api.health, needs_token=False),
    Endpoint("GET", "/metrics", Api.prometheus, needs_token=True),
    Endpoint("GET", "/openapi.json", Api.openapi, needs_token=False),
)
