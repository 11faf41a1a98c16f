"""The systems that the speed bench compares, and the runner that puts texts through one of them.

The runner is a process of its own, of the Python that has the system, which need not have this project:

    python bench_peers.py file    SYSTEM IN OUT [GIVEN ...]   lines of IN -> JSON lines of entities
    python bench_peers.py latency SYSTEM IN OUT [GIVEN ...]   seconds of each of CALLS calls with a line of IN
    python bench_peers.py first   SYSTEM IN OUT [GIVEN ...]   prints a line after the answer to the first line of IN

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
from dataclasses import dataclass
from functools import partial

ANSWERED = "bench: answered"
CALLS, WARM_UP = 1000, 50
HANGS_AFTER = 3600  # seconds: the process is ended

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
        saw_dev: Whether it seems to have learnt the dev texts, so that its F1 means little.
    """

    name: str
    packages: tuple[str, ...]
    saw_dev: bool = False


PEERS = {
    "lac": Peer("LAC", ("lac",)),
    # On dev and on train of msra its F1 is the same (0.92), people 0.98; of people in resume's texts it has 0.48.
    "jiagu": Peer("jiagu", ("jiagu",), saw_dev=True),
    # The model as a wheel only, and of no later version: PyPI's own package of that name (999.9.9) is an empty stub
    # against mix-ups, and spaCy's models stand elsewhere. Where pip is told of that place, they are found.
    "spacy": Peer("spaCy", ("--only-binary", "zh-core-web-sm", "zh-core-web-sm>=3,<4", "spacy", "spacy-pkuseg")),
}


class NotMeasuredError(Exception):
    """A system that cannot be installed or run here; says why in a few words."""


def main():
    signal.alarm(HANGS_AFTER)
    mode, system, source, out, *given = sys.argv[1:]
    with open(source, encoding="utf-8", newline="\n") as file:
        texts = (line.rstrip("\n") for line in file)
        one, many = SYSTEMS[system](*given)
        if mode == "first":
            one(next(texts))
            print(ANSWERED, flush=True)
            return
        with open(out, "w", encoding="utf-8") as written:
            if mode == "latency":
                json.dump(latencies(one, list(texts)), written)
                return
            for found in many(texts):
                entities = [{"start": start, "end": end, "label": label} for start, end, label in found]
                written.write(json.dumps({"entities": entities}) + "\n")


def latencies(one, texts):
    """Return the seconds of each of CALLS calls with one text, after some that do not count."""
    seconds = []
    for text in itertools.islice(itertools.cycle(texts), WARM_UP + CALLS):
        begun = time.perf_counter()
        one(text)
        seconds.append(time.perf_counter() - begun)
    return seconds[WARM_UP:]


# ---- systems of this project's environment ----------------------------------------------------------------------


def this_tagger(bundle, runtime):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tagger import Tagger

    loaded = Tagger.load(bundle, runtime)
    return loaded, loaded.stream


def script_2016():
    """Return the prediction loop of the 2016 script: jieba, Keras and a Viterbi over dictionaries, text by text.

    Weights and vectors are random and so is what it finds; that takes the same time.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from collections import defaultdict

    import numpy as np
    from bench_contest import DIMENSIONS, MAXLEN, OUTSIDE, STEPS, TAGS, make_model, segment

    model, random = make_model(), np.random.default_rng(1)
    vectors = defaultdict(lambda: random.normal(size=DIMENSIONS))
    steps = {pair: np.log(weight) for pair, weight in STEPS.items()}

    def one(text):
        words = segment(text)[:MAXLEN]
        if not words:
            return []
        rows = np.zeros((1, MAXLEN, DIMENSIONS), np.float32)
        rows[0, : len(words)] = [vectors[word] for word in words]
        probabilities = model.predict(rows, verbose=0)[0]
        nodes = [dict(zip(range(TAGS), np.log(row), strict=True)) for row in probabilities[: len(words)]]
        found, start = [], 0
        for inside, run in itertools.groupby(
            zip(best_path(nodes, steps), words, strict=True), lambda p: p[0] != OUTSIDE
        ):
            end = start + sum(len(word) for _, word in run)
            if inside:
                found.append((start, end, "CORE"))
            start = end
        return found

    return one, partial(map, one)


def best_path(nodes, steps):
    """Return the best tags as the script did: a dictionary of whole paths, longer by a tag each time."""
    paths = {(tag,): score for tag, score in nodes[0].items()}
    for node in nodes[1:]:
        before, paths = paths, {}
        for tag, score in node.items():
            ways = {
                (*path, tag): so_far + score + steps[path[-1], tag]
                for path, so_far in before.items()
                if (path[-1], tag) in steps
            }
            best = max(ways, key=ways.get)
            paths[best] = ways[best]
    return max(paths, key=paths.get)


def jieba_posseg():
    import logging

    import jieba.posseg

    jieba.setLogLevel(logging.WARNING)

    def one(text):
        pairs = [(pair.word, pair.flag) for pair in jieba.posseg.cut(text)]
        return labelled_words(text, pairs, lambda flag: flag[:2])  # nrt and nrfg are names of people too

    return one, partial(map, one)


def crfsuite(model):
    """Return python-crfsuite with the features of bench_accuracy; without marginals, which only scores need."""
    import pycrfsuite
    from bench_accuracy import features

    from tagger.tags import TagScheme

    tagger = pycrfsuite.Tagger()
    tagger.open(model)
    scheme = TagScheme(tuple(sorted({name[2:] for name in tagger.labels() if name != "O"})))
    ids = {name: number for number, name in enumerate(scheme.names)}

    def one(text):
        spans = scheme.decode([ids[name] for name in tagger.tag(features(text))]) if text else []
        return [(start, end, scheme.labels[label]) for start, end, label in spans]

    return one, partial(map, one)


# ---- systems of environments of their own -----------------------------------------------------------------------


def install(name, folder):
    """Install a peer into an environment of its own; return its Python, its size in MB, the versions of its packages.

    Raises:
        NotMeasuredError: If pip cannot.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    before = size_mb(packages)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    try:
        done = subprocess.run([*pip, "install", *PEERS[name].packages], capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        raise NotMeasuredError("pip took more than half an hour") from None
    if done.returncode:
        raise NotMeasuredError(f"pip: {last_line(done.stderr)}")
    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, text=True, check=True).stdout
    versions = {package["name"]: package["version"] for package in json.loads(listed)}
    return python, size_mb(packages) - before, versions


def first_answer(command):
    """Return the seconds from the start of a runner of mode `first` to its answer."""
    with tempfile.TemporaryFile("w+") as errors:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        answered = any(line.strip() == ANSWERED for line in process.stdout)
        seconds = time.monotonic() - begun
        process.communicate()
        errors.seek(0)
        if process.returncode or not answered:
            raise NotMeasuredError(last_line(errors.read()) or f"exit code {process.returncode}")
    return seconds


def size_mb(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def last_line(text):
    """Return the last line of an error, short."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return textwrap.shorten(lines[-1].removeprefix("ERROR: "), 70, placeholder=" ...")


def lac():
    import paddle.base

    # LAC 2.1.2, the last, knows the module under its old name.
    sys.modules["paddle.fluid"], sys.modules["paddle.fluid.core"] = paddle.base, paddle.base.core
    from LAC import LAC

    model = LAC(mode="lac")

    def one(text):
        words, tags = model.run(text) if text else ([], [])
        return labelled_words(text, zip(words, tags, strict=True))

    def many(texts):
        texts = iter(texts)
        while batch := list(itertools.islice(texts, 32)):  # the fastest of 1, 8, 32 and 100
            answers = iter(model.run([text for text in batch if text]))
            for text in batch:
                yield labelled_words(text, zip(*next(answers), strict=True)) if text else []

    return one, many


def jiagu():
    import jiagu

    def one(text):
        words = jiagu.seg(text)
        return joined(text, words, jiagu.ner(words)) if words else []

    return one, partial(map, one)


def spacy():
    import spacy

    model = spacy.load("zh_core_web_sm", exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])

    def entities(document):
        found = ((entity.start_char, entity.end_char, LABELS.get(entity.label_)) for entity in document.ents)
        return [entity for entity in found if entity[2]]

    return lambda text: entities(model(text)), lambda texts: map(entities, model.pipe(texts))


# ---- words and tags -> entities ---------------------------------------------------------------------------------


def places(text, words):
    """Yield start and end of each word of a text; characters between words are passed over."""
    end = 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def labelled_words(text, pairs, label=str):
    """Return the entities of a text where each is one word, from (word, tag)."""
    pairs = list(pairs)
    spans = places(text, [word for word, _ in pairs])
    return [(*span, LABELS[label(tag)]) for span, (_, tag) in zip(spans, pairs, strict=True) if label(tag) in LABELS]


def joined(text, words, tags):
    """Return the entities of a text from words tagged B-PER, I-PER, ..., O."""
    found = []
    for (start, end), tag in zip(places(text, words), tags, strict=True):
        part, label = tag[:1], LABELS.get(tag[2:])
        if part == "I" and found and found[-1][1:] == (start, label):
            found[-1] = (found[-1][0], end, label)
        elif label:
            found.append((start, end, label))
    return found


SYSTEMS = {
    "tagger": this_tagger,
    "2016": script_2016,
    "jieba": jieba_posseg,
    "crfsuite": crfsuite,
    "lac": lac,
    "jiagu": jiagu,
    "spacy": spacy,
}

if __name__ == "__main__":
    main()
