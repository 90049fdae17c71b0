"""Charts of a leaderboard's axes: importance, main effects, parallel coordinates, heat map.

Each is None where there is nothing to draw. Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_mnist.analysis.effects import main_effects
from fashion_mnist.analysis.labels import (
    ABSENT,
    lower_is_better,
    metric_name,
    metric_text,
    metric_title,
    short_names,
)
from fashion_mnist.analysis.leaderboard import Leaderboard
from fashion_mnist.analysis.scale import Scale, scale_of
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.drawing import BLUE, FAINT, INK, PALE, inks_on
from fashion_mnist.plots.figure import (
    TICK_SIZE,
    Tick,
    apart,
    darker_is_better,
    default_style,
    depth_below,
    draw_lines,
    means_and_stds,
    name_axes,
    new_figure,
    number_ticks,
    round_numbers,
    shortened,
    text_ticks_below,
    text_width,
)

if TYPE_CHECKING:
    from fashion_mnist.plots.figure import Axes, Figure

MOST_PANELS = 12  # of main effects
MOST_LABELLED = 12  # values of an axis: where there are more, round numbers are written instead
SMALL_PANEL = 190.0, 130.0

Means = Mapping[tuple[str, str], float]  # values of two axes -> score


@default_style()
def importance_chart(board: Leaderboard, shares: Mapping[str, float]) -> Figure | None:
    """A bar for each axis: its share of what distinguishes the best settings, in [0, 1]."""
    if not shares:
        return None
    over = f"by PED-ANOVA over {len(board.scored)} settings"
    figure, [axes] = new_figure(
        f"What distinguishes the best settings by {metric_name(board.score)}",
        f"Share of each axis that all settings have, {over}",
        (460, 20 * len(shares)),
        left=180,
        right=60,
        bottom=10,
    )
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
def effects_chart(board: Leaderboard, shares: Mapping[str, float]) -> Figure | None:
    """A panel for each axis: the mean ± std of each value over settings, and these as dots.

    Where no value has two settings the settings alone are shown.

    Args:
        shares: the importance of each axis.
    """
    effects = main_effects(board)
    shown = sorted(effects, key=lambda axis: -shares.get(axis, 0))[:MOST_PANELS]
    if not shown:
        return None
    names, scales = short_names(shown), [scale_of(effects[axis]) for axis in shown]
    depths = [depth_below(_ticks(scale), SMALL_PANEL[0] / scale.length) for scale in scales]
    room = 30 + max(depths)  # below a panel
    num_columns = min(3, len(shown))
    num_hidden = len(effects) - len(shown)
    hidden = f" ({num_hidden} more axes in the table)" if num_hidden else ""
    figure, panels = new_figure(
        f"{metric_title(board.score)} along each axis{hidden}",
        "Pale dots: settings, means over their runs. Blue: mean ± std over them, n − 1.",
        SMALL_PANEL,
        grid=(-(-len(shown) // num_columns), num_columns),
        gap=(30, room),
        top=76,
        bottom=room,
        sharey=True,
    )
    for axes, axis, scale in zip(panels, shown, scales, strict=False):
        settings = [(s.values[axis], s.mean) for s in board.scored if axis in s.values]
        _draw_effect(axes, scale, effects[axis], settings)
        note = f"{shares[axis]:.0%} of the importance" if axis in shares else ""
        axes.set_title(note, loc="right", size=TICK_SIZE, color=FAINT)
        width = SMALL_PANEL[0] - text_width(note, TICK_SIZE) - 8
        axes.set_title(shortened(names[axis], 10, width))
    number_ticks(panels[0].yaxis, 5)
    for axes in panels[len(shown) :]:
        axes.remove()
    return figure


def _draw_effect(
    axes: Axes,
    scale: Scale,
    scores: Mapping[str, Statistic],
    settings: Sequence[tuple[str, float]] = (),
) -> None:
    """Draw the scores of an axis' values, and settings' values and scores, above its values."""
    axes.set_xlim(*scale.ends)
    text_ticks_below(axes, _ticks(scale))
    xs, means, stds = means_and_stds({scale.positions[v]: score for v, score in scores.items()})
    is_line = scale.spacing != "even" and len(xs) <= MOST_LABELLED
    style: dict[str, Any] = {"fmt": "o-" if is_line else "o", "color": BLUE, "lw": 0.8}
    if all(score.n == 1 for score in scores.values()):
        axes.errorbar(xs, means, ms=4.8, **style)
        return
    beside = [scale.positions[value] - 0.02 * scale.length for value, _ in settings]
    axes.plot(beside, [score for _, score in settings], "o", color=PALE, ms=3.2)
    axes.errorbar(xs, means, stds, elinewidth=1.6, **style)


@default_style()
def parallel_chart(board: Leaderboard) -> Figure | None:
    """A line for each setting, the best first, through its values to its score."""
    settings = board.scored
    if not board.axes or len(settings) < 2:
        return None
    values = [[setting.values.get(axis, ABSENT) for setting in settings] for axis in board.axes]
    scores = [setting.mean for setting in settings]
    names = [*short_names(board.axes).values(), metric_name(board.score)]
    gap, height = max(96.0, 580 / len(values)), 240.0
    figure, [axes] = new_figure(
        f"Every setting to its {metric_name(board.score)}",
        f"{len(settings)} settings, means over their runs; the thick line is the best",
        (gap * len(values), height),
        right=60,
        top=76,
        bottom=24,
    )
    scales = [*map(scale_of, values), Scale({f"{score}": score for score in scores}, "linear")]
    # every axis from 0 to 1
    heights = [
        np.interp([scale.positions[value] for value in own], scale.ends, (0, 1)).tolist()
        for scale, own in zip(scales, [*values, [f"{score}" for score in scores]], strict=True)
    ]
    lines = [list(enumerate(line)) for line in zip(*heights, strict=True)]
    widths = [2.4] + [1.1] * (len(lines) - 1)
    colors = darker_is_better(scores, lower_is_better=lower_is_better(board.score))
    # the worst first, so that the best lie on top
    draw_lines(axes, lines[::-1], widths[::-1], scores[::-1], colors)
    axes.set(xlim=(0, len(values)), ylim=(0, 1), yticks=[])
    room = min(gap, 120) - 6
    axes.set_xticks(range(len(names)), [shortened(name, 9, room) for name in names])
    axes.tick_params("x", labeltop=True, labelbottom=False, labelsize=9, labelcolor=INK, pad=8)
    axes.grid(visible=False)
    axes.vlines(range(len(names)), 0, 1, INK, lw=0.8, clip_on=False)
    all_ticks = [*map(_ticks, scales[:-1]), round_numbers(*scales[-1].ends)]
    for x, (ticks, scale) in enumerate(zip(all_ticks, scales, strict=True)):
        shares = [(float(np.interp(place, scale.ends, (0, 1))), text) for place, text in ticks]
        _write_beside(axes, x, apart(shares, height, 10), gap / 2)
    return figure


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


@default_style()
def heat_map_chart(board: Leaderboard, shares: Mapping[str, float]) -> Figure | None:
    """The mean score for each pair of values of the two axes that matter most: darker is better.

    Where one of the axes has one value alone it is a line along the other; where one has more than
    twelve, a dot for each pair.

    Args:
        shares: the importance of each axis.
    """
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
    means = {pair: fmean(scores) for pair, scores in cells.items()}
    first, second = names = tuple(short_names(axes).values())
    counts = sorted({len(scores) for scores in cells.values()})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    title = f"{metric_title(board.score)} by {first} and {second}"
    note = f"the mean over settings, n = {each} each"
    scales = scale_of(own for own, _ in means), scale_of(own for _, own in means)
    sizes = [len(scale.positions) for scale in scales]
    if min(sizes) == 1:
        along = 0 if sizes[0] > 1 else 1
        fixed = f"{names[1 - along]}={scales[1 - along].values[0]}"
        line = {pair[along]: Statistic(mean, None, 1) for pair, mean in means.items()}
        figure = _line(line, scales[along], title, f"With {fixed}; {note}")
        name_axes(figure.axes[0], names[along], metric_name(board.score))
        return figure
    if max(sizes) <= MOST_LABELLED:
        figure = _heat_map(means, scales, board.score, title, f"The darker the better; {note}")
    else:
        caption = "The darker the better; a dot for each pair of values"
        is_lower = lower_is_better(board.score)
        ordered = dict(sorted(means.items(), key=lambda item: item[1], reverse=is_lower))
        figure = _scatter(ordered, scales, board.score, title, caption)
    name_axes(figure.axes[0], first, second)
    return figure


def _heat_map(
    means: Means, scales: tuple[Scale, Scale], score: str, title: str, caption: str
) -> Figure:
    """A cell for each pair of values, with the mean in it; empty where there is no score."""
    columns, rows = scales[0].values, scales[1].values
    labels = [shortened(value, 9, 130) for value in rows]
    cell = max(58.0, min(110.0, 400 / len(columns)))
    ticks = [(number + 0.5, value) for number, value in enumerate(columns)]
    figure, [axes] = new_figure(
        title,
        caption,
        (cell * len(columns), 30 * len(rows)),
        left=34 + max(text_width(label, 9) for label in labels),
        bottom=depth_below(ticks, cell) + 24,
    )
    scores = np.array([[means.get((x, y), np.nan) for x in columns] for y in rows])
    colors = darker_is_better([*means.values()], lower_is_better=lower_is_better(score))
    mesh = axes.pcolormesh(scores, edgecolors="white", linewidth=1.2, **colors)
    inks = inks_on(mesh.to_rgba(np.array(list(means.values())))[:, :3])
    for ((first, second), mean), ink in zip(means.items(), inks.tolist(), strict=True):
        place = columns.index(first) + 0.5, rows.index(second) + 0.5
        written = metric_text(score, mean)
        axes.text(*place, written, color=ink, fontsize=10, ha="center", va="center_baseline")
    text_ticks_below(axes, ticks)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], labels)
    axes.tick_params("y", labelsize=9, labelcolor=INK)
    axes.grid(visible=False)
    return figure


def _scatter(
    means: Means, scales: tuple[Scale, Scale], score: str, title: str, caption: str
) -> Figure:
    """A dot for each pair of values, its colour the mean, the last on top: for many values."""
    ticks, (width, height) = _ticks(scales[0]), (556, 260)
    depth = depth_below(ticks, width / scales[0].length)
    figure, [axes] = new_figure(
        title, caption, (width, height), left=92, right=52, bottom=depth + 24
    )
    x, y = ([scale.positions[pair[k]] for pair in means] for k, scale in enumerate(scales))
    scores = list(means.values())
    colors = darker_is_better(scores, lower_is_better=lower_is_better(score))
    dots = axes.scatter(
        x, y, s=70, c=scores, edgecolors="#8c8c8c", linewidths=0.6, zorder=3, **colors
    )
    place = axes.inset_axes((1 + 10 / width, 0, 8 / width, 1))
    key, ends = figure.colorbar(dots, place), [min(scores), max(scores)]
    key.set_ticks(ends, labels=[metric_text(score, end) for end in ends])
    key.outline.set_visible(False)
    axes.set(xlim=scales[0].ends, ylim=scales[1].ends)
    text_ticks_below(axes, ticks)
    beside = apart(_ticks(scales[1]), height / scales[1].length, 10)
    axes.set_yticks([y for y, _ in beside], [shortened(text, TICK_SIZE, 66) for _, text in beside])
    return figure


def _line(scores: Mapping[str, Statistic], scale: Scale, title: str, caption: str) -> Figure:
    """The score along one axis."""
    bottom = depth_below(_ticks(scale), 360 / scale.length) + 24
    figure, [axes] = new_figure(title, caption, (360, 200), bottom=bottom)
    _draw_effect(axes, scale, scores)
    number_ticks(axes.yaxis)
    return figure


def _ticks(scale: Scale) -> list[Tick]:
    """What is written along an axis: its values, or round numbers where these are too many."""
    if scale.spacing == "even" or len(scale.positions) <= MOST_LABELLED:
        return [(position, value) for value, position in scale.positions.items()]
    if scale.spacing == "linear":
        return round_numbers(*scale.ends, 5)
    # beyond these matplotlib's ticks overflow
    low, high = (10.0 ** max(-200, min(end, 200)) for end in scale.ends)
    return [(math.log10(number), text) for number, text in round_numbers(low, high, log=True)]
