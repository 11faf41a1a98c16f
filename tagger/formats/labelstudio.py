"""Label Studio: an array of tasks with annotations or predictions."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tagger.documents import Document, Notes, Span, labelled, squeeze, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import LIKELY, Sample
from tagger.formats.records import (
    Record,
    annotated_span,
    dumps,
    given_score,
    given_scores,
    listed,
    note_further,
    task_text,
)

_TASK = re.compile(rb'"(?:data|result)"\s*:\s*[{[]')  # in a task longer than the sample


def recognise(sample: Sample) -> int | None:
    """Return the first record with a "data" object; an array with the keys of a task is likely of this format."""
    decisive = sample.first_record(lambda record: isinstance(record.get("data"), dict))
    if decisive is None and sample.is_array and _TASK.search(sample.head):
        return LIKELY
    return decisive


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a task: its first annotation that was not skipped, else its first prediction."""
    text = task_text(record, place)
    note_further(record, ("data", "annotations", "completions", "predictions"), notes)
    annotations = listed(record.get("annotations", record.get("completions")) or [], "annotations", place)
    candidates = [one for one in annotations if not (isinstance(one, dict) and one.get("was_cancelled"))]
    candidates = candidates or listed(record.get("predictions") or [], "predictions", place)
    notes["lost: further annotations of a text"] += max(len(candidates) - 1, 0)
    results = candidates[0].get("result") if candidates and isinstance(candidates[0], dict) else candidates
    scores: dict[Span, float] = {}
    for result in listed(results, "result", place):
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            raise CorpusError(place, 'a result with a "value"', json.dumps(result, ensure_ascii=False), SEE_FORMATS)
        if not value.get("labels"):
            hypertext = value.keys() & {"hypertextlabels", "paragraphlabels"}
            notes["lost: entities of hypertext" if hypertext else "left out: annotations that are not entities"] += 1
            continue
        label = value["labels"][0] if isinstance(value["labels"], list) else None
        notes["lost: further labels of an entity"] += len(value["labels"]) - 1 if label else 0
        start, end = _code_points(value, text, place, notes)
        scores.setdefault(
            annotated_span(start, end, label, text, value, place, notes), given_score(result.get("score"))
        )
    spans = without_overlaps(scores, notes)
    return labelled(text, spans, scores=given_scores([scores[span] for span in spans], notes))


def _code_points(value: Record, text: str, place: str, notes: Notes) -> tuple[Any, Any]:
    """Return the start and end of a result in code points; some versions counted UTF-16 units, as JavaScript does."""
    start, end, mention = value.get("start"), value.get("end"), value.get("text")
    if not (type(start) is int and type(end) is int and isinstance(mention, str)):
        return start, end
    wanted = squeeze(mention.replace("\\n", "\n"))  # as line ends are exported
    if squeeze(text[start:end]) in (wanted, squeeze(mention)):
        return start, end
    wide = text.encode("utf-16-le", "surrogatepass")
    before, inside = (wide[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
    if 0 <= start < end and squeeze(inside) == wanted:
        notes["repaired: offsets counted in UTF-16"] += 1
        return len(before), len(before) + len(inside)
    raise CorpusError(place, f"{mention!r} at {start} to {end}", repr(text[start:end]), SEE_FORMATS)


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield an array of tasks, with predictions for documents that have scores, else with annotations."""
    before = "[\n"
    for document in documents:
        results: list[Record] = [
            {"id": str(number), "from_name": "label", "to_name": "text", "type": "labels",
             "value": {"start": start, "end": end, "text": document.text[start:end], "labels": [label]}}
            for number, (start, end, label) in enumerate(document.entities, 1)
        ]  # fmt: skip
        task: Record = {"data": {"text": document.text}}
        if document.scores:
            for result, score in zip(results, document.scores, strict=True):
                result["score"] = score
            mean = sum(document.scores) / len(results)
            task["predictions"] = [{"model_version": "tagger", "score": round(mean, 4), "result": results}]
        elif results:
            task["annotations"] = [{"result": results}]
        yield before + dumps(task)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"
