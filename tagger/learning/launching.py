"""Start the processes of one training: on a Ray cluster, or as the tasks of a Slurm job step.

Either way each of them finds in `TF_CONFIG` who the others are.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tagger.cluster.engine import LOCAL, connected
from tagger.cores import usable_cores
from tagger.errors import TaggerError, TrainingError
from tagger.imports import import_ray, import_tensorflow
from tagger.learning.workers import VARIABLE, Workers, local_workers

SLURM = "slurm"  # the value of --cluster that is neither a cluster of this machine nor an address

_PORTS = 64  # that a job of Slurm has for itself on a node


# ---- Slurm ------------------------------------------------------------------------------------------------------
def set_from_slurm(environment: Mapping[str, str] = os.environ) -> None:
    """Set `TF_CONFIG` from what Slurm's `srun` tells each of its tasks.

    Raises:
        TrainingError: Outside of a job step.
    """
    tensorflow = import_tensorflow()
    try:
        job, node, task = int(environment["SLURM_JOB_ID"]), environment["SLURMD_NODENAME"], environment["SLURM_LOCALID"]
        first = 10_000 + job % 300 * _PORTS
        count = int(environment["SLURM_STEP_NUM_TASKS"])
        resolver = tensorflow.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=first, gpus_per_node=count, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = tuple(resolver.cluster_spec().as_dict()["worker"])
        number = addresses.index(f"{node}:{first + int(task)}")  # the resolver sorts nodes by name, Slurm by number
    except (KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"--cluster slurm: expected the variables of a step of Slurm, received none or others ({error}); start it "
            'with srun, as "tagger help replicas" shows'
        ) from error
    os.environ[VARIABLE] = Workers(addresses, number).variable


# ---- Ray --------------------------------------------------------------------------------------------------------
class Process:
    """A process of a training; an actor of Ray."""

    def node(self) -> str:
        """Return Ray's name of the machine that this process runs on."""
        ray: Any = import_ray()
        return str(ray.get_runtime_context().get_node_id())

    def address(self) -> str:
        """Return an address, HOST:PORT, that is free, on the host that Ray knows this machine by."""
        ray: Any = import_ray()
        host = next(node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == self.node())
        with socket.socket() as listening:
            listening.bind((host, 0))
            return f"{host}:{listening.getsockname()[1]}"

    def run(self, work: Callable[[], Any], folder: str, workers: Workers, part: slice) -> tuple[str, Any]:
        """Do the work of one of these workers.

        Args:
            work: Finds them in `TF_CONFIG`.
            folder: To work in.
            workers: The processes; `number` is that of this one.
            part: Of the cores of this machine, those that this process uses.

        Returns:
            What it was stopped by, "" for nothing, and what it returned.
        """
        os.environ[VARIABLE] = workers.variable
        try:
            os.chdir(folder)
            if hasattr(os, "sched_setaffinity"):  # so that it has as many threads
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[part] or os.sched_getaffinity(0))
            return "", work()
        except (TaggerError, OSError) as error:
            return str(error), None


def run_on_ray(work: Callable[[], Any], cluster: str, replicas: int, cards: bool) -> Any:
    """Run the processes of a training on a Ray cluster, and return what the chief returns.

    Args:
        work: What each process does; a function that can be imported, or part of one.
        cluster: "local", or the address of a cluster.
        replicas: Processes.
        cards: Whether each gets a graphics card, where there are so many.

    Raises:
        TaggerError: If there is no such cluster, or a process is lost or stopped by an error.
    """
    with connected(cluster, max(usable_cores(), replicas), prints=True) as ray:
        there = ray.cluster_resources()
        if there.get("CPU", 0) < replicas:
            raise TrainingError(
                f"--replicas {replicas}: expected as many cores in the cluster, received {there.get('CPU', 0):g}"
            )
        actor = ray.remote(Process).options(
            num_cpus=1, num_gpus=int(cards and there.get("GPU", 0) >= replicas), scheduling_strategy="SPREAD"
        )
        processes = [actor.remote() for _ in range(replicas)]
        nodes = ray.get([process.node.remote() for process in processes])
        if cluster == LOCAL:
            addresses = local_workers(replicas)[0].addresses
        else:
            addresses = tuple(ray.get([process.address.remote() for process in processes]))
        running = {}
        for number, process in enumerate(processes):
            part = slice(nodes[:number].count(nodes[number]), None, nodes.count(nodes[number]))
            reference = process.run.remote(work, os.getcwd(), Workers(addresses, number), part)
            running[reference] = number
        return _results(ray, running, addresses)[0]


def _results(ray: Any, running: dict[Any, int], addresses: Sequence[str]) -> list[Any]:
    """Return what each process returns; all end with the first that fails.

    Raises:
        TrainingError: With the name of that one.
    """
    results: list[Any] = [None] * len(running)
    while running:
        (reference, *_), _ = ray.wait(list(running))
        number = running.pop(reference)
        try:
            stopped, results[number] = ray.get(reference)
        except ray.exceptions.RayActorError as error:
            raise TrainingError(
                f"worker {number} ({addresses[number]}) was lost; the work up to the last whole epoch is kept: start "
                "again, with any --replicas, with --resume"
            ) from error
        if stopped:
            raise TrainingError(stopped if number == 0 else f"worker {number} ({addresses[number]}): {stopped}")
    return results
