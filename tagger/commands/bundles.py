"""The commands for bundles: gazetteer, export."""

import argparse
import sys
from pathlib import Path

from tagger.commands.base import Command, add_bundle, add_force
from tagger.errors import ConfigError
from tagger.export import EXPORTERS
from tagger.imports import import_tensorflow

# ---- gazetteer ----------------------------------------------------------------------------------------------------


def gazetteer(options: argparse.Namespace) -> None:
    """Store a gazetteer in a bundle, or remove it."""
    if bool(options.file) == options.remove:
        raise ConfigError("give either a gazetteer to store, or --remove")
    from tagger import bundle as bundles

    bundles.keep_gazetteer(options.bundle, options.file)
    print(f"{options.bundle}: gazetteer {'stored' if options.file else 'removed'}", file=sys.stderr)


def _add_gazetteer(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    about = 'gazetteer to store, in place of any other; see "tagger help gazetteer"'
    parser.add_argument("file", nargs="?", metavar="F", type=Path, help=about)
    parser.add_argument("--remove", action="store_true", help="remove the gazetteer")


GAZETTEER = Command(
    gazetteer,
    _add_gazetteer,
    """
  tagger gazetteer bundle names.tsv
  tagger gazetteer bundle --remove
""",
)


# ---- export -------------------------------------------------------------------------------------------------------


def export(options: argparse.Namespace) -> None:
    """Write the trained network for other programs."""
    exporter = EXPORTERS[options.to]
    exporter.check(options.out, options.force, Path(options.bundle))
    if exporter.tensorflow:
        import_tensorflow()
    from tagger import bundle as bundles

    exporter.write(bundles.load(options.bundle), options.out, options.force)
    print(f"{options.out}: written", file=sys.stderr)


def _add_export(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="file or folder to write")
    about = "; ".join(f"{name}: {exporter.about}" for name, exporter in EXPORTERS.items())
    parser.add_argument("--to", choices=EXPORTERS, required=True, help=about)
    add_force(parser)


EXPORT = Command(
    export,
    _add_export,
    """
  tagger export bundle weights.safetensors --to weights
  tagger export bundle model.weights.h5 --to weights
  tagger export bundle served --to saved_model
  tagger export bundle folder --to onnx
  tagger export bundle model.tflite --to litert
""",
)
