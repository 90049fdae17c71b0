"""The confusion matrix as a picture, and the difference of two. `C` classes; lengths are pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from fashion_mnist.metrics.confusions import most_confused
from fashion_mnist.plots.drawing import (
    CAPTION_SIZE,
    FAINT,
    INK,
    TITLE_SIZE,
    VERMILION,
    Heading,
    as_bytes,
    inks_on,
    new_page,
    ramp,
    shortened,
    text_width,
    write,
)
from fashion_mnist.plots.fonts import log_missing_letters

EMPTY = (0.965, 0.965, 0.965)
# blue for right and orange for wrong differ for colour-blind eyes too; the blue stays pale, so
# that nine thousand right answers do not outshine a hundred wrong ones
RIGHT_RAMP = ((0.95, 0.97, 0.98), (0.80, 0.87, 0.93), (0.58, 0.74, 0.86))
WRONG_RAMP = ((1.00, 0.96, 0.90), (0.96, 0.66, 0.36), (0.60, 0.20, 0.02))
# from worse over the same to better; the two ends differ for colour-blind eyes too
WORSE_TO_BETTER = (
    (0.60, 0.20, 0.02),
    (0.96, 0.66, 0.36),
    EMPTY,
    (0.45, 0.66, 0.84),
    (0.05, 0.29, 0.52),
)
# the same for every run, so that two runs' pictures can be compared by eye
WORST_SHARE = 0.25  # of a row: mistakes at least this frequent are drawn darkest
LEAST_SCALE = 5  # images: two networks that hardly differ are drawn pale
NAME_SIZE, LONGEST_NAME = 18, 360
ROOM_FOR_SHARES = 60  # smaller cells hold the count alone


def confusion_figure(counts: ArrayLike, class_names: Sequence[str], title: str) -> Image.Image:
    """The confusion matrix `[C, C]`, rows true, columns predicted.

    Recall is blue, mistakes are orange on a scale of their own. Every count but zero is written in
    its cell, with its share of the row where there is room and it is 1 % or more.
    """
    counts = np.asarray(counts, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # 100 % are all: no mistake is beside them
    percents = np.where(shares < 1, shares.clip(max=0.99), 1.0)
    cells = [
        [(str(n) if n else "", f"{s:.0%}" if s >= 0.01 else "") for n, s in zip(*row, strict=True)]
        for row in zip(counts.tolist(), percents.tolist(), strict=True)
    ]
    heading = _confusion_heading(counts, class_names, title)
    colors = confusion_colors(counts)
    return _matrix_page(cells, colors, class_names, heading, foot="%: of the true class")


def difference_figure(
    first: ArrayLike, second: ArrayLike, class_names: Sequence[str], names: tuple[str, str]
) -> Image.Image:
    """The second's counts `[C, C]` − the first's: blue where the second is better.

    Better are more on the diagonal and fewer beside it. Where both count the same, a cell is empty.

    Args:
        names: of the first and the second, as short as letters.
    """
    change = np.asarray(second, dtype=np.int64) - np.asarray(first, dtype=np.int64)
    cells = [
        [(f"{n:+d}".replace("-", "−") if n else "", "") for n in row] for row in change.tolist()
    ]
    heading = _difference_heading(change, class_names, names)
    colors = difference_colors(change)
    return _matrix_page(cells, colors, class_names, heading, foot="images more or fewer")


def confusion_colors(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of counts `[C, C]`: the row share, right and wrong apart."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # a power below 1 shows one mistake in a hundred beside one in ten
    wrong = ramp(np.minimum(share / WORST_SHARE, 1) ** 0.6, WRONG_RAMP)
    right = ramp(share, RIGHT_RAMP)
    colors = np.where(np.eye(len(counts), dtype=bool)[..., None], right, wrong)
    return np.where(counts[..., None] > 0, colors, EMPTY)


def difference_colors(change: NDArray[np.int64]) -> NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of changes of counts `[C, C]`; the largest is the darkest."""
    better = np.where(np.eye(len(change), dtype=bool), change, -change)
    scale = max(np.abs(change).max(), LEAST_SCALE)
    # a power below 1 shows five images beside fifty
    strength = np.sign(better) * (np.abs(better) / scale) ** 0.7
    return ramp((strength + 1) / 2, WORSE_TO_BETTER)


def _confusion_heading(
    counts: NDArray[np.int64], class_names: Sequence[str], title: str
) -> Heading:
    """The title with the accuracy, then the three most frequent mistakes."""
    accuracy = counts.trace() / max(counts.sum(), 1)
    worst = most_confused(counts.tolist(), class_names, limit=3)
    words = [f"{each.true} → {each.predicted} ({each.count})" for each in worst]
    mistakes = f"Most confused: {', '.join(words)}" if words else "No mistakes"
    return [
        (f"{title}: accuracy {accuracy:.2%}", TITLE_SIZE, INK),
        (mistakes, CAPTION_SIZE, VERMILION if words else FAINT),
    ]


def _difference_heading(
    change: NDArray[np.int64], class_names: Sequence[str], names: tuple[str, str]
) -> Heading:
    """What is shown, and the kinds of mistakes that changed most."""
    first, second = names
    fewer = np.where(np.eye(len(change), dtype=bool), 0, -change)
    words = []
    for direction, gains in (("fewer", fewer), ("more", -fewer)):
        true, predicted = divmod(int(gains.argmax()), len(class_names))
        if count := max(int(gains[true, predicted]), 0):
            kind = f"{class_names[true]} → {class_names[predicted]}"
            words.append(f"{direction} of {kind} ({count})")
    return [
        (f"{second} − {first}: blue where {second} is better", TITLE_SIZE, INK),
        ("; ".join(words) or "the same mistakes", CAPTION_SIZE, FAINT),
    ]


def _matrix_page(
    cells: Sequence[Sequence[tuple[str, str]]],
    colors: NDArray[np.float64],
    class_names: Sequence[str],
    heading: Heading,
    foot: str,
) -> Image.Image:
    """Cells with a text and a smaller one, rows true, columns predicted, and all about them.

    Args:
        foot: a remark at the bottom left, where the cells have room for two lines.
    """
    log_missing_letters(class_names)
    names = [shortened(name, NAME_SIZE, LONGEST_NAME) for name in class_names]
    names_width = max(text_width(name, NAME_SIZE) for name in names)
    cell = max(740 / len(names), 32)
    left, top, side = names_width + 52, 96, cell * len(names)
    slant = 0.71 * (names_width + NAME_SIZE)  # a name turned by 45°
    page = new_page(left + side + 16, top + side + slant + 48, heading)
    _draw_cells(page, (left, top, cell), cells, colors)
    for index, name in enumerate(names):
        middle = cell * (index + 0.5)
        write(page, (left - 10, top + middle), name, NAME_SIZE, anchor="right")
        below = left + middle + 6, top + side + 14
        write(page, below, name, NAME_SIZE, anchor="right", angle=45)
    bottom = top + side + slant + 28
    write(page, (left + side / 2, bottom), "predicted", CAPTION_SIZE, FAINT, anchor="middle")
    write(page, (24, top + side / 2), "true", CAPTION_SIZE, FAINT, anchor="middle", angle=90)
    if cell >= ROOM_FOR_SHARES:
        write(page, (16, bottom), foot, 14, FAINT)
    return page


def _draw_cells(
    page: Image.Image,
    grid: tuple[float, float, float],
    cells: Sequence[Sequence[tuple[str, str]]],
    colors: NDArray[np.float64],
) -> None:
    """Draw the cells of a grid (left, top, a cell's side), and their texts at one size."""
    left, top, cell = grid
    has_room = cell >= ROOM_FOR_SHARES
    widest = max((text_width(first, 100) for row in cells for first, _ in row), default=0)
    size = min(40, (0.3 if has_room else 0.45) * cell, 84 * cell / max(widest, 1))
    inks, fills, draw = inks_on(colors), as_bytes(colors), ImageDraw.Draw(page)
    for true, row in enumerate(cells):
        for predicted, (first, second) in enumerate(row):
            x, y, ink = left + cell * predicted, top + cell * true, str(inks[true, predicted])
            # a line of one or two pixels stays white between cells
            box = (round(x) + 1, round(y) + 1, round(x + cell) - 1, round(y + cell) - 1)
            draw.rectangle(box, tuple(fills[true, predicted].tolist()))
            x, y = x + cell / 2, y + cell / 2
            if second and has_room:
                place = (x, y + 0.62 * size)
                write(page, place, second, 0.58 * size, ink, anchor="middle")
                y -= 0.26 * size
            if first:
                write(page, (x, y), first, size, ink, anchor="middle")
