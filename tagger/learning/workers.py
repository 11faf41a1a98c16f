"""The processes that share one training: which they are, and which of them this one is.

They are named by the environment variable `TF_CONFIG`, as TensorFlow defines it, whatever starts them.
"""

import contextlib
import functools
import json
import os
import socket
from dataclasses import dataclass

from tagger.errors import TrainingError

VARIABLE = "TF_CONFIG"

_JOBS = ("chief", "worker")  # that train; the order is that of their numbers


@dataclass(frozen=True)
class Workers:
    """The processes of a training, the first of which is its chief.

    Args:
        addresses: HOST:PORT of each; none where this process trains alone.
        number: Of this process, from 0.
    """

    addresses: tuple[str, ...] = ()
    number: int = 0

    @property
    def alone(self) -> bool:
        """Whether this process shares its training with no other."""
        return len(self.addresses) < 2

    @property
    def chief(self) -> bool:
        """Whether this process prepares, scores and saves; all do the steps of training."""
        return self.number == 0

    def name(self, number: int) -> str:
        """Return what messages call a worker."""
        return f"worker {number} ({self.addresses[number]})"

    @property
    def variable(self) -> str:
        """The value of `TF_CONFIG` for this process."""
        return json.dumps(
            {"cluster": {"worker": list(self.addresses)}, "task": {"type": "worker", "index": self.number}}
        )


def local_workers(count: int) -> list[Workers]:
    """Return each of so many processes of this machine, on ports that are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = tuple(f"127.0.0.1:{listening.getsockname()[1]}" for listening in sockets)
    return [Workers(addresses, number) for number in range(count)]


def workers_here() -> Workers:
    """Return the processes that `TF_CONFIG` names; this one alone, if it is not set or names no other.

    Raises:
        TrainingError: If it is malformed.
    """
    return _parsed(os.environ.get(VARIABLE, ""))


ALONE = Workers()


def require_alone(command: str) -> None:
    """Check that this process has its work for itself.

    Raises:
        TrainingError: If `TF_CONFIG` names others.
    """
    if not workers_here().alone:
        raise TrainingError(f"{VARIABLE} names several workers, and {command} is for one process; unset {VARIABLE}")


@functools.cache
def _parsed(value: str) -> Workers:
    if not value.strip():
        return ALONE
    try:
        config = json.loads(value)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        jobs = {job: tuple(map(str, cluster.get(job, ()))) for job in _JOBS}
        if sum(map(len, jobs.values())) < 2 and cluster.keys() <= set(_JOBS):
            return ALONE
        index, kind = int(task["index"]), task["type"]
        if cluster.keys() - set(_JOBS) or kind not in _JOBS or not 0 <= index < len(jobs[kind]):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        example = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
        raise TrainingError(
            f'{VARIABLE}: expected the workers and which of them this is, as {example}, received {value}; see "tagger '
            f'help replicas"'
        ) from error
    before = jobs["chief"] if kind == "worker" else ()
    return Workers(jobs["chief"] + jobs["worker"], len(before) + index)
