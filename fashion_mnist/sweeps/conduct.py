"""A sweep from its first word to its last: check, preflight, training, winner, summary."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fashion_mnist.analysis.labels import lower_is_better
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.schema import Config, SweepConfig
from fashion_mnist.data.idx import DataError
from fashion_mnist.launchers.base import Capacity
from fashion_mnist.runs.event_log import LOG_FILE
from fashion_mnist.runs.run_dir import RunError
from fashion_mnist.runs.signals import StopRequested, StopRequests, stop_requests
from fashion_mnist.sweeps.arrangement import choose_capacity
from fashion_mnist.sweeps.campaign import Campaign, Launch
from fashion_mnist.sweeps.closing import Ending, close_sweep
from fashion_mnist.sweeps.context import SweepContext, write_context
from fashion_mnist.sweeps.definition import Sweep, search_problems
from fashion_mnist.sweeps.estimate import inspect_jobs, measure_stacks
from fashion_mnist.sweeps.execution import Orders
from fashion_mnist.sweeps.farewell import farewell
from fashion_mnist.sweeps.parent import open_parent, sweep_folder, view_key
from fashion_mnist.sweeps.plan import Job
from fashion_mnist.sweeps.preflight import Preflight, error_of_estimate, full, short
from fashion_mnist.sweeps.progress import watch
from fashion_mnist.tracking.links import pages, run_link, short_path
from fashion_mnist.tracking.saved_views import sweep_link
from fashion_mnist.tracking.upload_state import Outcome, Upload, wait_until_uploaded
from fashion_mnist.tracking.uri import demand_store

FIRST_SECONDS, SECONDS_PER_RUN = 60, 0.5  # that the store may take, at most
log = logging.getLogger("fashion_mnist")


def conduct(
    sweep: Sweep,
    *,
    sweep_dir: Path,
    launch: Launch,
    stacked: Orders | None,
    dry_run: bool,
) -> int:
    """Do what the command line sweeps over; the exit status.

    Args:
        sweep: read from the command line, and checked.
        sweep_dir: Hydra's folder of the sweep.
        stacked: what our own launcher goes by, to be filled in; None: another one is at work.
        dry_run: check everything, say what would be done, and do nothing.

    Raises:
        ConfigError: with every mistake of every job, before anything is written.
        DataError: data is missing or damaged.
        RunError: another process is at this sweep, or the store must answer and does not.
    """
    orders = stacked or Orders()
    problems = orders.launcher.problems()
    if problems:
        raise ConfigError(problems)
    context = SweepContext("", sweep.axes, sweep.settings.retry_failed)
    campaign = Campaign(sweep, context, orders, launch)
    plan = _plan(campaign, is_stacked=stacked is not None)
    log.info(full(plan.preflight) if dry_run else short(plan.preflight))
    for note in sweep.composer.notes():
        log.info(note)
    if dry_run:
        return 0
    demand_store(plan.config.tracking.uri, plan.config.tracking.offline)
    with stop_requests() as stop:
        ending = _carry_out(campaign, plan, sweep_dir, sweep.overrides, stop)
        log.info("\n".join(_where(plan, ending, stop)))
    if stop.request and not ending.is_stopped:
        log.info("stopped by %s: the sweep is finished", stop.request)
    if ending.is_stopped or stop.request:
        return stop.request.exit_status if stop.request else 130
    return 1 if ending.failures else 0


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do; all of it was checked, and nothing is written yet."""

    jobs: Sequence[Job]
    folder: Path  # of the sweep
    preflight: Preflight
    capacity: Capacity
    is_stacked: bool  # trained by our own launcher

    @property
    def config(self) -> Config:
        """Of one of the jobs."""
        return self.jobs[0].config


def _plan(campaign: Campaign, *, is_stacked: bool) -> Plan:
    """Make the jobs and try what they will take; `campaign.orders` then say how to train them.

    Raises:
        ConfigError, DataError: as `conduct` does.
    """
    sweep, orders = campaign.sweep, campaign.orders
    jobs = campaign.make(sweep.samples())
    can_give_up = is_stacked and orders.launcher.is_here
    problems = search_problems(
        sweep, num_epochs=jobs[0].config.training.epochs, can_prune=can_give_up
    )
    if problems:
        raise ConfigError(problems)
    identity = sweep.identity(job.dataset.sha256 for job in jobs)
    folder = sweep_folder(Path(jobs[0].config.output_dir).absolute(), identity)
    examples = [jobs[0], jobs[-1]] if sweep.is_search else jobs
    capacity = _capacity(orders, jobs, sweep.settings, is_stacked=is_stacked)
    orders.score = sweep.score
    orders.largest = _largest(sweep.settings, is_stacked=is_stacked)
    orders.benchmarks = measure_stacks(
        examples, capacity=capacity, largest=orders.largest, memory=sweep.settings.memory
    )
    preflight = inspect_jobs(
        sweep,
        examples,
        orders.benchmarks,
        largest=orders.largest,
        capacity=capacity,
        trials_done=_trials_done(folder, sweep.settings) if sweep.is_search else 0,
    )
    return Plan(jobs, folder, preflight, capacity, is_stacked)


def _trials_done(folder: Path, settings: SweepConfig) -> int:
    from fashion_mnist.sweeps.search import trials_done  # Optuna takes its time

    return trials_done(folder, retry_failed=settings.retry_failed)


def _largest(settings: SweepConfig, *, is_stacked: bool) -> int | None:
    """The most runs in a stack; None: as suits the device. Other launchers know of no stacks."""
    if not is_stacked:
        return 1
    return None if settings.stack_size == "auto" else settings.stack_size


def _capacity(
    orders: Orders, jobs: Sequence[Job], settings: SweepConfig, *, is_stacked: bool
) -> Capacity:
    """Other launchers have processes of their own; a search gives up runs in this one."""
    if not is_stacked or settings.pruner != "none":
        return Capacity()
    return choose_capacity(orders.launcher, jobs, settings.processes)


def _carry_out(
    campaign: Campaign,
    plan: Plan,
    sweep_dir: Path,
    overrides: Sequence[str],
    stop: StopRequests,
) -> Ending:
    """Train, record and tell what came of it, also when it is stopped on the way."""
    sweep = campaign.sweep
    with open_parent(
        plan.folder, plan.config, name=sweep.name, axes=sweep.words(), objective=sweep.score
    ) as parent:
        log.info("sweep %s in %s", sweep.name, short_path(plan.folder))
        campaign.context = replace(campaign.context, parent=parent.event_log.id)
        write_context(sweep_dir, campaign.context)
        began = time.monotonic()
        try:
            is_stopped = not _train(campaign, plan, stop)
        except (DataError, RunError, OSError):
            # what has finished is published before the error ends the command
            with suppress(RunError, OSError):
                ending = close_sweep(campaign, parent, overrides, is_stopped=True)
                log.info(farewell(ending))
            raise
        seconds = time.monotonic() - began
        if is_stopped:
            log.error("stopped by %s; the same command goes on", stop.request or "SIGINT")
        ending = close_sweep(campaign, parent, overrides, is_stopped=is_stopped)
    log.info(farewell(ending))
    if plan.preflight.seconds:
        log.info(error_of_estimate(plan.preflight.seconds, seconds))
    return ending


def _train(campaign: Campaign, plan: Plan, stop: StopRequests) -> bool:
    """Train everything; whether nobody stopped it."""
    orders, is_search = campaign.orders, campaign.sweep.is_search
    num_stacks = sum(stacks.num_stacks for stacks in plan.preflight.stacks)
    orders.check_for_stop = stop.check
    try:
        with (
            orders.launcher.open(plan.capacity, plan.folder) as orders.workers,
            stop.interrupting(not plan.is_stacked),  # other launchers never ask
            watch(
                num_stacks=None if is_search else num_stacks,
                num_runs=None if is_search else plan.preflight.num_to_train,
                estimated_seconds=plan.preflight.seconds or None,
                maximize=not lower_is_better(campaign.sweep.score),
            ) as orders.progress,
        ):
            if is_search:
                campaign.search(plan.folder, plan.config)
            else:
                campaign.run(campaign.add(plan.jobs))
    except (StopRequested, KeyboardInterrupt):
        return False
    return True


def _where(plan: Plan, ending: Ending, stop: StopRequests) -> list[str]:
    """Where the sweep can be looked at, or why it is not there yet."""
    folder, tracking = plan.folder, plan.config.tracking
    summary = f"summary: {short_path(folder / 'artifacts' / 'summary.html')}"
    if tracking.uri is None:
        return [summary]
    if tracking.offline == "always":
        return [summary, *pages(Outcome([], "tracking.offline=always"), run_link)]
    runs = dict.fromkeys(result.folder for result in ending.results)
    begun = [run for run in runs if (run / LOG_FILE).exists()]
    outcome = wait_until_uploaded(
        [folder, *begun],
        FIRST_SECONDS + SECONDS_PER_RUN * len(begun),
        is_stopping=lambda: stop.is_requested,
    )
    own = Outcome([run for run in outcome.uploads if run.run_dir == folder], outcome.reason)
    if not outcome.is_complete:
        return [summary, *pages(outcome, _sweep_page)]
    return [summary, *pages(own, _sweep_page), *pages(own, run_link)]


def _sweep_page(server: str, run: Upload) -> str:
    return sweep_link(server, run.experiment_id, view_key(run.run_dir))
