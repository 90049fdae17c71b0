"""A sweep from its first word to its last: check, preflight, training, winner, summary."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fashion_mnist.config import Config, ConfigError, SweepConfig
from fashion_mnist.journal import JOURNAL_FILE
from fashion_mnist.runs.request import demand_store
from fashion_mnist.signals import StopRequested, stop_requests
from fashion_mnist.sweep.arrangement import Width, choose_lanes
from fashion_mnist.sweep.campaign import Campaign, Launch
from fashion_mnist.sweep.closing import Ending, close_sweep
from fashion_mnist.sweep.context import SweepContext, write_context
from fashion_mnist.sweep.definition import read_sweep, search_mistakes
from fashion_mnist.sweep.estimate import inspect_jobs, measure_stacks
from fashion_mnist.sweep.execution import Orders
from fashion_mnist.sweep.farewell import farewell
from fashion_mnist.sweep.lanes import open_lanes
from fashion_mnist.sweep.leaderboard import lower_is_better
from fashion_mnist.sweep.parent import open_parent, sweep_folder, view_key
from fashion_mnist.sweep.plan import Job
from fashion_mnist.sweep.preflight import Preflight, error_of_estimate, full, short
from fashion_mnist.sweep.progress import watch
from fashion_mnist.tracking.outbox import Outcome, Recorded, wait_until_sent
from fashion_mnist.tracking.views import sweep_link
from fashion_mnist.whereabouts import pages, run_link, short_path

FIRST_SECONDS, SECONDS_PER_RUN = 60, 0.5  # that the store may take, at most
log = logging.getLogger("fashion_mnist")


def conduct(
    overrides: Sequence[str],
    *,
    config_dir: str | None,
    sweep_dir: Path,
    launch: Launch,
    stacked: Orders | None,
    dry_run: bool,
) -> int:
    """Do what the command line sweeps over; the exit status.

    Args:
        sweep_dir: Hydra's folder of the sweep.
        stacked: what our own launcher goes by, to be filled in; None: another one is at work.
        dry_run: check everything, say what would be done, and do nothing.

    Raises:
        ConfigError: with every mistake of every job, before anything is written.
        DataError: data is missing or damaged.
        RunError: another process is at this sweep, or the store must answer and does not.
    """
    sweep = read_sweep(overrides, config_dir)
    settings, orders = sweep.settings, stacked or Orders()
    context = SweepContext("", sweep.axes, settings.retry_failed)
    campaign = Campaign(sweep, context, orders, launch)
    jobs = campaign.make(sweep.samples())
    config = jobs[0].config
    problems = search_mistakes(sweep, config, is_stacked=stacked is not None)
    if problems:
        raise ConfigError(problems)
    identity = sweep.identity(job.dataset.sha256 for job in jobs)
    folder = sweep_folder(Path(config.output_dir).absolute(), identity)
    orders.score = sweep.score
    orders.largest = _largest(settings, is_stacked=stacked is not None)
    examples = [jobs[0], jobs[-1]] if sweep.is_search else jobs
    width = choose_lanes(jobs, settings.processes) if _uses_lanes(settings, stacked) else Width()
    orders.trials = measure_stacks(
        examples, width=width, largest=orders.largest, memory=settings.memory
    )
    preflight = inspect_jobs(
        sweep,
        examples,
        orders.trials,
        largest=orders.largest,
        width=width,
        trials_done=_trials_done(folder) if sweep.is_search else 0,
    )
    log.info(full(preflight) if dry_run else short(preflight))
    if dry_run:
        return 0
    demand_store(config)
    with open_parent(folder, config, name=sweep.name, axes=sweep.words()) as parent:
        log.info("sweep %s in %s", sweep.name, short_path(folder))
        write_context(sweep_dir, replace(context, parent=parent.journal.id))
        began = time.monotonic()
        stopped = _train(campaign, jobs, folder, preflight, width)
        seconds = time.monotonic() - began
        ending = close_sweep(campaign, parent, overrides, is_stopped=stopped is not None)
    log.info(farewell(ending))
    if preflight.seconds:
        log.info(error_of_estimate(preflight.seconds, seconds))
    log.info("\n".join(_where(folder, ending, config)))
    if stopped is not None:
        return stopped.exit_status if isinstance(stopped, StopRequested) else 130
    return 1 if ending.failures else 0


def _where(folder: Path, ending: Ending, config: Config) -> list[str]:
    """Where the sweep can be looked at, or why it is not there yet."""
    summary = f"summary: {short_path(folder / 'artifacts' / 'summary.html')}"
    if config.tracking.uri is None:
        return [summary]
    if config.tracking.offline == "always":
        return [summary, *pages(Outcome([], "tracking.offline=always"), run_link)]
    runs = dict.fromkeys(result.folder for result in ending.results)
    begun = [run for run in runs if (run / JOURNAL_FILE).exists()]
    outcome = wait_until_sent([folder, *begun], FIRST_SECONDS + SECONDS_PER_RUN * len(begun))
    own = Outcome([run for run in outcome.runs if run.folder == folder], outcome.reason)
    if not outcome.sent:
        return [summary, *pages(outcome, _sweep_page)]
    return [summary, *pages(own, _sweep_page), *pages(own, run_link)]


def _sweep_page(server: str, run: Recorded) -> str:
    return sweep_link(server, run.experiment_id, view_key(run.folder))


def _trials_done(folder: Path) -> int:
    from fashion_mnist.sweep.study import trials_done  # Optuna takes its time

    return trials_done(folder)


def _largest(settings: SweepConfig, *, is_stacked: bool) -> int | None:
    """The most runs in a stack; None: as measured. Other launchers know of no stacks."""
    if not is_stacked:
        return 1
    return None if settings.stack_size == "auto" else settings.stack_size


def _uses_lanes(settings: SweepConfig, stacked: Orders | None) -> bool:
    """Other launchers have processes of their own; a search gives up runs in this one."""
    return stacked is not None and settings.pruner == "none"


def _train(
    campaign: Campaign, jobs: Sequence[Job], folder: Path, preflight: Preflight, width: Width
) -> BaseException | None:
    """Train everything; what stopped it, if something did."""
    orders = campaign.orders
    is_search = campaign.sweep.is_search
    try:
        with (
            open_lanes(width) as orders.lanes,
            stop_requests() as orders.check_for_stop,
            watch(
                num_stacks=None if is_search else sum(plan.num_stacks for plan in preflight.stacks),
                num_runs=None if is_search else preflight.num_to_train,
                estimated_seconds=preflight.seconds or None,
                maximize=not lower_is_better(campaign.sweep.score),
            ) as orders.progress,
        ):
            if is_search:
                campaign.search(folder, jobs[0].config)
            else:
                campaign.run(campaign.add(jobs))
    except (StopRequested, KeyboardInterrupt) as error:
        return error
    return None
