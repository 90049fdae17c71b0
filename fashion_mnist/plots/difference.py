"""Two confusion matrices as one picture: their difference. `C` classes; lengths are points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fashion_mnist.canvas import (
    FAINT,
    INK,
    MIDDLE,
    Box,
    Canvas,
    Text,
    inks_on,
    ramp,
    write_png,
)
from fashion_mnist.plots.confusion import EMPTY, ROOM_FOR_SHARES, Grid, matrix_sheet

# from worse over the same to better; the two ends differ for colour-blind eyes too
WORSE_TO_BETTER = (
    (0.60, 0.20, 0.02),
    (0.96, 0.66, 0.36),
    EMPTY,
    (0.45, 0.66, 0.84),
    (0.05, 0.29, 0.52),
)
LEAST_SCALE = 5  # images: two networks that hardly differ are drawn pale


def plot_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    class_names: Sequence[str],
    names: tuple[str, str],
    path: Path,
) -> None:
    """Writes the picture of `difference_figure` to `path`."""
    write_png(difference_figure(first, second, class_names, names), path)


def difference_figure(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    class_names: Sequence[str],
    names: tuple[str, str],
) -> Canvas:
    """The second's counts `[C, C]` less the first's: blue where the second is better.

    Better are more on the diagonal and fewer beside it. Where both count the same, a cell is empty.

    Args:
        names: of the first and the second, as short as letters.
    """
    change = np.asarray(second, dtype=np.int64) - np.asarray(first, dtype=np.int64)
    canvas, grid = matrix_sheet(
        class_names, _heading(change, class_names, names), foot="images more or fewer"
    )
    _draw_cells(canvas, change, grid)
    return canvas


def difference_colors(change: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of changes of counts `[C, C]`; the largest is the darkest."""
    better = np.where(np.eye(len(change), dtype=bool), change, -change)
    scale = max(np.abs(change).max(), LEAST_SCALE)
    # a power below 1 shows five images beside fifty
    strength = np.sign(better) * (np.abs(better) / scale) ** 0.7
    return ramp((strength + 1) / 2, WORSE_TO_BETTER)


def _heading(
    change: npt.NDArray[np.int64], class_names: Sequence[str], names: tuple[str, str]
) -> list[tuple[str, float, str]]:
    """What is shown, and the kinds of images of which most changed."""
    first, second = names
    better = np.where(np.eye(len(change), dtype=bool), 0, -change)
    gains = _most(better, class_names)
    losses = _most(-better, class_names)
    words = [f"fewer of {gains}"] if gains else []
    words += [f"more of {losses}"] if losses else []
    return [
        (f"{second} less {first}: blue where {second} is better", 12, INK),
        ("; ".join(words) or "the same mistakes", 9, FAINT),
    ]


def _most(gains: npt.NDArray[np.int64], class_names: Sequence[str]) -> str:
    """The kind of mistake that changed most in this direction, `Coat → Shirt (-12)`."""
    true, predicted = divmod(int(gains.argmax()), len(class_names))
    count = int(gains[true, predicted])
    return f"{class_names[true]} → {class_names[predicted]} ({count})" if count > 0 else ""


def _draw_cells(canvas: Canvas, change: npt.NDArray[np.int64], grid: Grid) -> None:
    left, top, cell = grid
    colors, gap = difference_colors(change), min(0.6, cell / 40)
    inks = inks_on(colors)
    digits = len(f"{np.abs(change).max():+d}")
    size = min(16.0, 0.36 * cell if cell >= ROOM_FOR_SHARES else 0.45 * cell, cell / (0.7 * digits))
    for (true, predicted), count in np.ndenumerate(change):
        x, y = left + cell * predicted, top + cell * true
        color = tuple(colors[true, predicted])
        canvas.boxes.append(Box(x + gap, y + gap, x + cell - gap, y + cell - gap, color))
        if count:
            place, ink = (x + cell / 2, y + cell / 2), str(inks[true, predicted])
            canvas.texts.append(Text(*place, f"{count:+d}".replace("-", "−"), size, ink, MIDDLE))
