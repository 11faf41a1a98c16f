"""The page, driven in a real browser."""

import json
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tagger import corpus, formats
from tagger.documents import Document, Notes, Span, labelled
from tagger.serve.corrections import CorpusFile
from tests.conftest import ROOT, SMALL
from tests.samples import planted
from tests.serving import expect_marks, served

LABELS = ("PER", "LOC", "ORG")


@pytest.fixture
def saved(tmp_path):
    return tmp_path / "corrected.jsonl"


@pytest.fixture(scope="module")
def tagger():
    return planted(labels=LABELS)


@pytest.fixture
def visit(browser, tagger, saved):
    """Open the page of a new server; an error in the browser fails the test, and so does a request elsewhere."""
    errors, requests = [], []

    @contextmanager
    def session(expected="", token="", **options):
        with served(tagger, save=CorpusFile(saved), token=token) as port:
            context = browser.new_context(**{"locale": "en-US", "color_scheme": "light", **options})
            context.set_default_timeout(30_000)
            page = context.new_page()
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(f"http://127.0.0.1:{port}/")
            yield page
            context.close()
        assert not [error for error in errors if not expected or expected not in error]
        assert all(url.startswith((f"http://127.0.0.1:{port}/", "blob:")) for url in requests)

    return session


def write(page, text, count):
    with page.expect_response("**/tag"):
        page.fill("#text", text)
    expect(page.locator("#view")).to_have_class("view")
    expect(page.locator("#view mark")).to_have_count(count)


def select(page, start, end):
    """Select characters of a text without entities in the view, with the mouse."""
    box = page.evaluate(
        """([start, end]) => [[start, start + 1], [end - 1, end]].map(([from, to]) => {
            const range = document.createRange();
            range.setStart(document.querySelector("#view").firstChild, from);
            range.setEnd(document.querySelector("#view").firstChild, to);
            const box = range.getBoundingClientRect();
            return [box.left, box.right, (box.top + box.bottom) / 2];
        })""",
        [start, end],
    )
    page.mouse.move(box[0][0] + 1, box[0][2])
    page.mouse.down()
    page.mouse.move(box[1][1] - 1, box[1][2], steps=5)
    page.mouse.up()


# ---- viewing ------------------------------------------------------------------------------------------------------


def test_typed_entities_are_highlighted(visit):
    with visit() as page:
        page.type("#text", "我是龘，他也是龘", delay=5)
        expect(page.locator("#view mark")).to_have_count(2)
        expect_marks(page, [("龘", "PER")] * 2)
        expect(page.locator("#view")).to_have_text("我是龘，他也是龘")
        expect(page.locator("#status")).to_have_text("2 entities")
        expect(page.locator("#rows tr")).to_have_count(2)
        expect(page.locator("#rows tr").first).to_contain_text("2–3")
        page.type("#text", "龘")
        expect(page.locator("#view mark")).to_have_count(3)


def test_text_is_never_markup(visit):
    text = '<img src=x onerror="alert(1)"><b>龘</b>&amp;<script>alert(2)</script>'
    with visit() as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        write(page, text, 1)
        expect(page.locator("#view")).to_have_text(text)
        expect(page.locator("#view img, #view b, #view script")).to_have_count(0)


def test_the_probability_is_shown_and_the_threshold_hides(visit, tagger):
    (entity,) = tagger("我龘")
    with visit() as page:
        write(page, "我龘", 1)
        page.hover("#view mark")
        expect(page.locator("#tip")).to_have_text(f"PER · {100 * entity.score:.1f} %")
        page.hover("h1")
        expect(page.locator("#tip")).to_be_hidden()
        page.focus("#threshold")
        page.keyboard.press("End")
        expect(page.locator("#threshold-shown")).to_have_text("1.00")
        expect(page.locator("#view mark")).to_have_count(0 if entity.score < 1 else 1)
        page.keyboard.press("Home")
        expect(page.locator("#view mark")).to_have_count(1)


def test_the_threshold_never_changes_what_is_saved(visit, saved):
    with visit() as page:
        page.route("**/tag", lambda route: route.fulfill(json={"text": "龘和龘", "entities": [
            {"start": 0, "end": 1, "label": "PER", "text": "龘", "score": 0.4},
            {"start": 2, "end": 3, "label": "PER", "text": "龘", "score": 0.9},
        ]}))  # fmt: skip
        write(page, "龘和龘", 2)
        expect(page.locator("#hidden")).to_have_text("")
        page.fill("#threshold", "0.5")
        expect_marks(page, [("龘", "PER")])
        expect(page.locator("#hidden")).to_have_text("1 hidden by the slider; saving includes them")
        page.evaluate("document.querySelector('#text').setSelectionRange(1, 2)")
        page.fill("#threshold", "1")
        page.click("#labels button:has-text('LOC')")  # what the user sets is always shown
        expect_marks(page, [("和", "LOC")])
        page.click("#save")
        expect(page.locator("#status")).to_have_text("Saved to corrected.jsonl")
    (document,) = corpus.read(saved)
    assert document.entities == (Span(0, 1, "PER"), Span(1, 2, "LOC"), Span(2, 3, "PER"))


def test_language_and_theme_follow_the_browser_and_the_user(visit):
    with visit(locale="zh-CN", color_scheme="dark") as page:
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        expect(page.locator("#save")).to_have_text("保存")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#language")
        page.click("#theme")
        expect(page.locator("#save")).to_have_text("Save")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        page.reload()
        expect(page.locator("#save")).to_have_text("Save")
        expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_both_languages_have_every_message():
    messages = (ROOT / "tagger/serve/page/messages.js").read_text("utf-8")
    english, chinese = messages.split("  zh: {")
    keys = [
        {line.split(":")[0].strip() for line in part.splitlines() if line.startswith("    ") and ":" in line[:20]}
        for part in (english, chinese)
    ]
    assert keys[0] - {"exampleText"} == keys[1]
    assert len(keys[1]) > 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(visit, scheme):
    with visit(color_scheme=scheme, bypass_csp=True) as page:  # the checker is a script of another origin
        write(page, "我龘在北京", 1)
        for opened in (False, True):
            if opened:
                page.click("#view mark")
            result = Axe().run(page)
            assert not result.response["violations"], result.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_documentation_is_accessible(visit, scheme):
    with visit(color_scheme=scheme, bypass_csp=True) as page:
        page.click("#docs")
        for path in ("/docs", "/docs/tutorial", "/docs/settings"):  # lists, code, tables
            page.goto(urljoin(page.url, path))
            result = Axe().run(page)
            assert not result.response["violations"], f"{path}: {result.generate_report()}"


def test_the_documentation_loads_its_pictures_and_needs_nothing_else(visit):
    with visit() as page:
        page.click("#docs")
        for path in sorted({link.get_attribute("href") for link in page.locator(".docs > nav a").all()}):
            page.goto(urljoin(page.url, path))
            assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)"), path


def test_the_documentation_keeps_language_and_theme(visit):
    with visit(locale="zh-CN") as page:
        page.click("#theme")
        page.click("#docs")
        expect(page.locator("article h1")).to_have_text("文档")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.click("header nav a")
        expect(page.locator("article h1")).to_have_text("Documentation")
        page.click("header button")
        page.click(".docs > nav li:nth-child(2) a")
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        expect(page.locator("html")).to_have_attribute("lang", "en")
        page.click("header .brand")
        expect(page.locator("#text")).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_documentation_fits_the_window(visit, width):
    with visit(viewport={"width": width, "height": 800}) as page:
        for path in ("/docs", "/docs/settings", "/docs/benchmarks"):
            page.goto(urljoin(page.url, path))
            assert page.evaluate("document.documentElement.scrollWidth") <= width


# ---- correcting --------------------------------------------------------------------------------------------------


def test_a_span_is_added_relabelled_removed_and_saved(visit, saved):
    with visit() as page:
        write(page, "😀他在北京大学", 0)
        expect(page.locator("#status")).to_have_text("0 entities")
        select(page, 4, 8)  # 😀 is two UTF-16 code units, and one character
        expect(page.locator("#menu-heading")).to_have_text("北京大学")
        page.click("#menu button:has-text('LOC')")
        expect_marks(page, [("北京大学", "LOC")])
        expect(page.locator("#rows .number >> nth=0")).to_have_text("3–7")
        page.click("#view mark")
        page.click("#menu button:has-text('ORG')")
        expect_marks(page, [("北京大学", "ORG")])
        page.click("#save")
        expect(page.locator("#status")).to_have_text("Saved to corrected.jsonl")
        expect(page.locator("#save")).to_be_disabled()
        page.click("#view mark")
        page.click("#menu-remove")
        expect_marks(page, [])
        page.click("#undo")
        expect_marks(page, [("北京大学", "ORG")])
    assert list(corpus.read(saved)) == [Document("😀他在北京大学", (Span(3, 7, "ORG"),), ("北京大学",))]


def test_predicted_entities_are_corrected(visit, saved):
    with visit() as page:
        write(page, "龘和龘和龘", 3)
        page.click("#view mark >> nth=0")
        page.fill("#menu-new", "两 字")
        page.press("#menu-new", "Enter")
        page.click("#rows tr:nth-child(2) button.quiet")
        expect_marks(page, [("龘", "两-字"), ("龘", "PER")])
        page.keyboard.press("Control+s")
        expect(page.locator("#status")).to_have_text("Saved to corrected.jsonl")
    (document,) = corpus.read(saved)
    assert document.entities == (Span(0, 1, "两-字"), Span(4, 5, "PER"))


def test_corrections_keep_their_place_while_the_text_changes(visit):
    with visit() as page:
        write(page, "龘在北京。", 1)
        page.evaluate("document.querySelector('#text').setSelectionRange(2, 4)")
        page.click("#labels button:has-text('LOC')")
        page.click("#rows tr:nth-child(1) button.quiet")
        expect_marks(page, [("北京", "LOC")])
        write(page, "😀今天龘在北京。", 1)
        write(page, "😀今天龘在北京。龘", 2)
        expect_marks(page, [("北京", "LOC"), ("龘", "PER")])
        write(page, "今天龘在北海。", 1)  # the corrected entity is gone
        expect_marks(page, [("龘", "PER")])


def test_everything_works_with_the_keyboard(visit, saved):
    with visit() as page:
        press = page.keyboard.press
        expect(page.locator("#text")).to_be_focused()
        page.keyboard.type("龘，龘在北京")
        expect(page.locator("#view mark")).to_have_count(2)
        press("Shift+ArrowLeft")
        press("Shift+ArrowLeft")
        press("Alt+2")
        expect_marks(page, [("龘", "PER"), ("龘", "PER"), ("北京", "LOC")])
        while page.evaluate("document.activeElement.tagName") != "MARK":
            press("Tab")
        press("End")
        press("3")
        press("Home")
        press("Delete")
        expect_marks(page, [("龘", "PER"), ("北京", "ORG")])
        press("Enter")
        expect(page.locator("#menu")).to_be_visible()
        press("Escape")
        expect(page.locator("#menu")).to_be_hidden()
        press("Enter")
        press("ArrowRight")
        press("Enter")
        expect_marks(page, [("龘", "LOC"), ("北京", "ORG")])
        press("Control+z")
        expect_marks(page, [("龘", "PER"), ("北京", "ORG")])
        press("Control+s")
        expect(page.locator("#status")).to_have_text("Saved to corrected.jsonl")
    (document,) = corpus.read(saved)
    assert document.entities == (Span(2, 3, "PER"), Span(4, 6, "ORG"))


@pytest.mark.train
def test_a_tagger_learns_from_saved_corrections(visit, saved, tmp_path):
    from tagger import Tagger, config
    from tagger.learning.run import Sources
    from tagger.learning.training import train

    with visit() as page:
        for number in range(12):
            text = f"第{number}次，龘又去了北京。"
            page.fill("#text", "")
            write(page, text, 1)
            page.evaluate(f"document.querySelector('#text').setSelectionRange({len(text) - 3}, {len(text) - 1})")
            page.click("#labels button:has-text('LOC')")
            page.click("#save")
            expect(page.locator("#status")).to_have_text("Saved to corrected.jsonl")
    settings = config.load("default", [*SMALL, "vectors.min_count=1", "batches.units=40", "training.epochs=20"])
    train(settings, Sources(saved, saved, ()), tmp_path / "bundle")
    assert [entity[:3] for entity in Tagger.load(tmp_path / "bundle")("第7次，龘又去了北京。")] == [
        (4, 5, "PER"), (8, 10, "LOC"),
    ]  # fmt: skip


# ---- files ------------------------------------------------------------------------------------------------------


def test_the_download_equals_the_output_of_the_command(visit, tagger):
    text = "龘😀 龘\n在北京"
    predicted = tagger(text)
    spans = [*(Span(*entity[:3]) for entity in predicted), Span(6, 8, "LOC")]
    document = labelled(text, spans, scores=[*(entity.score for entity in predicted), 1])
    with visit(permissions=["clipboard-read", "clipboard-write"]) as page:
        write(page, text, 2)
        page.evaluate("document.querySelector('#text').setSelectionRange(7, 9)")
        page.click("#labels button:has-text('LOC')")
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "tagged.jsonl"
        content = json.loads(Path(download.value.path()).read_text("utf-8"))
        page.select_option("#format", "conll")
        page.click("#copy")
        expect(page.locator("#status")).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
    expected = json.loads("".join(formats.write("jsonl", [document], Notes())))
    del expected["entities"][2]["score"]  # a user's entity has none
    assert content == expected
    assert copied == "".join(formats.write("bio", [document], Notes()))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_file_is_opened_in_its_encoding(visit, tmp_path, encoding):
    (tmp_path / "own.txt").write_text("中文里的龘字", encoding)
    with visit() as page:
        page.set_input_files("#file", tmp_path / "own.txt")
        expect(page.locator("#view mark")).to_have_count(1)
        expect(page.locator("#text")).to_have_value("中文里的龘字")


def test_a_file_is_dropped(visit):
    with visit() as page:
        page.evaluate(
            """() => {
                const dataTransfer = new DataTransfer();
                dataTransfer.items.add(new File(["掉进来的龘"], "a.txt"));
                document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
            }"""
        )
        expect(page.locator("#view mark")).to_have_count(1)


def test_a_token_is_asked_for(visit):
    with visit(expected="401", token="geheim") as page:
        for token, error in (("falsch", "Wrong token"), ("geheim", "")):
            expect(page.locator("#token-dialog")).to_be_visible()
            page.fill("#token", token)
            page.keyboard.press("Enter")
            if error:
                expect(page.locator("#token-error")).to_have_text(error)
        expect(page.locator("#token-dialog")).to_be_hidden()
        write(page, "我龘", 1)


def test_an_unreachable_server_is_reported_and_tried_again(visit):
    with visit(expected="ERR_FAILED") as page:
        page.route("**/tag", lambda route: route.abort())
        page.fill("#text", "我龘")
        expect(page.locator("#status")).to_contain_text("does not respond")
        page.unroute("**/tag")
        expect(page.locator("#view mark")).to_have_count(1)
        page.fill("#text", "龘" * 100_001)
        expect(page.locator("#status")).to_contain_text("longer than 100,000 characters")
