"""Put `tagger serve` under load on the loopback address: many clients, a flood beyond its limits, very many requests.

The server is a process of its own; the clients share this one, and the processors with the server. Each client sends
its next request when it has the answer to the last, on one connection. Texts are those of the embedded sample.

    load    a number of clients for a number of seconds: errors, latency, requests a second
    flood   beyond each limit; refusals must be 413, 429 or 503, and the next request must be answered
    memory  of the server before and after very many requests
"""

import argparse
import asyncio
import collections
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from benching import (
    PROJECT,
    Figures,
    add_out_option,
    machine,
    say,
    tagger_command,
    write_json,
)

from tagger.corpus import texts

WARM_UP_SECONDS = 3
FLOOD_CLIENTS = 400


def main() -> None:
    """Start the server, put it under load, show the figures; exit code 1 if a requirement is not met."""
    options = parse_arguments()
    bodies = [json.dumps({"text": text}).encode() for text in texts(PROJECT / "data" / "train.jsonl")]
    figures: Figures = {
        "bundle": str(options.bundle),
        "options": options.serve,
        "machine": machine("onnxruntime", "uvicorn"),
    }
    with subprocess.Popen(serve_command(options), cwd=PROJECT, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = port_in(server.stderr.readline() if server.stderr else "")
            figures |= asyncio.run(measure(options, port, server.pid, bodies))
        finally:
            server.terminate()
    figures["exit_code"] = server.returncode
    write_json(options.out, figures)
    print_figures(figures)
    say(f"figures: {options.out}")
    sys.exit(0 if passed(figures) else 1)


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before the server is started."""
    parser = argparse.ArgumentParser("bench_serve", description="Put tagger serve under load on this machine.")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a trained tagger")
    parser.add_argument("--clients", type=int, default=50, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="of load (default: %(default)s)")
    about = "over which memory is watched; 0 for none (default: %(default)s)"
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help=about)
    parser.add_argument(
        "--serve", default="", metavar="OPTIONS", help='more for tagger serve: --serve="--runtime int8"'
    )
    add_out_option(parser, "serve")
    options = parser.parse_args()
    if not options.bundle.is_dir():
        parser.error(f"{options.bundle}: no such folder")
    return options


def serve_command(options: argparse.Namespace) -> list[str]:
    """Return the command line of the server, which chooses its port."""
    return tagger_command("serve", options.bundle.resolve(), "--port", 0, *options.serve.split())


def port_in(line: str) -> int:
    """Return the port in the line that the server prints when it is ready."""
    address = re.search(r":(\d+)/", line)
    if not address:
        sys.exit(f"bench_serve: expected an address, received {line!r}")
    return int(address[1])


async def measure(options: argparse.Namespace, port: int, process: int, bodies: list[bytes]) -> Figures:
    """Return the figures of load, flood and memory."""
    await load(port, options.clients, bodies, seconds=WARM_UP_SECONDS)
    say(f"== load: {options.clients} clients for {options.seconds:g} s")
    figures = {"load": await load(port, options.clients, bodies, seconds=options.seconds)}
    say("== flood")
    figures["flood"] = await flood(port, bodies)
    if options.requests:
        say(f"== memory over {options.requests:,} requests")
        before = resident_mb(process)
        half = await load(port, options.clients, bodies, requests=options.requests // 2)
        middle = resident_mb(process)
        rest = await load(port, options.clients, bodies, requests=options.requests - options.requests // 2)
        figures["memory"] = {
            "requests": half["requests"] + rest["requests"], "errors": half["errors"] + rest["errors"],
            "before_mb": before, "middle_mb": middle, "after_mb": resident_mb(process),
        }  # fmt: skip
    return figures


# ---- clients -----------------------------------------------------------------------------------------------------


def request(body: bytes) -> bytes:
    """Return a request to tag a body, as it is sent."""
    head = "POST /tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> int:
    """Send a request, read its answer, return the status."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    if length:
        await reader.readexactly(int(length[1]))
    return int(head[9:12])


async def once(port: int, sent: bytes) -> int:
    """Send a request on a connection of its own and return the status of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(120):
            return await exchange(reader, writer, sent)
    finally:
        writer.close()


async def load(
    port: int, clients: int, bodies: Sequence[bytes], seconds: float | None = None, requests: int | None = None
) -> Figures:
    """Let clients send requests for this many seconds, or this many requests; return what was measured."""
    sent = itertools.cycle([request(body) for body in bodies])
    left: Iterable[Any] = itertools.repeat(None) if requests is None else iter(range(requests))
    latencies: list[float] = []
    errors: collections.Counter[str] = collections.Counter()
    begun = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            start = time.perf_counter()
            if seconds and start - begun > seconds:
                break
            status = await exchange(reader, writer, next(sent))
            latencies.append(time.perf_counter() - start)
            if status != 200:
                errors[str(status)] += 1
        writer.close()

    done = await asyncio.gather(*(client() for _ in range(clients)), return_exceptions=True)
    for error in filter(None, done):
        errors[repr(error)] += 1
    elapsed = time.perf_counter() - begun
    cuts = [1000 * cut for cut in statistics.quantiles(latencies, n=1000)]
    return {
        "requests": len(latencies), "errors": sum(errors.values()), "error_kinds": dict(errors),
        "requests_per_second": len(latencies) / elapsed, "p50_ms": cuts[499], "p99_ms": cuts[989], "max_ms": cuts[-1],
    }  # fmt: skip


async def flood(port: int, bodies: Sequence[bytes]) -> Figures:
    """Return, for each limit, the statuses of a flood beyond it, and that of the request after it."""
    large = json.dumps({"text": "长文本。" * 20_000}).encode()
    floods = {
        "bodies too long": [request(b"x" * 3_000_000)] * FLOOD_CLIENTS,
        "texts too many": [request(json.dumps({"texts": ["好"] * 2000}).encode())] * FLOOD_CLIENTS,
        "clients too many": [request(bodies[0])] * (5 * FLOOD_CLIENTS),
        "text too much": [request(large)] * (FLOOD_CLIENTS // 2),
    }
    figures = {}
    for name, many in floods.items():
        answers = await asyncio.gather(*(once(port, sent) for sent in many), return_exceptions=True)
        statuses = collections.Counter(str(answer) if isinstance(answer, int) else repr(answer) for answer in answers)
        figures[name] = {"statuses": dict(statuses), "next": await once(port, request(bodies[0]))}
    return figures


def resident_mb(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    return psutil.Process(process).memory_info().rss / 2**20


# ---- showing -----------------------------------------------------------------------------------------------------


def passed(figures: Figures) -> bool:
    """Return whether nothing failed and every flood was refused as it should be."""
    refused = {"200", "413", "429", "503"}
    floods = figures["flood"].values()
    memory = figures.get("memory", {"errors": 0})
    return bool(
        not figures["load"]["errors"] and not memory["errors"] and figures["exit_code"] == 0
        and all(flood["next"] == 200 and set(flood["statuses"]) <= refused for flood in floods)
    )  # fmt: skip


def print_figures(figures: Figures) -> None:
    """Print the figures in a few lines."""
    shown = figures["load"]
    print(f"load: {shown['requests']:,} requests, {shown['errors']} errors {shown['error_kinds'] or ''}")
    print(f"      {shown['requests_per_second']:.0f} requests/s, p50 {shown['p50_ms']:.1f} ms, "
          f"p99 {shown['p99_ms']:.1f} ms, slowest thousandth {shown['max_ms']:.1f} ms")  # fmt: skip
    for name, flood in figures["flood"].items():
        print(f"flood: {name}: {flood['statuses']}, next request {flood['next']}")
    if memory := figures.get("memory"):
        sizes = " -> ".join(f"{memory[key]:.0f}" for key in ("before_mb", "middle_mb", "after_mb"))
        print(
            f"memory: {sizes} MB (before, after half, after {memory['requests']:,} requests), {memory['errors']} errors"
        )


if __name__ == "__main__":
    main()
