"""Progress messages of long work."""

import sys

from tqdm import tqdm


def say(line: str) -> None:
    """Print a line of progress to standard error, above any progress bar."""
    tqdm.write(line, file=sys.stderr)
