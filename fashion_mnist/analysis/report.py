"""A report of a sweep, an experiment or some runs: all that its page shows."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.importance import importances
from fashion_mnist.analysis.leaderboard import SPEED, Leaderboard, RunResult, Setting, main_effects
from fashion_mnist.analysis.lookup import Selection
from fashion_mnist.analysis.networks import SPLITS, read_images_of
from fashion_mnist.analysis.pooled import Pooled, paired_counts, pool, worst_pairs
from fashion_mnist.analysis.report_text import (
    answer,
    axes_of,
    origin_of,
    question,
    repetition_of,
    seconds_of,
    wall_seconds,
)
from fashion_mnist.analysis.stored_leaderboard import build_leaderboard
from fashion_mnist.metrics import calibration
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import FINGERPRINT_TAG, TEST_SCORE, RecordedRun
from fashion_mnist.training.stack import HistoryRow

MOST_CURVES = 5  # settings whose learning curves are drawn
MOST_CURVE_RUNS = 20  # of each of them
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/f1_macro", "lr")


@dataclass(frozen=True)
class SecondBest:
    """Confusion counts `[C, C]` of the best setting and of the second, on the same images."""

    best: Tensor
    second: Tensor
    class_names: tuple[str, ...]
    num_pairs: int  # of networks, whose counts are summed


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    subject: Selection
    board: Leaderboard  # the runs of its best settings have their learning curves
    shares: dict[str, float]  # importance by axis
    history: list[HistoryRow]  # of a single run
    best: tuple[Pooled, ...]  # predictions of the best setting's networks: validation, test
    no_predictions: str  # why these are not known
    second: SecondBest | str  # or why there is none
    images: NDArray[np.uint8] | None  # `[N, H, W]` of the best setting's first split
    no_images: str  # why
    commands: tuple[tuple[str, str], ...]  # of each setting shown: command, or nothing and why not

    @property
    def is_one_run(self) -> bool:
        """Whether there is nothing to compare."""
        return len(self.runs) == 1

    @property
    def runs(self) -> list[RecordedRun]:
        """Every run once."""
        return [run for setting in self.board.settings for run in setting.records]


def build_report(
    store: Reader, subject: Selection, *, limit: int | None, folder: Path | None = None
) -> Report:
    """Read and compute all that the page shows.

    Predictions are read of the best and the second setting, and of those shown that a test asks
    for; learning curves of the best few.

    Args:
        limit: settings that are shown; None for all.
        folder: of IDX files; None for where the runs had their data from.

    Raises:
        ChoiceError: there is no network.
        OSError: the store does not answer.
    """
    board = build_leaderboard(
        store,
        subject.title,
        [*subject.sweeps, *subject.networks],
        subject.all_runs,
        limit=limit,
    )
    board = _with_curves(store, board)
    best, no_predictions = _best(store, board.settings[0])
    images, no_images = _images(best, folder)
    networks = subject.networks
    return Report(
        subject=subject,
        board=board,
        shares=importances(board),
        history=_history(store, networks[0]) if len(networks) == 1 else [],
        best=best,
        no_predictions=no_predictions,
        second=_second(store, board, best),
        images=images,
        no_images=no_images,
        commands=tuple(repetition_of(store, setting) for setting, _ in board.shown),
    )


def check_output(path: Path) -> None:
    """Whether a page can be written there.

    Raises:
        ValueError: there is no such folder, or the path is one.
        OSError: the folder cannot be written to.
    """
    if path.is_dir():
        raise ValueError(f"--output must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ValueError(f"--output must be in a folder that is there, got {path}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path.parent)) from error


def content_of(report: Report) -> dict[str, Any]:
    """All of it but the charts, as plain values."""
    board = report.board
    return {
        "title": report.subject.title,
        "question": question(board, report.subject),
        "answer": answer(board),
        "axes": axes_of(board, report.subject),
        "leaderboard": board.as_json(),
        "main_effects": {
            axis: {value: _plain(metric) for value, metric in effect.items()}
            for axis, effect in main_effects(board).items()
        },
        "importance": report.shares,
        "best": [_pooled(own) for own in report.best],
        "best_less_second": _gap(report.second),
        "costs": {
            "wall_seconds": wall_seconds(report.runs),
            "settings": [
                {
                    "setting": board.label(setting),
                    "parameters": _plain(setting.metrics.get("parameters")),
                    "seconds": _plain(seconds_of(setting.records)),
                    "images_per_second": _plain(setting.metrics.get(SPEED)),
                }
                for setting, _ in board.shown
            ],
        },
        "repeat": [
            {
                "setting": board.label(setting),
                "command": command or None,
                "why_not": why or None,
                "runs": [{"id": own, "fingerprint": mark} for own, mark in fingerprints(setting)],
            }
            for (setting, _), (command, why) in zip(board.shown, report.commands, strict=True)
        ],
        "origin": origin_of(report.runs),
    }


def fingerprints(setting: Setting) -> list[tuple[str, str]]:
    """Id and fingerprint of each run of a setting."""
    return [(run.run_id, run.tags.get(FINGERPRINT_TAG, "")) for run in setting.records]


def _best(store: Reader, setting: Setting) -> tuple[tuple[Pooled, ...], str]:
    """Its networks' predictions of the validation split, and of the test set where it was read."""
    finished = [run for run in setting.records if run.status == "FINISHED"]
    tested = [run for run in finished if TEST_SCORE in run.metrics]
    pools = [pool(store, finished, SPLITS[0])]
    pools += [pool(store, tested, SPLITS[1])] if tested else []
    found = tuple(each for each in pools if isinstance(each, Pooled))
    return found, "; ".join(each for each in pools if isinstance(each, str))


def _second(store: Reader, board: Leaderboard, best: Sequence[Pooled]) -> SecondBest | str:
    if len(board.scored) < 2 or not best:
        return "there is no second setting" if len(board.scored) < 2 else "the best is not known"
    others = [run for run in board.scored[1].records if run.status == "FINISHED"]
    second = pool(store, others, best[0].split)
    if isinstance(second, str):
        return second
    counts = paired_counts(best[0], second)
    if isinstance(counts, str):
        return counts
    return SecondBest(*counts[:2], best[0].class_names, counts[2])


def _images(best: Sequence[Pooled], folder: Path | None) -> tuple[NDArray[np.uint8] | None, str]:
    if not best:
        return None, "nothing is known of its mistakes"
    first = best[0]
    return read_images_of(
        first.runs[0],
        first.class_names,
        wanted=first.split,
        sha256=first.predictions[0].split_sha256,
        folder=folder,
    )


def _with_curves(store: Reader, board: Leaderboard) -> Leaderboard:
    """The best settings with the learning curves of their first runs, which are read now."""

    def read(run: RunResult) -> RunResult:
        return replace(run, history=_history(store, run.record) if run.record else [])

    best = []
    for setting in board.scored[:MOST_CURVES]:
        runs = setting.scored_runs
        own = (*map(read, runs[:MOST_CURVE_RUNS]), *runs[MOST_CURVE_RUNS:])
        best.append(replace(setting, scored_runs=own))
    return replace(board, settings=(*best, *board.settings[len(best) :]))


def _history(store: Reader, run: RecordedRun) -> list[HistoryRow]:
    """A row an epoch of what learning curves show."""
    points = store.history(run, CURVES)
    epochs = sorted({epoch for own in points.values() for epoch in own})
    return [
        {"epoch": epoch, **{key: own[epoch] for key, own in points.items() if epoch in own}}
        for epoch in epochs
    ]


def _pooled(own: Pooled) -> dict[str, Any]:
    bins = own.reliability
    return {
        "split": own.split,
        "runs": [run.run_id for run in own.runs],
        "left_out": own.missing,
        "figures": {key: _plain(metric) for key, metric in own.metrics.items()},
        "confusion_matrix": {"labels": own.class_names, "counts": own.counts.tolist()},
        "worst_pairs": [
            {**asdict(pair), "classes": [own.class_names[each] for each in pair.classes]}
            for pair in worst_pairs(own.counts)
        ],
        "pooled_ece": calibration.expected_calibration_error(bins),
        "reliability": {key: each.tolist() for key, each in bins._asdict().items()},
    }


def _gap(second: SecondBest | str) -> dict[str, Any]:
    if isinstance(second, str):
        return {"why_not": second}
    change = (second.best - second.second).tolist()
    return {"labels": second.class_names, "counts": change, "num_pairs": second.num_pairs}


def _plain(metric: Statistic | None) -> dict[str, Any] | None:
    return asdict(metric) | {"interval": metric.interval} if metric else None
