"""Has the runs of a sweep trained: stacks on the workers of a launcher, and the rest here.

`train_stacks` trains, `record_settled` records runs of which nothing is to be trained.
"""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby

from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Capacity, Task, Workers
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import RequestResult, resolve_machine_of
from fashion_mnist.runs.run_state import RunState
from fashion_mnist.runs.trainer import is_recorded, train
from fashion_mnist.sweeps.grouping import JobStack, longest_first, split_evenly
from fashion_mnist.sweeps.jobs import Job, unique_runs
from fashion_mnist.sweeps.progress import Progress
from fashion_mnist.tracking.uploader_process import begin_uploading
from fashion_mnist.training.stack import HistoryRow, Stack

IN_PROCESS = -1  # the number of the stack that this process trains
MAX_OPEN = 64  # runs that are only recorded: each holds two files open
log = logging.getLogger("fashion_mnist")

# whether a search prunes a job's run, after an epoch with these metrics
ShouldPrune = Callable[[Job, int, HistoryRow], bool]
StackResults = dict[str, RequestResult]  # by fingerprint


@dataclass(frozen=True)
class TrainingSetup:
    """What jobs are trained with."""

    workers: Workers | None = None  # of a launcher; None: this process alone
    parent: str = ""  # the id of the sweep's event log, under which the runs are recorded
    progress: Progress = field(default_factory=Progress)
    check_for_stop: Callable[[], None] = lambda: None  # raises StopRequested

    @property
    def threads(self) -> int | None:
        """What `training.threads: auto` means for a new run, wherever it is trained; None: all."""
        return self.workers.capacity.threads if self.workers is not None else None


def train_stacks(
    stacks: Sequence[JobStack], setup: TrainingSetup, should_prune: ShouldPrune | None = None
) -> Generator[StackResults, None, None]:
    """Train every run of these stacks.

    Yields:
        What became of the runs of each stack, as soon as it is trained.

    Raises:
        StopRequested: from `check_for_stop`; what was done by then is recorded.
        DataError: a worker has other data, or another version of the program.
    """
    trained = set[str]()
    if setup.workers is not None:
        own = [stack for stack in stacks if stack.is_for_workers]
        for results in _train_on_workers(own, setup.workers, setup):
            trained |= results.keys()
            yield results
    for stack in stacks:
        if stack.jobs[0].fingerprint not in trained:  # also where its worker died
            yield _train_in_process(stack, setup, should_prune)


def _train_on_workers(
    stacks: Sequence[JobStack], workers: Workers, setup: TrainingSetup
) -> Iterator[StackResults]:
    """Have a launcher train stacks, the longest first; yields those that it could train."""
    ordered = longest_first(stacks)
    tasks = [
        _task(number, stack.jobs, workers.capacity, setup.parent)
        for number, stack in enumerate(ordered)
    ]
    num_workers = min(workers.capacity.number, max(1, len(tasks)))  # as the estimate has it
    begun, progress = set[int](), setup.progress
    with closing(workers.run(tasks)) as updates:
        for update in updates:
            if update is None or update.results is None:  # what is trained is taken in first
                setup.check_for_stop()
            if update is None:
                continue
            stack, number = ordered[update.number], update.number
            if number not in begun:
                begun.add(number)
                _begin(stack, number, progress, num_workers)
            if update.refusal:
                raise DataError(update.refusal)
            if update.is_lost:
                progress.drop_stack(number)
            elif update.results is None:
                progress.advance(number, update.epochs)
            else:
                yield _finish(stack.jobs, update.results, number, progress)


def _task(number: int, jobs: Sequence[Job], capacity: Capacity, parent: str) -> Task:
    """The stack as it is sent, with all that is decided here."""
    machine = None
    if not (capacity.is_here or capacity.has_gpus):
        # what the run is recorded with, where it is trained on the CPU of another machine
        config, training = jobs[0].config, jobs[0].config.training
        device = "cpu" if training.device == "auto" else training.device
        config = replace(config, training=replace(training, device=device))
        machine = resolve_machine_of(config, jobs[0].dataset, threads=capacity.threads)
    return Task(
        number,
        [job.request for job in jobs],
        folders=[job.run_dir.path for job in jobs],
        fingerprints=[job.fingerprint for job in jobs],
        data_sha256=jobs[0].dataset.sha256,
        parent=parent,
        machine=machine,
        threads=capacity.threads,
    )


def _train_in_process(
    own: JobStack, setup: TrainingSetup, should_prune: ShouldPrune | None
) -> StackResults:
    jobs, progress = own.jobs, setup.progress

    def on_step(stack: Stack, _step: int) -> None:
        progress.advance(IN_PROCESS, stack.num_steps / stack.loader.num_steps)

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        progress.advance(IN_PROCESS, stack.epoch)

    def prunes(member: int, epoch: int, row: HistoryRow) -> bool:
        return should_prune is not None and should_prune(jobs[member], epoch, row)

    _begin(own, IN_PROCESS, progress)
    results = _train(jobs, setup, Observer(setup.check_for_stop, on_step, on_epoch, prunes))
    return _finish(jobs, results, IN_PROCESS, progress)


def _train(jobs: Sequence[Job], setup: TrainingSetup, observer: Observer) -> list[RequestResult]:
    return train(
        [job.request for job in jobs],
        jobs[0].dataset,
        observer,
        parent=setup.parent,
        threads=setup.threads,
        folders=[job.run_dir for job in jobs],
        start_uploader=begin_uploading,
    )


def _begin(stack: JobStack, number: int, progress: Progress, num_workers: int = 1) -> None:
    first, seconds = stack.jobs[0], stack.seconds
    progress.begin_stack(
        number,
        stack.name,
        len(stack.jobs),
        first.config.training.epochs,
        first_epoch=first.epoch,
        seconds=None if math.isnan(seconds) else seconds / num_workers,
    )


def _finish(
    jobs: Sequence[Job], results: Sequence[RequestResult], number: int, progress: Progress
) -> StackResults:
    for job, result in zip(jobs, results, strict=True):
        state = result.folder.state()
        progress.finish_run(job.name, state.status, state.metrics())
        _log_error(job, result, state.status)
    progress.end_stack(number)
    return {job.fingerprint: result for job, result in zip(jobs, results, strict=True)}


def _log_error(job: Job, result: RequestResult, status: str) -> None:
    """Say why a run has no result; the final report tells of one that failed."""
    if result.error is not None and status != "FAILED":
        log.error("%s: %s", job.name, result.error)


def record_settled(
    jobs: Sequence[Job], setup: TrainingSetup
) -> Iterator[tuple[Job, RunState, Exception | None]]:
    """Record runs that have ended under this sweep, with what is asked for and was not done.

    Yields:
        Each run's first job, what its event log says then (it is read once), and why it could not
        be recorded.
    """
    unrecorded = []
    for job in unique_runs(jobs):
        if not job.is_settled:
            continue
        setup.check_for_stop()
        state = job.run_dir.state()
        # what its search pruned stays as it was recorded there
        is_pruned = job.attempts.kind == "pruned"
        if is_pruned or is_recorded(job.request, job.run_dir, state, setup.parent):
            yield job, state, None
        else:
            unrecorded.append(job)
    unrecorded.sort(key=lambda job: id(job.dataset))
    for _, group in groupby(unrecorded, key=lambda job: id(job.dataset)):
        same = list(group)
        for part in split_evenly(same, MAX_OPEN):
            setup.check_for_stop()
            results = _train(part, setup, Observer(setup.check_for_stop))
            for job, result in zip(part, results, strict=True):
                state = job.run_dir.state()
                _log_error(job, result, state.status)
                yield job, state, result.error
