"""A part of `fuzz.py`: command lines with odd options and odd files."""

import contextlib
import functools
import io
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import fuzz_inputs as inputs
import fuzz_lists as lists
from fuzz_checks import BUNDLE, KEPT, Fault, Place

from tagger import cli

# Command and how often it is run, relative to the others.
_COMMANDS = {
    "convert": 5, "inspect": 3, "predict": 6, "split": 3, "evaluate": 3, "redact": 3, "help": 1, "export": 1,
    "gazetteer": 1, "serve": 1, "train": 1,
}  # fmt: skip

_LEFT_OUT = ("help", "debug", "cluster", "replicas")  # options; the last two start other processes

_ODD_VALUES = (
    "", "0", "1", "-1", "x", "1e400", "nan", "9" * 30, "--", "-", "a=b", "text.x=1", "0.5", "PER=0.8",
    "\udcff", "１",
)  # fmt: skip


_SLOW = ("keras", "openvino", "saved_model", "litert", "weights")  # choices that import what takes seconds


@functools.cache
def _parsers() -> dict[str, Any]:
    return dict(cli.command_parsers())


def commands(rng: Random, place: Place) -> None:
    """Run command lines with odd options and odd files: a result or one line, and nothing of the user's changed."""
    for number in range(2):
        content, suffix = rng.choice((inputs.valid_file, inputs.valid_file, inputs.bytes_file, inputs.archive_file))(
            rng
        )
        place.file(f"in{number}{suffix}", content)
    place.file("names.tsv", lists.gazetteer_file(rng))
    place.file("mine/own.txt", b"mine too\n")
    (place.folder / "link").symlink_to(KEPT)
    arguments = _arguments(rng, place)
    if "--force" in arguments:
        place.may_replace(arguments)
    place.is_resumable = arguments[0] == "predict"
    before = os.getcwd()
    stdin = io.TextIOWrapper(io.BytesIO(inputs.bytes_file(rng)[0]), "utf-8")
    streams = [
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")
    ]
    os.chdir(place.folder)
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.bind("socket")  # stands for devices and pipes: it cannot be opened, and must stay what it is
        with (
            patch.object(sys, "stdin", stdin),
            contextlib.redirect_stdout(streams[0]),
            contextlib.redirect_stderr(streams[1]),
        ):
            try:
                code = cli.main(arguments)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        if not Path("socket").is_socket():
            raise Fault("something was put in the place of a socket")
    finally:
        stream.close()
        os.chdir(before)
    said = streams[1].buffer.getvalue().decode("utf-8")
    shown = " ".join(arguments)
    if code not in (0, 1, 2) or "Traceback" in said:
        raise Fault(f"tagger {shown}: exit code {code}, {said[-500:]}")
    if code and not re.fullmatch(r"tagger\b.*", said.rstrip("\n").rpartition("\n")[2]):
        raise Fault(f"tagger {shown}: the last line is no message: {said[-500:]!r}")


def _arguments(rng: Random, place: Place) -> list[str]:
    """Return a command line for files in the folder."""
    name = rng.choices(tuple(_COMMANDS), tuple(_COMMANDS.values()))[0]
    if name == "gazetteer":
        shutil.copytree(BUNDLE, place.folder / "bundle")
    actions = [action for action in _parsers()[name]._actions if action.dest not in _LEFT_OUT]
    chosen = [action for action in actions if action.required or not action.option_strings or rng.random() < 0.2]
    is_forced = any("--force" in action.option_strings for action in chosen)
    arguments = [name]
    for action in chosen:
        if action.option_strings:
            arguments.append(action.option_strings[-1])
        if action.nargs != 0 and (action.nargs not in ("*", "?") or rng.random() < 0.8):
            arguments.append(_value(rng, place, action, is_forced))
    if name in ("predict", "evaluate", "redact"):
        arguments += ["--workers", "1", "--runtime", rng.choice(("onnx", "int8"))]
    if name in ("serve", "train"):  # nothing that starts a server or a training: it ends with an option that is wrong
        arguments += ["--" + rng.choice(("wrong", "port=x", "seed=x", "max-body=-"))]
    if rng.random() < 0.05:
        arguments[rng.randrange(len(arguments))] = rng.choice(_ODD_VALUES)
    return arguments


def _value(rng: Random, place: Place, action: Any, is_forced: bool) -> str:
    """Return a value of an option: mostly one that it takes."""
    given = sorted(path.name for path in place.folder.glob("in*"))
    if action.dest in ("out", "html", "suspects", "save", "report", "map"):
        names = [
            "out.jsonl", "out.csv", "out", "out.bioes.gz", "no/such/out.txt", "mine", "socket", *given,
        ]  # fmt: skip
        place.outputs.append(rng.choice(names if is_forced else [*names, KEPT, "link", "names.tsv", "mine/own.txt"]))
        return place.outputs[-1]
    if action.choices:
        return rng.choice([name for name in action.choices if name not in _SLOW])
    if action.dest == "bundle":
        bundle = str(BUNDLE) if not (place.folder / "bundle").exists() else "bundle"
        return rng.choice((bundle, bundle, bundle, "mine", "no", *given))
    if action.dest == "gazetteer":
        return rng.choice(("names.tsv", "names.tsv", "no", *given))
    if action.dest == "encoding":
        return rng.choice((*inputs.ENCODINGS, "x", "hex"))
    if action.dest in ("set", "config"):
        return (
            re.sub("[\x00\ud800-\udfff]", "", lists.setting(rng))
            if action.dest == "set"
            else rng.choice(("contest", "x", *given))
        )
    if action.type is Path or action.dest in ("source", "files", "corpus", "what", "file", "train"):
        return rng.choice((*given, *given, *given, "no", "mine", "-"))
    return rng.choice((*_ODD_VALUES, re.sub("[\x00\ud800-\udfff]", "", inputs.text(rng))))
