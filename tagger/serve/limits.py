"""What a server takes before it refuses."""

from dataclasses import dataclass, field


def _limit(value: int, about: str) -> int:
    return field(default=value, metadata={"about": about})


@dataclass(frozen=True)
class Limits:
    """Limits of a server; each is at least 1, and `about` in a field's metadata says what is beyond it.

    They bound its memory: about `requests` x `body` bytes, and `waiting` characters.
    """

    body: int = _limit(1 << 20, "bytes of a request's body, or of a line of JSON Lines; beyond: 413")
    texts: int = _limit(1000, "texts of a request; beyond: 413")
    characters: int = _limit(100_000, "characters of a text; beyond: 413")
    stream: int = _limit(1 << 30, "bytes of a body of JSON Lines; beyond: 413")
    waiting: int = _limit(1_000_000, "characters that wait to be tagged, of all clients together; beyond: 429")
    requests: int = _limit(256, "requests under way at once; beyond: 503")
    seconds: int = _limit(30, "seconds to wait for the next part of a body (408), for results (503), for a reader")
