"""Code that the benchmarks share: corpora, measured processes, files of figures, tables, the page of benchmarks."""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # what is measured is the package beside, whatever is installed

from tagger.files import outputs  # noqa: E402

PAGE = PROJECT / "tagger" / "docs" / "benchmarks.md"
PICTURES = PAGE.with_name("pictures")

Figures = dict[str, Any]  # what is measured, by name, as it is written to JSON
Rows = list[tuple[str, ...]]  # a table, its heading first

os.environ["TAGGER_CACHE"] = ""  # a training that is measured learns its own vectors


# ---- command lines ----------------------------------------------------------------------------------------------


def add_data_option(parser: argparse.ArgumentParser, content: str) -> None:
    """Add --data, the folder of the corpora; `content` says in the help what it must hold."""
    data = Path(os.environ.get("TAGGER_DATA") or PROJECT.parent / "shared" / "data")
    parser.add_argument(
        "--data", type=Path, default=data, metavar="DIR", help=f"holds {content} (default: %(default)s)"
    )


def add_docs_option(parser: argparse.ArgumentParser, page: Path = PAGE) -> None:
    """Add --docs, which puts the results into a page of the documentation, by default that of benchmarks."""
    about = f"put the results into {page.relative_to(PROJECT)}, between their markers"
    parser.add_argument("--docs", action="store_true", help=about)


def add_seeds_option(parser: argparse.ArgumentParser, default: Sequence[int] | None, about: str = "") -> None:
    """Add --seeds, a run for each of them; `about` tells what the default is where it is no list."""
    told = about or ",".join(map(str, default or ()))
    about = f"a run of each (default: {told})"
    parser.add_argument("--seeds", type=seed_list, default=default, metavar="1,2,3", help=about)


def add_out_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add --out, the file of figures, which is called `name` where it is not given."""
    out = PROJECT / "bench-out" / f"{name}.json"
    parser.add_argument("--out", type=Path, default=out, metavar="F", help="figures, as JSON (default: %(default)s)")


def add_again_option(parser: argparse.ArgumentParser) -> None:
    """Add --again, which makes runs that the file of figures has."""
    parser.add_argument("--again", action="store_true", help="also make the runs that F has already")


def corpus_file(data: Path, corpus: str, name: str) -> Path:
    """Return the absolute path of a corpus's file `name`, such as "train"."""
    return data.resolve() / corpus / f"{name}.jsonl"


def seed_list(text: str) -> list[int]:
    """Return the seeds of an option, separated by commas."""
    return [int(seed) for seed in text.split(",")]


def say(line: str) -> None:
    """Print a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


# ---- measured processes -----------------------------------------------------------------------------------------


def tagger_command(verb: str, *arguments: object) -> list[str]:
    """Return the command line of one of tagger's commands."""
    return [sys.executable, "-m", "tagger", verb, *map(str, arguments)]


def train_command(
    config: str, train: Path, dev: Path, out: Path, seed: int, *more: object, verb: str = "train"
) -> list[str]:
    """Return the command line that trains a tagger, by `tagger train` or `tagger transfer`."""
    sources = ("--config", config, "--train", train, "--dev", dev)
    return tagger_command(verb, *sources, "--out", out, "--seed", seed, *more)


def run_measured(command: Sequence[object]) -> Figures:
    """Run a command and return its costs; stop the benchmark if the command fails.

    Returns:
        `total_seconds`; `processor_seconds` of all its cores; and `peak_mb`: the peak memory of the process and its
        children together, in 10^6 bytes.
    """
    import psutil  # a benchmark that measures no process runs without it

    begun = time.monotonic()
    process = psutil.Popen([str(part) for part in command], cwd=PROJECT)
    ended = threading.Event()
    sums = [0]
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
    processor = usage.ru_utime + usage.ru_stime
    return {"total_seconds": seconds, "processor_seconds": processor, "peak_mb": max(largest, *sums) / 1e6}


def watch_memory(process: "psutil.Popen", ended: threading.Event, sums: list[int]) -> None:
    """Append to `sums`, five times a second, the memory of a process with children; shared pages count in each."""
    import psutil

    while not ended.wait(0.2):
        with contextlib.suppress(psutil.Error):
            if children := process.children(recursive=True):
                sums.append(sum(member.memory_info().rss for member in [process, *children]))


def size_mb(path: Path) -> float:
    """Return the size of a file, or of all files under a folder, in 10^6 bytes."""
    members = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in members if file.is_file()) / 1e6


# ---- files of figures -------------------------------------------------------------------------------------------


def machine(*packages: str) -> Figures:
    """Return a description of this machine: system, processors, Python, and the versions of these packages."""
    versions = dict.fromkeys(packages, "unknown")  # of what was unpacked rather than installed
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(), **versions}


def write_json(file: Path, content: Figures) -> None:
    """Write a file, and its folder, such that it is complete even when the benchmark is stopped meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    outputs.write_json(file, content, indent=1)


def load_figures(file: Path, settings: Figures, machine: Figures) -> Figures:
    """Return the content of a file of figures, or figures without runs; stop if the settings were different."""
    current: Figures = {"settings": settings, "machine": machine}
    if not file.is_file():
        return {**current, "runs": []}
    figures: Figures = json.loads(file.read_text("utf-8"))
    if figures["settings"] != settings:
        sys.exit(f"{file}: its runs were made with {figures['settings']}, not {settings}; give another --out")
    return {**figures, **current}


def save_run(file: Path, figures: Figures, run: Figures, key: Callable[[Figures], Any]) -> None:
    """Add a run to the figures, in place of one with the same key, and write them: a stopped benchmark goes on."""
    figures["runs"] = [other for other in figures["runs"] if key(other) != key(run)] + [run]
    write_json(file, figures)


def missing_runs(wanted: Iterable[Any], runs: Iterable[Figures], key: Callable[[Figures], Any]) -> list[Any]:
    """Return the wanted keys that no run has."""
    present = set(map(key, runs))
    return [run for run in wanted if run not in present]


# ---- tables -----------------------------------------------------------------------------------------------------


def plain_table(rows: Rows) -> str:
    """Return rows, the heading first, as a table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown_table(rows: Rows) -> str:
    """Return rows, the heading first, as a Markdown table; nothing without rows."""
    if not rows:
        return ""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def mean_and_spread(values: Sequence[float], form: str) -> str:
    """Return the mean ± the sample standard deviation, as text; "-" without values."""
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}" if values else "-"


# ---- the page of benchmarks -------------------------------------------------------------------------------------


def marked_part(name: str, page: Path = PAGE) -> str:
    """Return what stands in the page between the markers of a benchmark, with them; stop unless both are there."""
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    parts = re.findall(rf"^{first}\n(?:.*\n)*?{last}$", page.read_text("utf-8"), re.M)
    if len(parts) != 1:
        sys.exit(f"{page}: expected one line {first} and one line {last} after it")
    return str(parts[0])


def fill_page(name: str, *parts: str, page: Path = PAGE) -> None:
    """Replace what stands in the page between the markers of a benchmark; empty parts are left out."""
    content = "\n\n".join(filter(None, parts))
    text = page.read_text("utf-8")
    page.write_text(text.replace(marked_part(name, page), f"<!-- {name} -->\n{content}\n<!-- /{name} -->"), "utf-8")


def add_picture(picture: Path, name: str, caption: str) -> str:
    """Copy a picture to the documentation's pictures and return the Markdown that shows it in the page."""
    shutil.copyfile(picture, PICTURES / name)
    return f"![{caption}]({PICTURES.name}/{name})"
