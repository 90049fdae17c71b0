"""A report as one HTML page, to read on a screen or in print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fashion_mnist.analysis.charts import (
    curves_chart,
    effects_chart,
    heat_map_chart,
    importance_chart,
    leaderboard_chart,
    pareto_chart,
)
from fashion_mnist.analysis.compare import CALIBRATION_NAMES, SCORE_NAMES
from fashion_mnist.analysis.details import grouped
from fashion_mnist.analysis.labels import ABSENT, interval_text
from fashion_mnist.analysis.leaderboard import SPEED, Leaderboard, Row
from fashion_mnist.analysis.pooled import Pooled, worst_pairs
from fashion_mnist.analysis.report import Report, SecondBest, fingerprints
from fashion_mnist.analysis.report_text import (
    answer,
    origin_of,
    question,
    seconds_of,
    wall_seconds,
)
from fashion_mnist.analysis.sweep_summary import SPREAD_NOTE, effects_context, leaderboard_table
from fashion_mnist.config.messages import duration, plural
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.statistics import Statistic, wilson_interval
from fashion_mnist.plots.confusion import confusion_figure, difference_figure
from fashion_mnist.plots.image_grid import pair_figure
from fashion_mnist.plots.png import Picture as Drawn
from fashion_mnist.plots.png import png_bytes
from fashion_mnist.plots.run_charts import coverage_figure, curves_figure, reliability_figure
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.identity import FAILURE_TAG
from fashion_mnist.templates import Picture, picture, render, table
from fashion_mnist.tracking.recorded import SWEEP_COMMAND_TAG

MOST_LISTED = 20  # failed runs; runs of one setting
TEXT = {"", "setting", "class", "classes", "F1 of", "run", "why"}  # columns that stand on the left
SCORES = SCORE_NAMES | {"top_2_accuracy": "top-2 accuracy"}


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
    board = report.board
    is_one_setting = report.is_one_run or len(board.settings) == 1
    failed = [run for run in report.runs if run.status == "FAILED"]
    return render(
        "report.html",
        title=f"Report: {report.subject.title}",
        answer=answer(board),
        question=question(board, report.subject),
        is_one_run=report.is_one_run,
        of_best="" if is_one_setting else " of the best setting",
        leaderboard=leaderboard_table(board),
        spread_note=SPREAD_NOTE,
        notes=board.notes(),
        failures=_table(
            [
                {"": run.run_id[:8], "run": run.name, "why": run.tags.get(FAILURE_TAG, "")}
                for run in failed[:MOST_LISTED]
            ]
        ),
        more_failures=_more(len(failed)),
        configured=report.board.settings[0].records[0].name,
        configuration=_pairs(dict(grouped(board.settings[0].records[0].parameters))),
        origin=_pairs(origin_of(report.runs)),
        **_charts(report),
        **effects_context(board),
        **_best(report),
        **_second(report),
        **_costs(report),
        **_repeats(report),
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
        "scores": _table(_score_rows(pools)) if pools else None,
        "scores_note": "",
        "calibration": _table(_split_rows(CALIBRATION_NAMES, pools)) if pools else None,
        "confusion": [_shown(_confusion(own), f"Confusion matrix, {own.split}") for own in pools],
        "reliability": [
            _shown(_reliability(own), f"Reliability diagram, {own.split}") for own in pools
        ],
        "coverage": [
            _shown(_coverage(own), f"Accuracy over coverage, {own.split}") for own in pools
        ],
        "pairs": None,
    }
    if not pools:
        return context
    first = pools[0]
    several = len(first.runs) > 1
    summed = f" of {len(first.runs)} networks, summed" if several else ""
    context |= {
        "scores_note": "Mean ± std (n − 1) over its networks." if several else "",
        "classes_title": f"Classes: predictions of the {first.split} split{summed}",
        "classes": table(_class_rows(first), text=TEXT, is_sorted=True),
        "absent": classification.absent_classes(first.counts, first.class_names),
        "pairs": _table(_pair_rows(first)),
        "pairs_note": f"On the {first.split} split, all networks' predictions together.",
        "no_images": f"The images are not shown: {report.no_images}" if report.no_images else "",
        "pair_charts": _pair_charts(report),
    }
    return context


def _second(report: Report) -> dict[str, Any]:
    """The best setting and the second, class by class."""
    found, board = report.second, report.board
    context: dict[str, Any] = {"second": "", "no_second": ""}
    if not isinstance(found, SecondBest):
        is_missing = len(board.settings) > 1
        words = f"Their confusion matrices cannot be compared: {found}."
        return context | {"no_second": words if is_missing else ""}
    several = f", summed over {found.num_pairs} seeds that both have" if found.num_pairs > 1 else ""
    figure = difference_figure(
        found.second.numpy(), found.best.numpy(), found.class_names, ("second", "best")
    )
    return context | {
        "second": f"The second: {board.label(board.settings[1])}. On the same images of the "
        f"{report.best[0].split} split{several}.",
        "second_charts": [_shown(figure, "Difference of the confusion matrices")],
        "second_classes": _table(_second_rows(found)),
    }


def _costs(report: Report) -> dict[str, Any]:
    runs, board = report.runs, report.board
    spent = sum(run.duration.total_seconds() for run in runs if run.duration)
    wall = wall_seconds(runs)
    words = f"From the first start to the last end: {duration(wall)}. " if wall is not None else ""
    words += f"All runs' times together: {duration(spent)}. "
    words += "Runs of a stack are trained together: each has the time of the whole stack."
    sizes = {s.metrics["parameters"].mean for s in board.scored if "parameters" in s.metrics}
    objectives = list(dict.fromkeys([board.score, "parameters"]))
    front = pareto_chart(board, objectives) if len(sizes) > 1 else None
    return {
        "costs_note": words,
        "costs": table(_cost_rows(board), text=TEXT, is_sorted=len(board.shown) > 2),
        "cost_charts": [_shown(front, "Score against parameters")],
    }


def _repeats(report: Report) -> dict[str, Any]:
    board = report.board
    repeats = []
    for (setting, _), (command, why) in zip(board.shown, report.commands, strict=True):
        own = fingerprints(setting)
        repeats.append(
            {
                "label": board.label(setting),
                "command": command,
                "why": why,
                "runs": own[:MOST_LISTED],
                "more": _more(len(own)),
            }
        )
    commands = [
        (sweep.name, sweep.tags[SWEEP_COMMAND_TAG])
        for sweep in report.subject.sweeps
        if SWEEP_COMMAND_TAG in sweep.tags
    ]
    return {"repeats": repeats, "sweep_commands": commands}


def _score_rows(pools: Sequence[Pooled]) -> list[Row]:
    """Scores on each split; of one network with the interval over images."""
    rows = _split_rows(SCORES, pools)
    single = {own.split: _wilson(own) for own in pools if len(own.runs) == 1}
    if single:
        rows.insert(1, {"": "accuracy's 95 % interval over images (Wilson)", **single})
    return rows


def _split_rows(names: Mapping[str, str], pools: Sequence[Pooled]) -> list[Row]:
    return [
        {"": name, **{own.split: _metric(own.metrics[key]) for own in pools}}
        for key, name in names.items()
    ]


def _class_rows(pooled: Pooled) -> list[Row]:
    """Precision, recall and F1 of each class, over all networks' predictions."""
    report = classification.classification_report(pooled.counts, pooled.class_names)
    return [
        {
            "class": row["class"],
            "precision": _score(row["precision"]),
            "recall": _score(row["recall"]),
            "F1": _score(row["f1"]),
            "predictions": f"{row['support']:,}",
        }
        for row in report[: len(pooled.class_names)]
    ]


def _second_rows(found: SecondBest) -> list[Row]:
    """F1 of each class, of the best setting and the second."""
    scores = (classification.class_f1(counts) for counts in (found.best, found.second))
    return [
        {
            "F1 of": name,
            "best": _score(best),
            "second": _score(second),
            "best − second": ABSENT if best is None or second is None else f"{best - second:+.4f}",
        }
        for name, best, second in zip(found.class_names, *scores, strict=True)
    ]


def _pair_rows(pooled: Pooled) -> list[Row]:
    names = pooled.class_names
    return [
        {
            "classes": " and ".join(names[each] for each in pair.classes),
            "the first for the second": _share(pair.counts[0], pair.support[0]),
            "the second for the first": _share(pair.counts[1], pair.support[1]),
        }
        for pair in worst_pairs(pooled.counts)
    ]


def _cost_rows(board: Leaderboard) -> list[Row]:
    """What each setting shown took."""
    rows = []
    for setting, _ in board.shown:
        stacks = {run.tags.get("stack_size", "") for run in setting.records} - {""}
        rows.append(
            {
                "setting": board.label(setting),
                "parameters": _whole(setting.metrics.get("parameters")),
                "epochs": _whole(setting.metrics.get("final/epoch")),
                "time of a run": _time(seconds_of(setting.records)),
                "images per second": _whole(setting.metrics.get(SPEED)),
                "runs in its stack": ", ".join(sorted(stacks, key=lambda size: (len(size), size))),
            }
        )
    return rows


def _pair_charts(report: Report) -> list[Picture | None]:
    """Images of the classes that are most confused."""
    if report.images is None:
        return []
    pooled = report.best[0]
    labels, probabilities = pooled.predictions[0].labels, pooled.on_same_images
    return [
        _shown(
            pair_figure(report.images, labels, probabilities, pooled.class_names, pair.classes),
            " and ".join(pooled.class_names[each] for each in pair.classes),
        )
        for pair in worst_pairs(pooled.counts)
    ]


def _confusion(pooled: Pooled) -> Drawn:
    return confusion_figure(pooled.counts.numpy(), pooled.class_names, _title(pooled))


def _reliability(pooled: Pooled) -> Drawn:
    bins = pooled.reliability
    return reliability_figure(
        bins.examples.numpy(),
        bins.confidence.numpy(),
        bins.accuracy.numpy(),
        f"{_title(pooled)}: calibration",
        f"{plural(pooled.num_predictions, 'prediction')} in bins by their confidence; stroke: how "
        "far that is from their accuracy",
    )


def _coverage(pooled: Pooled) -> Drawn:
    return coverage_figure(
        pooled.selection.accuracy.numpy(),
        f"{_title(pooled)}: accuracy where it may abstain",
        f"the most confident of {plural(pooled.num_predictions, 'prediction')} first",
    )


def _title(pooled: Pooled) -> str:
    several = f", {len(pooled.runs)} networks" if len(pooled.runs) > 1 else ""
    return f"{pooled.split.capitalize()}{several}"


def _shown(figure: Drawn | None, caption: str) -> Picture | None:
    return picture(png_bytes(figure), caption) if figure else None


def _table(rows: Sequence[Row]) -> Any:
    return table(rows, text=TEXT)


def _pairs(values: Mapping[str, str]) -> Any:
    """A table of names and texts without headings."""
    return table([{"": name, " ": value} for name, value in values.items()], text={"", " "})


def _more(count: int) -> str:
    return f"and {plural(count - MOST_LISTED, 'more run')}" if count > MOST_LISTED else ""


def _metric(metric: Statistic) -> str:
    spread = "" if metric.std is None else f" ± {metric.std:.4f}"
    return f"{metric.mean:.4f}{spread}"


def _wilson(pooled: Pooled) -> str:
    right = int(pooled.counts.diagonal().sum())
    return interval_text(wilson_interval(right, pooled.num_predictions))


def _score(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4f}"


def _share(count: int, support: int) -> str:
    return f"{count:,} of {support:,} ({count / max(support, 1):.1%})"


def _whole(metric: Statistic | None) -> str:
    if metric is None:
        return ABSENT
    return f"{metric.mean:,.0f}" + (f" ± {metric.std:,.0f}" if metric.std else "")


def _time(metric: Statistic | None) -> str:
    if metric is None:
        return ABSENT
    if metric.mean < 100:
        return f"{metric.mean:.1f}" + (f" ± {metric.std:.1f}" if metric.std else "") + " s"
    return duration(metric.mean)
