"""How the runs of a sweep are laid out: in stacks, and these one after the other or beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fashion_mnist.launchers.base import Capacity, Launcher
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.sweeps.plan import Job, machine_for, stacks


@dataclass(frozen=True)
class Layout:
    """Stacks in the order in which they are trained."""

    beside: Sequence[list[Job]]  # by a launcher's workers, on their share of the threads
    here: Sequence[list[Job]]  # one after the other, each on all the machine's threads


def choose_capacity(launcher: Launcher, jobs: Sequence[Job], wanted: int | str) -> Capacity:
    """How many stacks of the runs that want training a launcher trains at a time.

    Args:
        wanted: by the user, or auto.
    """
    groups = stacks(jobs)
    machines = [machine_for(group[0], threads=1) for group in groups.values()]
    return launcher.capacity(machines, sum(map(len, groups.values())), wanted)


def lay_out(
    jobs: Sequence[Job],
    *,
    benchmarks: Mapping[str, Benchmark],
    largest: int | None,
    capacity: Capacity,
) -> Layout:
    """Stacks of the jobs that are to be trained.

    A run that was begun with more threads than a worker of this machine has goes on here.

    Args:
        benchmarks: what was measured, by `plan.job_key`.
        largest: the most runs in a stack; None: as benchmarked, or else 1.
    """
    beside, here = list[list[Job]](), list[list[Job]]()
    groups = stacks(jobs)
    total = sum(map(len, groups.values()))
    is_wide = capacity.number > 1 and total > 1
    for key, group in groups.items():
        size = largest or (benchmarks[key].size if key in benchmarks else 1)
        # so many that no worker waits long for the last one
        fewest = (
            -(-2 * capacity.number * len(group) // total) if capacity.is_filled and is_wide else 1
        )
        if capacity.is_here and not (is_wide and _fits(group[0], capacity)):
            here += cut(group, size)
        else:
            beside += cut(group, size, fewest=fewest)
    return Layout(beside, here)


def cut(jobs: Sequence[Job], size: int, *, fewest: int = 1) -> list[list[Job]]:
    """Stacks of nearly equal size, none larger; at least `fewest` where there are so many jobs."""
    number = max(-(-len(jobs) // size), min(fewest, len(jobs)))
    edges = [len(jobs) * k // number for k in range(number + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(edges)]


def _fits(job: Job, capacity: Capacity) -> bool:
    """Whether the job's threads are no more than those of a worker on this machine."""
    return bool(capacity.devices) or machine_for(job, threads=1).threads <= capacity.threads
