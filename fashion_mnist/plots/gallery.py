"""Images of a data set as pictures: examples of each class, confident mistakes.

`N` images of `H` × `W` pixels, `C` classes. Lengths are points.
"""

from collections.abc import Sequence
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
    Image,
    Text,
    text_width,
    write_heading,
    write_png,
)


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
        (
            (class_names[labels[n]], BLUE),
            (f"→ {class_names[predictions[n]]}", VERMILION),
            (f"{confidence[n]:.1%}", FAINT),
        )
        for n in shown
    ]
    title = f"The {len(shown)} most confident of {len(wrong):,} mistakes"
    caption = f"of {len(labels):,} images: true class, → what it was taken for, confidence"
    if not len(wrong):
        title, caption = "No mistakes", f"All of {len(labels):,} images are classified correctly"
    heading = [(title, 12.0, INK), (caption, 9.0, FAINT)]
    return _gallery(images[shown], captions, heading)


def disagreements_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    probabilities: tuple[npt.ArrayLike, npt.ArrayLike],
    class_names: Sequence[str],
    names: tuple[str, str],
    limit: int = 24,
) -> Canvas:
    """The images on which two networks disagree: image, true class, what each took it for.

    First come those where their probabilities for the true class differ most.

    Args:
        probabilities: of both, `[N, C]` each.
        names: of both, as short as letters.
    """
    labels, (first, second) = np.asarray(labels), map(np.asarray, probabilities)
    predicted = first.argmax(axis=1), second.argmax(axis=1)
    apart = np.flatnonzero(predicted[0] != predicted[1])
    own = labels[apart]
    gap = np.abs(first[apart, own] - second[apart, own])
    shown = apart[np.argsort(-gap, kind="stable")[:limit]]
    captions = [
        [(class_names[labels[n]], INK)]
        + [
            (f"{name}: {class_names[own[n]]}", BLUE if own[n] == labels[n] else VERMILION)
            for name, own in zip(names, predicted, strict=True)
        ]
        for n in shown
    ]
    right = [int((own[apart] == labels[apart]).sum()) for own in predicted]
    title = f"{len(shown)} of {len(apart):,} images on which {names[0]} and {names[1]} disagree"
    caption = (
        f"of these {names[0]} has {right[0]:,} right, {names[1]} {right[1]:,}: true class, "
        "what each took it for, blue where that is right"
    )
    if not len(apart):
        title, caption = f"{names[0]} and {names[1]} agree", f"on all of {len(labels):,} images"
    return _gallery(images[shown], captions, [(title, 12.0, INK), (caption, 9.0, FAINT)])


def pair_figure(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    pair: tuple[int, int],
    limit: int = 12,
) -> Canvas:
    """Images of two classes that were taken for each other, those that fooled most networks first.

    Of equally many the surest come first: by the mean probability of the wrong class.

    Args:
        probabilities: of S networks, `[S, N, C]`.
        pair: the two classes.
    """
    labels, given = np.asarray(labels), np.asarray(probabilities)
    first, second = pair
    # of each image the other class of the pair; images of neither are not looked at
    wrong = np.where(labels == first, second, first)
    votes = (given.argmax(axis=2) == wrong).sum(axis=0) * np.isin(labels, pair)
    sure = given.mean(axis=0)[np.arange(len(labels)), wrong]
    fooled = np.flatnonzero(votes)
    shown = fooled[np.lexsort((-sure[fooled], -votes[fooled]))[:limit]]
    several = len(given) > 1
    captions = [
        (
            (class_names[labels[n]], BLUE),
            (f"→ {class_names[wrong[n]]}", VERMILION),
            ((f"{votes[n]} of {len(given)}, " if several else "") + f"{sure[n]:.1%}", FAINT),
        )
        for n in shown
    ]
    title = f"{class_names[first]} and {class_names[second]}: {len(shown)} of {len(fooled):,}"
    who = "how many networks took it for that, their mean confidence" if several else "confidence"
    caption = f"images that were taken for the other: true class, → what for, {who}"
    return _gallery(images[shown], captions, [(title, 12.0, INK), (caption, 9.0, FAINT)])


def _gallery(
    images: npt.NDArray[np.uint8],
    captions: Sequence[Sequence[tuple[str, str]]],
    heading: Sequence[tuple[str, float, str]],
    num_columns: int = 6,
) -> Canvas:
    """Images `[N, H, W]` in rows of six, three lines (text, colour) under each, below a heading."""
    texts = [text_width(words, 8) for caption in captions for words, _ in caption]
    # 28 pixels on 56 points are 4 dots each
    side, column, row, top = 56.0, max([73.0, *(text + 8 for text in texts)]), 98.0, 46.0
    num_rows = -(-len(images) // num_columns)
    canvas = Canvas(16 + num_columns * column, top + num_rows * row)
    write_heading(canvas, heading)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        middle = 8 + (index % num_columns + 0.5) * column
        y = top + index // num_columns * row
        canvas.images.append(Image(middle - side / 2, y, middle + side / 2, y + side, image))
        for line, (words, color) in enumerate(caption):
            canvas.texts.append(Text(middle, y + 64 + 10 * line, words, 8, color, MIDDLE))
    return canvas
