"""A run's figures: confusion matrix, learning curves, sample images, mistakes.

`N` images of `H` × `W` pixels, `C` classes. Lengths and font sizes are points; a chart of MLflow
shows a figure at about one pixel per point, so what must be read there is 8 points high or more.
Each `plot_…` writes the figure that its `…_figure` builds.
"""

from __future__ import annotations  # matplotlib's types are imported for the type checker alone

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fashion_mnist.canvas import (
    BLUE,
    FAINT,
    FONT,
    INK,
    VERMILION,
    draw_image,
    ink_on,
    new_canvas,
    ramp,
    text_width,
    write,
    write_heading,
    write_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def confusion_figure(counts: npt.ArrayLike, class_names: Sequence[str], title: str) -> Figure:
    """The confusion matrix `[C, C]`: recall in blue, mistakes in orange on a scale of their own.

    Every count but zero is written in its cell, with its share of the row where there is room.
    """
    counts = np.asarray(counts, dtype=np.int64)
    num_classes = len(class_names)
    cell = max(370 / num_classes, 16.0)
    names_width = max(text_width(name, 9) for name in class_names)
    left, top, side = names_width + 26, 48.0, cell * num_classes
    slant = 0.71 * (names_width + 9)  # a name turned by 45°
    figure, axes = new_canvas(left + side + 8, top + side + slant + 24)

    colors = confusion_colors(counts)
    box = (left, left + side, top + side, top)
    axes.imshow(colors, extent=box, aspect="auto", interpolation="nearest")
    edges = cell * np.arange(1, num_classes)
    axes.vlines(left + edges, top, top + side, colors="white", linewidth=min(1.2, cell / 20))
    axes.hlines(top + edges, left, left + side, colors="white", linewidth=min(1.2, cell / 20))

    for index, name in enumerate(class_names):
        middle = cell * (index + 0.5)
        write(axes, left - 5, top + middle, name, 9, ha="right")
        foot = left + middle + 3, top + side + 7
        write(axes, *foot, name, 9, ha="right", rotation=45, rotation_mode="anchor")
    write(axes, 12, top + side / 2, "true", 9, FAINT, ha="center", va="center", rotation=90)
    write(axes, left + side / 2, top + side + slant + 14, "predicted", 9, FAINT, ha="center")
    if cell >= ROOM_FOR_SHARES:
        write(axes, 8, top + side + slant + 14, "%: of the true class", 7, FAINT)
    write_heading(axes, _confusion_heading(counts, class_names, title))
    _write_counts(axes, counts, colors, (left, top, cell))
    return figure


def confusion_colors(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """RGB `[C, C, 3]` in [0, 1] of counts `[C, C]`: the row share, right and wrong apart."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # a power below 1 shows one mistake in a hundred beside one in ten
    wrong = ramp(np.minimum(share / WORST_SHARE, 1) ** 0.6, WRONG_RAMP)
    right = ramp(share, RIGHT_RAMP)
    colors = np.where(np.eye(len(counts), dtype=bool)[..., None], right, wrong)
    return np.where(counts[..., None] > 0, colors, EMPTY)


def curves_figure(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Loss, accuracy and learning rate over epochs, from rows of the run's history.

    A key that no row has (a run without validation) is left out, a NaN is a gap.
    """
    width, height = 700, 250
    figure, canvas = new_canvas(width, height)
    write_heading(canvas, [(title, 12, INK)])
    panels = {
        "loss": [("train/loss", "train", BLUE, "-"), ("val/loss", "validation", VERMILION, "-")],
        "accuracy": [
            ("train/accuracy", "train", BLUE, "-"),
            ("val/accuracy", "validation", VERMILION, "-"),
            ("val/f1_macro", "validation, macro F1", VERMILION, ":"),
        ],
        "learning rate": [("lr", "", INK, "-")],
    }
    for index, (name, curves) in enumerate(panels.items()):
        left, bottom = 40 + index * 230, 36
        axes = figure.add_axes((left / width, bottom / height, 186 / width, 164 / height))
        _draw_panel(axes, history, name, curves)
    return figure


def samples_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    per_class: int = 12,
) -> Figure:
    """The first examples of each class, a row each behind its name; a class may have none."""
    labels = np.asarray(labels)
    num_classes, height, width = len(class_names), images.shape[1] + 2, images.shape[2] + 2
    mosaic = np.zeros((num_classes, height, per_class, width), dtype=np.uint8)
    for label in range(num_classes):
        examples = images[np.flatnonzero(labels == label)[:per_class]]
        mosaic[label, 1:-1, : len(examples), 1:-1] = examples.transpose(1, 0, 2)
    left, top, row = max(text_width(name, 9) for name in class_names) + 16, 10.0, 30.0
    right = left + per_class * row * width / height
    figure, axes = new_canvas(right + 10, top + num_classes * row + 10)
    draw_image(
        axes,
        mosaic.reshape(num_classes * height, per_class * width),
        (left, right, top + num_classes * row, top),
    )
    for index, name in enumerate(class_names):
        write(axes, left - 6, top + row * (index + 0.5), name, 9, ha="right")
    return figure


def mistakes_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    limit: int = 24,
) -> Figure:
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
) -> Figure:
    """Images `[N, H, W]` in rows of six, three lines of caption under each, below a heading."""
    texts = [text_width(line, 8) for caption in captions for line in caption]
    side, column, row, top = 58.0, max([73.0, *(text + 8 for text in texts)]), 98.0, 46.0
    num_rows = -(-len(images) // num_columns)
    figure, axes = new_canvas(16 + num_columns * column, top + num_rows * row)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, y = 8 + index % num_columns * column, top + index // num_columns * row
        middle = left + column / 2
        draw_image(axes, image, (middle - side / 2, middle + side / 2, y + side, y))
        for line, (text, color) in enumerate(zip(caption, (BLUE, VERMILION, FAINT), strict=True)):
            write(axes, middle, y + side + 6 + 10 * line, text, 8, color, ha="center")
    write_heading(axes, heading)
    return figure


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


def _write_counts(
    axes: Axes,
    counts: npt.NDArray[np.int64],
    colors: npt.NDArray[np.float64],
    grid: tuple[float, float, float],
) -> None:
    """Writes each count but zero into its cell, and its share of the row where there is room."""
    left, top, cell = grid
    digits = len(str(counts.max()))
    has_shares = cell >= ROOM_FOR_SHARES
    size = min(20.0, (0.3 if has_shares else 0.45) * cell, cell / (0.75 * digits))
    for true, predicted in np.argwhere(counts > 0):
        count = counts[true, predicted]
        x, y = left + cell * (predicted + 0.5), top + cell * (true + 0.5)
        ink = ink_on(colors[true, predicted])
        share = count / counts[true].sum()
        if has_shares and share >= 0.01:
            write(axes, x, y + 0.62 * size, f"{share:.0%}", 0.58 * size, ink, ha="center")
            y -= 0.26 * size
        write(axes, x, y, str(count), size, ink, ha="center")


def _draw_panel(
    axes: Axes,
    history: Sequence[Mapping[str, float]],
    name: str,
    curves: Sequence[tuple[str, str, str, str]],
) -> None:
    """Draws curves (key, label, colour, line style); the legend says where each one ends."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(name, loc="left", fontsize=10, fontfamily=FONT, color=INK)
    for key, label, color, style in curves:
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) <= 30 else ""
            text = f"{label} {values[-1]:.4g}".strip()
            axes.plot(epochs, values, style, color=color, marker=marker, ms=2.5, lw=1.4, label=text)
    if axes.lines and name != "learning rate":
        axes.legend(frameon=False, prop={"family": FONT, "size": 8}, labelcolor=INK)
    if name != "accuracy":
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter("{x:g}")  # no factor of ten above the axis
    axes.set_xlabel("epoch", fontsize=9, fontfamily=FONT, color=FAINT)
    axes.tick_params(labelsize=8, labelcolor=FAINT, color="#cccccc", labelfontfamily=FONT)
    axes.grid(color="#e8e8e8", linewidth=0.7)
    axes.spines[:].set_visible(False)
