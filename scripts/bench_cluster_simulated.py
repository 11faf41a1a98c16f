"""Run the code of `tagger predict --cluster` that plans, commits, resumes and sums up, against pretended workers.

The inputs are files of holes, as large as so many shards need; the 1,000 workers are coroutines that write what a
worker writes, in scaled time, and fail as workers do (see `pretended_workers`). Each size is one run: planned; worked
on until the driver is killed at two fifths; resumed; summed up; and checked: each shard is there exactly once, with the
bytes that it should have. Time is to grow with the number of shards, memory not to.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benching import PROJECT, Figures, fill_page, markdown_table, plain_table, say, write_json
from cluster_costs import PAGE
from pretended_workers import Behaviour, PretendedWorkers, report_on, results_of

from tagger.cluster import Run
from tagger.cluster.journal import Journal
from tagger.cluster.manifest import MANIFEST, SUMMARY, check_results, write_manifest
from tagger.cluster.plan import SHARD, Plan, write_plan
from tagger.cluster.storage import Storage

INPUT_SHARDS = 1_000  # of a file of the input

PROCESSES = 2  # that the workers share

KILLED_AT = 0.4  # of the shards

PHASES = ("plan", "work", "resume")


def main() -> None:
    """Simulate each size, print the figures and write them."""
    options = parse_arguments()
    if options.phase:
        run_phase(options)
        return
    rows = [simulate(options, shards) for shards in options.shards]
    columns = list(rows[0])
    table = [tuple(columns), *(tuple(_shown(row[name]) for name in columns) for row in rows)]
    print(plain_table(table))
    if options.out:
        write_json(options.out, {"workers": options.workers, "rows": rows})
    if options.docs:
        fill_page("simulated", markdown_table(table), page=PAGE)


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("bench_cluster --simulate", description="Run a cluster's code without a cluster.")
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument(
        "--shards", type=int, nargs="+", default=sizes, metavar="N", help="sizes (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1_000, metavar="N", help="pretended (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1_000, metavar="N", help="of time (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work (default: a temporary folder)")
    parser.add_argument("--out", type=Path, metavar="F", help="figures, as JSON")
    page = PAGE.relative_to(PROJECT)
    parser.add_argument("--docs", action="store_true", help=f"put the figures into {page}, between their markers")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    return parser.parse_args()


def simulate(options: argparse.Namespace, shards: int) -> Figures:
    """Return the figures of one size; stop where something is wrong."""
    figures: Figures = {"shards": shards}
    folder = Path(tempfile.mkdtemp(prefix="simulated_", dir=options.folder))
    try:
        make_inputs(folder / "texts", shards)
        for phase in PHASES:
            say(f"== {shards:,} shards: {phase}")
            figures |= measured_phase(options, phase, folder)
        begin = time.monotonic()
        figures["shards"] = check(Storage(str(folder / "out")))
        figures["check, s"] = time.monotonic() - begin
    finally:
        shutil.rmtree(folder)
    done = figures["shards"]
    figures["shards/s"] = done / (figures["work, s"] + figures["resume, s"])
    return figures


def make_inputs(folder: Path, shards: int) -> None:
    """Write files that begin as JSON Lines do and then are holes: large, and without a block on disk."""
    folder.mkdir()
    for number in range(-(-shards // INPUT_SHARDS)):
        with (folder / f"{number:06d}.jsonl").open("wb") as file:
            file.write(b'{"text": "x"}\n' * 100)
            file.truncate(min(INPUT_SHARDS, shards - number * INPUT_SHARDS) * SHARD)


def measured_phase(options: argparse.Namespace, phase: str, folder: Path) -> Figures:
    """Run a phase in a process of its own; return its seconds and its peak memory in 10^6 bytes."""
    more = ["--phase", phase, "--folder", str(folder), "--workers", str(options.workers), "--scale", str(options.scale)]
    begin = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, __file__, *more], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code != (-signal.SIGKILL if phase == "work" else 0):
        sys.exit(f"bench_cluster: {phase} ended with exit code {code}")
    megabytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {f"{phase}, s": time.monotonic() - begin, f"{phase}, MB": megabytes}


# ---- one phase, in a process of its own ----------------------------------------------------------------------------
def run_phase(options: argparse.Namespace) -> None:
    """Plan; or work until it is killed; or go on and sum up."""
    storage = Storage(str(options.folder / "out"))
    if options.phase == "plan":
        paths = [str(path) for path in sorted((options.folder / "texts").iterdir())]
        write_plan(storage, {"options": {"format": "jsonl"}}, paths, "", options.workers)
        return
    plan = Plan(storage)
    journal = Journal(storage, plan.count)
    if options.phase == "resume":
        check_results(storage, journal, "jsonl")
    behaviour = Behaviour(30 / options.scale, 0.01, 0.01, max(plan.count // 10, 2))
    workers = PretendedWorkers(storage.root, options.workers, PROCESSES, behaviour)

    def killed(run: Run) -> None:
        if options.phase == "work" and run.journal.done >= KILLED_AT * plan.count:
            os.kill(os.getpid(), signal.SIGKILL)

    run = Run(plan.shards(), journal, workers, False, killed)
    begin = time.monotonic()
    run.work()
    workers.close()
    write_manifest(storage, plan, journal, run.failed, time.monotonic() - begin)
    journal.close()


# ---- what has come of it -------------------------------------------------------------------------------------------
def check(storage: Storage) -> int:
    """Return the number of shards; stop unless each was done exactly once, with the right bytes, or is set aside."""
    summary = json.loads(storage.read(SUMMARY) or b"{}")
    seen = 0
    with storage.opened(MANIFEST) as manifest:
        for line in manifest:
            entry = json.loads(line)
            number = entry["shard"]
            expected = report_on(number, 0)
            if (entry["sha256"], entry["bytes"]) != (expected.sha256, expected.bytes):
                sys.exit(f"shard {number} has other bytes")
            if storage.read(entry["file"]) != results_of(number):
                sys.exit(f"{entry['file']} has other bytes")
            seen += 1
    files = sum(len(names) for _, _, names in os.walk(Path(storage.root) / "results"))
    if not seen == summary["done"] == summary["shards"] - summary["failed"] == files:
        sys.exit(f"{seen} lines, {files} files, but {summary}")
    return seen


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


if __name__ == "__main__":
    main()
