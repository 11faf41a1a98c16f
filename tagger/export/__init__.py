"""A bundle's trained network in other file formats: one table of exporters, each a function in a module of this folder.

To add an exporter, write a function that takes a `Bundle` and the path to write, and add a row to `EXPORTERS`.
Importing this module imports none of the functions.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.errors import OutputError
from tagger.files.outputs import atomic_file, atomic_folder, check_writable

if TYPE_CHECKING:
    from tagger.bundle import Bundle


@dataclass(frozen=True)
class Exporter:
    """A row of `EXPORTERS`.

    Args:
        home: Module in this folder, and function: "onnx.write".
        about: Description in one line, for those who choose.
        suffixes: What the name of the file may end in; none where a folder is written.
        tensorflow: Whether it imports TensorFlow.
    """

    home: str
    about: str
    suffixes: tuple[str, ...] = ()
    tensorflow: bool = True

    def check(self, out: Path, replace: bool = False, bundle: Path | None = None) -> None:
        """Check the path to write, before any work is done.

        Raises:
            OutputError: If its suffix is not one of this exporter's, or `check_writable` refuses it.
        """
        if self.suffixes and not out.name.endswith(self.suffixes):
            raise OutputError(f"{out}: expected a file name that ends in {' or '.join(self.suffixes)}; rename it")
        check_writable(out, replace, [bundle], folder=not self.suffixes)

    def write(self, bundle: "Bundle", out: Path, replace: bool = False) -> None:
        """Write the network of a bundle to a file, or to a new folder.

        Args:
            bundle: The bundle.
            out: File or folder to write.
            replace: Whether an existing one may be replaced.

        Raises:
            OutputError: As `check`, or if it cannot be written.
            MissingExtraError: If a package that the exporter needs is not installed.
        """
        self.check(out, replace, bundle.folder)
        module, _, name = self.home.partition(".")
        function = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        if self.suffixes:
            with atomic_file(out) as part:
                function(bundle, part)
            return
        with atomic_folder(out, replace) as folder:
            function(bundle, folder)


EXPORTERS = {
    "weights": Exporter("keras.write_weights", "file of the weights alone", (".weights.h5", ".safetensors")),
    "saved_model": Exporter("keras.write_saved_model", "folder for TensorFlow, the vectors inside"),
    "onnx": Exporter("onnx.write", "folder of model.onnx, the vectors inside, and tagger.json", tensorflow=False),
    "litert": Exporter("keras.write_litert", "file for LiteRT (TensorFlow Lite), the vectors inside", (".tflite",)),
}
