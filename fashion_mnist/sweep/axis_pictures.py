"""Pictures of what the axes of a sweep do: main effects, parallel coordinates.

Lengths and font sizes are points. A picture that there is nothing to draw for is None.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fashion_mnist.canvas import (
    BLUE,
    END,
    FAINT,
    INK,
    MIDDLE,
    Canvas,
    Line,
    Text,
    text_width,
    write_heading,
)
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.axes import (
    Span,
    clipped,
    depth_below,
    draw_dots,
    draw_ticks_below,
    draw_ticks_left,
    span_over,
    straight,
)
from fashion_mnist.sweep.chart import (
    MOST_LABELLED,
    WIDTH,
    apart,
    colors_of,
    draw_whisker,
    ends,
    scale_ticks,
    span_of_scale,
)
from fashion_mnist.sweep.figures import figure_name
from fashion_mnist.sweep.leaderboard import Leaderboard, effects_of, lower_is_better
from fashion_mnist.sweep.scale import ABSENT, scale_of, short_names

MOST_PANELS = 12
PANEL_WIDTH, PANEL_HEIGHT = 190.0, 130.0


def effects_picture(board: Leaderboard, shares: Mapping[str, float]) -> Canvas | None:
    """A panel for each axis: each value's mean ± std over settings, and the settings as dots."""
    effects = effects_of(board)
    axes = sorted(effects, key=lambda axis: -shares.get(axis, 0))[:MOST_PANELS]
    if not axes:
        return None
    num_columns = min(3, len(axes))
    left, top = 52.0, 70.0
    num_rows = -(-len(axes) // num_columns)
    step = PANEL_HEIGHT + 30 + max(_effect_depth(effects[axis]) for axis in axes)
    canvas = Canvas(max(WIDTH * num_columns / 3, 420), top + num_rows * step - 20)
    whiskers = [figure for axis in axes for figure in effects[axis].values()]
    scores = [setting.score.mean for setting in board.scored if setting.score]
    for number, axis in enumerate(axes):
        x = left + number % num_columns * (PANEL_WIDTH + 30)
        y = top + number // num_columns * step
        up = span_over([*scores, *ends(whiskers)], y + PANEL_HEIGHT, y)
        is_first = number % num_columns == 0
        ticks = [(tick, words if is_first else "") for tick, words in up.round_numbers(5)]
        draw_ticks_left(canvas, up, ticks, x, x + PANEL_WIDTH)
        _draw_effect(canvas, board, axis, effects[axis], up, x)
        share = f"{shares[axis]:.0%} of the differences" if axis in shares else ""
        canvas.texts.append(Text(x + PANEL_WIDTH, y - 9, share, 8, FAINT, END))
        room = PANEL_WIDTH - text_width(share, 8) - 8
        canvas.texts.append(Text(x, y - 9, clipped(short_names(axes)[axis], 10, room), 10))
    hidden = f" ({len(effects) - len(axes)} more axes in the table)" if len(effects) > 12 else ""
    title = f"{figure_name(board.score).capitalize()} along each axis{hidden}"
    caption = "Pale dots: settings, means over their runs. Blue: mean ± std over them, n − 1."
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    return canvas


def parallel_picture(board: Leaderboard) -> Canvas | None:
    """A line for each setting through its values, to its score."""
    if not board.axes or len(board.scored) < 2:
        return None
    axes, settings = board.axes, board.scored
    top, bottom, left = 80.0, 320.0, 60.0
    gap = max(96.0, (WIDTH - 2 * left) / len(axes))
    canvas = Canvas(2 * left + gap * len(axes), bottom + 24)
    scores = [setting.score.mean for setting in settings if setting.score]
    scales = [scale_of(s.values.get(axis, ABSENT) for s in settings) for axis in axes]
    spans = [span_of_scale(scale, bottom, top) for scale in scales]
    last = span_over(scores, bottom, top)
    colors = colors_of(scores, lower_is_better=lower_is_better(board.score))
    xs = [left + gap * number for number in range(len(axes) + 1)]
    # the worst first, so that the best lie on top
    for setting, score, color in reversed(list(zip(settings, scores, colors, strict=True))):
        heights = [
            span.at(scale.positions[setting.values.get(axis, ABSENT)])
            for axis, scale, span in zip(axes, scales, spans, strict=True)
        ]
        points = np.array(list(zip(xs, [*heights, last.at(score)], strict=True)))
        canvas.lines.append(Line(points, color, 2.4 if setting is board.winner else 1.1))
    names = [*short_names(axes).values(), figure_name(board.score)]
    all_ticks = [scale_ticks(scale, span) for scale, span in zip(scales, spans, strict=True)]
    all_ticks.append(last.round_numbers(6))
    for x, name, span, ticks in zip(xs, names, [*spans, last], all_ticks, strict=True):
        canvas.lines.append(straight((x, top), (x, bottom), INK, 0.8))
        canvas.texts.append(Text(x, top - 14, clipped(name, 9, gap - 6), 9, INK, MIDDLE))
        _write_beside(canvas, x, span, ticks, gap)
    title = f"Every setting to its {figure_name(board.score)}"
    caption = f"{len(settings)} settings, means over their runs; the thick line is the best"
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    return canvas


def _draw_effect(
    canvas: Canvas,
    board: Leaderboard,
    axis: str,
    effect: Mapping[str, Statistic],
    up: Span,
    left: float,
) -> None:
    """Draws one panel of main effects, its values below it."""
    scale = scale_of(effect)
    across = span_of_scale(scale, left, left + PANEL_WIDTH)
    draw_ticks_below(canvas, across, scale_ticks(scale, across), up.end, up.start)
    xs = {value: across.at(position) for value, position in scale.positions.items()}
    dots = [
        (xs[setting.values[axis]], up.at(setting.score.mean))
        for setting in board.scored
        if setting.score and axis in setting.values
    ]
    if all(figure.n == 1 for figure in effect.values()):
        draw_dots(canvas, dots, BLUE, 2.4)
        return
    draw_dots(canvas, [(x - 4, y) for x, y in dots], "#b5b5b5", 1.6)
    means = [(xs[value], up.at(figure.mean)) for value, figure in effect.items()]
    if scale.spacing != "even" and len(means) <= MOST_LABELLED:
        canvas.lines.append(Line(np.array(means), BLUE, 0.8))
    for value, figure in effect.items():
        draw_whisker(canvas, figure, up, xs[value], BLUE, is_upright=True)


def _effect_depth(effect: Mapping[str, Statistic]) -> float:
    """How far a panel's values reach below it."""
    scale = scale_of(effect)
    across = span_of_scale(scale, 0, PANEL_WIDTH)
    return depth_below(across, scale_ticks(scale, across))


def _write_beside(
    canvas: Canvas, x: float, span: Span, ticks: Sequence[tuple[float, str]], gap: float
) -> None:
    """Writes an axis' values at its right, on white so that lines do not cross them."""
    for number, words in apart(span, ticks):
        y, text = span.at(number), clipped(words, 8, gap / 2)
        canvas.lines.append(straight((x - 2.5, y), (x + 2.5, y), INK, 0.8))
        under = text_width(text, 8)
        canvas.lines.append(straight((x + 4, y), (x + 6 + under, y), (1.0, 1.0, 1.0), 9.0))
        canvas.texts.append(Text(x + 5, y, text, 8))
