"""Tables of a corpus and of a bundle, of what `inspect --json` prints, for the terminal and the pages."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tagger.reports.inspection import FINDINGS


class Table(NamedTuple):
    """Headings of the columns, and rows of as many cells."""

    columns: list[str]
    rows: Sequence[tuple[str, ...]]


def corpus_table(report: Mapping[str, Any]) -> Table:
    """Return the counts of `inspection.inspect`, with a column for each file."""
    splits = report["splits"]
    labels = sorted({label for split in splits for label in split["labels"]})
    columns = [_corpus_column(split, labels) for split in splits]
    names = ["count"] if len(splits) == 1 else [Path(split["file"]).name for split in splits]
    return Table(["what", *names], [(what, *(column[what] for column in columns)) for what in columns[0]])


def _corpus_column(split: Mapping[str, Any], labels: Sequence[str]) -> dict[str, str]:
    """Return the counts of a file, by name of the row."""

    def with_share(count: int, total: int) -> str:
        return f"{count:,} ({100 * count / total:.1f} %)" if count and total else f"{count:,}"

    column = {what: f"{split[what]:,}" for what in ("texts", "characters", "units", "entities")}
    for label in labels:
        count = split["labels"].get(label, {}).get("entities", 0)
        column[f"entities {label}"] = with_share(count, split["entities"])
    column["length of entities: median, 90 %, longest"] = lengths_cell(split["entity_lengths"])
    column["length of texts: median, 90 %, longest"] = lengths_cell(split["text_lengths"])
    for kind, found in split["findings"].items():
        total = split["entities" if FINDINGS[kind].startswith("entities") else "texts"]
        column[FINDINGS[kind]] = with_share(found["count"], total)
    if "both_scripts" in split["findings"]:  # not where `text.simplify` makes them one
        column["texts in traditional characters"] = with_share(split["scripts"]["traditional"], split["texts"])
    return column


def lengths_cell(distribution: Mapping[str, Any]) -> str:
    """Return median, 90th percentile and maximum of a distribution of lengths."""
    return f"{distribution['median']}, {distribution['percentile_90']}, {distribution['longest']}"


def corpus_examples(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the examples of `inspection.inspect`, one on a line, those of contradictory annotation last."""
    for split in report["splits"]:
        for kind, found in split["findings"].items():
            yield from (f"{one['place']}: {FINDINGS[kind]}: {one['text']}" for one in found["examples"])
    for pair in report["shared"]:
        yield f"texts in both {pair['first']} and {pair['second']}: {pair['texts']:,}"
    for pair in report["unseen"]:
        yield f"entities of {pair['second']} that {pair['first']} does not have: {100 * pair['share']:.1f} %"
    conflicts = report["conflicts"]
    yield f"mentions with several labels: {conflicts['labels']['mentions']:,}"
    for row in conflicts["labels"]["examples"]:
        yield f"  {row['mention']}: {label_counts(row['labels'], row['places'])}"
    yield f"mentions that are not marked everywhere: {conflicts['unmarked']['mentions']:,}"
    for row in conflicts["unmarked"]["examples"]:
        counts = f"marked {row['marked']:,}, unmarked {row['unmarked']:,}"
        yield f"  {row['mention']}: {counts}, as in {row['in']} ({row['place']})"
    yield f"texts annotated in several ways: {conflicts['texts']['count']:,}"
    yield from (f"  {row['place']}: {row['text']}" for row in conflicts["texts"]["examples"])


def label_counts(counts: Mapping[str, int], places: Mapping[str, str]) -> str:
    """Return labels, with how often each occurs and where it does first, on one line."""
    rows = ((label, count, places.get(label)) for label, count in counts.items())
    return ", ".join(f"{label} {count:,}" + (f" (first at {place})" if place else "") for label, count, place in rows)


def bundle_tables(report: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of `inspection.inspect_bundle` that are not empty, by title."""
    vectors = [(name, f"{size:,} x {dimensions}") for name, (size, dimensions) in report["vectors"].items()]
    if report["gazetteer"]:
        vectors.append(("gazetteer", f"{report['gazetteer']:,}"))
    settings = [(name, _short(here), _short(preset)) for name, (here, preset) in report["settings"].items()]
    key, metric = epoch_metric(report["history"])
    epochs = [
        (str(row["epoch"]), f"{row['loss']:.4f}", f"{100 * row[key]:.2f}", f"{row['seconds']:.1f}")
        for row in report["history"]
    ]
    tables = {
        "Files": Table(["file", "bytes"], [(name, f"{size:,}") for name, size in report["files"].items()]),
        "Vectors": Table(["vectors", "size"], vectors),
        "Settings that differ from the preset": Table(["setting", "here", f"preset {report['preset']}"], settings),
        "Training corpus": Table(["what", "count"], _training_corpus(report["alignment"])),
        "Epochs": Table(["epoch", "loss", metric, "seconds"], epochs),
    }
    return {title: table for title, table in tables.items() if table.rows}


def epoch_metric(history: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return key and name of the score of each epoch; a network that is only pretrained has no F1."""
    return ("f1", "dev F1") if all("f1" in row for row in history) else ("masked_accuracy", "masked accuracy")


def _training_corpus(alignment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the training corpus, from `Alignment.to_dict`."""
    rows = [(what, f"{alignment[what]:,}") for what in ("texts", "characters", "units") if alignment]
    rows += [(f"entities {label}", f"{count:,}") for label, count in alignment.get("entities", {}).items()]
    findings = alignment.get("findings", {})
    return rows + [(FINDINGS[kind], f"{finding['count']:,}") for kind, finding in findings.items()]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
