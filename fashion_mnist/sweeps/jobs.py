"""The jobs of a sweep: which run each is, and how those that are to be trained form stacks."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

from fashion_mnist.config.messages import ConfigError
from fashion_mnist.config.parse import size_problems
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.launchers.base import Capacity
from fashion_mnist.runs.records import run_name
from fashion_mnist.runs.request import (
    ENDED,
    Attempts,
    Datasets,
    Request,
    find_attempts,
    identify,
    machine_of,
    resolve_machine_of,
)
from fashion_mnist.runs.run_dir import RunDir, RunError
from fashion_mnist.runs.stacks import stack_key
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.training.checkpoint import FormatError
from fashion_mnist.training.device import Machine

SECONDS_TO_FINISH = 0.3  # evaluation, pictures and event log of one run


@dataclass(frozen=True)
class Job:
    """One job of a sweep, and the run that it stands for."""

    number: int  # Hydra's, from 0
    request: Request
    dataset: Dataset
    fingerprint: str
    attempts: Attempts  # when the job was made
    values: Mapping[str, str] = field(default_factory=dict)  # of each axis, where it is known

    @property
    def config(self) -> Config:
        """What is trained."""
        return self.request.config

    @property
    def run_dir(self) -> RunDir:
        """Of the attempt that is shown, gone on with or to be begun."""
        return self.attempts.run_dir

    @property
    def name(self) -> str:
        """What distinguishes it from the others."""
        return self.request.name or run_name(self.config, self.request.overrides)

    def epoch(self) -> int:
        """The epoch after which its run is resumed; an unreadable state shows when it is tried."""
        try:
            return self.run_dir.epoch()
        except FormatError:
            return 0

    @property
    def has_ended(self) -> bool:
        """Whether the run finished or failed before, and is not to be trained again."""
        return self.attempts.last_status in ENDED and self.attempts.last == self.run_dir


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
        fingerprint = identify(request.config, dataset)
        attempts = find_attempts(request, fingerprint)
        jobs.append(Job(number, request, dataset, fingerprint, attempts))
    if problems:
        raise ConfigError(list(problems))
    return jobs


def unique_runs(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each run."""
    found = dict[str, Job]()
    for job in jobs:
        found.setdefault(job.fingerprint, job)
    return list(found.values())


def runs_to_train(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each run that did not end before."""
    return [job for job in unique_runs(jobs) if not job.has_ended]


def group_by_key(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Jobs of different runs, by what those of one stack have in common.

    A run that this machine cannot go on with is kept: what is wrong with it shows when it is tried.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        # a new run has the threads of its worker, one that was begun keeps its own
        key = f"{stack_key(job.config, machine_for(job, threads=1))} {job.epoch()}"
        groups.setdefault(key, []).append(job)
    return groups


def machine_for(job: Job, *, threads: int | None = None) -> Machine:
    """What the job is trained on: as it was begun, else as this machine does it.

    Args:
        threads: what `training.threads: auto` means for a new run; None: all cores.
    """
    machine = resolve_machine_of(job.config, job.dataset, threads=threads)
    with suppress(RunError):  # which shows when it is tried
        machine = machine_of(job.run_dir, machine)
    return machine


@dataclass(frozen=True)
class JobStack:
    """Jobs that are trained together."""

    jobs: Sequence[Job]
    key: str
    seconds: float  # that one worker is expected to take; NaN: not known
    is_for_workers: bool  # of a launcher; else for this process, on all threads of the machine

    @property
    def name(self) -> str:
        """The names of its jobs."""
        return ", ".join(job.name for job in self.jobs)

    @property
    def rank(self) -> float:
        """Its place among the stacks: the longest first; if that is not known, the largest."""
        return sum(self.jobs[0].config.model.sizes()) if math.isnan(self.seconds) else self.seconds


def split_groups(
    groups: Mapping[str, Sequence[Job]],
    *,
    benchmarks: Mapping[str, Benchmark],
    max_stack_size: int | None,
    capacity: Capacity,
) -> list[JobStack]:
    """The stacks of these groups, those of one key one after the other.

    A run that was begun with more threads than a worker of this machine has goes on in this
    process.

    Args:
        benchmarks: by the keys of the groups, as far as they were measured.
        max_stack_size: the most runs in a stack; None: as benchmarked, or else 1.
        capacity: of the launcher.
    """
    stacks = list[JobStack]()
    total = sum(map(len, groups.values()))
    is_parallel = capacity.number > 1 and total > 1
    for key, group in groups.items():
        cost, first = benchmarks.get(key), group[0]
        seconds = math.nan
        if cost is not None:
            epochs = first.config.training.epochs - first.epoch()
            seconds = epochs * cost.seconds_per_epoch + SECONDS_TO_FINISH
        is_for_workers = not capacity.is_here or (is_parallel and _fits(first, capacity))
        fewest = 1
        if is_for_workers and capacity.is_filled and is_parallel:
            # so many that no worker waits long for the last one
            fewest = -(-2 * capacity.number * len(group) // total)
        size = max_stack_size or (cost.size if cost is not None else 1)
        stacks += [
            JobStack(part, key, len(part) * seconds, is_for_workers)
            for part in split_evenly(group, size, fewest=fewest)
        ]
    return stacks


def split_evenly(jobs: Sequence[Job], size: int, *, fewest: int = 1) -> list[list[Job]]:
    """Parts of nearly equal size, none larger; at least `fewest` where there are so many jobs."""
    number = max(-(-len(jobs) // size), min(fewest, len(jobs)))
    edges = [len(jobs) * k // number for k in range(number + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(edges)]


def _fits(job: Job, capacity: Capacity) -> bool:
    """Whether the job's threads are no more than those of a worker on this machine."""
    return bool(capacity.devices) or machine_for(job, threads=1).threads <= capacity.threads
