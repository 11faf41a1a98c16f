"""Write the generated parts of the pages in tagger/docs: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from layers import LAYERS, path_of  # noqa: E402

from tagger import cli  # noqa: E402
from tagger.commands import COMMANDS  # noqa: E402
from tagger.config import Config, sections  # noqa: E402
from tagger.export import EXPORTERS  # noqa: E402
from tagger.formats import FORMATS  # noqa: E402
from tagger.learning.automatic import BATCH_UNITS, automatic_epochs, suited  # noqa: E402
from tagger.presets import PRESETS  # noqa: E402
from tagger.redaction.rules import RULES  # noqa: E402
from tagger.runtime import RUNTIMES  # noqa: E402
from tagger.serve.limits import Limits  # noqa: E402
from tagger.settings import describe  # noqa: E402

PAGES = ROOT / "tagger" / "docs"


def main() -> int:
    """Rewrite the stale pages, or with --check only name them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is stale")
    options = parser.parse_args()
    stale = dict(stale_pages())
    for page, text in stale.items():
        print(f"{page.relative_to(ROOT)}: {'stale: run scripts/docs' if options.check else 'written'}")
        if not options.check:
            page.write_text(text, "utf-8")
    return int(options.check and bool(stale))


def stale_pages() -> Iterator[tuple[Path, str]]:
    """Yield each page that is not as it should be, and its text as it should be."""
    parts = {name: generate() for name, generate in GENERATED.items()}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text("utf-8")
        if (filled := fill(text, parts)) != text:
            yield page, filled


def fill(text: str, parts: dict[str, str]) -> str:
    """Return a page with what stands between the markers of these parts replaced; other markers stay as they are."""
    for name, content in parts.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.S)
        text = between.sub(lambda _, content=content: content, text)  # type: ignore[misc]
    return text


# ---- what is generated ------------------------------------------------------------------------------------------
def settings() -> str:
    """Return a table of settings for each section."""
    parts = []
    for name, about, rows in sections():
        cells = [(f"`{row.name}`", f"`{row.toml}`", row.values, row.about) for row in rows]
        parts.append(f"\n### `[{name}]`\n\n{about}\n\n" + table("setting | default | values | what it does", cells))
    return "".join(parts) + "\n"


def commands() -> str:
    """Return the reference of all commands."""
    return "".join(map(command, COMMANDS)) + "\n"


def command(name: str) -> str:
    """Return the reference of one command: description, usage, options, examples."""
    parser = cli.command_parsers()[name]
    formatter = parser._get_formatter()
    actions = [action for action in parser._actions if "--help" not in action.option_strings]
    rows = [(f"`{written(action)}`", formatter._expand_help(action)) for action in actions]
    usage = " ".join(usages(actions))
    examples = COMMANDS[name].examples.strip("\n").replace("\n  ", "\n").removeprefix("  ")
    return (
        f"\n### tagger {name}\n\n{COMMANDS[name].about}\n\n```text\ntagger {name} {usage}\n```\n\n"
        f"{table('option | what it does', rows)}\n```sh\n{examples}\n```\n"
    )


def written(action: argparse.Action) -> str:
    """Return an option with its value, or a positional argument, as it is written on a command line."""
    if action.choices and not action.metavar:
        value = "|".join(action.choices)
    else:
        value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if action.nargs == "+":
        value += " ..."
    elif action.nargs == "*":
        value = f"[{value} ...]"
    elif action.nargs == "?":
        value = f"[{value}]"
    return " ".join([*action.option_strings, value]).strip()


def usages(actions: list[argparse.Action]) -> Iterator[str]:
    """Yield what a command cannot do without, and that there are options if there are."""
    yield from (written(action) for action in actions if not action.option_strings)
    yield from (written(action) for action in actions if action.option_strings and action.required)
    if any(action.option_strings and not action.required for action in actions):
        yield "[OPTION ...]"


def layers() -> str:
    """Return the table of modules, in the order of their layers."""
    return table("module | what it holds", ((f"`{module}`", first_sentence(module)) for module in LAYERS))


def first_sentence(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path_of(module).read_text("utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0].removesuffix(".")


def formats() -> str:
    """Return the table of corpus formats."""
    rows = []
    for row in {row.name: row for row in FORMATS.values()}.values():
        names = ", ".join(f"`{name}`" for name in (row.name, *row.aliases))
        rows.append((names, ", ".join(f"`{suffix}`" for suffix in row.suffixes), row.about))
    return table("format | file names | what it looks like", rows)


def runtimes() -> str:
    """Return the table of runtimes."""
    rows = ((f"`{name}`", row.about, needed(row.extra)) for name, row in RUNTIMES.items())
    return table("runtime | what it is | needs", rows)


def rules() -> str:
    """Return the table of what rules of redaction find."""
    return table("label | what it is", ((f"`{name}`", rule.about) for name, rule in RULES.items()))


def exporters() -> str:
    """Return the table of exporters."""
    rows = ((f"`{name}`", row.about, needed("train")) for name, row in EXPORTERS.items())
    return table("`--to` | what it writes | needs", rows)


def needed(extra: str) -> str:
    """Return the distribution with an extra, if there is one."""
    return f"`hantagger[{extra}]`" if extra else "`hantagger`"


def presets() -> str:
    """Return the table of presets."""
    return table("preset | what it is", ((f"`{name}`", row.about) for name, row in PRESETS.items()))


def devices() -> str:
    """Return the table of what "auto" stands for, by device and by the size of the corpus."""
    rows = []
    for kind in BATCH_UNITS:
        for units in (50_000, 125_000, 500_000, 2_000_000):
            values = suited(Config(), kind, units, automatic_epochs)
            epochs, rate, momentum = (values["training"][key] for key in ("epochs", "learning_rate", "ema_momentum"))
            size = values["batches"]["units"]
            rows.append((kind, f"{units:,}", f"{size:,}", f"{epochs}", f"{units * epochs // size:,}", rate, momentum))
    names = "`batches.units` | `training.epochs` | updates | `training.learning_rate` | `training.ema_momentum`"
    return table(f"device | units of the corpus | {names}", (map(str, row) for row in rows))


def limits() -> str:
    """Return the table of the server's limits."""
    rows = ((f"`--max-{row.name}`", f"{row.default:,}", row.about) for row in describe(Limits))
    return table("option | default | what is limited; the answer beyond it", rows)


def table(heading: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; a bar in a cell is escaped."""
    lines = [f"| {heading} |", "|" + "---|" * (heading.count("|") + 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


GENERATED = {
    "settings": settings,
    "commands": commands,
    "layers": layers,
    "formats": formats,
    "runtimes": runtimes,
    "rules": rules,
    "exporters": exporters,
    "presets": presets,
    "devices": devices,
    "limits": limits,
}


if __name__ == "__main__":
    sys.exit(main())
