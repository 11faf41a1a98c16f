import gzip
import json
import os
import subprocess
import sys

import pytest

from tagger.errors import OutputError
from tagger.files.outputs import (
    LISTING,
    append_line,
    atomic_file,
    atomic_folder,
    check_writable,
    damaged_file,
    locked,
    open_output,
    write_json,
)
from tests.conftest import ROOT

# Each way to write something to a path: a context manager.
WRITERS = [atomic_file, atomic_folder, open_output]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_failing_write_leaves_nothing(tmp_path, writer):
    def fail(part):
        if writer is atomic_file:
            part.write_text("x")
        elif writer is atomic_folder:
            (part / "half").write_text("x")
        else:
            part("x")
        raise RuntimeError

    with pytest.raises(RuntimeError), writer(tmp_path / "out") as part:
        fail(part)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line(tmp_path, writer):
    with pytest.raises(OutputError, match="out: cannot be written: No space left"), writer(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_reported(tmp_path):
    path = tmp_path / "none" / "out"
    with pytest.raises(OutputError, match="out: cannot be written: No such file or directory"), open_output(path):
        pass
    with pytest.raises(OutputError, match="out: cannot be written"):
        write_json(path, {})


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="--force"), atomic_folder(tmp_path / "out"):
        pass
    with atomic_folder(tmp_path / "out", replace=True) as folder:
        (folder / "new").write_text("x")
    assert sorted(file.name for file in tmp_path.rglob("*")) == [LISTING, "new", "out"]


# ---- what may be replaced -----------------------------------------------------------------------------------------
def make(folder, **contents):
    """Write a folder as commands do."""
    with atomic_folder(folder) as part:
        (part / "variables").mkdir()
        for name, content in contents.items():
            (part / "variables" / name).write_text(content)
    return folder


def strangers(folder):
    """Yield ways in which something of the user's comes into a folder."""
    (folder / "notes.md").write_text("mine")
    yield "notes.md"
    (folder / "notes.md").unlink()
    (folder / "variables" / "mine").mkdir()
    (folder / "variables" / "mine" / "a").write_text("mine")
    yield "variables/mine/a"
    (folder / "variables" / "mine" / "a").unlink()
    (folder / "linked").symlink_to(folder / "variables")
    yield "linked"
    (folder / "linked").unlink()
    (folder / LISTING).unlink()
    yield "variables/a"


def test_a_folder_is_replaced_only_if_all_in_it_is_known(tmp_path):
    folder = make(tmp_path / "out", a="1", b="2")
    (folder / ".DS_Store").write_text("x")  # systems leave this
    with atomic_folder(folder, replace=True) as part:
        (part / "variables").mkdir()
        (part / "variables" / "a").write_text("3")
    for name in strangers(folder):
        with pytest.raises(OutputError, match=f"out: exists already and holds {name}, which was not written"):
            check_writable(folder, True, folder=True)
        with pytest.raises(OutputError, match="exists already and holds"), atomic_folder(folder, replace=True):
            pytest.fail("the work was begun")
        assert (folder / "variables" / "a").read_text() == "3"


def test_a_folder_of_results_is_not_a_result(tmp_path):
    for name in ("one", "two"):
        make(tmp_path / "models" / name, a="1")
    with pytest.raises(OutputError, match=r"models: exists already and holds (one|two)/"):
        check_writable(tmp_path / "models", True, folder=True)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "manifest.json").write_text('{"name": "a web page", "files": {"manifest.json": ""}}')
    with pytest.raises(OutputError, match=r"holds manifest\.json, which was not written by tagger"):
        check_writable(tmp_path / "page", True, folder=True)


def test_what_comes_into_a_folder_during_the_work_is_not_lost(tmp_path):
    folder = make(tmp_path / "out", a="1")
    with pytest.raises(OutputError, match=r"holds late\.txt"), atomic_folder(folder, replace=True):
        (folder / "late.txt").write_text("mine")
    assert (folder / "late.txt").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_an_input_is_never_replaced_under_any_name(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "link").symlink_to("a.txt")
    (tmp_path / "hard").hardlink_to(tmp_path / "a.txt")
    folder = make(tmp_path / "folder", b="x")
    (tmp_path / "way").symlink_to("folder")
    pairs = [("a.txt", "a.txt"), ("link", "a.txt"), ("a.txt", "link"), ("hard", "a.txt"), ("folder", "way")]
    pairs += [("folder", "folder/variables/b"), ("way/variables/b", "folder"), ("sub/../a.txt", "a.txt")]
    (tmp_path / "sub").mkdir()
    for out, given in pairs:
        with pytest.raises(OutputError, match="is read by this command"):
            check_writable(tmp_path / out, True, [None, tmp_path / given], folder=(tmp_path / out).is_dir())
    check_writable(tmp_path / "new", False, [tmp_path / "a.txt", folder, "-", tmp_path / "none"])


def test_where_nothing_can_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    rows = [
        (tmp_path / "file", False, False, "exists already"),
        (tmp_path / "file", True, True, "is a file, and a folder is to be written"),
        (tmp_path / "folder", True, False, "is a folder, and a file is to be written"),
        (tmp_path / "none" / "a", False, False, "a: cannot be written: there is no folder .*none; create it"),
        (tmp_path / "file" / "a", False, False, "a: cannot be written: Not a directory"),
        (tmp_path / "file" / "a" / "b", False, True, "b: cannot be written: Not a directory"),
    ]
    for path, replace, folder, message in rows:
        with pytest.raises(OutputError, match=message):
            check_writable(path, replace, folder=folder)
    check_writable(tmp_path / "none" / "a", False, folder=True)  # folders above a folder are created
    check_writable(tmp_path / os.devnull, False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    for path in (pipe, tmp_path / "link"):
        check_writable(path, False)
        with pytest.raises(OutputError, match="is a device or a pipe"):
            check_writable(path, True, folder=True)
        for writer in (atomic_file, lambda path: atomic_folder(path, replace=True)):
            with pytest.raises(OutputError, match="is a device or a pipe"), writer(path):
                pytest.fail("the work was begun")
        with pytest.raises(OutputError, match="is a device or a pipe"):
            write_json(path, 1)
        with locked(path, "job"):
            assert path.is_fifo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_pipe_in_place_of_the_folder_during_the_work_is_left_alone(tmp_path):
    with pytest.raises(OutputError, match="is a device or a pipe"), atomic_folder(tmp_path / "out"):
        os.mkfifo(tmp_path / "out")
    assert [file.is_fifo() for file in tmp_path.iterdir()] == [True]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "link").symlink_to("a")
    write_json(tmp_path / "link", 2)
    make(tmp_path / "folder", a="1")
    (tmp_path / "way").symlink_to("folder")
    with atomic_folder(tmp_path / "way", replace=True) as part:
        (part / "new").write_text("x")
    assert ((tmp_path / "a").read_text(), (tmp_path / "link").is_symlink()) == ("2", True)
    assert ((tmp_path / "folder" / "new").exists(), (tmp_path / "way").is_symlink()) == (True, True)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("writer", WRITERS)
def test_names_like_those_of_temporary_files_are_left_alone(tmp_path, writer):
    for name in ("out.part", ".out.part", f".out.{os.getpid()}.part"):
        (tmp_path / name).write_text("mine")
    with writer(tmp_path / "out") as part:
        if writer is atomic_file:
            part.write_text("x")
    assert all(file.read_text() == "mine" for file in tmp_path.glob("*.part"))
    assert len(list(tmp_path.iterdir())) == 4


def test_the_longest_name_can_be_written(tmp_path):
    name = "长" * 83 + ".json"
    write_json(tmp_path / name, 1)
    with atomic_folder(tmp_path / name[:-5]):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_damage_in_a_folder_is_named(tmp_path):
    folder = make(tmp_path / "out", a="12", b="")
    assert damaged_file(folder) is None
    (folder / "variables" / "a").write_text("13")
    assert damaged_file(folder) == "variables/a"
    (folder / "variables" / "a").unlink()
    assert damaged_file(folder) == "variables/a"
    (folder / LISTING).write_text("{")
    assert damaged_file(folder) == LISTING


# ---- one process at a time ----------------------------------------------------------------------------------------
HOLD = """
import sys, time
from pathlib import Path
from tagger.files.outputs import locked

with locked(Path(sys.argv[1]), "job"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "made" / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    for _ in range(2):
        message = rf"out: another job is under way there \(process {holder.pid}\); wait"
        with pytest.raises(OutputError, match=message), locked(path, "job"):
            pytest.fail("two at once")
    holder.kill()
    holder.communicate()
    for _ in range(2):
        with locked(path, "job"), pytest.raises(OutputError, match=f"process {os.getpid()}"), locked(path, "job"):
            pytest.fail("two at once")
    assert not list(path.parent.iterdir())


def test_text_is_zipped_by_the_files_name(tmp_path):
    with open_output(tmp_path / "a.gz") as write:
        write("北京\ud800\n")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode("utf-8") == "北京?\n"


def test_json_is_written_whole(tmp_path):
    for indent in (None, 1):
        write_json(tmp_path / "a.json", {"北": [1]}, indent)
        assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"北": [1]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_any_name_can_stand_in_json(tmp_path):
    write_json(tmp_path / "a.json", {"file": "\udcff李"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"file": "\udcff李"}


def test_a_line_is_appended_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    append_line(path, "一")
    path.write_text("一", "utf-8")  # no line end
    append_line(path, "二")
    assert path.read_text("utf-8") == "一\n二\n"

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append_line(path, "三")
    assert path.read_text("utf-8") == "一\n二\n"
