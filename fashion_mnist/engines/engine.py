"""What every engine is: it is given stacks, has them trained, and tells what became of them.

A stack is the unit that travels. What it is, how it is cut, what is known of it already and what
is said in the end is the sweep's business and the same for all engines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # each process of the lanes reads this file when it starts
    from fashion_mnist.runs.request import Request, RunResult
    from fashion_mnist.training.device import Machine


@dataclass(frozen=True)
class Width:
    """How many stacks are trained at a time, and on what each."""

    number: int = 1
    threads: int = 0  # of each; 0: all cores
    devices: Sequence[str] = ()  # a GPU for each at a time, as CUDA_VISIBLE_DEVICES names them
    seconds_to_start: float = 5.0  # until they begin
    is_here: bool = True  # on this machine, whose cores and memory they share
    is_filled: bool = True  # stacks are cut so small that no place waits long for the last one
    has_gpus: bool = False  # elsewhere: what `auto` means for a device is found out there

    def device(self, number: int) -> str | None:
        """The GPU of a process, counted from 0; None: there is none, or one for all."""
        return self.devices[number % len(self.devices)] if self.devices else None


@dataclass(frozen=True)
class Task:
    """A stack on its way: plain values, and enough of them to do it twice without harm."""

    number: int
    requests: Sequence[Request]
    folders: Sequence[Path]  # of each run: which attempt it is was decided where it comes from
    fingerprints: Sequence[str]
    data_sha256: str
    machine: Machine | None = None  # that new runs are trained on; None: as theirs over there is
    threads: int | None = None  # what `training.threads: auto` means; None: all cores


@dataclass(frozen=True)
class News:
    """What is said of a stack: how far it is, or, with results, that it is done."""

    number: int
    epochs: float = 0.0
    results: Sequence[RunResult] | None = None
    refusal: str = ""  # why it can be trained nowhere, for the whole sweep's end


def failure(task: Task, reason: str) -> News:
    """The stack could not be trained; it is nobody's fault, and the same command goes on."""
    from fashion_mnist.runs.request import RunResult
    from fashion_mnist.runs.run_dir import RunDir, RunError

    results = [RunResult(RunDir(path), error=RunError(reason)) for path in task.folders]
    return News(task.number, results=results)


@dataclass(frozen=True)
class Listener:
    """Who is told of stacks, and asked whether to go on; what it raises there ends them all."""

    on_begin: Callable[[Task], None]
    on_news: Callable[[News], None]
    check_for_stop: Callable[[], None]


class Workers(Protocol):
    """Whoever trains stacks while a sweep lasts."""

    width: Width

    def run(self, tasks: Sequence[Task], listener: Listener) -> list[Task]:
        """Have stacks trained, begun in the order given; what must be trained here comes back.

        Raises:
            StopRequested: or whatever `check_for_stop` raises, after all runs are saved.
            RunError: nothing can be trained there.
        """


class Engine(Protocol):
    """A choice of `hydra/launcher`, with its options."""

    @property
    def is_here(self) -> bool:
        """Whether it is this machine: what a search gives up can be given up at once."""

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""

    def width(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Width:
        """How many stacks it trains at a time.

        Args:
            machines: what each architecture is trained on here; one thread where none is set.
            num_runs: that want training, as far as it is known.
            wanted: by the user, of processes here, or auto.
        """

    def open(self, width: Width, folder: Path) -> AbstractContextManager[Workers]:
        """Workers, gone with the context.

        Args:
            folder: of the sweep's own files, for what an engine has to write.
        """
