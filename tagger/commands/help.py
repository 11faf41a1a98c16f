"""The command that shows the documentation: help."""

import argparse
import os
import sys

from tagger import docs
from tagger.commands.base import Command


def show_help(options: argparse.Namespace) -> None:
    """Show a page of the documentation, or the list of its topics."""
    language = options.lang or docs.user_language()
    if not options.topic:
        topics = docs.topics(language)
        width = max(map(len, topics))
        for topic, summary in topics.items():
            print(f"{topic:<{width}}  {summary}")
        return
    page = docs.page(options.topic, language)
    if sys.stdout.isatty():
        _show_in_pager(page)
    else:
        print(page, end="")


def _show_in_pager(page: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "-FRX")  # colours; no pager for what fits on the screen
    console = Console()
    with console.pager(styles=True):
        console.print(Markdown(page))


def _add_help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="one of: " + ", ".join(docs.topics()))
    about = "language of the page, where it is written in it (default: that of the locale)"
    parser.add_argument("--lang", choices=docs.LANGUAGES, help=about)


HELP = Command(
    show_help,
    _add_help,
    """
  tagger help
  tagger help settings
  tagger help tutorial --lang zh
""",
)
