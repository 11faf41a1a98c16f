"""Replicas of the network that share each batch: on several graphics cards, in several processes, on several machines.

Every replica has all weights and makes every step; of each batch it takes every n-th text. Gradients are summed over
all replicas before anything is done with them, so that N replicas make the step that one makes of the whole batch
(synchronous data parallelism, by `tf.distribute`).
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

import tensorflow as tf

from tagger.batches import BatchT, BatchT_co, Numbers, Store
from tagger.errors import TrainingError
from tagger.execution import traced
from tagger.learning.device import PROCESSOR, Device, use_cards, use_device
from tagger.learning.workers import ALONE, Workers, workers_here
from tagger.progress import say
from tagger.sections import TrainingConfig

# What TensorFlow raises in the others when a process has ended.
_ENDED = (
    tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError, tf.errors.CancelledError,
    tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.UnknownError,
)  # fmt: skip


class Replicas:
    """The replicas of a training, of which this process has some.

    Args:
        device: What this process trains on.
        strategy: Of `tf.distribute`; that of a single device by default.
        workers: The processes of the training; this one alone by default.
    """

    def __init__(
        self, device: Device = PROCESSOR, strategy: tf.distribute.Strategy | None = None, workers: Workers = ALONE
    ) -> None:
        self.device, self.strategy, self.workers = device, strategy or tf.distribute.get_strategy(), workers
        self.count: int = self.strategy.num_replicas_in_sync
        self.here = self.count // max(len(self.workers.addresses), 1)
        self._agree = self.step(lambda value: total([value])[0], (tf.TensorSpec((), tf.float32),))

    @property
    def parts(self) -> list[slice]:
        """The parts of each batch that the replicas of this process take."""
        first = self.workers.number * self.here
        return [slice(first + number, None, self.count) for number in range(self.here)]

    def step(self, one: Callable[..., tf.Tensor], signature: Sequence[Any]) -> Callable[..., tf.Tensor]:
        """Return a compiled function that makes a step on every replica, given a batch for each of this process.

        Args:
            one: Makes the step of a replica of a batch, and returns what is the same on all.
            signature: Shapes and dtypes of the parts of a batch.
        """
        if self.count == 1:
            return traced(one, input_signature=signature)

        @traced(input_signature=[tuple(signature)] * self.here)
        def step(*batches: Any) -> tf.Tensor:
            def replica() -> tf.Tensor:
                number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
                return one(*batches[int(number) % self.here])

            return self.strategy.experimental_local_results(self.strategy.run(replica))[0]

        return step

    def agree(self, answer: bool = True) -> bool:
        """Wait until every process has come here, and return the chief's answer in all of them."""
        if self.workers.alone:
            return answer
        own = tf.constant(float(answer and self.workers.chief))
        nothing = [(tf.constant(0.0),)] * (self.here - 1)
        return bool(self._agree((own,), *nothing) > 0)


def total(tensors: Sequence[Any]) -> list[Any]:
    """Return the sum of each tensor over all replicas, in each of them; None stays None.

    `tf.IndexedSlices` become tensors, on a single replica too: only their sum has a norm that is everywhere the same.
    """
    context = tf.distribute.get_replica_context()
    given = [tf.convert_to_tensor(tensor) for tensor in tensors if tensor is not None]
    if context.num_replicas_in_sync > 1:
        # Each as the result of an operation, which has a device: the argument of a function has none.
        given = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(tensor) for tensor in given])
    sums = iter(given)
    return [None if tensor is None else next(sums) for tensor in tensors]


# ---- which replicas there are -----------------------------------------------------------------------------------
def use_replicas(settings: TrainingConfig, cards: int = 1) -> Replicas:
    """Select the devices of this process, and return the replicas of the training, once all its processes are there.

    Args:
        settings: The `[training]` section.
        cards: Graphics cards of this machine with a replica each, where there are several.

    Raises:
        TrainingError: If devices or processes are not there.
    """
    workers = workers_here()
    device = use_cards(settings, cards) if cards > 1 else use_device(settings)
    if not workers.alone:
        say(f"waiting for {len(workers.addresses)} workers: {', '.join(workers.addresses)}")
        with told_of_others(workers, None):
            return Replicas(device, _strategy_of_workers(), workers)
    if cards > 1:
        return Replicas(device, tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(cards)]))
    return Replicas(device)


@functools.cache  # a process can join others only once
def _strategy_of_workers() -> tf.distribute.Strategy:
    return tf.distribute.MultiWorkerMirroredStrategy()


@contextlib.contextmanager
def told_of_others(workers: Workers, folder: Path | None) -> Iterator[None]:
    """Report in one line that another process of the training has ended, if the block fails for that.

    Args:
        workers: The processes.
        folder: Where the work so far is kept; None where there is none yet.

    Raises:
        TrainingError: In that case.
    """
    try:
        yield
    except (*_ENDED, RuntimeError) as error:
        if workers.alone or not (isinstance(error, _ENDED) or _named(str(error))):
            raise
        others = [number for number in _named(str(error)) if number != workers.number < len(workers.addresses)]
        which = workers.name(others[0]) if others else "another worker"
        kept = f"; the work up to the last whole epoch is kept in {folder}" if folder else ""
        raise TrainingError(
            f"{which} has stopped, or cannot be reached any more; see what it said last{kept}: start all workers "
            "again, in any number, with --resume"
        ) from error


def _named(message: str) -> list[int]:
    """Return the numbers of the processes that an error of TensorFlow names."""
    return [int(number) for number in re.findall(r"/job:worker/(?:replica:\d+/)?task:(\d+)", message)]


# ---- their batches ----------------------------------------------------------------------------------------------
class DivisibleMaker(Protocol[BatchT_co]):
    """What makes a part of a batch as well as the whole."""

    @property
    def store(self) -> Store:
        """Ids and tags of the texts."""

    def __call__(self, numbers: Numbers, seed: int | None = None, part: slice = ...) -> BatchT_co:
        """Return a part of the batch of the texts with these numbers."""


@dataclass(frozen=True)
class PartsMaker(Generic[BatchT]):
    """Makes, of each batch, a part for every replica of this process.

    Args:
        make: Makes a part of a batch.
        parts: Which parts.
    """

    make: DivisibleMaker[BatchT]
    parts: Sequence[slice]

    @property
    def store(self) -> Store:
        """Ids and tags of the texts."""
        return self.make.store

    def __call__(self, numbers: Numbers, seed: int | None = None) -> tuple[BatchT, ...]:
        """Return the parts of the batch of the texts with these numbers."""
        return tuple(self.make(numbers, seed, part) for part in self.parts)
