"""Accuracy on disturbed images as a picture: a panel for each disturbance. Lengths are points."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fashion_mnist.canvas import (
    BLUE,
    FAINT,
    INK,
    MIDDLE,
    Canvas,
    Line,
    Text,
    write_heading,
    write_png,
)
from fashion_mnist.plots.axes import (
    Span,
    draw_dots,
    draw_ticks_below,
    draw_ticks_left,
    span_over,
    straight,
)


class Level(NamedTuple):
    """A disturbance's strength, and the accuracy there with the ends of its interval, in [0, 1]."""

    strength: float
    accuracy: float
    low: float
    high: float


def plot_robustness(
    curves: Mapping[str, tuple[str, Sequence[Level]]], path: Path, title: str, caption: str
) -> None:
    """Writes the panels of `robustness_figure` to `path`."""
    write_png(robustness_figure(curves, title, caption), path)


def robustness_figure(
    curves: Mapping[str, tuple[str, Sequence[Level]]], title: str, caption: str
) -> Canvas:
    """Accuracy over strength, from disturbance -> unit and levels; all on one scale of accuracy.

    Whiskers are the intervals; the dotted line is where the first disturbance begins, without any.
    """
    width, gap, top, bottom = 196.0, 16.0, 76.0, 286.0
    left = 52.0
    canvas = Canvas(left + len(curves) * (width + gap), bottom + 40)
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    every = [level for _, levels in curves.values() for level in levels]
    up = span_over([100 * end for level in every for end in (level.low, level.high)], bottom, top)
    for number, (name, (unit, levels)) in enumerate(curves.items()):
        start = left + number * (width + gap)
        across = span_over([level.strength for level in levels], start, start + width)
        labels = up.round_numbers(8)
        own = labels if number == 0 else [(tick, "") for tick, _ in labels]
        draw_ticks_left(canvas, up, own, start, start + width)
        ticks = [(level.strength, f"{level.strength:g}") for level in levels]
        draw_ticks_below(canvas, across, ticks, top, bottom)
        ends = np.array([(start, up.at(100 * every[0].accuracy))] * 2)
        ends[1, 0] += width
        canvas.lines.append(Line(ends, FAINT, 1.0, is_dotted=True))
        _draw_levels(canvas, levels, across, up)
        canvas.texts.append(Text(start, top - 12, name, 10))
        words = Text(start + width / 2, bottom + 24, unit, 9, FAINT, MIDDLE)
        canvas.texts.append(words)
    canvas.texts.append(Text(12, (top + bottom) / 2, "accuracy, %", 9, FAINT, MIDDLE, angle=90))
    return canvas


def _draw_levels(canvas: Canvas, levels: Sequence[Level], across: Span, up: Span) -> None:
    """Draws a panel's curve with its whiskers."""
    for level in levels:
        x = across.at(level.strength)
        ends = (x, up.at(100 * level.low)), (x, up.at(100 * level.high))
        canvas.lines.append(straight(*ends, BLUE, 1.2))
    places = [(across.at(level.strength), up.at(100 * level.accuracy)) for level in levels]
    canvas.lines.append(Line(np.array(places), BLUE, 1.4))
    draw_dots(canvas, places, BLUE, 3.0)
