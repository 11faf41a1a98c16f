"""The package's order, the size of its parts, and what importing them costs."""

import ast
import subprocess
import sys

import pytest
from layers import LAYERS, LONG_FUNCTIONS, path_of

from tests.conftest import ROOT

FREE = {"tensorflow", "keras", "gensim", "numpy", "onnxruntime", "jieba", "rjieba", "onnx", "matplotlib", "openvino"}
HEAVY = {"tensorflow", "keras", "gensim", "onnx", "matplotlib", "openvino"}

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


def imports(module):
    """Yield the modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path_of(module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (module_of(name) for name in names if name.startswith("tagger."))


def module_of(name):
    """Return the module in which a name of the package lies."""
    parts = name.split(".")[1:]
    return next((".".join(parts[:size]) for size in (2, 1) if ".".join(parts[:size]) in LAYERS), parts[0])


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=ROOT)


def functions(node, prefix=""):
    """Yield the qualified name and the number of lines of each function, those of classes and functions included."""
    for child in ast.iter_child_nodes(node):
        name = f"{prefix}.{child.name}" if hasattr(child, "name") else prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, child.end_lineno - child.lineno + 1
        yield from functions(child, name)


# ---- order --------------------------------------------------------------------------------------------------------


def test_every_module_has_its_place():
    files = set((ROOT / "tagger").rglob("*.py")) - {ROOT / "tagger" / "__init__.py"}
    assert {file for file in files if file.stat().st_size} - set(map(path_of, LAYERS)) == set()
    assert set(map(path_of, LAYERS)) - files == set()
    assert len(set(LAYERS)) == len(LAYERS)


@pytest.mark.parametrize("module", LAYERS)
def test_imports_run_one_way(module):
    assert not set(imports(module)) & set(LAYERS[LAYERS.index(module) :])


# ---- size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", LAYERS)
def test_modules_and_functions_are_short(module):
    source = path_of(module).read_text("utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    long = {name for name, lines in functions(ast.parse(source), module) if lines > MOST_LINES_OF_A_FUNCTION}
    assert long == {name for name in LONG_FUNCTIONS if module_of(f"tagger.{name}") == module}


# ---- cost ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "excluded"),
    [
        ("tagger", FREE),
        ("tagger.cli", FREE),
        ("tagger.formats", FREE),
        ("tagger.corpus", FREE),
        ("tagger.docs", FREE),
        ("tagger.batches", HEAVY),
        ("tagger.pipeline", HEAVY),
        ("tagger.runtime", FREE),
        ("tagger.export", FREE),
    ],
)
def test_importing_is_cheap(module, excluded):
    done = run("-c", f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stdout.split()} & excluded


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    done = run("-X", "importtime", "-m", "tagger", *arguments)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & FREE
