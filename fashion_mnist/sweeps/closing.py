"""The end of a sweep, good or bad: its winner's test, its summary, and what the terminal says."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fashion_mnist.analysis.labels import statistic_text
from fashion_mnist.analysis.leaderboard import Leaderboard, RunResult, planned_by_jobs, rank
from fashion_mnist.console import plural
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.trainer import train
from fashion_mnist.runs.training import Observer
from fashion_mnist.sweeps.campaign import Campaign
from fashion_mnist.sweeps.collect import sweep_command
from fashion_mnist.sweeps.parent import Parent
from fashion_mnist.sweeps.plan import Job
from fashion_mnist.tracking.recorded import SWEEP_COMMAND_TAG
from fashion_mnist.tracking.upload_state import begin_uploading
from fashion_mnist.training.stack import HistoryRow, Stack

log = logging.getLogger("fashion_mnist")


@dataclass(frozen=True)
class Ending:
    """What came of a sweep."""

    board: Leaderboard
    results: Sequence[RunResult]
    jobs: Sequence[Job]
    objectives: Sequence[str]
    is_stopped: bool  # before all was trained

    @property
    def failures(self) -> list[RunResult]:
        """The runs without a result, each once, where one was to be had.

        Those that a search gave up have none; those that a request to stop left have none yet.
        """
        runs = {result.folder: result for result in self.results}
        missing = [r for r in runs.values() if r.status != "FINISHED" and r.pruned_at is None]
        return [r for r in missing if r.status == "FAILED" or not self.is_stopped]

    @property
    def winners(self) -> list[Job]:
        """The best setting's jobs, one for each replicate."""
        winner = self.board.winner
        numbers = {run.number for run in winner.runs} if winner else set()
        return [job for job in self.jobs if job.number in numbers]


def close_sweep(
    campaign: Campaign, parent: Parent, overrides: Sequence[str], *, is_stopped: bool
) -> Ending:
    """Read the winner's test, and say in the sweep's event log what came of it.

    Args:
        overrides: the command line's.
        is_stopped: somebody ended it early: its winner may be another yet, and is not tested.
    """
    from fashion_mnist.analysis.sweep_summary import best_metrics, describe, write_summary

    ending = _look(campaign, is_stopped)
    if not is_stopped and ending.winners:
        try:
            _record_winners(ending.winners, parent, campaign.orders.check_for_stop)
        except StopRequested as error:
            log.error("%s; the same command goes on", error)
            is_stopped = True
        ending = _look(campaign, is_stopped)
    sweep, num_doubles = campaign.sweep, len(ending.results) - len(ending.board.runs)
    note, command = _tests_read(ending), sweep_command(overrides, sweep.composer.config_dir)
    artifacts = write_summary(
        parent.event_log.artifacts,
        ending.board,
        num_doubles=num_doubles,
        title=sweep.name,
        objectives=sweep.settings.objectives,
        note_of_tests=note,
        command=command,
    )
    parent.event_log.tags({SWEEP_COMMAND_TAG: command})
    parent.end(
        "KILLED" if is_stopped else "FINISHED",
        description=describe(
            ending.board,
            sweep.words(),
            num_doubles=num_doubles,
            title=sweep.name,
            note_of_tests=note,
            command=command,
        ),
        counts=_counts(ending),
        figures=best_metrics(ending.board),
        artifacts=artifacts,
    )
    return ending


def _look(campaign: Campaign, is_stopped: bool) -> Ending:
    results = campaign.results()
    board = rank(results, score=campaign.sweep.score, num_repetitions=planned_by_jobs(results))
    return Ending(board, results, campaign.jobs, campaign.sweep.settings.objectives, is_stopped)


def _record_winners(
    jobs: Sequence[Job], parent: Parent, check_for_stop: Callable[[], None]
) -> None:
    """For these `auto` means yes: the test set is read, the networks are recorded.

    A replicate of the winner that has not finished is trained to its end first.

    Raises:
        StopRequested: from `check_for_stop`; the runs are saved.
    """

    def on_epoch(stack: Stack, _rows: Sequence[HistoryRow]) -> None:
        log.info("winner's runs: epoch %s of %s", stack.epoch, stack.num_epochs)

    requests = [
        replace(
            job.request,
            config=replace(job.config, rerun=False),
            parent=parent.event_log.id,
            retry_failed=False,
            auto=True,
        )
        for job in jobs
    ]
    observer = Observer(
        lambda _stack, _step: check_for_stop(), on_epoch, check_for_stop=check_for_stop
    )
    results = train(requests, jobs[0].dataset, observer, start_uploader=begin_uploading)
    for job, result in zip(jobs, results, strict=True):
        if result.error is not None:
            log.error("%s: %s", job.name, result.error)


def _tests_read(ending: Ending) -> list[str]:
    """Each setting whose test scores have been seen: this sweep's winner and earlier ones."""
    return [
        f"{ending.board.label(setting)}: {statistic_text('test/accuracy', figure)} "
        f"({plural(figure.n, 'run')})"
        for setting in ending.board.settings
        if (figure := setting.metrics.get("test/accuracy")) is not None
    ]


def _counts(ending: Ending) -> dict[str, int]:
    runs = {result.folder: result for result in ending.results}.values()
    statuses = Counter("pruned" if run.pruned_at else run.status.lower() for run in runs)
    return {"runs": len(runs)} | {
        status: statuses[status] for status in ("finished", "failed", "killed", "pruned")
    }
