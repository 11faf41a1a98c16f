import subprocess
import sys

import pytest

from tagger import files
from tagger.errors import CorpusError
from tagger.files import read_text
from tests.conftest import ROOT


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
