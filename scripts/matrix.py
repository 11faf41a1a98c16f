"""Run the tests on several Pythons, with the lowest and with the newest versions of the dependencies.

    scripts/test --matrix                                   everything: about ten minutes for each row
    scripts/test --matrix --python 3.11 --lowest -m "not train"

Each row is an environment of its own, made by uv and removed afterwards. Lowest are the lowest versions that
pyproject.toml allows and that have a wheel for that Python; of what they need, the newest. Pythons that this machine
lacks are named and left out; uv installs them with `uv python install`, where it may. Other options go to pytest. The
table at the end belongs into the changelog of a release.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from benching import PROJECT, Rows, markdown_table, say

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
SOURCES_ONLY = ("jieba", "seqeval")  # published without wheels
SHOWN = ("numpy", "onnxruntime", "tensorflow", "keras")
UV = (sys.executable, "-m", "uv")


def main() -> int:
    """Run all rows, print the table, return 0 if no test failed."""
    options, arguments = parse_arguments()
    rows: Rows = [("Python", "versions", *SHOWN, "result")]
    failed = False
    for version in options.python:
        python = find_python(version)
        for name in options.versions if python else ():
            say(f"== Python {version}, {name} versions")
            cells, status = run_row(str(python), name, arguments)
            rows.append((version, name, *cells))
            failed = failed or status != 0
        if not python:
            rows.append((version, "-", *("-" for _ in SHOWN), "not run: no such Python here"))
    print(f"\n{markdown_table(rows)}")
    return int(failed)


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    """Return the options, and those for pytest."""
    parser = argparse.ArgumentParser("scripts/test --matrix", description="Run the tests in several environments.")
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="V", help=f"default: {' '.join(PYTHONS)}")
    for name in RESOLUTIONS:
        parser.add_argument(f"--{name}", action="append_const", dest="versions", const=name, help="only these versions")
    options, arguments = parser.parse_known_args()
    options.versions = options.versions or list(RESOLUTIONS)
    return options, arguments


def find_python(version: str) -> Path | None:
    """Return an interpreter of this version on this machine, one of pyenv included."""
    if "{}.{}".format(*sys.version_info) == version:
        return Path(sys.executable)
    done = subprocess.run([*UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if done.returncode == 0:
        return Path(done.stdout.strip())
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return next(iter(sorted(pyenv.glob(f"versions/{version}.*/bin/python"))), None)


def run_row(python: str, name: str, arguments: list[str]) -> tuple[list[str], int]:
    """Run the tests in an environment of its own; return the cells of its row after the first two, and the status."""
    with tempfile.TemporaryDirectory(prefix="matrix_") as folder:
        environment = Path(folder) / "venv"
        own = str(environment / "bin" / "python")
        subprocess.run([*UV, "venv", "--quiet", "--python", python, environment], check=True)
        install = [*UV, "pip", "install", "--quiet", "--compile-bytecode", "--resolution", RESOLUTIONS[name]]
        wheels = [option for package in direct() for option in ("--only-binary", package)]
        done = subprocess.run([*install, *wheels, "--python", own, "-e", f"{PROJECT}[test]"])
        if done.returncode:
            return [*("-" for _ in SHOWN), "cannot be installed"], done.returncode
        begun = time.monotonic()
        log = Path(folder) / "log"
        with log.open("w") as file:
            tests = [own, "-m", "pytest", "-n", "logical", "--maxprocesses", "4", "--dist", "worksteal", *arguments]
            status = subprocess.run(tests, cwd=PROJECT, stdout=file, stderr=subprocess.STDOUT).returncode
        text = log.read_text("utf-8")
        print("\n".join(re.findall(r"^(?:FAILED|ERROR|=+ .* =+$).*", text, re.M)), flush=True)
        code = f"from importlib.metadata import version; print(*map(version, {SHOWN}))"
        versions = subprocess.run([own, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        counts = ", ".join(re.findall(r"\d+ (?:passed|failed|errors?|skipped)", text.splitlines()[-1]))
        return [*versions, f"{counts or 'no test ran'} in {(time.monotonic() - begun) / 60:.0f} min"], status


def direct() -> list[str]:
    """Return the names of the packages in pyproject.toml that have wheels."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [*project["dependencies"], *(need for extra in project["optional-dependencies"].values() for need in extra)]
    names = {re.split(r"[^\w.-]", need)[0] for need in needs}
    return sorted(names - {project["name"], *SOURCES_ONLY})


if __name__ == "__main__":
    sys.exit(main())
