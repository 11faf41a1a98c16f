"""Measure `tagger predict --cluster local` against `tagger predict`, on the same text, in turns.

The text is the dev texts of msra, a sentence a line, over and over. Each command is measured over a part of it and over
all of it: the characters between, over the seconds between, are the steady speed, without what it takes to start. The
memory is that of the driver's process alone, without Ray's daemons and the workers: its peak, and its growth from the
first half of the run to the second. Both results must have the same bytes.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from benching import (
    PROJECT,
    Figures,
    Rows,
    add_data_option,
    corpus_file,
    machine,
    plain_table,
    say,
    tagger_command,
    write_json,
)

from tagger.corpus import texts

PART = 0.25  # of the text, for the shorter run


def main() -> None:
    """Measure both commands in turns, compare their results, and print the figures."""
    options = parse_arguments()
    figures: Figures = {"machine": machine("ray", "onnxruntime"), "runs": []}
    with tempfile.TemporaryDirectory(prefix="bench_cluster_") as name:
        folder = Path(name)
        sources = [folder / "part.txt", folder / "all.txt"]
        copies = [max(1, round(options.repeat * PART)), options.repeat]
        lines = list(texts(corpus_file(options.data, "msra", "dev")))
        characters = [write_copies(lines, source, count) for source, count in zip(sources, copies, strict=True)]
        for number in range(options.runs):
            for kind in ("plain", "cluster"):
                say(f"== run {number + 1} of {options.runs}: {kind}")
                runs = [measured(options, kind, source, folder / kind) for source in sources]
                seconds = runs[1]["seconds"] - runs[0]["seconds"]
                speed = (characters[1] - characters[0]) / seconds
                figures["runs"].append({"kind": kind, "characters_per_second": speed, **runs[1]})
            if sha256_of(folder / "plain") != sha256_of(folder / "cluster"):
                sys.exit("bench_cluster: the results differ")
            write_json(options.out, figures)
    show(figures)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("bench_cluster", description="Measure predict on a cluster against plain predict.")
    add_data_option(parser, "msra")
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE", help="the tagger")
    parser.add_argument("--runtime", default="onnx", help="of the tagger (default: %(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=100, metavar="N", help="copies of the text (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of which the median (default: %(default)s)")
    out = PROJECT / "bench-out" / "cluster.json"
    parser.add_argument("--out", type=Path, default=out, metavar="F", help="figures, as JSON (default: %(default)s)")
    return parser.parse_args()


def write_copies(lines: list[str], out: Path, copies: int) -> int:
    """Write the text over and over; return its characters."""
    with out.open("w", encoding="utf-8") as file:
        for _ in range(copies):
            file.writelines(f"{line}\n" for line in lines)
    return copies * sum(map(len, lines))


def measured(options: argparse.Namespace, kind: str, source: Path, out: Path) -> Figures:
    """Run one command; return its seconds, and the peak and the growth of its own process's memory in 10^6 bytes."""
    shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
    more = ("--cluster", "local") if kind == "cluster" else ()
    command = tagger_command(
        "predict", options.bundle.resolve(), source, "--out", out, "--runtime", options.runtime, *more
    )  # fmt: skip
    begin = time.monotonic()
    sizes: list[float] = []
    process = psutil.Popen(command, cwd=PROJECT)
    while process.poll() is None:
        try:
            sizes.append(process.memory_info().rss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.1)
    if process.wait():
        sys.exit(f"bench_cluster: exit code {process.returncode} from: {' '.join(command)}")
    half = len(sizes) // 2
    growth = max(sizes[half:]) - max(sizes[:half] or sizes)
    figures = {"seconds": time.monotonic() - begin, "peak_mb": max(sizes), "growth_mb": growth}
    if kind == "cluster":
        figures["worker_seconds"] = json.loads((out / "summary.json").read_text("utf-8"))["seconds"]
    return figures


def sha256_of(out: Path) -> str:
    """Return the SHA-256 of the results of a run, in order."""
    digest = hashlib.sha256()
    for path in sorted((out / "results").rglob("*.jsonl")) if out.is_dir() else [out]:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def show(figures: Figures) -> None:
    """Print the medians, and the ratio that counts."""
    names = ("characters_per_second", "seconds", "peak_mb", "growth_mb")
    rows: Rows = [("", "characters/s, steady", "file to file, s", "peak of the driver, MB", "growth, MB")]
    speeds: list[float] = []
    for kind in ("plain", "cluster"):
        runs = [run for run in figures["runs"] if run["kind"] == kind]
        medians = [statistics.median(run[name] for run in runs) for name in names]
        speeds.append(medians[0])
        rows.append((kind, *(f"{median:,.1f}" for median in medians)))
    print(plain_table(rows))
    print(f"the cluster has {speeds[1] / speeds[0]:.1%} of the speed of the plain command")


if __name__ == "__main__":
    main()
