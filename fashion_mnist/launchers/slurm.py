"""`hydra/launcher=stacked_submitit`: stacks are jobs of Slurm, by way of submitit.

A stack is one job of an array. Where a job runs out of time or is preempted, submitit requeues it,
and its runs go on from their checkpoints. submitit's local jobs have no queue: there stacks are
sent as workers get free. submitit is imported within functions alone: it is an optional package.
"""

import importlib.util
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_mnist.config.messages import RunError, first_line_of
from fashion_mnist.launchers.base import Capacity, Task, Update, failure
from fashion_mnist.launchers.options import SubmititOptions
from fashion_mnist.launchers.remote import (
    RemoteResult,
    Storage,
    marked_storage,
    portable,
    stop_on_signals,
    train_remote_task,
    update_of,
)
from fashion_mnist.runs.events import log_size
from fashion_mnist.runs.run_dir import RunDir
from fashion_mnist.runs.signals import held_back
from fashion_mnist.training.device import Machine, physical_cores

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

log = logging.getLogger("fashion_mnist")

POLL_SECONDS = 0.5  # between two checks of the jobs' results and event logs
STOP_SECONDS = 30  # for jobs that save their runs; Slurm gives as many
SECONDS_BETWEEN_QUERIES = 30  # of Slurm's accounting, which is shared
MOST_IN_ARRAY = 1000  # Slurm's default limit
CLUSTERS = ("slurm", "local")


class SlurmLauncher(SubmititOptions):
    """Trains stacks as jobs; `cluster` local: as processes of this machine."""

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""
        if importlib.util.find_spec("submitit") is None:
            return [
                "hydra/launcher=stacked_submitit needs the package submitit: "
                "pip install -e '.[submitit]'"
            ]
        if self.cluster not in CLUSTERS:
            return [f"hydra.launcher.cluster must be slurm or local, got {self.cluster!r}"]
        least = {"cpus": 1, "minutes": 1, "array_parallelism": 1, "signal_seconds": 1}
        least |= {"gpus": 0, "retries": 0, "requeues": 0}
        problems = [
            f"hydra.launcher.{name} must be {low} or more, got {value}"
            for name, low in least.items()
            if (value := getattr(self, name)) < low
        ]
        if self.cluster == "slurm" and shutil.which("srun") is None:
            problems.append(
                "hydra.launcher.cluster must be local where there is no Slurm: srun is not on PATH"
            )
        return problems

    def capacity(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Capacity:
        """As many as may run; with Slurm stacks stay large, for each job takes time to start."""
        is_local = self.cluster == "local"
        rooms = max(1, physical_cores() // self.cpus)
        return Capacity(
            min(self.array_parallelism, rooms) if is_local else self.array_parallelism,
            self.cpus,
            is_here=False,
            is_filled=is_local,
            has_gpus=self.gpus > 0,
        )

    @contextmanager
    def open(self, capacity: Capacity, folder: Path) -> Iterator["SlurmWorkers"]:
        """Workers; what they write is below the folder, which every node must see."""
        with marked_storage(folder) as storage:
            logging.getLogger("submitit").setLevel(logging.ERROR)  # it logs what is logged here
            workers = SlurmWorkers(capacity, self, storage, folder / "jobs")
            yield workers
        if not workers.deaths:  # else their output is kept
            shutil.rmtree(workers.folder, ignore_errors=True)


@dataclass
class SlurmWorkers:
    """Jobs of one sweep; what submitit writes for them is below a folder."""

    capacity: Capacity
    _launcher: SlurmLauncher
    _storage: Storage
    folder: Path
    deaths: list[int] = field(default_factory=list)  # the number of each job's stack
    _next_query: float = 0.0

    def run(self, tasks: Sequence[Task]) -> Generator[Update | None, None, None]:
        """See `base.Workers`. A stack that cannot be trained has its error."""
        waiting, sent = deque(tasks), list[_Job]()
        # how long a result may take to be seen from another machine
        patience_seconds = 15 if self._launcher.cluster == "slurm" else 0
        try:
            while waiting or sent:
                while batch := self._next(waiting, len(sent)):
                    sent += self._submit(batch)
                time.sleep(POLL_SECONDS)
                self._query_slurm(sent)
                for job in list(sent):
                    update = job.progress()
                    if job.has_ended(patience_seconds):
                        sent.remove(job)
                        if self._is_retried(job):
                            waiting.append(job.task)
                        else:
                            update = job.result()
                    yield update
                yield None
        finally:
            _stop(sent)

    def _is_retried(self, job: "_Job") -> bool:
        """Whether it died, and not more often than `retries`."""
        if not job.is_dead:
            return False
        self.deaths.append(job.task.number)
        is_enough = self.deaths.count(job.task.number) > self._launcher.retries
        if not is_enough:
            log.warning("%s: its runs go on in another", job.death())
        return not is_enough

    def _next(self, waiting: deque[Task], num_sent: int) -> list[Task]:
        """The tasks to be sent now: as many as fit an array, or as many as workers are free."""
        is_queued = self._launcher.cluster == "slurm"
        room = MOST_IN_ARRAY if is_queued else self.capacity.number - num_sent
        return [waiting.popleft() for _ in range(min(room, len(waiting)))]

    def _submit(self, tasks: Sequence[Task]) -> list["_Job"]:
        try:
            is_local = self._launcher.cluster == "local"
            executor = build_executor(self._launcher, self.folder)
            # a terminal sends Ctrl-C to all of its processes, and submitit's would end with a
            # traceback; the jobs' own take it again once they can save their runs
            with held_back([signal.SIGINT]), executor.batch():
                jobs = [executor.submit(StackJob(), portable(t), self._storage) for t in tasks]
        # submitit raises these for unknown options and for the errors of sbatch
        except (AssertionError, NameError, ValueError, RuntimeError) as error:
            raise RunError(f"Slurm takes no jobs: {first_line_of(error)}") from error
        return [
            _Job(job, task, is_local, log_size(task.folders[0]))
            for job, task in zip(jobs, tasks, strict=True)
        ]

    def _query_slurm(self, sent: Sequence["_Job"]) -> None:
        """Now and then: results are files, but only Slurm knows that a job has died."""
        if sent and self._launcher.cluster == "slurm" and time.monotonic() > self._next_query:
            self._next_query = time.monotonic() + SECONDS_BETWEEN_QUERIES
            sent[0].job.watcher.update()


@dataclass
class _Job:
    """A stack and submitit's handle of its job."""

    job: Any
    task: Task
    is_local: bool
    _size: int  # of the first run's event log, when it was read last
    _ended: float | None = None  # when it was seen to have ended without a result

    def progress(self) -> Update | None:
        """How far its event log is; None where nothing was added to it."""
        size = log_size(self.task.folders[0])
        if size == self._size:
            return None
        self._size = size
        rows = RunDir(self.task.folders[0]).history()
        return Update(self.task.number, epochs=rows[-1]["epoch"] if rows else 0.0)

    def has_ended(self, patience_seconds: float) -> bool:
        """Whether it has a result or has ended without one."""
        if self.job.paths.result_pickle.exists():
            return True
        if not self.job.done():
            return False
        self._ended = self._ended or time.monotonic()
        return time.monotonic() - self._ended >= patience_seconds

    @property
    def is_dead(self) -> bool:
        """Whether it ended without a result."""
        return not self.job.paths.result_pickle.exists()

    def death(self) -> str:
        """Which job died, and where its output is."""
        return f"job {self.job.job_id} died ({self.job.state}, see {self.job.paths.stderr})"

    def result(self) -> Update:
        """What came of it."""
        import submitit

        if self.is_dead:
            return failure(self.task, self.death())
        try:
            return update_of(self.job.result(), self.task)
        except submitit.core.utils.FailedJobError as error:
            # its last line is the exception, after the traceback of the other process
            return failure(self.task, str(error).strip().rpartition("\n")[2])

    def cancel(self) -> None:
        """Have it save its runs and end.

        submitit would send a local job SIGINT, print the traceback of that, and kill it a second
        later; SIGTERM it passes on, and waits.
        """
        if not self.is_local:
            self.job.cancel(check=False)
        elif not self.job.done():
            os.kill(int(self.job.job_id), signal.SIGTERM)


def _stop(sent: Sequence[_Job]) -> None:
    """Cancel all jobs and wait until those that run have saved their runs."""
    for job in sent:
        job.cancel()
    folders = [RunDir(path) for job in sent for path in job.task.folders]
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(run.status() == "RUNNING" for run in folders):
        time.sleep(POLL_SECONDS)


def build_executor(launcher: SlurmLauncher, folder: Path) -> Any:
    """submitit's executor with the options under its names.

    Args:
        folder: for what it writes; every node must see it.

    Raises:
        AssertionError, NameError, ValueError, RuntimeError: it does not take the options.
    """
    import submitit

    # -P: a file in the user's folder must not be imported in place of a module
    python = f"{shlex.quote(sys.executable)} -P"
    limits = {"max_num_timeout": launcher.requeues, "python": python}
    executor = submitit.AutoExecutor(
        folder / "%j",
        cluster=launcher.cluster,
        **{f"{cluster}_{name}": value for cluster in CLUSTERS for name, value in limits.items()},
    )
    executor.update_parameters(
        name="fashion-mnist",
        timeout_min=launcher.minutes,
        cpus_per_task=launcher.cpus,
        gpus_per_node=launcher.gpus,
        slurm_array_parallelism=launcher.array_parallelism,
        slurm_signal_delay_s=launcher.signal_seconds,
        mem_gb=launcher.memory,
        slurm_partition=launcher.partition,
        slurm_account=launcher.account,
        slurm_qos=launcher.qos,
        slurm_constraint=launcher.constraint,
        slurm_setup=list(launcher.setup) or None,
        slurm_additional_parameters=dict(launcher.additional) or None,
    )
    return executor


@dataclass
class StackJob:
    """The function of a job; submitit pickles it."""

    def __call__(self, task: Task, storage: Storage) -> RemoteResult:
        """Train a stack; on a signal the runs are saved first.

        Raises:
            SystemExit: stopped by a signal; there is no result.
        """
        import submitit

        # submitit's handler would requeue in the middle of a step, unsaved
        requeue_signal = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        requeue = signal.getsignal(requeue_signal)
        numbers = (requeue_signal, signal.SIGTERM, signal.SIGINT)
        with stop_on_signals(*numbers) as (observer, received):
            if hasattr(signal, "pthread_sigmask"):  # see `SlurmWorkers._submit`
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            result = train_remote_task(task, storage, observer)
        if result.results is None and not result.refusal and received:
            if received[0] == requeue_signal and callable(requeue):
                requeue(requeue_signal, None)  # which ends the process
            raise SystemExit(128 + received[0])
        return result

    def checkpoint(self, task: Task, storage: Storage) -> "DelayedSubmission":
        """The job after a requeue: the same, which goes on from the checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task, storage)
