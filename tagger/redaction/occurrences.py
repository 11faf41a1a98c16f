"""Where strings of a set occur in texts, in time that does not grow with the set."""

from collections.abc import Iterable, Iterator

_KEY = 4  # characters of a string by which it is looked up


class Occurrences:
    """A set of strings that are looked for in texts.

    Args:
        strings: None of them is empty.

    Example:
        >>> list(Occurrences(["王明", "明天"])("王明天"))
        [(0, '王明'), (1, '明天')]
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._strings: set[str] = set()
        self._lengths: dict[str, set[int]] = {}  # of the strings that begin with a key
        self._keys: set[int] = set()  # lengths of keys
        for string in strings:
            self.add(string)

    def add(self, string: str) -> None:
        """Add a string to the set."""
        key = string[:_KEY]
        self._strings.add(string)
        self._keys.add(len(key))
        self._lengths.setdefault(key, set()).add(len(string))

    def __call__(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield start and string of each occurrence, overlapping ones included, not in order."""
        strings, lengths = self._strings, self._lengths
        for size in self._keys:
            for start in range(len(text) - size + 1):
                for length in lengths.get(text[start : start + size], ()):
                    if start + length <= len(text) and (string := text[start : start + length]) in strings:
                        yield start, string

    def are_in(self, text: str) -> bool:
        """Return whether one of the strings occurs in a text."""
        return next(self(text), None) is not None

    def apart(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield occurrences in order, without overlaps: of two, the first; of those that begin alike, the longest."""
        end = 0
        for start, string in sorted(self(text), key=lambda found: (found[0], -len(found[1]))):
            if start >= end:
                yield start, string
                end = start + len(string)
