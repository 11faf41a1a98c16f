"""README and pages: their commands are real, what they show is what is printed, and nothing is left undocumented."""

import dataclasses
import json
import re
import shlex
import shutil
import tomllib

import pytest

from tagger import cli, corpus
from tagger.config import Config, load, sections
from tagger.export import EXPORTERS
from tagger.formats import FORMATS
from tagger.gazetteer import Gazetteer
from tagger.presets import PRESETS, RECIPES
from tagger.serve.limits import Limits
from tagger.tags import TagScheme
from tagger.text import UnitMaker
from tests.conftest import ROOT

DOCS = ROOT / "tagger" / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
CHINESE = {DOCS / "README.zh.md": README} | {
    page: page.with_name(page.name.replace(".zh", "")) for page in DOCS.glob("*.zh.md") if page.name != "README.zh.md"
}  # with the English page of the same content

MENTIONS = {"佐藤健出生于日本埼玉县。": ["佐藤健", "日本埼玉县"]} | {
    "遵义会议旧址，主要指召开遵义会议的那座小楼。": ["遵义会议旧址"]
}  # of the texts in the examples


def name_of(value):
    return str(value.relative_to(ROOT)) if hasattr(value, "relative_to") else None


def blocks(page, *languages):
    """Return the fenced blocks of a page in some languages, in order."""
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", page.read_text("utf-8"), re.S)


def part(page, name):
    """Return what stands between the markers of a generated part."""
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page.read_text("utf-8"), re.S).group(1)


def every(language):
    return [(page, block) for page in PAGES for block in blocks(page, language)]


def examples():
    """Return the examples of the library, without the one that tests/test_spark.py runs."""
    return [(page, block) for page, block in every("python") if "pyspark" not in block]


def commands(page):
    lines = "\n".join(blocks(page, "sh", "console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?tagger ", line)]


def consoles():
    """Return (command, what it prints) of all pages, each once."""
    found = [block.removeprefix("$ ").partition("\n")[::2] for page in PAGES for block in blocks(page, "console")]
    return list(dict.fromkeys(found))


def parsers():
    return cli.parser(every=True)._subparsers._group_actions[0].choices


# ---- what pages contain -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", dict.fromkeys(command for page in PAGES for command in commands(page)))
def test_each_command_is_understood(command):
    arguments = shlex.split(command)[1:]
    cli.parser(every=True).parse_args(arguments)


def test_each_extra_and_script_that_is_named_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for page in [*PAGES, CONTRIBUTING]:
        for block in blocks(page, "sh", "console", "text"):
            for name, extras in re.findall(r"pip install '([^\[']*)\[([^\]]*)\]'", block):
                assert name in (project["name"], ".")
                assert set(extras.split(",")) <= set(project["optional-dependencies"])
            for script in re.findall(r"^scripts/(\w+)", block, re.M):
                assert (ROOT / "scripts" / script).is_file(), script


@pytest.mark.parametrize(("command", "shown"), [row for row in consoles() if "predict" not in row[0]])
def test_each_output_is_what_the_command_prints(command, shown, capsys, monkeypatch, tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    lines = ['{"text": "好的"}', '{"text": "佐藤健", "entities": [{"start": 1, "end": 9, "label": "PER"}]}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(command)[1:]) == shown.startswith("tagger: ")
    printed = capsys.readouterr()
    printed = [line.rstrip() for line in (printed.out or printed.err.rpartition("\r")[2]).splitlines() if line.strip()]
    shown = [line.rstrip() for line in shown.splitlines()]
    assert printed[-len(shown) :] == shown


def test_predict_prints_what_is_shown(capsysbinary):
    ((command, shown),) = (row for row in consoles() if "predict" in row[0])
    assert cli.main(shlex.split(command)[1:]) == 0
    printed, shown = json.loads(capsysbinary.readouterr().out), json.loads(shown)
    assert [list(entity) for entity in printed["entities"]] == [list(entity) for entity in shown["entities"]]
    for result in (printed, shown):
        result["entities"] = [{**entity, "score": 0} for entity in result["entities"]]
    assert printed == shown


@pytest.mark.parametrize(("page", "block"), every("json"), ids=name_of)
def test_each_example_of_a_corpus_is_read(page, block, tmp_path):
    (tmp_path / "example.json").write_text(block, "utf-8")
    (document,) = corpus.read(tmp_path / "example.json")
    assert [document.text[s.start : s.end] for s in document.entities] == MENTIONS[document.text]


def test_the_example_of_columns_is_read(tmp_path):
    (block,) = blocks(DOCS / "formats.md", "text")
    (tmp_path / "example").write_text(block, "utf-8")
    (document,) = corpus.read(tmp_path / "example")
    assert (document.text, document.entities) == ("佐藤健出生", ((0, 3, "PER"),))


def test_the_gazetteers_are_read_and_are_the_same(tmp_path):
    page = DOCS / "gazetteer.md"
    (columns,), (records,) = blocks(page, "text"), blocks(page, "jsonl")
    units, scheme, matches = UnitMaker(Config().text), TagScheme(("CORE",)), []
    for content in (columns, records):
        (tmp_path / "gazetteer").write_text(content, "utf-8")
        gazetteer = Gazetteer.read(tmp_path / "gazetteer", scheme)
        matches.append(list(gazetteer.matches(units("小楼里的遵义会议旧址"))))
    assert matches[0] == matches[1]
    assert [span[:2] for span, _ in matches[0]] == [(4, 10), (0, 2)]


@pytest.mark.train
@pytest.mark.parametrize(("page", "block"), examples(), ids=name_of)
def test_each_example_of_the_library_runs(page, block, bundle, tmp_path, monkeypatch, capsys):
    for library in re.findall(r"^import (pandas|polars)", block, re.M):
        pytest.importorskip(library)
    from tagger.learning import training

    (tmp_path / "bundle").symlink_to(bundle)
    (tmp_path / "dev.jsonl").symlink_to(ROOT / "data" / "dev.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "train", lambda config, sources, out, *_: shutil.copytree(bundle, out))
    exec(block.replace('open("texts.txt", encoding="utf-8")', '["好"]'), {"__name__": "__main__"})


@pytest.mark.parametrize(("page", "block"), every("toml"), ids=name_of)
def test_each_configuration_file_is_valid(page, block, tmp_path):
    (tmp_path / "example.toml").write_text(block, "utf-8")
    assert load(tmp_path / "example.toml").training.epochs == 20


# ---- what must be documented ------------------------------------------------------------------------------------
def test_every_corpus_format_is_documented():
    formats = part(DOCS / "formats.md", "formats")
    assert [name for name in FORMATS if f"`{name}`" not in formats] == []


def test_every_setting_and_its_default_is_documented():
    settings = part(DOCS / "settings.md", "settings")
    for section in dataclasses.fields(Config):
        values = getattr(Config(), section.name)
        for setting in dataclasses.fields(values):
            value = getattr(values, setting.name)
            shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            row = rf"\| `{section.name}\.{setting.name}` \| `{re.escape(shown)}` \| \S"
            assert re.search(row, settings), setting.name


def test_every_command_and_option_is_documented():
    page = (DOCS / "commands.md").read_text("utf-8")
    documented = part(DOCS / "commands.md", "commands")
    assert set(re.findall(r"^\| `tagger (\w+)`", page, re.M)) == set(parsers())
    for name, parser in parsers().items():
        assert "examples:" in parser.format_help()
        assert all(option.help for option in parser._actions)
        options = {option for action in parser._actions for option in action.option_strings if option[:2] == "--"}
        assert f"tagger {name}" in documented
        assert [option for option in options - {"--help"} if option not in documented] == []


@pytest.mark.parametrize("page", ["serving.md", "serving.zh.md"])
def test_every_limit_of_the_server_is_documented(page):
    page = (DOCS / page).read_text("utf-8")
    for limit in dataclasses.fields(Limits):
        assert re.search(rf"^\| `--max-{limit.name}` \| {limit.default:,} \| \S", page, re.M), limit.name


def test_every_format_is_documented_in_chinese_with_its_file_names():
    page, names = (DOCS / "formats.zh.md").read_text("utf-8"), {}
    for row in re.findall(r"^\| `\w+`.*", page, re.M):
        called, suffixes, _ = re.split(r"(?<!\\)\|", row)[1:4]
        names |= {key: set(re.findall(r"`(\.\w+)`", suffixes)) for key in re.findall(r"`(\w+)`", called)}
    assert {name: names.get(name) for name in FORMATS} == {name: set(row.suffixes) for name, row in FORMATS.items()}


def test_every_exporter_preset_and_recipe_is_documented():
    assert [name for name in EXPORTERS if f"`{name}`" not in part(DOCS / "exports.md", "exporters")] == []
    settings = (DOCS / "settings.md").read_text("utf-8")
    assert [name for name in PRESETS if f"`{name}`" not in part(DOCS / "settings.md", "presets")] == []
    assert [name for name in RECIPES if f"--recipe {name}`" not in settings] == []


def test_every_runtime_is_documented():
    runtimes = part(DOCS / "how-it-works.md", "runtimes")
    (option,) = (action for action in parsers()["predict"]._actions if "--runtime" in action.option_strings)
    assert [name for name in option.choices if f"`{name}`" not in runtimes] == []


# ---- the pages themselves ---------------------------------------------------------------------------------------
def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 10_000


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING, ROOT / "data" / "README.md"], ids=name_of)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if not re.match(r"https?://", link):
            assert (page.parent / link.partition("#")[0]).is_file(), link


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_every_page_is_linked_and_starts_with_what_it_answers(page):
    title, first, *_ = re.split(r"\n\s*\n", page.read_text("utf-8"))
    if not page.name.startswith("README"):
        assert re.fullmatch("# .+", title)
        assert first.strip().endswith((".", "。", "）"))
    links = "".join(readme.read_text("utf-8") for readme in (README, DOCS / "README.zh.md"))
    assert f"{page.name})" in links


@pytest.mark.parametrize("page", CHINESE, ids=name_of)
def test_a_chinese_page_has_the_structure_of_its_english_one(page):
    english = CHINESE[page]
    texts = [one.read_text("utf-8") for one in (page, english)]
    headings = [re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.S), re.M) for text in texts]
    assert headings[0] == headings[1]
    for languages in (["sh"], ["console"], ["json"], ["python"], ["text"], ["dockerfile"], ["ini"], ["nginx"]):
        assert blocks(page, *languages) == blocks(english, *languages)
    pictures = [[link.rpartition("/")[2] for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)] for text in texts]
    assert pictures[0] == pictures[1]
    rows = [
        [re.findall(r"\| ([\d.,]+\*?) (?=\|)", line) for line in text.splitlines() if line[:1] == "|"] for text in texts
    ]
    assert [row for row in rows[0] if row] == [row for row in rows[1] if row]


def test_the_figures_of_the_readme_are_those_of_the_benchmarks():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in part(DOCS / "benchmarks.md", "bench").splitlines()
    ]
    columns, *rows = [row for row in rows if len(row) == len(rows[2])]
    wanted = ["entity F1", "characters/s, steady", "one sentence, ms: p50", "cold start, s"]
    wanted += ["peak memory, MB", "model, MB", "installed, MB"]
    figures = {row[0]: [row[columns.index(name)] for name in wanted] for row in rows}
    names = {"hantagger": "tagger, characters, onnx", "hantagger, --runtime int8": "tagger, characters, int8"}
    table = re.findall(r"^\| ([^|]+) \| ([\d.]+\*? \|.*) \|$", README.read_text("utf-8"), re.M)
    assert len(table) == 6
    for name, cells in table:
        name = re.sub("[*`]", "", name)
        assert cells.split(" | ") == figures[names.get(name, name)], name


def test_every_topic_that_a_message_names_is_a_page():
    for file in (ROOT / "tagger").rglob("*.py"):
        for topic in re.findall(r"tagger help ([a-z][\w-]*)", file.read_text("utf-8")):
            assert topic == "readme" or (DOCS / f"{topic}.md").is_file(), f"{file.name}: {topic}"


def test_every_new_name_of_a_setting_in_the_changelog_exists():
    renamed = re.findall(r"^\| `(\w+\.\w+)` \| `(\w+\.\w+)` \|$", (DOCS / "changelog.md").read_text("utf-8"), re.M)
    assert len(renamed) == 17
    names = {setting.name for _, _, settings in sections() for setting in settings}
    assert {new for _, new in renamed} <= names
    assert not {old for old, _ in renamed} & names


def test_the_size_of_the_sample_is_as_the_readmes_say():
    sizes = {name: len((ROOT / "data" / name).read_text("utf-8").splitlines()) for name in ("train.jsonl", "dev.jsonl")}
    for page in (README, DOCS / "README.zh.md"):
        assert f"{sizes['train.jsonl']:,}" in page.read_text("utf-8")
    assert f"{sum(sizes.values()):,}" in (ROOT / "data" / "README.md").read_text("utf-8")
