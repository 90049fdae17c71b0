"""Trains the jobs of a sweep as stacks, several at a time.

Where they are trained is the launcher's business; everything else happens here, for all of them.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Capacity, Launcher, Listener, Task, Update, Workers
from fashion_mnist.launchers.local import LocalLauncher
from fashion_mnist.runs.request import Datasets, RunResult, resolve_machine_of
from fashion_mnist.runs.trainer import train
from fashion_mnist.runs.training import Observer
from fashion_mnist.sweeps.arrangement import lay_out
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.sweeps.plan import Job, different, job_key, stack_seconds
from fashion_mnist.sweeps.progress import Progress
from fashion_mnist.tracking.upload_state import begin_uploading
from fashion_mnist.training.device import Machine
from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")

HERE = -1  # the number of the stack that this process trains
MOST_OPEN = 64  # runs that are only recorded: each holds two files open


def _go_on() -> None:
    pass


@dataclass
class Orders:
    """How the jobs of a sweep are to be trained."""

    launcher: Launcher = field(default_factory=LocalLauncher)
    datasets: Datasets = field(default_factory=Datasets)
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)  # by `plan.job_key`
    largest: int | None = None  # the most runs in a stack; None: as measured
    workers: Workers | None = None  # of the launcher; None: this process alone
    progress: Progress = field(default_factory=Progress)
    score: str = "final/val_accuracy"  # the figure by which `progress` knows the best
    check_for_stop: Callable[[], None] = _go_on
    # a search's verdict: of a job's number, after an epoch with these figures
    gives_up: Callable[[int, int, HistoryRow], bool] | None = None


def train_jobs(jobs: Sequence[Job], orders: Orders) -> dict[str, RunResult]:
    """Train every run of these jobs that is not there yet; what became of each, by fingerprint.

    Raises:
        StopRequested: from `check_for_stop`; what was done by then is recorded.
    """
    results: dict[str, RunResult] = {}
    # what a search gives up, it gives up in this process
    workers = orders.workers if orders.gives_up is None else None
    layout = lay_out(
        jobs,
        benchmarks=orders.benchmarks,
        largest=orders.largest,
        capacity=workers.capacity if workers else Capacity(),
    )
    here = list(layout.here)
    if workers is not None:
        here += _train_beside(layout.beside, orders, workers, results)
    for stack in here:
        results |= _train_here(stack, orders)
    known = [job for job in different(jobs) if job.identity not in results]
    for part in _parts(known):
        orders.check_for_stop()
        own = _train(part, Observer(lambda _stack, _step: orders.check_for_stop(), _ignore))
        for job in part:
            _tell_of_error(job, own[job.identity])
        results |= own
    return results


def _train_beside(
    beside: Sequence[list[Job]],
    orders: Orders,
    workers: Workers,
    results: dict[str, RunResult],
) -> list[list[Job]]:
    """Have a launcher train stacks, the longest first; those that it could not train come back."""
    ordered = sorted(beside, key=lambda stack: -_seconds(stack, orders))
    tasks = [_task(number, stack, workers.capacity) for number, stack in enumerate(ordered)]
    num_workers = min(workers.capacity.number, max(1, len(tasks)))  # as the estimate has it
    refusals: list[str] = []

    def on_update(update: Update) -> None:
        if update.is_lost:
            orders.progress.drop_stack(update.number)
        elif update.refusal:
            refusals.append(update.refusal)
        elif update.results is None:
            orders.progress.advance(update.number, update.epochs)
        else:
            _finish(ordered[update.number], update.results, update.number, orders, results)

    def check_for_stop() -> None:
        if refusals:
            raise DataError(refusals[0])
        orders.check_for_stop()

    def on_begin(task: Task) -> None:
        _begin(ordered[task.number], task.number, orders, num_workers)

    undone = workers.run(tasks, Listener(on_begin, on_update, check_for_stop))
    return [ordered[task.number] for task in undone]


def _task(number: int, jobs: Sequence[Job], capacity: Capacity) -> Task:
    """The stack as it is sent, with all that was decided here."""
    return Task(
        number,
        [job.request for job in jobs],
        folders=[job.folder.path for job in jobs],
        fingerprints=[job.identity for job in jobs],
        data_sha256=jobs[0].dataset.sha256,
        machine=None
        if capacity.is_here or capacity.has_gpus
        else _machine_without_gpu(jobs[0], capacity.threads),
        threads=capacity.threads or None,
    )


def _machine_without_gpu(job: Job, threads: int) -> Machine:
    """What the run is recorded with where it is trained on the CPU of another machine."""
    training = job.config.training
    device = "cpu" if training.device == "auto" else training.device
    config = replace(job.config, training=replace(training, device=device))
    return resolve_machine_of(config, job.dataset, threads=threads or None)


def _seconds(stack: Sequence[Job], orders: Orders) -> float:
    """What a stack was estimated to take; where nothing was measured, larger networks longer."""
    seconds = stack_seconds(stack, orders.benchmarks.get(job_key(stack[0])))
    return sum(stack[0].config.model.sizes()) if math.isnan(seconds) else seconds


def _train_here(jobs: Sequence[Job], orders: Orders) -> dict[str, RunResult]:
    def on_step(stack: Stack, _step: int) -> None:
        orders.check_for_stop()
        orders.progress.advance(HERE, stack.num_steps / stack.loader.num_steps)

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        orders.progress.advance(HERE, stack.epoch)

    def gives_up(member: int, epoch: int, row: HistoryRow) -> bool:
        return orders.gives_up is not None and orders.gives_up(jobs[member].number, epoch, row)

    _begin(jobs, HERE, orders)
    observer = Observer(on_step, on_epoch, gives_up, orders.check_for_stop)
    results = _train(jobs, observer)
    _finish(jobs, list(results.values()), HERE, orders, {})
    return results


def _begin(jobs: Sequence[Job], number: int, orders: Orders, num_workers: int = 1) -> None:
    label = ", ".join(job.name for job in jobs)
    seconds = stack_seconds(jobs, orders.benchmarks.get(job_key(jobs[0])))
    orders.progress.begin_stack(
        number,
        label,
        len(jobs),
        jobs[0].config.training.epochs,
        first_epoch=jobs[0].epoch(),
        seconds=None if math.isnan(seconds) else seconds / num_workers,
    )


def _finish(
    jobs: Sequence[Job],
    own: Sequence[RunResult],
    number: int,
    orders: Orders,
    results: dict[str, RunResult],
) -> None:
    for job, result in zip(jobs, own, strict=True):
        results[job.identity] = result
        score = result.folder.metrics().get(orders.score)
        orders.progress.finish_run(job.name, result.folder.status(), score)
        _tell_of_error(job, result)
    orders.progress.end_stack(number)


def _tell_of_error(job: Job, result: RunResult) -> None:
    """Say why a run has no result; of one that failed for good, the sweep's end tells."""
    if result.error is not None and result.folder.status() != "FAILED":
        log.error("%s: %s", job.name, result.error)


def _train(jobs: Sequence[Job], observer: Observer) -> dict[str, RunResult]:
    requests = [job.request for job in jobs]
    results = train(requests, jobs[0].dataset, observer, start_uploader=begin_uploading)
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
