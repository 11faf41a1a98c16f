"""The generated parts of the pages are as the code says."""

import re
import subprocess
import sys

import docs as generator
import pytest

from tests.conftest import ROOT


def test_no_page_is_stale():
    assert [page.name for page, _ in generator.stale_pages()] == [], "run scripts/docs"


def test_every_generated_part_is_in_a_page():
    text = "".join(page.read_text("utf-8") for page in generator.PAGES.glob("*.md"))
    for name in generator.GENERATED:
        assert f"<!-- {name} -->" in text
        assert f"<!-- /{name} -->" in text


def test_only_what_stands_between_the_markers_is_replaced():
    page = "a\n<!-- settings -->\nold\n<!-- /settings -->\nb\n<!-- bench -->\nkept\n<!-- /bench -->\n"
    filled = generator.fill(page, {"settings": "\\1 new\n"})
    assert filled == page.replace("old", "\\1 new")
    assert generator.fill(filled, {"settings": "\\1 new\n"}) == filled


def test_a_table_escapes_what_would_end_a_cell():
    assert generator.table("a | b", [("x|y", "z")]) == "| a | b |\n|---|---|\n| x\\|y | z |\n"


@pytest.mark.parametrize("name", ["train", "predict", "help"])
def test_the_reference_of_a_command_has_its_usage_options_and_examples(name):
    reference = generator.command(name)
    assert re.search(rf"```text\ntagger {name} .*\n```", reference)
    assert "| `--debug` | " in reference
    assert re.search(rf"```sh\ntagger {name} ?.*\n(.+\n)*```", reference)


def test_the_script_says_which_pages_are_stale(tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert (done.returncode, done.stdout) == (0, "")
