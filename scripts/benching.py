"""What the benches share: where the corpora are, running a command and measuring it, writing figures and tables."""

import contextlib
import json
import os
import platform
import re
import statistics
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

import psutil

from tagger import files

PROJECT = Path(__file__).resolve().parents[1]

os.environ["TAGGER_CACHE"] = ""  # a training that is measured learns its own vectors


def add_data_option(parser, holds):
    """Add --data, a folder that holds what is named."""
    data = Path(os.environ.get("TAGGER_DATA") or PROJECT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=data, metavar="DIR", help=f"holds {holds} (default: %(default)s)")


def corpus_file(data, corpus, name):
    return data.resolve() / corpus / f"{name}.jsonl"


def seed_list(given):
    return [int(seed) for seed in given.split(",")]


def say(line):
    print(line, file=sys.stderr, flush=True)


def train_command(config, train, dev, out, seed, *more, command="train"):
    """Return the command that trains a tagger, `tagger train` or `tagger transfer`."""
    command = [sys.executable, "-m", "tagger.cli", command, "--config", config, "--train", train, "--dev", dev]
    return [*command, "--out", out, "--seed", seed, *more]


def run_measured(command):
    """Run a command; return its seconds and its peak memory, that of its own processes together."""
    begun = time.monotonic()
    process = psutil.Popen([str(part) for part in command], cwd=PROJECT)
    ended, sums = threading.Event(), [0]
    watcher = threading.Thread(target=watch_memory, args=(process, ended, sums))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)  # of this child alone: RUSAGE_CHILDREN is the largest of all so far
    seconds = time.monotonic() - begun
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{Path(sys.argv[0]).stem}: exit code {process.returncode} from: {' '.join(map(str, command))}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"total_seconds": seconds, "peak_mb": max(largest, *sums) / 1e6}


def watch_memory(process, ended, sums):
    """Add up, five times a second, the memory of a process that has others; what they share counts in each."""
    while not ended.wait(0.2):
        with contextlib.suppress(psutil.Error):
            if children := process.children(recursive=True):
                sums.append(sum(one.memory_info().rss for one in [process, *children]))


def machine(*packages):
    """Return what the figures were measured on: system, processors, Python, and the versions of these packages."""
    versions = {name: metadata.version(name) for name in packages}
    return {"system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(), **versions}


def write_json(file, content):
    """Write a file that is always whole, also when the bench is stopped meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(file, content, indent=1)


def kept_figures(file, settings, machine):
    """Return what a file of figures holds, or that no run was made; stop if it was made with other settings."""
    now = {"settings": settings, "machine": machine}
    if not file.is_file():
        return {**now, "runs": []}
    kept = json.loads(file.read_text("utf-8"))
    if kept["settings"] != settings:
        sys.exit(f"{file}: its runs were made with {kept['settings']}, not {settings}; give another --out")
    return {**kept, **now}


def plain(rows):
    """Return rows of text, the first one the heading, as a table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown(rows):
    """Return rows of text, the first one the heading, as a Markdown table; nothing for none."""
    if not rows:
        return ""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def keep_run(file, figures, run, key):
    """Put a run among the figures, in place of one with its key, and write them: a bench that is stopped goes on."""
    figures["runs"] = [kept for kept in figures["runs"] if key(kept) != key(run)] + [run]
    write_json(file, figures)


def to_make(wanted, runs, key):
    """Return the wanted runs, by their keys, that are not among those made."""
    made = set(map(key, runs))
    return [run for run in wanted if run not in made]


def mean_and_spread(values, form):
    """Return the mean of some values ± their sample standard deviation, as text; "-" of none."""
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}" if values else "-"


def between_markers(name, readme):
    """Return what stands between the markers of a bench's tables in a README, with them."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    found = re.findall(rf"^{first}\n(?:.*\n)*?{last}$", readme.read_text("utf-8"), re.M)
    if len(found) != 1:
        sys.exit(f"{readme}: expected one line {first} and one line {last} after it")
    return found[0]


def fill_readme(name, readme, content):
    """Put something between the markers of a README."""
    text = readme.read_text("utf-8")
    filled = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
    readme.write_text(text.replace(between_markers(name, readme), filled), "utf-8")
