"""Pictures of a training's curves and of the rounds of self-training, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagger.errors import require


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw training loss and scores on dev over the epochs."""
    figure, loss_axes = _figure()
    score_axes = loss_axes.twinx()
    epochs = [row["epoch"] for row in history]
    loss_axes.plot(epochs, [row["loss"] for row in history], color="tab:gray", label="loss")
    score_axes.plot(epochs, [100 * row["f1"] for row in history], color="tab:blue", label="dev entity F1")
    if all("top1" in row for row in history):
        score_axes.plot(epochs, [100 * row["top1"] for row in history], color="tab:orange", label="dev top-1")
    loss_axes.set(xlabel="epoch", ylabel="training loss per unit")
    score_axes.set(ylabel="%", ylim=(0, 100))
    _save(figure, path)


def draw_rounds(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the scores on dev over the rounds."""
    figure, axes = _figure()
    rounds = [row["round"] for row in history]
    for key, name in {"precision": "precision", "recall": "recall", "f1": "entity F1", "top1": "top-1"}.items():
        if all(key in row for row in history):
            axes.plot(rounds, [100 * row[key] for row in history], marker="o", label=name)
    axes.set(xlabel="round", ylabel="dev, %", xticks=rounds)
    _save(figure, path)


def _figure() -> tuple[Any, Any]:
    """Return a figure and its axes."""
    require("matplotlib", "train").use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(7, 4), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
