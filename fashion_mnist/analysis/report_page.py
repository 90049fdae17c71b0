"""A report as one HTML page, to read on a screen or in print."""

import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fashion_mnist.analysis.axis_charts import effects_chart, heat_map_chart, importance_chart
from fashion_mnist.analysis.details import grouped
from fashion_mnist.analysis.evaluation import coverage_chart, reliability_chart
from fashion_mnist.analysis.labels import (
    ABSENT,
    CALIBRATION,
    interval_text,
    metric_name,
    statistic_text,
)
from fashion_mnist.analysis.leaderboard import SPEED, Row, Setting
from fashion_mnist.analysis.predictions import PairedCounts, Pooled, worst_pairs
from fashion_mnist.analysis.report import Report, seconds_of
from fashion_mnist.analysis.setting_charts import curves_chart, leaderboard_chart, pareto_chart
from fashion_mnist.analysis.sweep_summary import SPREAD_NOTE, effects_context, leaderboard_table
from fashion_mnist.config.messages import duration, plural
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.classification import SUMMARY_SCORES
from fashion_mnist.metrics.confusions import absent_classes
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.confusion import confusion_figure, difference_figure
from fashion_mnist.plots.image_grid import pair_figure
from fashion_mnist.plots.png import Picture, png_bytes
from fashion_mnist.plots.run_charts import curves_figure
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.identity import FAILURE_TAG
from fashion_mnist.templates import PagePicture, Table, render, table
from fashion_mnist.tracking.recorded import SWEEP_COMMAND_TAG

TIME = "time of a run"
MOST_LISTED = 20  # failed runs; runs of one setting
TEXT = {"", " ", "setting", "class", "classes", "F1 of", "run", "why"}  # columns on the left


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


def write_report(report: Report, path: Path) -> None:
    """Write the page, in place of what was there.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as beside:
        # a store may hold what no UTF-8 has: half of a pair of surrogates
        beside.write_text(report_page(report), encoding="utf-8", errors="replace")


def report_page(report: Report) -> str:
    """The page."""
    board, first = report.board, report.board.settings[0].records[0]
    failed = [run for run in report.runs if run.status == "FAILED"]
    return render(
        "report.html",
        title=f"Report: {report.subject.title}",
        answer=board.answer(),
        question=report.question(),
        is_one_run=report.is_one_run,
        of_best="" if len(board.settings) == 1 else " of the best setting",
        leaderboard=leaderboard_table(board),
        spread_note=SPREAD_NOTE,
        notes=board.notes(),
        failures=_table(
            {"": run.run_id[:8], "run": run.name, "why": run.tags.get(FAILURE_TAG, "")}
            for run in failed[:MOST_LISTED]
        ),
        more_failures=_more(len(failed)),
        configured=first.name,
        configuration=_table({"": k, " ": v} for k, v in grouped(first.parameters)),
        origin=_table({"": name, " ": value} for name, value in report.origin.items()),
        **_charts(report),
        **effects_context(board),
        **_best(report),
        **_second(report),
        **_costs(report),
        repeats=report.repeats,
        most_listed=MOST_LISTED,
        sweep_commands=[
            (sweep.name, sweep.tags[SWEEP_COMMAND_TAG])
            for sweep in report.subject.sweeps
            if SWEEP_COMMAND_TAG in sweep.tags
        ],
    )


def _charts(report: Report) -> dict[str, Any]:
    """The scores and what each axis does; of one run its learning curves."""
    board, shares = report.board, report.shares
    if report.is_one_run:
        own = curves_figure(report.history, "Learning curves") if report.history else None
        return {"score_charts": [_shown(own, "Learning curves")], "effect_charts": []}
    return {
        "score_charts": [
            _shown(leaderboard_chart(board), "The best settings, each run as a dot"),
            _shown(curves_chart(board), "Learning curves of the best settings"),
        ],
        "effect_charts": [
            _shown(effects_chart(board, shares), "The score along each axis"),
            _shown(importance_chart(board, shares), "The importance of each axis"),
            _shown(heat_map_chart(board, shares), "The score by the two axes that matter most"),
        ],
    }


def _best(report: Report) -> dict[str, Any]:
    """What the best setting's networks predict: scores, confusion, calibration, mistakes."""
    pools = report.best
    left_out = [why for own in pools for why in own.missing] + [report.no_predictions]
    context: dict[str, Any] = {
        "left_out": list(filter(None, left_out))[:MOST_LISTED],
        "no_predictions": report.no_predictions,
        "scores": None,
        "pairs": None,
    }
    if not pools:
        return context | dict.fromkeys(("confusion", "calibration"))
    first, together = pools[0], pools[0].together
    several = len(first.runs) > 1
    summed = f" of {len(first.runs)} networks, summed" if several else ""
    pairs, names = worst_pairs(together.counts), first.class_names
    for own in pools:
        title = _title(own)
        matrix = confusion_figure(own.together.counts.numpy(), names, title)
        for key, figure, caption in (
            ("confusion", matrix, "Confusion matrix"),
            ("reliability", reliability_chart(own.together, title), "Reliability diagram"),
            ("coverage", coverage_chart(own.together, title), "Accuracy over coverage"),
        ):
            context.setdefault(key, []).append(_shown(figure, f"{caption}, {own.split}"))
    return context | {
        "scores": _table(_score_rows(pools)),
        "scores_note": "Mean ± std (n − 1) over its networks." if several else "",
        "calibration": _table(_split_rows(CALIBRATION, pools)),
        "classes_title": f"Classes: predictions of the {first.split} split{summed}",
        "classes": table(_class_rows(first), text=TEXT, is_sorted=True),
        "absent": absent_classes(together.counts.tolist(), names),
        "pairs": _table(
            {
                "classes": " and ".join(names[k] for k in pair.classes),
                "the first for the second": _share(pair.counts[0], pair.support[0]),
                "the second for the first": _share(pair.counts[1], pair.support[1]),
            }
            for pair in pairs
        ),
        "pairs_note": f"On the {first.split} split, all networks' predictions together.",
        "no_images": f"The images are not shown: {report.no_images}" if report.no_images else "",
        "pair_charts": [
            _shown(
                pair_figure(
                    report.images,
                    first.predictions[0].labels,
                    first.on_same_images,
                    names,
                    pair.classes,
                ),
                " and ".join(names[k] for k in pair.classes),
            )
            for pair in pairs
            if report.images is not None
        ],
    }


def _second(report: Report) -> dict[str, Any]:
    """The best setting and the second, class by class."""
    found, board = report.second, report.board
    if not isinstance(found, PairedCounts):
        is_missing = len(board.settings) > 1
        words = f"Their confusion matrices cannot be compared: {found}." if is_missing else ""
        return {"second": "", "no_second": words}
    several = f", summed over {found.num_pairs} seeds that both have" if found.num_pairs > 1 else ""
    figure = difference_figure(
        found.second.numpy(), found.first.numpy(), found.class_names, ("second", "best")
    )
    scores = (classification.class_f1(counts) for counts in (found.first, found.second))
    rows = [
        {
            "F1 of": name,
            "best": _score(best),
            "second": _score(second),
            "best − second": ABSENT if best is None or second is None else f"{best - second:+.4f}",
        }
        for name, best, second in zip(found.class_names, *scores, strict=True)
    ]
    return {
        "no_second": "",
        "second": f"The second: {board.label(board.settings[1])}. On the same images of the "
        f"{report.best[0].split} split{several}.",
        "second_charts": [_shown(figure, "Difference of the confusion matrices")],
        "second_classes": _table(rows),
    }


def _costs(report: Report) -> dict[str, Any]:
    board, wall = report.board, report.wall_seconds
    spent = sum(run.duration.total_seconds() for run in report.runs if run.duration)
    words = f"From the first start to the last end: {duration(wall)}. " if wall is not None else ""
    words += f"All runs' times together: {duration(spent)}. "
    words += "Runs of a stack are trained together: each has the time of the whole stack."
    sizes = {s.metrics["parameters"].mean for s in board.scored if "parameters" in s.metrics}
    objectives = list(dict.fromkeys([board.score, "parameters"]))
    front = pareto_chart(board, objectives) if len(sizes) > 1 else None
    settings = [setting for setting, _ in board.shown]
    rows = [{"setting": board.label(setting)} | _cost_row(setting) for setting in settings]
    times = [seconds_of(setting.records) for setting in settings]
    return {
        "costs_note": words,
        "costs": table(
            rows,
            text=TEXT,
            is_sorted=len(rows) > 2,
            values={TIME: [metric.mean if metric else None for metric in times]},
        ),
        "cost_charts": [_shown(front, "Score against parameters")],
    }


def _cost_row(setting: Setting) -> Row:
    whole = partial(statistic_text, "parameters")  # in whole numbers
    stacks = {run.tags.get("stack_size", "") for run in setting.records} - {""}
    return {
        "parameters": whole(setting.metrics.get("parameters")),
        "epochs": whole(setting.metrics.get("final/epoch")),
        TIME: _time(seconds_of(setting.records)),
        "images per second": whole(setting.metrics.get(SPEED)),
        "runs in its stack": ", ".join(sorted(stacks, key=lambda size: (len(size), size))),
    }


def _score_rows(pools: Sequence[Pooled]) -> list[Row]:
    """Scores on each split; of one network with the interval over images."""
    rows = _split_rows((*SUMMARY_SCORES, "top_2_accuracy"), pools)
    single = {
        own.split: interval_text(own.together.accuracy_interval)
        for own in pools
        if len(own.runs) == 1
    }
    if single:
        rows.insert(1, {"": "accuracy's 95 % interval over images (Wilson)", **single})
    return rows


def _split_rows(keys: Sequence[str], pools: Sequence[Pooled]) -> list[Row]:
    return [
        {"": metric_name(key)} | {own.split: statistic_text(key, own.metrics[key]) for own in pools}
        for key in keys
    ]


def _class_rows(pooled: Pooled) -> list[Row]:
    """Precision, recall and F1 of each class, over all networks' predictions."""
    return [
        {
            "class": row["class"],
            "precision": _score(row["precision"]),
            "recall": _score(row["recall"]),
            "F1": _score(row["f1"]),
            "predictions": f"{row['support']:,}",
        }
        for row in classification.class_scores(pooled.together.counts, pooled.class_names)
    ]


def _title(pooled: Pooled) -> str:
    several = f", {len(pooled.runs)} networks pooled" if len(pooled.runs) > 1 else ""
    return f"{pooled.split.capitalize()}{several}"


def _shown(figure: Picture | None, caption: str) -> PagePicture | None:
    return PagePicture(png_bytes(figure), caption) if figure else None


def _table(rows: Iterable[Row]) -> Table | None:
    return table(list(rows), text=TEXT)


def _more(count: int) -> str:
    return f"and {plural(count - MOST_LISTED, 'more run')}" if count > MOST_LISTED else ""


def _score(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4f}"


def _share(count: int, support: int) -> str:
    return f"{count:,} of {support:,} ({count / max(support, 1):.1%})"


def _time(metric: Statistic | None) -> str:
    if metric is None:
        return ABSENT
    if metric.mean < 100:
        return f"{metric.mean:.1f}" + (f" ± {metric.std:.1f}" if metric.std else "") + " s"
    return duration(metric.mean)
