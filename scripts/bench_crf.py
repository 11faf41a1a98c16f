"""A CRF without a network, python-crfsuite over characters, as a baseline: train and score it.

    python bench_crf.py train CORPUS MODEL          train on a corpus and write the model's file
    python bench_crf.py score MODEL CORPUS SCORES   write the scores of a model on a corpus, as JSON

L-BFGS, c1 = c2 = 0.1, at most 100 iterations, and the usual features: see `features`. It has no seed.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jieba.posseg
import numpy as np
import pycrfsuite
from benching import say, write_json

from tagger.corpus import labels, read
from tagger.documents import Entity
from tagger.score import Scores
from tagger.tags import FIRST, LAST, MIDDLE, SINGLE, TagScheme, UnitSpan
from tagger.text import normal

LONGEST = 24  # characters of a span that `most_probable_span` considers


def main() -> None:
    """Train or score, as the arguments say."""
    jobs: dict[str, Callable[..., None]] = {"train": train, "score": score}
    verb, *paths = sys.argv[1:]
    jobs[verb](*map(Path, paths))


def train(corpus: Path, model: Path) -> None:
    """Train on a corpus and write the model's file."""
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


def score(model: Path, corpus: Path, out: Path) -> None:
    """Write the scores of a trained model on a corpus."""
    tagger, scheme = load(model)
    scores = Scores()
    for document in read(corpus):
        scores.add(document, *predict(tagger, scheme, document.text))
    write_json(out, scores.to_dict())


def load(model: Path) -> tuple[Any, TagScheme]:
    """Return a trained model, and the scheme of its labels."""
    tagger = pycrfsuite.Tagger()
    tagger.open(str(model))
    return tagger, TagScheme(tuple(sorted({name[2:] for name in tagger.labels() if name != "O"})))


def predict(tagger: Any, scheme: TagScheme, text: str) -> tuple[list[Entity], Entity | None]:
    """Return the entities of a text, and the most probable span, which is there even if nothing was predicted.

    The probability of an entity is the least of its tags' marginals.
    """
    if not text:
        return [], None
    known = set(tagger.labels())
    path = [scheme.names.index(name) for name in tagger.tag(features(text))]
    marginals = np.array(
        [[tagger.marginal(name, t) if name in known else 0.0 for name in scheme.names] for t in range(len(text))]
    )

    def entity(start: int, end: int, label: int) -> Entity:
        tags = scheme.encode([UnitSpan(0, end - start, label)], end - start)
        least = marginals[np.arange(start, end), tags].min()
        return Entity(start, end, scheme.labels[label], text[start:end], float(least))

    entities = [entity(*span) for span in scheme.decode(path)]
    candidates = entities or [entity(*most_probable_span(marginals, scheme))]
    return entities, max(candidates, key=lambda candidate: candidate.score)


def most_probable_span(marginals: np.ndarray, scheme: TagScheme) -> UnitSpan:
    """Return the span of at most LONGEST characters whose least marginal is largest, of (T, K) marginals."""
    highest, best = -1.0, UnitSpan(0, 1, 0)
    for label in range(len(scheme.labels)):
        single, first, middle, last = (
            marginals[:, scheme.tag(label, part)].tolist() for part in (SINGLE, FIRST, MIDDLE, LAST)
        )
        for start in range(len(single)):
            if single[start] > highest:
                highest, best = single[start], UnitSpan(start, start + 1, label)
            least = first[start]
            for end in range(start + 2, min(start + LONGEST, len(single)) + 1):
                if min(least, last[end - 1]) > highest:
                    highest, best = min(least, last[end - 1]), UnitSpan(start, end, label)
                least = min(least, middle[end - 1])
    return best


# ---- features ---------------------------------------------------------------------------------------------------


def features(text: str) -> list[list[str]]:
    """Return the features of each character of a text.

    Characters and bigrams of them up to two away, which of them are equal, their kinds; the jieba word around the
    character, its length, its part of speech and the character's place in it; the words before and after.
    """
    text = normal(text)
    context = ["<2", "<1", *text, ">1", ">2"]
    kinds = [kind(character) for character in context]
    rows = []
    for at, of_word in enumerate(word_features(text)):
        two_before, before, now, after, two_after = context[at : at + 5]
        before_kind, now_kind, after_kind = kinds[at + 1 : at + 4]
        rows.append([
            f"c-2={two_before}", f"c-1={before}", f"c={now}", f"c+1={after}", f"c+2={two_after}",
            f"c-2-1={two_before}{before}", f"c-1c={before}{now}", f"cc+1={now}{after}", f"c+1+2={after}{two_after}",
            f"c-1+1={before}/{after}",
            f"same={now == before:d}{now == after:d}{before == after:d}{now == two_before:d}{now == two_after:d}",
            f"k-1={before_kind}", f"k={now_kind}", f"k+1={after_kind}", f"k3={before_kind}{now_kind}{after_kind}",
            f"k5={''.join(kinds[at : at + 5])}",
            *of_word,
        ])  # fmt: skip
    return rows


def word_features(text: str) -> Iterator[list[str]]:
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


def jieba_words(text: str) -> list[tuple[str, str]]:
    """Return jieba's words and their parts of speech; unknown words, such as names, are guessed as jieba does it."""
    jieba.setLogLevel(logging.WARNING)
    return [(pair.word, pair.flag) for pair in jieba.posseg.cut(text)]


def kind(character: str) -> str:
    """Return D for a digit, L for a Latin letter, H for a Han character, P for others, and < or > past the ends."""
    if len(character) > 1:
        return character[0]
    if character.isdecimal():
        return "D"
    if character.isascii() and character.isalpha():
        return "L"
    return "H" if "\u3400" <= character <= "\u9fff" or character >= "\U00020000" else "P"


if __name__ == "__main__":
    main()
