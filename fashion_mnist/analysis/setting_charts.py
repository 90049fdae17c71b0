"""Charts of a leaderboard's settings: scores, learning curves, a search's history, Pareto front.

Each is None where there is nothing to draw. Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fashion_mnist.analysis.effects import pareto_front
from fashion_mnist.analysis.labels import (
    ABSENT,
    lower_is_better,
    metric_name,
    metric_title,
    short_names,
    short_value,
    statistic_text,
)
from fashion_mnist.analysis.leaderboard import Leaderboard, Setting
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.plots.drawing import BLUE, FAINT, INK, PALE, VERMILION
from fashion_mnist.plots.figure import (
    default_style,
    means_and_stds,
    name_axes,
    new_figure,
    number_ticks,
    shortened,
    text_width,
    write,
)

if TYPE_CHECKING:
    from fashion_mnist.plots.figure import Figure

CURVE_COLORS = (BLUE, VERMILION, "#007a5a", "#a03d78", "#222222")  # after Okabe and Ito
MOST_CURVES = len(CURVE_COLORS)  # settings whose learning curves are drawn
MOST_ROWS = 20  # settings of a leaderboard
MOST_MARKED = 30  # epochs with a dot and a whisker each
MOST_NUMBERED = 12  # settings of a Pareto front
PANEL = 626.0, 240.0  # with its margins a figure of 700 points
LINE_HEIGHT = 16  # of a list below a chart
COLUMNS_WIDTH = 420.0  # of a leaderboard's values


@default_style()
def leaderboard_chart(board: Leaderboard) -> Figure | None:
    """The best settings in rows: values, each run as a dot, mean ± std, number of runs."""
    settings = board.scored[:MOST_ROWS]
    if not settings:
        return None
    total = len(board.settings)
    which = f"the best {len(settings)} of {total} settings" if total > 1 else "one setting"
    which = f"all {total} settings" if total == len(settings) > 1 else which
    columns = [
        [name, *(short_value(setting.values.get(axis, ABSENT)) for setting in settings)]
        for axis, name in short_names(board.axes).items()
    ]
    widths = _column_widths(columns)
    left, top = 14 + sum(width + 12 for width in widths), 66
    figure, [axes] = new_figure(
        f"{metric_title(board.score)}: {which}",
        "Pale dots: runs. Line: mean ± std over the runs of a setting, n − 1.",
        (300, 18 * len(settings)),
        left=left,
        right=162,
        top=top,
        bottom=34,
    )
    x, right = 14.0, left + 300
    for (name, *texts), width in zip(columns, widths, strict=True):
        write(figure, x, top - 12, shortened(name, 8, width), 8, FAINT)
        for number, text in enumerate(texts):
            write(figure, x, top + 18 * (number + 0.5), shortened(text, 9, width), 9)
        x += width + 12
    write(figure, right + 104, top - 12, "mean ± std", 8, FAINT, "right")
    write(figure, right + 154, top - 12, "runs", 8, FAINT, "right")
    for number, setting in enumerate(settings):
        score, runs = setting.metrics[board.score], setting.scored_runs
        color, y = BLUE if number else VERMILION, top + 18 * (number + 0.5)
        axes.errorbar(score.mean, number, xerr=score.std, fmt="o", color=color, ms=6.4)
        if len(runs) > 1:
            dots = [run.metrics[board.score] for run in runs]
            axes.plot(dots, [number] * len(dots), "o", color=PALE, ms=3.6, zorder=3)
        write(figure, right + 104, y, statistic_text(board.score, score), 9, color, "right")
        write(figure, right + 154, y, board.count_text(setting), 9, INK, "right")
    axes.set_ylim(len(settings) - 0.5, -0.5)
    axes.set_yticks([])
    number_ticks(axes.xaxis, 5)
    return figure


def _column_widths(columns: Sequence[Sequence[str]]) -> list[float]:
    """Widths of columns of texts; wide ones get what the narrow ones leave of the room."""
    widths = [max(text_width(text, 9) for text in column) for column in columns]
    share = max(COLUMNS_WIDTH / max(len(widths), 1) - 12, 24)
    spare = COLUMNS_WIDTH - sum(min(width, share) + 12 for width in widths)
    share += max(spare, 0) / max(sum(width > share for width in widths), 1)
    return [min(width, share) for width in widths]


@default_style()
def curves_chart(board: Leaderboard) -> Figure | None:
    """The best settings' validation over epochs: means and, of several runs, ± std."""
    key = "val/loss" if board.score == "final/val_loss" else "val/accuracy"
    best = board.scored[:MOST_CURVES]
    curves = [(setting, own) for setting in best if (own := _scores_by_epoch(setting, key))]
    if not curves:
        return None
    what, total = "loss" if key == "val/loss" else "accuracy", len(board.settings)
    which = f", the best {len(curves)} of {total} settings" if total > 1 else ""
    figure, [axes] = new_figure(
        f"Validation {what} over epochs{which}",
        "Mean ± std over the runs of a setting, n − 1, to the last epoch that all of them have",
        PANEL,
        bottom=44 + LINE_HEIGHT * len(curves),
    )
    last = max(max(scores) for _, scores in curves)
    for number, ((setting, scores), color) in enumerate(zip(curves, CURVE_COLORS, strict=False)):
        epochs, means, stds = means_and_stds(scores)
        order = 3 - 0.1 * number  # the best above the others
        if len(epochs) <= MOST_MARKED:
            # whiskers of several curves stand beside each other
            beside = epochs + (number - (len(curves) - 1) / 2) * 2 * last / PANEL[0]
            axes.vlines(beside, means - stds, means + stds, color, lw=0.9, zorder=order)
            axes.plot(epochs, means, "o-", color=color, lw=1.4, ms=4, zorder=order)
        else:
            low, high = means - stds, means + stds
            axes.fill_between(epochs, low, high, color=color, alpha=0.2, lw=0, zorder=order)
            axes.plot(epochs, means, color=color, lw=1.4, zorder=order)
        end = scores[max(scores)]
        words = f"{statistic_text(key, end)} (n = {end.n})"
        _write_setting(figure, number - len(curves), ("—", 16, color), board.label(setting), words)
    axes.set_xlim(0.5, last + 0.5)
    axes.set_xlabel("epoch")
    number_ticks(axes.xaxis, 10, whole=True)
    number_ticks(axes.yaxis)
    return figure


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


@default_style()
def history_chart(board: Leaderboard) -> Figure | None:
    """The score of each setting of a search as a dot, and the best so far as a line of steps.

    Settings are in the order in which they were first tried, for a search may try one again; one
    without a score is left out.
    """
    ordered = sorted(board.settings, key=lambda own: min(run.number for run in own.runs))
    scores = {k: setting.mean for k, setting in enumerate(ordered, start=1) if setting.score}
    if len(scores) < 2:
        return None
    name = metric_name(board.score)
    figure, [axes] = new_figure(
        f"{metric_title(board.score)} over {len(ordered)} settings",
        "Dots: settings, means over their runs. Line: the best so far.",
        PANEL,
    )
    places, values = np.array(list(scores.items()), dtype=np.float64).T
    best = np.minimum if lower_is_better(board.score) else np.maximum
    axes.plot(places, values, "o", color=PALE, ms=4.8)
    axes.step(places, best.accumulate(values), color=VERMILION, lw=1.4, where="post")
    axes.set_xlim(0.5, places[-1] + 0.5)
    name_axes(axes, "setting, in the order of the search", name)
    number_ticks(axes.xaxis, 10, whole=True)
    number_ticks(axes.yaxis)
    return figure


@default_style()
def pareto_chart(board: Leaderboard, objectives: Sequence[str]) -> Figure | None:
    """The first objective over the second; the settings of the Pareto front are numbered.

    These are named below, with a third objective, which is not drawn. Of two a line joins the
    front; of three it would zigzag. Costs that differ by a factor of eight or more are on a
    logarithmic axis.
    """
    if len(objectives) < 2:
        return None
    first, second = objectives[:2]
    found = [s for s in board.scored if all(key in s.metrics for key in objectives)]
    if not found:
        return None
    front = pareto_front(found, objectives)
    shown = front[:MOST_NUMBERED]
    figure, [axes] = new_figure(
        f"{metric_title(first)} against {metric_name(second)}",
        f"{len(front)} of {len(found)} settings, in orange: no other is better in one of the "
        f"{len(objectives)} objectives and as good in the rest",
        PANEL,
        bottom=44 + LINE_HEIGHT * len(shown),
    )
    others = [setting for setting in found if setting not in front]
    for settings, color in ((others, PALE), (front, VERMILION)):
        if settings:
            costs = [setting.metrics[second].mean for setting in settings]
            scores = [setting.metrics[first] for setting in settings]
            means, stds = [score.mean for score in scores], [score.std or 0 for score in scores]
            axes.errorbar(costs, means, stds, fmt="o", color=color, ms=6.4)
    places = [(setting.metrics[second].mean, setting.metrics[first].mean) for setting in front]
    if len(objectives) == 2:
        axes.plot(*zip(*places, strict=True), color=VERMILION, lw=1)
    costs = [setting.metrics[second].mean for setting in found]
    is_log = min(costs) > 0 and max(costs) / min(costs) >= 8
    if is_log:
        axes.set_xscale("log")
        axes.minorticks_off()
    number_ticks(axes.xaxis)
    number_ticks(axes.yaxis)
    axes.set_xlabel(metric_name(second) + (", logarithmic" if is_log else ""))
    for number, (setting, place) in enumerate(zip(shown, places, strict=False), start=1):
        axes.annotate(
            str(number),
            place,
            (-5, 8),
            textcoords="offset points",
            fontsize=8.5,
            color=VERMILION,
            ha="right",
            va="center",
        )
        texts = [statistic_text(key, setting.metrics[key]) for key in objectives]
        words = [f"{texts[0]} at {texts[1]} {metric_name(second)}"]
        words += [
            f"{metric_name(key)} {text}"
            for key, text in zip(objectives[2:], texts[2:], strict=True)
        ]
        line = f"{', '.join(words)} (n = {board.count_text(setting)})"
        mark = (str(number), 8.5, VERMILION)
        _write_setting(figure, number - 1 - len(shown), mark, board.label(setting), line)
    return figure


def _write_setting(
    figure: Figure, place: int, mark: tuple[str, float, str], label: str, scores: str
) -> None:
    """A line of a list at the foot of a chart: mark, what the setting is, scores at the right.

    Args:
        place: from -1, the last line, upwards.
        mark: text, font size and colour.
    """
    (width, height), (sign, size, color) = 72 * figure.get_size_inches(), mark
    y = height + LINE_HEIGHT * place - 2
    write(figure, 60, y, sign, size, color, "right")
    write(figure, width - 12, y, scores, 8.5, INK, "right")
    room = width - 100 - text_width(scores, 8.5)
    write(figure, 68, y, shortened(label, 8.5, room), 8.5)
