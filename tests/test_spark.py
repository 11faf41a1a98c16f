"""The page on clusters: its lines for Spark run, and tag as `Tagger` does; where PySpark and Java are at hand."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tagger import Tagger
from tests.conftest import GOLDEN_BUNDLE, ROOT, SAMPLE

TEXTS = [*(SAMPLE / "unlabelled.txt").read_text("utf-8").splitlines()[:40], "", "𠀀李明在北京大学读书。😀", " 王明"]


@pytest.mark.slow
def test_spark_tags_as_the_tagger_does(tmp_path):
    for package in ("pyspark", "pandas", "pyarrow"):
        pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)
    if not shutil.which("java"):
        pytest.skip("no Java: Spark cannot run")
    page = (ROOT / "tagger" / "docs" / "cluster.md").read_text("utf-8")
    (script,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "pyspark" in block)
    (tmp_path / "bundle").symlink_to(GOLDEN_BUNDLE)
    (tmp_path / "texts").mkdir()
    for part in range(2):
        (tmp_path / "texts" / f"{part}.txt").write_text("\n".join(TEXTS[part::2]), "utf-8")
    here = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | here, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    lines = [line for part in (tmp_path / "tagged").glob("*.json") for line in part.read_text("utf-8").splitlines()]
    tagged = {record["text"]: record["entities"] for record in map(json.loads, lines)}
    assert len(lines) == len(TEXTS)
    expected = Tagger.load(GOLDEN_BUNDLE).batch(TEXTS)
    assert tagged == {
        text: [entity._asdict() for entity in entities] for text, entities in zip(TEXTS, expected, strict=True)
    }
