"""How the runs of a sweep are laid out: in stacks, and these one after the other or beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fashion_mnist.engines.engine import Engine, Width
from fashion_mnist.sweep.plan import Job, machine_for, stacks
from fashion_mnist.sweep.threads import gives_same_bits
from fashion_mnist.sweep.trial import Trial

DEFAULT_STACK_SIZE = 8  # of shapes that no trial has measured


@dataclass(frozen=True)
class Layout:
    """Stacks in the order in which they are trained."""

    beside: Sequence[list[Job]]  # by an engine's workers, on their share of the threads
    away: Sequence[list[Job]]  # by them too, on the threads of the record
    here: Sequence[list[Job]]  # one after the other, each on all the machine's threads


def choose_width(engine: Engine, jobs: Sequence[Job], wanted: int | str) -> Width:
    """How many stacks of the runs that want training an engine trains at a time.

    Args:
        wanted: by the user, or auto.
    """
    groups = stacks(jobs)
    machines = [machine_for(group[0]) for group in groups.values()]
    return engine.width(machines, sum(map(len, groups.values())), wanted)


def lay_out(
    jobs: Sequence[Job], *, trials: Mapping[str, Trial], largest: int | None, width: Width
) -> Layout:
    """Stacks of the jobs that are to be trained.

    Beside each other go those that have the same bits with the threads of a worker, as a short
    trial tells. Others need the machine for themselves, or another machine.

    Args:
        trials: what was measured, by `plan.job_key`.
        largest: the most runs in a stack; None: as measured.
    """
    beside, away, here = list[list[Job]](), list[list[Job]](), list[list[Job]]()
    groups = stacks(jobs)
    total = sum(map(len, groups.values()))
    is_wide = width.number > 1 and total > 1
    for key, group in groups.items():
        size = largest or (trials[key].size if key in trials else DEFAULT_STACK_SIZE)
        # so many that no worker waits long for the last one
        fewest = -(-2 * width.number * len(group) // total) if width.is_filled and is_wide else 1
        if width.is_here and not is_wide:
            here += cut(group, size)
        elif _fits(group[0], width):
            beside += cut(group, size, fewest=fewest)
        elif width.is_here:
            here += cut(group, size)
        else:
            away += cut(group, size, fewest=fewest)
    return Layout(beside, away, here)


def cut(jobs: Sequence[Job], size: int, *, fewest: int = 1) -> list[list[Job]]:
    """Stacks of nearly equal size, none larger; at least `fewest` where there are so many jobs."""
    number = max(-(-len(jobs) // size), min(fewest, len(jobs)))
    edges = [len(jobs) * k // number for k in range(number + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(edges)]


def _fits(job: Job, width: Width) -> bool:
    """Whether a worker's share of a machine computes what the run's record promises."""
    if width.devices or width.has_gpus:
        return True  # bits are promised of a CPU alone, and a share is a whole GPU
    return gives_same_bits(job.config, job.dataset, machine_for(job), width.threads)
