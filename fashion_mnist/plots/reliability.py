"""Calibration as a picture: how often predictions of each confidence are right.

`K` bins of equal width. Lengths are points.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fashion_mnist.canvas import (
    BLUE,
    FAINT,
    INK,
    MIDDLE,
    VERMILION,
    Box,
    Canvas,
    Line,
    Text,
    write_heading,
    write_png,
)
from fashion_mnist.plots.axes import Span, draw_dots, draw_ticks_below, draw_ticks_left, straight

PALE_BLUE = "#cfe2ef"


def plot_reliability(
    count: npt.ArrayLike,
    confidence: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    path: Path,
    title: str,
    caption: str,
) -> None:
    """Writes the diagram of `reliability_figure` to `path`."""
    write_png(reliability_figure(count, confidence, accuracy, title, caption), path)


def reliability_figure(
    count: npt.ArrayLike,
    confidence: npt.ArrayLike,
    accuracy: npt.ArrayLike,
    title: str,
    caption: str,
) -> Canvas:
    """Accuracy over confidence, and below the share of the examples, of bins `[K]` each.

    The stroke of a bin goes from its dot to the diagonal, where confidence is accuracy. An empty
    bin has nothing.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", figure 1.
    """
    counts, sure, right = (np.asarray(each, float) for each in (count, confidence, accuracy))
    left, top, side, foot = 52.0, 52.0, 380.0, 84.0
    canvas = Canvas(left + side + 14, top + side + foot + 56)
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    across = Span(0, 100, left, left + side)
    up = Span(0, 100, top + side, top)
    low = top + side + 14 + foot
    shares = 100 * counts / max(counts.sum(), 1)
    high = Span(0, max(shares.max() * 1.1, 1), low, low - foot)
    draw_ticks_left(canvas, up, up.round_numbers(10), left, left + side)
    draw_ticks_left(canvas, high, high.round_numbers(3), left, left + side)
    draw_ticks_below(canvas, across, across.round_numbers(10), top, low)
    edges = [across.at(edge) for edge in np.linspace(0, 100, len(counts) + 1)]
    for k in np.flatnonzero(counts):
        for span, value in ((up, 100 * right[k]), (high, shares[k])):
            box = Box(edges[k] + 0.5, span.at(value), edges[k + 1] - 0.5, span.at(0), PALE_BLUE)
            canvas.boxes.append(box)
    diagonal = np.array([(left, top + side), (left + side, top)])
    canvas.lines.append(Line(diagonal, FAINT, 1.0, is_dotted=True))
    for k in np.flatnonzero(counts):
        x, y = across.at(100 * sure[k]), up.at(100 * right[k])
        canvas.lines.append(straight((x, y), (x, up.at(100 * sure[k])), VERMILION, 2.0))
        draw_dots(canvas, [(x, y)], BLUE, 3.2)
    note = "dots under the diagonal: surer than right"
    canvas.texts.append(Text(left + 10, top + 14, note, 8.5, FAINT))
    middle = left + side / 2
    canvas.texts.append(Text(middle, low + 24, "confidence, %", 9, FAINT, MIDDLE))
    for y, words in ((top + side / 2, "accuracy, %"), (low - foot / 2, "examples, %")):
        canvas.texts.append(Text(12, y, words, 9, FAINT, MIDDLE, angle=90))
    return canvas
