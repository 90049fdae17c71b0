"""How accurate a network is where it may abstain, as a picture. Lengths are points."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fashion_mnist.canvas import (
    BLUE,
    END,
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
)

MOST_POINTS = 400  # of the curve: more cannot be seen
MARKED = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # coverages whose accuracy is written
FIRST = 0.05  # of the coverages: below it a single mistake moves the curve


def plot_coverage(accuracy: npt.ArrayLike, path: Path, title: str, caption: str) -> None:
    """Writes the curve of `coverage_figure` to `path`."""
    write_png(coverage_figure(accuracy, title, caption), path)


def coverage_figure(accuracy: npt.ArrayLike, title: str, caption: str) -> Canvas:
    """Accuracy over coverage, from `[N]` accuracies of the n most confident, n from 1 to N."""
    values = 100 * np.asarray(accuracy, float)
    left, top, right, bottom = 52.0, 56.0, 466.0, 320.0
    canvas = Canvas(right + 14, bottom + 40)
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    first = min(max(int(FIRST * len(values)), 1), len(values))
    shown = np.unique(np.linspace(first, len(values), MOST_POINTS).round().astype(int))
    up, across = span_over(values[shown - 1], bottom, top), Span(0, 102, left, right)
    draw_ticks_left(canvas, up, up.round_numbers(8), left, right)
    draw_ticks_below(canvas, across, across.round_numbers(10), top, bottom)
    places = [(across.at(100 * n / len(values)), up.at(values[n - 1])) for n in shown]
    canvas.lines.append(Line(np.array(places), BLUE, 1.8))
    for share in MARKED:
        number = max(round(share * len(values)), 1)
        place = across.at(100 * number / len(values)), up.at(values[number - 1])
        draw_dots(canvas, [place], BLUE, 3.0)
        label = f"{values[number - 1]:.1f}"
        canvas.texts.append(Text(place[0] - 4, place[1] + 9, label, 8.5, INK, END))
    words = "coverage: share of the images that are answered, the surest first, %"
    canvas.texts.append(Text((left + right) / 2, bottom + 24, words, 9, FAINT, MIDDLE))
    middle = (top + bottom) / 2
    canvas.texts.append(Text(12, middle, "accuracy of the answers, %", 9, FAINT, MIDDLE, 90))
    return canvas
