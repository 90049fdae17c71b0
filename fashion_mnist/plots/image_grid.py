"""Pictures made of a data set's images, or of a layer's weights as images.

`N` images of `H` × `W` pixels, `C` classes. Lengths are pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fashion_mnist.plots.confusion import WORSE_TO_BETTER
from fashion_mnist.plots.drawing import (
    BLUE,
    CAPTION_SIZE,
    FAINT,
    INK,
    TITLE_SIZE,
    VERMILION,
    Heading,
    as_bytes,
    new_page,
    ramp,
    shortened,
    text_width,
    write,
)
from fashion_mnist.plots.fonts import log_missing_letters

SIDE = 112  # of an image in a grid: 28 pixels are 4 each
TEXT_SIZE, LONGEST_TEXT = 16, 260
NUM_COLUMNS = 6
WEIGHTS_COLORS = WORSE_TO_BETTER[::-1]  # from blue, negative, to orange
Caption = Sequence[tuple[str, str]]  # lines: text, colour


def samples_figure(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    class_names: Sequence[str],
    per_class: int = 12,
) -> Image.Image:
    """The first examples of each class, a row each behind its name; a class may have none.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`.
    """
    log_missing_letters(class_names)
    names = [shortened(name, CAPTION_SIZE, LONGEST_TEXT) for name in class_names]
    left, top, row = max(text_width(name, CAPTION_SIZE) for name in names) + 32, 20, 60
    column = max(row * min(1.0, images.shape[2] / images.shape[1]), 8.0)
    page = new_page(left + per_class * column + 20, 2 * top + row * len(names))
    shown = first_of_each_class(labels, len(names), per_class)
    for index, (name, own) in enumerate(zip(names, shown, strict=True)):
        y = top + row * (index + 0.5)
        write(page, (left - 12, y), name, CAPTION_SIZE, anchor="right")
        for place, image in enumerate(images[own]):
            _paste(page, 255 - image, (left + column * (place + 0.5), y), row - 4)
    return page.convert("L")  # a third of the bytes


def first_of_each_class(
    labels: ArrayLike, num_classes: int, per_class: int = 12
) -> list[NDArray[np.int64]]:
    """Where the first examples of each class are in labels `[N]`; a class may have none."""
    labels = np.asarray(labels)
    return [np.flatnonzero(labels == label)[:per_class] for label in range(num_classes)]


def mistakes_figure(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
    limit: int = 24,
) -> Image.Image:
    """The mistakes with the highest probability: image, true class, predicted class, confidence.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`.
        probabilities: `[N, C]`.
    """
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
    return _captioned(images[shown], captions, title, caption)


def disagreements_figure(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    probabilities: tuple[ArrayLike, ArrayLike],
    class_names: Sequence[str],
    names: tuple[str, str],
    limit: int = 24,
) -> Image.Image:
    """The images on which two networks disagree: image, true class, what each took it for.

    First come those where their probabilities for the true class differ most.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`.
        probabilities: of both, `[N, C]` each.
        names: of both, as short as letters.
    """
    labels, (first, second) = np.asarray(labels), map(np.asarray, probabilities)
    predicted = first.argmax(axis=1), second.argmax(axis=1)
    apart = np.flatnonzero(predicted[0] != predicted[1])
    true = labels[apart]
    gap = np.abs(first[apart, true] - second[apart, true])
    shown = apart[np.argsort(-gap, kind="stable")[:limit]]
    captions = [
        [(class_names[labels[n]], INK)]
        + [
            (f"{name}: {class_names[own[n]]}", BLUE if own[n] == labels[n] else VERMILION)
            for name, own in zip(names, predicted, strict=True)
        ]
        for n in shown
    ]
    right = [int((own[apart] == true).sum()) for own in predicted]
    title = f"{len(shown)} of {len(apart):,} images on which {names[0]} and {names[1]} disagree"
    caption = (
        f"of these {names[0]} has {right[0]:,} right, {names[1]} {right[1]:,}: true class, "
        "what each took it for, blue where that is right"
    )
    if not len(apart):
        title, caption = f"{names[0]} and {names[1]} agree", f"on all of {len(labels):,} images"
    return _captioned(images[shown], captions, title, caption)


def pair_figure(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
    pair: tuple[int, int],
    limit: int = 12,
) -> Image.Image:
    """Images of two classes that were taken for each other, by most networks first.

    Of equally many the most confident come first: by the mean probability of the wrong class.

    Args:
        images: `[N, H, W]`.
        labels: `[N]`.
        probabilities: of S networks, `[S, N, C]`.
        pair: the two classes.
    """
    labels, given = np.asarray(labels), np.asarray(probabilities)
    first, second = pair
    # of each image the other class of the pair; images of neither are not looked at
    wrong = np.where(labels == first, second, first)
    votes = (given.argmax(axis=2) == wrong).sum(axis=0) * np.isin(labels, pair)
    confidence = given.mean(axis=0)[np.arange(len(labels)), wrong]
    mistaken = np.flatnonzero(votes)
    shown = mistaken[np.lexsort((-confidence[mistaken], -votes[mistaken]))[:limit]]
    several = len(given) > 1
    captions = [
        (
            (class_names[labels[n]], BLUE),
            (f"→ {class_names[wrong[n]]}", VERMILION),
            ((f"{votes[n]} of {len(given)}, " if several else "") + f"{confidence[n]:.1%}", FAINT),
        )
        for n in shown
    ]
    title = f"{class_names[first]} and {class_names[second]}: {len(shown)} of {len(mistaken):,}"
    who = "how many networks took it for that, their mean confidence" if several else "confidence"
    caption = f"images that were taken for the other: true class, → what for, {who}"
    return _captioned(images[shown], captions, title, caption)


def weights_figure(
    weights: ArrayLike, image_shape: tuple[int, int], num_shown: int = 48
) -> Image.Image:
    """The units of a first layer with the largest norm: what each weighs each pixel by.

    Args:
        weights: `[units, H · W]`, as `torch.nn.Linear` holds them.
        image_shape: `(H, W)`.
    """
    weights = np.asarray(weights, dtype=np.float64)
    shown = np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:num_shown]
    # a pixel in two hundred may exceed the scale: one alone would leave all others pale
    scale = max(float(np.quantile(np.abs(weights[shown]), 0.995)), 1e-12)
    shares = np.clip((weights[shown] / scale + 1) / 2, 0, 1).reshape(-1, *image_shape)
    title = f"First layer: the {len(shown)} of {len(weights):,} units with the largest weights"
    if len(shown) == len(weights):
        title = f"First layer: all {len(weights)} units, the largest weights first"
    caption = f"weight of each pixel, from −{scale:.2g} in blue to +{scale:.2g} in orange"
    heading = [(title, TITLE_SIZE, INK), (caption, CAPTION_SIZE, FAINT)]
    return _grid(as_bytes(ramp(shares, WEIGHTS_COLORS)), [()] * len(shown), heading, 8)


def _captioned(
    images: NDArray[np.uint8], captions: Sequence[Caption], title: str, caption: str
) -> Image.Image:
    """Images `[N, H, W]` with three lines below each.

    Fashion-MNIST is negated photographs; negated again, garments look as they were taken.
    """
    heading = [(title, TITLE_SIZE, INK), (caption, CAPTION_SIZE, FAINT)]
    return _grid(255 - images, captions, heading, NUM_COLUMNS)


def _grid(
    images: NDArray[np.uint8], captions: Sequence[Caption], heading: Heading, num_columns: int
) -> Image.Image:
    """Images `[N, H, W]` or `[N, H, W, 3]` in rows below a heading, their captions below them."""
    log_missing_letters(text for caption in captions for text, _ in caption)
    lines = [
        [(shortened(text, TEXT_SIZE, LONGEST_TEXT), color) for text, color in caption]
        for caption in captions
    ]
    widths = [text_width(text, TEXT_SIZE) for caption in lines for text, _ in caption]
    has_captions = any(captions)
    column = max([146.0 if has_captions else SIDE + 10, *(width + 16 for width in widths)])
    row, top = SIDE + (84 if has_captions else 10), 92
    num_rows = -(-len(images) // num_columns)
    page = new_page(32 + num_columns * column, top + num_rows * row, heading)
    for index, (image, caption) in enumerate(zip(images, lines, strict=True)):
        x = 16 + (index % num_columns + 0.5) * column
        y = top + index // num_columns * row
        _paste(page, image, (x, y + SIDE / 2))
        for number, (text, color) in enumerate(caption):
            place = x, y + SIDE + 16 + 20 * number
            write(page, place, text, TEXT_SIZE, color, anchor="middle")
    return page


def _paste(
    page: Image.Image, image: NDArray[np.uint8], middle: tuple[float, float], side: int = SIDE
) -> None:
    """Paste an image, its longer side scaled to `side`, with sharp squares for pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    page.paste(scaled, (round(middle[0] - size[0] / 2), round(middle[1] - size[1] / 2)))
