import gzip
import json
import subprocess
import sys

import pytest

from tagger import files
from tagger.errors import CorpusError, OutputError
from tagger.files import read_text
from tagger.outputs import append_line, atomic_file, atomic_folder, open_output, write_json
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
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "new"]


def test_text_is_zipped_by_the_files_name(tmp_path):
    with open_output(tmp_path / "a.gz") as write:
        write("北京\ud800\n")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode("utf-8") == "北京?\n"


def test_json_is_written_whole(tmp_path):
    for indent in (None, 1):
        write_json(tmp_path / "a.json", {"北": [1]}, indent)
        assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"北": [1]}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


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


def test_a_text_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff北\r\n京".encode())
    assert read_text(path) == "\ufeff北\r\n京"
    path.write_bytes("北\n".encode() + b"\xc0\xee")
    with pytest.raises(CorpusError, match=r"a\.txt:2: expected UTF-8"):
        read_text(path)
    with pytest.raises(CorpusError, match=r"none: expected a readable file"):
        read_text(tmp_path / "none")


@pytest.mark.parametrize("module", ["tagger.files", "tagger.formats", "tagger.corpus"])
def test_reading_a_corpus_imports_neither_a_bundle_nor_numpy(module):
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"numpy", "tagger.bundle", "tagger.vectors", "tagger.text"} & set(done.stdout.split())


def test_the_hash_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert files.sha256(tmp_path / "a").startswith("e3b0c44298fc1c14")
