"""A report as plain values: what JSON has of it."""

from dataclasses import asdict
from typing import Any

from fashion_mnist.analysis.predictions import Pooled
from fashion_mnist.analysis.report import Gap, Report
from fashion_mnist.analysis.report_origin import (
    SPEED,
    fingerprints,
    metric_of,
    origin_rows,
    seconds_of,
    wall_seconds,
)
from fashion_mnist.analysis.report_rows import worst_pairs
from fashion_mnist.analysis.report_words import answer, axes_of, question
from fashion_mnist.metrics import calibration
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.sweep.leaderboard import effects_of


def content_of(report: Report) -> dict[str, Any]:
    """All of it but the pictures."""
    return {
        "title": report.subject.title,
        "question": question(report),
        "answer": answer(report),
        "axes": axes_of(report),
        "leaderboard": report.board.as_json(),
        "main_effects": {
            axis: {value: _figure(figure) for value, figure in effect.items()}
            for axis, effect in effects_of(report.ranked).items()
        },
        "importance": report.shares,
        "best": [_pooled(own) for own in report.winner],
        "best_less_second": _gap(report.gap),
        "costs": {"wall_seconds": wall_seconds(report.runs), "settings": _costs(report)},
        "repeat": _repeat(report),
        "origin": dict(origin_rows(report.runs)),
    }


def _pooled(own: Pooled) -> dict[str, Any]:
    bins = own.reliability
    return {
        "split": own.split,
        "runs": [run.run_id for run in own.runs],
        "left_out": own.missing,
        "figures": {key: _figure(figure) for key, figure in own.figures.items()},
        "confusion_matrix": {"labels": own.class_names, "counts": own.counts.tolist()},
        "worst_pairs": [
            {**asdict(pair), "classes": [own.class_names[each] for each in pair.classes]}
            for pair in worst_pairs(own.counts)
        ],
        "pooled_ece": calibration.expected_calibration_error(bins),
        "reliability": {key: each.tolist() for key, each in bins._asdict().items()},
    }


def _gap(gap: Gap | str) -> dict[str, Any]:
    if isinstance(gap, str):
        return {"why_not": gap}
    change = (gap.best - gap.second).tolist()
    return {"labels": gap.class_names, "counts": change, "num_pairs": gap.num_pairs}


def _costs(report: Report) -> list[dict[str, Any]]:
    rows = []
    for setting, _ in report.board.shown:
        runs = list(setting.runs.values())
        rows.append(
            {
                "setting": report.board.label(setting),
                "parameters": _figure(metric_of(runs, "parameters")),
                "seconds": _figure(seconds_of(runs)),
                "images_per_second": _figure(metric_of(runs, SPEED)),
            }
        )
    return rows


def _repeat(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "setting": report.board.label(setting),
            "command": command or None,
            "why_not": why or None,
            "runs": [{"id": own, "fingerprint": mark} for own, mark in fingerprints(setting)],
        }
        for (setting, _), (command, why) in zip(report.board.shown, report.commands, strict=True)
    ]


def _figure(figure: Statistic | None) -> dict[str, Any] | None:
    return asdict(figure) | {"interval": figure.interval} if figure else None
