"""Nothing is sent to anyone: what a process that tags opens, writes and connects to."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import GOLDEN_BUNDLE, ROOT

# Refuses and reports what connects through Python, beside what strace sees of native code.
GUARD = """
import socket, sys
from tagger import Tagger
def refuse(*arguments):
    print("connects:", *arguments, file=sys.stderr)
    raise OSError("no connection is allowed")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
print(Tagger.load(sys.argv[1], sys.argv[2], workers=1)("王明先生，汉族。"))
import time; time.sleep(1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at a process as Linux shows it")
@pytest.mark.parametrize("runtime", ["onnx", "int8", "openvino"])
def test_a_process_that_tags_connects_to_nothing_and_leaves_nothing(runtime, tmp_path):
    home, traced = tmp_path / "home", tmp_path / "net.txt"
    home.mkdir()
    settings = {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    tracing = ["strace", "-f", "-qq", "-e", "trace=network", "-e", "signal=none", "-o", traced]
    command = [*(tracing if shutil.which("strace") else []), sys.executable, "-c", GUARD, GOLDEN_BUNDLE, runtime]
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True, timeout=100)
    if "ptrace" in done.stderr:
        pytest.skip("processes cannot be traced here")
    assert done.returncode == 0, done.stderr
    assert "Entity(" in done.stdout
    assert "connects:" not in done.stderr
    assert list(home.rglob("*")) == []
    calls = traced.read_text("utf-8", "replace") if traced.exists() else ""
    assert "sin_addr" not in calls
    assert "AF_INET" not in calls


def python(code, **settings):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_a_choice_of_the_user_stays():
    code = (
        "import os; from tagger.imports import import_onnxruntime as f; f(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    assert python(code, ORT_DISABLE_TELEMETRY="0").stdout == "0\n"
    assert python(code.replace("f();", "f();f();")).stdout == "1\n"


def test_the_reporter_of_openvino_is_hidden_only_while_it_is_imported():
    code = (
        "import sys; from tagger.imports import import_openvino as f; f(); print('openvino_telemetry' in sys.modules)"
    )
    assert python(code).stdout == "False\n"


@pytest.mark.train
def test_tensorflow_is_imported_without_noise():
    done = python("from tagger.imports import import_tensorflow as f; print(f().__name__); f()")
    assert (done.stdout, done.stderr) == ("tensorflow\n", "")
