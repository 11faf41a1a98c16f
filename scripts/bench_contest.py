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
from pathlib import Path

import jieba
import numpy as np
from benching import (
    PROJECT,
    add_data_option,
    corpus_file,
    machine,
    mean_and_spread,
    run_measured,
    say,
    seed_list,
    train_command,
    write_json,
)

from tagger.corpus import read
from tagger.documents import squeeze
from tagger.score import contest_score

# What the table shows: key in a run's figures, heading, how a value is written.
ROWS = [
    ("top1", "top-1 on dev, last epoch", ".4f"),
    ("contest", "contest score, last epoch", ".4f"),
    ("kept_top1", "top-1 on dev, kept epoch", ".4f"),
    ("kept_contest", "contest score, kept epoch", ".4f"),
    ("epoch_seconds", "seconds per epoch, median", ".2f"),
    ("total_seconds", "seconds in all", ".0f"),
    ("peak_mb", "peak memory, MB", ".0f"),
]


def main():
    options = parse_arguments()
    if options.port_into:
        figures = run_port(options.data, options.epochs, options.seeds[0])
        options.port_into.write_text(json.dumps(figures), "utf-8")
        return
    runs = {who: [] for who in ("port", "ours") if options.only in (None, who)}
    for seed, who in itertools.product(options.seeds, runs):
        say(f"== {who}: seed {seed}, {options.epochs} epochs")
        measure = measure_port if who == "port" else measure_ours
        with tempfile.TemporaryDirectory(prefix="bench_contest_") as folder:
            figures = measure(options.data, options.epochs, seed, Path(folder))
        runs[who].append({"seed": seed, "epoch_seconds": statistics.median(figures["seconds"]), **figures})
        write_figures(options, runs)  # after each run, so that a bench that is stopped leaves what it has
    print_table(runs)
    say(f"figures: {options.out}")


def parse_arguments():
    about = "Compare the contest preset with a port of the plain script of 2016, on core2016."
    parser = argparse.ArgumentParser("bench_contest", description=about)
    out = PROJECT / "bench-out" / "contest.json"
    add_data_option(parser, "core2016")
    parser.add_argument("--epochs", type=int, default=60, metavar="N", help="of each run (default: %(default)s)")
    parser.add_argument("--seeds", type=seed_list, default=[1], metavar="1,2,3", help="a run of each (default: 1)")
    parser.add_argument("--only", choices=("port", "ours"), help="run one of the two")
    parser.add_argument("--out", type=Path, default=out, metavar="F", help="figures, as JSON (default: %(default)s)")
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


def measure_port(data, epochs, seed, folder):
    figures = folder / "figures.json"
    this = [sys.executable, "-W", "ignore", __file__, "--data", data.resolve(), "--port-into", figures]
    cost = run_measured([*this, "--epochs", epochs, "--seeds", seed])
    return {**json.loads(figures.read_text("utf-8")), **cost}


def measure_ours(data, epochs, seed, folder):
    train, dev = (corpus_file(data, "core2016", name) for name in ("train", "dev"))
    out = folder / "bundle"
    more = ["--unlabelled", dev, "--set", f"training.epochs={epochs}"]
    cost = run_measured(train_command("contest", train, dev, out, seed, *more))
    history = json.loads((out / "history.json").read_text("utf-8"))
    kept = json.loads((out / "metrics.json").read_text("utf-8"))
    figures = {"top1": history[-1]["top1"], "contest": history[-1]["contest"]}
    figures |= {"kept_top1": kept["top1"], "kept_contest": kept["contest"], "kept_epoch": kept["epoch"]}
    return {**figures, "seconds": [row["seconds"] for row in history], **cost}


def write_figures(options, runs):
    versions = machine("tensorflow", "keras", "gensim", "numpy")
    write_json(options.out, {"epochs": options.epochs, "machine": versions, "runs": runs, "ours_by_port": ratios(runs)})


def values(runs, who, key):
    return [run[key] for run in runs.get(who, []) if key in run]


def ratios(runs):
    """Return ours / port, of the means over the seeds, for each figure that both have."""
    both = {key: (values(runs, "ours", key), values(runs, "port", key)) for key, _, _ in ROWS}
    mean = statistics.mean
    return {key: mean(ours) / mean(port) for key, (ours, port) in both.items() if ours and any(port)}


def print_table(runs):
    def cell(who, key, form):
        return mean_and_spread(values(runs, who, key), form)

    found = ratios(runs)
    print(f"{'':28}{'port':>18}{'ours':>18}{'ours / port':>14}")
    for key, heading, form in ROWS:
        ratio = f"{found[key]:.3f}" if key in found else "-"
        print(f"{heading:28}{cell('port', key, form):>18}{cell('ours', key, form):>18}{ratio:>14}")


# ---- the plain script of 2016: its faults are meant, and marked -------------------------------------------------

MAXLEN, DIMENSIONS, BATCH, TAGS = 80, 128, 1024, 5
OUTSIDE, SINGLE, FIRST, MIDDLE, LAST = range(TAGS)
# Fault: nothing but OUTSIDE follows SINGLE or LAST, so two entities side by side are impossible.
STEPS = {
    (OUTSIDE, OUTSIDE): 0.15, (OUTSIDE, SINGLE): 0.15, (OUTSIDE, FIRST): 0.7, (SINGLE, OUTSIDE): 1.0,
    (FIRST, MIDDLE): 0.5, (FIRST, LAST): 0.5, (MIDDLE, MIDDLE): 0.5, (MIDDLE, LAST): 0.5, (LAST, OUTSIDE): 1.0,
}  # fmt: skip
UNCLEAN = re.compile(r"[^\u4e00-\u9fff0-9a-zA-Z《》()（）“”·.]")
WHOLE = re.compile(r"(?<=《)[^《》]+(?=》)|(?<=“)[^“”]{1,10}(?=”)|[a-zA-Z0-9 .]+")


def run_port(data, epochs, seed):
    """Train on all of core2016's train, in memory at once; return the scores on dev and the epochs' seconds."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(seed)
    train, dev = (list(read(corpus_file(data, "core2016", name))) for name in ("train", "dev"))
    say(f"port: segmenting {len(train) + len(dev):,} texts")
    train_words, dev_words = ([segment(document.text) for document in some] for some in (train, dev))
    say("port: word2vec")
    keyed = word_vectors(train_words + dev_words, seed)
    say("port: vectors and labels of all texts")
    vectors = padded_vectors(train_words, keyed)
    targets = padded_targets(train_words, [document.answers for document in train])
    model = make_model()
    seconds = fit(model, vectors, targets, epochs, seed)
    probabilities = model.predict(padded_vectors(dev_words, keyed), batch_size=BATCH, verbose=0)
    return {**score(dev, dev_words, probabilities), "seconds": seconds}


def segment(text):
    """Return the words of the cleaned text; what stands in brackets or quotes, and Latin runs, are not cut."""
    cleaned = UNCLEAN.sub(" ", text)
    words, done = [], 0
    for whole in WHOLE.finditer(cleaned):
        words += [*jieba.lcut(cleaned[done : whole.start()], HMM=False), whole.group()]
        done = whole.end()
    return words + jieba.lcut(cleaned[done:], HMM=False)


def word_vectors(texts, seed):
    from gensim.models import Word2Vec

    settings = {"vector_size": DIMENSIONS, "sg": 1, "window": 8, "negative": 8, "min_count": 1, "epochs": 20}
    keyed = Word2Vec(texts, seed=seed, **settings).wv
    keyed.unit_normalize_all()
    return keyed


def padded_vectors(texts, keyed):
    """Return the vectors of all texts' words, (N, MAXLEN, DIMENSIONS) float32. Fault: all of them in memory."""

    def padded(words):
        rows = np.zeros((MAXLEN, DIMENSIONS), np.float32)
        rows[: len(words)] = keyed[words]
        return rows

    return np.array([padded(words[:MAXLEN]) for words in texts])


def padded_targets(texts, answers):
    """Return the one-hot tags of all texts' words, (N, MAXLEN, TAGS) float32. Fault: what is past MAXLEN is lost."""
    tags = np.zeros((len(texts), MAXLEN), int)
    for row, words, wanted in zip(tags, texts, answers, strict=True):
        found = label(words, wanted)[:MAXLEN]
        row[: len(found)] = found
    return np.eye(TAGS, dtype=np.float32)[tags]


def label(words, answers):
    """Return the tags of a text. Fault: each word that is part of an answer is marked, wherever it stands."""
    tags = []
    for marked, run in itertools.groupby(any(word in answer for answer in answers) for word in words):
        size = len(list(run))
        if not marked:
            tags += [OUTSIDE] * size
        else:
            tags += [SINGLE] if size == 1 else [FIRST, *[MIDDLE] * (size - 2), LAST]
    return tags


def make_model():
    from keras import Sequential, layers, regularizers

    def both_ways(size):
        return layers.Bidirectional(layers.LSTM(size, return_sequences=True), merge_mode="sum")

    output = layers.Dense(TAGS, activation="softmax", activity_regularizer=regularizers.L1(0.01))
    masking = layers.Masking()  # fault: takes a word with a zero vector for padding
    model = Sequential([layers.Input((MAXLEN, DIMENSIONS)), masking, both_ways(64), both_ways(32), output])
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    return model


def batches(vectors, targets, seed):
    """Yield batches without end. Faults: shuffled once; the last is empty where BATCH divides the count."""
    order = np.random.default_rng(seed).permutation(len(vectors))
    while True:
        for start in range(0, len(order) + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield vectors[chosen], targets[chosen]


def fit(model, vectors, targets, epochs, seed):
    """Train the model in place and return the seconds of each epoch."""
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.begun = time.monotonic()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.monotonic() - self.begun)
            say(f"port: epoch {epoch + 1:3d}/{epochs}  loss {logs['loss']:.4f}  {seconds[-1]:.1f} s")

    feed, steps = batches(vectors, targets, seed), len(vectors) // BATCH + 1
    model.fit(feed, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[Clock()])
    return seconds


def viterbi(scores):
    """Return the best tags under STEPS, (T, TAGS) -> T ints. Faults: any tag may start or end; T = 0 crashes."""
    steps = np.full((TAGS, TAGS), -np.inf)
    for (before, after), weight in STEPS.items():
        steps[before, after] = np.log(weight)
    best, back = scores[0], []
    for now in scores[1:]:
        paths = best[:, None] + steps + now
        back.append(paths.argmax(axis=0))
        best = paths.max(axis=0)
    tags = [int(best.argmax())]
    for came_from in reversed(back):
        tags.append(int(came_from[tags[-1]]))
    return tags[::-1]


def decode(words, probabilities):
    """Return (mean log-probability, text) of each run of tags inside. Fault: the text is the cleaned one."""
    scores = np.log(np.maximum(probabilities[: len(words)], 1e-30))  # (T, TAGS)
    tags, found, start = viterbi(scores), [], 0
    for inside, run in itertools.groupby(tag != OUTSIDE for tag in tags):
        end = start + len(list(run))
        if inside:
            mean = np.mean([scores[t, tags[t]] for t in range(start, end)])
            found.append((mean, "".join(words[start:end])))
        start = end
    return found


def score(documents, texts, probabilities):
    """Return the share of texts whose answer, the span with the highest mean, is right; and the contest score."""
    right = total = 0.0
    for document, words, rows in zip(documents, texts, probabilities, strict=True):
        found = [(mean, squeeze(text)) for mean, text in decode(words, rows)]
        right += bool(found) and max(found)[1] in document.answers
        total += contest_score((text for _, text in found), document.answers)
    return {"top1": right / len(documents), "contest": total / len(documents)}


if __name__ == "__main__":
    main()
