"""How the jobs of a sweep form stacks: which together, how many in each, and trained where."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise

import psutil
import torch

from fashion_mnist.launchers.base import Capacity
from fashion_mnist.models.network import num_parameters
from fashion_mnist.runs.stacks import build_architecture, split_data, stack_key
from fashion_mnist.sweeps.benchmark import Benchmark, benchmark
from fashion_mnist.sweeps.jobs import Job
from fashion_mnist.training.device import Machine, physical_cores

SECONDS_TO_FINISH = 0.3  # evaluation, pictures and event log of one run
MEMORY_SHARE = 0.5  # of what is free, for the stacks


@dataclass(frozen=True)
class JobStack:
    """Jobs that are trained together."""

    jobs: Sequence[Job]
    key: str  # the same where runs could be in one stack
    benchmark: Benchmark | None
    is_for_workers: bool  # of a launcher; else for this process

    @property
    def name(self) -> str:
        """The names of its jobs."""
        return ", ".join(job.name for job in self.jobs)

    @property
    def seconds(self) -> float:
        """That one worker is expected to take; NaN: not known."""
        if self.benchmark is None:
            return math.nan
        seconds = self.num_epochs * self.benchmark.seconds_per_epoch + SECONDS_TO_FINISH
        return len(self.jobs) * seconds

    @property
    def num_epochs(self) -> int:
        """That each of its runs has to go."""
        first = self.jobs[0]
        return first.config.training.epochs - first.epoch

    @property
    def work(self) -> int:
        """A measure of its length that is always known: parameters that are trained, by epochs."""
        first = self.jobs[0]
        architecture = build_architecture(first.config, first.dataset)
        return len(self.jobs) * self.num_epochs * num_parameters(architecture)


@dataclass(frozen=True)
class Grouping:
    """What decides the stacks of a sweep."""

    capacity: Capacity  # of the launcher
    max_stack_size: int | None = None  # the most runs in a stack; None: as many as suit the device
    memory: float | str = "auto"  # GiB that a stack may fill; auto: a share of what is free
    runs_at_a_time: int | None = None  # of a search; None: those that are grouped
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)  # by the stacks' keys

    def stacks(self, jobs: Sequence[Job], *, measures_all: bool = False) -> list[JobStack]:
        """The stacks of these jobs of different runs, those of one key one after the other.

        A run that was begun with more threads than a worker of this machine has goes on in this
        process. A run that this machine cannot go on with is in a stack too: what is wrong with it
        shows when it is tried.

        Args:
            measures_all: time a few steps of every shape, and not only of those whose stacks'
                size depends on it.
        """
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            # a new run has the threads of its worker, one that was begun keeps its own
            key = f"{stack_key(job.config, job.machine)} {job.epoch}"
            groups.setdefault(key, []).append(job)
        for key, group in groups.items():
            if key not in self.benchmarks and (measures_all or self._has_open_size(group)):
                self._measure(key, group)
        return [
            stack for key, group in groups.items() for stack in self._split(key, group, len(jobs))
        ]

    def _has_open_size(self, group: Sequence[Job]) -> bool:
        is_on_gpu = group[0].machine.device != "cpu"
        return is_on_gpu and self.max_stack_size is None and len(group) > 1

    def _measure(self, key: str, group: Sequence[Job]) -> None:
        """Time a few steps of a group's shape on this machine, which stands for others like it.

        What is trained on GPUs of other machines is not measured: they are not here.
        """
        capacity, first = self.capacity, group[0]
        if capacity.has_gpus:
            return
        machine = first.machine_with(capacity.threads)
        if self.memory == "auto":
            num_sharing = capacity.num_sharing
            if not capacity.is_here:
                num_sharing = max(1, physical_cores() // (capacity.threads or 1))
            bound = _free_memory(machine) / num_sharing
        else:
            bound = float(self.memory) * 2**30
        jobs = list(islice(cycle(group), self.runs_at_a_time or len(group)))
        self.benchmarks[key] = benchmark(
            [job.config for job in jobs],
            [split_data(job.config, job.dataset) for job in jobs],
            first.dataset,
            machine,
            largest=self.max_stack_size,
            memory_bytes=bound,
        )

    def _split(self, key: str, group: Sequence[Job], num_jobs: int) -> list[JobStack]:
        """The stacks of one key, of so many jobs in all."""
        capacity, cost = self.capacity, self.benchmarks.get(key)
        is_parallel = capacity.number > 1
        is_for_workers = not capacity.is_here or (is_parallel and self._fits(group[0]))
        min_stacks = 1
        if is_for_workers and capacity.is_filled and is_parallel:
            # so many that no worker waits long for the last one
            min_stacks = -(-2 * capacity.number * len(group) // num_jobs)
        size = cost.size if cost is not None else self.max_stack_size or 1
        return [
            JobStack(part, key, cost, is_for_workers)
            for part in split_evenly(group, size, min_stacks=min_stacks)
        ]

    def _fits(self, job: Job) -> bool:
        """Whether the job's threads are no more than those of a worker on this machine."""
        threads = self.capacity.threads
        return bool(self.capacity.devices) or threads is None or job.machine.threads <= threads


def longest_first(stacks: Sequence[JobStack]) -> list[JobStack]:
    """By the seconds that they are expected to take, or by their work where one's are not known."""
    are_known = not any(math.isnan(stack.seconds) for stack in stacks)
    return sorted(stacks, key=lambda stack: -(stack.seconds if are_known else stack.work))


def split_evenly(jobs: Sequence[Job], size: int, *, min_stacks: int = 1) -> list[list[Job]]:
    """Parts of nearly equal size, none larger; at least `min_stacks` if jobs suffice."""
    number = max(-(-len(jobs) // size), min(min_stacks, len(jobs)))
    edges = [len(jobs) * k // number for k in range(number + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(edges)]


def _free_memory(machine: Machine) -> float:
    """Bytes that stacks may fill."""
    if machine.device == "cuda":
        torch.cuda.empty_cache()  # torch keeps what earlier stacks had
        return MEMORY_SHARE * torch.cuda.mem_get_info()[0]
    return MEMORY_SHARE * psutil.virtual_memory().available
