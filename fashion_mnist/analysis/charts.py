"""Charts of ranked settings and of predictions, and what is written in them.

A chart that there is nothing to draw for is None.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from fashion_mnist.analysis.effects import main_effects, pareto_front
from fashion_mnist.analysis.labels import (
    ABSENT,
    lower_is_better,
    metric_name,
    short_names,
    short_value,
    statistic_text,
)
from fashion_mnist.analysis.leaderboard import Leaderboard, Setting
from fashion_mnist.config.messages import plural
from fashion_mnist.metrics.calibration import area_under_risk
from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.plots.axis_charts import (
    Effect,
    effects_figure,
    heat_map_figure,
    importance_figure,
    parallel_figure,
)
from fashion_mnist.plots.png import Picture
from fashion_mnist.plots.run_charts import coverage_figure, reliability_figure
from fashion_mnist.plots.setting_charts import (
    Curve,
    LeaderboardRow,
    Point,
    history_figure,
    leaderboard_figure,
    learning_curves_figure,
    pareto_figure,
)

MOST_PANELS = 12  # of main effects


def sweep_charts(
    board: Leaderboard,
    *,
    shares: Mapping[str, float],
    objectives: Sequence[str],
    is_search: bool = False,
) -> dict[str, Picture]:
    """All pictures that this sweep has something to show for, by their names.

    Args:
        shares: the importance of each axis.
        is_search: whether settings were asked for one after the other.
    """
    pictures = {
        "leaderboard": leaderboard_chart(board),
        "main_effects": effects_chart(board, shares),
        "heat_map": heat_map_chart(board, shares),
        "learning_curves": curves_chart(board),
        "parallel_coordinates": parallel_chart(board),
        "importance": importance_chart(board, shares),
        "pareto_front": pareto_chart(board, objectives),
        "optimization_history": history_chart(board) if is_search else None,
    }
    return {name: figure for name, figure in pictures.items() if figure}


def leaderboard_chart(board: Leaderboard, limit: int = 20) -> Picture | None:
    """The best settings in rows: values, each run as a dot, mean ± std, number of runs."""
    rows = [
        LeaderboardRow(
            values=[short_value(setting.values.get(axis, ABSENT)) for axis in board.axes],
            runs=[run.metrics[board.score] for run in setting.scored_runs],
            score=setting.score,
            score_text=statistic_text(board.score, setting.score),
            count_text=board.count_text(setting),
        )
        for setting in board.scored[:limit]
        if setting.score
    ]
    if not rows:
        return None
    total, what = len(board.settings), metric_name(board.score)
    which = f"the best {len(rows)} of {total} settings" if total > 1 else "one setting"
    which = f"all {total} settings" if total == len(rows) > 1 else which
    return leaderboard_figure(
        list(short_names(board.axes).values()),
        rows,
        f"{what.capitalize()}: {which}",
        "Pale dots: runs. Line: mean ± std over the runs of a setting, n − 1.",
    )


def importance_chart(board: Leaderboard, shares: Mapping[str, float]) -> Picture | None:
    """A bar for each axis: its share of what distinguishes the best settings."""
    if not shares:
        return None
    over = f"by PED-ANOVA over {len(board.scored)} settings"
    return importance_figure(
        shares,
        f"What distinguishes the best settings by {metric_name(board.score)}",
        f"Share of each axis that all settings have, {over}",
    )


def effects_chart(board: Leaderboard, shares: Mapping[str, float]) -> Picture | None:
    """A panel for each axis: each value's mean ± std over settings, and the settings as dots."""
    effects = main_effects(board)
    axes = sorted(effects, key=lambda axis: -shares.get(axis, 0))[:MOST_PANELS]
    if not axes:
        return None
    names = short_names(axes)
    panels = [
        Effect(
            name=names[axis],
            note=f"{shares[axis]:.0%} of the differences" if axis in shares else "",
            scores=effects[axis],
            settings=[(s.values[axis], s.mean) for s in board.scored if axis in s.values],
        )
        for axis in axes
    ]
    num_hidden = len(effects) - len(axes)
    hidden = f" ({num_hidden} more axes in the table)" if num_hidden else ""
    return effects_figure(
        panels,
        f"{metric_name(board.score).capitalize()} along each axis{hidden}",
        "Pale dots: settings, means over their runs. Blue: mean ± std over them, n − 1.",
    )


def parallel_chart(board: Leaderboard) -> Picture | None:
    """A line for each setting through its values, to its score."""
    settings = board.scored
    if not board.axes or len(settings) < 2:
        return None
    return parallel_figure(
        [*short_names(board.axes).values(), metric_name(board.score)],
        [[s.values.get(axis, ABSENT) for s in settings] for axis in board.axes],
        [setting.mean for setting in settings],
        f"Every setting to its {metric_name(board.score)}",
        f"{len(settings)} settings, means over their runs; the thick line is the best",
        lower_is_better=lower_is_better(board.score),
    )


def heat_map_chart(board: Leaderboard, shares: Mapping[str, float]) -> Picture | None:
    """The mean score for each pair of values of the two axes that matter most."""
    axes = sorted(main_effects(board), key=lambda axis: -shares.get(axis, 0))[:2]
    if len(axes) < 2:
        return None
    cells: dict[tuple[str, str], list[float]] = {}
    for setting in board.scored:
        if all(axis in setting.values for axis in axes):
            pair = (setting.values[axes[0]], setting.values[axes[1]])
            cells.setdefault(pair, []).append(setting.mean)
    if len(cells) < 2:
        return None
    first, second = short_names(axes).values()
    counts = sorted({len(scores) for scores in cells.values()})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return heat_map_figure(
        {pair: fmean(scores) for pair, scores in cells.items()},
        (first, second),
        metric_name(board.score),
        f"{metric_name(board.score).capitalize()} by {first} and {second}",
        f"the mean over settings, n = {each} each",
        lower_is_better=lower_is_better(board.score),
    )


def curves_chart(board: Leaderboard, limit: int = 5) -> Picture | None:
    """The best settings' validation over epochs: means and, of several runs, ± std."""
    key = "val/loss" if board.score == "final/val_loss" else "val/accuracy"
    curves = []
    for setting in board.scored[:limit]:
        if scores := _scores_by_epoch(setting, key):
            last = scores[max(scores)]
            text = f"{statistic_text(key, last)} (n = {last.n})"
            curves.append(Curve(board.label(setting), text, scores))
    if not curves:
        return None
    what, total = "loss" if key == "val/loss" else "accuracy", len(board.settings)
    which = f", the best {len(curves)} of {total} settings" if total > 1 else ""
    return learning_curves_figure(
        curves,
        f"Validation {what} over epochs{which}",
        "Mean ± std over the runs of a setting, n − 1, to the last epoch that all of them have",
    )


def history_chart(board: Leaderboard) -> Picture | None:
    """The score of each trial of a search, in the order of its trials, and the best so far."""
    ordered = sorted(board.settings, key=lambda own: min(run.number for run in own.runs))
    scores = {k: setting.mean for k, setting in enumerate(ordered, start=1) if setting.score}
    if len(scores) < 2:
        return None
    name = metric_name(board.score)
    return history_figure(
        scores,
        name,
        f"{name.capitalize()} over {len(ordered)} trials",
        "Dots: trials, means over their runs. Line: the best so far.",
        lower_is_better=lower_is_better(board.score),
    )


def pareto_chart(board: Leaderboard, objectives: Sequence[str]) -> Picture | None:
    """The first objective over the second, and the settings that no other beats in all.

    A third objective is not drawn: it is named in the list below.
    """
    if len(objectives) < 2:
        return None
    first, second = objectives[:2]
    found = [s for s in board.scored if all(key in s.metrics for key in objectives)]
    if not found:
        return None
    front = pareto_front(found, objectives)

    def point(setting: Setting) -> Point:
        texts = [statistic_text(key, setting.metrics[key]) for key in objectives]
        third = "".join(
            f", {metric_name(key)} {text}"
            for key, text in zip(objectives[2:], texts[2:], strict=True)
        )
        return Point(
            cost=setting.metrics[second].mean,
            score=setting.metrics[first],
            label=board.label(setting),
            scores_text=(
                f"{texts[0]} at {texts[1]} {metric_name(second)}{third} "
                f"(n = {board.count_text(setting)})"
            ),
        )

    return pareto_figure(
        [point(setting) for setting in front],
        [point(setting) for setting in found if setting not in front],
        metric_name(second),
        f"{metric_name(first).capitalize()} against {metric_name(second)}",
        f"{len(front)} of {len(found)} settings, in orange: no other is better in "
        + ("both" if len(objectives) == 2 else f"all {len(objectives)} objectives"),
        is_joined=len(objectives) == 2,
    )


def reliability_chart(predictions: Predictions, title: str) -> Picture:
    """How far the probabilities can be believed: accuracy over confidence, in bins."""
    own = predictions.metrics
    measured = f"ECE {own['ece']:.4f}, Brier score {own['brier']:.4f}, "
    measured += f"negative log-likelihood {own['nll']:.4f}"
    number = plural(len(predictions.labels), "prediction")
    return reliability_figure(
        *predictions.reliability,
        title=f"{title}: calibration",
        caption=f"{measured}; {number} in bins by confidence",
    )


def coverage_chart(predictions: Predictions, title: str) -> Picture:
    """Accuracy where a network may abstain."""
    area = area_under_risk(predictions.selection)
    number = plural(len(predictions.labels), "prediction")
    return coverage_figure(
        predictions.selection.accuracy,
        f"{title}: accuracy where it may abstain",
        f"The most confident of {number} first; area under the risk-coverage curve {area:.4f}",
    )


def _scores_by_epoch(setting: Setting, key: str) -> dict[int, Statistic]:
    """Epoch -> what the runs with a score have there, as far as all of them went."""
    rows = [
        {int(row["epoch"]): row[key] for row in run.history if key in row}
        for run in setting.scored_runs
        if run.history
    ]
    common = set.intersection(*map(set, rows)) if rows else set()
    epochs = [e for e in sorted(common) if all(math.isfinite(own[e]) for own in rows)]
    return {epoch: statistic([own[epoch] for own in rows]) for epoch in epochs}
