import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A module imports only what stands above it.
ORDER = [
    "errors", "limits", "documents", "columns", "records", "tools", "standoff", "formats", "tags", "sections",
    "config", "text", "corpus", "gazetteer", "vectors", "lexicon", "lookup", "batches", "decode", "score",
    "analysis", "calibration", "bundle", "convert", "inspection", "network", "model", "export", "runtime",
    "pipeline", "crowd", "output", "report", "workplace", "training", "pretrain", "transfer", "saving", "sharing",
    "intake", "reply", "guard", "serve", "commands", "cli",
]  # fmt: skip

FREE = {"tensorflow", "keras", "gensim", "numpy", "onnxruntime", "jieba", "rjieba", "onnx", "matplotlib", "openvino"}
HEAVY = {"tensorflow", "keras", "gensim", "onnx", "matplotlib", "openvino"}


def imports(path):
    """Yield the modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("tagger."))


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=ROOT)


def test_every_module_has_its_place():
    assert {path.stem for path in (ROOT / "tagger").glob("*.py")} == {"__init__", *ORDER}


@pytest.mark.parametrize("module", ORDER)
def test_imports_run_one_way(module):
    below = set(ORDER[ORDER.index(module) :])
    assert not set(imports(ROOT / "tagger" / f"{module}.py")) & below


@pytest.mark.parametrize(
    ("module", "kept_out"),
    [
        ("tagger", FREE),
        ("tagger.cli", FREE),
        ("tagger.formats", FREE),
        ("tagger.batches", HEAVY),
        ("tagger.pipeline", HEAVY),
    ],
)
def test_importing_is_cheap(module, kept_out):
    done = run("-c", f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stdout.split()} & kept_out


def test_help_works_and_imports_nothing_heavy():
    done = run("-X", "importtime", "-m", "tagger.cli", "--help")
    assert done.returncode == 0, done.stderr
    commands = (
        "train", "transfer", "pretrain", "evaluate", "predict", "export", "dictionary", "vectors", "convert", "inspect",
        "serve",
    )  # fmt: skip
    for command in commands:
        assert command in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & FREE
