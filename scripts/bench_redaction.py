"""Prove redaction on files of all formats, made of the sentences in data/general with numbers planted among them.

Each file is redacted by `tagger redact --map` and restored by `--undo`, in this process; only the derivation of the
maps' keys is made cheap, as it is slow by design. What was replaced is searched for in what came out.
"""

import argparse
import contextlib
import io
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benching import (
    PROJECT,
    Figures,
    Rows,
    add_data_option,
    add_out_option,
    fill_page,
    machine,
    markdown_table,
    plain_table,
    say,
    write_json,
)
from make_general import own_sentences
from planted_numbers import PLANTED, look_alike
from redaction_files import FORMS, write_file

from tagger import corpus
from tagger.cli import main as tagger_main
from tagger.default_bundle import GENERAL
from tagger.documents import Document, Span, labelled, squeeze
from tagger.redaction import Redacted, Redactor, way_back

PAGE = PROJECT / "tagger" / "docs" / "redaction.md"
WORDS = (
    ("what, of, count", "内容, 总数, 数目"),
    ("files restored byte for byte", "逐字节还原的文件"),
    ("numbers with a right check digit: replaced", "校验码正确的号码：替换了"),
    ("look-alikes: replaced", "形似的号码：替换了"),
    ("replaced strings of two or more characters: left in their document", "替换过的字符串（两个字以上）：文本中还剩"),
    ("planted, replaced:", "加入的号码，替换了："),
    ("people (`PER`) replaced as a whole:", "完整替换的人名（`PER`）："),
)
RECALL = {"UNER, dev": "open/uner/dev.jsonl", "MSRA, dev": "msra/dev.jsonl"}


def main() -> None:
    """Measure, print, and write the figures."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bench_redaction_") as folder:
        figures = measure(options, Path(folder))
    print(plain_table(rows(figures)))
    if options.docs:
        for language, page in enumerate((PAGE, PAGE.with_name("redaction.zh.md"))):
            fill_page("bench-redaction", markdown_table(rows(figures, language)), page=page)
    write_json(options.out, {**machine("cryptography", "onnxruntime"), **figures})


def parse_arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("bench_redaction", description="Prove redaction on files of all formats.")
    about = "a tagger with the label PER (default: the general one, if the package has it; else rules alone)"
    default = GENERAL if GENERAL.is_dir() else None
    parser.add_argument("--bundle", type=Path, default=default, metavar="DIR", help=about)
    parser.add_argument("--files", type=int, default=500, metavar="N", help="files to redact (default: %(default)s)")
    about = "numbers that only look right (default: %(default)s)"
    parser.add_argument("--look-alikes", type=int, default=10_000, metavar="N", help=about)
    about = "sentences of each corpus on which the recall of PER is measured (default: %(default)s)"
    parser.add_argument("--sentences", type=int, default=1000, metavar="N", help=about)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is drawn (default: %(default)s)")
    add_data_option(parser, ", ".join(RECALL.values()))
    parser.add_argument("--docs", action="store_true", help=f"put the table into {PAGE.relative_to(PROJECT)}")
    add_out_option(parser, "redaction")
    return parser.parse_args()


def measure(options: argparse.Namespace, folder: Path) -> Figures:
    """Return all figures, given an empty folder to work in."""
    from tagger import Tagger

    draw = random.Random(options.seed)
    tagger = Tagger.load(options.bundle) if options.bundle else None
    sentences = own_sentences()
    figures: Figures = {"tagger": options.bundle.name if options.bundle else ""}
    figures |= redact_files(draw, sentences, tagger, options.files, folder)
    say("look-alikes")
    figures |= count_look_alikes(draw, sentences, options.look_alikes)
    if tagger and "PER" in tagger.labels:
        recalls = {name: options.data / file for name, file in RECALL.items() if (options.data / file).is_file()}
        figures["recall"] = {
            name: recall_of_people(corpus.read(file), tagger, options.sentences) for name, file in recalls.items()
        }
    return figures


def rows(figures: Figures, language: int = 0) -> Rows:
    """Return the table of the figures, its heading first, in English (0) or Chinese (1)."""
    heading, *names = [words[language] for words in WORDS]
    counts = [(figures[f"{name}_of"], figures[name]) for name in ("restored", "checked", "look_alikes", "left")]
    *names, planted, people = names
    return [
        tuple(heading.split(", ")),
        *((name, f"{of:,}", f"{count:,}") for name, (of, count) in zip(names, counts, strict=True)),
        *(
            (f"{planted} `{label}`", f"{of:,}", f"{figures['replaced'][label]:,}")
            for label, of in figures["planted"].items()
        ),
        *(
            (f"{people} {name}", f"{of:,}", f"{found:,} ({100 * found / max(of, 1):.1f} %)")
            for name, (found, of) in figures.get("recall", {}).items()
        ),
    ]


# ---- files --------------------------------------------------------------------------------------------------------
def redact_files(
    draw: random.Random, sentences: list[Document], tagger: Any, count: int, folder: Path
) -> dict[str, Any]:
    """Return how many files were restored, what planted was replaced, and what of it was left."""
    planted: Counter[str] = Counter()
    replaced: Counter[str] = Counter()
    restored = left = mentions = 0
    records: list[Redacted] = []
    with patched(tagger, records):
        for number in range(count):
            form = FORMS[number % len(FORMS)]
            documents, given = zip(
                *(plant(draw, draw.choice(sentences)) for _ in range(draw.randint(2, 8))), strict=True
            )
            path = write_file(form, list(documents), folder / f"in{number}", draw)
            records.clear()
            options = ["--by", ("label", "mask", "stand-in")[number // len(FORMS) % 3]]
            redacted, is_restored = there_and_back(path, [*form.options, *options], tagger is None)
            restored += is_restored
            results = list(corpus.read(redacted))
            assert len(results) == len(records), f"{path}: {len(records)} texts in, {len(results)} out"
            for result, record, numbers in zip(results, records, given, strict=True):
                rest = what_is_left(result, record)
                squeezed = squeeze(rest)
                for label, mention in numbers:
                    planted[label] += 1
                    replaced[label] += squeeze(mention) not in squeezed
                    if squeeze(mention) in squeezed:
                        say(f"{path.name}: {mention} was left")
                for mention in {change.text for change in record.changes if len(change.text) > 1}:
                    mentions, left = mentions + 1, left + (mention in rest)
            if number % 50 == 49:
                say(f"{number + 1} files, {restored} restored")
    checked = [label for label in planted if PLANTED[label].checked]
    return {
        "restored": restored, "restored_of": count, "left": left, "left_of": mentions,
        "planted": dict(sorted(planted.items())), "replaced": dict(replaced),
        "checked": sum(replaced[label] for label in checked), "checked_of": sum(planted[label] for label in checked),
    }  # fmt: skip


@contextlib.contextmanager
def patched(tagger: Any, records: list[Redacted]) -> Iterator[None]:
    """Let `tagger redact` use a loaded tagger, derive keys fast, and tell what it replaced, while the block runs."""
    redact = Redactor.redact

    def recorded(*arguments: Any) -> Redacted:
        records.append(redact(*arguments))
        return records[-1]

    with (
        mock.patch("tagger.commands.redaction.load_tagger", return_value=tagger),
        mock.patch.object(Redactor, "redact", recorded),
        mock.patch.dict(way_back._SCRYPT, n=2),
        mock.patch.dict(os.environ, TAGGER_PASSPHRASE="a passphrase"),
    ):
        yield


def there_and_back(path: Path, options: list[str], is_without_tagger: bool) -> tuple[Path, bool]:
    """Redact a file or folder and restore it; return the redacted one, and whether the original came back."""
    suffixes = "".join(path.suffixes) if path.is_file() and path.suffix != ".zip" else ""
    out, way, back = (path.with_name(f"{path.name.split('.')[0]}-{name}") for name in ("out", "map", "back"))
    out = out.with_name(out.name + suffixes)
    tagger_arguments = ["--rules-only"] if is_without_tagger else ["bundle"]
    run("redact", *tagger_arguments, path, "--out", out, "--map", way, *options)
    run("redact", "--undo", out, "--map", way, "--out", back)
    return out, contents(back) == contents(path)


def run(*arguments: object) -> None:
    """Run a command of tagger in this process; stop the benchmark if it fails."""
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages):
        code = tagger_main(list(map(str, arguments)))
    if code:
        sys.exit(f"{' '.join(map(str, arguments))}: {messages.getvalue()}")


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of each file of a folder that is not hidden, by name."""
    files = [path] if path.is_file() else [file for file in path.rglob("[!.]*") if file.is_file()]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def what_is_left(result: Document, record: Redacted) -> str:
    """Return a redacted document, as it is read again, without what stands in the place of others."""
    text = result.text
    for replacement in sorted({squeeze(new) for new in record.replacements}, key=len, reverse=True):
        text = squeeze(text).replace(replacement, "\0") if squeeze(text) else text
    beside = json.dumps([dict(result.extra), result.answers], ensure_ascii=False)
    for replacement in sorted({*record.replacements, *(new for new, _ in record.elsewhere)}, key=len, reverse=True):
        beside = beside.replace(replacement, "\0")
    return f"{text}\n{beside}"


def plant(draw: random.Random, sentence: Document) -> tuple[Document, list[tuple[str, str]]]:
    """Return a sentence with up to three numbers around it, in the text alone, and which they are."""
    text, spans = sentence.text, sentence.entities
    numbers = []
    for label in draw.sample(sorted(PLANTED), draw.randint(0, 3)):
        before, number, after = PLANTED[label](draw)
        numbers.append((label, number))
        if draw.random() < 0.3:
            shift = len(before) + len(number) + len(after)
            text = before + number + after + text
            spans = tuple(Span(start + shift, end + shift, name) for start, end, name in spans)
        else:
            text += before + number + after
    return labelled(text, spans), numbers


# ---- look-alikes, people ------------------------------------------------------------------------------------------
def count_look_alikes(draw: random.Random, sentences: list[Document], count: int) -> dict[str, Any]:
    """Return how many numbers that only look right were replaced by the rules."""
    redactor, replaced = Redactor(None), 0
    for _ in range(count):
        sentence, number = draw.choice(sentences).text, look_alike(draw)
        start = len(sentence) + 4
        changes = redactor.redact(Document(f"{sentence}\n编号为{number}。"), ()).changes
        if hit := [change.text for change in changes if change.start < start + len(number) and start < change.end]:
            say(f"replaced: {hit[0]} in {number}")
            replaced += 1
    return {"look_alikes": replaced, "look_alikes_of": count}


def recall_of_people(documents: Iterator[Document], tagger: Any, most: int) -> tuple[int, int]:
    """Return how many people in the first sentences of a corpus are replaced as a whole, and how many there are."""
    given = [document for document, _ in zip(documents, range(most), strict=False)]
    texts = [Document(document.text) for document in given]
    found = total = 0
    for document, redacted in zip(given, Redactor(tagger)(texts), strict=True):
        for start, end, label in document.entities:
            if label == "PER":
                total += 1
                found += any(change.start <= start and end <= change.end for change in redacted.changes)
    return found, total


if __name__ == "__main__":
    main()
