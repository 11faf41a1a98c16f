"""The endpoints of the queue of texts to correct, and of training on what has been corrected."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tagger import corpus
from tagger.documents import Document, Entity, Span
from tagger.errors import CorpusError, TrainingError
from tagger.pipeline import Tagger
from tagger.serve.limits import Limits
from tagger.serve.queue import TextQueue, id_of
from tagger.serve.ranking import Ranking
from tagger.serve.requests import json_body, json_object, reject
from tagger.serve.responses import json_response
from tagger.serve.retraining import Retraining, TrainingPlan

_FIRST_SECONDS = 2  # to wait for the first texts to be compared


@dataclass(frozen=True)
class QueueSetup:
    """What a server with a queue needs.

    Args:
        texts: The queue.
        plan: What a training from the page learns from.
        load: Returns the tagger of a bundle that a training has written.
        from_file: Whether a text starts with the entities of the queue's file, and not with predicted ones.
    """

    texts: TextQueue
    plan: TrainingPlan
    load: Callable[[Path], Tagger]
    from_file: bool = False


class QueueApi:
    """Handlers of the endpoints under `/queue`.

    Args:
        setup: See `QueueSetup`.
        saved: The corpus file of corrections.
        limits: Requests beyond them are rejected.
        tag: Returns the entities of texts.
        replace: Called with a newly trained tagger, which answers requests from then on.
    """

    def __init__(
        self,
        setup: QueueSetup,
        saved: Path,
        limits: Limits,
        tag: Callable[[Sequence[str]], Awaitable[list[list[Entity]]]],
        replace: Callable[[Tagger], None],
    ) -> None:
        self.setup, self.texts, self.saved, self.limits, self.tag = setup, setup.texts, saved, limits, tag
        self.replace, self.ranking = replace, Ranking(setup.texts)
        self.training = Retraining(setup.plan, saved, self._trained)
        self._learning: int | None = None  # corrected texts that the training under way learns from

    def start(self, tagger: Tagger) -> None:
        """Begin to compare texts."""
        self.ranking.start(tagger)
        newest = self.training.newest()
        if newest and newest != self.setup.plan.bundle:
            print(f"tagger: {newest} was trained later from this page; give its name to serve it", file=sys.stderr)

    def close(self) -> None:
        """End threads and child process; a training under way can be continued later."""
        self.training.close()
        self.ranking.stop()
        self.texts.close()

    # ---- endpoints ----------------------------------------------------------------------------------------------

    async def status(self, request: Request) -> Response:
        """`GET /queue`."""
        return json_response(self._status())

    async def text(self, request: Request) -> Response:
        """`GET /queue/text`: the text to correct now, or the one before or after another."""
        await asyncio.to_thread(self.ranking.started.wait, _FIRST_SECONDS)
        given = request.query_params
        if len(given) > 1 or not set(given) <= {"before", "after"}:
            reject(422, 'expected no parameter, or one of "before" and "after" with the id of a text')
        if "before" in given:
            at = self._index(given["before"]) if given["before"] else None  # empty: before the end
            index = self.texts.before(at)
            index = at if index is None else index
        elif "after" in given:
            index = self.texts.after(self._index(given["after"]))
        else:
            index = self.texts.next()
        text = None if index is None else await self._text(index)
        return json_response({"text": text, "queue": self._status()})

    async def skip(self, request: Request) -> Response:
        """`POST /queue/skip`: put a text last."""
        value = json_object(await json_body(request, self.limits))
        self.texts.skip(self._index(value.get("id")))
        return json_response(self._status())

    async def train(self, request: Request) -> Response:
        """`POST /queue/train`: start a training on what has been saved, or continue the interrupted one."""
        value = json_object(await json_body(request, self.limits))
        resume = value.get("resume", False)
        if not isinstance(resume, bool):
            reject(422, 'expected "resume" with a boolean')
        try:
            started = self.training.start(resume)
        except TrainingError as error:
            reject(409, str(error))
        if not started:
            reject(409, "a training is under way")
        self._learning = None if resume else self.texts.corrected
        return json_response(self._status())

    async def stop(self, request: Request) -> Response:
        """`POST /queue/stop`: interrupt the training under way."""
        json_object(await json_body(request, self.limits))
        self.training.stop()
        return json_response(self._status())

    # ---- parts --------------------------------------------------------------------------------------------------

    def _index(self, text_id: Any) -> int:
        if not isinstance(text_id, str):
            reject(422, 'expected "id" with the id of a text, a string')
        index = self.texts.find(text_id)
        if index is None:
            reject(404, "no text of the queue has this id")
        return index

    async def _text(self, index: int) -> dict[str, Any]:
        """Return a text with the entities to start from: those that were saved, of the file, or predicted."""
        document, done = self.texts.document(index), self.texts.is_done(index)
        entities: Sequence[Entity | Span] = document.entities
        if done:
            entities = (await asyncio.to_thread(self._saved, document)).entities
        elif not self.setup.from_file:
            (entities,) = await self.tag([document.text])
        return {
            "id": id_of(document.text),
            "text": document.text,
            "entities": [entity._asdict() for entity in entities],
            "done": done,
            "first": self.texts.before(index) is None,
        }

    def _saved(self, document: Document) -> Document:
        """Return the document with the same text that was saved last."""
        try:
            for saved in corpus.read(self.saved, "jsonl"):
                document = saved if saved.text == document.text else document
        except CorpusError as error:
            reject(409, str(error))
        return document

    def _status(self) -> dict[str, Any]:
        training, plan, reason = self.training, self.setup.plan, self.setup.plan.missing()
        interrupted, not_learnt = training.interrupted(), self.texts.not_learnt
        return {
            **self.texts.counts._asdict(),
            "left_out": self.texts.left_out,
            "warning": self.texts.warning,
            "training": {
                "running": training.running,
                **training.progress(),
                "reason": reason,
                "error": training.error,
                "trained": training.trained.name if training.trained else None,
                "interrupted": interrupted.name if interrupted else None,
                "in_dev": training.left_out,
                "every": plan.every,
                "not_learnt": not_learnt,
                "due": bool(plan.every and not_learnt >= plan.every),
            },
        }

    def _trained(self, bundle: Path) -> None:
        """Go on with a new bundle; called by the thread of the training."""
        tagger = self.setup.load(bundle)
        if self._learning is not None:
            self.texts.set_learnt(self._learning)
        self.replace(tagger)
        self.ranking.start(tagger)
