"""Trains the jobs of a sweep as stacks, one stack after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from fashion_mnist.runs.request import RunResult
from fashion_mnist.runs.trainer import train
from fashion_mnist.runs.training import Observer
from fashion_mnist.stack import HistoryRow, Stack
from fashion_mnist.sweep.plan import Datasets, Job, cut, different, stacks
from fashion_mnist.sweep.progress import Progress
from fashion_mnist.sweep.trial import Trial

MOST_OPEN = 64  # runs that are only recorded: each holds two files open


def _go_on() -> None:
    pass


@dataclass
class Orders:
    """How the jobs of a sweep are to be trained."""

    datasets: Datasets = field(default_factory=Datasets)
    trials: Mapping[str, Trial] = field(default_factory=dict)  # by `plan.job_key`
    largest: int | None = None  # the most runs in a stack; None: as measured
    progress: Progress = field(default_factory=Progress)
    check_for_stop: Callable[[], None] = _go_on
    # a search's verdict: of a job's number, after an epoch with these figures
    gives_up: Callable[[int, int, HistoryRow], bool] | None = None


def train_jobs(jobs: Sequence[Job], orders: Orders) -> dict[str, RunResult]:
    """Train every run of these jobs that is not there yet; what became of each, by fingerprint.

    Raises:
        StopRequested: from `check_for_stop`; what was done by then is recorded.
    """
    results: dict[str, RunResult] = {}
    for key, group in stacks(jobs).items():
        for stack in cut(group, orders.trials.get(key), orders.largest):
            results |= _train_stack(stack, orders)
    known = [job for job in different(jobs) if job.identity not in results]
    for part in _parts(known):
        results |= _train(part, Observer(lambda _stack, _step: orders.check_for_stop(), _ignore))
    return results


def _train_stack(jobs: Sequence[Job], orders: Orders) -> dict[str, RunResult]:
    progress = orders.progress

    def on_step(stack: Stack, step: int) -> None:
        orders.check_for_stop()
        progress.on_step(stack, step)

    def gives_up(member: int, epoch: int, row: HistoryRow) -> bool:
        return orders.gives_up is not None and orders.gives_up(jobs[member].number, epoch, row)

    label = ", ".join(dict.fromkeys(job.name for job in jobs))
    progress.begin_stack(label, len(jobs), jobs[0].config.training.epochs)
    results = _train(jobs, Observer(on_step, progress.on_epoch, gives_up))
    for job in jobs:
        folder = results[job.identity].folder
        progress.finish_run(job.name, folder.status(), folder.figures().get("final/val_accuracy"))
    progress.end_stack()
    return results


def _train(jobs: Sequence[Job], observer: Observer) -> dict[str, RunResult]:
    results = train([job.request for job in jobs], jobs[0].dataset, observer)
    return {job.identity: result for job, result in zip(jobs, results, strict=True)}


def _parts(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs of one data set, not too many at a time."""
    ordered = sorted(jobs, key=lambda job: id(job.dataset))
    for _, group in groupby(ordered, key=lambda job: id(job.dataset)):
        same = list(group)
        for first in range(0, len(same), MOST_OPEN):
            yield same[first : first + MOST_OPEN]


def _ignore(_stack: Stack, _rows: list[HistoryRow]) -> None:
    pass
