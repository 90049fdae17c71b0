"""The picture of a score by two axes. Lengths and font sizes are points."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from fashion_mnist.canvas import (
    END,
    FAINT,
    INK,
    MIDDLE,
    Box,
    Canvas,
    Text,
    inks_on,
    text_width,
    write_heading,
)
from fashion_mnist.plots.axes import (
    Span,
    clipped,
    depth_below,
    draw_dots,
    draw_ticks_below,
    draw_ticks_left,
)
from fashion_mnist.sweep.chart import (
    MOST_LABELLED,
    WIDTH,
    apart,
    colors_of,
    draw_color_key,
    scale_ticks,
    span_of_scale,
)
from fashion_mnist.sweep.figures import figure_name, figure_text
from fashion_mnist.sweep.leaderboard import Leaderboard, effects_of, lower_is_better
from fashion_mnist.sweep.scale import Scale, scale_of, short_names

Cells = dict[tuple[str, str], list[float]]  # the scores of the settings with two values


def heat_map_picture(board: Leaderboard, shares: Mapping[str, float]) -> Canvas | None:
    """The mean score for each pair of values of the two axes that matter most."""
    axes = sorted(effects_of(board), key=lambda axis: -shares.get(axis, 0))[:2]
    if len(axes) < 2:
        return None
    cells: Cells = {}
    for setting in board.scored:
        if setting.score and all(axis in setting.values for axis in axes):
            pair = (setting.values[axes[0]], setting.values[axes[1]])
            cells.setdefault(pair, []).append(setting.score.mean)
    if not cells:
        return None
    across, down = (scale_of(pair[number] for pair in cells) for number in (0, 1))
    is_grid = max(len(across.positions), len(down.positions)) <= MOST_LABELLED
    draw = _heat_map if is_grid else _scatter
    names = list(short_names(axes).values())
    canvas = draw(board.score, cells, (across, down), names)
    counts = sorted({len(scores) for scores in cells.values()})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    what = f"the mean over settings, n = {each} each" if is_grid else "a dot for each setting"
    title = f"{figure_name(board.score).capitalize()} by {names[0]} and {names[1]}"
    write_heading(canvas, [(title, 12, INK), (f"The darker the better; {what}", 9, FAINT)])
    return canvas


def _heat_map(
    score: str, cells: Cells, scales: tuple[Scale, Scale], names: Sequence[str]
) -> Canvas:
    """A cell for each pair of values, with the mean in it."""
    columns, rows = scales[0].values, scales[1].values[::-1]
    labels = [clipped(value, 9, 130) for value in rows]
    width, height, top = max(58.0, min(110.0, 400 / len(columns))), 30.0, 58.0
    left = 34 + max(text_width(label, 9) for label in labels)
    bottom = top + height * len(rows)
    span = Span(-0.5, len(columns) - 0.5, left, left + width * len(columns))
    ticks = [(float(number), value) for number, value in enumerate(columns)]
    foot = bottom + depth_below(span, ticks) + 9
    canvas = Canvas(max(span.end + 12, 420), foot + 12)
    means = [fmean(scores) for scores in cells.values()]
    colors = colors_of(means, lower_is_better=lower_is_better(score))
    for (pair, mean), color in zip(zip(cells, means, strict=True), colors, strict=True):
        x, y = left + width * columns.index(pair[0]), top + height * rows.index(pair[1])
        canvas.boxes.append(Box(x + 0.6, y + 0.6, x + width - 0.6, y + height - 0.6, color))
        middle = (x + width / 2, y + height / 2)
        ink = str(inks_on(np.array(color)))
        canvas.texts.append(Text(*middle, figure_text(score, mean), 10, ink, MIDDLE))
    for number, label in enumerate(labels):
        y = top + height * (number + 0.5)
        canvas.texts.append(Text(left - 6, y, label, 9, INK, END))
    draw_ticks_below(canvas, span, ticks, bottom, bottom)
    canvas.texts.append(Text((span.start + span.end) / 2, foot, names[0], 9, FAINT, MIDDLE))
    canvas.texts.append(Text(12, (top + bottom) / 2, names[1], 9, FAINT, MIDDLE, 90))
    return canvas


def _scatter(score: str, cells: Cells, scales: tuple[Scale, Scale], names: Sequence[str]) -> Canvas:
    """A dot for each pair of values, its colour the mean: for axes of many values."""
    left, top, bottom = 92.0, 58.0, 318.0
    across = span_of_scale(scales[0], left, WIDTH - 12)
    foot = bottom + depth_below(across, scale_ticks(scales[0], across)) + 9
    canvas = Canvas(WIDTH, foot + 12)
    up = span_of_scale(scales[1], bottom, top)
    draw_ticks_below(canvas, across, scale_ticks(scales[0], across), top, bottom)
    ticks = [(place, clipped(words, 8, 66)) for place, words in scale_ticks(scales[1], up)]
    draw_ticks_left(canvas, up, apart(up, ticks), left, WIDTH - 12)
    means = {pair: fmean(scores) for pair, scores in cells.items()}
    is_lower = lower_is_better(score)
    colors = colors_of(list(means.values()), lower_is_better=is_lower)
    # the worst first, so that the best lie on top
    order = sorted(zip(means.items(), colors, strict=True), key=lambda dot: dot[0][1])
    for ((first, second), _), color in order[::-1] if is_lower else order:
        place = across.at(scales[0].positions[first]), up.at(scales[1].positions[second])
        draw_dots(canvas, [place], "#8c8c8c", 4.6)
        draw_dots(canvas, [place], color, 4.0)
    low, high = (figure_text(score, end(means.values())) for end in (min, max))
    draw_color_key(canvas, WIDTH - 12, 30, (low, high), lower_is_better=is_lower)
    canvas.texts.append(Text((left + WIDTH) / 2, foot, names[0], 9, FAINT, MIDDLE))
    canvas.texts.append(Text(12, (top + bottom) / 2, names[1], 9, FAINT, MIDDLE, 90))
    return canvas
