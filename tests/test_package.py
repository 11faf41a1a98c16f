import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

import tagger
from tests.conftest import ROOT, shared_folder

pytestmark = [pytest.mark.package, pytest.mark.slow]

BUNDLE = ROOT / "tests" / "golden" / "bundles" / "format-3"
UNREACHABLE = (
    r"dns error|error sending request|failed to (connect|fetch)|tcp connect error|timed out|connection refused"
)
HEAVY = {"tensorflow", "keras", "gensim", "matplotlib", "onnx", "openvino", "starlette", "uvicorn"}


def run(*command, cwd=ROOT):
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run([*map(str, command)], cwd=cwd, env=kept, capture_output=True, text=True, encoding="utf-8")


def uv(*arguments):
    """Run uv, which gets packages from the index; skip where that cannot be reached."""
    done = run(sys.executable, "-m", "uv", *arguments)
    if done.returncode and re.search(UNREACHABLE, done.stderr, re.I):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel, and the sdist that it was built from."""
    folder = shared_folder(tmp_path_factory, "dist", lambda folder: uv("build", "--out-dir", folder))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """A function that runs a command of a new environment, which holds the wheel and what it needs."""

    def make(folder):
        uv("venv", "--python", sys.executable, folder)
        uv("pip", "install", "--python", folder / "bin" / "python", distributions[0])

    folder = shared_folder(tmp_path_factory, "environment", make)
    return lambda name, *arguments: run(folder / "bin" / name, *arguments, cwd=folder)


def test_the_wheel_holds_the_whole_package_and_nothing_else(distributions):
    wheel, _ = distributions
    assert wheel.name == f"hantagger-{tagger.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {path.relative_to(ROOT) for path in (ROOT / "tagger").rglob("*") if path.is_file()}
    # "tagger help" shows the README, which stands elsewhere here.
    assert names == {path.as_posix() for path in files if "__pycache__" not in path.parts} | {"tagger/docs/README.md"}
    assert {"tagger/py.typed", "tagger/serve/page/index.html", "tagger/docs/tutorial.md"} <= names
    assert {"tagger/general/manifest.json", "tagger/general/model.onnx", "tagger/NOTICE"} <= names
    assert wheel.stat().st_size <= 12_000_000


def test_the_sdist_builds_the_same_wheel(distributions, tmp_path):
    wheel, sdist = distributions  # the wheel is built from the sdist
    uv("build", "--wheel", "--out-dir", tmp_path)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
    with tarfile.open(sdist) as archive:
        folders = {name.split("/")[1] for name in archive.getnames()}
    assert {"tagger", "tests", "scripts", "data", "pyproject.toml", "README.md", "LICENSE"} <= folders
    assert not folders & {".venv", "dist", "build", ".git"}


def test_the_metadata_say_what_it_is(distributions):
    with zipfile.ZipFile(distributions[0]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    assert f"Name: hantagger\nVersion: {tagger.__version__}\n" in metadata
    for extra in ("train", "fast", "serve"):
        assert f"Provides-Extra: {extra}\n" in metadata
    for field in ("Project-URL", "Keywords", "Classifier", "License-Expression", "Requires-Python"):
        assert re.search(rf"^{field}: \S", metadata, re.M)


def test_the_installed_command_tags_text(installed):
    text = json.loads((ROOT / "data" / "dev.jsonl").read_text("utf-8").splitlines()[0])["text"]
    done = installed("tagger", "predict", BUNDLE, "--text", text)
    assert done.returncode == 0, done.stderr
    here = run(sys.executable, "-m", "tagger", "predict", BUNDLE, "--text", text)
    assert done.stdout == here.stdout
    assert json.loads(done.stdout)["text"] == text


def test_the_installed_command_tags_text_without_a_bundle(installed):
    done = installed("tagger", "predict", "--text", "钱钟书和杨绛从牛津去了巴黎。")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [entity["label"] for entity in json.loads(done.stdout)["entities"]] == ["PER", "PER", "LOC", "LOC"]


def test_the_installed_module_says_its_version_and_shows_help(installed):
    assert installed("python", "-m", "tagger", "--version").stdout == f"tagger {tagger.__version__}\n"
    for topic in ((), ("tutorial",), ("settings",)):
        done = installed("tagger", "help", *topic)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) > 200


def test_little_is_installed_and_extras_are_named(installed):
    code = "import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()))"
    names = set(installed("python", "-c", code).stdout.split())
    assert "hantagger" in names
    assert not names & HEAVY
    done = installed("tagger", "serve", BUNDLE)
    assert done.returncode == 1
    assert "pip install 'hantagger[serve]'" in done.stderr
