"""HTML reports of a corpus, a bundle and an evaluation, of the dictionaries that `--json` prints."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tagger.documents import Entity, Span
from tagger.reports.html import escape, heading, legend, marked, report, table
from tagger.reports.inspection import FINDINGS
from tagger.reports.provenance import provenance_line
from tagger.reports.svg import curves, histogram
from tagger.reports.tables import bundle_tables, corpus_table, epoch_metric, label_counts, lengths_cell
from tagger.reports.words import bilingual
from tagger.score import reliability_rows
from tagger.score import row as scores_row

_ERRORS_NOTE = (
    "Each error counts once: a predicted and a gold entity that overlap are paired; what is not paired is missed or "
    "spurious. 每个错误只计一次：重叠的预测实体与标准实体配成一对；未配对者为漏标或多标。"
)


# ---- corpus -----------------------------------------------------------------------------------------------------
def corpus_page(inspection: Mapping[str, Any]) -> str:
    """Return the page of `inspection.inspect`; under "about" it may have what `provenance` returned."""
    labels = sorted({label for split in inspection["splits"] for label in split["labels"]})
    columns, rows = corpus_table(inspection)
    parts = [
        *_about(inspection),
        heading("Overview"),
        table(columns, [(bilingual(what), *counts) for what, *counts in rows]),
    ]
    for split in inspection["splits"]:
        parts += _split(split)
    if len(inspection["splits"]) > 1:
        parts += _shared_and_unseen(inspection)
    return report("Corpus", labels, [*parts, *_conflicts(inspection["conflicts"])])


def _split(split: Mapping[str, Any]) -> list[str]:
    """Return the section of a file: labels, lengths, findings."""
    findings = [
        (bilingual(FINDINGS[kind]), example["place"], example["text"])
        for kind, finding in split["findings"].items()
        for example in finding["examples"]
    ]
    return [
        f"<h2>{escape(split['file'])}</h2>",
        heading("Labels", 3), _labels(split["labels"]),
        heading("Entity lengths", 3), histogram(split["entity_lengths"]["counts"]),
        heading("Text lengths", 3), histogram(split["text_lengths"]["counts"]),
        heading("Findings", 3), table(["what", "place", "example"], findings, "text"),
    ]  # fmt: skip


def _labels(labels: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of labels, with their shares as bars."""
    rows = [
        (
            label, f"{counts['entities']:,}", _percent(counts["share"]), f"{counts['mentions']:,}",
            lengths_cell(counts["lengths"]),
        )
        for label, counts in labels.items()
    ]  # fmt: skip
    largest = max((counts["share"] for counts in labels.values()), default=1)
    bars = [counts["share"] / largest for counts in labels.values()]
    columns = ["label", "entities", "share, %", "distinct mentions", "length: median, 90 %, longest"]
    return table(columns, rows, bars=bars)


def _shared_and_unseen(inspection: Mapping[str, Any]) -> list[str]:
    """Return what several files have in common, and what only the later ones have."""
    shared = [(pair["first"], pair["second"], f"{pair['texts']:,}") for pair in inspection["shared"]]
    unseen = [(pair["second"], f"{pair['entities']:,}", _percent(pair["share"])) for pair in inspection["unseen"]]
    return [
        heading("Texts shared by two files"), table(["first", "second", "count"], shared),
        heading("Entities unseen in the first file"), table(["file", "entities", "share, %"], unseen),
    ]  # fmt: skip


def _conflicts(conflicts: Mapping[str, Any]) -> list[str]:
    """Return the sections of contradictory annotation."""
    labels, unmarked, texts = conflicts["labels"], conflicts["unmarked"], conflicts["texts"]
    label_rows = [(row["mention"], label_counts(row["labels"], row["places"])) for row in labels["examples"]]
    unmarked_rows = [
        (row["mention"], f"{row['marked']:,}", f"{row['unmarked']:,}", row["place"], row["in"])
        for row in unmarked["examples"]
    ]
    return [
        heading("Mentions with several labels", note=f"{labels['mentions']:,}"),
        table(["mention", "label"], label_rows, "text"),
        heading(
            "Mentions that are not marked everywhere", note=f"{unmarked['mentions']:,} ({unmarked['occurrences']:,} ×)"
        ),
        table(["mention", "marked", "unmarked", "place", "example"], unmarked_rows, "text"),
        heading("Texts annotated in several ways", note=f"{texts['count']:,}"),
        table(["place", "example"], [(row["place"], row["text"]) for row in texts["examples"]], "text"),
    ]


# ---- bundle -----------------------------------------------------------------------------------------------------
def bundle_page(name: str, inspection: Mapping[str, Any]) -> str:
    """Return the page of `inspection.inspect_bundle` for a bundle of this name."""
    tables, history = bundle_tables(inspection), inspection["history"]

    def sections(*titles: str) -> list[str]:
        return [heading(title) + table(*tables[title]) for title in titles if title in tables]

    parts = [
        f"<p>{escape(name)}</p>",
        *_about(inspection),
        *sections("Settings that differ from the preset", "Training corpus"),
    ]
    parts += [heading("Curves"), curves(history, *epoch_metric(history))]
    if "labels" in inspection["metrics"]:
        parts += [heading("Scores on dev"), *_scores(inspection["metrics"])]
    return report("Bundle", inspection["labels"], [*parts, *sections("Epochs", "Vectors", "Files")])


# ---- evaluation -------------------------------------------------------------------------------------------------
def evaluation_page(name: str, analysis: Mapping[str, Any]) -> str:
    """Return the page of `analysis.Analysis.to_dict` for a corpus of this name; "about" as for `corpus_page`."""
    confusion, errors = analysis["confusion"], analysis["errors"]
    labels = confusion["labels"][:-1]
    parts = [f"<p>{escape(name)} · {analysis['texts']:,} {bilingual('texts')}</p>"]
    parts += [*_about(analysis), heading("Scores"), *_scores(analysis)]
    parts += [heading("Scores by entity length"), _counts("length", analysis["lengths"])]
    if "mentions" in analysis:
        mentions = {bilingual(kind): counts for kind, counts in analysis["mentions"].items()}
        parts += [heading("Seen and unseen mentions"), _counts("mention", mentions)]
    error_rows = [(bilingual(kind), f"{count:,}") for kind, count in errors.items()]
    shares = [count / max(sum(errors.values()), 1) for count in errors.values()]
    parts += [heading("Errors"), table(["kind", "count"], error_rows, bars=shares)]
    parts.append(f'<p class="note">{_ERRORS_NOTE}</p>')
    parts.append(heading("Confusion matrix", note=f"{bilingual('gold')} ↓ {bilingual('predicted')} →"))
    parts.append(_matrix(confusion))
    parts += [heading("Most confident mistakes"), f"<p>{legend(labels)}</p>"]
    parts += [_compared(text, labels) for text in analysis["worst"]]
    return report("Evaluation", labels, parts)


def _about(report: Mapping[str, Any]) -> list[str]:
    """Return the line that says what a report is about, if it is known."""
    return [f'<p class="note">{escape(provenance_line(report["about"]))}</p>'] if "about" in report else []


def _scores(scores: Mapping[str, Any]) -> list[str]:
    """Return the tables of `Scores.to_dict`."""
    parts = [_counts("label", {**scores["labels"], bilingual("all"): scores})]
    if "top1" in scores:
        parts.append(f"<p>top-1 {_percent(scores['top1'])} % · contest {scores['contest']:.4f}</p>")
    reliability = table(
        ["probability", "predicted", "correct, %"],
        reliability_rows(scores),
        bars=[row["accuracy"] for row in scores["reliability"]],
    )
    return [*parts, heading("Reliability", 3), reliability]


def _counts(what: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of `Counts.to_dict` by the name of the group, with F1 as bars."""
    rows = [scores_row(name, counts) for name, counts in groups.items()]
    columns = [what, "precision", "recall", "F1", "gold", "predicted"]
    return table(columns, rows, bars=[counts["f1"] for counts in groups.values()])


def _matrix(confusion: Mapping[str, Any]) -> str:
    """Return the confusion matrix as a table; the larger a cell's share of its row, the stronger its colour."""
    names = [escape(name or bilingual("none")) for name in confusion["labels"]]
    lines = ["<tr><th></th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for row, (name, counts) in enumerate(zip(names, confusion["rows"], strict=True)):
        total = max(sum(counts), 1)
        colours = ["59 130 196" if row == column else "211 58 44" for column in range(len(counts))]
        cells = "".join(
            f'<td style="background:rgb({colour} / {0.75 * math.sqrt(count / total):.2f})">{count or "·"}</td>'
            for colour, count in zip(colours, counts, strict=True)
        )
        lines.append(f"<tr><th>{name}</th>{cells}</tr>")
    return '<div class="wide"><table class="matrix">\n' + "\n".join(lines) + "\n</table></div>"


def _compared(text: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Return a text twice, with its gold and with its predicted entities; what the other side lacks is outlined."""
    gold = [Span(**span) for span in text["gold"]]
    predicted = [Entity(**entity) for entity in text["predicted"]]
    predicted_spans = {Span(entity.start, entity.end, entity.label) for entity in predicted}
    sides = {
        "gold": marked(text["text"], gold, labels, set(gold) - predicted_spans),
        "predicted": marked(text["text"], predicted, labels, predicted_spans - set(gold)),
    }
    shown = "".join(f"<p><small>{bilingual(side)}</small><br>{content}</p>" for side, content in sides.items())
    number = f" (id {text['id']})" if "id" in text else ""
    where = ":".join(str(text[key]) for key in ("file", "line", "item", "row") if key in text) + number
    place = f"<p><small>{escape(where)}</small></p>" if where else ""
    return f'{place}<div class="pair">{shown}</div>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
