"""The queue on the page, driven in a real browser."""

import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tagger import Tagger, corpus
from tagger.documents import Document, Span
from tagger.serve.corrections import CorpusFile
from tagger.serve.queue import TextQueue
from tagger.serve.queue_endpoints import QueueSetup
from tagger.serve.retraining import TrainingPlan
from tests.conftest import ROOT
from tests.make_golden_bundle import GOLDEN, SENTENCES
from tests.make_golden_bundle import corpus as golden_corpus
from tests.samples import planted
from tests.serving import expect_marks, served

TEXTS = ["龘在北京", "上海的龘", "没有"]


@contextmanager
def opened(browser, address, **options):
    """Yield the page of a server; an error in the browser fails the test."""
    context = browser.new_context(**{"locale": "en-US", "color_scheme": "light", **options})
    context.set_default_timeout(30_000)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    expect(page.locator("#queue-state")).not_to_be_empty()
    yield page
    context.close()
    assert not errors


@pytest.fixture
def visit(browser, tmp_path):
    """Open the page of a new server with a queue; the queue's file and the corrections stay."""
    saved = CorpusFile(tmp_path / "corrected.jsonl")

    @contextmanager
    def session(texts=TEXTS, **options):
        queue = TextQueue(map(Document, texts), saved.path, 1000)
        setup = QueueSetup(queue, TrainingPlan(tmp_path / "bundle", every=2), Tagger.load)
        server = served(planted(labels=("PER", "LOC")), save=saved, queue=setup)
        with server as port, opened(browser, f"http://127.0.0.1:{port}/", **options) as page:
            yield page

    return session


def state(page, text):
    expect(page.locator("#queue-state")).to_contain_text(text)


def test_texts_come_one_by_one_and_the_keyboard_is_enough(visit, tmp_path):
    with visit() as page:
        press = page.keyboard.press
        state(page, "0 of 3 done")
        expect(page.locator("#text")).to_be_focused()
        first = page.input_value("#text")
        press("Control+a")
        press("Alt+2")
        expect_marks(page, [(first, "LOC")])
        press("x")  # the text itself cannot be changed
        expect(page.locator("#text")).to_have_value(first)
        press("Control+Enter")
        state(page, "1 of 3 done")
        second = page.input_value("#text")
        press("Alt+n")
        state(page, "1 skipped")
        expect(page.locator("#text")).not_to_have_value(second)
        press("Alt+p")
        expect(page.locator("#text")).to_have_value(second)
        press("Alt+p")
        expect(page.locator("#text")).to_have_value(first)
        state(page, "this one is done")
        expect_marks(page, [(first, "LOC")])
        expect(page.locator("#back")).to_be_disabled()
        press("Control+a")
        press("Alt+1")
        press("Control+s")
        expect(page.locator("#text")).to_have_value(second)
        state(page, "1 of 3 done")
        press("Control+s")
        state(page, "2 of 3 done")
        press("Control+s")
        state(page, "All 3 texts are done")
        expect(page.locator("#save-next")).to_be_disabled()
        press("Alt+p")
        state(page, "this one is done")
    documents = list(corpus.read(tmp_path / "corrected.jsonl"))
    assert [document.text for document in documents[:3]] == [first, first, second]
    assert documents[0].entities == (Span(0, len(first), "LOC"),)
    assert documents[1].entities == (Span(0, len(first), "PER"),)


def test_place_corrections_and_undo_survive_a_reload(visit):
    with visit() as page:
        page.click("#skip")
        state(page, "1 skipped")
        text = page.input_value("#text")
        page.focus("#text")
        page.keyboard.press("Control+a")
        page.keyboard.press("Alt+2")
        page.keyboard.press("Alt+1")
        page.reload()
        state(page, "0 of 3 done")
        expect(page.locator("#text")).to_have_value(text)
        expect_marks(page, [(text, "PER")])
        page.click("#undo")
        expect_marks(page, [(text, "LOC")])
        page.reload()
        expect(page.locator("#view mark")).to_have_attribute("data-label", "LOC")
        page.click("#save-next")
        state(page, "1 of 3 done")
    with visit() as page:  # the server was restarted
        state(page, "1 of 3 done · 1 skipped")
        assert page.input_value("#text") not in ("", text)


def test_what_a_training_needs_is_explained(visit):
    with visit(locale="zh-CN") as page:
        for number in (1, 2):
            page.click("#save-next")
            state(page, f"已完成 {number} / 3")
        expect(page.locator("#training-state")).to_contain_text("--train F --dev F")
        expect(page.locator("#training-start")).to_be_hidden()
        page.click("#language")
        expect(page.locator("#training-state")).to_contain_text("2 texts were saved")
        page.click("#training-later")
        expect(page.locator("#training")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_queue_is_accessible(visit, scheme):
    with visit(color_scheme=scheme, bypass_csp=True) as page:  # the checker is a script of another origin
        page.click("#save-next")
        state(page, "1 of 3 done")
        page.click("#save-next")
        expect(page.locator("#training")).to_be_visible()
        result = Axe().run(page)
        assert not result.response["violations"], result.generate_report()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_queue_fits_the_window(visit, width):
    with visit(["龘在北京" * 60], viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


# ---- training -----------------------------------------------------------------------------------------------------


@contextmanager
def command(folder):
    """Yield the address of `tagger serve` with a queue, which is stopped by a signal at the end."""
    arguments = [
        str(folder / "bundle"),
        "--queue",
        str(folder / "texts.txt"),
        "--save",
        str(folder / "corrected.jsonl"),
    ]
    arguments += ["--train", str(folder / "train.jsonl"), "--dev", str(folder / "dev.jsonl"), "--retrain-every", "10"]
    arguments += ["--set", "training.epochs=4", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tagger", "serve", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    with process:
        printed = ""
        while "http://" not in printed:
            printed = process.stderr.readline()
            assert printed
        try:
            yield re.search(r"http://\S+/", printed)[0]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.mark.train
def test_ten_texts_are_corrected_a_bundle_is_trained_and_the_queue_goes_on(browser, tmp_path):
    shutil.copytree(GOLDEN / "format-3", tmp_path / "bundle")
    rows = golden_corpus()
    for name, part in (("train.jsonl", rows), ("dev.jsonl", rows[1::4])):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (tmp_path / name).write_text("".join(lines), "utf-8")
    texts = [
        sentence.format(name, "天津") for name in ("赵敏", "钱三强", "周伯通", "林黛玉") for sentence in SENTENCES[:3]
    ]
    (tmp_path / "texts.txt").write_text("\n".join(texts), "utf-8")
    with command(tmp_path) as address, opened(browser, address) as page:
        expect(page.locator("#about")).to_contain_text("Bundle bundle")
        total = len(texts)
        for number in range(10):
            text = page.input_value("#text")
            place = text.index("天津")
            page.evaluate(f"document.querySelector('#text').setSelectionRange({place}, {place + 2})")
            page.click("#labels button:has-text('LOC')")
            page.click("#save-next")
            state(page, f"{number + 1} of {total} done")
            expect(page.locator("#text")).not_to_have_value(text)
        place = page.input_value("#text")
        page.reload()
        expect(page.locator("#text")).to_have_value(place)
        page.click("#training-start")
        expect(page.locator("#training-stop")).to_be_visible()
        expect(page.locator("#training-state")).to_contain_text("epoch", timeout=60_000)
        expect(page.locator("#training-state")).to_contain_text("bundle.1 is in use", timeout=60_000)
        expect(page.locator("#about")).to_contain_text("Bundle bundle.1")
        expect(page.locator("#text")).to_have_value(place)
        page.click("#save-next")
        state(page, f"11 of {total} done")
    with command(tmp_path) as address, opened(browser, address) as page:
        state(page, f"11 of {total} done")
        expect(page.locator("#training")).to_be_hidden()
    assert len(list(corpus.read(tmp_path / "corrected.jsonl"))) == 11
    assert {"bundle", "bundle.1"} == {path.name for path in tmp_path.glob("bundle*")}
    assert (tmp_path / "bundle.1" / "gazetteer").read_bytes() == (tmp_path / "bundle" / "gazetteer").read_bytes()
    assert Tagger.load(tmp_path / "bundle.1")("王芳去了天津。")[-1].text == "天津"
