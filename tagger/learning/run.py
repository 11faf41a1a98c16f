"""The run folder: where a training keeps its work until the bundle is written, and how an interrupted one resumes.

`run.json` holds the settings and the SHA-256 of every input file; a run is resumed only with the same ones, on any
device.
"""

import contextlib
import fnmatch
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagger import corpus
from tagger.config import Config
from tagger.errors import TrainingError
from tagger.files import sha256
from tagger.files.arrays import read_arrays
from tagger.files.outputs import MANIFEST, atomic_file, damaged_file, write_json
from tagger.progress import Stages

_RECORD, _CHECKPOINT = "run.json", "checkpoint.npz"

DECIDED = "decided.json"  # what "auto" became

BEGINNING = "start.json"  # what the run begins with

_PATIENCE = 90  # seconds in which a file must appear that another machine has written

PROGRESS = "progress.json"  # how far the epochs are, for other processes to read

# Settings that say on what a run is computed, not what: a run begun on a graphics card may go on without one.
_DEVICE_SETTINGS = ("gpu", "gpu_memory_growth", "gpu_memory_mib")

# Names of what a run leaves when it is killed, and of all that it keeps in its folder.
_LEFT = (".*.part.*", ".*.lock", "tmp*")
_KEPT = (
    _RECORD, _CHECKPOINT, DECIDED, "tables", "vectors.json", "store", PROGRESS, "texts.jsonl.gz", "pretrained",
    "pretrained.*", "round_*", "rounds.json", "rounds.png", "teacher_*", "posteriors", "student", "student.*",
    BEGINNING, *_LEFT,
)  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """The files that a training reads.

    Args:
        train: Labelled corpus.
        dev: Labelled corpus on which each epoch is scored; the best epoch is kept.
        unlabelled: More text to learn the vectors from.
        predicted: Texts labelled by a teacher, added to the labelled ones.
        weight: Weight of a predicted text in the loss; that of a labelled one is 1.
        posteriors: Folder of what teachers believe of the labelled texts, of their lists and of the predicted texts, in
            this order.
        vectors: Bundle whose vectors are used instead of new ones.
        start: Bundle whose network is trained further instead of a new one; its vectors are those of `vectors`.
        extend: Whether words of the texts that these vectors lack get some.
        teachers: Bundles that teach (distillation).
    """

    train: Path
    dev: Path
    unlabelled: tuple[Path, ...] = ()
    predicted: Path | None = None
    weight: float = 1.0
    posteriors: Path | None = None
    vectors: Path | None = None
    start: Path | None = None
    extend: bool = False
    teachers: tuple[Path, ...] = ()

    @property
    def vector_texts(self) -> tuple[Path, ...]:
        """The files that vectors are learnt from."""
        return (self.train, *self.unlabelled)

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """All files and bundles that are read; None for what is not given."""
        return (*self.vector_texts, self.dev, self.predicted, self.vectors, self.start, *self.teachers)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each corpus and bundle by its path."""
        predicted = [self.predicted] if self.predicted else []
        return fingerprint([*self.vector_texts, self.dev, *predicted], [self.vectors, self.start, *self.teachers])


@dataclass(frozen=True)
class TextSources:
    """The files that pretraining reads: texts, whose labels are ignored.

    Args:
        vector_texts: Files that the vectors are learnt from, at least one.
        vectors, start, extend: As in `Sources`.
    """

    vector_texts: tuple[Path, ...]
    vectors: Path | None = None
    start: Path | None = None
    extend: bool = False

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """All files and bundles that are read; None for what is not given."""
        return (*self.vector_texts, self.vectors, self.start)

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of each corpus and bundle by its path."""
        return fingerprint(self.vector_texts, [self.vectors, self.start])


def fingerprint(corpora: Iterable[Path], bundle_folders: Iterable[Path | None]) -> dict[str, str]:
    """Return the SHA-256 of each corpus and of the manifest of each bundle, by path.

    A corpus of several files has the hash of their hashes.

    Raises:
        TrainingError: If a file is missing.
    """
    manifests = [folder / MANIFEST for folder in bundle_folders if folder]
    files = {str(path): corpus.files(path) for path in [*corpora, *manifests]}
    for path, parts in files.items():
        if not parts:
            raise TrainingError(f"{path}: no such file")
    return {path: _hash_of(parts) for path, parts in files.items()}


def _hash_of(files: list[Path]) -> str:
    hashes = [sha256(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def finish(bundle: Path, title: str, run: Callable[[Path], object], stages: Stages) -> None:
    """Run what writes a bundle, as a stage, or continue it, unless the bundle is there."""
    if not bundle.exists():
        stages.begin(title)
        run(bundle)
        stages.end()
    # Of a run that was killed after the bundle was written, and before its run folder was removed.
    shutil.rmtree(run_folder_of(bundle), ignore_errors=True)


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
        """Return the saved state, or None if there is none.

        Raises:
            TrainingError: If it is damaged.
        """
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return None
        if (arrays := read_arrays(path)) is None:
            raise _damaged(self.folder, _CHECKPOINT)
        return arrays

    def holds(self, name: str) -> bool:
        """Return whether a folder inside, which was written whole, is there.

        Raises:
            TrainingError: If one of its files has changed since.
        """
        folder = self.folder / name
        if not folder.exists():
            return False
        if file := damaged_file(folder):
            raise _damaged(self.folder, f"{name}/{file}")
        return True

    def report_progress(self, epoch: int, epochs: int, f1: float | None, seconds_left: float | None) -> None:
        """Write down how far the training is: epochs done of all, the best F1 on dev so far, and the time left."""
        figures = {"epoch": epoch, "epochs": epochs, "f1": f1, "seconds_left": seconds_left}
        write_json(self.folder / PROGRESS, figures)

    def remove(self) -> None:
        """Delete what the run kept, and the folder if nothing else is in it."""
        _delete(self.folder, _KEPT)


class JoinedRun(RunFolder):
    """The folder of a run that another process has begun and goes on to write.

    Args:
        folder: On a file system that both processes reach.
        config: Settings that this process was given.

    Raises:
        TrainingError: If it is not there, or the run has other settings.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        record = folder / _RECORD
        for _ in range(_PATIENCE):  # some network file systems show new files late
            if record.exists():
                break
            time.sleep(1)
        else:
            raise TrainingError(
                f"{folder}: is not there, although the chief has written it; all workers need a folder that they share"
            )
        if read_record(record)["config"] != config.to_dict():
            raise TrainingError(f"{folder}: the chief has other settings than this worker; give all of them the same")


def read_record(path: Path) -> Any:
    """Return the content of a JSON file in a run folder.

    Raises:
        TrainingError: If it is damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path.parent, path.name) from error


def _damaged(folder: Path, name: str) -> TrainingError:
    return TrainingError(f"{folder}: {name} is damaged; delete the folder and start again")


def clear(folder: Path) -> None:
    """Delete the folder of a run, if it is there.

    Raises:
        TrainingError: If it holds anything that no run left there.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise TrainingError(f"{folder}: is a file, and the run needs a folder of this name; move it elsewhere")
    names = [entry.name for entry in folder.iterdir() if not _is_one_of(entry, _LEFT)]
    if names:
        record = read_record(folder / _RECORD) if _RECORD in names else None
        ours = isinstance(record, dict) and record.keys() == {"config", "files"}
        stranger = next((name for name in names if not (ours and _is_one_of(Path(name), _KEPT))), None)
        if stranger:
            raise TrainingError(f"{folder}: holds {stranger}, which no training left there; move it elsewhere")
    _delete(folder, _KEPT)


def _is_one_of(path: Path, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)


def _delete(folder: Path, patterns: Iterable[str]) -> None:
    """Delete what is named so in a folder, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if not _is_one_of(entry, patterns):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        folder.rmdir()


def _same_everywhere(record: Any) -> Any:
    """Return the content of `run.json` without the settings of the device; anything else as it is."""
    try:
        config = record["config"]
        training = {key: value for key, value in config["training"].items() if key not in _DEVICE_SETTINGS}
        return {**record, "config": {**config, "training": training}}
    except (TypeError, KeyError, AttributeError):
        return record


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
    record = folder / _RECORD
    if record.exists() and resume:
        if _same_everywhere(read_record(record)) != _same_everywhere(identity):
            raise TrainingError(f"{folder}: was started with other settings or files; use those, or delete the folder")
        _delete(folder, _LEFT)
        return hashes
    if any(file for pattern in unfinished for file in folder.glob(pattern)):
        raise TrainingError(f"{folder}: holds an interrupted training; add --resume to continue, or delete the folder")
    clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, identity)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error.strerror}") from error
    return hashes
