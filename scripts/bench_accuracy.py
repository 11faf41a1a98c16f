"""Train three systems on every corpus, over seeds: how good, how sure, how long, how large.

`contest` is `tagger train --config contest` for 60 epochs, its vectors learnt from the training texts alone.
`default` is `tagger train --config default` with vectors that were learnt once, before, by `tagger vectors` from the
training texts of all corpora and the unlabelled texts, without any dev text; that takes two threads, so it does not
repeat to the bit, and its time stands apart.
`crfsuite` is a CRF without a network (python-crfsuite: L-BFGS, c1 = c2 = 0.1, at most 100 iterations) over characters
with the usual features; see `features`. It has no seed, so it runs once.

Scores are entity precision, recall and F1 (strict: start, end and label), on dev. For `contest` and `default` they are
those of the bundle's metrics.json: dev also picks their epoch, and the probabilities of `default` are calibrated on it.
`crfsuite` uses no dev text. Top-1 is the share of texts whose most probable entity is an answer; where nothing was
found, all three name their most probable span. An entity of `crfsuite` has the least of its tags' marginals.

Each training is a process of its own. Seconds are those of that process, from its start to the finished model; it
reads and segments, and the presets also score dev after each epoch. `crfsuite` is scored by another process, which
does not count. Peak memory is that of the process. The model's size is that of the bundle's folder or of the model
file, in millions of bytes. Spreads are sample standard deviations over seeds; reliability counts the entities of all
seeds together.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benching import (
    PROJECT,
    add_data_option,
    between_markers,
    corpus_file,
    fill_readme,
    keep_run,
    kept_figures,
    machine,
    markdown,
    mean_and_spread,
    plain,
    run_measured,
    say,
    seed_list,
    to_make,
    train_command,
    write_json,
)

SYSTEMS = ("contest", "default", "crfsuite")
SEEDS, FEWER_SEEDS = [1, 2, 3], {"msra": [1]}
NO_SEED = None
TOP1_OF = "core2016"  # the corpus that has answers

# What the table shows: key in a run's figures, heading, how a value is written.
COLUMNS = [
    ("f1", "entity F1", ".4f"),
    ("top1", "top-1", ".4f"),
    ("total_seconds", "seconds", ".0f"),
    ("peak_mb", "peak memory, MB", ".0f"),
    ("size_mb", "model, MB", ".1f"),
]


def main():
    options = parse_arguments()
    if options.crfsuite_train:
        train_crfsuite(*options.crfsuite_train)
        return
    if options.crfsuite_score:
        score_crfsuite(*options.crfsuite_score)
        return
    figures = load_figures(options)
    for corpus, system, seed in planned(options, figures["runs"]):
        if system == "default":
            learn_vectors(options, figures)
        say(f"== {corpus}: {system}" + ("" if seed is NO_SEED else f", seed {seed}"))
        with tempfile.TemporaryDirectory(prefix="bench_accuracy_") as folder:
            measured = measure(options, corpus, system, seed, Path(folder))
        run = {"corpus": corpus, "system": system, "seed": seed, **measured}
        keep_run(options.out, figures, run, key)
    rows, reliability, note = accuracy_rows(figures["runs"]), reliability_rows(figures["runs"]), vectors_note(figures)
    print("\n\n".join(filter(None, (plain(rows), plain(reliability), note))))
    if options.readme:
        fill_readme(
            "bench_accuracy",
            PROJECT / "README.md",
            "\n\n".join(filter(None, (markdown(rows), note, markdown(reliability)))),
        )
    say(f"figures: {options.out}")


def parse_arguments():
    about = "Train the two presets and a CRF without a network on every corpus, over seeds."
    parser = argparse.ArgumentParser("bench_accuracy", description=about)
    out, vectors = PROJECT / "bench-out" / "accuracy.json", PROJECT / "bench-out" / "vectors"
    add_data_option(parser, "corpora, each with train.jsonl and dev.jsonl, and unlabelled/*.gz")
    parser.add_argument("--corpora", type=name_list, metavar="A,B", help="some of them (default: all)")
    parser.add_argument("--systems", type=name_list, default=SYSTEMS, metavar="A,B", help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--seeds", type=seed_list, metavar="1,2,3", help="a run of each (default: 1,2,3; for msra 1)")
    parser.add_argument(
        "--vectors", type=Path, default=vectors, metavar="DIR", help="of default; learnt if absent (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=out, metavar="F", help="figures, as JSON (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="also make the runs that F has already")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md, between its markers")
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)  # of contest and default, to try the bench
    parser.add_argument("--crfsuite-train", nargs=2, type=Path, help=argparse.SUPPRESS)  # corpus, model to write
    parser.add_argument(
        "--crfsuite-score", nargs=3, type=Path, help=argparse.SUPPRESS
    )  # model, corpus, scores to write
    options = parser.parse_args()
    if not (options.crfsuite_train or options.crfsuite_score):
        check(parser, options)
    return options


def name_list(given):
    return given.split(",")


def check(parser, options):
    """Stop where the options do not fit what there is, before anything is trained."""
    there = corpora(options.data)
    if not there:
        parser.error(f"{options.data}: no corpora; give the data with --data or TAGGER_DATA")
    options.corpora = options.corpora or there
    for given, known in ((options.corpora, there), (options.systems, SYSTEMS)):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is none of: {', '.join(known)}")
    if options.readme:
        between_markers("bench_accuracy", PROJECT / "README.md")


def corpora(data):
    """Return the names of the folders that hold a train.jsonl and a dev.jsonl."""
    return sorted(
        file.parent.name for file in data.glob("*/train.jsonl") if corpus_file(data, file.parent.name, "dev").is_file()
    )


def load_figures(options):
    """Return what the file of figures holds, or that no run was made."""
    settings = {"data": str(options.data.resolve()), "vectors": str(options.vectors.resolve())}
    settings["epochs"] = options.epochs
    return kept_figures(options.out, settings, machine("tensorflow", "keras", "gensim", "numpy", "python-crfsuite"))


def planned(options, runs):
    """Return corpus, system and seed of each run that is to be made."""
    wanted = []
    for corpus in options.corpora:
        for system in options.systems:
            seeds = options.seeds or FEWER_SEEDS.get(corpus, SEEDS)
            wanted += [(corpus, system, seed) for seed in ([NO_SEED] if system == "crfsuite" else seeds)]
    return wanted if options.again else to_make(wanted, runs, key)


def key(run):
    return run["corpus"], run["system"], run["seed"]


# ---- measuring --------------------------------------------------------------------------------------------------


def learn_vectors(options, figures):
    """Learn the vectors of `default`, if they are not there, and note what that took."""
    if options.vectors.is_dir():
        return
    texts = [corpus_file(options.data, corpus, "train") for corpus in corpora(options.data)]
    texts += sorted((options.data.resolve() / "unlabelled").glob("*.gz"))
    say(f"== vectors of {len(texts)} files")
    out = options.vectors.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tagger.cli", "vectors", *texts, "--out", out, "--set", "vectors.workers=2"]
    figures["vectors"] = run_measured(command)
    write_json(options.out, figures)


def measure(options, corpus, system, seed, folder):
    """Train a system on a corpus and return its scores on dev, and what it took."""
    train, dev = (corpus_file(options.data, corpus, name) for name in ("train", "dev"))
    if system == "crfsuite":
        scores, costs = measure_crfsuite(train, dev, folder)
    else:
        epochs = options.epochs or (60 if system == "contest" else None)
        more = ["--set", f"training.epochs={epochs}"] if epochs else []
        more += ["--set", f"vectors.pretrained={options.vectors.resolve()}"] if system == "default" else []
        bundle = folder / "bundle"
        costs = run_measured(train_command(system, train, dev, bundle, seed, *more))
        scores = json.loads((bundle / "metrics.json").read_text("utf-8"))
        costs["size_mb"] = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6
    names = ["precision", "recall", "f1", *(["top1"] if corpus == TOP1_OF else []), "reliability", "epoch"]
    return {name: scores[name] for name in names if name in scores} | costs


def measure_crfsuite(train, dev, folder):
    this, model, scores = [sys.executable, "-W", "ignore", __file__], folder / "model", folder / "scores.json"
    costs = run_measured([*this, "--crfsuite-train", train, model])
    run_measured([*this, "--crfsuite-score", model, dev, scores])
    return json.loads(scores.read_text("utf-8")), {**costs, "size_mb": model.stat().st_size / 1e6}


# ---- tables: lists of rows, the first one the heading -----------------------------------------------------------


def grouped(runs):
    """Return the runs of each corpus and system, in the order of the tables."""
    pairs = sorted({(run["corpus"], SYSTEMS.index(run["system"])) for run in runs})
    return {
        (corpus, SYSTEMS[number]): [run for run in runs if key(run)[:2] == (corpus, SYSTEMS[number])]
        for corpus, number in pairs
    }


def accuracy_rows(runs):
    """Return mean and spread of the figures, a row for each corpus and system."""
    rows = [("corpus", "system", "seeds", *(heading for _, heading, _ in COLUMNS))]
    for (corpus, system), some in grouped(runs).items():
        cells = [mean_and_spread([run[name] for run in some if name in run], form) for name, _, form in COLUMNS]
        seeds = "none: it repeats" if some[0]["seed"] is NO_SEED else str(len(some))
        rows.append((corpus, system, seeds, *cells))
    return rows


def reliability_rows(runs):
    """Return how many of the entities that `default` gives 0.5 to 0.6, 0.6 to 0.7, ... are right, for each corpus."""
    tenths = (0.5, 0.6, 0.7, 0.8, 0.9)
    rows = [("right, of entities given", *(f"{tenth:.1f} to {tenth + 0.1:.1f}" for tenth in tenths))]
    for (corpus, system), some in grouped(runs).items():
        if system == "default":
            found = [row for run in some for row in run.get("reliability", ())]
            rows.append((corpus, *(share([row for row in found if row["from"] == tenth]) for tenth in tenths)))
    return rows if len(rows) > 1 else []


def share(rows):
    """Return the share of right entities in some rows of `Reliability`, as text."""
    found = sum(row["predicted"] for row in rows)
    return (
        f"{100 * sum(row['predicted'] * row['accuracy'] for row in rows) / found:.1f} % of {found:,}" if found else "-"
    )


def vectors_note(figures):
    took = figures.get("vectors")
    return took and f"Vectors of `default`, learnt once: {took['total_seconds']:.0f} s, {took['peak_mb']:.0f} MB."


# ---- the CRF without a network, in processes of its own ---------------------------------------------------------


def train_crfsuite(corpus, model):
    """Train on a corpus and write the model's file."""
    import pycrfsuite

    from tagger.corpus import labels, read
    from tagger.tags import TagScheme, UnitSpan

    scheme = TagScheme(labels(read(corpus)))
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True})
    say("crfsuite: features")
    for document in read(corpus):
        if document.text:
            spans = [UnitSpan(start, end, scheme.labels.index(label)) for start, end, label in document.entities]
            tags = scheme.encode(spans, len(document.text))
            trainer.append(features(document.text), [scheme.names[tag] for tag in tags])
    say("crfsuite: training")
    trainer.train(str(model))


def score_crfsuite(model, corpus, out):
    """Write the scores of a trained model on a corpus."""
    import pycrfsuite

    from tagger.corpus import read
    from tagger.score import Scores
    from tagger.tags import TagScheme

    tagger = pycrfsuite.Tagger()
    tagger.open(str(model))
    scheme = TagScheme(tuple(sorted({name[2:] for name in tagger.labels() if name != "O"})))
    scores = Scores()
    for document in read(corpus):
        scores.add(document, *found_by(tagger, scheme, document.text))
    write_json(out, scores.to_dict())


def found_by(tagger, scheme, text):
    """Return the entities of a text and the most probable one, which is also there where none was found."""
    import numpy as np

    from tagger.documents import Entity

    if not text:
        return [], None
    known = set(tagger.labels())
    path = [scheme.names.index(name) for name in tagger.tag(features(text))]
    marginals = np.array(
        [[tagger.marginal(name, t) if name in known else 0.0 for name in scheme.names] for t in range(len(text))]
    )

    def entity(start, end, label):
        tags = scheme.encode([(0, end - start, label)], end - start)
        least = marginals[np.arange(start, end), tags].min()
        return Entity(start, end, scheme.labels[label], text[start:end], float(least))

    entities = [entity(*span) for span in scheme.decode(path)]
    return entities, max(entities or [entity(*likeliest(marginals, scheme))], key=lambda e: e.score)


def likeliest(marginals, scheme, longest=24):
    """Return the span whose least marginal is largest, of at most so many characters."""
    from tagger.tags import FIRST, LAST, MIDDLE, SINGLE, UnitSpan

    best, found = -1.0, None
    for label in range(len(scheme.labels)):
        single, first, middle, last = (
            marginals[:, scheme.tag(label, part)].tolist() for part in (SINGLE, FIRST, MIDDLE, LAST)
        )
        for start in range(len(single)):
            if single[start] > best:
                best, found = single[start], UnitSpan(start, start + 1, label)
            least = first[start]
            for end in range(start + 2, min(start + longest, len(single)) + 1):
                if min(least, last[end - 1]) > best:
                    best, found = min(least, last[end - 1]), UnitSpan(start, end, label)
                least = min(least, middle[end - 1])
    return found


def features(text):
    """Return the features of each character of a text, lists of strings.

    Characters and pairs of them up to two away, which of them are equal, their kinds; the jieba word around the
    character, its length, its part of speech and the character's place in it; the words before and after.
    """
    from tagger.text import normal

    text = normal(text)
    around = ["<2", "<1", *text, ">1", ">2"]
    kinds = [kind(character) for character in around]
    made = []
    for at, of_word in enumerate(word_features(text)):
        two_before, before, now, after, two_after = around[at : at + 5]
        before_kind, now_kind, after_kind = kinds[at + 1 : at + 4]
        made.append([
            f"c-2={two_before}", f"c-1={before}", f"c={now}", f"c+1={after}", f"c+2={two_after}",
            f"c-2-1={two_before}{before}", f"c-1c={before}{now}", f"cc+1={now}{after}", f"c+1+2={after}{two_after}",
            f"c-1+1={before}/{after}",
            f"same={now == before:d}{now == after:d}{before == after:d}{now == two_before:d}{now == two_after:d}",
            f"k-1={before_kind}", f"k={now_kind}", f"k+1={after_kind}", f"k3={before_kind}{now_kind}{after_kind}",
            f"k5={''.join(kinds[at : at + 5])}",
            *of_word,
        ])  # fmt: skip
    return made


def word_features(text):
    """Yield the features that each character of a text has from jieba's words."""
    words = [("<", "<"), *jieba_words(text), (">", ">")]
    for (before, before_tag), (word, tag), (after, after_tag) in zip(words, words[1:], words[2:], strict=False):
        of_word = [
            f"w={word}", f"w-1={before}", f"w+1={after}", f"w-1w={before}/{word}", f"ww+1={word}/{after}",
            f"n={min(len(word), 6)}", f"p={tag}", f"p-1={before_tag}", f"p+1={after_tag}",
            f"p3={before_tag}/{tag}/{after_tag}",
        ]  # fmt: skip
        for at, character in enumerate(word):
            place = "S" if len(word) == 1 else "B" if at == 0 else "E" if at == len(word) - 1 else "M"
            of_place = [f"s={place}", f"sc={place}{character}", f"sp={place}{tag}", f"sn={place}{min(len(word), 6)}"]
            yield [*of_word, *of_place]


def jieba_words(text):
    """Return jieba's words and their parts of speech; new words, such as names, are guessed, as jieba does it."""
    import logging

    import jieba.posseg

    jieba.setLogLevel(logging.WARNING)
    return [(pair.word, pair.flag) for pair in jieba.posseg.cut(text)]


def kind(character):
    """Return D for a digit, L for a Latin letter, H for a Han character, P for anything else; edges are themselves."""
    if len(character) > 1:
        return character[0]
    if character.isdecimal():
        return "D"
    if character.isascii() and character.isalpha():
        return "L"
    return "H" if "\u3400" <= character <= "\u9fff" or character >= "\U00020000" else "P"


if __name__ == "__main__":
    main()
