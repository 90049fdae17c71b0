"""The picture of how the best settings of a sweep learned. Lengths and font sizes are points."""

import math
from collections.abc import Mapping

import numpy as np

from fashion_mnist.canvas import (
    BLUE,
    END,
    FAINT,
    INK,
    MIDDLE,
    VERMILION,
    Canvas,
    Line,
    Text,
    text_width,
    write_heading,
)
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.plots.axes import (
    Span,
    clipped,
    draw_ticks_below,
    draw_ticks_left,
    span_over,
    straight,
)
from fashion_mnist.sweep.chart import WIDTH, ends
from fashion_mnist.sweep.figures import statistic_text
from fashion_mnist.sweep.leaderboard import Leaderboard, Setting

CURVE_COLORS = (  # a line and its whiskers; after Okabe and Ito
    (BLUE, "#a6cde4"),
    (VERMILION, "#edc3a6"),
    ("#007a5a", "#a6dccb"),
    ("#a03d78", "#e6c4d8"),
    ("#222222", "#c2c2c2"),
)


def curves_picture(board: Leaderboard, limit: int = 5) -> Canvas | None:
    """The best settings' validation over epochs: means and, of several runs, ± std."""
    key = "val/loss" if board.score == "final/val_loss" else "val/accuracy"
    curves = {board.label(setting): _curve(setting, key) for setting in board.scored[:limit]}
    curves = {label: curve for label, curve in curves.items() if curve}
    if not curves:
        return None
    left, top, bottom = 52.0, 48.0, 278.0
    canvas = Canvas(WIDTH, bottom + 44 + 16 * len(curves))
    figures = [figure for curve in curves.values() for figure in curve.values()]
    across = Span(0.5, max(map(max, curves.values())) + 0.5, left, WIDTH - 12)
    up = span_over(ends(figures), bottom, top)
    draw_ticks_left(canvas, up, up.round_numbers(6), left, WIDTH - 12)
    ticks = [tick for tick in across.round_numbers(10) if tick[0].is_integer()]
    draw_ticks_below(canvas, across, ticks, top, bottom)
    canvas.texts.append(Text((left + WIDTH) / 2, bottom + 22, "epoch", 9, FAINT, MIDDLE))
    # the best is drawn last, above the others
    for number, (label, curve) in reversed(list(enumerate(curves.items()))):
        _draw_curve(
            canvas, curve, (across, up), CURVE_COLORS[number], number - (len(curves) - 1) / 2
        )
        y, last = bottom + 42 + 16 * number, curve[max(curve)]
        canvas.lines.append(straight((left, y), (left + 18, y), CURVE_COLORS[number][0], 2))
        words = f"{statistic_text(key, last)} (n = {last.n})"
        canvas.texts.append(Text(WIDTH - 12, y, words, 8.5, INK, END))
        room = WIDTH - left - 50 - text_width(words, 8.5)
        canvas.texts.append(Text(left + 24, y, clipped(label, 8.5, room), 8.5))
    what = "loss" if key == "val/loss" else "accuracy"
    total = len(board.settings)
    which = f", the best {len(curves)} of {total} settings" if total > 1 else ""
    title = f"Validation {what} over epochs{which}"
    caption = (
        "Mean ± std over the runs of a setting, n − 1, to the last epoch that all of them have"
    )
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    return canvas


def _curve(setting: Setting, key: str) -> dict[int, Statistic]:
    """Epoch -> what the runs with a score have there, as far as all of them went."""
    rows = [
        {int(row["epoch"]): row[key] for row in run.history if key in row}
        for run in setting.scored_runs
    ]
    common = set.intersection(*map(set, rows)) if rows else set()
    epochs = [e for e in sorted(common) if all(math.isfinite(own[e]) for own in rows)]
    return {epoch: statistic([own[epoch] for own in rows]) for epoch in epochs}


def _draw_curve(
    canvas: Canvas,
    curve: Mapping[int, Statistic],
    spans: tuple[Span, Span],
    colors: tuple[str, str],
    shift: float,
) -> None:
    """Draws the means as a line, and ± std as strokes, which become a band where epochs are many.

    Args:
        shift: of the strokes, so that those of several curves stand beside each other.
    """
    across, up = spans
    stroke = (colors[0], 0.9) if len(curve) <= 30 else (colors[1], 1.6)
    for epoch, figure in curve.items():
        if figure.std:
            x = across.at(epoch) + 2.0 * shift
            low, high = up.at(figure.mean - figure.std), up.at(figure.mean + figure.std)
            canvas.lines.append(straight((x, low), (x, high), *stroke))
    points = [(across.at(epoch), up.at(figure.mean)) for epoch, figure in curve.items()]
    canvas.lines.append(Line(np.array(points), colors[0], 1.4, 2.0 if len(points) <= 30 else 0.0))
