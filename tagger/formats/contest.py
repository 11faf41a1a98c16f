"""The format of the 2016 contest: `{"content", "core_entity": [strings]}`, answers without offsets."""

from collections.abc import Iterable, Iterator

from tagger.documents import CONTEST_LABEL, Document, Notes, distinct, mark
from tagger.errors import SEE_FORMATS, CorpusError
from tagger.formats.base import Sample
from tagger.formats.records import Record, dumps, further, string, with_further


def recognise(sample: Sample) -> int | None:
    """Return the first record if it has a "content"; later ones are not decisive."""
    first = sample.records[:1]
    return 0 if first and isinstance(first[0].get("content"), str) else None


def parse(record: Record, place: str, notes: Notes) -> Document:
    """Return the document of a contest record; every occurrence of an answer is an entity."""
    text = string(record, "content", place)
    answers = record.get("core_entity", [])
    if isinstance(answers, str):
        answers = [answers]
    if not (isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)):
        raise CorpusError(place, '"core_entity" with a list of strings', repr(answers), SEE_FORMATS)
    return Document(text, mark(text, answers), distinct(answers), extra=further(record, ("content", "core_entity")))


def claims(record: Record) -> bool:
    """Return whether a record has answers of this form."""
    return isinstance(record.get("content"), str) and "core_entity" in record


def write(documents: Iterable[Document], notes: Notes) -> Iterator[str]:
    """Yield a line for each document."""
    for document in documents:
        if document.entities:
            marked = {span[:2] for span in mark(document.text, document.answers)}
            annotated = {span[:2] for span in document.entities}
            notes["lost: labels"] += sum(span.label != CONTEST_LABEL for span in document.entities)
            notes["lost: entities inside others that the text repeats"] += len(annotated - marked)
            notes["changed: other occurrences of an entity's string, now entities too"] += len(marked - annotated)
        record = {"content": document.text, "core_entity": list(document.answers)}
        yield dumps(with_further(record, document, notes)) + "\n"
