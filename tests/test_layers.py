import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A module imports only what stands above it.
ORDER = [
    "errors",
    "files",
    "progress",
    "settings",
    "presets",
    "config",
    "documents",
    "formats.records",
    "formats.native",
    "formats.contest",
    "formats.cluener",
    "formats.doccano",
    "formats.labelstudio",
    "formats.columns",
    "formats.inline",
    "formats.plain",
    "formats.brat",
    "formats",
    "corpus",
    "tags",
    "text",
    "alignment",
    "gazetteer",
    "vectors",
    "lexicon",
    "lookup",
    "batches",
    "model",
    "onnx_graph",
    "decode",
    "calibration",
    "score",
    "analysis",
    "bundle",
    "weights",
    "runtime",
    "pipeline",
    "parallel",
    "learning",
    "learning.state",
    "learning.device",
    "learning.plots",
    "learning.run",
    "learning.training",
    "learning.pretraining",
    "learning.self_training",
    "export",
    "reports",
    "reports.html",
    "reports.results",
    "reports.inspection",
    "reports.pages",
    "serve",
    "serve.limits",
    "serve.batching",
    "serve.corrections",
    "serve.requests",
    "serve.responses",
    "serve.metrics",
    "serve.middleware",
    "serve.endpoints",
    "serve.documentation",
    "serve.application",
    "serve.server",
    "commands",
    "cli",
]

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
        yield from (place(name) for name in names if name.startswith("tagger."))


def place(name):
    """Return the module in which a name of the package lies."""
    parts = name.split(".")[1:]
    return next((".".join(parts[:size]) for size in (2, 1) if ".".join(parts[:size]) in ORDER), parts[0])


def path_of(module):
    folder = ROOT / "tagger" / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=ROOT)


def test_every_module_has_its_place():
    files = {path for path in (ROOT / "tagger").rglob("*.py") if path.parent.name not in ("tagger", "page")}
    files |= set((ROOT / "tagger").glob("*.py")) - {ROOT / "tagger" / "__init__.py"}
    assert files == set(map(path_of, ORDER))


@pytest.mark.parametrize("module", ORDER)
def test_imports_run_one_way(module):
    below = set(ORDER[ORDER.index(module) :])
    assert not set(imports(path_of(module))) & below


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
        "train", "transfer", "pretrain", "evaluate", "predict", "export", "gazetteer", "vectors", "convert", "inspect",
        "serve",
    )  # fmt: skip
    for command in commands:
        assert command in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & FREE
