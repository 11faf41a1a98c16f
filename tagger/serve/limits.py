"""What a server accepts before it refuses a request."""

from dataclasses import dataclass

from tagger.settings import setting


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    They bound its memory: about `requests` x `body` bytes, and `waiting` characters. Each help text ends with the
    HTTP status of a request beyond the limit.
    """

    body: int = setting(1 << 20, "bytes of a request's body, or of a line of JSON Lines; beyond: 413", least=1)
    texts: int = setting(1000, "texts of a request; beyond: 413", least=1)
    characters: int = setting(100_000, "characters of a text; beyond: 413", least=1)
    stream: int = setting(1 << 30, "bytes of a body of JSON Lines; beyond: 413", least=1)
    waiting: int = setting(
        1_000_000, "characters that wait to be tagged, of all clients together; beyond: 429", least=1
    )
    requests: int = setting(256, "requests under way at once; beyond: 503", least=1)
    seconds: int = setting(
        30, "seconds to wait for the next part of a body (408), for results (503), for a reader", least=1
    )
