"""Images and their labels: two IDX files that belong together."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.data.idx import (
    DataError,
    check_digest,
    find_idx,
    num_dimensions,
    parse_idx,
    read_content,
)


def read_pair(
    folder: Path, part: str, *, num_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images `[N, H, W]` and labels `[N]` of one part alone, `train` or `t10k`.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    images_path, labels_path = (find_idx(folder, name) for name in names)
    if images_path is None or labels_path is None:
        found = "has not both" if folder.is_dir() else "is no folder"
        raise DataError(
            f"{folder}: must be a folder with {' and '.join(names)} (each plain or .gz): it {found}"
        )
    images, _ = read_file(images_path, name=names[0], expected={})
    labels, _ = read_file(labels_path, name=names[1], expected={})
    check_pair(images, images_path, labels, labels_path, num_classes=num_classes)
    return images, labels


def read_file(
    path: Path, *, name: str, expected: Mapping[str, str]
) -> tuple[NDArray[np.uint8], str]:
    """Values and SHA-256 of one file, images where its name says so."""
    content = read_content(path)
    digest = check_digest(content, name=name, expected=expected, origin=str(path))
    return parse_idx(content, num_dimensions=num_dimensions(name), origin=str(path)), digest


def check_pair(
    images: NDArray[np.uint8],
    images_path: Path,
    labels: NDArray[np.uint8],
    labels_path: Path,
    *,
    num_classes: int,
) -> None:
    """Raise a DataError unless there are images, and a label for each."""
    if images.size == 0:
        shape = " x ".join(map(str, images.shape))
        raise DataError(f"{images_path}: must hold at least one pixel, got {shape}")
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: must hold one label for each of the {len(images)} images of "
            f"{images_path.name}, got {len(labels)} labels"
        )
    if labels.max() >= num_classes:
        raise DataError(
            f"{labels_path}: labels must be 0 to {num_classes - 1} for the {num_classes} names "
            f"in data.class_names, got {labels.max()}"
        )
