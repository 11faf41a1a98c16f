"""What several test files share: the embedded sample, the development corpora, and one small trained bundle."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "data"
GOLDEN_BUNDLE = ROOT / "tests" / "golden" / "bundles" / "format-3"  # a small bundle, with a gazetteer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TAGGER_CACHE"] = ""  # what a test learns depends on the test alone
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each worker: workers share the cores, and weights that a test compares have the same thread count.
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

# Settings that train in seconds.
SMALL = (
    "vectors.word_dimensions=16",
    "vectors.char_dimensions=16",
    "vectors.bigram_dimensions=16",
    "vectors.epochs=2",
    "model.layers=[16, 16]",
    "model.char_dimensions=8",
    "model.dropout=0.1",
    "training.epochs=8",
    "training.learning_rate=0.02",
    "training.ema_momentum=0.9",
)


def corpora() -> Path:
    """Return the folder of the development corpora, or skip."""
    folder = Path(os.environ.get("TAGGER_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"development corpora not found at {folder}; set TAGGER_DATA")
    return folder


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cut of the sample: train.jsonl (240), dev.jsonl (60), more.txt."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, count in (("train.jsonl", 240), ("dev.jsonl", 60)):
        lines = (SAMPLE / name).read_text("utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:count]), "utf-8")
    lines = (SAMPLE / "unlabelled.txt").read_text("utf-8").splitlines(keepends=True)
    (folder / "more.txt").write_text("".join(lines[:200]), "utf-8")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest tests first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name archives by their kind: they contain the time, and all workers must collect the same names."""
    return f"{argname}_zipped" if isinstance(val, bytes) and val.startswith((b"\x1f\x8b", b"PK")) else None


def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first worker to ask for it fills, and that all workers read."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_name(f"{name}.done")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def _train(corpus: Path, folder: Path, preset: str) -> None:
    from tagger import config
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    small = [setting for setting in SMALL if not (preset == "contest" and "ema_momentum" in setting)]
    settings = config.load(preset, [*small, "batches.texts=16", "batches.units=400"])
    train(settings, Sources(corpus / "train.jsonl", corpus / "dev.jsonl", (corpus / "more.txt",)), folder / "bundle")


@pytest.fixture(scope="session")
def bundle(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle of character units with a CRF, trained in seconds; not to be modified."""
    return shared_folder(tmp_path_factory, "default", lambda folder: _train(small_corpus, folder, "default")) / "bundle"


@pytest.fixture(scope="session")
def contest_bundle(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle of the 2016 method's word units; not to be modified."""
    return shared_folder(tmp_path_factory, "contest", lambda folder: _train(small_corpus, folder, "contest")) / "bundle"


CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")  # not of the session: while it is open, no test can run an event loop of its own
def browser() -> Iterator[Any]:
    """A headless Chromium: one of this machine, or Playwright's own."""
    from playwright.sync_api import Error, expect, sync_playwright

    expect.set_options(timeout=30_000)  # on a busy machine; what is expected usually comes at once
    path = os.environ.get("TAGGER_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}; scripts/test installs it where it can")
        yield started
        started.close()
