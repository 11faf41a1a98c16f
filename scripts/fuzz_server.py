"""A part of `fuzz.py`: requests of every kind, to a server in this process."""

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import fuzz_inputs as inputs
from fuzz_checks import Fault, Place, check_document, check_entities, check_line, tagger

from tagger.documents import Entity, Notes
from tagger.formats.native import parse, to_native
from tagger.formats.records import parse_object
from tagger.serve.application import application
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits


class Client:
    """A client without a network, of a server that saves corrections to a file."""

    def __init__(self, folder: Path) -> None:
        self.saved = folder / "saved.jsonl"
        self.saved.unlink(missing_ok=True)
        self._app = application(tagger(), Limits(body=20_000, texts=50, characters=2_000), CorpusFile(self.saved))
        self._runner = asyncio.Runner()

    def ask(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the response."""
        return self._runner.run(self._ask(method, path, headers, body))

    async def _ask(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, bytes]:
        whole, _, query = path.partition("?")
        middle = len(body) // 2
        parts = iter([(body[:middle], True), (body[middle:], False)])
        sent: list[Any] = []

        async def receive() -> Any:
            part = next(parts, None)
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part[0], "more_body": part[1]}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": whole, "raw_path": whole.encode("utf-8", "replace"),
            "query_string": query.encode("utf-8", "replace"), "root_path": "", "headers": list(headers),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


_clients: dict[Path, Client] = {}


_PATHS = (
    "/tag", "/tag", "/tag", "/tag", "/save", "/save", "/about", "/health", "/metrics", "/queue", "/queue/text", "/x",
    "/queue/skip", "/queue/train", "/openapi.json", "/docs", "/docs/serving", "/docs/../x", "/", "//",
)  # fmt: skip

_KINDS = (b"application/json", b"application/json", b"application/x-ndjson", b"text/plain", b"", b"\xff")


def _odd_header(rng: Random) -> tuple[bytes, bytes]:
    name, values = rng.choice(
        (
            (b"content-length", (b"-1", b"9" * 30, b"x", "１".encode(), b"0")),
            (b"content-encoding", (b"gzip", b"\xff")),
            (b"host", (b"", b"\xff", b"[::1", b"a:b:c")),
            (b"authorization", (b"Bearer \xff", b"Bearer", b"")),
            (b"accept", (b"\xff", b"*")),
            (b"accept-language", (b"zh;q=x", b"\xff", b",;=", b"*")),
            (b"origin", (b"null", b"http://x")),
            (b"cookie", (b"\x00",)),
        )
    )
    return name, rng.choice(values)


def http(rng: Random, place: Place) -> None:
    """Send requests of every kind to a server; none is answered with 500."""
    folder = place.folder.parent
    if folder not in _clients:
        _clients[folder] = Client(folder)
    client = _clients[folder]
    path = rng.choice(_PATHS) if rng.random() < 0.95 else "/" + re.sub("[\ud800-\udfff]", "", inputs.text(rng))
    odd = inputs.line(rng)
    queries = ("", "", "", "?before=1", "?lang=zh", "?threshold=0.5", f"?threshold={odd}", f"?{odd}")
    path += rng.choice(queries)
    method = "POST" if path.startswith(("/tag", "/save")) else "GET"
    if rng.random() < 0.1:
        method = rng.choice(("GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "X", "DELETE"))
    kind = rng.choice(_KINDS)
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", kind)]
    headers += [_odd_header(rng)] if rng.random() < 0.2 else []
    body, texts = _body(rng)
    status, content = client.ask(method, path, headers, body)
    if status >= 500 and status not in (503, 507):
        raise Fault(f"{method} {path!r} is answered with {status}: {content[:300]!r}")
    if status >= 400 and method != "HEAD":
        check_line(json.loads(content)["error"])
    if status == 200 and method == "POST" and path.startswith("/tag"):
        _check_tagged(content, kind == b"application/x-ndjson", texts)
    if status == 200 and path.startswith("/save") and method == "POST":
        last = client.saved.read_bytes().rstrip(b"\n").rpartition(b"\n")[2].decode("utf-8")
        check_document(parse(parse_object(last, "saved"), "saved", Notes()))
        if client.saved.stat().st_size > 1 << 20:
            client.saved.write_bytes(b"")


def _body(rng: Random) -> tuple[bytes, list[str] | None]:
    """Return the body of a request, and its texts if it is a proper one."""
    kind = rng.randrange(7)
    texts = list(inputs.texts(rng))
    if kind == 0:
        return json.dumps({"texts": texts}).encode(), texts
    if kind == 1:
        return json.dumps({"text": (texts or [""])[0]}).encode(), (texts or [""])[:1]
    if kind == 2:
        return "\n".join(json.dumps({"text": text}) for text in texts).encode(), texts
    if kind == 3:
        return json.dumps(inputs.record(rng), ensure_ascii=False).encode(
            "utf-8", rng.choice(("replace", "surrogatepass"))
        ), None
    if kind == 4:
        return inputs.json_file(rng), None
    if kind == 5:
        return inputs.bytes_file(rng)[0], None
    some = inputs.document(rng)
    return to_native(some.text, some.entities).encode(), None


def _check_tagged(content: bytes, lines: bool, texts: list[str] | None) -> None:
    records = [json.loads(line) for line in content.split(b"\n") if line] if lines else [json.loads(content)]
    results = [one for record in records for one in record.get("results", [record]) if "error" not in record]
    for result in results:
        check_entities(result["text"], [Entity(**entity) for entity in result["entities"]])
    if texts is not None and not lines and [result["text"] for result in results] != texts:
        raise Fault("the texts of the response are not those of the request")
