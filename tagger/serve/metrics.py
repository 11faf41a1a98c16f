"""The counters of one server that `/metrics` reports to Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        ours: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("tagger_requests", "Requests answered", ["path", "status"], **ours)
        self.seconds = Histogram("tagger_request_seconds", "Seconds from request to response", ["path"], **ours)
        self.in_progress = Gauge("tagger_requests_in_progress", "Requests not answered yet", **ours)
        self.texts = Counter("tagger_texts", "Texts tagged", **ours)
        self.characters = Counter("tagger_characters", "Characters tagged", **ours)
        self.entities = Counter("tagger_entities", "Entities predicted", ["label"], **ours)
        self.batches = Histogram("tagger_batch_texts", "Texts per batch", buckets=_BATCH_SIZES, **ours)
        self.waiting = Gauge("tagger_waiting_characters", "Characters that wait to be tagged", **ours)
        self.saved = Counter("tagger_saved_documents", "Corrected documents saved", **ours)

    def count_batch(self, texts: int, characters: int) -> None:
        """Count a batch of texts that were tagged together."""
        self.batches.observe(texts)
        self.texts.inc(texts)
        self.characters.inc(characters)
