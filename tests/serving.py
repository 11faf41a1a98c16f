"""A server in a thread, and a client that needs none, for the tests of `tagger.serve`."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from tagger.serve.application import application


@contextmanager
def served(tagger, **options):
    """Yield the port of a server in a thread, which is shut down at the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(tagger, **options), ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


class Reply:
    """A response: its status, headers and body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        return [json.loads(line) for line in self.body.splitlines()]


async def ask(app, method, path, body=b"", headers=None, more=None):
    """Send a request straight to the application; `more` yields the rest of the body, None for a lost client."""
    path, _, query = path.partition("?")
    chunks = iter([body] if more is None else [body, *more])
    following = next(chunks)
    sent = []

    async def receive():
        nonlocal following
        if following is None:
            return {"type": "http.disconnect"}
        chunk, following = following, next(chunks, False)
        if callable(chunk):
            chunk = await chunk()
        if following is False:
            following = None
            return {"type": "http.request", "body": chunk, "more_body": False}
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message):
        sent.append(message)

    all_headers = {"host": "127.0.0.1:8000", **(headers or {})}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await app(scope, receive, send)
    start, *rest = sent
    received = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], received, b"".join(message.get("body", b"") for message in rest))


def asked(app, *arguments, **options):
    """Send a request to the application in an event loop of its own."""
    return asyncio.run(ask(app, *arguments, **options))


def expect_marks(page, expected):
    """Wait until the page highlights these entities, (text, label) each."""
    deadline = time.monotonic() + 30
    while (marks := _marks(page)) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert marks == expected


def _marks(page):
    return [(mark.text_content(), mark.get_attribute("data-label")) for mark in page.locator("#view mark").all()]
