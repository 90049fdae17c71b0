"""Which runs a sweep's jobs are, which of them are there already, and how the rest are stacked."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.parse import size_problems
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.runs.records import run_name
from fashion_mnist.runs.request import (
    ENDED,
    Datasets,
    Request,
    find_run,
    identify,
    machine_of,
    resolve_machine_of,
)
from fashion_mnist.runs.run_dir import RunDir, RunError
from fashion_mnist.runs.stacks import stack_key
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.training.checkpoint import FormatError
from fashion_mnist.training.device import Machine

# Of one run, for what comes after its training: evaluation, pictures, its event log.
SECONDS_TO_FINISH = 0.3


@dataclass(frozen=True)
class Job:
    """One job of a sweep, and the run that it stands for."""

    number: int  # Hydra's, from 0
    request: Request
    dataset: Dataset
    identity: str  # its fingerprint
    folder: RunDir  # of the last attempt at it, or of the one to come
    values: Mapping[str, str] = field(default_factory=dict)  # of each axis, where it is known

    @property
    def config(self) -> Config:
        """What is trained."""
        return self.request.config

    def epoch(self) -> int:
        """After which its run will be gone on with; what is wrong shows when it is tried."""
        try:
            return self.folder.epoch()
        except FormatError:
            return 0

    @property
    def name(self) -> str:
        """What sets it apart from the others."""
        return self.request.name or run_name(self.config, self.request.overrides)


def make_jobs(
    requests: Sequence[Request], datasets: Datasets, *, first_number: int = 0
) -> list[Job]:
    """The jobs of these requests.

    Raises:
        ConfigError: with every size that does not fit the data.
        DataError: data is missing or damaged.
    """
    problems: dict[str, None] = {}
    jobs = []
    for number, request in enumerate(requests, first_number):
        dataset = datasets.of(request.config)
        sizes = len(dataset.train_labels), len(dataset.test_labels)
        problems |= dict.fromkeys(size_problems(request.config, *sizes))
        identity, folder = identify(request.config, dataset), find_run(request, dataset)
        jobs.append(Job(number, request, dataset, identity, folder))
    if problems:
        raise ConfigError(list(problems))
    return jobs


def different(jobs: Sequence[Job]) -> list[Job]:
    """One job of each run, the first."""
    return list({job.identity: job for job in reversed(jobs)}.values())[::-1]


def stacks(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """The jobs that are to be trained, by the key of those that can be trained together.

    Equal ones are in once; runs that ended before are left out, and so are those that this
    machine cannot go on with: what is wrong with them shows when they are tried.
    """
    groups: dict[str, list[Job]] = {}
    for job in different(jobs):
        if job.folder.status() not in ENDED:
            groups.setdefault(job_key(job), []).append(job)
    return groups


def job_key(job: Job) -> str:
    """What the jobs of one stack have in common."""
    return f"{stack_key(job.config, machine_for(job))} {job.epoch()}"


def machine_for(job: Job, *, threads: int | None = None) -> Machine:
    """What the job is trained on: as it was begun, else as this machine does it.

    Args:
        threads: what `training.threads: auto` means for a new run; None: all cores.
    """
    machine = resolve_machine_of(job.config, job.dataset, threads=threads)
    with suppress(RunError):  # which shows when it is tried
        machine = machine_of(job.folder, machine)
    return machine


def stack_seconds(jobs: Sequence[Job], cost: Benchmark | None) -> float:
    """How long runs that are trained together will take; NaN where that was not measured."""
    if cost is None:
        return math.nan
    epochs = jobs[0].config.training.epochs - jobs[0].epoch()
    return len(jobs) * (epochs * cost.seconds_per_epoch + SECONDS_TO_FINISH)
