"""Brings pictures to the form of a data set, as Fashion-MNIST's own were made, and says how.

That form: uint8 `[H, W]`, light on black, the garment as large as fits. `N` images.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", section 2: trim, bring the longer side to 28, centre, negate, grey.
The sharpening in between is left out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.data.pictures import Pictures, read_pictures

Inversion = Literal["auto", "always", "never"]
WHITE = 255
TOLERANCE = 0.05 * WHITE  # what differs less from the background is background: Xiao et al.


@dataclass(frozen=True)
class Taken:
    """An image in the data set's form: where it is from, and what was done to it, in words."""

    source: str
    image: NDArray[np.uint8]  # [H, W]
    steps: tuple[str, ...]

    @property
    def words(self) -> str:
        """What was done, in one line."""
        return "; ".join(self.steps) or "taken as it is"


def take_in(path: Path, image_shape: tuple[int, int], invert: Inversion = "auto") -> list[Taken]:
    """Every image in a file, in the data set's form.

    A light background is inverted: the mean of the border decides (it errs for none of
    Fashion-MNIST's 70,000 images, nor for their negatives), of all images of a file together.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    pictures = read_pictures(path, image_shape)
    images, steps = pictures.images, pictures.steps
    if invert == "always" or (invert == "auto" and _border(images).mean() > WHITE / 2):
        images = WHITE - images
        why = "as was asked" if invert == "always" else "for its background is light"
        steps = (*steps, f"inverted, {why}")
    taken = []
    for number, image in enumerate(images):
        formed, more = _form(image, image_shape)
        taken.append(Taken(_source(path, pictures, number), formed, (*steps, *more)))
    return taken


def _source(path: Path, pictures: Pictures, number: int) -> str:
    return f"{path}[{number}]" if pictures.is_series else str(path)


def _border(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outermost pixels `[N, n]` of images `[N, H, W]`, corners twice."""
    sides = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.concatenate(sides, axis=1)


def _form(
    image: NDArray[np.float32], image_shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image `[h, w]` on a dark ground as uint8 `[H, W]`, and what was done.

    One that is of that size already is the data set's, or was made for it: nothing is cut.
    """
    if image.shape == image_shape:
        return _as_bytes(image), () if np.ptp(image) else ("of one colour: there is nothing in it",)
    cut, steps = _cut(image)
    if not cut.size:
        blank = np.zeros(image_shape, np.uint8)
        return blank, ("of one colour: there is nothing in it",)
    return _fit(cut, image_shape, steps)


def _cut(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The part `[h, w]` with anything in it, its background black; `[0, 0]` where there is none."""
    background = float(np.median(_border(image[None])))
    steps: tuple[str, ...] = ()
    if background >= 1 and background <= WHITE / 2:
        image = (image - np.float32(background)).clip(0) * np.float32(WHITE / (WHITE - background))
        steps = (f"background of {background:.0f} of {WHITE} made black",)
    rows, columns = (np.flatnonzero((image > TOLERANCE).any(axis)) for axis in (1, 0))
    if not len(rows):
        return image[:0, :0], steps
    cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if cut.shape != image.shape:
        steps = (*steps, f"cut from {_size(image)} to its content, {_size(cut)}")
    return cut, steps


def _fit(
    image: NDArray[np.float32], image_shape: tuple[int, int], steps: tuple[str, ...]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image of any size as large as fits into `[H, W]`, in the middle, black around it."""
    from PIL import Image

    (height, width), (own_height, own_width) = image_shape, image.shape
    scale = min(height / own_height, width / own_width)
    size = max(1, round(scale * own_height)), max(1, round(scale * own_width))
    picture = Image.fromarray(_as_bytes(image))
    fitted = np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS))
    formed = np.zeros(image_shape, np.uint8)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    formed[top : top + size[0], left : left + size[1]] = fitted
    if size != image.shape:
        steps = (*steps, f"{'made smaller' if scale < 1 else 'enlarged'} to {_size(fitted)}")
    if size != image_shape:
        steps = (*steps, f"set in the middle of {height} × {width}")
    return formed, steps


def _as_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return image.round().clip(0, WHITE).astype(np.uint8)


def _size(image: NDArray[np.generic]) -> str:
    """`120 × 200`, height first, as shapes are said everywhere here."""
    return f"{image.shape[0]} × {image.shape[1]}"
