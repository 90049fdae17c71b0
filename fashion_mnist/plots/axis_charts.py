"""Charts of a sweep's axes: importance, main effects, parallel coordinates, heat map.

A *setting* is a choice of values, one for each axis; its score is a statistic over its runs.
Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.drawing import BLUE, FAINT, INK, PALE, inks_on
from fashion_mnist.plots.figure import (
    TICK_SIZE,
    Tick,
    apart,
    default_style,
    depth_below,
    means_and_stds,
    name_axes,
    new_figure,
    number_ticks,
    round_numbers,
    shortened,
    text_ticks_below,
    text_width,
)
from fashion_mnist.plots.scale import Scale, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# from pale to dark, the better the darker: the order can be seen without colours too
WORSE_TO_BETTER = ((0.94, 0.95, 0.78), (0.50, 0.78, 0.72), (0.14, 0.48, 0.64), (0.08, 0.14, 0.38))
MOST_LABELLED = 12  # values of an axis: where there are more, round numbers are written instead
SMALL_PANEL = 190.0, 130.0

Means = Mapping[tuple[str, str], float]  # values of two axes -> score


class Effect(NamedTuple):
    """What the values of one axis do."""

    name: str
    note: str
    scores: Mapping[str, Statistic]  # value -> over the settings that have it
    settings: Sequence[tuple[str, float]]  # value and score of each setting


@default_style()
def importance_figure(shares: Mapping[str, float], title: str, caption: str) -> Figure:
    """A bar for each axis: its share of the differences between settings, in [0, 1]."""
    size = 460, 20 * len(shares)
    figure, [axes] = new_figure(title, caption, size, left=180, right=60, bottom=10)
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
    depths = [depth_below(_ticks(scale), SMALL_PANEL[0] / scale.length) for scale in scales]
    room = 30 + max(depths)  # below a panel
    num_columns = min(3, len(effects))
    grid = -(-len(effects) // num_columns), num_columns
    figure, panels = new_figure(
        title, caption, SMALL_PANEL, grid=grid, gap=(30, room), top=76, bottom=room, sharey=True
    )
    for axes, effect, scale in zip(panels, effects, scales, strict=False):
        _draw_effect(axes, effect, scale)
        axes.set_title(effect.note, loc="right", size=TICK_SIZE, color=FAINT)
        width = SMALL_PANEL[0] - text_width(effect.note, TICK_SIZE) - 8
        axes.set_title(shortened(effect.name, 10, width))
    number_ticks(panels[0].yaxis, 5)
    for axes in panels[len(effects) :]:
        axes.remove()
    return figure


def _draw_effect(axes: Axes, effect: Effect, scale: Scale) -> None:
    """One panel of main effects, its values below it."""
    axes.set_xlim(*scale.ends)
    text_ticks_below(axes, _ticks(scale))
    xs, means, stds = means_and_stds({scale.positions[v]: s for v, s in effect.scores.items()})
    is_line = scale.spacing != "even" and len(xs) <= MOST_LABELLED
    style: dict[str, Any] = {"fmt": "o-" if is_line else "o", "color": BLUE, "lw": 0.8}
    if all(score.n == 1 for score in effect.scores.values()):
        axes.errorbar(xs, means, ms=4.8, **style)
        return
    beside = [scale.positions[value] - 0.02 * scale.length for value, _ in effect.settings]
    axes.plot(beside, [score for _, score in effect.settings], "o", color=PALE, ms=3.2)
    axes.errorbar(xs, means, stds, elinewidth=1.6, **style)


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

    gap, height = max(96.0, 580 / len(values)), 240.0
    figure, [axes] = new_figure(
        title, caption, (gap * len(values), height), right=60, top=76, bottom=24
    )
    scales = [*map(scale_of, values), Scale({f"{score}": score for score in scores}, "linear")]
    # every axis from 0 to 1
    heights = [
        np.interp([scale.positions[value] for value in own], scale.ends, (0, 1)).tolist()
        for scale, own in zip(scales, [*values, [f"{score}" for score in scores]], strict=True)
    ]
    lines = [list(enumerate(line)) for line in zip(*heights, strict=True)]
    widths = [2.4] + [1.1] * (len(lines) - 1)
    # the worst first, so that the best lie on top
    colored = LineCollection(
        lines[::-1],
        linewidths=widths[::-1],
        array=np.array(scores[::-1]),
        **_darker_is_better(scores, lower_is_better=lower_is_better),
    )
    axes.add_collection(colored)
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
    is_small = max(sizes) <= MOST_LABELLED
    draw, what = (_heat_map, note) if is_small else (_scatter, "a dot for each pair of values")
    words = title, f"The darker the better; {what}"
    return draw(means, scales, names, words, lower_is_better=lower_is_better)


def _heat_map(
    means: Means,
    scales: tuple[Scale, Scale],
    names: tuple[str, str],
    words: tuple[str, str],
    *,
    lower_is_better: bool,
) -> Figure:
    """A cell for each pair of values, with the mean in it; empty where there is no score."""
    columns, rows = scales[0].values, scales[1].values
    labels = [shortened(value, 9, 130) for value in rows]
    cell = max(58.0, min(110.0, 400 / len(columns)))
    ticks = [(number + 0.5, value) for number, value in enumerate(columns)]
    figure, [axes] = new_figure(
        *words,
        (cell * len(columns), 30 * len(rows)),
        left=34 + max(text_width(label, 9) for label in labels),
        bottom=depth_below(ticks, cell) + 24,
    )
    scores = np.array([[means.get((x, y), np.nan) for x in columns] for y in rows])
    colors = _darker_is_better(list(means.values()), lower_is_better=lower_is_better)
    mesh = axes.pcolormesh(scores, edgecolors="white", linewidth=1.2, **colors)
    inks = inks_on(mesh.to_rgba(np.array(list(means.values())))[:, :3])
    for ((first, second), mean), ink in zip(means.items(), inks.tolist(), strict=True):
        place = columns.index(first) + 0.5, rows.index(second) + 0.5
        axes.text(*place, f"{mean:.4f}", color=ink, fontsize=10, ha="center", va="center_baseline")
    text_ticks_below(axes, ticks)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], labels)
    axes.tick_params("y", labelsize=9, labelcolor=INK)
    name_axes(axes, *names)
    axes.grid(visible=False)
    return figure


def _scatter(
    means: Means,
    scales: tuple[Scale, Scale],
    names: tuple[str, str],
    words: tuple[str, str],
    *,
    lower_is_better: bool,
) -> Figure:
    """A dot for each pair of values, its colour the mean: for axes of many values."""
    ticks, (width, height) = _ticks(scales[0]), (556, 260)
    depth = depth_below(ticks, width / scales[0].length)
    figure, [axes] = new_figure(*words, (width, height), left=92, right=52, bottom=depth + 24)
    # the worst first, so that the best lie on top
    ordered = sorted(means.items(), key=lambda item: item[1], reverse=lower_is_better)
    x, y = ([scale.positions[pair[k]] for pair, _ in ordered] for k, scale in enumerate(scales))
    scores = [mean for _, mean in ordered]
    dots = axes.scatter(
        x,
        y,
        s=70,
        c=scores,
        edgecolors="#8c8c8c",
        linewidths=0.6,
        zorder=3,
        **_darker_is_better(scores, lower_is_better=lower_is_better),
    )
    place = axes.inset_axes((1 + 10 / width, 0, 8 / width, 1))
    key = figure.colorbar(dots, place, ticks=[min(scores), max(scores)], format="%.4f")
    key.outline.set_visible(False)
    axes.set(xlim=scales[0].ends, ylim=scales[1].ends)
    name_axes(axes, *names)
    text_ticks_below(axes, ticks)
    beside = apart(_ticks(scales[1]), height / scales[1].length, 10)
    axes.set_yticks([y for y, _ in beside], [shortened(text, TICK_SIZE, 66) for _, text in beside])
    return figure


def _line(line: Mapping[str, float], name: str, score_name: str, words: tuple[str, str]) -> Figure:
    """The mean along one axis."""
    scale = scale_of(line)
    bottom = depth_below(_ticks(scale), 360 / scale.length) + 24
    figure, [axes] = new_figure(*words, (360, 200), bottom=bottom)
    scores = {value: Statistic(mean, None, 1) for value, mean in line.items()}
    _draw_effect(axes, Effect(name, "", scores, []), scale)
    name_axes(axes, name, score_name)
    number_ticks(axes.yaxis)
    return figure


def _darker_is_better(scores: Sequence[float], *, lower_is_better: bool) -> dict[str, Any]:
    """matplotlib's `cmap` and `norm` for these scores."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colors = WORSE_TO_BETTER[::-1] if lower_is_better else WORSE_TO_BETTER
    low, high = min(scores), max(scores)
    air = 0 if low < high else 1  # equal scores have the colour in the middle
    norm = Normalize(low - air, high + air)
    return {"cmap": LinearSegmentedColormap.from_list("scores", colors), "norm": norm}


def _ticks(scale: Scale) -> list[Tick]:
    """What is written along an axis: its values, or round numbers where these are too many."""
    if scale.spacing == "even" or len(scale.positions) <= MOST_LABELLED:
        return [(position, value) for value, position in scale.positions.items()]
    if scale.spacing == "linear":
        return round_numbers(*scale.ends, 5)
    # beyond these matplotlib's ticks overflow
    low, high = (10.0 ** max(-200, min(end, 200)) for end in scale.ends)
    return [(math.log10(number), text) for number, text in round_numbers(low, high, log=True)]
