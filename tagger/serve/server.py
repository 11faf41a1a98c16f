"""Run the application: listen on an address, answer until interrupted."""

import contextlib
import signal
import socket
import sys

import uvicorn

from tagger.calibration import Thresholds
from tagger.errors import ConfigError
from tagger.pipeline import Tagger
from tagger.redaction.lists import Lists
from tagger.serve.application import application
from tagger.serve.corrections import CorpusFile
from tagger.serve.limits import Limits
from tagger.serve.queue_endpoints import QueueSetup

_LOOPBACK_ADDRESSES = ("127.0.0.1", "localhost", "::1")
_LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "[::1]"}  # as they stand in the header Host


def serve(
    tagger: Tagger,
    host: str,
    port: int,
    limits: Limits,
    save: CorpusFile | None,
    token: str,
    queue: QueueSetup | None = None,
    thresholds: Thresholds | None = None,
    lists: Lists | None = None,
) -> None:
    """Answer requests until the process is interrupted or terminated; accepted requests are finished.

    Args:
        tagger: Predicts the entities.
        host: Address or host name to listen on.
        port: Port to listen on; 0 for any free one.
        limits: Requests beyond them are rejected.
        save: Where corrected documents are saved; None for nowhere.
        token: The token that clients must send; empty for none.
        queue: Texts to correct one by one; needs `save`.
        thresholds: How probable an entity must be, where a request does not say so; of all, by default.
        lists: What redaction replaces always or never, and its secret.

    Raises:
        ConfigError: If the server cannot listen on the address.
    """
    listening = _listen(host, port)
    local = host in _LOOPBACK_ADDRESSES
    hosts = _LOOPBACK_HOSTS if local and not token else None
    app = application(tagger, limits, save, token, hosts, queue, thresholds, lists)
    config = uvicorn.Config(
        app, ws="none", proxy_headers=False, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=limits.seconds,
    )  # fmt: skip
    name = f"[{host}]" if ":" in host else host
    print(f"tagger: http://{name}:{listening.getsockname()[1]}/  (Ctrl-C stops it)", file=sys.stderr, flush=True)
    if not (local or token):
        print("tagger: anyone who can reach this machine can use it; --token asks for a token", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it is done
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; try another --host or --port") from None
