"""Runs a sweep: plan, training, the winner's test, summary. Read from top to bottom.

`run_sweep` plans the jobs, and has batch after batch of them trained: a grid is one batch, a
search asks Optuna for each. `train_jobs` groups the jobs of a batch into stacks and gives these to
the workers of a launcher. What came of the runs is read from their directories.
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from fashion_mnist.analysis import leaderboard
from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Capacity, Launcher, Task, Workers
from fashion_mnist.launchers.local import LocalLauncher
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.request import ENDED, Datasets, RequestResult, resolve_machine_of
from fashion_mnist.runs.results import PRUNED_TAG
from fashion_mnist.runs.run_dir import RunError
from fashion_mnist.runs.run_state import RunState
from fashion_mnist.runs.signals import StopRequested, StopRequests, stop_requests
from fashion_mnist.runs.trainer import is_recorded, train
from fashion_mnist.sweeps.benchmark import Benchmark
from fashion_mnist.sweeps.definition import EPOCH_METRICS, Sweep
from fashion_mnist.sweeps.jobs import (
    Job,
    JobStack,
    group_by_key,
    runs_to_train,
    split_groups,
    unique_runs,
)
from fashion_mnist.sweeps.parent import open_parent, view_key
from fashion_mnist.sweeps.plan import (
    Plan,
    compose_jobs,
    estimate_error,
    full_text,
    layers_text,
    plan_sweep,
    short_text,
)
from fashion_mnist.sweeps.progress import Progress, show
from fashion_mnist.sweeps.summary import (
    Results,
    SweepResult,
    final_report,
    mean_objectives,
    read_result,
    read_results,
    result_of,
    write_results,
)
from fashion_mnist.tracking.checks import demand_store
from fashion_mnist.tracking.links import pages, run_link, short_path
from fashion_mnist.tracking.saved_views import sweep_link
from fashion_mnist.tracking.upload_state import Outcome, Upload
from fashion_mnist.tracking.uploader_process import begin_uploading, wait_until_uploaded
from fashion_mnist.training.stack import HistoryRow, Stack

if TYPE_CHECKING:  # Optuna takes its time, and a grid does without it
    from fashion_mnist.sweeps.search import Trial

UPLOAD_SECONDS, UPLOAD_SECONDS_PER_RUN = 60, 0.5  # that the store may take, at most
IN_PROCESS = -1  # the number of the stack that this process trains
MAX_OPEN = 64  # runs that are only recorded: each holds two files open
log = logging.getLogger("fashion_mnist")

# whether a search prunes the job of this number, after an epoch with these metrics
ShouldPrune = Callable[[int, int, HistoryRow], bool]


class HydraJobs(Protocol):
    """What Hydra does with the jobs of a sweep."""

    @property
    def own_launcher(self) -> Launcher | None:
        """The launcher that was chosen; None: one of Hydra's own."""

    def begin(self, sweep: Sweep, parent: str) -> None:
        """Make Hydra's folder of the sweep; called once, before the first job.

        Args:
            parent: the id of the sweep's event log, under which its jobs are recorded.
        """

    def launch(self, jobs: Sequence[Job]) -> None:
        """Have Hydra's own launcher train jobs."""

    def report(self, jobs: Sequence[Job], results: Mapping[str, RequestResult]) -> None:
        """Make Hydra's folders of jobs that were trained.

        Args:
            results: by the jobs' fingerprints.
        """


def run_sweep(sweep: Sweep, hydra: HydraJobs, *, dry_run: bool) -> int:
    """Do what the command line sweeps over; the exit status.

    Args:
        sweep: read from the command line, and checked.
        dry_run: check everything, say what would be done, and do nothing.

    Raises:
        ConfigError: with every mistake of every job, before anything is written.
        DataError: data is missing or damaged.
        RunError: another process trains this sweep, or the store must answer and does not.
    """
    datasets = Datasets()
    plan = plan_sweep(sweep, hydra.own_launcher, datasets)
    log.info(full_text(plan.preflight) if dry_run else short_text(plan.preflight))
    for note in sweep.composer.notes():
        log.info(note)
    if dry_run:
        if len(plan.jobs) == 1:
            log.info("\n%s", layers_text(plan.jobs[0]))
        return 0
    demand_store(plan.config.tracking.uri, plan.config.tracking.offline)
    with stop_requests() as stop:
        with open_parent(
            plan.folder,
            plan.config,
            name=sweep.name,
            axes=sweep.words(),
            num_repetitions=len(sweep.space.replicates()),
            objective=sweep.score,
        ) as parent:
            log.info("sweep %s in %s", sweep.name, short_path(plan.folder))
            hydra.begin(sweep, parent.id)
            began = time.monotonic()
            trained = _train_all(sweep, plan, hydra, datasets, parent.id, stop)
            seconds = time.monotonic() - began
            if trained.is_stopped:
                log.error("stopped by %s; the same command goes on", stop.request or "SIGINT")
            try:
                result = _publish(sweep, trained, parent, stop)
            except (RunError, OSError):
                if trained.error is None:  # else that is the cause, and is told
                    raise
            else:
                log.info(final_report(result))
            if trained.error is not None:
                raise trained.error
        if not trained.is_stopped and plan.preflight.seconds:
            log.info(estimate_error(plan.preflight.seconds, seconds))
        log.info("\n".join(_links(plan, result, stop)))
    if stop.request and not result.is_stopped:
        log.info("stopped by %s: the sweep is finished", stop.request)
    if result.is_stopped or stop.request:
        return stop.request.exit_status if stop.request else 130
    return 1 if result.failures else 0


def _publish(sweep: Sweep, trained: "Trained", parent: EventLog, stop: StopRequests) -> SweepResult:
    """Read what came of the jobs, have the winner tested if all are done, write the summary.

    Raises:
        RunError, OSError: something cannot be read or written.
    """
    is_cut_short = trained.is_stopped or trained.error is not None
    result = read_results(sweep, trained.jobs, trained.results, is_stopped=is_cut_short)
    if not is_cut_short and result.winners:
        is_stopped = _record_winners(result.winners, parent.id, stop)
        again = {job.fingerprint for job in result.winners}
        others = {
            job.number: own
            for job, own in zip(result.jobs, result.results, strict=True)
            if job.fingerprint not in again
        }
        result = read_results(sweep, trained.jobs, others, is_stopped=is_stopped)
    write_results(parent, result)
    return result


@dataclass(frozen=True)
class Batch:
    """Jobs that are trained together, and what a search says of them."""

    jobs: Sequence[Job]  # that become part of the sweep
    to_run: Sequence[Job]  # of these; the rest was settled by an earlier command
    should_prune: ShouldPrune | None = None


@dataclass(frozen=True)
class Trained:
    """The jobs of a sweep after training."""

    jobs: Sequence[Job]
    results: Results  # of those that had ended before
    is_stopped: bool = False  # by a signal
    error: Exception | None = None  # that ended training


@dataclass(frozen=True)
class TrainingSetup:
    """What jobs are trained with."""

    workers: Workers | None = None  # of a launcher; None: this process alone
    benchmarks: Mapping[str, Benchmark] = field(default_factory=dict)  # by the key of a group
    max_stack_size: int | None = None  # the most runs in a stack; None: as benchmarked
    progress: Progress = field(default_factory=Progress)
    check_for_stop: Callable[[], None] = lambda: None  # raises StopRequested


def _train_all(
    sweep: Sweep,
    plan: Plan,
    hydra: HydraJobs,
    datasets: Datasets,
    parent: str,
    stop: StopRequests,
) -> Trained:
    """Train the jobs of a grid, or those that a search asks for."""
    jobs, results = list[Job](), dict[int, leaderboard.RunResult]()
    preflight = plan.preflight
    progress = Progress(
        None if sweep.is_search else sum(each.num_stacks for each in preflight.stacks),
        preflight.num_to_train,
        preflight.seconds or None,
        num_workers=preflight.num_workers,
        score=sweep.score,
    )
    batches = (
        _search_batches(sweep, plan, datasets, parent, progress)
        if sweep.is_search
        else _grid_batch(plan, parent)
    )
    launcher = hydra.own_launcher
    try:
        with (
            (launcher or LocalLauncher()).open(plan.capacity, plan.folder) as workers,
            stop.interrupting(launcher is None),  # Hydra's own launchers never ask
            # of what Hydra's own train there is nothing to show
            show(progress) if launcher else nullcontext(),
        ):
            setup = TrainingSetup(
                workers, plan.benchmarks, plan.max_stack_size, progress, stop.check
            )
            for batch in batches:
                jobs += batch.jobs
                # to record these here takes a tenth of the time that Hydra takes to compose a job
                ended = [job for job in batch.jobs if job.has_ended]
                for job, state in _record_further(ended, stop.check):
                    results[job.number] = result = result_of(sweep, job, state)
                    progress.compare(job.name, result.status, result.metrics)
                new = [job for job in batch.to_run if not job.has_ended]
                if new and launcher is None:
                    hydra.launch(unique_runs(new))
                elif new:
                    hydra.report(new, train_jobs(new, setup, batch.should_prune))
    except (StopRequested, KeyboardInterrupt):
        return Trained(jobs, results, is_stopped=True)
    except Exception as error:  # raised again, once what has finished is published
        return Trained(jobs, results, error=error)
    return Trained(jobs, results)


def _grid_batch(plan: Plan, parent: str) -> Generator[Batch, None, None]:
    """All jobs at once; the parent was not yet known when they were made."""
    jobs = [replace(job, request=replace(job.request, parent=parent)) for job in plan.jobs]
    yield Batch(jobs, jobs)


def _search_batches(
    sweep: Sweep, plan: Plan, datasets: Datasets, parent: str, progress: Progress
) -> Generator[Batch, None, None]:
    """The jobs of earlier commands, then those of new trials, until there are as many as wanted.

    Each batch's scores are told to the search when the next one is asked for.
    """
    from fashion_mnist.sweeps.search import Search

    settings, replicates = sweep.settings, sweep.space.replicates()
    watched = EPOCH_METRICS.get(sweep.score, "")
    search = Search(
        plan.folder,
        sweep.space.searched,
        sampler=settings.sampler,
        objectives=settings.objectives,
        pruner=settings.pruner,
        seed=plan.config.seed,
        n_trials=settings.n_trials,
        num_epochs=plan.config.training.epochs,
    )
    trial_of = dict[int, int]()  # by the numbers of its jobs

    def compose(trials: "Sequence[Trial]") -> list[Job]:
        values = [
            sweep.space.active({**trial.values, **each}) for trial in trials for each in replicates
        ]
        jobs = compose_jobs(sweep, values, datasets, parent=parent, first_number=len(trial_of))
        numbers = [trial.number for trial in trials for _ in replicates]
        trial_of.update((job.number, n) for job, n in zip(jobs, numbers, strict=True))
        return jobs

    def announce(num_asked: int, num_runs: int) -> None:
        done = settings.n_trials - search.remaining - num_asked
        progress.begin_trials(
            done, settings.n_trials, search.remaining * len(replicates) + num_runs
        )

    def should_prune(number: int, epoch: int, row: HistoryRow) -> bool:
        return search.report(trial_of[number], epoch, row[watched])

    if settings.retry_failed:
        search.retry_failed()
    known = compose(search.known())
    missing = [job for job in known if _is_open(job)]  # of seeds that are new
    announce(0, len(missing))
    yield Batch(known, missing)
    capacity = plan.capacity
    batch_size = sweep.batch_size(capacity.number, is_here=capacity.is_here)
    while trials := search.ask(batch_size):
        jobs = compose(trials)
        announce(len(trials), sum(not job.has_ended for job in unique_runs(jobs)))
        yield Batch(jobs, jobs, should_prune if sweep.prunes else None)
        for trial in trials:
            own = [job for job in jobs if trial_of[job.number] == trial.number]
            results = [read_result(sweep, job) for job in own]
            search.tell(
                trial.number,
                mean_objectives(results, settings.objectives),
                is_pruned=any(result.pruned_at is not None for result in results),
            )


def _is_open(job: Job) -> bool:
    """Whether a run has neither ended nor been pruned."""
    last = job.attempts.last
    is_pruned = last is not None and bool(last.tags().get(PRUNED_TAG))
    return job.attempts.last_status not in ENDED and not is_pruned


def train_jobs(
    jobs: Sequence[Job],
    setup: TrainingSetup = TrainingSetup(),
    should_prune: ShouldPrune | None = None,
) -> dict[str, RequestResult]:
    """Train every run of these jobs that is not there yet; what became of each, by fingerprint.

    Args:
        should_prune: with it, all is trained in this process.

    Raises:
        StopRequested: from `check_for_stop`; what was done by then is recorded.
        DataError: a worker has other data, or another version of the program.
    """
    workers = setup.workers if should_prune is None else None
    stacks = split_groups(
        group_by_key(runs_to_train(jobs)),
        benchmarks=setup.benchmarks,
        max_stack_size=setup.max_stack_size,
        capacity=workers.capacity if workers else Capacity(),
    )
    results = dict[str, RequestResult]()
    if workers is not None:
        own = [stack for stack in stacks if stack.is_for_workers]
        results = _train_on_workers(own, workers, setup)
    for stack in stacks:
        if stack.jobs[0].fingerprint not in results:  # also where its worker died
            results |= _train_in_process(stack, setup, should_prune)
    known = [job for job in jobs if job.fingerprint not in results]
    for job, _ in _record_further(known, setup.check_for_stop):
        results[job.fingerprint] = RequestResult(job.run_dir, was_known=True)
    return results


def _train_on_workers(
    stacks: Sequence[JobStack], workers: Workers, setup: TrainingSetup
) -> dict[str, RequestResult]:
    """Have a launcher train stacks, the longest first; what came of those that it could train."""
    ordered = sorted(stacks, key=lambda stack: -stack.rank)
    tasks = [_task(number, stack.jobs, workers.capacity) for number, stack in enumerate(ordered)]
    num_workers = min(workers.capacity.number, max(1, len(tasks)))  # as the estimate has it
    results, begun, progress = dict[str, RequestResult](), set[int](), setup.progress
    with closing(workers.run(tasks)) as updates:
        for update in updates:
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
                results |= _finish(stack.jobs, update.results, number, progress)
    return results


def _task(number: int, jobs: Sequence[Job], capacity: Capacity) -> Task:
    """The stack as it is sent, with all that is decided here."""
    threads, machine = capacity.threads or None, None
    if not (capacity.is_here or capacity.has_gpus):
        # what the run is recorded with, where it is trained on the CPU of another machine
        config, training = jobs[0].config, jobs[0].config.training
        device = "cpu" if training.device == "auto" else training.device
        config = replace(config, training=replace(training, device=device))
        machine = resolve_machine_of(config, jobs[0].dataset, threads=threads)
    return Task(
        number,
        [job.request for job in jobs],
        folders=[job.run_dir.path for job in jobs],
        fingerprints=[job.fingerprint for job in jobs],
        data_sha256=jobs[0].dataset.sha256,
        machine=machine,
        threads=threads,
    )


def _train_in_process(
    own: JobStack, setup: TrainingSetup, should_prune: ShouldPrune | None
) -> dict[str, RequestResult]:
    jobs, progress = own.jobs, setup.progress

    def on_step(stack: Stack, _step: int) -> None:
        progress.advance(IN_PROCESS, stack.num_steps / stack.loader.num_steps)

    def on_epoch(stack: Stack, _rows: list[HistoryRow]) -> None:
        progress.advance(IN_PROCESS, stack.epoch)

    def gives_up(member: int, epoch: int, row: HistoryRow) -> bool:
        return should_prune is not None and should_prune(jobs[member].number, epoch, row)

    _begin(own, IN_PROCESS, progress)
    observer = Observer(setup.check_for_stop, on_step, on_epoch, gives_up)
    requests = [job.request for job in jobs]
    folders = [job.run_dir for job in jobs]
    results = train(
        requests, jobs[0].dataset, observer, folders=folders, start_uploader=begin_uploading
    )
    return _finish(jobs, results, IN_PROCESS, progress)


def _begin(stack: JobStack, number: int, progress: Progress, num_workers: int = 1) -> None:
    progress.begin_stack(
        number,
        stack.name,
        len(stack.jobs),
        stack.jobs[0].config.training.epochs,
        first_epoch=stack.jobs[0].epoch(),
        seconds=None if math.isnan(stack.seconds) else stack.seconds / num_workers,
    )


def _finish(
    jobs: Sequence[Job], results: Sequence[RequestResult], number: int, progress: Progress
) -> dict[str, RequestResult]:
    for job, result in zip(jobs, results, strict=True):
        progress.finish_run(job.name, result.folder.status(), result.folder.metrics())
        _log_error(job, result)
    progress.end_stack(number)
    return {job.fingerprint: result for job, result in zip(jobs, results, strict=True)}


def _log_error(job: Job, result: RequestResult) -> None:
    """Say why a run has no result; the final report tells of one that failed."""
    if result.error is not None and result.folder.status() != "FAILED":
        log.error("%s: %s", job.name, result.error)


def _record_further(
    jobs: Sequence[Job], check_for_stop: Callable[[], None]
) -> Iterator[tuple[Job, RunState]]:
    """Record runs that have ended under this sweep, with what is asked for and was not done.

    Yields:
        Each run's first job, and what its event log says then: it is read once.
    """
    unrecorded = []
    for job in unique_runs(jobs):
        check_for_stop()
        state = job.run_dir.state()
        if is_recorded(job.request, job.run_dir, state):
            yield job, state
        else:
            unrecorded.append(job)
    observer = Observer(check_for_stop)
    for part in _parts(unrecorded):
        check_for_stop()
        own = train(
            [job.request for job in part],
            part[0].dataset,
            observer,
            folders=[job.run_dir for job in part],
            start_uploader=begin_uploading,
        )
        for job, result in zip(part, own, strict=True):
            _log_error(job, result)
            yield job, job.run_dir.state()


def _parts(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs of one data set, not too many at a time."""
    ordered = sorted(jobs, key=lambda job: id(job.dataset))
    for _, group in groupby(ordered, key=lambda job: id(job.dataset)):
        same = list(group)
        for first in range(0, len(same), MAX_OPEN):
            yield same[first : first + MAX_OPEN]


def _record_winners(jobs: Sequence[Job], parent: str, stop: StopRequests) -> bool:
    """Evaluate the winner's runs on the test set and record their networks; whether it was stopped.

    For these runs `auto` means yes. A replicate that has not finished is trained to its end first.
    """

    def on_epoch(stack: Stack, _rows: Sequence[HistoryRow]) -> None:
        log.info("winner's runs: epoch %s of %s", stack.epoch, stack.num_epochs)

    requests = [
        replace(
            job.request,
            config=replace(job.config, rerun=False),
            parent=parent,
            retry_failed=False,
            auto=True,
        )
        for job in jobs
    ]
    observer = Observer(stop.check, on_epoch=on_epoch)
    try:
        winners = train(requests, jobs[0].dataset, observer, start_uploader=begin_uploading)
    except StopRequested as error:
        log.error("%s; the same command goes on", error)
        return True
    for job, winner in zip(jobs, winners, strict=True):
        if winner.error is not None:
            log.error("%s: %s", job.name, winner.error)
    return False


def _links(plan: Plan, result: SweepResult, stop: StopRequests) -> list[str]:
    """Where the sweep can be looked at, or why it is not there yet."""
    folder, tracking = plan.folder, plan.config.tracking
    summary = f"summary: {short_path(folder / 'artifacts' / 'summary.html')}"
    if tracking.uri is None:
        return [summary]
    if tracking.offline == "always":
        return [summary, *pages(Outcome([], "tracking.offline=always"), run_link)]
    runs = dict.fromkeys(each.folder for each in result.results)
    begun = [run for run in runs if (run / LOG_FILE).exists()]
    outcome = wait_until_uploaded(
        [folder, *begun],
        UPLOAD_SECONDS + UPLOAD_SECONDS_PER_RUN * len(begun),
        is_stopping=lambda: stop.is_requested,
    )
    own = Outcome([run for run in outcome.uploads if run.run_dir == folder], outcome.reason)
    if not outcome.is_complete:
        return [summary, *pages(outcome, _sweep_page)]
    return [summary, *pages(own, _sweep_page), *pages(own, run_link)]


def _sweep_page(server: str, run: Upload) -> str:
    return sweep_link(server, run.experiment_id, view_key(run.run_dir))
