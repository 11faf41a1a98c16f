"""Compare the `contest` preset with the plain script of 2016, faults and all, in one run.

Each of the two is a process of its own, so that peak memory and total time are those of the whole job: reading,
segmenting, word2vec (the preset on one thread, to be repeatable; the port on gensim's three), training, scoring. The
port is scored once, after its last epoch; the preset after every epoch, which counts in its total but not in its
seconds per epoch, and it keeps the epoch with the best entity F1 on dev. The last epoch's rows compare like with like.
The preset names its most probable span where nothing was decoded, the port nothing. Contest scores count all spans.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jieba
import numpy as np
from benching import (
    Figures,
    add_data_option,
    add_out_option,
    add_seeds_option,
    corpus_file,
    machine,
    mean_and_spread,
    run_measured,
    say,
    train_command,
    write_json,
)

from tagger.corpus import read
from tagger.documents import Document, squeeze
from tagger.score import contest_score

# What the table shows: key in a run's figures, heading, format of the value.
ROWS = [
    ("top1", "top-1 on dev, last epoch", ".4f"),
    ("contest", "contest score, last epoch", ".4f"),
    ("kept_top1", "top-1 on dev, best epoch", ".4f"),
    ("kept_contest", "contest score, best epoch", ".4f"),
    ("epoch_seconds", "seconds per epoch, median", ".2f"),
    ("total_seconds", "seconds in all", ".0f"),
    ("peak_mb", "peak memory, MB", ".0f"),
]

Runs = dict[str, list[Figures]]  # of "port" and "ours"


def main() -> None:
    """Run both, seed by seed, and show the figures."""
    options = parse_arguments()
    if options.port_into:
        figures = run_port(options.data, options.epochs, options.seeds[0])
        options.port_into.write_text(json.dumps(figures), "utf-8")
        return
    runs: Runs = {who: [] for who in ("port", "ours") if options.only in (None, who)}
    for seed, who in itertools.product(options.seeds, runs):
        say(f"== {who}: seed {seed}, {options.epochs} epochs")
        measure = measure_port if who == "port" else measure_ours
        with tempfile.TemporaryDirectory(prefix="bench_contest_") as folder:
            figures = measure(options.data, options.epochs, seed, Path(folder))
        runs[who].append({"seed": seed, "epoch_seconds": statistics.median(figures["seconds"]), **figures})
        write_figures(options, runs)  # after each run: a stopped benchmark leaves what it has measured
    print_table(runs)
    say(f"figures: {options.out}")


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is trained."""
    about = "Compare the contest preset with a port of the plain script of 2016, on core2016."
    parser = argparse.ArgumentParser("bench_contest", description=about)
    add_data_option(parser, "core2016")
    parser.add_argument("--epochs", type=int, default=60, metavar="N", help="of each run (default: %(default)s)")
    add_seeds_option(parser, [1])
    parser.add_argument("--only", choices=("port", "ours"), help="run one of the two")
    add_out_option(parser, "contest")
    parser.add_argument("--port-into", type=Path, help=argparse.SUPPRESS)  # be the port; leave its figures there
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    for name in ("train", "dev"):
        file = corpus_file(options.data, "core2016", name)
        if not file.is_file():
            parser.error(f"{file}: no such file; give the data with --data or TAGGER_DATA")
    return options


# ---- measuring --------------------------------------------------------------------------------------------------


def measure_port(data: Path, epochs: int, seed: int, folder: Path) -> Figures:
    """Run the port in a process of its own and return its figures."""
    figures = folder / "figures.json"
    this = [sys.executable, "-W", "ignore", __file__, "--data", data.resolve(), "--port-into", figures]
    costs = run_measured([*this, "--epochs", epochs, "--seeds", seed])
    return {**json.loads(figures.read_text("utf-8")), **costs}


def measure_ours(data: Path, epochs: int, seed: int, folder: Path) -> Figures:
    """Train the preset in a process of its own and return its figures."""
    train, dev = (corpus_file(data, "core2016", name) for name in ("train", "dev"))
    out = folder / "bundle"
    more = ["--unlabelled", dev, "--set", f"training.epochs={epochs}"]
    costs = run_measured(train_command("contest", train, dev, out, seed, *more))
    history = json.loads((out / "history.json").read_text("utf-8"))
    best = json.loads((out / "metrics.json").read_text("utf-8"))
    figures = {"top1": history[-1]["top1"], "contest": history[-1]["contest"]}
    figures |= {"kept_top1": best["top1"], "kept_contest": best["contest"], "kept_epoch": best["epoch"]}
    return {**figures, "seconds": [row["seconds"] for row in history], **costs}


def write_figures(options: argparse.Namespace, runs: Runs) -> None:
    """Write the runs so far and their ratios."""
    versions = machine("tensorflow", "keras", "gensim", "numpy")
    write_json(options.out, {"epochs": options.epochs, "machine": versions, "runs": runs, "ours_by_port": ratios(runs)})


def values(runs: Runs, who: str, key: str) -> list[float]:
    """Return a figure of each run of the port or of ours, where it is there."""
    return [run[key] for run in runs.get(who, []) if key in run]


def ratios(runs: Runs) -> dict[str, float]:
    """Return ours / port, of the means over the seeds, for each figure that both have."""
    both = {key: (values(runs, "ours", key), values(runs, "port", key)) for key, _, _ in ROWS}
    mean = statistics.mean
    return {key: mean(ours) / mean(port) for key, (ours, port) in both.items() if ours and any(port)}


def print_table(runs: Runs) -> None:
    """Print mean and spread of each figure, and the ratio of the means."""

    def cell(who: str, key: str, form: str) -> str:
        return mean_and_spread(values(runs, who, key), form)

    quotients = ratios(runs)
    print(f"{'':28}{'port':>18}{'ours':>18}{'ours / port':>14}")
    for key, heading, form in ROWS:
        ratio = f"{quotients[key]:.3f}" if key in quotients else "-"
        print(f"{heading:28}{cell('port', key, form):>18}{cell('ours', key, form):>18}{ratio:>14}")


# ---- the plain script of 2016: its faults are intended, and marked ----------------------------------------------

MAXLEN, DIMENSIONS, BATCH, TAGS = 80, 128, 1024, 5
OUTSIDE, SINGLE, FIRST, MIDDLE, LAST = range(TAGS)
# Fault: nothing but OUTSIDE follows SINGLE or LAST, so two entities side by side are impossible.
STEPS = {
    (OUTSIDE, OUTSIDE): 0.15, (OUTSIDE, SINGLE): 0.15, (OUTSIDE, FIRST): 0.7, (SINGLE, OUTSIDE): 1.0,
    (FIRST, MIDDLE): 0.5, (FIRST, LAST): 0.5, (MIDDLE, MIDDLE): 0.5, (MIDDLE, LAST): 0.5, (LAST, OUTSIDE): 1.0,
}  # fmt: skip
UNCLEAN = re.compile(r"[^\u4e00-\u9fff0-9a-zA-Z《》()（）“”·.]")
WHOLE = re.compile(r"(?<=《)[^《》]+(?=》)|(?<=“)[^“”]{1,10}(?=”)|[a-zA-Z0-9 .]+")


def run_port(data: Path, epochs: int, seed: int) -> Figures:
    """Train on all of core2016's train, in memory at once; return the scores on dev and the epochs' seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(seed)
    train, dev = (list(read(corpus_file(data, "core2016", name))) for name in ("train", "dev"))
    say(f"port: segmenting {len(train) + len(dev):,} texts")
    train_words, dev_words = ([segment(document.text) for document in documents] for documents in (train, dev))
    say("port: word2vec")
    keyed = word_vectors(train_words + dev_words, seed)
    say("port: vectors and labels of all texts")
    vectors = padded_vectors(train_words, keyed)
    targets = padded_targets(train_words, [document.answers for document in train])
    model = make_model()
    seconds = fit(model, vectors, targets, epochs, seed)
    probabilities = model.predict(padded_vectors(dev_words, keyed), batch_size=BATCH, verbose=0)
    return {**score(dev, dev_words, probabilities), "seconds": seconds}


def segment(text: str) -> list[str]:
    """Return the words of the cleaned text; what stands in brackets or quotes, and Latin runs, are not cut."""
    cleaned = UNCLEAN.sub(" ", text)
    words, done = [], 0
    for whole in WHOLE.finditer(cleaned):
        words += [*jieba.lcut(cleaned[done : whole.start()], HMM=False), whole.group()]
        done = whole.end()
    return [*words, *jieba.lcut(cleaned[done:], HMM=False)]


def word_vectors(texts: list[list[str]], seed: int) -> Any:
    """Return the word2vec vectors of all words, of unit length, as gensim's KeyedVectors."""
    from gensim.models import Word2Vec

    settings: Figures = {"vector_size": DIMENSIONS, "sg": 1, "window": 8, "negative": 8, "min_count": 1, "epochs": 20}
    keyed = Word2Vec(texts, seed=seed, **settings).wv
    keyed.unit_normalize_all()
    return keyed


def padded_vectors(texts: list[list[str]], keyed: Any) -> np.ndarray:
    """Return the vectors of all texts' words, (N, MAXLEN, DIMENSIONS) float32. Fault: all of them in memory."""

    def padded(words: list[str]) -> np.ndarray:
        rows = np.zeros((MAXLEN, DIMENSIONS), np.float32)
        rows[: len(words)] = keyed[words]
        return rows

    return np.array([padded(words[:MAXLEN]) for words in texts])


def padded_targets(texts: list[list[str]], answers: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Return the one-hot tags of all texts' words, (N, MAXLEN, TAGS) float32. Fault: what is past MAXLEN is lost."""
    tags = np.zeros((len(texts), MAXLEN), int)
    for row, words, of_text in zip(tags, texts, answers, strict=True):
        path = label(words, of_text)[:MAXLEN]
        row[: len(path)] = path
    one_hot: np.ndarray = np.eye(TAGS, dtype=np.float32)[tags]
    return one_hot


def label(words: list[str], answers: Sequence[str]) -> list[int]:
    """Return the tags of a text. Fault: each word that is part of an answer is marked, wherever it stands."""
    tags: list[int] = []
    for marked, run in itertools.groupby(any(word in answer for answer in answers) for word in words):
        size = len(list(run))
        if not marked:
            tags += [OUTSIDE] * size
        else:
            tags += [SINGLE] if size == 1 else [FIRST, *[MIDDLE] * (size - 2), LAST]
    return tags


def make_model() -> Any:
    """Return the compiled network: two bidirectional LSTMs and a softmax."""
    from keras import Sequential, layers, regularizers

    def bidirectional(size: int) -> Any:
        return layers.Bidirectional(layers.LSTM(size, return_sequences=True), merge_mode="sum")

    output = layers.Dense(TAGS, activation="softmax", activity_regularizer=regularizers.L1(0.01))
    masking = layers.Masking()  # fault: takes a word with a zero vector for padding
    model = Sequential([layers.Input((MAXLEN, DIMENSIONS)), masking, bidirectional(64), bidirectional(32), output])
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    return model


def batches(vectors: np.ndarray, targets: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches without end. Faults: shuffled once; the last is empty where BATCH divides the count."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    while True:
        for start in range(0, len(order) + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield vectors[chosen], targets[chosen]


def fit(model: Any, vectors: np.ndarray, targets: np.ndarray, epochs: int, seed: int) -> list[float]:
    """Train the model in place and return the seconds of each epoch."""
    import keras

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.monotonic() - self.begun)
            say(f"port: epoch {epoch + 1:3d}/{epochs}  loss {logs['loss']:.4f}  {seconds[-1]:.1f} s")

    feed, steps = batches(vectors, targets, seed), len(vectors) // BATCH + 1
    model.fit(feed, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[Clock()])
    return seconds


def viterbi(scores: np.ndarray) -> list[int]:
    """Return the best tags under STEPS, of scores (T, TAGS). Faults: any tag may start or end; T = 0 crashes."""
    steps = np.full((TAGS, TAGS), -np.inf)
    for (before, after), weight in STEPS.items():
        steps[before, after] = np.log(weight)
    best, back = scores[0], list[np.ndarray]()
    for now in scores[1:]:
        paths = best[:, None] + steps + now
        back.append(paths.argmax(axis=0))
        best = paths.max(axis=0)
    tags = [int(best.argmax())]
    for came_from in reversed(back):
        tags.append(int(came_from[tags[-1]]))
    return tags[::-1]


def decode(words: list[str], probabilities: np.ndarray) -> list[tuple[float, str]]:
    """Return (mean log-probability, text) of each run of tags inside. Fault: the text is the cleaned one."""
    scores = np.log(np.maximum(probabilities[: len(words)], 1e-30))  # (T, TAGS)
    tags, spans, start = viterbi(scores), [], 0
    for inside, run in itertools.groupby(tag != OUTSIDE for tag in tags):
        end = start + len(list(run))
        if inside:
            mean = float(np.mean([scores[t, tags[t]] for t in range(start, end)]))
            spans.append((mean, "".join(words[start:end])))
        start = end
    return spans


def score(documents: list[Document], texts: list[list[str]], probabilities: np.ndarray) -> Figures:
    """Return the share of texts whose best span, that of the highest mean, is an answer; and the contest score."""
    correct = total = 0.0
    for document, words, rows in zip(documents, texts, probabilities, strict=True):
        spans = [(mean, squeeze(text)) for mean, text in decode(words, rows)]
        correct += bool(spans) and max(spans)[1] in document.answers
        total += contest_score((text for _, text in spans), document.answers)
    return {"top1": correct / len(documents), "contest": total / len(documents)}


if __name__ == "__main__":
    main()
