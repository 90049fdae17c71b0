"""Users' images: read from PNG, JPEG, NumPy and IDX files, and preprocessed like the data set's.

A file's content says what it is, not its name. Nothing in a file is executed, and none takes more
memory than a limit. A preprocessed image is uint8 `[H, W]`, light on black, the garment as large as
fits. `N` images of `h` × `w` pixels in a file.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", section 2: trim, bring the longer side to 28, centre, negate, grey.
The sharpening in between is left out.
"""

import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.data.idx import GZIP_MAGIC, DataError, parse_idx, read_content

Inversion = Literal["auto", "always", "never"]
WHITE = 255
TOLERANCE = 0.05 * WHITE  # pixels that differ less from the background are background: Xiao et al.
MOST_PIXELS = 50_000_000  # of one image, or of all in a file of arrays
DEEP_WHITE = 65535  # of 16 bits
ORIENTATION, TURNED = 0x0112, range(2, 9)  # a tag of EXIF, and its values but for upright
KINDS = "PNG, JPEG, NumPy's .npy or .npz, IDX (plain or .gz)"
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey: ITU-R BT.601, as Pillow has it
# what Pillow, NumPy and zipfile raise for content that is damaged or malicious
_UNREADABLE = (
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class ImageFile:
    """A file's images, float32 `[N, h, w]` from 0 to 255, and the steps that made them so.

    `is_series`: the file holds an array of images and not a single one.
    """

    images: NDArray[np.float32]
    steps: tuple[str, ...]
    is_series: bool


def read_image_file(path: Path, image_shape: tuple[int, int]) -> ImageFile:
    """The images in a file, in greyscale.

    Args:
        image_shape: (H, W) of the data set, which may decide what an array's axes are.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise DataError(f"{path}: must be a file ({KINDS}), {what}")
    try:
        with path.open("rb") as file:
            head = file.read(8)
        if not head:
            raise DataError(f"{path}: must be {KINDS}, got an empty file")
        read = _reader_of(head)
        if read is None:
            raise DataError(f"{path}: must be {KINDS}, got a file that begins {head[:4].hex(' ')}")
        return read(path, image_shape)
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error


def _reader_of(head: bytes) -> Callable[[Path, tuple[int, int]], ImageFile] | None:
    """What reads a file that begins like this; None for a kind that is not known."""
    readers: dict[bytes, Callable[[Path, tuple[int, int]], ImageFile]] = {
        b"\x89PNG": _read_png_or_jpeg,
        b"\xff\xd8\xff": _read_png_or_jpeg,
        b"\x93NUMPY": _read_npy,
        b"PK\x03\x04": _read_npz,
        GZIP_MAGIC: _read_idx,
        b"\0\0": _read_idx,
    }
    return next((read for magic, read in readers.items() if head.startswith(magic)), None)


def _read_idx(path: Path, _: tuple[int, int]) -> ImageFile:
    images = parse_idx(read_content(path), num_dimensions=3, origin=str(path))
    _check_size(path, images.shape)
    return ImageFile(images.astype(np.float32), (), is_series=True)


def _read_png_or_jpeg(path: Path, _: tuple[int, int]) -> ImageFile:
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        # Pillow warns at a size and raises at twice that; ours is checked before a pixel is read
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as opened:
                _check_size(path, opened.size[::-1])
                upright = ImageOps.exif_transpose(opened)
                is_turned = opened.getexif().get(ORIENTATION) in TURNED
                turned = ("turned by its EXIF orientation",) if is_turned else ()
                pixels, steps = _grey(upright)
        except Image.DecompressionBombError as error:
            raise DataError(f"{path}: must have at most {MOST_PIXELS:,} pixels: {error}") from error
    return ImageFile(pixels[None], turned + steps, is_series=False)


def _grey(picture: Any) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Grey pixels `[h, w]` of an image of Pillow's in any mode, and the steps."""
    if picture.mode.startswith("I"):  # 16 bits, grey
        deep = np.asarray(picture).astype(np.float32)
        return deep * (WHITE / DEEP_WHITE), ("16 bits scaled to 8",)
    steps = []
    if picture.mode not in ("L", "LA", "1"):
        steps.append("converted to greyscale")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        array = np.asarray(rgba)
        if (array[..., 3] < WHITE).any():
            pixels, step = _on_a_background(array.astype(np.float32))
            return pixels, (*steps, step)
        picture = rgba.convert("RGB")
    return np.asarray(picture.convert("L")).astype(np.float32), tuple(steps)


def _on_a_background(rgba: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    """Grey pixels `[H, W]` of `[H, W, 4]` on white, or on black where white would hide them."""
    grey, share = rgba[..., :3] @ np.array(LUMA, np.float32), rgba[..., 3] / np.float32(WHITE)
    drawn = grey[share > 0.5]
    is_hidden = len(drawn) and drawn.min() > 0.9 * WHITE
    background, name = (0, "black") if is_hidden else (WHITE, "white")
    pixels: NDArray[np.float32] = grey * share + np.float32(background) * (1 - share)
    return pixels, f"transparent pixels on {name}"


def _read_npy(path: Path, image_shape: tuple[int, int]) -> ImageFile:
    # mapped: a header of a larger array than the file holds is an error, and takes no memory
    return _series(path, np.load(path, mmap_mode="r", allow_pickle=False), image_shape)


def _read_npz(path: Path, image_shape: tuple[int, int]) -> ImageFile:
    with zipfile.ZipFile(path) as archive:
        size = max((entry.file_size for entry in archive.infolist()), default=0)
    if size > 8 * MOST_PIXELS:
        raise DataError(f"{path}: must hold at most {MOST_PIXELS:,} pixels, got {size:,} bytes")
    with np.load(path, allow_pickle=False) as archive:
        names = list(archive.files)
        chosen = "images" if "images" in names else names[0] if len(names) == 1 else None
        if chosen is None:
            raise DataError(
                f"{path}: must hold one array, or one of the name images, "
                f"got {', '.join(names[:8]) or 'none'}"
            )
        # an entry that is no array is read as bytes
        return _series(path, np.asarray(archive[chosen]), image_shape)


def _series(path: Path, array: NDArray[Any], image_shape: tuple[int, int]) -> ImageFile:
    """The images in an array, whatever its axes and numbers are."""
    if array.dtype.kind not in "buif":
        raise DataError(f"{path}: must hold numbers, got an array of {array.dtype}")
    _check_size(path, array.shape)
    arranged, steps, is_series = _arrange(path, array, image_shape)
    pixels, step = _scale(path, np.asarray(arranged))
    if pixels.ndim == 4:
        pixels = pixels @ np.array(LUMA, np.float32)
        steps = (*steps, "converted to greyscale")
    return ImageFile(pixels.astype(np.float32), (*steps, *step), is_series)


def _arrange(
    path: Path, array: NDArray[Any], image_shape: tuple[int, int]
) -> tuple[NDArray[Any], tuple[str, ...], bool]:
    """The array as `[N, H, W]` or, in colour, `[N, H, W, 3]`; and whether it is a series."""
    height, width = image_shape
    match array.shape:
        case (pixels,) if pixels == height * width:
            return array.reshape(1, height, width), (_rows(image_shape),), False
        case (_, pixels) if pixels == height * width and array.shape[0] != pixels:
            return array.reshape(-1, height, width), (_rows(image_shape),), True
        case (_, _):
            return array[None], (), False
        case (_, _, channels) if channels in (1, 3, 4) and array.shape[1:] != image_shape:
            return _without_channels(array[None]), (), False
        case (3 | 4, _, _) if array.shape[1:] != image_shape:
            raise DataError(
                f"{path}: {list(array.shape)} may be an image in colour or so many in grey: save "
                "the former as [H, W, colours] (numpy.moveaxis(array, 0, -1)), the latter as "
                "[N, H, W, 1] (array[..., None])"
            )
        case (_, _, _):
            return array, (), True
        case (_, _, _, channels) if channels in (1, 3, 4):
            return _without_channels(array), (), True
        case (_, channels, _, _) if channels in (1, 3, 4):
            return _without_channels(np.moveaxis(array, 1, -1)), (), True
    raise DataError(
        f"{path}: must be of shape [H, W], [N, H, W], [H, W, colours], [N, H, W, colours] or "
        f"[N, {height * width}], got {list(array.shape)}"
    )


def _rows(image_shape: tuple[int, int]) -> str:
    height, width = image_shape
    return f"rows of {height * width} pixels reshaped to {height} × {width}"


def _without_channels(array: NDArray[Any]) -> NDArray[Any]:
    """`[N, H, W, 1, 3 or 4]` as `[N, H, W]` or `[N, H, W, 3]`; transparency is ignored."""
    return array[..., 0] if array.shape[-1] == 1 else array[..., :3]


def _scale(path: Path, array: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The pixels from 0 to 255, as floats."""
    pixels = array.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: pixels must be numbers, got NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > WHITE:
        raise DataError(
            f"{path}: pixels must be 0 to 255, or 0 to 1, and not normalised: "
            f"got {low:g} to {high:g}"
        )
    if high <= 1 and (array.dtype.kind in "bf" or high > 0):
        return WHITE * pixels, ("pixels from 0 to 1 multiplied by 255",)
    return pixels, ()


def _check_size(path: Path, shape: tuple[int, ...]) -> None:
    """Raise DataError unless there are pixels, and not too many."""
    number = int(np.prod(shape, dtype=object))
    if not 1 <= number <= MOST_PIXELS:
        size = " × ".join(map(str, shape))
        raise DataError(f"{path}: must have 1 to {MOST_PIXELS:,} pixels, got {size}")


@dataclass(frozen=True)
class PreprocessedImage:
    """An image like the data set's: where it is from, and the steps of its preprocessing."""

    source: str
    image: NDArray[np.uint8]  # [H, W]
    steps: tuple[str, ...]

    @property
    def description(self) -> str:
        """The steps, in one line."""
        return "; ".join(self.steps) or "unchanged"


def preprocess_file(
    path: Path, image_shape: tuple[int, int], invert: Inversion = "auto"
) -> list[PreprocessedImage]:
    """Every image in a file, preprocessed like the data set's.

    Images with a light background are inverted: the mean of the border decides, of all images of a
    file together. It is right for all of Fashion-MNIST's 70,000 images and for their negatives.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    read = read_image_file(path, image_shape)
    images, steps = read.images, read.steps
    if invert == "always" or (invert == "auto" and _border(images).mean() > WHITE / 2):
        images = WHITE - images
        why = "" if invert == "always" else ": light background"
        steps = (*steps, f"inverted{why}")
    found = []
    for number, image in enumerate(images):
        source = f"{path}[{number}]" if read.is_series else str(path)
        fitted, more = _preprocess(image, image_shape)
        found.append(PreprocessedImage(source, fitted, (*steps, *more)))
    return found


def _border(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outermost pixels `[N, n]` of images `[N, H, W]`, corners twice."""
    sides = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.concatenate(sides, axis=1)


def _preprocess(
    image: NDArray[np.float32], image_shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image `[h, w]` on a dark background as uint8 `[H, W]`, and the steps.

    One of that size already is the data set's, or was made for it: it is not cropped.
    """
    if image.shape == image_shape:
        return _as_bytes(image), () if np.ptp(image) else ("empty: of one colour",)
    cropped, steps = _crop(image)
    if not cropped.size:
        blank = np.zeros(image_shape, np.uint8)
        return blank, ("empty: of one colour",)
    return _fit(cropped, image_shape, steps)


def _crop(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The part that is not background, made black; of size 0 where there is none."""
    background = float(np.median(_border(image[None])))
    steps: tuple[str, ...] = ()
    if background >= 1 and background <= WHITE / 2:
        image = (image - np.float32(background)).clip(0) * np.float32(WHITE / (WHITE - background))
        steps = (f"background of {background:.0f} of {WHITE} made black",)
    rows, columns = (np.flatnonzero((image > TOLERANCE).any(axis)) for axis in (1, 0))
    if not len(rows):
        return image[:0, :0], steps
    cropped = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if cropped.shape != image.shape:
        steps = (*steps, f"cropped from {_size(image)} to {_size(cropped)}")
    return cropped, steps


def _fit(
    image: NDArray[np.float32], image_shape: tuple[int, int], steps: tuple[str, ...]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image of any size as large as fits into `[H, W]`, centred, black around it."""
    from PIL import Image

    (height, width), (own_height, own_width) = image_shape, image.shape
    scale = min(height / own_height, width / own_width)
    size = max(1, round(scale * own_height)), max(1, round(scale * own_width))
    picture = Image.fromarray(_as_bytes(image))
    fitted = np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS))
    whole = np.zeros(image_shape, np.uint8)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    whole[top : top + size[0], left : left + size[1]] = fitted
    if size != image.shape:
        steps = (*steps, f"resized to {_size(fitted)}")
    if size != image_shape:
        steps = (*steps, f"centred in {height} × {width}")
    return whole, steps


def _as_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return image.round().clip(0, WHITE).astype(np.uint8)


def _size(image: NDArray[np.generic]) -> str:
    """`120 × 200`, height first, as shapes are said everywhere here."""
    return f"{image.shape[0]} × {image.shape[1]}"
