"""What the launchers have in common: a launcher gets stacks, has them trained, returns results.

How runs are grouped into stacks, which of them are known, and what is reported at the end is
decided in the sweep, in the same way for every launcher.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fashion_mnist.config.messages import RunError

if TYPE_CHECKING:  # see `local`
    from fashion_mnist.runs.request import Request, RequestResult
    from fashion_mnist.training.device import Machine


STOP_SECONDS = 20  # for processes that save their runs; after 30, Slurm kills


@dataclass(frozen=True)
class Capacity:
    """How many stacks are trained at a time, and on what each."""

    number: int = 1
    threads: int | None = None  # of each; None: all cores
    devices: Sequence[str] = ()  # a GPU for each at a time, as CUDA_VISIBLE_DEVICES names them
    seconds_to_start: float = 5.0  # until they begin
    is_here: bool = True  # on this machine: the stacks share its cores and memory
    is_filled: bool = True  # stacks are cut so small that no worker waits long for the last one
    has_gpus: bool = False  # elsewhere: what `auto` means for a device is found out there

    @property
    def num_sharing(self) -> int:
        """How many workers share the memory of a GPU, or without GPUs that of their machine."""
        return -(-self.number // max(1, len(self.devices)))

    def device(self, number: int) -> str | None:
        """The GPU of a process, counted from 0; None: there is none."""
        return self.devices[number % len(self.devices)] if self.devices else None


@dataclass(frozen=True)
class Task:
    """A stack to be trained, as plain values; training it twice gives the same run directories."""

    number: int
    requests: Sequence[Request]
    folders: Sequence[Path]  # of each run's attempt
    fingerprints: Sequence[str]
    data_sha256: str
    parent: str = ""  # the id of the sweep's event log, under which the runs are recorded
    machine: Machine | None = None  # what new runs are recorded with; None: the worker's own
    threads: int | None = None  # what `training.threads: auto` means; None: all cores


@dataclass(frozen=True)
class Update:
    """How far a stack is or, with results, that it has ended."""

    number: int
    epochs: float = 0.0
    results: Sequence[RequestResult] | None = None
    refusal: str = ""  # why it can be trained on no machine; it ends the sweep
    is_lost: bool = False  # its worker died: it is trained in the process of the sweep


def failure(task: Task, reason: str) -> Update:
    """The update of a stack that could not be trained; the same command goes on with it."""
    from fashion_mnist.runs.request import RequestResult
    from fashion_mnist.runs.run_dir import RunDir

    results = [RequestResult(RunDir(path), error=RunError(reason)) for path in task.folders]
    return Update(task.number, results=results)


class Workers(Protocol):
    """The open workers of a launcher, for as long as a sweep lasts."""

    capacity: Capacity

    def run(self, tasks: Sequence[Task]) -> Generator[Update | None, None, None]:
        """Have stacks trained, begun in the order given.

        Where this is closed early, all runs are saved by the end of the workers' context.

        Yields:
            What is new, and None several times a second while nothing is. A stack's first update
            says that it has begun; one that has no results in the end is to be trained here.

        Raises:
            RunError: nothing can be trained there.
        """


class Launcher(Protocol):
    """A choice of `hydra/launcher`, with its options."""

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """How many stacks it trains at a time.

        Args:
            machines: what each architecture is trained on here; one thread where none is set.
            num_runs: of the sweep, as far as it is known, those that were trained before too.
            wanted: by the user, of processes here, or auto.
        """

    def open(self, capacity: Capacity, folder: Path) -> AbstractContextManager[Workers]:
        """Workers that end with the context.

        Args:
            folder: the sweep's own, for files that the launcher writes.
        """
