"""Learning curves as a picture: a panel each for loss, accuracy and learning rate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
    write_png,
)

PALE = "#e8e8e8"  # lines of a grid


def plot_curves(history: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Writes loss, accuracy and learning rate over epochs to `path`."""
    write_png(curves_figure(history, title), path)


def curves_figure(history: Sequence[Mapping[str, float]], title: str) -> Canvas:
    """Loss, accuracy and learning rate over epochs, from rows of the run's history.

    A key that no row has (a run without validation) is left out, a NaN is a gap.
    """
    canvas = Canvas(700, 270)
    write_heading(canvas, [(title, 12, INK)])
    panels = {
        "loss": [
            ("train/loss", "train", BLUE, False),
            ("val/loss", "validation", VERMILION, False),
        ],
        "accuracy": [
            ("train/accuracy", "train", BLUE, False),
            ("val/accuracy", "validation", VERMILION, False),
            ("val/f1_macro", "validation, macro F1", VERMILION, True),
        ],
        "learning rate": [("lr", "", INK, False)],
    }
    for index, (name, curves) in enumerate(panels.items()):
        left = 40.0 + index * 230
        canvas.texts.append(Text(left, 41, name, 10))
        box = (left, 80.0, left + 186, 234.0)
        _draw_panel(canvas, box, history, curves, from_zero=name != "accuracy")
    return canvas


def _draw_panel(
    canvas: Canvas,
    box: tuple[float, float, float, float],
    history: Sequence[Mapping[str, float]],
    curves: Sequence[tuple[str, str, str, bool]],
    from_zero: bool,
) -> None:
    """Draws curves (key, label, colour, dotted or not) over the epochs, and labels above."""
    points = [
        np.array([(row["epoch"], row[key]) for row in history if key in row]).reshape(-1, 2)
        for key, *_ in curves
    ]
    origin, scale = _draw_grid(canvas, box, np.concatenate(points), from_zero)
    x, y = box[0], box[1] - 24
    for (_, label, color, is_dotted), own in zip(curves, points, strict=True):
        if not len(own):
            continue
        dots = 1.75 if len(own) <= 30 else 0.0
        canvas.lines.append(Line(origin + scale * own, color, 1.4, dots, is_dotted))
        if not label:
            continue
        words = f"{label} {own[-1, 1]:.4g}"  # where the curve ends
        width = 18 + text_width(words, 8)
        if x > box[0] and x + width > box[2]:
            x, y = box[0], y + 12
        sample = np.array([(x, y), (x + 14, y)])
        canvas.lines.append(Line(sample, color, 1.4, is_dotted=is_dotted))
        canvas.texts.append(Text(x + 18, y, words, 8))
        x += width + 8


def _draw_grid(
    canvas: Canvas,
    box: tuple[float, float, float, float],
    points: npt.NDArray[np.float64],
    from_zero: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draws round values of what points `[N, 2]` span; place = origin + scale · point, each [2]."""
    from matplotlib.ticker import MaxNLocator

    left, top, right, bottom = box
    finite = points[np.isfinite(points).all(axis=1)]
    finite = finite if len(finite) else np.array([(1.0, 0.0), (1.0, 1.0)])
    low, high = finite.min(axis=0), finite.max(axis=0)
    if from_zero:
        low[1] = min(low[1], 0)
    room = 0.05 * np.where(high > low, high - low, np.maximum(np.abs(high), 1))
    low, high = low - room * (1, not from_zero or low[1] < 0), high + room
    scale = np.array([right - left, top - bottom]) / (high - low)
    origin = np.array([left, bottom]) - scale * low
    for axis, (start, end) in enumerate(zip(low, high, strict=True)):
        whole = {"integer": True, "min_n_ticks": 1} if axis == 0 else {}
        for tick in MaxNLocator(nbins=6, **whole).tick_values(start, end):
            if not start <= tick <= end:
                continue
            place = float((origin + scale * tick)[axis])
            if axis == 0:
                ends = [(place, top), (place, bottom)]
                label = Text(place, bottom + 9, f"{tick:g}", 8, FAINT, MIDDLE)
            else:
                ends = [(left, place), (right, place)]
                label = Text(left - 5, place, f"{tick:g}", 8, FAINT, END)
            canvas.lines.append(Line(np.array(ends), PALE, 0.7))
            canvas.texts.append(label)
    canvas.texts.append(Text((left + right) / 2, bottom + 24, "epoch", 9, FAINT, MIDDLE))
    return origin, scale
