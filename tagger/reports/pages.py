"""What is found in a corpus, a bundle, an evaluation, to read: rows for the terminal, and pages.

A page is one file that needs nothing else, light or dark as the reader has it. All is made of the dictionary that
`--json` prints.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tagger.documents import Entity, Span
from tagger.reports.html import escape, head, legend, marked
from tagger.reports.inspection import FINDINGS
from tagger.score import reliability_rows
from tagger.score import row as scores_row

_STYLE = """body{max-width:60rem;line-height:1.6;font-size:1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
small,.note{opacity:.7;font-size:.85rem;font-weight:400}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #8883;vertical-align:top}
th{font-weight:600;white-space:nowrap}td:first-child{white-space:nowrap}
td:first-child,th:first-child,.text th,.text td{text-align:left}.text td{white-space:normal}
.matrix{font-size:.85rem}.matrix th,.matrix td{padding:.15rem .45rem}
.bar{display:inline-block;width:7rem;height:.6rem;background:#8883;border-radius:.3rem;overflow:hidden}
.bar i{display:block;height:100%;background:#3b82c4}
.pair mark::after{content:attr(title);font-size:.65em;opacity:.75;margin-left:.3em}
.wrong{outline:2px solid #d33a2c;outline-offset:-1px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.2rem 1.5rem;padding:.6rem 0;
border-bottom:1px solid #8883}.pair p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9}
svg{max-width:100%;height:auto}svg text{fill:currentColor;font-size:11px}.shape{fill:#3b82c4}
.line{fill:none;stroke-width:2}.one{stroke:#8a8a8a}.two{stroke:#3b82c4}.three{stroke:#d9822b}
"""

# What headings are called in Chinese.
CHINESE = {
    "Corpus": "语料", "Bundle": "模型", "Evaluation": "评测报告", "Overview": "概览", "Labels": "标签",
    "Length of entities": "实体长度", "Length of texts": "文本长度", "Findings": "值得检查之处",
    "Texts in two files": "两份文件共有的文本",
    "Entities that the first file does not have": "第一份文件中未出现的实体",
    "Mentions with several labels": "标签不一致的字符串",
    "Mentions that are not marked everywhere": "有时未标注的字符串",
    "Texts annotated in several ways": "标注不一致的重复文本",
    "Settings that differ from the preset": "与预设不同的设置", "Training corpus": "训练语料", "Curves": "训练曲线",
    "Scores on dev": "开发集得分", "Files": "文件", "Scores": "得分", "By length of the entity": "按实体长度",
    "Seen and unseen mentions": "训练中见过与未见过的实体", "Errors": "错误", "What is taken for what": "混淆矩阵",
    "Reliability": "概率可靠性", "Worst texts": "错得最有把握的文本", "label": "标签", "precision": "精确率",
    "recall": "召回率", "gold": "标准", "found": "预测", "right": "正确", "right, %": "正确率", "probability": "概率",
    "length": "长度", "mention": "字符串", "kind": "类型", "count": "数量", "marked": "已标注", "unmarked": "未标注",
    "setting": "设置", "here": "此处", "file": "文件", "what": "项目", "texts": "文本", "characters": "字符",
    "units": "切分单元", "entities": "实体", "vectors": "词向量", "Vectors": "词向量", "Epochs": "训练轮次",
    "epoch": "轮次", "loss": "损失", "seconds": "秒", "size": "大小", "bytes": "字节", "distinct": "不同的字符串",
    "share, %": "占比", "first": "第一份", "second": "第二份", "an example": "示例",
    "length of entities: median, 90 %, longest": "实体长度：中位数、90 %、最长",
    "length of texts: median, 90 %, longest": "文本长度：中位数、90 %、最长",
    "texts in traditional characters": "繁体文本", "entities that units cut": "被切分单元切断的实体",
    "entities longer than a window": "超出窗口长度的实体", "answers not in their text": "原文中找不到的答案",
    "texts without an entity": "没有实体的文本", "blank texts": "空白文本",
    "texts longer than a window": "超出窗口长度的文本", "texts that repeat an earlier one": "与前文重复的文本",
    "entities with white space at an end": "首尾有空白的实体", "texts with full-width spaces": "含全角空格的文本",
    "texts with zero-width characters": "含零宽字符的文本", "texts with control characters": "含控制字符的文本",
    "texts with characters lost in decoding": "含乱码字符的文本",
    "texts in simplified and traditional characters": "繁简混用的文本", "type": "标签错", "boundary": "边界错",
    "both": "标签和边界都错", "missed": "漏标", "spurious": "多标", "seen": "见过", "unseen": "未见过", "none": "无",
    "all": "全部", "empty": "空",
}  # fmt: skip

_ERRORS_NOTE = (
    "Each error counts once: an entity found and one missing that overlap are a pair, what is in no pair is missed or "
    "spurious. 重叠的预测与标准实体配成一对，只计一次；其余为漏标或多标。"
)


def heading_and_rows(found: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return a table of `inspect`: what, and its count in each file."""
    splits = found["splits"]
    labels = sorted({label for split in splits for label in split["labels"]})

    def counted(count: int, total: int) -> str:
        return f"{count:,} ({100 * count / total:.1f} %)" if count and total else f"{count:,}"

    def lengths(some: dict[str, Any]) -> str:
        return f"{some['median']}, {some['ninety']}, {some['longest']}"

    columns = []
    for split in splits:
        column = {what: f"{split[what]:,}" for what in ("texts", "characters", "units", "entities")}
        for label in labels:
            column[f"entities {label}"] = counted(split["labels"].get(label, {}).get("entities", 0), split["entities"])
        column["length of entities: median, 90 %, longest"] = lengths(split["entity_lengths"])
        column["length of texts: median, 90 %, longest"] = lengths(split["text_lengths"])
        for kind, what in FINDINGS.items():
            total = split["entities" if what.startswith("entities") else "texts"]
            column[what] = counted(split["findings"][kind]["count"], total)
        column["texts in traditional characters"] = counted(split["scripts"]["traditional"], split["texts"])
        columns.append(column)
    names = ["count"] if len(splits) == 1 else [Path(split["file"]).name for split in splits]
    return ["what", *names], [(what, *(column[what] for column in columns)) for what in columns[0]]


def examples(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the examples of `inspect`, a line each, with what contradicts itself last."""
    for split in found["splits"]:
        place = f"{split['file']}: " if len(found["splits"]) > 1 else ""
        for kind, what in FINDINGS.items():
            yield from (f"{place}{what}: {example}" for example in split["findings"][kind]["examples"])
    for pair in found["shared"]:
        yield f"texts in both {pair['first']} and {pair['second']}: {pair['texts']:,}"
    for new in found["unseen"]:
        yield f"entities of {new['second']} that {new['first']} does not have: {100 * new['share']:.1f} %"
    conflicts = found["conflicts"]
    yield f"mentions with several labels: {conflicts['labels']['mentions']:,}"
    for one in conflicts["labels"]["examples"]:
        yield f"  {one['mention']}: " + ", ".join(f"{label} {count:,}" for label, count in one["labels"].items())
    yield f"mentions that are not marked everywhere: {conflicts['unmarked']['mentions']:,}"
    for one in conflicts["unmarked"]["examples"]:
        yield f"  {one['mention']}: marked {one['marked']:,}, unmarked {one['unmarked']:,}, as in {one['in']}"
    yield f"texts annotated in several ways: {conflicts['texts']['count']:,}"
    yield from (f"  {text}" for text in conflicts["texts"]["examples"])


def corpus_page(found: Mapping[str, Any]) -> str:
    """Return the page of `inspection.inspect`."""
    splits, conflicts = found["splits"], found["conflicts"]
    labels = sorted({label for split in splits for label in split["labels"]})
    heading, rows = heading_and_rows(found)
    parts = [_heading("Overview"), _table(heading, [(_both(what), *counts) for what, *counts in rows])]
    for split in splits:
        parts += [f"<h2>{escape(split['file'])}</h2>", _heading("Labels", 3), _balance(split["labels"])]
        parts += [_heading("Length of entities", 3), _histogram(split["entity_lengths"]["counts"])]
        parts += [_heading("Length of texts", 3), _histogram(split["text_lengths"]["counts"])]
        shown = [
            (_both(FINDINGS[kind]), example) for kind, of in split["findings"].items() for example in of["examples"]
        ]
        parts += [_heading("Findings", 3), _table(["what", "an example"], shown, "text")]
    if len(splits) > 1:
        rows = [(one["first"], one["second"], f"{one['texts']:,}") for one in found["shared"]]
        parts += [_heading("Texts in two files"), _table(["first", "second", "count"], rows)]
        rows = [(one["second"], f"{one['entities']:,}", _percent(one["share"])) for one in found["unseen"]]
        parts.append(_heading("Entities that the first file does not have"))
        parts.append(_table(["file", "entities", "share, %"], rows))
    rows = [
        (one["mention"], ", ".join(f"{label} {count:,}" for label, count in one["labels"].items()))
        for one in conflicts["labels"]["examples"]
    ]
    parts.append(_heading("Mentions with several labels", note=f"{conflicts['labels']['mentions']:,}"))
    parts.append(_table(["mention", "label"], rows, "text"))
    of = conflicts["unmarked"]
    parts.append(_heading("Mentions that are not marked everywhere", note=f"{of['mentions']:,}, {of['occurrences']:,}"))
    rows = [(one["mention"], f"{one['marked']:,}", f"{one['unmarked']:,}", one["in"]) for one in of["examples"]]
    parts.append(_table(["mention", "marked", "unmarked", "an example"], rows, "text"))
    parts.append(_heading("Texts annotated in several ways", note=f"{conflicts['texts']['count']:,}"))
    parts.append(_table(["an example"], [(text,) for text in conflicts["texts"]["examples"]], "text"))
    return _page("Corpus", labels, parts)


def bundle_tables(found: Mapping[str, Any]) -> dict[str, tuple[list[str], Sequence[tuple[str, ...]]]]:
    """Return heading and rows of the tables of `inspection.inspect_bundle` that are not empty, by title."""
    settings = [(name, _short(here), _short(there)) for name, (here, there) in found["settings"].items()]
    parts = [(name, f"{size:,} x {dimensions}") for name, (size, dimensions) in found["vectors"].items()]
    if found["gazetteer"]:
        parts.append(("gazetteer", f"{found['gazetteer']:,}"))
    trained = found["alignment"] if isinstance(found["alignment"], dict) else {}  # older bundles have other rows
    corpus = [(what, f"{trained[what]:,}") for what in ("texts", "characters", "units") if trained]
    corpus += [(f"entities {label}", f"{count:,}") for label, count in trained.get("entities", {}).items()]
    corpus += [(FINDINGS[kind], f"{of['count']:,}") for kind, of in trained.get("findings", {}).items()]
    judged, key = _judged(found["history"])
    epochs = [
        (str(row["epoch"]), f"{row['loss']:.4f}", f"{100 * row[key]:.2f}", f"{row['seconds']:.1f}")
        for row in found["history"]
    ]
    tables: dict[str, tuple[list[str], Sequence[tuple[str, ...]]]] = {
        "Files": (["file", "bytes"], [(name, f"{size:,}") for name, size in found["files"].items()]),
        "Vectors": (["vectors", "size"], parts),
        "Settings that differ from the preset": (["setting", "here", f"preset {found['preset']}"], settings),
        "Training corpus": (["what", "count"], corpus),
        "Epochs": (["epoch", "loss", judged, "seconds"], epochs),
    }
    return {title: table for title, table in tables.items() if table[1]}


def bundle_page(name: str, found: Mapping[str, Any]) -> str:
    """Return the page of `inspection.inspect_bundle` for a bundle of this name."""
    tables = bundle_tables(found)

    def shown(*titles: str) -> list[str]:
        return [_heading(title) + _table(*tables[title]) for title in titles if title in tables]

    parts = [f"<p>{escape(name)}</p>", *shown("Settings that differ from the preset", "Training corpus")]
    parts += [_heading("Curves"), _curves(found["history"])]
    if found["metrics"]:
        parts += [_heading("Scores on dev"), *_scores(found["metrics"])]
    return _page("Bundle", found["labels"], [*parts, *shown("Epochs", "Vectors", "Files")])


def evaluation_page(name: str, found: Mapping[str, Any]) -> str:
    """Return the page of `analysis.Analysis.to_dict` for a corpus of this name."""
    labels = found["confusion"]["labels"][:-1]
    parts = [f"<p>{escape(name)} · {found['texts']:,} {_both('texts')}</p>", _heading("Scores"), *_scores(found)]
    parts += [_heading("By length of the entity"), _counts("length", found["lengths"])]
    if "mentions" in found:
        parts += [
            _heading("Seen and unseen mentions"),
            _counts("mention", {_both(k): of for k, of in found["mentions"].items()}),
        ]
    errors = [(_both(kind), f"{count:,}") for kind, count in found["errors"].items()]
    shares = [count / max(sum(found["errors"].values()), 1) for count in found["errors"].values()]
    parts += [_heading("Errors"), _table(["kind", "count"], errors, bars=shares), f'<p class="note">{_ERRORS_NOTE}</p>']
    parts += [_heading("What is taken for what", note=f"{_both('gold')} ↓ {_both('found')} →")]
    parts += [_confusion(found["confusion"]), _heading("Worst texts"), f"<p>{legend(labels)}</p>"]
    parts += [_compared(text, labels) for text in found["worst"]]
    return _page("Evaluation", labels, parts)


def _page(title: str, labels: Sequence[str], parts: Iterable[str]) -> str:
    return f"{head(_both(title), labels, _STYLE)}<h1>{_both(title)}</h1>\n" + "\n".join(parts) + "\n</html>\n"


def _both(english: str) -> str:
    """Return a heading in both languages."""
    chinese = CHINESE.get(english)
    return f"{english} {chinese}" if chinese else english


def _heading(english: str, level: int = 2, note: str = "") -> str:
    return f"<h{level}>{escape(_both(english))}{f' <small>{escape(note)}</small>' if note else ''}</h{level}>"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "", bars: Sequence[float] = ()) -> str:
    """Return a table; `bars` are shares to draw at the ends of its rows."""
    cells = "".join(f"<th>{escape(_both(name))}</th>" for name in heading)
    lines = [f"<tr>{cells}{'<th></th>' if bars else ''}</tr>"]
    for row, share in itertools.zip_longest(rows, bars):
        cells = "".join(f"<td>{escape(value)}</td>" for value in row)
        bar = "" if share is None else f'<td><span class="bar"><i style="width:{100 * share:.1f}%"></i></span></td>'
        lines.append(f"<tr>{cells}{bar}</tr>")
    return f'<div class="wide"><table class="{kind}">\n' + "\n".join(lines) + "\n</table></div>"


def _counts(what: str, counts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of `Counts.to_dict` by name, with F1 as bars."""
    rows = [scores_row(name, of) for name, of in counts.items()]
    heading = [what, "precision", "recall", "F1", "gold", "found"]
    return _table(heading, rows, bars=[of["f1"] for of in counts.values()])


def _scores(found: Mapping[str, Any]) -> list[str]:
    """Return the tables of `Scores.to_dict`."""
    parts = [_counts("label", {**found["labels"], _both("all"): found})]
    if "top1" in found:
        parts.append(f"<p>top-1 {_percent(found['top1'])} % · contest {found['contest']:.4f}</p>")
    right = [of["accuracy"] for of in found["reliability"]]
    rows = reliability_rows(found)
    return [*parts, _heading("Reliability", 3), _table(["probability", "found", "right, %"], rows, bars=right)]


def _balance(labels: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            label, f"{of['entities']:,}", _percent(of["share"]), f"{of['mentions']:,}",
            f"{of['lengths']['median']}, {of['lengths']['ninety']}, {of['lengths']['longest']}",
        )
        for label, of in labels.items()
    ]  # fmt: skip
    heading = ["label", "entities", "share, %", "distinct", "length"]
    most = max((of["share"] for of in labels.values()), default=1)
    return _table(heading, rows, bars=[of["share"] / most for of in labels.values()])


def _confusion(found: Mapping[str, Any]) -> str:
    """Return the confusion matrix as a table, darker where a larger share of a row lies."""
    names = [escape(name or _both("none")) for name in found["labels"]]
    lines = ["<tr><th></th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for place, (name, counts) in enumerate(zip(names, found["rows"], strict=True)):
        total = max(sum(counts), 1)
        colours = ["59 130 196" if place == n else "211 58 44" for n in range(len(counts))]
        cells = "".join(
            f'<td style="background:rgb({colour} / {0.75 * math.sqrt(count / total):.2f})">{count or "·"}</td>'
            for colour, count in zip(colours, counts, strict=True)
        )
        lines.append(f"<tr><th>{name}</th>{cells}</tr>")
    return '<div class="wide"><table class="matrix">\n' + "\n".join(lines) + "\n</table></div>"


def _compared(text: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Return a text twice: with its gold entities, and with those found; what the other has not is outlined."""
    gold = [Span(**span) for span in text["gold"]]
    found = [Entity(**entity) for entity in text["predicted"]]
    given = {Span(e.start, e.end, e.label) for e in found}
    sides = [
        ("gold", marked(text["text"], gold, labels, set(gold) - given)),
        ("found", marked(text["text"], found, labels, given - set(gold))),
    ]
    shown = "".join(f"<p><small>{_both(side)}</small><br>{content}</p>" for side, content in sides)
    return f'<div class="pair">{shown}</div>'


_WIDTH, _HEIGHT, _BINS = 640, 130, 32


def _histogram(counts: Mapping[str, int]) -> str:
    """Return a picture of a distribution of lengths; the hundredth that is longest is in the last column."""
    lengths = {int(length): count for length, count in counts.items()}
    if not lengths:
        return "<p>-</p>"
    reached = itertools.accumulate(lengths.values())
    last = next(n for n, count in zip(lengths, reached, strict=True) if count >= 0.99 * sum(lengths.values()))
    first = min(lengths)
    width = math.ceil((last + 1 - first) / _BINS)
    columns = [0] * ((last - first) // width + 1 + (max(lengths) > last))
    for length, count in lengths.items():
        columns[min((length - first) // width, len(columns) - 1)] += count
    step, top = _WIDTH / len(columns), max(columns)
    shapes = []
    for n, count in enumerate(columns):
        begin = first + n * width
        name = f"{begin}" if width == 1 else f"{begin} to {begin + width - 1}"
        name = f"{begin} and more" if n == len(columns) - 1 else name
        height = _HEIGHT * count / top
        shapes.append(
            f'<rect class="shape" x="{n * step:.1f}" y="{_HEIGHT - height + 4:.1f}" width="{max(step - 2, 1):.1f}" '
            f'height="{height:.1f}"><title>{name}: {count:,}</title></rect>'
        )
        if n % max(1, len(columns) // 10) == 0:
            shapes.append(f'<text x="{n * step:.1f}" y="{_HEIGHT + 18}">{begin}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 24}" width="{_WIDTH}" role="img">{"".join(shapes)}</svg>'


def _judged(history: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return what the epochs are judged by, and under which key; a network that is only pretrained has no F1."""
    return ("dev F1", "f1") if all("f1" in row for row in history) else ("hidden told", "masked_accuracy")


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    """Return a picture of loss (of its own scale) and what epochs are judged by (0 to 100 %) over the epochs."""
    if not history:
        return "<p>-</p>"
    largest = max(row["loss"] for row in history) or 1
    judged, key = _judged(history)
    lines = [
        ("one", f"loss (at most {largest:.3f})", [row["loss"] / largest for row in history]),
        ("two", f"{judged} (at most {_percent(max(row[key] for row in history))} %)", [row[key] for row in history]),
    ]
    if all("top1" in row for row in history):
        lines.append(("three", "dev top-1", [row["top1"] for row in history]))
    step = _WIDTH / max(len(history) - 1, 1)
    shapes = [f'<path d="M0 4H{_WIDTH}M0 {_HEIGHT + 4}H{_WIDTH}" stroke="#8886"/>']
    for n, (kind, name, values) in enumerate(lines):
        points = " ".join(f"{e * step:.1f},{4 + _HEIGHT * (1 - value):.1f}" for e, value in enumerate(values))
        shapes.append(f'<polyline class="line {kind}" points="{points}"/>')
        shapes.append(f'<path class="line {kind}" d="M{180 * n} {_HEIGHT + 20}h20"/>')
        shapes.append(f'<text x="{180 * n + 26}" y="{_HEIGHT + 24}">{escape(name)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 30}" width="{_WIDTH}" role="img">{"".join(shapes)}</svg>'


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _short(value: Any) -> str:
    shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
