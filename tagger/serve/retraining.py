"""Training on the corrections while the server goes on: a child process that writes a new bundle beside the old one."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tagger import bundle as bundles
from tagger import config, corpus
from tagger.bundle import settings_since
from tagger.default_bundle import GENERAL
from tagger.documents import Document, Notes
from tagger.errors import OutputError, TaggerError, TrainingError
from tagger.files.outputs import MANIFEST, atomic_file
from tagger.formats import write
from tagger.learning.run import PROGRESS, run_folder_of
from tagger.serve.queue import id_of

_STOP_SECONDS = 20  # for a training to keep its work

_NUMBER = re.compile(r"(?P<base>.+)\.(?P<number>[0-9]+)")

MISSING = {
    "corpora": "start the server with --train F and --dev F, the corpora that the bundle was trained on",
    "package": "training needs: pip install 'hantagger[train]'",
}


@dataclass(frozen=True)
class TrainingPlan:
    """What a training from the page learns from.

    Args:
        bundle: The bundle that the server was started with.
        train: Labelled corpora.
        dev: Labelled corpus on which each epoch is scored.
        settings: As of `--set`; the others are the bundle's.
        every: After how many corrected texts a training is offered; 0 for never.
    """

    bundle: Path
    train: tuple[Path, ...] = ()
    dev: Path | None = None
    settings: tuple[str, ...] = ()
    every: int = 50

    def missing(self) -> str:
        """Return what a training needs and has not got, a key of `MISSING`; "" if it has everything."""
        if not (self.train and self.dev):
            return "corpora"
        return "" if find_spec("tensorflow") else "package"

    def check(self) -> None:
        """Raise an error for what can be known before a training.

        Raises:
            ConfigError: If a setting does not exist or has a wrong value.
            TrainingError: If a corpus is missing.
        """
        config.load(str(self.bundle / "config.toml"), [*settings_since(self.bundle), *self.settings])
        for path in (*self.train, *([self.dev] if self.dev else [])):
            if not corpus.files(path):
                raise TrainingError(f"{path}: no such file")

    def arguments(self, start: Path, joined: Path, out: Path) -> list[str]:
        """Return the options of `tagger train`.

        The network and the vectors of the bundle are the start, unless a setting asks for others.
        """
        settings_file, older = start / "config.toml", settings_since(start)
        options = ["--train", str(joined), "--dev", str(self.dev), "--out", str(out), "--config", str(settings_file)]
        before, after = (config.load(str(settings_file), [*older, *given]) for given in ((), self.settings))
        if (before.text, before.vectors, before.model) == (after.text, after.vectors, after.model):
            options += ["--start", str(start)]
        # Which card the bundle was trained on says nothing of this machine, nor what it began with of these settings.
        for setting in ("training.gpu=auto", "training.start=auto", *older, *self.settings):
            options += ["--set", setting]
        return [*options, "--resume"]  # or begin: only `tagger train` knows how far it came


class Retraining:
    """At most one training at a time, in a child process.

    A training from bundle `B` writes `B.1`, or the next number that is free; the texts that it learns from lie in
    `B.1.train.jsonl` until it has succeeded, so that an interrupted one can be continued.

    Args:
        plan: What is learnt.
        corrections: The corpus file of corrections.
        finished: Called in a thread of its own with the folder of the new bundle; may raise `TaggerError`.

    Attributes:
        current: The bundle that the next training starts from.
        error: Why the last training failed, on one line; "" if it did not.
        trained: The bundle that the last training wrote; None if it failed or was interrupted.
        left_out: Corrected texts that the last training left out, since they are in the dev corpus.
    """

    def __init__(self, plan: TrainingPlan, corrections: Path, finished: Callable[[Path], None]) -> None:
        self.plan, self.corrections, self.finished = plan, corrections, finished
        self.current = plan.bundle
        self.error, self.left_out = "", 0
        self.trained: Path | None = None
        self._lock = threading.Lock()
        self._out: Path | None = None  # of the training under way
        self._figures: dict[str, Any] = {}
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    # ---- start and stop -----------------------------------------------------------------------------------------

    def start(self, resume: bool = False) -> bool:
        """Start a training, or continue the interrupted one; return False if one is under way.

        Raises:
            TrainingError: If a training cannot be started, or none was interrupted.
        """
        with self._lock:
            if self._out:
                return False
            if reason := self.plan.missing():
                raise TrainingError(MISSING[reason])
            interrupted = self.interrupted()
            if resume and not interrupted:
                raise TrainingError("no training was interrupted; start a new one")
            out = interrupted if resume and interrupted else self._free()
            self._out, self._figures, self._stopping = out, {}, False
            self.error, self.trained = "", None
            self._thread = threading.Thread(target=self._run, args=(out, resume), name="retraining", daemon=True)
            self._thread.start()
            return True

    def stop(self) -> None:
        """Interrupt the training under way; its work is kept."""
        with self._lock:
            self._stopping = True
            child = self._child
        if child and child.poll() is None:
            child.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def close(self) -> None:
        """Interrupt the training under way and wait for it to end."""
        self.stop()
        child, thread = self._child, self._thread
        for end in ("terminate", "kill"):
            if thread:
                thread.join(_STOP_SECONDS)
            if child and child.poll() is None:
                getattr(child, end)()

    # ---- what is there ------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a training is under way."""
        return self._out is not None

    def interrupted(self) -> Path | None:
        """Return the bundle of the last training that was interrupted and can be continued, if there is one."""
        numbered = [
            out
            for out in self._numbered()
            if out != self._out and not out.exists() and _joined(out).is_file() and run_folder_of(out).is_dir()
        ]
        return numbered[-1] if numbered else None

    def progress(self) -> dict[str, Any]:
        """Return how far the training under way is, or the last one was, None where unknown.

        The keys are bundle (of the one under way), epoch, epochs, f1 and seconds_left.
        """
        out = self._out
        if out:  # the file is deleted with the run folder, before the training ends
            with contextlib.suppress(OSError, ValueError):
                self._figures = json.loads((run_folder_of(out) / PROGRESS).read_text("utf-8"))
        unknown = dict.fromkeys(("epoch", "epochs", "f1", "seconds_left"))
        return {"bundle": out.name if out else None, **unknown, **self._figures}

    def newest(self) -> Path | None:
        """Return the bundle with the highest number, if the page has trained any."""
        trained = [out for out in self._numbered() if bundles.is_bundle(out)]
        return trained[-1] if trained else None

    @property
    def base(self) -> Path:
        """The bundle whose name new ones get, with a number; of the general tagger, in the current folder."""
        if self.plan.bundle == GENERAL:
            return Path.cwd() / GENERAL.name
        match = _NUMBER.fullmatch(self.plan.bundle.name)
        base = self.plan.bundle.with_name(match["base"]) if match else self.plan.bundle
        return base if bundles.is_bundle(base) else self.plan.bundle

    def _numbered(self) -> list[Path]:
        """Return the bundles beside `base`, finished or not, in the order of their numbers."""
        base = self.base
        pattern = re.compile(re.escape(base.name) + r"\.([0-9]+)(\.training|\.train\.jsonl)?")
        try:
            names = os.listdir(base.parent)
        except OSError:
            return []
        numbers = {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
        return [base.with_name(f"{base.name}.{number}") for number in sorted(numbers)]

    def _free(self) -> Path:
        taken = self._numbered()
        number = int(taken[-1].name.rpartition(".")[2]) + 1 if taken else 1
        return self.base.with_name(f"{self.base.name}.{number}")

    # ---- the training -------------------------------------------------------------------------------------------

    def _run(self, out: Path, resume: bool) -> None:
        error = ""
        try:
            if not resume:
                self.left_out = join(self.plan.train, self.plan.dev, self.corrections, _joined(out))
            error = self._train(out)
            if not error and not self._stopping:
                _keep_gazetteer(self.current, out)
                self.finished(out)
                self.current = self.trained = out
                with contextlib.suppress(OSError, ValueError, KeyError):  # of the calibrated tagger
                    self._figures["f1"] = json.loads((out / "metrics.json").read_text("utf-8"))["f1"]
        except TaggerError as reason:
            error = str(reason)
        except OSError as reason:
            error = f"{reason.filename or out}: {reason.strerror or reason}"
        except Exception as reason:  # the page shows it; the server goes on
            error = f"{type(reason).__name__}: {reason}"
        finally:
            if not run_folder_of(out).is_dir():  # nothing to continue
                _joined(out).unlink(missing_ok=True)
            with self._lock:
                self.error = "" if self._stopping else error
                self._out = self._child = None

    def _train(self, out: Path) -> str:
        """Run `tagger train`; return the line that says why it failed, "" if it did not."""
        options = self.plan.arguments(_start_of(out) or self.current, _joined(out), out)
        command = [sys.executable, "-m", "tagger", "train", *options]
        with self._lock:
            if self._stopping:
                return ""
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace", start_new_session=True,
            )  # fmt: skip
        child = self._child
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, child.pid, 5)  # requests come first
        assert child.stderr
        last = ""
        with child.stderr as lines:
            for line in lines:  # a line that a progress bar overwrites ends here too
                last = line.strip() or last
        if child.wait() == 0:
            return ""
        return last.removeprefix("tagger: ") or f"tagger train ended with exit code {child.returncode}"


def _joined(out: Path) -> Path:
    """Return the file of the texts that the training of a bundle learns from."""
    return out.with_name(f"{out.name}.train.jsonl")


def _start_of(out: Path) -> Path | None:
    """Return the bundle from which the interrupted training of a bundle was started, None if there is none."""
    try:
        files = json.loads((run_folder_of(out) / "run.json").read_text("utf-8"))["files"]
        return next((Path(file).parent for file in files if Path(file).name == MANIFEST), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # `tagger train` reports it


def _keep_gazetteer(before: Path, after: Path) -> None:
    """Store the gazetteer of one bundle, if it has one, in another."""
    if (before / bundles.GAZETTEER).is_file():
        bundles.keep_gazetteer(after, before / bundles.GAZETTEER)


def join(train: tuple[Path, ...], dev: Path | None, corrections: Path, out: Path) -> int:
    """Write the training corpora and the corrections into one file of native JSON Lines.

    Of several documents with one text, the last correction counts, and a correction replaces what the corpora say.
    Corrected texts that are in dev are left out: a tagger must not be scored on what it has learnt.

    Returns:
        How many were left out.

    Raises:
        CorpusError: If one of the files cannot be read.
        OutputError: If the file cannot be written.
    """
    held_out = set(map(id_of, corpus.texts(dev))) if dev else set()
    last = {id_of(document.text): number for number, document in enumerate(corpus.read(corrections, "jsonl"))}

    def documents() -> Iterator[Document]:
        for path in train:
            for document in corpus.read(path):
                if id_of(document.text) not in last:
                    yield document
        for number, document in enumerate(corpus.read(corrections, "jsonl")):
            text_id = id_of(document.text)
            if last[text_id] == number and text_id not in held_out:
                yield document

    try:
        with atomic_file(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(write("jsonl", documents(), Notes()))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    return len(held_out & last.keys())
