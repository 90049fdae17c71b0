"""Recorded settings as the sweep's own tables and pictures take them."""

from dataclasses import replace
from pathlib import Path

from fashion_mnist.analysis.leaderboard import Leaderboard
from fashion_mnist.analysis.lookup import FOLD, SEED
from fashion_mnist.runs.results import FAILURE_TAG
from fashion_mnist.sweep import leaderboard as sweep
from fashion_mnist.sweep.results import JobResult
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SCORE, RecordedRun
from fashion_mnist.training.stack import HistoryRow

MOST_CURVES = 5  # settings whose learning curves are drawn
MOST_CURVE_RUNS = 20  # of each of them
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/f1_macro", "lr")


def rank_recorded(board: Leaderboard) -> tuple[sweep.Leaderboard, list[JobResult]]:
    """The settings as a sweep ranks them, and the runs that they are of."""
    axes = board.axes
    values = [
        {axis: setting.values[axis] for axis in axes if axis in setting.values}
        for setting in board.settings
        for _ in setting.runs
    ]
    runs = zip(_runs(board), values, strict=True)
    results = [_result(number, run, own) for number, (run, own) in enumerate(runs)]
    ranked = sweep.rank(results, score=SCORE, num_repetitions=board.num_repetitions)
    return ranked, results


def with_curves(store: Reader, ranked: sweep.Leaderboard, board: Leaderboard) -> sweep.Leaderboard:
    """The best settings with the learning curves of their first runs, which are read now.

    Args:
        board: that `rank_recorded` ranked.
    """
    runs = _runs(board)

    def drawn(setting: sweep.Setting) -> sweep.Setting:
        own = [
            replace(result, history=history_of(store, runs[result.number]))
            for result in setting.scored_runs[:MOST_CURVE_RUNS]
        ]
        return replace(setting, scored_runs=tuple(own))

    best = tuple(map(drawn, ranked.scored[:MOST_CURVES]))
    return replace(ranked, settings=(*best, *ranked.settings[len(best) :]))


def history_of(store: Reader, run: RecordedRun) -> list[HistoryRow]:
    """A row an epoch of what learning curves show."""
    points = store.history(run, CURVES)
    epochs = sorted({epoch for own in points.values() for epoch in own})
    return [
        {"epoch": epoch, **{key: own[epoch] for key, own in points.items() if epoch in own}}
        for epoch in epochs
    ]


def _runs(board: Leaderboard) -> list[RecordedRun]:
    """Every run, the best setting's first: a result's number is its run's place here."""
    return [run for setting in board.settings for run in setting.runs.values()]


def _result(number: int, run: RecordedRun, values: dict[str, str]) -> JobResult:
    replicate = {key: run.parameters[key] for key in (SEED, FOLD) if key in run.parameters}
    return JobResult(
        number=number,
        values=values | replicate,
        status=run.status,
        failure=run.tags.get(FAILURE_TAG, ""),
        pruned_at=None,
        figures={
            key: value
            for key, value in run.metrics.items()
            if key.startswith(("final/", "test/")) or key == "parameters"
        },
        history=[],
        folder=Path(str(number)),  # tells one run from another; an id may be anything
        command="",
    )
