"""Runs a sweep: plan, training, the winner's test, summary. Read from top to bottom.

`run_sweep` plans the jobs, and has batch after batch of them trained (`sweeps/training.py`): a grid
is one batch, a search asks Optuna for each. What came of the runs is read from their directories.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fashion_mnist.analysis.labels import REPLICATE_KEYS
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.config.messages import ConfigError, RunError, first_line_of
from fashion_mnist.config.schema import Config
from fashion_mnist.launchers.base import Launcher
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.events import LOG_FILE
from fashion_mnist.runs.members import Observer
from fashion_mnist.runs.records import record_destination
from fashion_mnist.runs.request import ENDED, Datasets, RequestResult, wants_uploader
from fashion_mnist.runs.run_dir import locked
from fashion_mnist.runs.signals import StopRequested, StopRequests, stop_requests
from fashion_mnist.runs.trainer import train
from fashion_mnist.sweeps.definition import EPOCH_METRICS, Sweep
from fashion_mnist.sweeps.grouping import JobStack
from fashion_mnist.sweeps.jobs import Job, jobs_by_run, runs_to_train
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
from fashion_mnist.sweeps.training import (
    ShouldPrune,
    TrainingSetup,
    record_settled,
    train_stacks,
)
from fashion_mnist.tracking.checks import demand_store
from fashion_mnist.tracking.links import pages, run_link, short_path
from fashion_mnist.tracking.recorded import OBJECTIVE_TAG, REPETITIONS_TAG, SWEEP_TAG
from fashion_mnist.tracking.saved_views import sweep_link
from fashion_mnist.tracking.upload_state import Outcome, Upload
from fashion_mnist.tracking.uploader_process import begin_uploading, outcome_of_uploads
from fashion_mnist.training.device import process_tags
from fashion_mnist.training.stack import HistoryRow, Stack

if TYPE_CHECKING:  # Optuna takes its time, and a grid does without it
    from fashion_mnist.sweeps.search import Trial

UPLOAD_SECONDS, UPLOAD_SECONDS_PER_RUN = 60, 0.5  # that the store may take, at most
log = logging.getLogger("fashion_mnist")


class HydraJobs(Protocol):
    """What Hydra does with the jobs of a sweep."""

    @property
    def own_launcher(self) -> Launcher | None:
        """The launcher that was chosen; None: one of Hydra's own."""

    def check(self, job: Job) -> None:
        """Raise ConfigError where Hydra cannot make the folders that it is asked for."""

    def begin(self, sweep: Sweep, parent: str) -> None:
        """Make Hydra's folder of the sweep; called once, before the first job.

        Args:
            parent: the id of the sweep's event log, under which its jobs are recorded.
        """

    def launch(self, jobs: Sequence[Job]) -> None:
        """Have Hydra's own launcher train jobs, and say why one could not be trained."""

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
    plan = plan_sweep(sweep, hydra.own_launcher)
    hydra.check(plan.jobs[0])
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
            hydra.begin(sweep, parent.state.id)
            began = time.monotonic()
            trained = _train_all(sweep, plan, hydra, parent.state.id, stop)
            seconds = time.monotonic() - began
            if trained.is_stopped:
                log.error("stopped by %s; the same command goes on", stop.request or "SIGINT")
            try:
                result = _publish(sweep, trained, parent, stop, plan.grouping.capacity.threads)
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
    return 1 if result.failures or result.errors else 0


@contextmanager
def open_parent(
    folder: Path,
    config: Config,
    *,
    name: str,
    axes: Mapping[str, Sequence[str]],
    num_repetitions: int,
    objective: str,
) -> Iterator[EventLog]:
    """Begin a sweep, or go on with it; its event log, open and under the sweep's lock.

    It is of the run that stands for the whole sweep. `outputs/sweeps/ID` holds it, its artifacts
    and, of a search, Optuna's log.

    Args:
        config: of one of its jobs: where they are recorded.
        axes: what is swept, and its values in words.
        num_repetitions: seeds and folds that each setting is to have.
        objective: the metric that settings are ranked by.

    Raises:
        RunError: another process trains it.
    """
    with locked(folder, "sweep"), EventLog(folder) as event_log:
        record_destination(event_log, config.tracking)
        axes_text = json.dumps(axes, ensure_ascii=False)
        tags = {"sweep": name, SWEEP_TAG: axes_text, OBJECTIVE_TAG: objective, **process_tags()}
        tags[REPETITIONS_TAG] = str(num_repetitions)
        event_log.start(name, {}, tags)
        event_log.tags(tags)
        parameters = [key for name in axes for key in name.split(", ")]
        # a repetition is no part of a setting: its lines would hide what the others say
        settings = [key for key in parameters if key not in REPLICATE_KEYS]
        event_log.view(_view_key(folder), f"Sweep: {name}", parameters, settings, objective)
        event_log.status("RUNNING")
        if wants_uploader(config):
            begin_uploading(folder.parents[1])
        yield event_log


def _publish(
    sweep: Sweep, trained: "Trained", parent: EventLog, stop: StopRequests, threads: int | None
) -> SweepResult:
    """Read what came of the jobs, have the winner tested if all are done, write the summary.

    Args:
        threads: what `training.threads: auto` means for a run that is to be trained to its end.

    Raises:
        RunError, OSError: something cannot be read or written.
    """
    is_cut_short = trained.is_stopped or trained.error is not None
    result = read_results(sweep, trained.jobs, trained.results, is_stopped=is_cut_short)
    errors: Mapping[str, Exception] = {}
    if not is_cut_short and result.winners:
        is_stopped, errors = _record_winners(result.winners, parent.state.id, stop, threads)
        again = {job.fingerprint for job in result.winners}
        others = {
            job.number: own
            for job, own in zip(result.jobs, result.results, strict=True)
            if job.fingerprint not in again
        }
        for job in result.winners:
            if job.fingerprint in errors.keys() - trained.errors.keys():  # the others were said
                log.error("%s: %s", job.name, errors[job.fingerprint])
        result = read_results(sweep, trained.jobs, others, is_stopped=is_stopped)
    result = replace(result, errors={**trained.errors, **errors})
    write_results(parent, result)
    return result


@dataclass(frozen=True)
class Batch:
    """Jobs that are trained together, and what a search says of them."""

    jobs: Sequence[Job]  # that become part of the sweep
    stacks: Sequence[JobStack]  # of the runs of which something is to be trained
    should_prune: ShouldPrune | None = None


@dataclass(frozen=True)
class Trained:
    """The jobs of a sweep after training."""

    jobs: Sequence[Job]
    results: Results  # of those of which nothing was to be trained
    errors: Mapping[str, Exception]  # of these: why one could not be recorded, by fingerprint
    is_stopped: bool = False  # by a signal
    error: Exception | None = None  # that ended training


def _train_all(
    sweep: Sweep, plan: Plan, hydra: HydraJobs, parent: str, stop: StopRequests
) -> Trained:
    """Train the jobs of a grid, or those that a search asks for."""
    jobs, results, errors = list[Job](), dict[int, RunResult](), dict[str, Exception]()
    preflight = plan.preflight
    progress = Progress(
        None if sweep.is_search else len(plan.stacks),
        preflight.num_to_train,
        preflight.seconds or None,
        num_workers=preflight.num_workers,
        score=sweep.score,
    )
    batches: Iterable[Batch] = [Batch(plan.jobs, plan.stacks)]
    if sweep.is_search:
        batches = _search_batches(sweep, plan, progress)
    launcher, capacity = hydra.own_launcher, plan.grouping.capacity
    try:
        with (
            launcher.open(capacity, plan.folder) if launcher else nullcontext() as workers,
            # Hydra's own launchers never ask, and of what they train there is nothing to show
            stop.interrupting(launcher is None),
            show(progress) if launcher else nullcontext(),
        ):
            setup = TrainingSetup(workers, parent, progress, stop.check)
            for batch in batches:
                jobs += batch.jobs
                # to record these here takes a tenth of the time that Hydra takes to compose a job
                for job, state, settled_error in record_settled(batch.jobs, setup):
                    if settled_error is not None:
                        errors[job.fingerprint] = settled_error
                    results[job.number] = result = result_of(sweep, job, state)
                    progress.compare(job.name, result.status, result.metrics)
                if launcher is not None:
                    same = jobs_by_run(batch.jobs)
                    with closing(train_stacks(batch.stacks, setup, batch.should_prune)) as stacks:
                        # as they come: Hydra takes 30 ms for a job's folder, and hears no signal
                        for trained in stacks:
                            hydra.report([job for each in trained for job in same[each]], trained)
                elif batch.stacks:
                    hydra.launch(runs_to_train(batch.jobs))
    except (StopRequested, KeyboardInterrupt):
        return Trained(jobs, results, errors, is_stopped=True)
    except Exception as error:  # raised again, once what has finished is published
        return Trained(jobs, results, errors, error=error)
    return Trained(jobs, results, errors)


def _search_batches(sweep: Sweep, plan: Plan, progress: Progress) -> Iterator[Batch]:
    """The jobs of earlier commands, then those of new trials, until there are as many as wanted.

    Each batch's scores are told to the search when the next one is asked for.
    """
    from fashion_mnist.sweeps.search import Search

    settings, capacity = sweep.settings, plan.grouping.capacity
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

    def should_prune(job: Job, epoch: int, row: HistoryRow) -> bool:
        assert job.trial is not None
        return search.report(job.trial, epoch, row[watched])

    if settings.retry_failed:
        search.retry_failed()
    asked: list[Trial] = []
    # what these lack are seeds that are new; what this search pruned stays as it is
    jobs, _ = _compose_trials(sweep, search.known(), plan.datasets, keeps_pruned=True)
    num_jobs = 0
    while True:
        num_jobs += len(jobs)
        stacks = plan.grouping.stacks(runs_to_train(jobs))
        num_runs = sum(len(stack.jobs) for stack in stacks)
        progress.begin_trials(
            settings.n_trials - search.remaining - len(asked),
            settings.n_trials,
            search.remaining * len(sweep.space.replicates()) + num_runs,
        )
        yield Batch(jobs, stacks, should_prune if sweep.prunes and asked else None)
        for trial in asked:
            results = [read_result(sweep, job) for job in jobs if job.trial == trial.number]
            if any(result.status not in ENDED and result.pruned_at is None for result in results):
                continue  # it could not be trained: the next command asks for it again
            search.tell(
                trial.number,
                mean_objectives(results, settings.objectives),
                is_pruned=any(result.pruned_at is not None for result in results),
            )
        asked = search.ask(sweep.batch_size(capacity.number, is_here=capacity.is_here))
        if not asked:
            return
        jobs, refused = _compose_trials(sweep, asked, plan.datasets, first_number=num_jobs)
        for number, problem in refused.items():
            log.warning("trial %d cannot be trained: %s", number, problem)
            search.tell(number, None)
        asked = [trial for trial in asked if trial.number not in refused]


def _compose_trials(
    sweep: Sweep,
    trials: "Sequence[Trial]",
    datasets: Datasets,
    *,
    first_number: int = 0,
    keeps_pruned: bool = False,
) -> tuple[list[Job], dict[int, str]]:
    """A job for each trial and replicate; of the trials that are no config, why, by number.

    Preflight has tried the ends of each range; between them a batch size may leave a last batch
    that batch normalization cannot take.
    """
    jobs, refused = list[Job](), dict[int, str]()
    for trial in trials:
        values = [
            sweep.space.active({**trial.values, **replicate})
            for replicate in sweep.space.replicates()
        ]
        number = first_number + len(jobs)
        try:
            own = compose_jobs(
                sweep, values, datasets, first_number=number, keeps_pruned=keeps_pruned
            )
        except ConfigError as error:
            refused[trial.number] = first_line_of(error)
        else:
            jobs += [replace(job, trial=trial.number) for job in own]
    return jobs, refused


def _record_winners(
    jobs: Sequence[Job], parent: str, stop: StopRequests, threads: int | None
) -> tuple[bool, dict[str, Exception]]:
    """Evaluate the winner's runs on the test set and record their networks.

    For these runs `auto` means yes. A replicate that has not finished is trained to its end first.

    Returns:
        Whether it was stopped, and why a run could not be recorded, by fingerprint.
    """

    def on_epoch(stack: Stack, _rows: Sequence[HistoryRow]) -> None:
        log.info("winner's runs: epoch %s of %s", stack.epoch, stack.num_epochs)

    requests = [
        replace(job.request, config=replace(job.config, rerun=False), retry_failed=False, auto=True)
        for job in jobs
    ]
    observer = Observer(stop.check, on_epoch=on_epoch)
    try:
        winners = train(
            requests,
            jobs[0].dataset,
            observer,
            parent=parent,
            threads=threads,
            start_uploader=begin_uploading,
        )
    except StopRequested as error:
        log.error("%s; the same command goes on", error)
        return True, {}
    pairs = zip(jobs, winners, strict=True)
    return False, {job.fingerprint: own.error for job, own in pairs if own.error is not None}


def _links(plan: Plan, result: SweepResult, stop: StopRequests) -> list[str]:
    """Where the sweep can be looked at, or why it is not there yet."""
    folder, tracking = plan.folder, plan.config.tracking
    summary = f"summary: {short_path(folder / 'artifacts' / 'summary.html')}"
    runs = dict.fromkeys(each.folder for each in result.results)
    begun = [run for run in runs if (run / LOG_FILE).exists()]
    outcome = outcome_of_uploads(
        [folder, *begun],
        uri=tracking.uri,
        offline=tracking.offline,
        is_stopping=stop.is_requested,
        timeout_seconds=UPLOAD_SECONDS + UPLOAD_SECONDS_PER_RUN * len(begun),
    )
    if outcome is None:
        return [summary]
    own = Outcome([run for run in outcome.uploads if run.run_dir == folder], outcome.reason)
    if not outcome.is_complete or not outcome.uploads:
        return [summary, *pages(outcome, _sweep_page)]
    return [summary, *pages(own, _sweep_page), *pages(own, run_link)]


def _sweep_page(server: str, run: Upload) -> str:
    return sweep_link(server, run.state.experiment_id, _view_key(run.run_dir))


def _view_key(folder: Path) -> str:
    """The key of MLflow's saved view of this sweep."""
    return f"sweep-{folder.name}"
