"""What dev says of a trained tagger: how it decodes best, how probable its entities are, and its scores."""

import itertools
from pathlib import Path
from typing import Any

from tagger import corpus
from tagger.calibration import Calibration, Calibrator
from tagger.config import Config
from tagger.groups import grouped
from tagger.pipeline import Tagger
from tagger.score import Scores

_THRESHOLDS = (0.35, 0.4, 0.45, 0.5)  # of minimum-risk decoding

_GAIN = 0.003  # of F1, over that of best paths: less may be chance


def shows_contest(config: Config) -> bool | None:
    """Return True if epochs are chosen by a score of the contest, None if its scores depend on the corpus."""
    return True if config.training.metric in ("top1", "contest") else None


def calibrate(tagger: Tagger, dev: Path) -> dict[str, Any]:
    """Fit the calibration of a trained tagger on dev, and return its scores there, as `Scores.to_dict`."""
    tagger.calibration = Calibration(threshold=best_threshold(tagger, dev))
    calibrator = Calibrator(tagger.calibration.threshold)
    documents, copies = itertools.tee(corpus.read(dev))
    results = tagger.results((document.text for document in copies), answers=False)
    for document, result in zip(documents, results, strict=True):
        calibrator.add(document, result.entities)
    tagger.calibration = calibrator.fit()
    return tagger.evaluate(corpus.read(dev)).to_dict(shows_contest(tagger.config))


def best_threshold(tagger: Tagger, dev: Path) -> float:
    """Return the threshold of minimum-risk decoding with which a tagger finds most on dev; 0 if it gains too little."""
    if tagger.config.decode.spans != "auto" or tagger.config.decode.score == "mean":
        return 0.0
    found = {threshold: Scores() for threshold in (0.0, *_THRESHOLDS)}
    for documents in grouped(corpus.read(dev), lambda document: len(document.text)):
        units = [tagger.units(document.text) for document in documents]
        scores = tagger.scores(units)
        for threshold, counts in found.items():
            tagger.calibration = Calibration(threshold=threshold)
            for document, result in zip(documents, tagger.decode(units, scores), strict=True):
                counts.add(document, result.entities)
    best = max(found, key=lambda threshold: found[threshold].f1)
    return best if found[best].f1 - found[0.0].f1 > _GAIN else 0.0
