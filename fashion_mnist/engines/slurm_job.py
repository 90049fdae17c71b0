"""What Slurm runs: the function that trains a stack, and puts itself back into the queue.

Only jobs import this, and whoever sends them.
"""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from fashion_mnist.engines.errand import Answer, Errand, do_errand
from fashion_mnist.engines.slurm import CLUSTERS, Slurm
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.training import Observer


def build_executor(slurm: Slurm, folder: Path) -> Any:
    """submitit's, with the options under its names.

    Args:
        folder: for what it writes; every node must see it.

    Raises:
        AssertionError, NameError, ValueError, RuntimeError: it does not take the options.
    """
    # -P: a file in the user's folder must not stand in for a module
    python = f"{shlex.quote(sys.executable)} -P"
    limits = {"max_num_timeout": slurm.requeues, "python": python}
    executor = submitit.AutoExecutor(
        folder / "%j",
        cluster=slurm.cluster,
        **{f"{cluster}_{name}": value for cluster in CLUSTERS for name, value in limits.items()},
    )
    executor.update_parameters(
        name="fashion-mnist",
        timeout_min=slurm.minutes,
        cpus_per_task=slurm.cpus,
        gpus_per_node=slurm.gpus,
        slurm_array_parallelism=slurm.array_parallelism,
        slurm_signal_delay_s=slurm.signal_seconds,
        **slurm.options,
    )
    return executor


@dataclass
class StackJob:
    """What submitit calls, with a stack."""

    def __call__(self, errand: Errand) -> Answer:
        """Train it. Where Slurm wants the place back the runs are saved first.

        Raises:
            SystemExit: stopped by a signal; there is no answer.
        """
        with _signals() as heard:

            def check(*_: object) -> None:
                if heard.number is not None:
                    raise StopRequested(heard.number)

            answer = do_errand(errand, Observer(check, lambda *_: None, check_for_stop=check))
        if answer.results is None and not answer.refusal and heard.number is not None:
            heard.pass_on()
            raise SystemExit(128 + heard.number)
        return answer

    def checkpoint(self, errand: Errand) -> DelayedSubmission:
        """What is done after a requeue: the same, which goes on from the checkpoints."""
        return DelayedSubmission(self, errand)


@dataclass
class _Heard:
    """A signal that came, and submitit's own handler of the one before a job's end."""

    requeue_signal: int
    requeue: Callable[[int, FrameType | None], Any] | int | None
    number: int | None = None

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """The handler. A request to stop does not put off a requeue, nor the other way round."""
        if self.number is None:
            self.number = number

    def pass_on(self) -> None:
        """Back into the queue, now that all is saved. submitit ends the process."""
        if self.number == self.requeue_signal and callable(self.requeue):
            self.requeue(self.number, None)


@contextmanager
def _signals() -> Iterator[_Heard]:
    """Within, signals are kept: submitit would requeue in the middle of a step, unsaved."""
    requeue_signal = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
    heard = _Heard(requeue_signal, signal.getsignal(requeue_signal))
    numbers = (requeue_signal, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, heard.hear) for number in numbers}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
