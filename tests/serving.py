"""A server for tests, in a thread."""

import socket
import threading
from contextlib import contextmanager

import uvicorn

from tagger.serve.application import application


@contextmanager
def served(tagger, **given):
    """Yield the port of a server in a thread, which is shut down in order."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(tagger, **given), ws="none", log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
