"""What came of a sweep: results from its jobs' directories, its summary, and the final report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from statistics import fmean

from fashion_mnist.analysis.effects import pareto_front
from fashion_mnist.analysis.labels import metric_name, statistic_text
from fashion_mnist.analysis.leaderboard import Leaderboard, begun_repetitions, rank, split_of
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.analysis.text_table import terminal_width
from fashion_mnist.config.messages import plural
from fashion_mnist.metrics.predictions import PREDICTIONS_FILE, read_predictions
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.identity import FAILURE_TAG, PRUNED_TAG, TRAINING_IMAGES_TAG, code_tags
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.runs.run_state import RunState
from fashion_mnist.sweeps.definition import Sweep, sweep_command
from fashion_mnist.sweeps.jobs import Job
from fashion_mnist.tracking.links import train_command, without_keys
from fashion_mnist.tracking.recorded import SWEEP_COMMAND_TAG

MOST_SETTINGS, MOST_FAILURES = 10, 10
RESULTS_TAG = "mlflow.fmnist.results"  # SHA-256 of what the summary was made from
MISSING = {  # why there is no result, where the run does not say it
    "": "not begun",
    "RUNNING": "another process trains it: the same command again shows what becomes of it",
    "KILLED": "not trained to its end: the same command again goes on",
    "FAILED": "failed",
}

Results = Mapping[int, RunResult]  # by the jobs' numbers


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep."""

    sweep: Sweep
    jobs: Sequence[Job]
    results: Sequence[RunResult]  # of each job
    board: Leaderboard
    is_stopped: bool  # before all was trained
    # why runs that had ended could not be recorded with what is asked for, by fingerprint
    errors: Mapping[str, Exception] = field(default_factory=dict)

    @property
    def failures(self) -> list[RunResult]:
        """The runs without a result, each once, where one was to be had.

        Pruned runs have none; runs that a request to stop left have none yet.
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


def read_results(
    sweep: Sweep, jobs: Sequence[Job], known: Results, *, is_stopped: bool
) -> SweepResult:
    """Read what came of the jobs from their run directories, whatever trained them.

    Args:
        known: results that are not to be read again, by the numbers of their jobs.
    """
    results = [known.get(job.number) or read_result(sweep, job) for job in jobs]
    begun = begun_repetitions(results)
    board = rank(
        results,
        score=sweep.score,
        then=sweep.settings.objectives[1:],
        num_repetitions=begun,
        title=sweep.name,
    )
    return SweepResult(sweep, jobs, results, board, is_stopped)


def read_result(sweep: Sweep, job: Job) -> RunResult:
    """What came of a job's run; of an earlier attempt at it where this one has not begun."""
    state, last = job.run_dir.state(), job.attempts.last
    return result_of(sweep, job, last.state() if last is not None and not state.id else state)


def result_of(sweep: Sweep, job: Job, state: RunState) -> RunResult:
    """What the event log of a job's run says came of it."""
    status, tags, history = state.status, state.tags, state.history()
    is_pruned = status == "KILLED" and bool(tags.get(PRUNED_TAG))
    again = ["rerun=true"] if status == "FAILED" else []
    # a copied command shows what was trained, and does not train it once more
    own = without_keys(job.request.overrides, "rerun")
    return RunResult(
        number=job.number,
        values=job.values,
        status=status,
        failure=tags.get(FAILURE_TAG, "") if status == "FAILED" else "",
        pruned_at=int(history[-1]["epoch"]) if is_pruned and history else None,
        metrics=state.metrics(),
        history=history,
        folder=state.run_dir,
        command=train_command([*own, *again], sweep.composer.config_dir),
        split=split_of(tags),
        num_validation=job.config.data.validation_size,
        num_training=int(tags.get(TRAINING_IMAGES_TAG, 0)),
        predictions=partial(
            read_predictions, state.run_dir / "artifacts" / "validation" / PREDICTIONS_FILE
        ),
    )


def mean_objectives(results: Sequence[RunResult], objectives: Sequence[str]) -> list[float] | None:
    """Each objective as its mean over the replicates of a setting; None where one has none."""
    if not all(name in result.metrics for result in results for name in objectives):
        return None
    return [fmean(result.metrics[name] for result in results) for name in objectives]


def write_results(event_log: EventLog, result: SweepResult) -> None:
    """Write the summary, and record in the sweep's event log what came of it.

    Where that is what is recorded, nothing is drawn again.

    Raises:
        OSError: where a file cannot be written.
    """
    command = sweep_command(result.sweep.overrides, result.sweep.composer.config_dir)
    digest = _digest(result, command)
    if event_log.state.tags.get(RESULTS_TAG) != digest or not _has_artifacts(event_log):
        _write_summary(event_log, result, command)
        event_log.tags({RESULTS_TAG: digest})
    event_log.status("KILLED" if result.is_stopped else "FINISHED")


def _digest(result: SweepResult, command: str) -> str:
    """SHA-256 of what the summary is made from: results, settings, command, the program's code."""
    digest = sha256(f"{code_tags()['code_sha256']} {command} {result.sweep.settings!r}".encode())
    for run in result.results:
        # a run's history says nothing new while its length and its last metrics are the same
        content = run.number, run.folder, run.status, run.failure, len(run.history), run.metrics
        digest.update(repr((content, run.values, run.pruned_at, run.command)).encode())
    return digest.hexdigest()


def _has_artifacts(event_log: EventLog) -> bool:
    """Whether the files that the sweep has recorded are there."""
    paths = [content["path"] for content in event_log.state.files.values()]
    return bool(paths) and all((event_log.artifacts / path).is_file() for path in paths)


def _write_summary(event_log: EventLog, result: SweepResult, command: str) -> None:
    from fashion_mnist.analysis.sweep_summary import best_metrics, describe, write_summary

    sweep, board = result.sweep, result.board
    artifacts = write_summary(
        event_log.artifacts,
        board,
        objectives=sweep.settings.objectives,
        is_search=sweep.is_search,
        command=command,
    )
    description = describe(board, sweep.words(), command)
    counts = _counts(result.results)
    numbers = {f"sweep.{name}": str(count) for name, count in counts.items()}
    event_log.tags({DESCRIPTION_TAG: description, SWEEP_COMMAND_TAG: command, **numbers})
    # MLflow shows those of the largest number of runs
    event_log.metrics(counts["finished"], best_metrics(board))
    for path in artifacts:
        event_log.artifact(path.relative_to(event_log.artifacts).as_posix())


def final_report(result: SweepResult) -> str:
    """What the terminal shows at the end: leaderboard, front, winner, runs without a result."""
    blocks = [_table(result), _front(result), _winner(result), _failures(result)]
    return "\n\n".join(block for block in blocks if block)


def _counts(results: Sequence[RunResult]) -> dict[str, int]:
    runs = {result.folder: result for result in results}.values()
    statuses = Counter("pruned" if run.pruned_at else run.status.lower() for run in runs)
    return {"runs": len(runs)} | {
        status: statuses[status] for status in ("finished", "failed", "killed", "pruned")
    }


def _table(result: SweepResult) -> str:
    board = result.board
    if not board.scored:
        return "no run has a validation score"
    width = terminal_width()
    width = None if width is None else max(80, width)
    hidden = len(board.settings) - MOST_SETTINGS
    more = [f"and {plural(hidden, 'more setting')}: see leaderboard.csv"] if hidden > 0 else []
    return "\n".join([*board.text(width, MOST_SETTINGS), *more])


def _front(result: SweepResult) -> str:
    """Of several objectives, the settings of the Pareto front."""
    board, objectives = result.board, result.sweep.settings.objectives
    if len(objectives) < 2:
        return ""
    names = [metric_name(objective) for objective in objectives]
    lines = [
        f"  {board.label(setting)}: "
        + ", ".join(
            f"{name} {statistic_text(key, setting.metrics.get(key))}"
            for key, name in zip(objectives, names, strict=True)
        )
        for setting in pareto_front(board.scored, objectives)
    ]
    return "\n".join([f"none is better in {' and '.join(names)} at once than", *lines])


def _winner(result: SweepResult) -> str:
    winner, jobs = result.board.winner, result.winners
    if winner is None or not jobs:
        return ""
    test = winner.metrics.get("test/accuracy")
    if test is None:
        tested = "its test set was not read"
    else:
        accuracy = statistic_text("test/accuracy", test)
        tested = f"test accuracy {accuracy} ({plural(test.n, 'run')})"
    finished = {run.number for run in winner.runs if run.status == "FINISHED"}
    job = next(job for job in jobs if job.number in finished)
    # what the sweep says of the test set is replaced; a copied command trains nothing once more
    kept = without_keys(job.request.overrides, "evaluation.test", "rerun")
    is_never = job.config.evaluation.test == "never"  # maybe by a file
    with_test = [*kept, *(["evaluation.test=always"] if is_never else [])]
    config_dir = result.sweep.composer.config_dir
    return (
        f"best setting: {result.board.label(winner)}, {tested}\n"
        f"  to train it alone:   {train_command([*kept, 'evaluation.test=never'], config_dir)}\n"
        f"  with its test score: {train_command(with_test, config_dir)}"
    )


def _failures(result: SweepResult) -> str:
    failures = result.failures
    if not failures:
        return ""
    shown = [
        f"  {failed.failure or MISSING[failed.status]}\n    {failed.command}"
        for failed in failures[:MOST_FAILURES]
    ]
    more = len(failures) - len(shown)
    lines = [f"{len(failures)} without a result:", *shown]
    return "\n".join([*lines, f"  and {more} more: see summary.csv"] if more else lines)
