"""Label Studio: an array of tasks with annotations or predictions."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tagger.documents import Document, Notes, Span, labelled, squeeze, unannotated, without_overlaps
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import LIKELY, Sample
from tagger.formats.records import (
    Record,
    annotated_span,
    dumps,
    further,
    given_score,
    given_scores,
    is_task,
    listed,
    string,
    task_text,
    with_further,
)

_TASK = re.compile(rb'"(?:data|result)"\s*:\s*[{[]')  # in a task longer than the sample


# What a task has beside its data; "id" is the user's if the data has none.
_TASK_KEYS = ("data", "annotations", "completions", "predictions")

_BOOKKEEPING = {
    "drafts", "meta", "created_at", "updated_at", "inner_id", "total_annotations", "cancelled_annotations",
    "total_predictions", "comment_count", "unresolved_comment_count", "last_comment_updated_at", "project",
    "updated_by", "comment_authors", "file_upload", "allow_skip", "precomputed_agreement",
}  # fmt: skip


def recognise(sample: Sample) -> int | None:
    """Return the first task; an array with the keys of a task is likely of this format."""
    decisive = sample.first_record(claims)
    if decisive is None and sample.is_array and _TASK.search(sample.head):
        return LIKELY
    return decisive


def claims(record: Record) -> bool:
    """Return whether a record is a task, or one of the short export JSON_MIN."""
    return is_task(record) or bool(_short_key(record))


def _short_key(record: Record) -> str:
    """Return the key of the results in a record of JSON_MIN, the name of a control; "" if it is none."""
    for key, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            first = value[0]
            if isinstance(first.get("labels"), list) and "start" in first and "end" in first:
                return key
    return ""


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a task: its first annotation that was not skipped.

    A task whose "annotations" are empty or were all skipped is not annotated, whatever was predicted; one without that
    key is a prediction.
    """
    if not is_task(record) and (key := _short_key(record)):
        return _short(record, key, place, notes)
    text = task_text(record, place)
    extra = _further(record, text)
    given = record.get("annotations", record.get("completions"))
    annotations = listed(given or [], "annotations", place)
    candidates = [one for one in annotations if not (isinstance(one, dict) and one.get("was_cancelled"))]
    predictions = listed(record.get("predictions") or [], "predictions", place)
    if not candidates and (given is not None or not predictions):
        notes["left out: predictions of texts that nobody has annotated"] += len(predictions)
        return unannotated(text, notes, extra)
    candidates = candidates or predictions
    notes["lost: further annotations of a text"] += max(len(candidates) - 1, 0)
    results = candidates[0].get("result") if isinstance(candidates[0], dict) else candidates
    return _document(text, _spans(listed(results, "result", place), text, place, notes), notes, extra)


def _short(record: Record, key: str, place: str, notes: Notes) -> Document:
    """Return the document of a record of JSON_MIN."""
    text = string(record, "text", place)
    results: list[Record] = [{"value": value} for value in record[key]]
    return _document(text, _spans(results, text, place, notes), notes, further(record, ("text", key)))


def _document(text: str, scores: dict[Span, float], notes: Notes, extra: Record) -> Document:
    spans = without_overlaps(scores, notes)
    return labelled(text, spans, scores=given_scores([scores[span] for span in spans], notes), extra=extra)


def _further(record: Record, text: str) -> Record:
    """Return the fields of a task's data that are not its text, and the keys of the task itself."""
    data = record["data"]
    key = "text" if isinstance(data.get("text"), str) else next(key for key in data if data[key] == text)
    meta = {"meta": record["meta"]} if record.get("meta") else {}  # {} in every export
    return {**further(record, (*_TASK_KEYS, *_BOOKKEEPING)), **meta, **further(data, (key,))}


def _spans(results: list[Any], text: str, place: str, notes: Notes) -> dict[Span, float]:
    """Return the entities of a result list and their scores, -1 for none."""
    scores: dict[Span, float] = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            if isinstance(result, dict) and result.get("type") == "relation":
                notes["left out: annotations that are not entities"] += 1
                continue
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
    return scores


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


def _parted(extra: Mapping[str, Any]) -> tuple[Record, Record]:
    """Return what a task has beside its data, and what belongs into that; annotations may be kept as `gold`."""
    beside: Record = {}
    data: Record = {}
    for key, value in extra.items():
        name = {"gold": "annotations", "gold_annotations": "annotations", "gold_predictions": "predictions"}.get(key)
        if name and isinstance(value, list) and all(isinstance(one, dict) and "result" in one for one in value):
            beside[name] = value
        elif (key == "id" and type(value) is int) or key in _BOOKKEEPING:
            beside[key] = value
        else:
            data[key] = value
    return beside, data


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield an array of tasks, with predictions for documents that have scores, else with annotations.

    A text that is not annotated has neither; one with predictions beside its annotation has both.
    """
    before = "[\n"
    for document in documents:
        beside, data = _parted(document.extra)
        others = beside.pop("predictions", [])
        task: Record = {**beside, "data": with_further({"text": document.text}, replace(document, extra=data), notes)}
        results = _results(document.text, document.entities, document.scores)
        if document.scores:
            task["predictions"] = [_prediction(results, document.scores), *others]
        elif document.unlabelled != ((0, len(document.text)),):
            task["annotations"] = [{"result": results}]
        if document.predicted:
            scores = [entity.score for entity in document.predicted]
            spans = [Span(*entity[:3]) for entity in document.predicted]
            task["predictions"] = [_prediction(_results(document.text, spans, scores), scores), *others]
        if others and "predictions" not in task:
            task["predictions"] = others
        yield before + dumps(task)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _results(text: str, spans: Iterable[Span], scores: Sequence[float]) -> list[Record]:
    results: list[Record] = [
        {"id": str(number), "from_name": "label", "to_name": "text", "type": "labels",
         "value": {"start": start, "end": end, "text": text[start:end], "labels": [label]}}
        for number, (start, end, label) in enumerate(spans, 1)
    ]  # fmt: skip
    return [{**result, "score": score} for result, score in zip(results, scores, strict=True)] if scores else results


def _prediction(results: list[Record], scores: Sequence[float]) -> Record:
    return {"model_version": "tagger", "score": round(sum(scores) / len(scores), 4), "result": results}
