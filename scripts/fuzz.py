"""Give hostile inputs to everything that reads something: run by `scripts/fuzz`.

Each input is made from the seed and its number alone, so `--seed S --only N` repeats one. An input fails if anything is
raised that is no error on purpose, if a message is more than one line, if an offset is wrong, if what was written is
not what is read, if a file of the user's is changed, if a request is answered with 500, or after 30 seconds of work.
The files of a failed input are kept in the folder of `--out`, with what was raised.
"""

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package, wherever the script is started

import fuzz_parts as parts  # noqa: E402
from fuzz_checks import Place, clear  # noqa: E402
from fuzz_guard import confined  # noqa: E402

SECONDS = 30  # of processor time after which an input hangs, on a busy machine as well as on an idle one

_WAITING = 10  # times as long without an end is a hang too, for what waits takes no processor time

_CYCLE = sum(share for share, _ in parts.PARTS.values())

_ORDER = [name for name, (share, _) in parts.PARTS.items() for _ in range(share)]


class Failure(NamedTuple):
    """An input that failed."""

    number: int
    part: str
    reason: str
    kept: Path


class Hang(BaseException):
    """An input took too long; not to be caught by what it interrupts."""


def part_of(number: int) -> str:
    """Return the part that an input belongs to."""
    return _ORDER[number * 7 % _CYCLE]  # 7 and the cycle have no divisor in common: parts take turns


def run(seed: int, numbers: Sequence[int], out: Path) -> Iterator[tuple[int, Failure | None]]:
    """Run inputs and yield the number of each and why it failed, if it did.

    Args:
        seed: Of all inputs.
        numbers: Which inputs.
        out: Folder that failed inputs are kept in.
    """
    with _set_up():
        for number in numbers:
            yield number, _run_one(seed, number, out)


def _run_one(seed: int, number: int, out: Path) -> Failure | None:
    name, work = part_of(number), out / f"work-{os.getpid()}"
    folder = work / "input"
    clear(folder)
    try:
        with _watched(), confined(work):
            place = Place(folder)
            parts.PARTS[name][1](Random(f"{seed} {number}"), place)
            place.check()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        kept = out / f"{name}-{seed}-{number}"
        clear(kept)
        folder.replace(kept)
        (kept / "failure.txt").write_text(traceback.format_exc(), "utf-8", "backslashreplace")
        reason = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode("utf-8")
        return Failure(number, name, reason, kept)
    return None


@contextlib.contextmanager
def _set_up() -> Iterator[None]:
    """Keep the disk and the user's cache out of it, and take warnings for errors, while inputs run."""
    fast = patch.multiple(os, fsync=lambda opened: None, sync=lambda: None)
    with patch.dict(os.environ, TAGGER_CACHE=""), fast, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries
        yield


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Raise `Hang` in what takes too long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"not done after {SECONDS} seconds")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, SECONDS),
        signal.SIGALRM: (signal.ITIMER_REAL, SECONDS * _WAITING),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def main() -> int:
    """Run the inputs that the command line asks for; the exit code is 1 if any failed."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--count", type=int, default=100_000, metavar="N", help="inputs (default: %(default)s)")
    arguments.add_argument("--start", type=int, default=0, metavar="N", help="number of the first (default: 0)")
    arguments.add_argument("--seed", type=int, default=1, metavar="N", help="of the inputs (default: 1)")
    arguments.add_argument("--only", type=int, metavar="N", help="the number of the one input to run")
    arguments.add_argument("--part", choices=parts.PARTS, help="inputs of this part alone")
    arguments.add_argument("--most", type=int, default=20, metavar="N", help="failures to stop after (default: 20)")
    arguments.add_argument("--out", type=Path, default=Path("fuzz-out"), metavar="DIR", help="default: %(default)s")
    options = arguments.parse_args()
    faulthandler.enable()
    first, after = (
        (options.start, options.start + options.count) if options.only is None else (options.only, options.only + 1)
    )
    numbers = [number for number in range(first, after) if options.part in (None, part_of(number))]
    begun, failures, done = time.monotonic(), list[Failure](), Counter[str]()
    for number, failure in run(options.seed, numbers, options.out.resolve()):
        done[part_of(number)] += 1
        if failure:
            failures.append(failure)
            print(
                f"{failure.part}: --seed {options.seed} --only {number}: {failure.reason[:1000]}\n  {failure.kept}",
                flush=True,
            )
            if len(failures) >= options.most:
                break
        if done.total() % 5000 == 0:
            print(f"{done.total():,} of {len(numbers):,} inputs, {time.monotonic() - begun:.0f} s", flush=True)
    by_part = ", ".join(f"{name} {count:,}" for name, count in sorted(done.items()))
    print(f"{done.total():,} inputs ({by_part}) in {time.monotonic() - begun:.0f} s: {len(failures):,} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
