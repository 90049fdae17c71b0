"""The confusion matrix as a picture. `C` classes; lengths are points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fashion_mnist.canvas import (
    END,
    FAINT,
    INK,
    MIDDLE,
    VERMILION,
    Box,
    Canvas,
    Text,
    inks_on,
    ramp,
    text_width,
    write_heading,
    write_png,
)

EMPTY = (0.965, 0.965, 0.965)
# blue for right and orange for wrong differ for colour-blind eyes too; the blue stays pale, so
# that nine thousand right answers do not outshine a hundred wrong ones
RIGHT_RAMP = ((0.95, 0.97, 0.98), (0.80, 0.87, 0.93), (0.58, 0.74, 0.86))
WRONG_RAMP = ((1.00, 0.96, 0.90), (0.96, 0.66, 0.36), (0.60, 0.20, 0.02))
# the same for every run, so that two runs' pictures can be compared by eye
WORST_SHARE = 0.25  # of a row: mistakes at least this frequent are drawn darkest
ROOM_FOR_SHARES = 30.0  # points: smaller cells hold the count alone
Grid = tuple[float, float, float]  # left and top of the first cell, length of a cell's side


def plot_confusion_matrix(
    counts: npt.ArrayLike, class_names: Sequence[str], path: Path, title: str
) -> None:
    """Writes the picture of counts `[C, C]`, rows true, columns predicted, to `path`."""
    write_png(confusion_figure(counts, class_names, title), path)


def confusion_figure(counts: npt.ArrayLike, class_names: Sequence[str], title: str) -> Canvas:
    """The confusion matrix `[C, C]`: recall in blue, mistakes in orange on a scale of their own.

    Every count but zero is written in its cell, with its share of the row where there is room.
    """
    counts = np.asarray(counts, dtype=np.int64)
    heading = _confusion_heading(counts, class_names, title)
    canvas, grid = matrix_sheet(class_names, heading, foot="%: of the true class")
    _draw_cells(canvas, counts, grid)
    return canvas


def matrix_sheet(
    class_names: Sequence[str], heading: Sequence[tuple[str, float, str]], foot: str
) -> tuple[Canvas, Grid]:
    """A sheet for `[C, C]` cells, rows true, columns predicted, with all but the cells on it.

    Args:
        foot: a remark at the bottom left, where the cells have room for two lines.
    """
    num_classes = len(class_names)
    cell = max(370 / num_classes, 16.0)
    names_width = max(text_width(name, 9) for name in class_names)
    left, top, side = names_width + 26, 48.0, cell * num_classes
    slant = 0.71 * (names_width + 9)  # a name turned by 45°
    canvas = Canvas(left + side + 8, top + side + slant + 24)
    write_heading(canvas, heading)
    for index, name in enumerate(class_names):
        middle = cell * (index + 0.5)
        place = left + middle + 3, top + side + 7
        canvas.texts.append(Text(left - 5, top + middle, name, 9, anchor=END))
        canvas.texts.append(Text(*place, name, 9, anchor=END, angle=45))
    bottom = top + side + slant + 14
    canvas.texts.append(Text(left + side / 2, bottom, "predicted", 9, FAINT, MIDDLE))
    canvas.texts.append(Text(12, top + side / 2, "true", 9, FAINT, MIDDLE, angle=90))
    if cell >= ROOM_FOR_SHARES:
        canvas.texts.append(Text(8, bottom, foot, 7, FAINT))
    return canvas, (left, top, cell)


def confusion_colors(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of counts `[C, C]`: the row share, right and wrong apart."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # a power below 1 shows one mistake in a hundred beside one in ten
    wrong = ramp(np.minimum(share / WORST_SHARE, 1) ** 0.6, WRONG_RAMP)
    right = ramp(share, RIGHT_RAMP)
    colors = np.where(np.eye(len(counts), dtype=bool)[..., None], right, wrong)
    return np.where(counts[..., None] > 0, colors, EMPTY)


def _confusion_heading(
    counts: npt.NDArray[np.int64], class_names: Sequence[str], title: str
) -> list[tuple[str, float, str]]:
    """The title with the accuracy, then the three most frequent mistakes."""
    accuracy = counts.trace() / max(counts.sum(), 1)
    mistakes = counts - np.diag(counts.diagonal())
    cells = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    words = [
        f"{class_names[true]} → {class_names[predicted]} ({mistakes[true, predicted]})"
        for true, predicted in zip(*np.unravel_index(cells, mistakes.shape), strict=True)
        if mistakes[true, predicted] > 0
    ]
    most_confused = f"Most confused: {', '.join(words)}" if words else "No mistakes"
    return [
        (f"{title}: accuracy {accuracy:.2%}", 12, INK),
        (most_confused, 9, VERMILION if words else FAINT),
    ]


def _draw_cells(canvas: Canvas, counts: npt.NDArray[np.int64], grid: Grid) -> None:
    """Draws each cell, its count but zero, and its share of the row where there is room."""
    left, top, cell = grid
    colors, digits, gap = confusion_colors(counts), len(str(counts.max())), min(0.6, cell / 40)
    inks = inks_on(colors)
    has_shares = cell >= ROOM_FOR_SHARES
    size = min(20.0, (0.3 if has_shares else 0.45) * cell, cell / (0.75 * digits))
    for (true, predicted), count in np.ndenumerate(counts):
        x, y = left + cell * predicted, top + cell * true
        color, ink = tuple(colors[true, predicted]), str(inks[true, predicted])
        canvas.boxes.append(Box(x + gap, y + gap, x + cell - gap, y + cell - gap, color))
        if not count:
            continue
        share, x, y = count / counts[true].sum(), x + cell / 2, y + cell / 2
        if has_shares and share >= 0.01:
            place = x, y + 0.62 * size
            canvas.texts.append(Text(*place, f"{share:.0%}", 0.58 * size, ink, MIDDLE))
            y -= 0.26 * size
        canvas.texts.append(Text(x, y, str(count), size, ink, MIDDLE))
