"""The engine of `hydra/launcher=stacked_submitit`: stacks are jobs of Slurm, by way of submitit.

A stack is one job of an array. Slurm queues and places it. Where it runs out of time or must make
way for another, submitit puts it back into the queue, and its runs go on from their checkpoints.
submitit also has processes of this machine, with no queue: then stacks are sent one by one.
Only `slurm_job` and what is within functions here import submitit.
"""

import importlib.util
import logging
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fashion_mnist.console import first_line_of
from fashion_mnist.engines.engine import Listener, News, Task, Width, failure
from fashion_mnist.engines.errand import Home, at_home, deliver, errand_of
from fashion_mnist.runs.event_log import log_size
from fashion_mnist.runs.run_dir import RunDir, RunError
from fashion_mnist.training.device import Machine, physical_cores

log = logging.getLogger("fashion_mnist")

POLL_SECONDS = 0.5  # between two looks at the jobs' results and event logs
GOODBYE_SECONDS = 30  # for jobs that save their runs, as Slurm gives them
SECONDS_BETWEEN_QUESTIONS = 30  # to Slurm, whose accounting others ask too
MOST_IN_ARRAY = 1000  # what Slurm takes unless it is told otherwise
CLUSTERS = ("slurm", "local")


@dataclass(frozen=True)
class Slurm:
    """Trains stacks as jobs; `cluster` local: as processes of this machine."""

    cluster: str
    cpus: int  # of a job
    gpus: int
    minutes: int
    array_parallelism: int  # jobs at a time
    retries: int  # of a job whose process died
    requeues: int  # of a job that ran out of time
    signal_seconds: int  # before the end in which it saves its runs
    options: Mapping[str, Any]  # of Slurm's, under submitit's names; None: not said

    is_here = False

    def problems(self) -> list[str]:
        """What is wrong with the options, or not installed."""
        if importlib.util.find_spec("submitit") is None:
            return [
                "hydra/launcher=stacked_submitit needs the package submitit: "
                "pip install '.[submitit]'"
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

    def width(self, machines: Sequence[Machine], num_runs: int, wanted: int | str) -> Width:
        """As many as may run; with Slurm stacks stay large, for each job has a start to pay for."""
        is_local = self.cluster == "local"
        rooms = max(1, physical_cores() // self.cpus)
        return Width(
            min(self.array_parallelism, rooms) if is_local else self.array_parallelism,
            self.cpus,
            is_here=False,
            is_filled=is_local,
            has_gpus=self.gpus > 0,
        )

    @property
    def patience_seconds(self) -> float:
        """How long a result may take to be seen from another machine."""
        return 15 if self.cluster == "slurm" else 0

    @contextmanager
    def open(self, width: Width, folder: Path) -> Iterator["SlurmWorkers"]:
        """Workers; what they write is below the folder, which every node must see."""
        with at_home(folder) as home:
            logging.getLogger("submitit").setLevel(logging.ERROR)  # it says all twice
            workers = SlurmWorkers(width, self, home, folder / "jobs")
            yield workers
        if not workers.deaths:  # else somebody wants to read why
            shutil.rmtree(workers.folder, ignore_errors=True)


@dataclass
class SlurmWorkers:
    """Jobs of one sweep; what submitit writes for them is below a folder."""

    width: Width
    _slurm: Slurm
    _home: Home
    folder: Path
    deaths: list[int] = field(default_factory=list)  # the number of each job's stack
    _next_question: float = 0.0

    def run(self, tasks: Sequence[Task], listener: Listener) -> list[Task]:
        """See `engine.Workers`. None comes back: what cannot be trained has its error."""
        waiting, sent = deque(tasks), list[_Job]()
        try:
            while waiting or sent:
                while batch := self._next(waiting, len(sent)):
                    sent += self._submit(batch)
                time.sleep(POLL_SECONDS)
                self._ask_slurm(sent)
                for job in sent:
                    job.look(listener)
                for job in [job for job in sent if job.has_ended(self._slurm.patience_seconds)]:
                    sent.remove(job)
                    if self._is_to_be_sent_again(job):
                        waiting.append(job.task)
                    else:
                        job.end(listener)
                listener.check_for_stop()
        except Exception:
            _stop(sent)
            raise
        return []

    def _is_to_be_sent_again(self, job: "_Job") -> bool:
        """Whether it died, and has not done so too often."""
        if not job.is_dead:
            return False
        self.deaths.append(job.task.number)
        is_enough = self.deaths.count(job.task.number) > self._slurm.retries
        if not is_enough:
            log.warning("%s: its runs go on in another", job.death())
        return not is_enough

    def _next(self, waiting: deque[Task], num_sent: int) -> list[Task]:
        """What is sent now: Slurm has a queue of its own."""
        is_queued = self._slurm.cluster == "slurm"
        room = MOST_IN_ARRAY if is_queued else self.width.number - num_sent
        return [waiting.popleft() for _ in range(min(room, len(waiting)))]

    def _submit(self, tasks: Sequence[Task]) -> list["_Job"]:
        from fashion_mnist.engines.slurm_job import StackJob, build_executor

        try:
            executor = build_executor(self._slurm, self.folder)
            with executor.batch():
                jobs = [executor.submit(StackJob(), errand_of(t, self._home)) for t in tasks]
        # what submitit raises for options that Slurm has not, and what sbatch says
        except (AssertionError, NameError, ValueError, RuntimeError) as error:
            raise RunError(f"Slurm takes no jobs: {first_line_of(error)}") from error
        return [_Job(job, task) for job, task in zip(jobs, tasks, strict=True)]

    def _ask_slurm(self, sent: Sequence["_Job"]) -> None:
        """Now and then: results are files, but of a death only Slurm tells."""
        if sent and self._slurm.cluster == "slurm" and time.monotonic() > self._next_question:
            self._next_question = time.monotonic() + SECONDS_BETWEEN_QUESTIONS
            sent[0].job.watcher.update()


@dataclass
class _Job:
    """A stack with submitit's handle of the job that it is."""

    job: Any
    task: Task
    _size: int = field(init=False)  # of the first run's event log, when it was read last
    _is_begun: bool = False
    _missed: float | None = None  # since when it has ended without a result

    def __post_init__(self) -> None:
        self._size = log_size(self.task.folders[0])

    def look(self, listener: Listener) -> None:
        """Tell what its event log says that is new."""
        size = log_size(self.task.folders[0])
        if size == self._size:
            return
        self._size = size
        self._begin(listener)
        rows = RunDir(self.task.folders[0]).history()
        listener.on_news(News(self.task.number, epochs=rows[-1]["epoch"] if rows else 0.0))

    def has_ended(self, patience_seconds: float) -> bool:
        """Whether it has a result, or will have none."""
        if self.job.paths.result_pickle.exists():
            return True
        if not self.job.done():
            return False
        self._missed = self._missed or time.monotonic()
        return time.monotonic() - self._missed >= patience_seconds

    @property
    def is_dead(self) -> bool:
        """Whether it ended without a result."""
        return not self.job.paths.result_pickle.exists()

    def death(self) -> str:
        """What is known of it, in words."""
        return f"job {self.job.job_id} died ({self.job.state}, see {self.job.paths.stderr})"

    def end(self, listener: Listener) -> None:
        """Tell what came of it."""
        import submitit

        news = failure(self.task, self.death()) if self.is_dead else None
        if news is None:
            try:
                news = deliver(self.job.result(), self.task)
            except submitit.core.utils.FailedJobError as error:
                # its last line is the exception's; before it stands the other process's traceback
                news = failure(self.task, str(error).strip().rpartition("\n")[2])
        self._begin(listener)
        listener.on_news(news)

    def _begin(self, listener: Listener) -> None:
        if not self._is_begun:
            self._is_begun = True
            listener.on_begin(self.task)


def _stop(sent: Sequence[_Job]) -> None:
    """Have what is trained saved, and what waits forgotten."""
    for job in sent:
        job.job.cancel(check=False)
    folders = [RunDir(path) for job in sent for path in job.task.folders]
    deadline = time.monotonic() + GOODBYE_SECONDS
    while time.monotonic() < deadline and any(run.status() == "RUNNING" for run in folders):
        time.sleep(POLL_SECONDS)
