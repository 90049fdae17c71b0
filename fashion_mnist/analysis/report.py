"""A report of a sweep, an experiment or some runs: all that its page shows, and sentences on it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.analysis.effects import importances, main_effects
from fashion_mnist.analysis.labels import ORIGIN, REPLICATE_KEYS, metric_name, short_value
from fashion_mnist.analysis.leaderboard import (
    FOLD,
    SEED,
    SPEED,
    Leaderboard,
    Setting,
    plain_statistic,
)
from fashion_mnist.analysis.lookup import SelectedRuns, swept_keys
from fashion_mnist.analysis.networks import read_images_of, stored_overrides
from fashion_mnist.analysis.predictions import (
    PairedCounts,
    Pooled,
    paired_counts,
    pool,
    worst_pairs,
)
from fashion_mnist.analysis.scale import scale_of
from fashion_mnist.analysis.setting_charts import MOST_CURVES
from fashion_mnist.analysis.significance import RunResult
from fashion_mnist.analysis.stored_leaderboard import build_leaderboard
from fashion_mnist.config.messages import plural
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.runs.identity import FINGERPRINT_TAG, TRAINING_IMAGES_TAG
from fashion_mnist.tracking.links import train_command, without_keys
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import SPLITS, TEST_SCORE, RecordedRun
from fashion_mnist.training.stack import HistoryRow

MOST_CURVE_RUNS = 20  # of each of them
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/f1_macro", "lr")
MOST_VALUES = 8  # of an axis, named
MOST_ORIGINS = 4  # values of a tag, named


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    subject: SelectedRuns
    board: Leaderboard  # the runs of its best settings have their learning curves
    shares: dict[str, float]  # importance by axis
    history: list[HistoryRow]  # of a single run
    best: tuple[Pooled, ...]  # predictions of the best setting's networks: validation, test
    no_predictions: str  # why these are not known
    second: PairedCounts | str  # the best and the second; or why there is none
    images: NDArray[np.uint8] | None  # `[N, H, W]` of the best setting's first split
    no_images: str  # why
    repeats: list[dict[str, Any]]  # of each setting shown: how to train it again, or why not

    @cached_property
    def axes(self) -> dict[str, list[str]]:
        """The keys that sweeps varied or settings differ in, each with its networks' values.

        Keys with one value alone are not varied.
        """
        swept = [key for sweep in self.subject.sweeps for key in swept_keys(sweep)]
        keys = dict.fromkeys([*swept, *self.board.axes, *REPLICATE_KEYS])
        runs = self.board.runs
        found = {key: [run.values[key] for run in runs if key in run.values] for key in keys}
        return {key: scale_of(own).values for key, own in found.items() if len(set(own)) > 1}

    @cached_property
    def origin(self) -> dict[str, str]:
        """What the runs were made of and on: each thing's name and its value, or values' counts."""
        found = {}
        for tag, name in ORIGIN.items():
            values = Counter(run.tags.get(tag, "") for run in self.runs)
            known = [(value, count) for value, count in values.most_common() if value]
            if len(known) == len(values) == 1:
                found[name] = known[0][0]
            elif known:
                words = [f"{value} ({count})" for value, count in known[:MOST_ORIGINS]]
                hidden = len(known) - MOST_ORIGINS
                found[name] = ", ".join(words) + (f" and {hidden} more" if hidden > 0 else "")
        return found

    @property
    def wall_seconds(self) -> float | None:
        """Seconds from the first start to the last end; None where no run has ended."""
        starts = [run.start for run in self.runs if run.start]
        ends = [run.end for run in self.runs if run.end]
        return (max(ends) - min(starts)).total_seconds() if starts and ends else None

    @property
    def is_one_run(self) -> bool:
        """Whether there is nothing to compare."""
        return len(self.runs) == 1

    @cached_property
    def runs(self) -> list[RecordedRun]:
        """Every run once."""
        return [run for setting in self.board.settings for run in setting.records]

    def question(self) -> list[str]:
        """What was asked, of which networks, on which data: a paragraph each."""
        words = "; ".join(_axis_text(axis, values) for axis, values in self.axes.items())
        lines = [f"{self._asked()} {self._size()}", f"Varied: {words}." if words else ""]
        return list(filter(None, [*lines, _data(self.runs), _when(self.runs)]))

    def _asked(self) -> str:
        if self.is_one_run:
            return "How often is this network right, and where is it wrong?"
        if len(self.board.settings) == 1:
            return "How far do repetitions of this setting lie apart?"
        return (
            f"Which setting is the best by {metric_name(self.board.score)}, is it significantly "
            "better than the others, and where is it wrong?"
        )

    def _size(self) -> str:
        outcomes = Counter(run.status.lower() for run in self.runs).most_common()
        if self.is_one_run:
            return f"It has {outcomes[0][0]}." if outcomes[0][0] else ""
        words = ", ".join(f"{count:,} {status}" for status, count in outcomes)
        return f"{self.board.size()}: {words}."


def build_report(
    store: Reader, subject: SelectedRuns, *, limit: int | None, folder: Path | None = None
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
        repeats=[_repetition_of(store, board, setting) for setting, _ in board.shown],
    )


def content_of(report: Report) -> dict[str, Any]:
    """All of it but the charts, as plain values."""
    board = report.board
    return {
        "title": report.subject.title,
        "question": report.question(),
        "answer": board.answer(),
        "axes": report.axes,
        "leaderboard": board.as_json(),
        "main_effects": {
            axis: {value: plain_statistic(metric) for value, metric in effect.items()}
            for axis, effect in main_effects(board).items()
        },
        "importance": report.shares,
        "best": [_pooled(own) for own in report.best],
        "best_less_second": _gap(report.second),
        "costs": {
            "wall_seconds": report.wall_seconds,
            "settings": [
                {
                    "setting": board.label(setting),
                    "parameters": plain_statistic(setting.metrics.get("parameters")),
                    "seconds": plain_statistic(seconds_of(setting.records)),
                    "images_per_second": plain_statistic(setting.metrics.get(SPEED)),
                }
                for setting, _ in board.shown
            ],
        },
        "repeat": report.repeats,
        "origin": report.origin,
    }


def seconds_of(runs: Iterable[RecordedRun]) -> Statistic | None:
    """How long finished runs took, from first start to last end."""
    known = [run.duration for run in runs if run.status == "FINISHED" and run.duration]
    return statistic([each.total_seconds() for each in known]) if known else None


def command_of(overrides: Sequence[str], replicates: Sequence[tuple[str, str]]) -> str:
    """The command that trains these seeds and folds, of one run's overrides.

    Where they are no grid, it is one command for each. The fold is left out where it is 0, the
    default, and was not typed.
    """
    seeds, folds = (list(dict.fromkeys(own)) for own in zip(*replicates, strict=True))
    own = without_keys(overrides, SEED, FOLD)
    is_typed = any(word.lstrip("+").startswith(f"{FOLD}=") for word in overrides)
    has_folds = is_typed or any(fold not in ("", "0") for fold in folds)

    def line(seeds: Sequence[str], folds: Sequence[str]) -> str:
        words = ["-m"] if len(seeds) > 1 or len(folds) > 1 else []
        words += [*own, *_given(SEED, seeds)]
        words += _given(FOLD, folds) if has_folds else []
        return train_command(words)

    if len(seeds) * len(folds) == len(replicates):
        return line(seeds, folds)
    return "\n".join(line([seed], [fold]) for seed, fold in replicates)


def _repetition_of(store: Reader, board: Leaderboard, setting: Setting) -> dict[str, Any]:
    """How to train all runs of a setting again, or why not; and which had which fingerprint."""
    words = stored_overrides(store, setting.records[0])
    why_not = words if isinstance(words, str) else None
    return {
        "setting": board.label(setting),
        "command": None if why_not else command_of(words, [run.replicate for run in setting.runs]),
        "why_not": why_not,
        "runs": [
            {"id": run.run_id, "fingerprint": run.tags.get(FINGERPRINT_TAG, "")}
            for run in setting.records
        ],
    }


def _best(store: Reader, setting: Setting) -> tuple[tuple[Pooled, ...], str]:
    """Its networks' predictions of the validation split, and of the test set where it was read."""
    finished = [run for run in setting.records if run.status == "FINISHED"]
    tested = [run for run in finished if TEST_SCORE in run.metrics]
    pools = [pool(store, finished, SPLITS[0])]
    pools += [pool(store, tested, SPLITS[1])] if tested else []
    found = tuple(each for each in pools if isinstance(each, Pooled))
    return found, "; ".join(each for each in pools if isinstance(each, str))


def _second(store: Reader, board: Leaderboard, best: Sequence[Pooled]) -> PairedCounts | str:
    if len(board.scored) < 2 or not best:
        return "there is no second setting" if len(board.scored) < 2 else "the best is not known"
    others = [run for run in board.scored[1].records if run.status == "FINISHED"]
    second = pool(store, others, best[0].split)
    return second if isinstance(second, str) else paired_counts(best[0], second)


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

    def read(setting: Setting) -> Setting:
        shown = {run.number for run in setting.scored_runs[:MOST_CURVE_RUNS]}
        runs = (with_curve(run) if run.number in shown else run for run in setting.runs)
        return replace(setting, runs=tuple(runs))

    def with_curve(run: RunResult) -> RunResult:
        return replace(run, history=_history(store, run.record) if run.record else [])

    best = len(board.scored[:MOST_CURVES])
    settings = (*map(read, board.settings[:best]), *board.settings[best:])
    return replace(board, settings=settings)


def _history(store: Reader, run: RecordedRun) -> list[HistoryRow]:
    """A row an epoch of what learning curves show."""
    points = store.history(run, CURVES)
    epochs = sorted({epoch for own in points.values() for epoch in own})
    return [
        {"epoch": epoch, **{key: own[epoch] for key, own in points.items() if epoch in own}}
        for epoch in epochs
    ]


def _pooled(own: Pooled) -> dict[str, Any]:
    bins = own.together.reliability
    counts = own.together.counts
    return {
        "split": own.split,
        "runs": [run.run_id for run in own.runs],
        "left_out": own.missing,
        "figures": {
            key: plain_statistic(metric, own.interval(key)) for key, metric in own.metrics.items()
        },
        "confusion_matrix": {"labels": own.class_names, "counts": counts.tolist()},
        "worst_pairs": [
            {**asdict(pair), "classes": [own.class_names[each] for each in pair.classes]}
            for pair in worst_pairs(counts)
        ],
        "pooled_ece": own.together.metrics["ece"],
        "reliability": {key: each.tolist() for key, each in bins._asdict().items()},
    }


def _gap(second: PairedCounts | str) -> dict[str, Any]:
    if isinstance(second, str):
        return {"why_not": second}
    change = (second.first - second.second).tolist()
    return {"labels": second.class_names, "counts": change, "num_pairs": second.num_pairs}


def _axis_text(axis: str, values: Sequence[str]) -> str:
    some = ", ".join(map(short_value, values[:MOST_VALUES]))
    more = f" … {len(values):,} in all" if len(values) > MOST_VALUES else ""
    repeats = ", which repeats a setting" if axis in REPLICATE_KEYS else ""
    return f"{axis} ({some}{more}{repeats})"


def _data(runs: Sequence[RecordedRun]) -> str:
    """The data that the runs had; of what differs, how many runs had each."""
    trained = [
        run.tags.get(TRAINING_IMAGES_TAG) or run.parameters.get("data.train_size", "")
        for run in runs
    ]
    parts = {
        "{}": [run.parameters.get("data.name", "") for run in runs],
        "{} training images": trained,
        "{} for validation": [run.parameters.get("data.validation_size", "") for run in runs],
        "epochs: {}": [run.parameters.get("training.epochs", "") for run in runs],
    }
    words = []
    for form, values in parts.items():
        counts = Counter(value for value in values if value and value != "null").most_common()
        if len(counts) == 1:
            words.append(form.format(_counted(counts[0][0])))
        elif counts:
            named = [f"{_counted(value)} ({plural(n, 'run')})" for value, n in counts[:MOST_VALUES]]
            words.append(form.format(" or ".join(named)))
    return f"Data: {', '.join(words)}." if words else ""


def _when(runs: Sequence[RecordedRun]) -> str:
    starts = sorted(run.start for run in runs if run.start)
    if not starts:
        return ""
    first, last = (f"{time.astimezone():%Y-%m-%d %H:%M}" for time in (starts[0], starts[-1]))
    names = list(dict.fromkeys(run.experiment for run in runs))
    span = f"on {first}" if first == last else f"between {first} and {last}"
    kind = "experiment" if len(names) == 1 else "experiments"
    return f"Started {span}; recorded in {kind} {', '.join(names)}."


def _given(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}={','.join(values)}"] if any(values) else []


def _counted(value: str) -> str:
    return f"{int(value):,}" if value.isascii() and value.isdigit() and len(value) < 16 else value
