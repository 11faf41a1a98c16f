"""Self-training: tag unlabelled texts, learn from what the tags are sure of, and so on, round by round.

The network is pretrained on all texts. Round 0 trains it on the labelled ones; each further round tags the unlabelled
ones with the tagger of the round before and trains on both. In `OUT.transfer`: `texts.jsonl.gz`, what is tagged;
`pretrained`, the bundle that round 0 starts from; `round_N.jsonl.gz`, what round N learns from besides the labelled
texts; `round_N`, its bundle, and `round_N.both`, that before the labelled texts alone had the last word; `rounds.json`
and `rounds.png`, the scores.
"""

import dataclasses
import hashlib
import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tagger import corpus
from tagger.config import Config, TransferConfig, passes_over
from tagger.documents import Document, Notes, Span, mark
from tagger.errors import TrainingError
from tagger.files import atomic_folder, open_output, refuse_existing, write_json
from tagger.formats import native
from tagger.learning.plots import draw_rounds
from tagger.learning.pretraining import pretrain
from tagger.learning.run import Sources, claim, corpus_texts
from tagger.learning.training import train
from tagger.pipeline import Result, Tagger
from tagger.progress import say
from tagger.settings import merge
from tagger.text import pieces

_TEXTS = "texts.jsonl.gz"


def transfer(
    config: Config, sources: Sources, out: Path, resume: bool = False, replace: bool = False
) -> list[dict[str, Any]]:
    """Train a tagger on labelled and unlabelled texts and write its bundle, that of the round which is best on dev.

    All rounds are kept in `OUT.transfer`. An interrupted run goes on with `resume` where it was, and ends with the
    weights it would have had.

    Args:
        config: All settings.
        sources: The files to read; they are streamed. The vectors are learnt from labelled and unlabelled texts.
        out: The bundle's folder.
        resume: Go on with an interrupted run; start one where there is none.
        replace: Whether an existing bundle, and its rounds, may be replaced.

    Returns:
        Each round's figures: its number, scores on dev as `Scores.to_dict`, and what was `predicted` for it, as
        `label` counts it.

    Raises:
        TaggerError: If a file, a setting or the place to write to is at fault.
    """
    refuse_existing(out, replace)
    folder = out.with_name(out.name + ".transfer")
    if replace and not resume:
        shutil.rmtree(folder, ignore_errors=True)
    claim(folder, config, sources, resume, "pretrained*", "round_*")
    for left in folder.glob(".*.part"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    if not (folder / _TEXTS).exists():
        gather(config, sources, folder)
    if config.transfer.pretrain and config.text.unit == "char" and not sources.start:
        sources = _pretrained(config, sources, folder)
    history: list[dict[str, Any]] = []
    for number in range(config.transfer.rounds + 1):
        history.append(_round(number, config, sources, folder))
        write_json(folder / "rounds.json", history)
        draw_rounds(history, folder / "rounds.png")
        chosen = best(history, config.training.metric)
        if config.transfer.patience and number - chosen >= config.transfer.patience:
            break
    with atomic_folder(out, replace) as made:
        shutil.copytree(folder / f"round_{chosen}", made, dirs_exist_ok=True)
    return history


def _pretrained(config: Config, sources: Sources, folder: Path) -> Sources:
    """Pretrain a network on what is labelled and what is to be tagged; return sources that start from it."""
    shown, made = [sources.train, folder / _TEXTS], folder / "pretrained"
    _make(made, "pretraining", partial(pretrain, shown=shown), config, [sources.train, *sources.unlabelled])
    return dataclasses.replace(sources, vectors=made, start=made)


def _make(made: Path, told: str, make: Callable[..., Any], config: Config, read: Any) -> None:
    """Make a bundle of what is read, `train` or `pretrain`, unless it is there."""
    if not made.exists():
        say(told)
        make(config, read, made, resume=True)
    shutil.rmtree(made.with_name(made.name + ".training"), ignore_errors=True)  # of a run killed just there


def best(history: Sequence[dict[str, Any]], score: str) -> int:
    """Return the number of the round with the best of this score on dev, the first of equals."""
    return int(max(history, key=lambda row: row.get(score, 0.0))["round"])


def _round(number: int, config: Config, sources: Sources, folder: Path) -> dict[str, Any]:
    """Make a round, as far as it is not made yet, and return its figures."""
    settings, made, told = config.transfer, folder / f"round_{number}", f"round {number} of {config.transfer.rounds}"
    predicted: dict[str, Any] = {"texts": 0, "entities": 0, "labelled": 0.0}
    if number:
        before, data = folder / f"round_{number - 1}", folder / f"round_{number}.jsonl.gz"
        counted = folder / f"round_{number}.json"
        if not data.exists():
            say(f"{told}: predicting")
            agree = settings.select == "agreed" and number > 1
            texts = before.with_name(before.name + ".jsonl.gz") if agree else folder / _TEXTS
            documents = tqdm(corpus.read(texts), "predicting", unit=" texts")
            with _writing(data) as write:
                write_json(counted, label(Tagger.load(before), documents, settings, agree, write))
        predicted = json.loads(counted.read_text("utf-8"))
        config = merge(
            config, {"batches": {"masking": max(settings.masking, config.batches.masking)}}, "transfer.masking"
        )
        if settings.epochs != "auto":
            config = merge(config, {"training": {"epochs": settings.epochs}}, "transfer.epochs")
        weight = settings.weights[min(number, len(settings.weights)) - 1]
        start = folder / "round_0" if settings.restart else before
        sources = Sources(sources.train, sources.dev, (), data, weight, before, start)
        if settings.fine_tune_epochs:
            student = folder / f"round_{number}.both"
            _make(student, f"{told}: training on both", train, config, sources)
            passes = fine_tune_passes(settings.fine_tune_epochs, sources.train)
            refining = {"epochs": passes, "learning_rate": settings.fine_tune_rate}
            config = merge(config, {"training": refining}, "transfer.fine_tune_epochs")
            sources = Sources(sources.train, sources.dev, vectors=student, start=student)
    _make(made, f"{told}: training on {'both' if sources.predicted else 'labelled texts'}", train, config, sources)
    scores = json.loads((made / "metrics.json").read_text("utf-8"))
    return {"round": number, "predicted": predicted, **scores}


def fine_tune_passes(most: int, labelled: Path) -> int:
    """Return how often a round goes over the labelled texts alone: for about a million characters, at least twice."""
    characters = Amount.of(corpus_texts([labelled])).characters
    return passes_over(characters, 1_000_000, least=2, most=most)


# ---- what a round learns from ---------------------------------------------------------------------------------
def label(
    teacher: Tagger,
    documents: Iterable[Document],
    settings: TransferConfig,
    agree: bool,
    write: Callable[[Document], None],
) -> dict[str, float]:
    """Tag texts and hand on what is to be learnt from.

    Args:
        teacher: The tagger.
        documents: The texts.
        settings: What of the tags to take.
        agree: Whether to pass over texts whose answer is not the one they have.
        write: Takes each document.

    Returns:
        Counts: `texts` and `entities` handed on, and the share of the characters read that is `labelled` now.
    """
    select_sure = settings.select == "sure"
    counts, characters, labelled = {"texts": 0, "entities": 0}, 0, 0
    documents, copies = itertools.tee(documents)
    results = teacher.results((document.text for document in copies), answers=False, outside=select_sure)
    for document, result in zip(documents, results, strict=True):
        characters += len(document.text)
        made = sure(result, settings.entity_threshold, settings.outside_threshold) if select_sure else answer(result)
        if made is None or (agree and made.entities != document.entities):
            continue
        write(made)
        counts["texts"] += 1
        counts["entities"] += len(made.entities)
        labelled += len(made.text) - sum(end - start for start, end in made.unlabelled)
    return {**counts, "labelled": labelled / max(characters, 1)}


def sure(result: Result, entity: float, outside: float) -> Document | None:
    """Return what is sure of a result, all else unlabelled; None where nothing is.

    Args:
        result: With `outside`.
        entity: Least probability of an entity.
        outside: Least probability of a character to be in none.
    """
    assert result.outside is not None
    spans = tuple(Span(e.start, e.end, e.label) for e in result.entities if e.score >= entity)
    known = np.concatenate([[True], result.outside >= outside, [True]])
    for start, end, _ in spans:
        known[start + 1 : end + 1] = True
    starts, ends = np.flatnonzero(known[:-1] & ~known[1:]), np.flatnonzero(~known[:-1] & known[1:])
    stretches = tuple(zip(starts.tolist(), ends.tolist(), strict=True))
    if stretches == ((0, len(result.text)),) or not result.text:
        return None
    return Document(result.text, spans, unlabelled=stretches)


def answer(result: Result) -> Document | None:
    """Return a text with its most probable entity wherever that stands, as in 2016; None where there is no entity."""
    if result.answer is None:
        return None
    found = mark(result.text, [result.answer.text])
    return Document(result.text, tuple(span._replace(label=result.answer.label) for span in found))


# ---- the texts ------------------------------------------------------------------------------------------------
@dataclass
class Amount:
    """How much text there is."""

    texts: int = 0
    characters: int = 0

    @staticmethod
    def of(texts: Iterable[str]) -> "Amount":
        """Return the amount of some texts, read one by one."""
        amount = Amount()
        for text in texts:
            amount.texts += 1
            amount.characters += len(text)
        return amount


def gather(config: Config, sources: Sources, folder: Path) -> None:
    """Write the unlabelled texts that are to be tagged: none that is blank, labelled, or there before.

    Of more than `transfer.characters`, an even random share is taken. First says how much disk the run will use.

    Raises:
        TrainingError: If there is no such text, or too little room.
    """
    limit = config.transfer.characters
    labelled = Amount.of(corpus_texts([sources.train]))
    unlabelled = Amount.of(tqdm(corpus_texts(sources.unlabelled), "reading", unit=" texts"))
    taken = min(limit or unlabelled.characters, unlabelled.characters)
    say(f"unlabelled: {unlabelled.texts:,} texts, {unlabelled.characters:,} characters; at most {taken:,} are tagged")
    check_room(folder, *disk_use(config, labelled.characters, unlabelled.characters, taken))
    share = taken / max(unlabelled.characters, 1)
    rng = random.Random(config.training.seed)
    seen = set(map(_digest, corpus_texts([sources.train])))
    count = 0
    with _writing(folder / _TEXTS) as write:
        for text in corpus_texts(sources.unlabelled):
            if rng.random() >= share or not text.strip() or (digest := _digest(text)) in seen:
                continue
            seen.add(digest)
            for start, end in pieces(text):
                write(Document(text[start:end]))
            count += 1
        if not count:
            names = ", ".join(map(str, sources.unlabelled))
            raise TrainingError(f"{names}: no text that is not labelled already; give other texts with --unlabelled")


def disk_use(config: Config, labelled: int, unlabelled: int, taken: int) -> tuple[int, int]:
    """Return about how many bytes a run needs at most, and how many of them stay.

    Args:
        config: All settings.
        labelled, unlabelled, taken: Characters of the labelled texts, of the others, and of those to be tagged.
    """
    vectors, of_characters = config.vectors, config.text.unit == "char"
    sizes = [vectors.word_dimensions, *([vectors.char_dimensions, vectors.bigram_dimensions] if of_characters else [])]
    rows = (labelled + unlabelled) // 10  # items are rarely more
    rows = min(rows, vectors.limit or rows)
    network = 4 * 4 * 2 * sum(size * (size + 500) for size in config.model.layers)
    of_bundle = network + rows * sum(size * (4 if vectors.storage == "float32" else 1) + 10 for size in sizes)
    rounds = config.transfer.rounds
    stay = (2 * rounds + 3) * of_bundle + taken * 3 * (rounds + 1)
    for_vectors = (15 if of_characters else 5) * (labelled + unlabelled)
    for_ids = 4 * (14 if of_characters else 2) * (labelled + taken)
    return stay + max(for_vectors, for_ids), stay


def check_room(folder: Path, most: int, stay: int) -> None:
    """Say how much disk a run will use.

    Raises:
        TrainingError: If there is less.
    """
    free = shutil.disk_usage(folder).free
    told = f"{folder}: about {most / 1e6:,.0f} MB of disk at most"
    if free < most:
        raise TrainingError(f"{told}, and {free / 1e6:,.0f} MB are free; make room, or lower transfer.characters")
    say(f"{told}, {stay / 1e6:,.0f} MB to stay; {free / 1e6:,.0f} MB are free")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[Document], None]]:
    """Yield a function that writes a document to a file, which is there whole, or not at all."""
    with open_output(path) as write:

        def write_document(document: Document) -> None:
            write("".join(native.write([document], Notes())))

        yield write_document
