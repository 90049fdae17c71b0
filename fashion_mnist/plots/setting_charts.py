"""Charts of a sweep's settings: leaderboard, learning curves, a search's history, Pareto front.

A *setting* is a choice of values, one for each axis; its score is a statistic over its runs.
Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fashion_mnist.metrics.statistics import Statistic
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
    from matplotlib.figure import Figure

CURVE_COLORS = (BLUE, VERMILION, "#007a5a", "#a03d78", "#222222")  # after Okabe and Ito
MOST_MARKED = 30  # epochs with a dot and a whisker each
MOST_NUMBERED = 12  # settings of a Pareto front
PANEL = 626.0, 240.0  # with its margins a figure of 700 points
LINE_HEIGHT = 16  # of a list below a chart


class LeaderboardRow(NamedTuple):
    """One setting of a leaderboard."""

    values: Sequence[str]  # one for each column
    runs: Sequence[float]  # the score of each run
    score: Statistic
    score_text: str
    count_text: str  # how many runs


class Curve(NamedTuple):
    """How a setting learned."""

    label: str
    last_text: str  # its last value in words
    scores: Mapping[int, Statistic]  # epoch -> over the setting's runs


class Point(NamedTuple):
    """A setting with two objectives."""

    cost: float
    score: Statistic
    label: str
    scores_text: str


@default_style()
def leaderboard_figure(
    names: Sequence[str], rows: Sequence[LeaderboardRow], title: str, caption: str
) -> Figure:
    """Settings in rows, the best first: values, each run as a dot, mean ± std, number of runs.

    Args:
        names: of the columns of values.
    """
    columns = [[name, *(row.values[number] for row in rows)] for number, name in enumerate(names)]
    widths = _column_widths(columns)
    left, top = 14 + sum(width + 12 for width in widths), 66
    figure, [axes] = new_figure(
        title, caption, (300, 18 * len(rows)), left=left, right=162, top=top, bottom=34
    )
    x, right = 14.0, left + 300
    for (name, *texts), width in zip(columns, widths, strict=True):
        write(figure, x, top - 12, shortened(name, 8, width), 8, FAINT)
        for number, text in enumerate(texts):
            write(figure, x, top + 18 * (number + 0.5), shortened(text, 9, width), 9)
        x += width + 12
    write(figure, right + 104, top - 12, "mean ± std", 8, FAINT, "right")
    write(figure, right + 154, top - 12, "runs", 8, FAINT, "right")
    for number, row in enumerate(rows):
        color, y = BLUE if number else VERMILION, top + 18 * (number + 0.5)
        axes.errorbar(row.score.mean, number, xerr=row.score.std, fmt="o", color=color, ms=6.4)
        if len(row.runs) > 1:
            axes.plot(row.runs, [number] * len(row.runs), "o", color=PALE, ms=3.6, zorder=3)
        write(figure, right + 104, y, row.score_text, 9, color, "right")
        write(figure, right + 154, y, row.count_text, 9, INK, "right")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    number_ticks(axes.xaxis, 5)
    return figure


def _column_widths(columns: Sequence[Sequence[str]], room: float = 420) -> list[float]:
    """Widths of columns of texts; wide ones get what the narrow ones leave of the room."""
    widths = [max(text_width(text, 9) for text in column) for column in columns]
    share = max(room / max(len(widths), 1) - 12, 24)
    spare = room - sum(min(width, share) + 12 for width in widths)
    share += max(spare, 0) / max(sum(width > share for width in widths), 1)
    return [min(width, share) for width in widths]


@default_style()
def learning_curves_figure(curves: Sequence[Curve], title: str, caption: str) -> Figure:
    """Means over epochs, the best first, and ± std where there are several runs."""
    bottom = 44 + LINE_HEIGHT * len(curves)
    figure, [axes] = new_figure(title, caption, PANEL, bottom=bottom)
    last = max(max(curve.scores) for curve in curves)
    for number, (curve, color) in enumerate(zip(curves, CURVE_COLORS, strict=False)):
        epochs, means, stds = means_and_stds(curve.scores)
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
        place = number - len(curves)
        _write_setting(figure, place, ("—", 16, color), curve.label, curve.last_text)
    axes.set_xlim(0.5, last + 0.5)
    axes.set_xlabel("epoch")
    number_ticks(axes.xaxis, 10, whole=True)
    number_ticks(axes.yaxis)
    return figure


@default_style()
def history_figure(
    scores: Mapping[int, float],
    score_name: str,
    title: str,
    caption: str,
    *,
    lower_is_better: bool,
) -> Figure:
    """The score of each trial of a search as a dot, and the best so far as a line of steps.

    Args:
        scores: by the number of the trial, from 1; a trial without a score is left out.
    """
    figure, [axes] = new_figure(title, caption, PANEL)
    trials, values = np.array(sorted(scores.items()), dtype=np.float64).T
    best = np.minimum.accumulate(values) if lower_is_better else np.maximum.accumulate(values)
    axes.plot(trials, values, "o", color=PALE, ms=4.8)
    axes.step(trials, best, color=VERMILION, lw=1.4, where="post")
    axes.set_xlim(0.5, trials[-1] + 0.5)
    name_axes(axes, "trial", score_name)
    number_ticks(axes.xaxis, 10, whole=True)
    number_ticks(axes.yaxis)
    return figure


@default_style()
def pareto_figure(
    front: Sequence[Point],
    others: Sequence[Point],
    cost_name: str,
    title: str,
    caption: str,
    *,
    is_joined: bool = True,
) -> Figure:
    """Scores over costs: the settings that no other beats in both, numbered and named below.

    Costs that differ by a factor of eight or more are on a logarithmic axis.

    Args:
        is_joined: whether a line joins the front: of three objectives it would zigzag.
    """
    shown = front[:MOST_NUMBERED]
    bottom = 44 + LINE_HEIGHT * len(shown)
    figure, [axes] = new_figure(title, caption, PANEL, bottom=bottom)
    for points, color in ((others, PALE), (front, VERMILION)):
        if points:
            costs = [point.cost for point in points]
            means, stds = [p.score.mean for p in points], [p.score.std or 0 for p in points]
            axes.errorbar(costs, means, stds, fmt="o", color=color, ms=6.4)
    if is_joined:
        axes.plot([p.cost for p in front], [p.score.mean for p in front], color=VERMILION, lw=1)
    costs = [point.cost for point in (*front, *others)]
    is_log = min(costs) > 0 and max(costs) / min(costs) >= 8
    if is_log:
        axes.set_xscale("log")
        axes.minorticks_off()
    number_ticks(axes.xaxis)
    number_ticks(axes.yaxis)
    axes.set_xlabel(cost_name + (", logarithmic" if is_log else ""))
    for number, point in enumerate(shown, start=1):
        axes.annotate(
            str(number),
            (point.cost, point.score.mean),
            (-5, 8),
            textcoords="offset points",
            fontsize=8.5,
            color=VERMILION,
            ha="right",
            va="center",
        )
        mark, place = (str(number), 8.5, VERMILION), number - 1 - len(shown)
        _write_setting(figure, place, mark, point.label, point.scores_text)
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
