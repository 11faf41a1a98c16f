"""The run folder: where a training keeps its work until the bundle is written, and how an interrupted one resumes.

`run.json` holds the settings and the SHA-256 of every input file; a run is resumed only with the same ones.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tagger import bundle as bundles
from tagger import corpus
from tagger.config import Config
from tagger.errors import TrainingError
from tagger.files import atomic_file, sha256, write_json

_CHECKPOINT = "checkpoint.npz"

PROGRESS = "progress.json"  # how far the epochs are, for other processes to read


@dataclass(frozen=True)
class Sources:
    """The files that a training reads.

    Args:
        train: Labelled corpus.
        dev: Labelled corpus on which each epoch is scored; the best epoch is kept.
        unlabelled: More text to learn the vectors from.
        predicted: Texts labelled by a teacher, added to the labelled ones.
        weight: Weight of a predicted text in the loss; that of a labelled one is 1.
        vectors: Bundle whose vectors are used instead of new ones.
        start: Bundle whose network is trained further instead of a new one; its vectors are those of `vectors`.
    """

    train: Path
    dev: Path
    unlabelled: tuple[Path, ...] = ()
    predicted: Path | None = None
    weight: float = 1.0
    vectors: Path | None = None
    start: Path | None = None

    @property
    def vector_texts(self) -> tuple[Path, ...]:
        """The files that vectors are learnt from."""
        return (self.train, *self.unlabelled)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each corpus and bundle by its path."""
        predicted = [self.predicted] if self.predicted else []
        return fingerprint([*self.vector_texts, self.dev, *predicted], [self.vectors, self.start])


@dataclass(frozen=True)
class TextSources:
    """The files that pretraining reads: texts, whose labels are ignored.

    Args:
        vector_texts: Files that the vectors are learnt from, at least one.
        start: Bundle whose vectors and network are used instead of new ones.
    """

    vector_texts: tuple[Path, ...]
    start: Path | None = None

    @property
    def vectors(self) -> Path | None:
        """Bundle whose vectors are used instead of new ones."""
        return self.start

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each corpus and bundle by its path."""
        return fingerprint(self.vector_texts, [self.start])


def fingerprint(corpora: Iterable[Path], bundle_folders: Iterable[Path | None]) -> dict[str, str]:
    """Return the SHA-256 of each corpus and of the manifest of each bundle, by path.

    A corpus of several files has the hash of their hashes.

    Raises:
        TrainingError: If a file is missing.
    """
    manifests = [folder / bundles.MANIFEST for folder in bundle_folders if folder]
    files = {str(path): corpus.files(path) for path in [*corpora, *manifests]}
    for path, parts in files.items():
        if not parts:
            raise TrainingError(f"{path}: no such file")
    return {path: _hash_of(parts) for path, parts in files.items()}


def _hash_of(files: list[Path]) -> str:
    hashes = [sha256(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def run_folder_of(bundle: Path) -> Path:
    """Return the folder in which the training that writes this bundle keeps its work, `BUNDLE.training`."""
    return bundle.with_name(bundle.name + ".training")


class RunFolder:
    """The folder of one training run.

    Args:
        folder: Created if absent.
        config, sources: Settings and files of this run; a resumed run must have the same.
        resume: Whether to continue what is there.

    Attributes:
        hashes: SHA-256 of each input file by its path.

    Raises:
        TrainingError: As `claim` does.
    """

    def __init__(self, folder: Path, config: Config, sources: Sources | TextSources, resume: bool) -> None:
        self.folder = folder
        self.hashes = claim(folder, config, sources, resume, _CHECKPOINT)

    def save_checkpoint(self, arrays: dict[str, np.ndarray]) -> None:
        """Save the state after an epoch, in place of the previous one."""
        with atomic_file(self.folder / _CHECKPOINT) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def load_checkpoint(self) -> dict[str, np.ndarray] | None:
        """Return the saved state, or None if there is none."""
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def report_progress(self, epoch: int, epochs: int, f1: float | None, seconds_left: float | None) -> None:
        """Write down how far the training is: epochs done of all, the best F1 on dev so far, and the time left."""
        figures = {"epoch": epoch, "epochs": epochs, "f1": f1, "seconds_left": seconds_left}
        write_json(self.folder / PROGRESS, figures)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def claim(
    folder: Path, config: Config, sources: Sources | TextSources, resume: bool, *unfinished: str
) -> dict[str, str]:
    """Take a folder for a run with these files and settings: an empty folder, or that of an interrupted run.

    Args:
        folder: Created if absent; emptied unless it is resumed.
        config, sources: Of this run; a resumed run must have the same.
        resume: Whether to continue what is there.
        unfinished: Patterns of files that are worth resuming; they are never deleted.

    Returns:
        The SHA-256 of each file, by its path.

    Raises:
        TrainingError: If the folder belongs to a run with other settings or files, if it holds unfinished work and
            `resume` is false, or if it cannot be written.
    """
    hashes = sources.fingerprint()
    identity = {"config": config.to_dict(), "files": hashes}
    record = folder / "run.json"
    if record.exists() and resume:
        if json.loads(record.read_text("utf-8")) != identity:
            raise TrainingError(f"{folder}: was started with other settings or files; use those, or delete the folder")
        return hashes
    if any(file for pattern in unfinished for file in folder.glob(pattern)):
        raise TrainingError(f"{folder}: holds an interrupted training; add --resume to continue, or delete the folder")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(record, identity)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    return hashes
