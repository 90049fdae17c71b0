"""A run's figures: confusion matrix, learning curves, sample images, mistakes.

`N` images of `H` × `W` pixels, `C` classes. Lengths and font sizes are points; a chart of MLflow
shows a figure at about one pixel per point, so what must be read there is 8 points high or more.
Each `plot_…` writes the figure that its `…_figure` builds.
"""

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
    Box,
    Canvas,
    Image,
    Line,
    Text,
    inks_on,
    ramp,
    text_width,
    write_heading,
    write_png,
)

PALE = "#e8e8e8"  # lines of a grid
EMPTY = (0.965, 0.965, 0.965)
# blue for right and orange for wrong differ for colour-blind eyes too; the blue stays pale, so
# that nine thousand right answers do not outshine a hundred wrong ones
RIGHT_RAMP = ((0.95, 0.97, 0.98), (0.80, 0.87, 0.93), (0.58, 0.74, 0.86))
WRONG_RAMP = ((1.00, 0.96, 0.90), (0.96, 0.66, 0.36), (0.60, 0.20, 0.02))
# the same for every run, so that two runs' pictures can be compared by eye
WORST_SHARE = 0.25  # of a row: mistakes at least this frequent are drawn darkest
ROOM_FOR_SHARES = 30.0  # points: smaller cells hold the count alone


def plot_confusion_matrix(
    counts: npt.ArrayLike, class_names: Sequence[str], path: Path, title: str
) -> None:
    """Writes the picture of counts `[C, C]`, rows true, columns predicted, to `path`."""
    write_png(confusion_figure(counts, class_names, title), path)


def plot_curves(history: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Writes loss, accuracy and learning rate over epochs to `path`."""
    write_png(curves_figure(history, title), path)


def plot_samples(
    images: npt.NDArray[np.uint8], labels: npt.ArrayLike, class_names: Sequence[str], path: Path
) -> None:
    """Writes a row of examples for each class to `path`; images `[N, H, W]`, labels `[N]`."""
    write_png(samples_figure(images, labels, class_names), path)


def plot_mistakes(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    path: Path,
    limit: int = 24,
) -> None:
    """Writes the most confident mistakes to `path`; probabilities `[N, C]`, labels `[N]`."""
    write_png(mistakes_figure(images, labels, probabilities, class_names, limit), path)


def confusion_figure(counts: npt.ArrayLike, class_names: Sequence[str], title: str) -> Canvas:
    """The confusion matrix `[C, C]`: recall in blue, mistakes in orange on a scale of their own.

    Every count but zero is written in its cell, with its share of the row where there is room.
    """
    counts = np.asarray(counts, dtype=np.int64)
    num_classes = len(class_names)
    cell = max(370 / num_classes, 16.0)
    names_width = max(text_width(name, 9) for name in class_names)
    left, top, side = names_width + 26, 48.0, cell * num_classes
    slant = 0.71 * (names_width + 9)  # a name turned by 45°
    canvas = Canvas(left + side + 8, top + side + slant + 24)
    write_heading(canvas, _confusion_heading(counts, class_names, title))
    for index, name in enumerate(class_names):
        middle = cell * (index + 0.5)
        foot = left + middle + 3, top + side + 7
        canvas.texts.append(Text(left - 5, top + middle, name, 9, anchor=END))
        canvas.texts.append(Text(*foot, name, 9, anchor=END, angle=45))
    bottom = top + side + slant + 14
    canvas.texts.append(Text(left + side / 2, bottom, "predicted", 9, FAINT, MIDDLE))
    canvas.texts.append(Text(12, top + side / 2, "true", 9, FAINT, MIDDLE, angle=90))
    if cell >= ROOM_FOR_SHARES:
        canvas.texts.append(Text(8, bottom, "%: of the true class", 7, FAINT))
    _draw_cells(canvas, counts, (left, top, cell))
    return canvas


def confusion_colors(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of counts `[C, C]`: the row share, right and wrong apart."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # a power below 1 shows one mistake in a hundred beside one in ten
    wrong = ramp(np.minimum(share / WORST_SHARE, 1) ** 0.6, WRONG_RAMP)
    right = ramp(share, RIGHT_RAMP)
    colors = np.where(np.eye(len(counts), dtype=bool)[..., None], right, wrong)
    return np.where(counts[..., None] > 0, colors, EMPTY)


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


def samples_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    per_class: int = 12,
) -> Canvas:
    """The first examples of each class, a row each behind its name; a class may have none."""
    num_classes, height, width = len(class_names), images.shape[1] + 2, images.shape[2] + 2
    shown = first_of_each_class(labels, num_classes, per_class)
    mosaic = np.zeros((num_classes, height, per_class, width), dtype=np.uint8)
    for label, own in enumerate(shown):
        mosaic[label, 1:-1, : len(own), 1:-1] = images[own].transpose(1, 0, 2)
    left, top, row = max(text_width(name, 9) for name in class_names) + 16, 10.0, 30.0
    right, bottom = left + per_class * row * width / height, top + num_classes * row
    canvas = Canvas(right + 10, bottom + 10)
    flat = mosaic.reshape(num_classes * height, per_class * width)
    canvas.images.append(Image(left, top, right, bottom, flat))
    for index, name in enumerate(class_names):
        canvas.texts.append(Text(left - 6, top + row * (index + 0.5), name, 9, anchor=END))
    return canvas


def first_of_each_class(
    labels: npt.ArrayLike, num_classes: int, per_class: int = 12
) -> list[npt.NDArray[np.int64]]:
    """Where the first examples of each class are in labels `[N]`; a class may have none."""
    labels = np.asarray(labels)
    return [np.flatnonzero(labels == label)[:per_class] for label in range(num_classes)]


def mistakes_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    limit: int = 24,
) -> Canvas:
    """The mistakes with the highest probability: image, true class, predicted class, confidence."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    # stable, so that equal confidences come in the examples' order on every machine
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")[:limit]]
    captions = [
        (class_names[labels[n]], f"→ {class_names[predictions[n]]}", f"{confidence[n]:.1%}")
        for n in shown
    ]
    title = f"The {len(shown)} most confident of {len(wrong):,} mistakes"
    caption = f"of {len(labels):,} images: true class, → what it was taken for, confidence"
    if not len(wrong):
        title, caption = "No mistakes", f"All of {len(labels):,} images are classified correctly"
    heading = [(title, 12.0, INK), (caption, 9.0, FAINT)]
    return _gallery(images[shown], captions, heading)


def _gallery(
    images: npt.NDArray[np.uint8],
    captions: Sequence[tuple[str, str, str]],
    heading: Sequence[tuple[str, float, str]],
    num_columns: int = 6,
) -> Canvas:
    """Images `[N, H, W]` in rows of six, three lines of caption under each, below a heading."""
    texts = [text_width(line, 8) for caption in captions for line in caption]
    # 28 pixels on 56 points are 4 dots each
    side, column, row, top = 56.0, max([73.0, *(text + 8 for text in texts)]), 98.0, 46.0
    num_rows = -(-len(images) // num_columns)
    canvas = Canvas(16 + num_columns * column, top + num_rows * row)
    write_heading(canvas, heading)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        middle = 8 + (index % num_columns + 0.5) * column
        y = top + index // num_columns * row
        canvas.images.append(Image(middle - side / 2, y, middle + side / 2, y + side, image))
        for line, (words, color) in enumerate(zip(caption, (BLUE, VERMILION, FAINT), strict=True)):
            canvas.texts.append(Text(middle, y + 64 + 10 * line, words, 8, color, MIDDLE))
    return canvas


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


def _draw_cells(
    canvas: Canvas, counts: npt.NDArray[np.int64], grid: tuple[float, float, float]
) -> None:
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
