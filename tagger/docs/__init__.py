"""The documentation: Markdown pages `TOPIC.md` and, in Chinese, `TOPIC.zh.md`, found by topic and language."""

import os
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from tagger.errors import ConfigError
from tagger.settings import nearest

LANGUAGES = ("en", "zh")

# The order in which a reader needs the pages; any others follow by name.
_ORDER = (
    "readme", "tutorial", "general", "formats", "settings", "commands", "cards", "replicas", "predicting", "library",
    "serving", "deploying", "exports", "gazetteer", "how-it-works", "benchmarks", "architecture", "changelog",
)  # fmt: skip

_MARKER = re.compile(r"^<!-- /?[\w-]+ -->\n", re.M)  # between these, scripts/docs writes what it generates

_SENTENCE = re.compile(r".*?(?:[.](?=\s|$)|。|$)")


def topics(language: str = "en") -> dict[str, str]:
    """Return the first sentence of each page by topic, in reading order; pages in this language come first."""
    names = {topic for topic, _ in _pages()}
    known = [name for name in _ORDER if name in names]
    ordered = [*known, *sorted(names.difference(known))]
    ordered.sort(key=lambda topic: language not in languages(topic))
    return {topic: _summary(page(topic, language)) for topic in ordered}


def languages(topic: str) -> tuple[str, ...]:
    """Return the languages in which a page exists; empty if there is no such topic."""
    pages = _pages()
    return tuple(language for language in LANGUAGES if (topic, language) in pages)


def page(topic: str, language: str = "en") -> str:
    """Return a page as Markdown, in another language where it does not exist in this one.

    Raises:
        ConfigError: If there is no such topic; the message names the nearest.
    """
    pages, known = _pages(), languages(topic)
    if not known:
        raise ConfigError(f"no help on {topic!r}{nearest(topic, topics())}")
    text = pages[topic, language if language in known else known[0]].read_text("utf-8")
    return _MARKER.sub("", text)


def _pages() -> dict[tuple[str, str], Traversable]:
    """Return the file of each page by topic, in lower case, and language."""
    files = {}
    for file in resources.files(__name__).iterdir():
        if parts := re.fullmatch(r"([\w-]+)(?:\.(\w+))?\.md", file.name):
            files[parts[1].lower(), parts[2] or LANGUAGES[0]] = file
    # A wheel has the README among the pages; in a checkout it stands at the top.
    readme = Path(__file__).parents[2] / "README.md"
    if ("readme", LANGUAGES[0]) not in files and readme.is_file():
        files["readme", LANGUAGES[0]] = readme
    return files


def user_language(environment: Mapping[str, str] = os.environ) -> str:
    """Return the language of the user's locale, `en` where no page is written in it."""
    locale = next(filter(None, map(environment.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return next((language for language in LANGUAGES if locale.startswith(language)), LANGUAGES[0])


def _on_one_line(paragraph: str) -> str:
    """Return a paragraph without line breaks; between Chinese characters or signs, nothing takes their place."""
    wide = "[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
    return " ".join(re.sub(f"(?<={wide})\\s*\n\\s*(?={wide})", "", paragraph).split())


def _summary(text: str) -> str:
    """Return the first sentence of the first paragraph that is prose, or else the heading."""
    heading, *paragraphs = (_on_one_line(paragraph) for paragraph in text.split("\n\n") if paragraph.strip())
    prose = next((paragraph for paragraph in paragraphs if re.match(r"[^\W_]|[“《]", paragraph)), heading.lstrip("# "))
    sentence = _SENTENCE.match(prose)
    return sentence.group().rstrip(".。") if sentence else prose
