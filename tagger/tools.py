"""JSON forms of annotation tools and data sets: CLUENER, doccano, Label Studio.

CLUENER: `{"text", "label": {label: {mention: [[start, last]]}}}`. doccano: `{"text", "label": [[start, end, label]]}`;
`labels`, `entities` or `annotations` in other versions. Label Studio: an array of tasks, `{"data": {"text"},
"annotations" or "predictions": [{"result": [{"type": "labels", "value": {"start", "end", "text", "labels"}}]}]}`.
Where entities overlap, which these allow, the longest stays.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tagger.documents import FORMATS, Document, Notes, Span, apart, labelled, squeeze
from tagger.errors import CorpusError
from tagger.records import (
    Record,
    dumps,
    given_score,
    given_scores,
    listed,
    note_further,
    string,
    task_text,
    valid_span,
)

# ---- CLUENER ----------------------------------------------------------------------------------------------------


def cluener(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a CLUENER record; each place is checked against its mention."""
    text = string(record, "text", place)
    note_further(record, ("text", "label"), notes)
    found = record.get("label", {})
    expected = '"label" with {label: {mention: [[start, last]]}}'
    if not (isinstance(found, dict) and all(isinstance(mentions, dict) for mentions in found.values())):
        raise CorpusError(place, expected, json.dumps(found, ensure_ascii=False), FORMATS)
    spans = []
    for label, mentions in found.items():
        for mention, places in mentions.items():
            for pair in listed(places, "label", place):
                if not (isinstance(pair, list) and len(pair) == 2 and type(pair[1]) is int):
                    raise CorpusError(place, expected, json.dumps({mention: places}, ensure_ascii=False), FORMATS)
                span = _tool_span(pair[0], pair[1] + 1, label, text, {mention: pair}, place, notes)
                if text[span.start : span.end] != mention:
                    shown = f"{text[span.start : span.end]!r}"
                    raise CorpusError(place, f"{mention!r} at {pair}, the last one included", shown, FORMATS)
                spans.append(span)
    return labelled(text, apart(spans, notes))


def write_cluener(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a CLUENER line a document."""
    for document in documents:
        found: dict[str, dict[str, list[list[int]]]] = {}
        for start, end, label in document.entities:
            found.setdefault(label, {}).setdefault(document.text[start:end], []).append([start, end - 1])
        yield dumps({"text": document.text, "label": found}) + "\n"


# ---- doccano ----------------------------------------------------------------------------------------------------

DOCCANO_KEYS = ("label", "labels", "entities", "annotations")


def doccano(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a doccano record, of any version."""
    text = string(record, "text" if "text" in record or "data" not in record else "data", place)
    key = next((key for key in DOCCANO_KEYS if key in record), "label")
    note_further(record, ("text" if "text" in record else "data", key), notes)
    spans = []
    for entity in listed(record.get(key, []), key, place):
        if isinstance(entity, dict):
            start, end, label = entity.get("start_offset"), entity.get("end_offset"), entity.get("label")
        else:
            start, end, label = entity if isinstance(entity, list) and len(entity) == 3 else (None, None, None)
        if type(label) is int:
            label = str(label)  # the oldest versions give the label's number
        spans.append(_tool_span(start, end, label, text, entity, place, notes))
    return labelled(text, apart(spans, notes))


def write_doccano(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a doccano line a document, with today's field names."""
    for document in documents:
        yield dumps({"text": document.text, "label": document.entities}) + "\n"


# ---- Label Studio -----------------------------------------------------------------------------------------------


def labelstudio(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a Label Studio task: the first annotation not skipped, or prediction."""
    text = task_text(record, place)
    note_further(record, ("data", "annotations", "completions", "predictions"), notes)
    made = record.get("annotations", record.get("completions")) or []
    made = listed(made, "annotations", place)
    some = [one for one in made if not (isinstance(one, dict) and one.get("was_cancelled"))]
    some = some or listed(record.get("predictions") or [], "predictions", place)
    notes["lost: further annotations of a text"] += max(len(some) - 1, 0)
    results = some[0].get("result") if some and isinstance(some[0], dict) else some
    rated: dict[Span, float] = {}
    for result in listed(results, "result", place):
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            raise CorpusError(place, 'a result with a "value"', json.dumps(result, ensure_ascii=False), FORMATS)
        if not value.get("labels"):
            hidden = value.keys() & {"hypertextlabels", "paragraphlabels"}
            notes["lost: entities of hypertext" if hidden else "left out: annotations that are not entities"] += 1
            continue
        label = value["labels"][0] if isinstance(value["labels"], list) else None
        notes["lost: further labels of an entity"] += len(value["labels"]) - 1 if label else 0
        start, end = _code_points(value, text, place, notes)
        rated.setdefault(_tool_span(start, end, label, text, value, place, notes), given_score(result.get("score")))
    spans = apart(rated, notes)
    return labelled(text, spans, scores=given_scores([rated[span] for span in spans], notes))


def _code_points(value: Record, text: str, place: str, notes: Notes) -> tuple[Any, Any]:
    """Return start and end of a result, which some versions counted in UTF-16 as JavaScript does."""
    start, end, mention = value.get("start"), value.get("end"), value.get("text")
    if not (type(start) is int and type(end) is int and isinstance(mention, str)):
        return start, end
    wanted = squeeze(mention.replace("\\n", "\n"))  # that is how line ends come
    if squeeze(text[start:end]) in (wanted, squeeze(mention)):
        return start, end
    wide = text.encode("utf-16-le", "surrogatepass")
    before, inside = (wide[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
    if 0 <= start < end and squeeze(inside) == wanted:
        notes["repaired: offsets counted in UTF-16"] += 1
        return len(before), len(before) + len(inside)
    raise CorpusError(place, f"{mention!r} at {start} to {end}", repr(text[start:end]), FORMATS)


def write_labelstudio(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield an array of tasks: predictions where there are scores, else annotations."""
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


def _tool_span(start: Any, end: Any, label: Any, text: str, entity: Any, place: str, notes: Notes) -> Span:
    """Return the span of an annotation tool, whose labels may have white space and whose texts may be long."""
    span = valid_span(start, end, label, text)
    if span is None:
        expected = f"an entity with 0 <= start < end <= {len(text)} and a label"
        raise CorpusError(place, expected, json.dumps(entity, ensure_ascii=False), FORMATS)
    if re.search(r"\s", span.label):
        notes["repaired: labels with white space, written with _"] += 1
        span = span._replace(label="_".join(span.label.split()))
    return span
