"""Two thousand of the inputs of `scripts/fuzz`, and what keeps those from doing harm."""

import os
import shutil
import subprocess
import tempfile

import fuzz
import fuzz_checks
import fuzz_guard
import fuzz_parts
import pytest

INPUTS = range(2000)


@pytest.mark.parametrize("part", fuzz_parts.PARTS)
def test_hostile_inputs_are_read_or_refused(tmp_path, part):
    if part == "http":
        pytest.importorskip("starlette")
    numbers = [number for number in INPUTS if fuzz.part_of(number) == part]
    failures = [failure for _, failure in fuzz.run(1, numbers, tmp_path) if failure]
    assert not failures
    assert len(numbers) > 20


def test_an_input_is_the_same_whenever_it_is_made(tmp_path):
    def content(folder):
        return {path.name: path.read_bytes() for path in folder.rglob("in*") if path.is_file()}

    made = []
    for name in ("once", "again"):
        assert [failure for _, failure in fuzz.run(7, [13], tmp_path / name)] == [None]
        (work,) = (tmp_path / name).iterdir()
        made.append(content(work))
    assert made[0] == made[1]


def _fail(rng, place):
    raise KeyError("planted")


def _write_beside(rng, place):
    (place.folder.parent.parent.parent / "mine").write_text("gone")


def _change(rng, place):
    (place.folder / "keep.txt").write_text("gone")


def _print_lines(rng, place):
    fuzz_checks.check_line("two\nlines")


def _hang(rng, place):
    while True:
        pass


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (_fail, "KeyError: 'planted'"),
        (_write_beside, "Escape: open: "),
        (_change, "Fault: keep.txt was changed or deleted"),
        (_print_lines, "Fault: expected a message of one line"),
        (_hang, "Hang: not done after"),
    ],
)
def test_what_fails_is_kept_and_named(tmp_path, monkeypatch, planted, reason):
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    monkeypatch.setitem(fuzz_parts.PARTS, fuzz.part_of(0), (1, planted))
    (tmp_path / "mine").write_text("mine")
    ((_, failure),) = fuzz.run(1, [0], tmp_path / "out")
    assert failure.reason.startswith(reason)
    assert reason.partition(":")[0] in (failure.kept / "failure.txt").read_text("utf-8")
    assert (tmp_path / "mine").read_text() == "mine"


def _outside(folder):
    """Return what would change something in a folder, by name."""
    file = folder / "file"
    return {
        "write": lambda: file.write_text("gone"),
        "append": lambda: file.open("a"),
        "new": lambda: (folder / "new").touch(),
        "delete": file.unlink,
        "rename": lambda: file.rename("inside"),
        "replace": lambda: os.replace("own", file),
        "truncate": lambda: os.truncate(file, 0),
        "folder": lambda: (folder / "new").mkdir(),
        "tree": lambda: shutil.rmtree(folder, ignore_errors=True),
        "through a link": lambda: open("link", "w"),
        "behind a link": lambda: os.remove("folder/file"),
        "link": lambda: (folder / "new").symlink_to(file),
        "temporary": lambda: tempfile.TemporaryFile(dir=folder),
        "process": lambda: subprocess.run(["true"], check=True),
    }


@pytest.mark.parametrize("action", _outside(fuzz.ROOT))
def test_nothing_outside_can_be_changed(tmp_path, monkeypatch, action):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "file").write_text("mine")
    monkeypatch.chdir(inside)
    (inside / "own").write_text("own")
    (inside / "link").symlink_to(outside / "file")
    (inside / "folder").symlink_to(outside)
    with pytest.raises(fuzz_guard.Escape), fuzz_guard.confined(inside):
        _outside(outside)[action]()
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"


def test_what_is_inside_can_be_changed(tmp_path):
    with fuzz_guard.confined(tmp_path):
        (tmp_path / "a").write_text("a")
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "folder").mkdir()
        shutil.rmtree(tmp_path / "folder")
        with tempfile.TemporaryDirectory() as folder:
            assert folder.startswith(str(tmp_path))
    (tmp_path / "b").unlink()
    assert list(tmp_path.iterdir()) == []
