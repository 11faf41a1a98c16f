import html.parser
import json
import re

import pytest

from tagger.analysis import Analysis
from tagger.cli import main
from tagger.documents import Document, Entity, Span
from tagger.reports.html import COLOURS, marked
from tagger.reports.inspection import FINDINGS
from tagger.reports.pages import bundle_page, evaluation_page
from tagger.reports.tables import bundle_tables
from tagger.reports.words import CHINESE
from tests.conftest import SAMPLE

VOID = {"meta", "br", "path", "polyline"}
HOSTILE = '<script>alert("1")</script> & \ud800'


class Page(html.parser.HTMLParser):
    """Checks that what is opened is closed, and gathers what a test may ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(text):
    """Return a page, found whole, self-contained, for light and dark, in two languages."""
    text.encode("utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href") or "http" in (value or "")]
    assert "color-scheme:light dark" in text
    assert "prefers-color-scheme:dark" in text
    headings = re.findall(r"<h[12]>([^<]*)", text)
    assert any(re.search("[\u4e00-\u9fff]", heading) and re.search("[A-Za-z]", heading) for heading in headings)
    return page


def evaluation():
    analysis = Analysis(trained={("李明", "PER")})
    gold, text = (Span(0, 2, "PER"), Span(3, 5, "LOC")), "李明在北京" + HOSTILE
    analysis.add(Document(text, gold), [Entity(0, 2, "PER", "李明", 0.9), Entity(3, 5, "a<b", "北京", 0.8)])
    return analysis.to_dict()


def test_an_evaluation_page_has_all_sections_and_escapes_text():
    text = evaluation_page("<corpus>.jsonl", evaluation())
    page = checked(text)
    shown = "".join(page.text)
    assert "<corpus>.jsonl" in shown
    assert 'alert("1")</script> & ?' in shown
    headings = (
        "Scores",
        "Reliability",
        "Scores by entity length",
        "Seen and unseen mentions",
        "Errors",
        "Confusion matrix",
        "Most confident mistakes",
    )
    for heading in headings:
        assert f"{heading} {CHINESE[heading]}" in shown
    assert text.count('wrong" title') == 2  # LOC on one side, a<b on the other
    assert "a&lt;b 0.80" in text


def test_an_evaluation_of_nothing_is_a_page():
    checked(evaluation_page("x", Analysis().to_dict()))


def test_every_finding_and_error_has_a_chinese_name():
    assert set(FINDINGS.values()) <= set(CHINESE)
    assert set(evaluation()["errors"]) <= set(CHINESE)


def test_marked_text_is_the_text():
    text = "李明<在>北京"
    spans = [Span(0, 2, "PER"), Span(5, 7, "LOC")]
    page = Page(marked(text, spans, ["LOC", "PER"], {spans[0]}))
    assert "".join(page.text) == text
    assert page.attributes == [("class", "l1 wrong"), ("title", "PER"), ("class", "l0"), ("title", "LOC")]


def luminance(colour):
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("light", "dark"), COLOURS)
def test_text_stands_out_on_every_colour(light, dark):
    assert (luminance(light) + 0.05) / 0.05 >= 7
    assert 1.05 / (luminance(dark) + 0.05) >= 7


def test_a_corpus_is_a_page(tmp_path, capsys):
    out = tmp_path / "page.html"
    files = [str(SAMPLE / name) for name in ("train.jsonl", "dev.jsonl")]
    assert main(["inspect", *files, "--html", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = checked(out.read_text("utf-8"))
    assert page.tags.count("svg") == 4
    shown = "".join(page.text)
    for split in found["splits"]:
        assert f"{split['characters']:,}" in shown
    for of in found["conflicts"]["unmarked"]["examples"]:
        assert of["mention"] in shown


@pytest.mark.train
def test_a_bundle_is_a_page(bundle, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["inspect", str(bundle), "--html", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preset"] == "default"
    assert found["settings"]["model.layers"] == [[16, 16], [128, 64]]
    assert "training.seed" not in found["settings"]
    assert found["alignment"]["texts"] == 240
    page = checked(out.read_text("utf-8"))
    assert page.tags.count("polyline") == 3
    assert "[16, 16]" in page.text


def test_a_network_that_is_only_pretrained_has_tables_and_a_page():
    history = [{"epoch": n, "loss": 4 / n, "masked_accuracy": n / 4, "seconds": 1.0} for n in (1, 2)]
    empty = {"settings": {}, "vectors": {}, "gazetteer": 0, "alignment": {}, "files": {}, "metrics": {}, "labels": []}
    found = {**empty, "preset": "default", "history": history}
    rows = [("1", "4.0000", "25.00", "1.0"), ("2", "2.0000", "50.00", "1.0")]
    assert bundle_tables(found) == {"Epochs": (["epoch", "loss", "masked accuracy", "seconds"], rows)}
    assert checked(bundle_page("pretrained", found)).tags.count("polyline") == 2


@pytest.mark.train
def test_an_evaluation_is_a_page_and_the_same_numbers(bundle, small_corpus, tmp_path, capsys):
    out = tmp_path / "page.html"
    files = [str(small_corpus / "dev.jsonl"), "--train", str(small_corpus / "train.jsonl")]
    assert main(["evaluate", str(bundle), *files, "--html", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = checked(out.read_text("utf-8"))
    shown = "".join(page.text)
    for count in found["errors"].values():
        assert f"{count:,}" in shown
    assert len(found["worst"]) == page.attributes.count(("class", "pair"))
    assert sum(of["gold"] for of in found["mentions"].values()) == found["gold"]


@pytest.mark.parametrize("arguments", [["tagger"], ["tagger", "data/dev.jsonl"]])
def test_a_folder_without_a_bundle_is_an_error(arguments, capsys):
    assert main(["inspect", *arguments]) in (1, 2)
    assert "bundle" in capsys.readouterr().err
