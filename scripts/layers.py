"""The order of the package's modules: each imports only what stands above it. The one table of it.

`tests/test_layers.py` holds the order; `scripts/docs` makes the listing in the architecture page of it.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def _others(folder: str, *named: str) -> list[str]:
    """Return the modules of a folder but those named, by name: rows of a table, which do not know each other."""
    modules = {file.stem for file in (ROOT / "tagger" / folder).glob("*.py")} - {"__init__", *named}
    return [f"{folder}.{module}" for module in sorted(modules)]


LAYERS = (
    "errors",
    "cores",
    "imports",
    "files.reading",
    "files.archives",
    "files",
    "files.outputs",
    "progress",
    "settings",
    "presets",
    "sections",
    "config",
    "docs",
    "documents",
    "formats.streams",
    "formats.records",
    "formats.base",
    "formats.tagged",
    *_others("formats", "streams", "records", "base", "tagged"),
    "formats",
    "corpus",
    "findings",
    "splitting",
    "tags",
    "text",
    "groups",
    "alignment",
    "gazetteer",
    "vectors",
    "vector_files",
    "lexicon",
    "lookup",
    "batches",
    "lstm",
    "crf",
    "execution",
    "model",
    "weights",
    "onnx_graph",
    "decode",
    "calibration",
    "score",
    "analysis",
    "bundle",
    "runtime",
    *_others("runtime"),
    "pipeline",
    "learning",
    "learning.device",
    "learning.fitting",
    "learning.plots",
    "learning.run",
    "learning.automatic",
    "learning.checks",
    "learning.sketch",
    "learning.cache",
    "learning.tables",
    "learning.preparation",
    "learning.training",
    "learning.pretraining",
    "learning.unlabelled",
    "learning.labelling",
    "learning.self_training",
    "export",
    *_others("export"),
    "reports",
    "reports.words",
    "reports.html",
    "reports.svg",
    "reports.results",
    "prediction.inputs",
    "prediction.processes",
    "prediction.checkpoints",
    "prediction",
    "reports.contradictions",
    "reports.inspection",
    "reports.suspects",
    "reports.provenance",
    "reports.tables",
    "reports.pages",
    "api",
    "serve",
    "serve.limits",
    "serve.batching",
    "serve.corrections",
    "serve.queue",
    "serve.ranking",
    "serve.retraining",
    "serve.requests",
    "serve.responses",
    "serve.queue_endpoints",
    "serve.metrics",
    "serve.middleware",
    "serve.endpoints",
    "serve.documentation",
    "serve.application",
    "serve.server",
    "commands.base",
    "commands.output",
    "commands.reporting",
    "commands.learning",
    "commands.corpora",
    "commands.splitting",
    "commands.tagging",
    "commands.prediction",
    "commands.bundles",
    "commands.help",
    "commands",
    "cli",
    "__main__",
)

# Functions of more than 60 lines, each with the reason why splitting would hide the flow.
LONG_FUNCTIONS = {
    "lstm._lstm_and_gradient": "the forward and the backward pass of one cell, which share their intermediate values",
}


def path_of(module: str) -> Path:
    """Return the file of a module of the table."""
    folder = ROOT / "tagger" / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
