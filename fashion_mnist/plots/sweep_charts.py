"""Charts of a sweep: its leaderboard, what each axis does, learning curves, the Pareto front.

A *setting* is a choice of values, one for each axis; its score is a statistic over its runs.
Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.drawing import BLUE, FAINT, INK, RGB, VERMILION, inks_on, ramp
from fashion_mnist.plots.figure import (
    TICK_SIZE,
    Tick,
    add_panel,
    apart,
    default_style,
    depth_below,
    new_figure,
    number_ticks,
    round_numbers,
    shortened,
    size_of,
    text_ticks_below,
    text_width,
    write,
)
from fashion_mnist.plots.scale import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 700.0
PALE = "#b5b5b5"
# from pale to dark, the better the darker: the order can be seen without colours too
WORSE_TO_BETTER = ((0.94, 0.95, 0.78), (0.50, 0.78, 0.72), (0.14, 0.48, 0.64), (0.08, 0.14, 0.38))
CURVE_COLORS = (BLUE, VERMILION, "#007a5a", "#a03d78", "#222222")  # after Okabe and Ito
MOST_LABELLED = 12  # values of an axis: where there are more, round numbers are written instead
MOST_MARKED = 30  # epochs with a dot and a whisker each
MOST_NUMBERED = 12  # settings of a Pareto front
PANEL_WIDTH, PANEL_HEIGHT = 190.0, 130.0

Means = Mapping[tuple[str, str], float]  # values of two axes -> score
Floats = NDArray[np.float64]


class LeaderboardRow(NamedTuple):
    """One setting of a leaderboard."""

    values: Sequence[str]  # one for each column
    runs: Sequence[float]  # the score of each run
    score: Statistic
    score_text: str
    count_text: str  # how many runs


class Effect(NamedTuple):
    """What the values of one axis do."""

    name: str
    note: str
    scores: Mapping[str, Statistic]  # value -> over the settings that have it
    settings: Sequence[tuple[str, float]]  # value and score of each setting


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
    left, top, height = 14 + sum(width + 12 for width in widths), 66, 18 * len(rows)
    right = left + 300
    figure = new_figure(right + 162, top + height + 34, title, caption)
    axes = add_panel(figure, left, top, 300, height)
    x = 14.0
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
            axes.plot(row.runs, [number] * len(row.runs), "o", color="#a9a9a9", ms=3.6, zorder=3)
        write(figure, right + 104, y, row.score_text, 9, color, "right")
        write(figure, right + 154, y, row.count_text, 9, INK, "right")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    number_ticks(axes.xaxis, 5)
    return figure


@default_style()
def importance_figure(shares: Mapping[str, float], title: str, caption: str) -> Figure:
    """A bar for each axis: its share of the differences between settings, in [0, 1]."""
    figure = new_figure(WIDTH, 66 + 20 * len(shares), title, caption)
    axes = add_panel(figure, 180, 56, WIDTH - 240, 20 * len(shares))
    bars = axes.barh(range(len(shares)), list(shares.values()), 0.6, color=BLUE)
    axes.bar_label(bars, [f"{share:.1%}" for share in shares.values()], padding=6, color=FAINT)
    axes.set_yticks(range(len(shares)), [shortened(axis, 9, 166) for axis in shares])
    axes.tick_params("y", labelsize=9, labelcolor=INK)
    axes.set_xlim(0, max(shares.values()) or 1)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xticks([])
    axes.grid(visible=False)
    return figure


@default_style()
def effects_figure(effects: Sequence[Effect], title: str, caption: str) -> Figure:
    """A panel for each axis: the mean ± std of each value, and the settings as dots.

    Where no value has two settings the settings alone are shown.
    """
    scales = [scale_of(effect.scores) for effect in effects]
    num_columns = min(3, len(effects))
    depths = [depth_below(_ticks(scale), PANEL_WIDTH / scale.length) for scale in scales]
    step = PANEL_HEIGHT + 30 + max(depths)
    num_rows = -(-len(effects) // num_columns)
    size = max(WIDTH * num_columns / 3, 420), 50 + num_rows * step
    figure = new_figure(*size, title, caption)
    panels: list[Axes] = []
    for number, (effect, scale) in enumerate(zip(effects, scales, strict=True)):
        row, column = divmod(number, num_columns)
        x, y = 52 + column * (PANEL_WIDTH + 30), 70 + row * step
        axes = add_panel(figure, x, y, PANEL_WIDTH, PANEL_HEIGHT)
        if panels:
            axes.sharey(panels[0])
            axes.tick_params(labelleft=column == 0)
        panels.append(axes)
        _draw_effect(axes, effect, scale)
        write(figure, x + PANEL_WIDTH, y - 9, effect.note, 8, FAINT, "right")
        room = PANEL_WIDTH - text_width(effect.note, 8) - 8
        write(figure, x, y - 9, shortened(effect.name, 10, room), 10)
    number_ticks(panels[0].yaxis, 5)
    return figure


@default_style()
def parallel_figure(
    names: Sequence[str],
    values: Sequence[Sequence[str]],
    scores: Sequence[float],
    title: str,
    caption: str,
    *,
    lower_is_better: bool,
) -> Figure:
    """A line for each setting, the best first, through its values to its score.

    Args:
        names: of the axes, and of the score at last.
        values: of each axis, one for each setting.
    """
    from matplotlib.collections import LineCollection

    left, top, height = 60, 80, 240
    gap = max(96.0, (WIDTH - 2 * left) / len(values))
    figure = new_figure(2 * left + gap * len(values), top + height + 24, title, caption)
    axes = add_panel(figure, left, top, gap * len(values), height)
    scales = [scale_of(own) for own in values]
    air = 0.06 * float(np.ptp(scores)) or 0.01
    ends = [*(scale.ends for scale in scales), (min(scores) - air, max(scores) + air)]
    columns = [
        [scale.positions[value] for value in own] for scale, own in zip(scales, values, strict=True)
    ]
    # every axis from 0 to 1
    heights = [
        np.interp(column, own, (0, 1)).tolist()
        for column, own in zip([*columns, scores], ends, strict=True)
    ]
    colors = _colors_of(scores, lower_is_better=lower_is_better)
    lines = [list(enumerate(line)) for line in zip(*heights, strict=True)]
    widths = [2.4] + [1.1] * (len(lines) - 1)
    # the worst first, so that the best lie on top
    axes.add_collection(LineCollection(lines[::-1], linewidths=widths[::-1], colors=colors[::-1]))
    axes.set(xlim=(0, len(values)), ylim=(0, 1), yticks=[])
    room = min(gap, 2 * left) - 6
    axes.set_xticks(range(len(names)), [shortened(name, 9, room) for name in names])
    axes.tick_params("x", labeltop=True, labelbottom=False, labelsize=9, labelcolor=INK, pad=8)
    axes.grid(visible=False)
    axes.vlines(range(len(names)), 0, 1, INK, lw=0.8, clip_on=False)
    all_ticks = [*map(_ticks, scales), round_numbers(*ends[-1], 6)]
    for x, (ticks, own) in enumerate(zip(all_ticks, ends, strict=True)):
        shares = [(float(np.interp(place, own, (0, 1))), text) for place, text in ticks]
        _write_beside(axes, x, apart(shares, height, 10), gap / 2)
    return figure


@default_style()
def heat_map_figure(
    means: Means,
    names: tuple[str, str],
    score_name: str,
    title: str,
    note: str,
    *,
    lower_is_better: bool,
) -> Figure:
    """The mean score for each pair of values of two axes: the darker the better.

    Where one of the axes has one value alone it is a line along the other; where one has more than
    twelve, a dot for each pair.

    Args:
        names: of the axes, the one across first.
        note: what the means are of.
    """
    scales = scale_of(first for first, _ in means), scale_of(second for _, second in means)
    sizes = [len(scale.positions) for scale in scales]
    if min(sizes) == 1:
        along = 0 if sizes[0] > 1 else 1
        fixed = f"{names[1 - along]}={scales[1 - along].values[0]}"
        line = {pair[along]: mean for pair, mean in means.items()}
        return _line(line, names[along], score_name, (title, f"With {fixed}; {note}"))
    colors = _colors_of(list(means.values()), lower_is_better=lower_is_better)
    if max(sizes) <= MOST_LABELLED:
        words = title, f"The darker the better; {note}"
        return _heat_map(means, colors, scales, names, words)
    words = title, "The darker the better; a dot for each pair of values"
    return _scatter(means, colors, scales, names, words, lower_is_better=lower_is_better)


@default_style()
def learning_curves_figure(curves: Sequence[Curve], title: str, caption: str) -> Figure:
    """Means over epochs, the best first, and ± std where there are several runs."""
    left, top, height = 52, 48, 230
    foot = top + height + 42
    figure = new_figure(WIDTH, foot + 2 + 16 * len(curves), title, caption)
    axes_width = WIDTH - left - 12
    axes = add_panel(figure, left, top, axes_width, height)
    last = max(max(curve.scores) for curve in curves)
    for number, (curve, color) in enumerate(zip(curves, CURVE_COLORS, strict=False)):
        epochs, means, stds = _arrays(curve.scores)
        order = 3 - 0.1 * number  # the best above the others
        if len(epochs) <= MOST_MARKED:
            # whiskers of several curves stand beside each other
            beside = epochs + (number - (len(curves) - 1) / 2) * 2 * last / axes_width
            axes.vlines(beside, means - stds, means + stds, color, lw=0.9, zorder=order)
            axes.plot(epochs, means, "o-", color=color, lw=1.4, ms=4, zorder=order)
        else:
            low, high = means - stds, means + stds
            axes.fill_between(epochs, low, high, color=color, alpha=0.2, lw=0, zorder=order)
            axes.plot(epochs, means, color=color, lw=1.4, zorder=order)
        y = foot + 16 * number
        write(figure, left, y, "—", 16, color)
        _write_setting(figure, left + 24, y, curve.label, curve.last_text)
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
    left, top, height = 60, 48, 240
    figure = new_figure(WIDTH, top + height + 42, title, caption)
    axes = add_panel(figure, left, top, WIDTH - left - 12, height)
    trials, values = np.array(sorted(scores.items()), dtype=np.float64).T
    best = np.minimum.accumulate(values) if lower_is_better else np.maximum.accumulate(values)
    axes.plot(trials, values, "o", color=PALE, ms=4.8)
    axes.step(trials, best, color=VERMILION, lw=1.4, where="post")
    axes.set_xlim(0.5, trials[-1] + 0.5)
    _name_axes(axes, "trial", score_name)
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
    left, top, height = 60, 48, 240
    foot = top + height + 42
    shown = front[:MOST_NUMBERED]
    figure = new_figure(WIDTH, foot + 2 + 16 * len(shown), title, caption)
    axes = add_panel(figure, left, top, WIDTH - left - 12, height)
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
        low, high = map(math.log10, axes.get_xlim())
        ticks = power_ticks(low, high)
        widest = max(text_width(text, TICK_SIZE) for _, text in ticks)
        ticks = apart(ticks, size_of(axes)[0] / (high - low), widest + 6)
        axes.set_xticks([10**place for place, _ in ticks], [text for _, text in ticks])
        axes.minorticks_off()
    else:
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
        y = foot + 16 * (number - 1)
        write(figure, left, y, str(number), 8.5, VERMILION, "right")
        _write_setting(figure, left + 8, y, point.label, point.scores_text)
    return figure


def _write_setting(figure: Figure, x: float, y: float, label: str, scores: str) -> None:
    """A line of a list below a chart: what the setting is, and its scores at the right."""
    write(figure, WIDTH - 12, y, scores, 8.5, INK, "right")
    room = WIDTH - 32 - x - text_width(scores, 8.5)
    write(figure, x, y, shortened(label, 8.5, room), 8.5)


def _column_widths(columns: Sequence[Sequence[str]], room: float = 420) -> list[float]:
    """Widths of columns of texts; wide ones get what the narrow ones leave of the room."""
    widths = [max(text_width(text, 9) for text in column) for column in columns]
    share = max(room / max(len(widths), 1) - 12, 24)
    spare = room - sum(min(width, share) + 12 for width in widths)
    share += max(spare, 0) / max(sum(width > share for width in widths), 1)
    return [min(width, share) for width in widths]


def _draw_effect(axes: Axes, effect: Effect, scale: Scale) -> None:
    """One panel of main effects, its values below it."""
    axes.set_xlim(*scale.ends)
    text_ticks_below(axes, _ticks(scale))
    places = [scale.positions[value] for value, _ in effect.settings]
    scores = [score for _, score in effect.settings]
    if all(score.n == 1 for score in effect.scores.values()):
        axes.plot(places, scores, "o", color=BLUE, ms=4.8)
        return
    beside = [place - 0.02 * scale.length for place in places]
    axes.plot(beside, scores, "o", color=PALE, ms=3.2)
    xs, means, stds = _arrays({scale.positions[v]: s for v, s in effect.scores.items()})
    is_line = scale.spacing != "even" and len(xs) <= MOST_LABELLED
    axes.errorbar(xs, means, stds, fmt="o-" if is_line else "o", color=BLUE, lw=0.8, elinewidth=1.6)


def _heat_map(
    means: Means,
    colors: Sequence[RGB],
    scales: tuple[Scale, Scale],
    names: tuple[str, str],
    words: tuple[str, str],
) -> Figure:
    """A cell for each pair of values, with the mean in it."""
    columns, rows = scales[0].values, scales[1].values
    labels = [shortened(value, 9, 130) for value in rows]
    cell, height, top = max(58.0, min(110.0, 400 / len(columns))), 30 * len(rows), 58
    left = 34 + max(text_width(label, 9) for label in labels)
    ticks = [(number + 0.5, value) for number, value in enumerate(columns)]
    size = left + cell * len(columns) + 12, top + height + depth_below(ticks, cell) + 24
    figure = new_figure(max(size[0], 420), size[1], *words)
    axes = add_panel(figure, left, top, cell * len(columns), height)
    cells = np.ones((len(rows), len(columns), 3))  # white where there is no score
    for ((first, second), mean), color in zip(means.items(), colors, strict=True):
        x, y = columns.index(first), rows.index(second)
        cells[y, x] = color
        ink = str(inks_on(np.array(color)))
        place = x + 0.5, y + 0.5
        axes.text(*place, f"{mean:.4f}", color=ink, fontsize=10, ha="center", va="center_baseline")
    axes.pcolormesh(cells, edgecolors="white", linewidth=1.2)
    text_ticks_below(axes, ticks)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], labels)
    axes.tick_params("y", labelsize=9, labelcolor=INK)
    _name_axes(axes, *names)
    axes.grid(visible=False)
    return figure


def _scatter(
    means: Means,
    colors: Sequence[RGB],
    scales: tuple[Scale, Scale],
    names: tuple[str, str],
    words: tuple[str, str],
    *,
    lower_is_better: bool,
) -> Figure:
    """A dot for each pair of values, its colour the mean: for axes of many values."""
    left, top, width, height = 92, 58, WIDTH - 104, 260
    ticks = _ticks(scales[0])
    depth = depth_below(ticks, width / scales[0].length)
    figure = new_figure(WIDTH, top + height + depth + 24, *words)
    axes = add_panel(figure, left, top, width, height)
    # the worst first, so that the best lie on top
    order = np.argsort([-mean if lower_is_better else mean for mean in means.values()])
    pairs = list(means)
    x, y = ([scale.positions[pairs[n][k]] for n in order] for k, scale in enumerate(scales))
    fills = [colors[n] for n in order]
    axes.scatter(x, y, s=70, c=fills, edgecolors="#8c8c8c", linewidths=0.6, zorder=3)
    axes.set(xlim=scales[0].ends, ylim=scales[1].ends)
    _name_axes(axes, *names)
    text_ticks_below(axes, ticks)
    beside = apart(_ticks(scales[1]), height / scales[1].length, 10)
    axes.set_yticks([y for y, _ in beside], [shortened(text, TICK_SIZE, 66) for _, text in beside])
    _draw_color_key(figure, (min(means.values()), max(means.values())), lower_is_better)
    return figure


def _line(line: Mapping[str, float], name: str, score_name: str, words: tuple[str, str]) -> Figure:
    """The mean along one axis."""
    scale = scale_of(line)
    depth = depth_below(_ticks(scale), 360 / scale.length)
    figure = new_figure(440, 58 + 200 + depth + 24, *words)
    axes = add_panel(figure, 62, 58, 360, 200)
    places = [scale.positions[value] for value in line]
    order = np.argsort(places)
    style = "o" if scale.spacing == "even" else "o-"
    axes.plot(np.array(places)[order], np.array([*line.values()])[order], style, color=BLUE, lw=0.8)
    axes.set_xlim(*scale.ends)
    _name_axes(axes, name, score_name)
    text_ticks_below(axes, _ticks(scale))
    number_ticks(axes.yaxis)
    return figure


def _name_axes(axes: Axes, across: str, up: str) -> None:
    """Write what is across and what is up, as far as there is room."""
    width, height = size_of(axes)
    axes.set_xlabel(shortened(across, 9, width))
    axes.set_ylabel(shortened(up, 9, height))


def _draw_color_key(figure: Figure, ends: tuple[float, float], lower_is_better: bool) -> None:
    """What the colours mean: the lowest and the highest score beside a strip."""
    low, high = (f"{end:.4f}" for end in ends)
    right = WIDTH - 12 - text_width(high, TICK_SIZE) - 5
    axes = add_panel(figure, right - 80, 26, 80, 8)
    shares = np.linspace(1, 0, 40) if lower_is_better else np.linspace(0, 1, 40)
    axes.imshow(ramp(shares, WORSE_TO_BETTER)[None], aspect="auto")
    axes.set_axis_off()
    write(figure, right - 85, 30, low, TICK_SIZE, FAINT, "right")
    write(figure, right + 5, 30, high, TICK_SIZE, FAINT)


def _write_beside(axes: Axes, x: float, ticks: Sequence[Tick], room: float) -> None:
    """Write an axis' values at its right, on white so that lines do not cross them."""
    for y, text in ticks:
        axes.annotate(
            shortened(text, TICK_SIZE, room),
            (x, y),
            (5, 0),
            textcoords="offset points",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    axes.plot([x] * len(ticks), [y for y, _ in ticks], "_", color=INK, ms=5, mew=0.8, clip_on=False)


def _arrays(
    scores: Mapping[float, Statistic] | Mapping[int, Statistic],
) -> tuple[Floats, Floats, Floats]:
    """Places, means and stds; of one value there is no std: 0."""
    rows = sorted((place, score.mean, score.std or 0.0) for place, score in scores.items())
    places, means, stds = np.array(rows, dtype=np.float64).T
    return places, means, stds


def _colors_of(scores: Sequence[float], *, lower_is_better: bool) -> list[RGB]:
    """A colour for each score: the best darkest."""
    numbers = np.asarray(scores, dtype=np.float64) * (-1 if lower_is_better else 1)
    reach = np.ptp(numbers)
    shares = (numbers - numbers.min()) / reach if reach else np.full_like(numbers, 0.5)
    return [(red, green, blue) for red, green, blue in ramp(shares, WORSE_TO_BETTER).tolist()]


def _ticks(scale: Scale) -> list[Tick]:
    """What is written along an axis: its values, or round numbers where these are too many."""
    if scale.spacing == "even" or len(scale.positions) <= MOST_LABELLED:
        return [(position, value) for value, position in scale.positions.items()]
    if scale.spacing == "linear":
        return round_numbers(*scale.ends, 5)
    return power_ticks(*scale.ends)


def power_ticks(low: float, high: float) -> list[Tick]:
    """Powers of ten on a range of logarithms, with their halves and fifths where they are few."""
    is_short = low >= -4 and high < 10  # else all as 1e-5
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        numbers = [
            (k + math.log10(digit), f"{digit * 10.0**k:,.10g}" if is_short else f"{digit}e{k}")
            for k in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
        ]
        inside = [(place, text) for place, text in numbers if low <= place <= high]
        if len(inside) >= 3:
            break
    return inside
