"""Put `tagger serve` under load on the loopback address: many clients, a flood beyond its limits, very many requests.

The server is a process of its own; the clients share this one, and its processors with the server. Each client sends
its next request when it has the answer to the last, on one connection. Texts are those of the embedded sample.

    load    so many clients for so many seconds: errors, latency, requests a second
    flood   beyond each limit; what is refused must be refused with 413, 429 or 503, and the next request answered
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
from pathlib import Path

import psutil
from benching import PROJECT, machine, say, write_json

from tagger.corpus import texts

WARM_UP_SECONDS = 3
FLOOD_CLIENTS = 400


def main():
    options = parse_arguments()
    bodies = [json.dumps({"text": text}).encode() for text in texts(PROJECT / "data" / "train.jsonl")]
    figures = {"bundle": str(options.bundle), "options": options.serve, "machine": machine("onnxruntime", "uvicorn")}
    with subprocess.Popen(serve_command(options), cwd=PROJECT, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = int(re.search(r":(\d+)/", server.stderr.readline())[1])
            figures |= asyncio.run(measure(options, port, server.pid, bodies))
        finally:
            server.terminate()
    figures["exit_code"] = server.returncode
    write_json(options.out, figures)
    print_figures(figures)
    say(f"figures: {options.out}")
    sys.exit(0 if passed(figures) else 1)


def parse_arguments():
    parser = argparse.ArgumentParser("bench_serve", description="Put tagger serve under load on this machine.")
    out = PROJECT / "bench-out" / "serve.json"
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a trained tagger")
    parser.add_argument("--clients", type=int, default=50, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="of load (default: %(default)s)")
    about = "over which memory is watched; 0 for none (default: %(default)s)"
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help=about)
    parser.add_argument(
        "--serve", default="", metavar="OPTIONS", help='more for tagger serve: --serve="--runtime int8"'
    )
    parser.add_argument("--out", type=Path, default=out, metavar="F", help="figures, as JSON (default: %(default)s)")
    options = parser.parse_args()
    if not options.bundle.is_dir():
        parser.error(f"{options.bundle}: no such folder")
    return options


def serve_command(options):
    command = [sys.executable, "-m", "tagger.cli", "serve", str(options.bundle.resolve()), "--port", "0"]
    return [*command, *options.serve.split()]


async def measure(options, port, process, bodies):
    await load(port, options.clients, bodies, seconds=WARM_UP_SECONDS)
    say(f"== load: {options.clients} clients for {options.seconds:g} s")
    found = {"load": await load(port, options.clients, bodies, seconds=options.seconds)}
    say("== flood")
    found["flood"] = await flood(port, bodies)
    if options.requests:
        say(f"== memory over {options.requests:,} requests")
        before = resident_mb(process)
        half = await load(port, options.clients, bodies, requests=options.requests // 2)
        middle = resident_mb(process)
        rest = await load(port, options.clients, bodies, requests=options.requests - options.requests // 2)
        found["memory"] = {
            "requests": half["requests"] + rest["requests"], "errors": half["errors"] + rest["errors"],
            "before_mb": before, "middle_mb": middle, "after_mb": resident_mb(process),
        }  # fmt: skip
    return found


# ---- clients -----------------------------------------------------------------------------------------------------


def request(body, headers=""):
    head = "POST /tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def exchange(reader, writer, sent):
    """Send a request; return the status and the body of its answer."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    return int(head[9:12]), await reader.readexactly(length)


async def once(port, sent):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(120):
            return (await exchange(reader, writer, sent))[0]
    finally:
        writer.close()


async def load(port, clients, bodies, seconds=None, requests=None):
    """Let clients ask for so many seconds, or so many requests; return what was measured."""
    sent = itertools.cycle([request(body) for body in bodies])
    left = itertools.repeat(None) if requests is None else iter(range(requests))
    latencies, errors = [], collections.Counter()
    begun = time.perf_counter()

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            start = time.perf_counter()
            if seconds and start - begun > seconds:
                break
            status, _ = await exchange(reader, writer, next(sent))
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


async def flood(port, bodies):
    """Return, for each limit, the statuses of a flood beyond it, and that of the request after it."""
    large = json.dumps({"text": "长文本。" * 20_000}).encode()
    floods = {
        "bodies too long": [request(b"x" * 3_000_000)] * FLOOD_CLIENTS,
        "texts too many": [request(json.dumps({"texts": ["好"] * 2000}).encode())] * FLOOD_CLIENTS,
        "clients too many": [request(bodies[0])] * (5 * FLOOD_CLIENTS),
        "text too much": [request(large)] * (FLOOD_CLIENTS // 2),
    }
    found = {}
    for name, many in floods.items():
        answers = await asyncio.gather(*(once(port, sent) for sent in many), return_exceptions=True)
        statuses = collections.Counter(str(answer) if isinstance(answer, int) else repr(answer) for answer in answers)
        found[name] = {"statuses": dict(statuses), "next": await once(port, request(bodies[0]))}
    return found


def resident_mb(process):
    return psutil.Process(process).memory_info().rss / 2**20


# ---- showing -----------------------------------------------------------------------------------------------------


def passed(figures):
    refused = {"200", "413", "429", "503"}
    floods = figures["flood"].values()
    memory = figures.get("memory", {"errors": 0})
    return (
        not figures["load"]["errors"] and not memory["errors"] and figures["exit_code"] == 0
        and all(flood["next"] == 200 and set(flood["statuses"]) <= refused for flood in floods)
    )  # fmt: skip


def print_figures(figures):
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
