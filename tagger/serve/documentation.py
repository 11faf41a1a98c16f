"""The pages of the documentation as HTML, under `/docs`, in the language of the browser.

GET /docs                 the topics
GET /docs/TOPIC           a page; `?lang=zh` overrides the language that the browser prefers
GET /docs/pictures/NAME   a picture that pages show
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from html import escape
from importlib import resources
from itertools import pairwise
from pathlib import PurePosixPath
from string import Template
from typing import Any
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.requests import Request
from starlette.responses import Response

from tagger import docs

# What the frame around a page says, in each language of the documentation; the first is the default.
_MESSAGES = {
    "en": {
        "documentation": "Documentation",
        "topics": "Topics",
        "settings": "Settings",
        "theme": "Light or dark",
        "switch": "中文",
        "notice": "This page is available in Chinese only.",
    },
    "zh": {
        "documentation": "文档",
        "topics": "主题",
        "settings": "设置",
        "theme": "浅色或深色",
        "switch": "English",
        "notice": "本页只有英文版。",
    },
}
_OTHER = {"en": "zh", "zh": "en"}
_HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}

_COMMENT = re.compile("<!--.*?-->", re.DOTALL)
_PAGE_FILE = re.compile(r"(?P<topic>[\w-]+)(\.(?P<language>[a-z]{2}))?\.md")
_PLAIN = re.compile(r"[*`]|(?<=\])\([^)]*\)|[\[\]]")  # Markdown in a summary that is shown as text
_ALIGNMENT = re.compile("text-align:(left|center|right)")


def handlers() -> dict[str, Callable[[Request], Response]]:
    """Return what answers each path: the index, every topic, every picture; no other file can be requested."""
    topics = {f"/docs/{topic}": partial(_respond, topic=topic) for topic in docs.topics()}
    pictures = {f"/docs/pictures/{name}": partial(_picture, name=name) for name in _pictures()}
    return {"/docs": partial(_respond, topic=""), **topics, **pictures}


def preferred_language(accept: str, languages: Sequence[str]) -> str:
    """Return the language that a header `Accept-Language` prefers; the first where it names none of them.

    >>> preferred_language("de, zh-CN;q=0.8, en;q=0.5", ["en", "zh"])
    'zh'
    """
    weighted = []
    for item in accept.lower().split(","):
        name, _, weight = item.partition(";q=")
        try:
            weighted.append((float(weight or 1), name.strip().partition("-")[0]))
        except ValueError:
            continue
    ranked = sorted((pair for pair in weighted if pair[0] > 0), key=lambda pair: -pair[0])
    return next((name for _, name in ranked if name in languages), languages[0])


def _respond(request: Request, topic: str) -> Response:
    """Answer with a page, or with the index where the topic is empty."""
    chosen = request.query_params.get("lang", "")
    chosen = chosen if chosen in _MESSAGES else ""
    language = chosen or preferred_language(request.headers.get("accept-language", ""), list(_MESSAGES))
    headers = {"Content-Language": _HTML_LANGUAGES[language], "Vary": "Accept-Language"}
    return Response(_document(topic, language, f"?lang={chosen}" if chosen else ""), 200, headers, "text/html")


def _picture(request: Request, name: str) -> Response:
    content = resources.files("tagger.docs").joinpath("pictures", name).read_bytes()
    return Response(content, media_type="image/png")


@cache
def _pictures() -> frozenset[str]:
    folder = resources.files("tagger.docs").joinpath("pictures")
    return frozenset(file.name for file in folder.iterdir() if file.name.endswith(".png"))


# ---- the frame ---------------------------------------------------------------------------------------------------


def _document(topic: str, language: str, query: str) -> str:
    """Return a whole HTML document: a page of the documentation, or the index, in the frame with the topics."""
    messages = _MESSAGES[language]
    shown = _language_of(topic, language) if topic else language
    title = _title(topic, language) if topic else messages["documentation"]
    links = "".join(
        f'<li><a href="/docs/{name}{query}"{_lang(name, language)}{_current(name == topic)}>'
        f"{escape(_title(name, language))}</a></li>\n"
        for name in docs.topics(language)
    )
    frame = Template(resources.files("tagger.serve").joinpath("page", "docs.html").read_text("utf-8"))
    return frame.substitute(
        {name: escape(message) for name, message in messages.items()},
        language=_HTML_LANGUAGES[language],
        article_language=_HTML_LANGUAGES[shown],
        title=escape(title),
        index=f"/docs{query}",
        other=f"?lang={_OTHER[language]}",
        other_language=_HTML_LANGUAGES[_OTHER[language]],
        notice=f'<p class="notice">{escape(messages["notice"])}</p>' if shown != language else "",
        links=links,
        content=to_html(docs.page(topic, shown), shown, query) if topic else _index(language, query),
    )


def _index(language: str, query: str) -> str:
    rows = [f"<h1>{escape(_MESSAGES[language]['documentation'])}</h1>\n<dl>\n"]
    for topic, summary in docs.topics(language).items():
        lang = _lang(topic, language)
        name = f'<a href="/docs/{topic}{query}">{escape(_title(topic, language))}</a>'
        rows.append(f"<dt{lang}>{name}</dt><dd{lang}>{escape(_PLAIN.sub('', summary))}</dd>\n")
    return "".join([*rows, "</dl>\n"])


def _language_of(topic: str, language: str) -> str:
    languages = docs.languages(topic)
    return language if language in languages else languages[0]


def _lang(topic: str, language: str) -> str:
    """Return an attribute where a page is in another language than the frame."""
    shown = _language_of(topic, language)
    return f' lang="{_HTML_LANGUAGES[shown]}"' if shown != language else ""


def _current(is_current: bool) -> str:
    return ' aria-current="page"' if is_current else ""


def _title(topic: str, language: str) -> str:
    return _heading(docs.page(topic, _language_of(topic, language))) or topic


@lru_cache(256)
def _heading(markdown: str) -> str:
    """Return the text of the first heading of a page; empty if there is none."""
    tokens = _markdown().parse(markdown)
    return next((_plain(inline) for opening, inline in pairwise(tokens) if opening.type == "heading_open"), "")


# ---- Markdown ----------------------------------------------------------------------------------------------------


@lru_cache(256)
def to_html(markdown: str, language: str = "en", query: str = "") -> str:
    """Return a page as HTML.

    Links to pages and pictures of the documentation lead below `/docs`; other relative links and pictures become
    text. HTML in the page is shown as text, except comments, which are dropped.

    Args:
        markdown: CommonMark with tables.
        language: Language of the page.
        query: Added to links to pages, such as `?lang=zh`.
    """
    parser = _markdown()
    tokens = parser.parse(markdown)
    slugs: dict[str, int] = {}
    for index, (token, following) in enumerate(zip(tokens, [*tokens[1:], None], strict=True)):
        if token.type == "heading_open" and following:
            token.attrSet("id", _unique(_slug(_plain(following)), slugs))
        elif token.type == "inline":
            _rewrite_links(token.children or [], language, query)
        elif token.type == "th_open" and following and not following.content:
            token.tag, tokens[index + 2].tag = "td", "td"  # the corner of a table heads nothing
        if alignment := _ALIGNMENT.fullmatch(str(token.attrGet("style") or "")):
            token.attrs = {"class": alignment[1]}  # the content security policy forbids inline styles
    html: str = parser.renderer.render(tokens, parser.options, {})
    # Text is escaped, so that these tags can only be the renderer's own. What scrolls must take the focus.
    html = html.replace("<pre>", '<pre tabindex="0">')
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    for rule in ("html_block", "html_inline"):
        parser.add_render_rule(rule, _render_html)
    return parser


def _render_html(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    content = _COMMENT.sub("", tokens[index].content)
    return escape(content) if content.strip() else ""


def _rewrite_links(children: list[Token], language: str, query: str) -> None:
    """Point links and pictures below `/docs`; turn those that lead nowhere into text. `children` is modified."""
    dropped: list[bool] = []
    for child in children:
        if child.type == "link_open":
            target = _target(str(child.attrGet("href")), language, query)
            dropped.append(target is None)
            child.attrSet("href", target or "")
        elif child.type == "image":
            target = _target(str(child.attrGet("src")), language, query)
            if target is None or not target.startswith("/docs/pictures/"):
                child.type = "text"  # its content is the alternative text
            child.attrSet("src", target or "")
        if (child.type == "link_open" and dropped[-1]) or (child.type == "link_close" and dropped.pop()):
            child.type, child.content = "text", ""


def _target(link: str, language: str, query: str) -> str | None:
    """Return where a link of a page leads on this server, or None if nowhere."""
    parts = urlsplit(link)
    if parts.scheme in ("http", "https", "mailto"):
        return link
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return None
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    if not parts.path:
        return fragment
    name = PurePosixPath(unquote(parts.path)).name
    if name in _pictures():
        return f"/docs/pictures/{name}"
    file = _PAGE_FILE.fullmatch(name)
    if not file:
        return None
    topic, linked = file["topic"].lower(), file["language"] or "en"
    languages = docs.languages(topic)
    if linked not in languages:
        return None
    if file["language"] or (linked != language and language in languages):  # else as the reader prefers
        query = f"?lang={linked}"
    return f"/docs/{topic}{query}{fragment}"


def _plain(inline: Token) -> str:
    """Return the text of a heading or paragraph without markup."""
    shown = (child for child in inline.children or [] if child.type in ("text", "code_inline", "softbreak"))
    return "".join(" " if child.type == "softbreak" else child.content for child in shown).strip()


def _slug(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _unique(slug: str, counts: dict[str, int]) -> str:
    """Return a slug, with a number if the page has it already; `counts` is updated."""
    counts[slug] = counts.get(slug, -1) + 1
    return f"{slug}-{counts[slug]}" if counts[slug] else slug
