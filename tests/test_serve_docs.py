import re
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

from tagger import docs
from tagger.serve import documentation
from tagger.serve.application import application
from tagger.serve.documentation import preferred_language, to_html
from tests.samples import planted
from tests.serving import asked


@pytest.fixture(scope="module")
def app():
    return application(planted())


class Page(HTMLParser):
    """What a page links to and shows: `links`, `pictures`, `ids`, attributes of `html` and `article`, headings."""

    def __init__(self, html):
        super().__init__()
        self.links, self.pictures, self.ids, self.tags = [], [], [], []
        self.languages = {}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.links += [named["href"]] if tag == "a" else []
        self.pictures += [(named["src"], named["alt"])] if tag == "img" else []
        self.ids += [named["id"]] if "id" in named else []
        if tag in ("html", "article"):
            self.languages[tag] = named["lang"]


def get(app, path, accept="en"):
    return asked(app, "GET", path, headers={"accept-language": accept})


# ---- routes ------------------------------------------------------------------------------------------------------


def test_the_index_lists_every_topic(app):
    reply = get(app, "/docs")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert {f"/docs/{topic}" for topic in docs.topics()} <= set(Page(reply.text).links)


@pytest.mark.parametrize(
    "path",
    ["/docs/nowhere", "/docs/tutorial.md", "/docs/../docs/tutorial", "/docs/pictures/x.png", "/docs/__init__.py",
     "/docs/pictures/../tutorial.md", "/docs/tutorial/"],
)  # fmt: skip
def test_nothing_else_is_there(app, path):
    assert get(app, path).status == 404


def test_only_get_is_allowed(app):
    assert asked(app, "POST", "/docs", b"x").status == 405


def test_no_token_is_asked_for_but_the_host_is_checked():
    app = application(planted(), token="geheim", hosts={"localhost"})
    for path in ("/docs", f"/docs/{next(iter(docs.topics()))}", "/docs.css"):
        assert asked(app, "GET", path, headers={"host": "localhost"}).status == 200
        assert asked(app, "GET", path, headers={"host": "evil.example"}).status == 421


def test_the_interface_for_programs_does_not_mention_it(app):
    assert "/docs" not in get(app, "/openapi.json").text


# ---- languages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"), ("*", "en"), ("de", "en"), ("zh", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("ZH-Hant", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"), ("en;q=0.2, zh;q=0.7", "zh"), ("zh;q=0, en;q=0.1", "en"), ("zh;q=x", "en"),
        ("de,zh;q=0.1", "zh"), ("zh;q=", "zh"), (",;q=1,", "en"), ("\xff", "en"),
    ],
)  # fmt: skip
def test_the_language_follows_the_header(accept, language):
    assert preferred_language(accept, ["en", "zh"]) == language


def test_a_page_is_in_the_language_of_the_browser_or_of_the_link(app):
    both = next(topic for topic in docs.topics() if docs.languages(topic) == ("en", "zh"))
    for path, accept, language in (
        ("", "en", "en"), ("", "zh-CN", "zh-CN"), ("?lang=zh", "en", "zh-CN"), ("?lang=en", "zh", "en"),
        ("?lang=fr", "zh", "zh-CN"),
    ):  # fmt: skip
        reply = get(app, f"/docs/{both}{path}", accept)
        page = Page(reply.text)
        assert page.languages == {"html": language, "article": language}
        assert reply.headers["content-language"] == language
        assert f"?lang={'en' if language == 'zh-CN' else 'zh'}" in page.links
        assert "notice" not in reply.text


def test_a_page_that_is_not_translated_says_so(app):
    single = next(topic for topic in docs.topics() if docs.languages(topic) == ("en",))
    reply = get(app, f"/docs/{single}", "zh")
    assert Page(reply.text).languages == {"html": "zh-CN", "article": "en"}
    assert "本页只有英文版" in reply.text


def test_a_chosen_language_stays_when_links_are_followed(app):
    for link in Page(get(app, "/docs?lang=zh").text).links:
        assert not link.startswith("/docs") or link.endswith("?lang=zh")


# ---- Markdown ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(monkeypatch):
    """Topics `a` (English and Chinese), `b` (English), `c` (Chinese), and a picture `p.png`."""
    languages = {"a": ("en", "zh"), "b": ("en",), "c": ("zh",)}
    monkeypatch.setattr(docs, "languages", lambda topic: languages.get(topic, ()))
    monkeypatch.setattr(documentation, "_pictures", lambda: {"p.png"})
    to_html.cache_clear()
    yield
    to_html.cache_clear()


@pytest.mark.parametrize(
    ("link", "language", "query", "expected"),
    [
        ("a.md", "en", "", "/docs/a"),
        ("a.md#x-y", "en", "?lang=en", "/docs/a?lang=en#x-y"),
        ("tagger/docs/a.md", "en", "", "/docs/a"),
        ("./b.md", "zh", "?lang=zh", "/docs/b?lang=zh"),
        ("a.zh.md", "en", "", "/docs/a?lang=zh"),
        ("a.md", "zh", "", "/docs/a?lang=en"),
        ("a.md", "zh", "?lang=zh", "/docs/a?lang=en"),
        ("c.zh.md", "en", "", "/docs/c?lang=zh"),
        ("#here", "en", "?lang=en", "#here"),
        ("https://example.org/a.md", "en", "?lang=en", "https://example.org/a.md"),
        ("mailto:a@example.org", "en", "", "mailto:a@example.org"),
        ("pictures/p.png", "en", "?lang=en", "/docs/pictures/p.png"),
        *((link, "en", "", None) for link in (
            "c.md", "b.zh.md", "nowhere.md", "../../LICENSE", "/tag", "//evil.example/a.md", "ftp://example.org/x",
            "a.txt", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
        )),
    ],
)  # fmt: skip
def test_links_lead_to_pages(pages, link, language, query, expected):
    html = to_html(f"See [*this* page]({link}).", language, query)
    assert Page(html).links == ([expected] if expected else [])
    assert "page" in html


def test_pictures_are_those_of_the_package(pages):
    html = to_html(
        "![A *page*](pictures/p.png) ![elsewhere](https://example.org/p2.png) ![gone](pictures/q.png)\n\n![x](a.md)"
    )
    assert Page(html).pictures == [("/docs/pictures/p.png", "A page")]
    assert "elsewhere" in html
    assert "gone" in html


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>", "text <img src=x onerror=alert(1)> text", "<div onclick='x'>\n\n# a\n</div>",
        "<b>bold</b>", "# <script>x</script>", "| <i>a</i> |\n|---|\n| <a href='x'>b</a> |", "[<u>x</u>](a.md)",
        "`<table>`", "```\n</table><pre>\n```", "<!-- a --><script>", "<!-- a\n\n--> <b>", "<!-- never closed <b>",
        '[x](a.md "<b>\\"</b>")', "[x](https://example.org/\"><script>)", "&lt;script&gt;", "<?php x ?>",
        "<![CDATA[<b>]]>",
    ],
)  # fmt: skip
def test_markup_in_a_page_is_text(pages, markup):
    page = Page(to_html(markup))
    allowed = {"p", "h1", "a", "code", "pre", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(page.tags) <= allowed
    assert page.tags.count("table") == page.tags.count("div") == markup.count("|---|")
    assert page.tags.count("pre") == markup.count("```") // 2


def test_comments_do_not_show(pages):
    markdown = "<!-- begin -->\n\n| a |\n|---|\n| 1 |\n\n<!-- end\n-->\n\ntext <!-- inside --> text\n\n`<!-- code -->`"
    html = to_html(markdown)
    assert not re.search("begin|end|inside", html)
    assert "&lt;!-- code --&gt;" in html


def test_no_inline_style_is_needed(pages):
    html = to_html("| a | b | c |\n|---|--:|:-:|\n| 1 | 2 | 3 |")
    assert "style" not in html
    assert html.count('class="right"') == html.count('class="center"') == 2


def test_an_empty_corner_of_a_table_is_no_heading(pages):
    tags = Page(to_html("| | a |\n|---|---|\n| 1 | 2 |")).tags
    assert [tags.count("th"), tags.count("td")] == [1, 3]


def test_headings_have_the_anchors_that_links_name(pages):
    html = to_html("# A `code` heading, here\n\n## 中文：标题\n\n## Twice\n\n## Twice\n\n## Under_score-and 2")
    assert Page(html).ids == ["a-code-heading-here", "中文标题", "twice", "twice-1", "under_score-and-2"]


# ---- the pages that there are ------------------------------------------------------------------------------------


def test_every_link_and_picture_leads_somewhere(app):
    """Follow each link below /docs, from the index on, in both languages; check anchors too."""
    waiting, pages, pictures, anchors = ["/docs", "/docs?lang=en", "/docs?lang=zh"], {}, set(), set()
    while waiting:
        path = waiting.pop()
        if path in pages:
            continue
        reply = get(app, path)
        assert reply.status == 200, path
        pages[path] = page = Page(reply.text)
        assert len(page.ids) == len(set(page.ids)), path
        assert page.tags.count("h1") == 1, path
        assert "<!--" not in reply.text, path
        assert "style=" not in reply.text, path
        for link in page.links:
            target, fragment = urldefrag(urljoin(f"http://server{path}", link))
            if urlsplit(target).netloc != "server":
                continue
            target = target.removeprefix("http://server")
            anchors |= {(path, target, fragment)} if fragment else set()
            if target.startswith("/docs/pictures/"):
                pictures.add(target)
            else:
                assert target == "/" or target.startswith("/docs"), (path, link)
                waiting += [target] if target != "/" else []
        pictures |= {source for source, _ in page.pictures if source != "/icon.svg"}
        assert all(alternative for source, alternative in page.pictures if source != "/icon.svg"), path
    for path, target, fragment in anchors:
        assert fragment in pages[target].ids, f"{path} links to {target}#{fragment}"
    assert {f"/docs/{topic}" for topic in docs.topics()} <= set(pages)
    for picture in pictures:
        reply = get(app, picture)
        assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
        assert reply.body.startswith(b"\x89PNG")


def test_relative_links_of_the_pages_are_not_lost():
    """A link that became text would be a link to a page that is not there."""
    for topic in docs.topics():
        for language in docs.languages(topic):
            markdown = docs.page(topic, language)
            linked = set(re.findall(r"\]\((?!https?://|#)([^)#\s]+\.md)", markdown)) - {
                "../../README.md",
                ".github/CONTRIBUTING.md",
            }
            lost = {
                link for link in linked if not link.startswith("../") and not documentation._target(link, language, "")
            }
            assert not lost, f"{topic} ({language})"


def test_no_markup_of_a_page_is_shown_as_text(app):
    for topic in docs.topics():
        for language in docs.languages(topic):
            html = get(app, f"/docs/{topic}?lang={language}").text
            prose = re.sub("<(pre|code)[^>]*>.*?</\\1>", "", html, flags=re.DOTALL)
            assert not re.search(r"&lt;/?(img|p|div|br|table|details|a)\b", prose), topic
