"""All errors raised on purpose, as one tree.

TaggerError            all of the below; its message is one line for the user
├── ConfigError        a setting or an option that does not exist or has a wrong value (exit code 2)
├── CorpusError        a corpus that cannot be read: place, expected, received, remedy
├── VectorsError       vectors that cannot be read or do not fit
├── BundleError        a bundle that is missing, damaged, or unsuitable
├── OutputError        a file or folder that exists already or cannot be written
├── TrainingError      a training that cannot start or continue
├── RedactionError     a redacted file that cannot be restored
└── MissingExtraError  a package that an extra installs is missing
"""

import importlib
from types import ModuleType


class TaggerError(Exception):
    """Root of all errors raised on purpose; `str(error)` is one line that ends with what to do.

    Args:
        message: What is not printable in it is shown as an escape.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def shortened(text: str) -> str:
    """Return a text as messages quote it: its first 80 characters, or 77 and three dots."""
    return text if len(text) <= 80 else text[:77] + "..."


class ConfigError(TaggerError):
    """A setting or an option that does not exist, or a value that it cannot take."""


class CorpusError(TaggerError):
    """A corpus that cannot be read.

    Args:
        place: File and line, `train.jsonl:812`.
        expected: What the format requires there.
        received: What the file has there; shortened to 80 characters.
        remedy: What the user can do.
    """

    def __init__(self, place: str, expected: str, received: str, remedy: str) -> None:
        super().__init__(f"{place}: expected {expected}, received {shortened(received)}; {remedy}")
        self.place = place


SEE_FORMATS = 'see "tagger help formats"'  # the remedy for most of what is malformed in a corpus


class VectorsError(TaggerError):
    """Vectors that cannot be read or do not fit."""


class BundleError(TaggerError):
    """A bundle that is missing, damaged, written by another version, or unsuitable for what is asked."""


class OutputError(TaggerError):
    """A file or folder that exists already and must not be replaced, or that cannot be written."""


class TrainingError(TaggerError):
    """A training that cannot start or continue."""


class RedactionError(TaggerError):
    """A redacted file that cannot be restored: its map is another one or damaged, or the passphrase is wrong."""


class Terminated(KeyboardInterrupt):
    """The process was told to end by a signal other than Ctrl-C, which is what `KeyboardInterrupt` means.

    Args:
        number: The signal, such as `signal.SIGTERM`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a process that was interrupted: 128 and the number of the signal."""
    return interrupt.code if isinstance(interrupt, Terminated) else 130


class MissingExtraError(TaggerError):
    """A package that only an extra installs is missing."""


def require(module: str, extra: str) -> ModuleType:
    """Import and return `module`, or say which extra installs it.

    Raises:
        MissingExtraError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed for this and not installed ({error}); "
            f"install it with: pip install 'hantagger[{extra}]'"
        ) from error
