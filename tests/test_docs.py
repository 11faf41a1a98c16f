"""The README's commands are real, its outputs are what they print, and every setting is told."""

import dataclasses
import json
import re
import shlex

import pytest

from tagger import cli, corpus
from tagger.config import Config, load
from tagger.formats import FORMATS
from tagger.gazetteer import Gazetteer
from tagger.serve.limits import Limits
from tagger.tags import TagScheme
from tagger.text import UnitMaker
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def commands():
    found = []
    for language in ("sh", "console"):
        for block in blocks(language):
            lines = block.splitlines()
            found += [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?tagger ", line)]
    return found


@pytest.mark.parametrize("command", commands())
def test_each_command_is_understood(command):
    cli._parser().parse_args(shlex.split(command)[1:])


def test_inspect_prints_what_the_readme_shows(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, shown = re.search(r"```console\n\$ (tagger inspect data[^\n]*)\n(.*?)```", README, re.S).groups()
    assert cli.main(shlex.split(command)[1:]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        line.rstrip() for line in shown.splitlines()
    ]


def test_a_malformed_line_stops_as_the_readme_shows(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = ['{"text": "好的"}', '{"text": "佐藤健", "entities": [{"start": 1, "end": 9, "label": "PER"}]}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), "utf-8")
    command, shown = re.search(r"```console\n\$ (tagger inspect bad[^\n]*)\n(.*?)```", README, re.S).groups()
    assert cli.main(shlex.split(command)[1:]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == shown.strip()


def test_convert_says_what_the_readme_shows(capsys, monkeypatch, tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    command, shown = re.search(r"```console\n\$ (tagger convert[^\n]*)\n(.*?)```", README, re.S).groups()
    assert cli.main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().err.endswith("\n" + shown)


def test_every_corpus_format_is_told():
    section = README.partition("## Corpus formats")[2].partition("\n## ")[0]
    assert all(f"`{form}`" in section for form in FORMATS)


def test_the_corpus_formats_are_read(tmp_path):
    native, contest = blocks("json")
    for name, line in (("native.jsonl", native), ("contest.json", contest)):
        (tmp_path / name).write_text(line, "utf-8")
    (document,) = corpus.read(tmp_path / "native.jsonl")
    assert [document.text[s.start : s.end] for s in document.entities] == ["佐藤健", "日本埼玉县"]
    (document,) = corpus.read(tmp_path / "contest.json")
    assert [document.text[s.start : s.end] for s in document.entities] == ["遵义会议旧址"]


def test_the_dictionaries_are_read_and_are_the_same(tmp_path):
    (own,), (same,) = blocks("text"), blocks("jsonl")
    units, scheme, found = UnitMaker(Config().text), TagScheme(("CORE",)), []
    for content in (own, same):
        (tmp_path / "own").write_text(content, "utf-8")
        found.append(list(Gazetteer.read(tmp_path / "own", scheme).found(units("小楼里的遵义会议旧址"))))
    assert found[0] == found[1]
    assert [span[:2] for span, _ in found[0]] == [(4, 10), (0, 2)]


@pytest.mark.train
def test_predict_prints_the_form_the_readme_shows(bundle, capsysbinary):
    command, shown = re.search(r"```console\n\$ (tagger predict[^\n]*)\n(.*?)```", README, re.S).groups()
    arguments = [str(bundle) if word == "bundle" else word for word in shlex.split(command)[1:]]
    assert cli.main(arguments) == 0
    ours, theirs = json.loads(capsysbinary.readouterr().out), json.loads(shown)
    assert list(ours) == list(theirs)
    assert ours["text"] == theirs["text"]
    for entity in theirs["entities"]:
        assert ours["text"][entity["start"] : entity["end"]] == entity["text"]
    for entity in ours["entities"]:
        assert list(entity) == list(theirs["entities"][0])


def test_the_configuration_file_is_valid(tmp_path):
    (block,) = blocks("toml")
    (tmp_path / "own.toml").write_text(block, "utf-8")
    assert load(tmp_path / "own.toml").training.epochs == 20


def test_every_setting_and_its_default_is_told():
    for section in dataclasses.fields(Config):
        values = getattr(Config(), section.name)
        for setting in dataclasses.fields(values):
            value = getattr(values, setting.name)
            shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
            assert re.search(rf"\| `{section.name}\.{setting.name}` \| `{re.escape(shown)}` \| \S", README), (
                setting.name
            )


def test_every_command_and_option_is_told():
    parsers = cli._parser()._subparsers._group_actions[0].choices
    assert set(re.findall(r"^\| `tagger (\w+)", README, re.M)) == set(parsers)
    for parser in parsers.values():
        assert "examples:" in parser.format_help()
        assert all(option.help for option in parser._actions)
        options = {name for option in parser._actions for name in option.option_strings if name.startswith("--")}
        assert [name for name in options - {"--help"} if name not in README] == []


@pytest.mark.train
def test_the_library_example_runs(bundle, tmp_path, monkeypatch, capsys):
    (tmp_path / "bundle").symlink_to(bundle)
    (tmp_path / "texts.txt").write_text("好\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    exec(block.replace('open("texts.txt", encoding="utf-8")', '["好"]'), {})


def test_every_limit_of_the_server_is_told():
    for limit in dataclasses.fields(Limits):
        assert f"| `--max-{limit.name}` | {limit.default:,} | {limit.metadata['about']} |" in README
