"""What a user gives beside a tagger and rules: strings that are always or never replaced, and a secret."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tagger.documents import is_label
from tagger.errors import ConfigError, CorpusError
from tagger.files import open_text
from tagger.redaction.occurrences import Occurrences


@dataclass(frozen=True)
class Lists:
    """Strings, and the secret by which they are replaced.

    Args:
        always: Strings that are always replaced, with their labels.
        never: Strings that are never replaced, unless as a part of others that are.
        key: Makes stand-ins, and the numbers of labels, the same for the same string in all texts; empty for in each
            text.
    """

    always: Mapping[str, str] = field(default_factory=dict)
    never: frozenset[str] = frozenset()
    key: bytes = b""

    @classmethod
    def read(cls, always: Path | None, never: Path | None, key: Path | None) -> "Lists":
        """Return what stands in files: a string, a tab and a label on each line; a string on each; a secret.

        Raises:
            TaggerError: If a file cannot be read, or the secret is empty.
        """
        secret = key.read_bytes() if key else b""
        if key and not secret.strip():
            raise ConfigError(f"--key-file {key}: is empty; write a secret into it, such as 32 random letters")
        return cls(
            dict(_labelled(always)) if always else {},
            frozenset(string for _, string in lines(never)) if never else frozenset(),
            secret,
        )

    @cached_property
    def occurrences(self) -> Occurrences:
        """Return what finds the strings that are always replaced."""
        return Occurrences(self.always)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not blank, stripped, each with its number."""
    with open_text(path) as numbered:
        for number, line in numbered:
            if line.strip():
                yield number, line.strip()


def _labelled(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines(path):
        string, _, label = line.partition("\t")
        if not string.strip() or not is_label(label.strip()):
            raise CorpusError(f"{path}:{number}", '"string TAB label"', line, "put a tab and a label after the string")
        yield string.strip(), label.strip()
