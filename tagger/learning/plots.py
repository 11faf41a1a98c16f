"""Training curves and rounds of self-training, as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagger.errors import require


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and dev F1 over the epochs as a picture."""
    require("matplotlib", "train").use("Agg")
    from matplotlib import pyplot

    epochs = [row["epoch"] for row in history]
    figure, left = pyplot.subplots(figsize=(7, 4), layout="constrained")
    right = left.twinx()
    left.plot(epochs, [row["loss"] for row in history], color="tab:gray", label="loss")
    right.plot(epochs, [100 * row["f1"] for row in history], color="tab:blue", label="dev entity F1")
    if all("top1" in row for row in history):
        right.plot(epochs, [100 * row["top1"] for row in history], color="tab:orange", label="dev top-1")
    left.set(xlabel="epoch", ylabel="training loss per unit")
    right.set(ylabel="%", ylim=(0, 100))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_rounds(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the scores on dev over the rounds as a picture."""
    require("matplotlib", "train").use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    shown = {"precision": "precision", "recall": "recall", "f1": "entity F1", "top1": "top-1"}
    for name, told in shown.items():
        if all(name in row for row in history):
            axes.plot([row["round"] for row in history], [100 * row[name] for row in history], marker="o", label=told)
    axes.set(xlabel="round", ylabel="dev, %", xticks=[row["round"] for row in history])
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
