"""The tables of a report, as rows of texts: the best setting's scores, classes, pairs, costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.compare import CALIBRATION_NAMES, SCORE_NAMES
from fashion_mnist.analysis.predictions import Pooled
from fashion_mnist.analysis.report import Gap, Report
from fashion_mnist.analysis.report_origin import SPEED, metric_of, seconds_of
from fashion_mnist.console import duration
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.statistics import Statistic, wilson_interval
from fashion_mnist.sweep.labels import ABSENT

Row = dict[str, str]
SCORES = SCORE_NAMES | {"top_2_accuracy": "accuracy of two guesses"}
MOST_PAIRS = 4


@dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other."""

    classes: tuple[int, int]
    counts: tuple[int, int]  # the first taken for the second, the second for the first
    support: tuple[int, int]  # images of each, as often as a network answered them


def worst_pairs(counts: Tensor, limit: int = MOST_PAIRS) -> list[Pair]:
    """The pairs with the most mistakes in counts `[C, C]`, both ways together."""
    table: NDArray[np.int64] = counts.numpy()
    both = np.triu(table + table.T, k=1)
    # stable, so that equal ones come in the classes' order on every machine
    cells = np.argsort(-both, axis=None, kind="stable")[:limit]
    support = table.sum(axis=1)
    return [
        Pair(
            (int(a), int(b)),
            (int(table[a, b]), int(table[b, a])),
            (int(support[a]), int(support[b])),
        )
        for a, b in zip(*np.unravel_index(cells, both.shape), strict=True)
        if both[a, b]
    ]


def pair_rows(report: Report) -> list[Row]:
    """The worst pairs of the best setting, both ways."""
    pooled = report.winner[0]
    names = pooled.class_names
    return [
        {
            "classes": f"{names[a]} and {names[b]}",
            "the first for the second": _share(pair.counts[0], pair.support[0]),
            "the second for the first": _share(pair.counts[1], pair.support[1]),
        }
        for pair in worst_pairs(pooled.counts)
        for a, b in (pair.classes,)
    ]


def score_rows(report: Report) -> list[Row]:
    """Scores of the best setting on each split; of one network with the interval over images."""
    rows = [
        {"": name, **{own.split: metric_text(own.figures[key]) for own in report.winner}}
        for key, name in SCORES.items()
    ]
    single = {own.split: _wilson(own) for own in report.winner if len(own.runs) == 1}
    if single:
        rows.insert(1, {"": "accuracy's 95 % interval over images (Wilson)", **single})
    return rows


def calibration_rows(report: Report) -> list[Row]:
    """How far the probabilities of the best setting's networks can be believed."""
    return [
        {"": name, **{own.split: metric_text(own.figures[key]) for own in report.winner}}
        for key, name in CALIBRATION_NAMES.items()
    ]


def class_rows(pooled: Pooled) -> list[Row]:
    """Precision, recall and F1 of each class, over all networks' answers."""
    report = classification.classification_report(pooled.counts, pooled.class_names)
    return [
        {
            "class": row["class"],
            "precision": _score(row["precision"]),
            "recall": _score(row["recall"]),
            "F1": _score(row["f1"]),
            "answers": f"{row['support']:,}",
        }
        for row in report[: len(pooled.class_names)]
    ]


def gap_rows(gap: Gap) -> list[Row]:
    """F1 of each class, of the best setting and the second."""
    scores = (classification.class_f1(counts) for counts in (gap.best, gap.second))
    return [
        {
            "F1 of": name,
            "best": _score(best),
            "second": _score(second),
            "best less second": ABSENT
            if best is None or second is None
            else f"{best - second:+.4f}",
        }
        for name, best, second in zip(gap.class_names, *scores, strict=True)
    ]


def cost_rows(report: Report) -> list[Row]:
    """What each setting shown took."""
    rows = []
    for setting, _ in report.board.shown:
        runs = list(setting.runs.values())
        stacks = {run.tags.get("stack_size", "") for run in runs} - {""}
        rows.append(
            {
                "setting": report.board.label(setting),
                "parameters": _whole(metric_of(runs, "parameters")),
                "epochs": _whole(metric_of(runs, "final/epoch")),
                "time of a run": _time(seconds_of(runs)),
                "images per second": _whole(metric_of(runs, SPEED)),
                "runs in its stack": ", ".join(sorted(stacks, key=lambda size: (len(size), size))),
            }
        )
    return rows


def metric_text(figure: Statistic) -> str:
    """`0.8912 ± 0.0021`, or the one value."""
    spread = "" if figure.std is None else f" ± {figure.std:.4f}"
    return f"{figure.mean:.4f}{spread}"


def _wilson(pooled: Pooled) -> str:
    right = int(pooled.counts.diagonal().sum())
    low, high = wilson_interval(right, pooled.num_answers)
    return f"{low:.4f} to {high:.4f}"


def _score(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4f}"


def _share(count: int, support: int) -> str:
    return f"{count:,} of {support:,} ({count / max(support, 1):.1%})"


def _whole(figure: Statistic | None) -> str:
    if figure is None:
        return ABSENT
    return f"{figure.mean:,.0f}" + (f" ± {figure.std:,.0f}" if figure.std else "")


def _time(figure: Statistic | None) -> str:
    if figure is None:
        return ABSENT
    if figure.mean < 100:
        return f"{figure.mean:.1f}" + (f" ± {figure.std:.1f}" if figure.std else "") + " s"
    return duration(figure.mean)
