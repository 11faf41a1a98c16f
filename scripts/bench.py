"""Measure speed, memory, size and entity F1 of this tagger and of others, on the same text, in one run.

The text is the dev texts of msra, a sentence a line. Each measurement is a process of its own. File to file is from
the start of a process to its end, over --repeat copies of the text: this tagger by `tagger predict`, the others by
the runner of bench_peers.py, which reads lines and writes JSON lines. Steady is the same without start-up: the
characters of all copies but one, over the time of all copies less the time of one. A system that would take more than
two minutes for its copies gets fewer, at least two. Seconds are medians over --runs; peak memory is that of all copies,
in all of a system's processes: for much text `tagger predict` has one for each core, and one that reads and writes.

Latency is that of a call with one sentence cut to 30 characters, over 1,000 calls after 50 warm-up calls. Cold start
is from the start of a process to its answer to a short text, its files being cached. Installed is the size of the
packages that a system needs, dependencies included: for runtime onnx and int8 the base installation, for openvino the
extra `fast`, for keras `train`; for a peer what `pip install` put into its own, empty environment. The threads are
those file to file, with default settings; on ONNX Runtime a single sentence takes this tagger one thread.

F1 is strict (start, end and label) over people, places and organisations, on one copy. The tagger's bundles and the
CRF are to be trained on msra's training texts; the other systems come with their own models and another definition of
an entity, so their F1 only says how well they do here out of the box. A star marks one that has seen the texts.

The loop of the 2016 script segments, predicts and decodes text by text; it gets a cut of the text. Its labels are not
those of msra, so it has no F1.
"""

import argparse
import json
import math
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from bench_peers import CALLS, PEERS, NotMeasuredError, first_answer, install, last_line
from benching import (
    PROJECT,
    Figures,
    Rows,
    add_data_option,
    add_docs_option,
    add_out_option,
    add_picture,
    corpus_file,
    fill_page,
    machine,
    markdown_table,
    marked_part,
    plain_table,
    run_measured,
    say,
    size_mb,
    tagger_command,
    write_json,
)
from packaging.requirements import Requirement

from tagger.corpus import read
from tagger.documents import Document, Entity
from tagger.runtime import RUNTIMES
from tagger.score import Scores

NAME = "bench"
LINES_2016 = 200
MAX_SECONDS = 120  # of a run over all copies
CHARACTERS = 30  # of a sentence whose latency is measured
SHORT_TEXT = "李明在北京大学读书。"
BASELINE = "tagger, characters, onnx"
PACKAGES = ("tensorflow", "keras", "onnxruntime", "numpy", "jieba", "rjieba", "python-crfsuite")

# What the table shows: key in a row's figures, heading, format of the value.
COLUMNS = [
    ("steady_speed", "characters/s, steady", ",.0f"),
    ("file_speed", "file to file", ",.0f"),
    ("p50_ms", "one sentence, ms: p50", ".2f"),
    ("p99_ms", "p99", ".2f"),
    ("cold_seconds", "cold start, s", ".2f"),
    ("peak_mb", "peak memory, MB", ",.0f"),
    ("model_mb", "model, MB", ",.1f"),
    ("installed_mb", "installed, MB", ",.0f"),
    ("f1", "entity F1", ".3f"),
]


@dataclass(frozen=True)
class System:
    """How to run a system, and what it takes on disk.

    Args:
        runner: The Python that has it, its name in bench_peers, and the arguments of its function there.
        installed_mb: Size of its packages.
        model: Its file or folder; None where it comes inside a package.
        threads: "all cores" or "1".
        bundle: Folder and runtime, if it is this tagger: it is measured file to file by `tagger predict`.
        lines: Number of sentences that it gets; 0 for all.
        saw_dev: See `Peer`.
        versions: Versions of its packages, where they are in an environment of their own.
    """

    runner: tuple[object, ...]
    installed_mb: float
    model: Path | None = None
    threads: str = "1"
    bundle: tuple[Path, str] | None = None
    lines: int = 0
    saw_dev: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    def command(self, mode: str, source: Path, out: Path | str) -> list[str]:
        """Return the command line that puts a file through the system; see bench_peers for the modes."""
        if mode == "file" and self.bundle:
            folder, runtime = self.bundle
            return tagger_command("predict", folder, source, "--out", out, "--runtime", runtime, "--force")
        python, name, *arguments = self.runner
        script = Path(__file__).with_name("bench_peers.py")
        return [str(part) for part in (python, "-W", "ignore", script, mode, name, source, out, *arguments)]


def main() -> None:
    """Measure one system after another, and show all."""
    options = parse_arguments()
    documents = list(read(corpus_file(options.data, "msra", "dev")))[: options.lines]
    settings = {name: str(value) for name, value in vars(options).items()}
    figures: Figures = {"settings": settings, "machine": {**machine(*PACKAGES), **processor()}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="bench_") as folder:
        measured = partial(measure, documents=documents, options=options, folder=Path(folder))
        for row in rows_of(planned(options, Path(folder)), measured):
            figures["rows"].append(row)
            add_ratios(figures["rows"])
            write_json(options.out, figures)  # after each row: a stopped benchmark leaves what it has measured
    show(figures, options)


def rows_of(
    systems: Iterable[tuple[str, Callable[[], System]]], measure: Callable[[System], Figures]
) -> Iterator[Figures]:
    """Yield the row of each system: its name with its figures, or with the reason why it is not measured."""
    for name, make in systems:
        say(f"== {name}")
        try:
            yield {"name": name, **measure(make())}
        except NotMeasuredError as reason:
            say(f"not measured: {reason}")
            yield {"name": name, "not_measured": str(reason)}


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is measured."""
    about = "Measure speed, memory, size and entity F1 of this tagger and of others on the same text."
    parser = argparse.ArgumentParser(NAME, description=about)
    crf = PROJECT / "bench-out" / "msra.crfsuite"
    add_data_option(parser, "msra")
    parser.add_argument("--default", type=Path, required=True, metavar="BUNDLE", help="with character units, of msra")
    parser.add_argument("--small", type=Path, metavar="BUNDLE", help="by the preset small (without: no such rows)")
    parser.add_argument("--word", type=Path, metavar="BUNDLE", help="with word units, of msra (without: no such rows)")
    parser.add_argument("--crfsuite", type=Path, default=crf, metavar="F", help="trained if absent (%(default)s)")
    parser.add_argument("--peers", type=peer_list, default=list(PEERS), metavar="A,B", help=f"of {','.join(PEERS)}")
    parser.add_argument("--repeat", type=int, default=10, metavar="N", help="copies of the text (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of which the median (default: %(default)s)")
    add_out_option(parser, "speed")
    add_docs_option(parser)
    parser.add_argument("--lines", type=int, help=argparse.SUPPRESS)  # of the text, to try the benchmark
    options = parser.parse_args()
    if options.repeat < 1 or options.runs < 1:
        parser.error("--repeat and --runs must be at least 1")
    bundles = [bundle / "manifest.json" for bundle in (options.default, options.small, options.word) if bundle]
    for needed in (*bundles, corpus_file(options.data, "msra", "dev")):
        if not needed.is_file():
            parser.error(f"{needed}: no such file")
    if options.docs:
        marked_part(NAME)
    return options


def peer_list(text: str) -> list[str]:
    """Return the peers of an option, separated by commas."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of: {', '.join(PEERS)}")
    return names


def processor() -> Figures:
    """Return model and vector units of the processor, where the system says, and the present load."""
    file = Path("/proc/cpuinfo")
    lines = [line.split(":", 1) for line in file.read_text().splitlines() if ":" in line] if file.is_file() else []
    info = {key.strip(): value.strip() for key, value in lines}
    flags = [flag for flag in info.get("flags", "").split() if flag.startswith(("amx", "avx"))]
    return {"processor": info.get("model name", ""), "flags": flags, "load": os.getloadavg()}


# ---- systems ----------------------------------------------------------------------------------------------------


def planned(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Callable[[], System]]]:
    """Yield name and maker of each row; a maker installs or trains what the system needs."""
    yield "2016 script, its loop", script_2016
    for kind, bundle, runtimes in (
        ("characters", options.default, list(RUNTIMES)),
        ("small", options.small, [name for name in RUNTIMES if name != "keras"]),
        ("words", options.word, [name for name in RUNTIMES if name != "int8"]),
    ):
        for runtime in runtimes if bundle else ():
            yield f"tagger, {kind}, {runtime}", partial(this_tagger, bundle.resolve(), runtime)
    yield "jieba.posseg", lambda: System((sys.executable, "jieba"), installed_mb("jieba"))
    yield "python-crfsuite", partial(crfsuite, options)
    for name in options.peers:
        yield PEERS[name].name, partial(peer, name, folder / name)


def script_2016() -> System:
    """Return the prediction loop of the 2016 script."""
    size = installed_mb("jieba", "tensorflow", "keras", "gensim")
    return System((sys.executable, "2016"), size, threads="all cores", lines=LINES_2016)


def this_tagger(bundle: Path, runtime: str) -> System:
    """Return a bundle of this tagger on a runtime."""
    extra = RUNTIMES[runtime].extra
    size = installed_mb(f"hantagger[{extra}]" if extra else "hantagger")
    runner = (sys.executable, "tagger", bundle, runtime)
    return System(runner, size, model=bundle, threads="all cores", bundle=(bundle, runtime))


def crfsuite(options: argparse.Namespace) -> System:
    """Return the CRF without a network, trained if it is not there."""
    model = options.crfsuite.resolve()
    if not model.is_file():
        model.parent.mkdir(parents=True, exist_ok=True)
        part, corpus = model.with_name(model.name + ".part"), corpus_file(options.data, "msra", "train")
        run([sys.executable, "-W", "ignore", Path(__file__).with_name("bench_crf.py"), "train", corpus, part])
        part.replace(model)
    return System((sys.executable, "crfsuite", model), installed_mb("python-crfsuite", "jieba"), model=model)


def peer(name: str, folder: Path) -> System:
    """Return a system of other people, installed into an environment of its own."""
    python, size, versions = install(name, folder)
    return System((python, name), size, saw_dev=PEERS[name].saw_dev, versions=versions)


def installed_mb(*names: str) -> float:
    """Return the size of these packages and their dependencies, as they are installed here, in 10^6 bytes."""
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, str]] = set()
    sizes: dict[str, float] = {}
    while waiting:
        needed = waiting.pop()
        for extra in {"", *needed.extras} - {extra for name, extra in seen if name == needed.name}:
            seen.add((needed.name, extra))
            package = metadata.distribution(needed.name)
            files = [file.locate() for file in package.files or ()]
            sizes[package.name] = sum(size_mb(Path(str(file))) for file in files)
            more = map(Requirement, package.requires or ())
            waiting += [need for need in more if need.marker is None or need.marker.evaluate({"extra": extra})]
    if "hantagger" in sizes:  # installed as a link to this folder
        sizes["hantagger"] = size_mb(PROJECT / "tagger")
    return sum(sizes.values())


# ---- measuring --------------------------------------------------------------------------------------------------


def measure(system: System, documents: Sequence[Document], options: argparse.Namespace, folder: Path) -> Figures:
    """Return all figures of a system; an error in it is raised as NotMeasuredError."""
    documents = documents[: system.lines or None]
    sentences = lines_of(documents)
    cut = [text[:CHARACTERS] for text in sentences if len(text) >= CHARACTERS]
    first = system.command("first", write_lines(folder / "first.txt", [SHORT_TEXT]), os.devnull)
    cold = [first_answer(first) for _ in range(options.runs)]
    out = folder / "out.jsonl"
    files = file_to_file(system, sentences, options, folder, out)
    f1 = {} if system.lines else {"f1": entity_f1(documents, out), "saw_dev": system.saw_dev}
    run(system.command("latency", write_lines(folder / "cut.txt", cut), out))
    milliseconds = [1000 * seconds for seconds in json.loads(out.read_text("utf-8"))]
    figures: Figures = {"threads": system.threads, "texts": len(documents), **files, **f1}
    figures |= {"p50_ms": statistics.median(milliseconds), "p99_ms": statistics.quantiles(milliseconds, n=100)[98]}
    figures |= {"cold_seconds": statistics.median(cold), "colds_seconds": cold, "installed_mb": system.installed_mb}
    figures |= {"model_mb": size_mb(system.model)} if system.model else {}
    return figures | ({"versions": system.versions} if system.versions else {})


def lines_of(documents: Sequence[Document]) -> list[str]:
    """Return the texts of documents, each on one line."""
    return [re.sub("[\r\n]", " ", document.text) for document in documents]


def file_to_file(system: System, sentences: list[str], options: argparse.Namespace, folder: Path, out: Path) -> Figures:
    """Return speed and memory from file to file; leave the entities of one copy in `out`."""
    characters = sum(map(len, sentences))
    short, copies = write_lines(folder / "short.txt", sentences), 0
    one_copy: list[float] = []
    all_copies: list[float] = []
    peaks: list[float] = []
    for _ in range(options.runs):
        one_copy.append(run(system.command("file", short, out))["total_seconds"])
        copies = copies or min(options.repeat, max(2, int(MAX_SECONDS / one_copy[0])))
        long = write_lines(folder / "long.txt", sentences * copies)
        costs = run(system.command("file", long, folder / "long.jsonl"))
        all_copies.append(costs["total_seconds"])
        peaks.append(costs["peak_mb"])
    seconds = statistics.median(all_copies)
    figures: Figures = {
        "characters": characters, "copies": copies, "one_copy_seconds": one_copy, "all_copies_seconds": all_copies,
        "file_speed": characters * copies / seconds, "peak_mb": statistics.median(peaks),
    }  # fmt: skip
    more = seconds - statistics.median(one_copy)
    return figures | ({"steady_speed": characters * (copies - 1) / more} if copies > 1 and more > 0 else {})


def run(command: Sequence[object]) -> Figures:
    """Run a command and return its costs; a failure is raised as NotMeasuredError."""
    try:
        return run_measured(command)
    except SystemExit as stopped:
        raise NotMeasuredError(last_line(str(stopped.code).split(" from: ")[0])) from None


def write_lines(file: Path, lines: Sequence[str]) -> Path:
    """Write a file of lines and return its path."""
    file.write_text("".join(line + "\n" for line in lines), "utf-8")
    return file


def entity_f1(documents: Sequence[Document], out: Path) -> float:
    """Return the F1 of predicted entities, JSON lines, over the labels that msra has."""
    scores = Scores()
    with open(out, encoding="utf-8") as lines:
        for document, line in zip(documents, lines, strict=True):
            spans = [(row["start"], row["end"], row["label"]) for row in json.loads(line)["entities"]]
            scores.add(document, [Entity(*span, document.text[span[0] : span[1]], 0.0) for span in spans])
    return scores.overall.f1


# ---- table and picture ------------------------------------------------------------------------------------------


def add_ratios(rows: list[Figures]) -> None:
    """Add to each row, in place, its figures as multiples of those of the tagger's row for ONNX Runtime."""
    base: Figures = next((row for row in rows if row["name"] == BASELINE), {})
    for row in rows:
        both = [key for key, _, _ in COLUMNS if base.get(key) and row.get(key) is not None]
        row["ratios"] = {key: row[key] / base[key] for key in both}


def show(figures: Figures, options: argparse.Namespace) -> None:
    """Print the tables, draw the picture, and put both into the page if that is asked for."""
    rows = figures["rows"]
    table = table_rows(rows)
    print(f"{plain_table(table)}\n\nmultiples of: {BASELINE}\n{plain_table(ratio_rows(rows))}\n\n{notes(figures)}")
    picture = options.out.with_suffix(".png")
    draw(rows, picture)
    if options.docs:
        shown = add_picture(picture, "speed.png", "Characters a second, by system")
        fill_page(NAME, shown, markdown_table(table), notes(figures))
    say(f"figures: {options.out} and {picture}")


def table_rows(rows: list[Figures]) -> Rows:
    """Return the table of all figures."""

    def cells(row: Figures) -> tuple[str, ...]:
        name = f"{row['name']}: {row['not_measured']}" if "not_measured" in row else row["name"]
        ratio = f"{row['ratios']['steady_speed']:.3g}" if "steady_speed" in row["ratios"] else "-"
        figures = [format(row[key], form) if key in row else "-" for key, _, form in COLUMNS]
        star = "*" * row.get("saw_dev", False)
        return (name, row.get("threads", "-"), figures[0], ratio, *figures[1:-1], figures[-1] + star)

    headings = [heading for _, heading, _ in COLUMNS]
    return [("system", "threads", headings[0], "of onnx, times", *headings[1:]), *map(cells, rows)]


def ratio_rows(rows: list[Figures]) -> Rows:
    """Return the table of all figures as multiples of the tagger's."""
    keys = [(key, heading) for key, heading, _ in COLUMNS]
    body = [
        (row["name"], *(f"{row['ratios'][key]:.3g}" if key in row["ratios"] else "-" for key, _ in keys))
        for row in rows
    ]
    return [("system", *(heading for _, heading in keys)), *body]


SAW_DEV = "* very likely trained on these dev texts: see scripts/bench_peers.py."


def machine_note(host: Figures) -> str:
    """Return in a sentence which machine it was."""
    units = [flag for flag in host["flags"] if flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16")]
    return f"{host['cpus']} cores, {host['processor'] or host['system']} ({', '.join(units) or 'flags unknown'})."


def notes(figures: Figures) -> str:
    """Return the conditions of the measurement, in a paragraph."""
    measured = [row for row in figures["rows"] if "copies" in row]
    sentences = [machine_note(figures["machine"])]
    amounts = {row["name"]: row["characters"] * row["copies"] for row in measured}
    most = max(amounts.values(), default=0)
    sentences.append(f"Text: copies of the dev texts of msra, {most:,} characters in all.")
    fewer = [f"{name} {amount:,}" for name, amount in amounts.items() if amount < most]
    if fewer:
        sentences.append(f"Fewer for slow systems: {'; '.join(fewer)}.")
    sentences.append("Peak memory: of all processes of a system together.")
    sentences.append(f"Latency: {CALLS:,} sentences of {CHARACTERS} characters. 2016: random weights, so no F1.")
    sentences.append("The tagger and the CRF were trained on msra's training texts; dev picked the tagger's epoch.")
    sentences.append("The others come with their own models, inside their packages.")
    if any(row.get("saw_dev") for row in measured):
        sentences.append(SAW_DEV)
    return " ".join(sentences)


def draw(rows: list[Figures], file: Path) -> None:
    """Write a picture of the speeds: a bar each, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    speeds: dict[str, Any] = {row["name"]: row.get("steady_speed", row.get("file_speed")) for row in rows}
    shown = sorted((row for row in rows if speeds[row["name"]]), key=lambda row: speeds[row["name"]])
    if not shown:
        return
    values = [speeds[row["name"]] for row in shown]
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.42 * len(shown)), layout="constrained")
    colours = ["#1f6fb2" if row["name"].startswith("tagger") else "#9aa5b1" for row in shown]
    bars = axes.barh([row["name"] for row in shown], values, color=colours)
    f1 = [f"   F1 {row['f1']:.3f}{'*' * row['saw_dev']}" if "f1" in row else "" for row in shown]
    texts = [f" {value:,.0f}{score}" for value, score in zip(values, f1, strict=True)]
    axes.bar_label(bars, texts)
    axes.set_xscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(min(values)) - 0.3), max(values) * 12)
    star = "; *: probably trained on them" if any(row.get("saw_dev") for row in shown) else ""
    axes.set_xlabel(f"characters a second, logarithmic; F1: entities of msra's dev texts{star}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
