"""How the runs of a sweep are laid out: in stacks, and these one after the other or in lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import psutil

from fashion_mnist.machine import physical_cores
from fashion_mnist.sweep.plan import Job, machine_for, stacks
from fashion_mnist.sweep.threads import gives_same_bits
from fashion_mnist.sweep.trial import Trial

DEFAULT_STACK_SIZE = 8  # of shapes that no trial has measured
LANE_BYTES = 2**30  # what a process needs before there is a stack in it: libraries and the data


@dataclass(frozen=True)
class Width:
    """How many stacks are trained at a time, and on how many threads each."""

    number: int = 1
    threads: int = 0  # 0: as a run's record says, with one lane


@dataclass(frozen=True)
class Layout:
    """Stacks in the order in which they are trained."""

    beside: Sequence[list[Job]]  # in lanes
    here: Sequence[list[Job]]  # one after the other, each on all the machine's threads


def choose_lanes(jobs: Sequence[Job], wanted: int | str) -> Width:
    """As many lanes as there are cores for runs that want training, and for which there is memory.

    Args:
        wanted: by the user, or auto.
    """
    groups = stacks(jobs)
    machines = [machine_for(group[0]) for group in groups.values()]
    if not machines or any(machine.device != "cpu" for machine in machines):
        return Width()
    cores, num_runs = physical_cores(), sum(map(len, groups.values()))
    room = psutil.virtual_memory().available // LANE_BYTES
    number = min(cores, room) if wanted == "auto" else int(wanted)
    number = max(1, min(number, num_runs))
    threads = max(1, cores // number)
    return Width(number, min(threads, *(machine.threads for machine in machines)))


def lay_out(
    jobs: Sequence[Job], *, trials: Mapping[str, Trial], largest: int | None, width: Width
) -> Layout:
    """Stacks of the jobs that are to be trained.

    In lanes go those that have the same bits with the threads of a lane, as a short trial tells.

    Args:
        trials: what was measured, by `plan.job_key`.
        largest: the most runs in a stack; None: as measured.
    """
    beside: list[list[Job]] = []
    here: list[list[Job]] = []
    groups = stacks(jobs)
    total = sum(map(len, groups.values()))
    for key, group in groups.items():
        size = largest or (trials[key].size if key in trials else DEFAULT_STACK_SIZE)
        if width.number > 1 and total > 1 and _fits(group[0], width.threads):
            # so many that no lane waits long for the last one
            beside += cut(group, size, fewest=-(-2 * width.number * len(group) // total))
        else:
            here += cut(group, size)
    return Layout(beside, here)


def cut(jobs: Sequence[Job], size: int, *, fewest: int = 1) -> list[list[Job]]:
    """Stacks of nearly equal size, none larger; at least `fewest` where there are so many jobs."""
    number = max(-(-len(jobs) // size), min(fewest, len(jobs)))
    edges = [len(jobs) * k // number for k in range(number + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(edges)]


def _fits(job: Job, threads: int) -> bool:
    return gives_same_bits(job.config, job.dataset, machine_for(job), threads)
