"""The page on deploying: its Dockerfile and unit are sound, and the server runs in the conditions they make."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest

from tagger import cli
from tests.conftest import GOLDEN_BUNDLE, ROOT

PAGE = (ROOT / "tagger" / "docs" / "deploying.md").read_text("utf-8")

INSTRUCTIONS = {
    "FROM": r"python:3\.1[1-9]-slim", "RUN": r"pip install --no-cache-dir 'hantagger\[serve\]'",
    "COPY": r"bundle /bundle",
    "ENV": r"(\w+=\S* ?)+", "USER": r"[1-9]\d*:[1-9]\d*", "EXPOSE": r"\d+", "STOPSIGNAL": r"SIG[A-Z]+",
    "HEALTHCHECK": r"(--[\w-]+=\d+s )+CMD \[.*\]", "CMD": r"\[.*\]",
}  # fmt: skip

# The settings of a unit that are known here, by section.
SETTINGS = {
    "Unit": {"Description", "After"},
    "Service": {
        "ExecStart", "Environment", "EnvironmentFile", "DynamicUser", "StateDirectory", "Restart", "TimeoutStopSec",
        "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules",
        "ProtectControlGroups", "NoNewPrivileges", "CapabilityBoundingSet", "RestrictAddressFamilies",
        "RestrictNamespaces", "LockPersonality", "SystemCallArchitectures", "UMask",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def block(language):
    (content,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return content


def options_of(words):
    """Return the options of a command line of `tagger`, which must be understood."""
    assert words[0].rpartition("/")[2] == "tagger"
    return cli.parser(every=True).parse_args(words[1:])


# ---- the Dockerfile -------------------------------------------------------------------------------------------------
def instructions():
    lines = block("dockerfile").replace("\\\n", " ").splitlines()
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]


def test_each_instruction_of_the_dockerfile_is_known():
    names = [name for name, _ in instructions()]
    assert names[0] == "FROM"
    assert sorted(names) == sorted(INSTRUCTIONS)
    assert names.index("RUN") < names.index("USER") < names.index("CMD")
    for name, rest in instructions():
        assert re.fullmatch(INSTRUCTIONS[name], rest), (name, rest)


def test_the_commands_of_the_dockerfile_are_understood():
    known = dict(instructions())
    options = options_of(json.loads(known["CMD"]))
    assert (options.bundle, str(options.port)) == (known["COPY"].split()[1], known["EXPOSE"])
    program, option, code = json.loads(known["HEALTHCHECK"].partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    assert f"127.0.0.1:{known['EXPOSE']}/health" in code


def test_the_image_is_built(tmp_path):
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine runs here: the Dockerfile was parsed, not built")
    (tmp_path / "Dockerfile").write_text(block("dockerfile"), "utf-8")
    shutil.copytree(GOLDEN_BUNDLE, tmp_path / "bundle")
    built = subprocess.run(["docker", "build", "-q", "."], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


# ---- the unit -------------------------------------------------------------------------------------------------------
def test_each_setting_of_the_unit_is_known():
    section, given = "", {}
    for line in filter(None, block("ini").splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
            given[section] = {}
        else:
            key, _, value = line.partition("=")
            assert key not in given[section]
            given[section][key] = value
    assert {section: set(keys) for section, keys in given.items()} == SETTINGS
    options = options_of(shlex.split(given["Service"]["ExecStart"]))
    assert options.save.parent.name == given["Service"]["StateDirectory"]
    assert given["Service"]["DynamicUser"] == given["Service"]["ProtectHome"] == "yes"


def test_systemd_accepts_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: the unit was parsed here, not by systemd")
    (tmp_path / "tagger.service").write_text(block("ini").replace("/opt/tagger/venv/bin/tagger", "/bin/sh"), "utf-8")
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "tagger.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Failed to" in done.stderr and "bus" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.splitlines()[0]}")
    assert [line for line in done.stderr.splitlines() if "tagger.service" in line] == []
    assert done.returncode == 0


# ---- the conditions -------------------------------------------------------------------------------------------------
# A process of a user that no list knows, on a file system that is read-only.
_CONDITIONS = """
import errno, os, pwd, sys

def unknown(number):
    raise KeyError(number)

def read_only(event, arguments):
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    opened = event == "open" and not isinstance(arguments[0], int) and isinstance(arguments[2], int)
    if (opened and arguments[2] & writes) or event in ("os.mkdir", "os.rename", "os.remove", "os.symlink"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))

pwd.getpwuid = unknown
sys.addaudithook(read_only)
from tagger.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_server_runs_without_home_name_and_place_to_write():
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TAGGER_CACHE": ""}
    command = [sys.executable, "-c", _CONDITIONS, "serve", str(GOLDEN_BUNDLE), "--port", "0"]
    with subprocess.Popen(command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            started = process.stderr.readline()
            port = re.search(r"http://127\.0\.0\.1:(\d+)/", started)
            assert port, started
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/health", timeout=20) as response:
                assert json.load(response) == {"status": "ok"}
            body = json.dumps({"text": "李明在北京大学读书。"}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port[1]}/tag", body, headers)
            with urllib.request.urlopen(request, timeout=20) as response:
                assert json.load(response)["text"] == "李明在北京大学读书。"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
