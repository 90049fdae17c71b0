"""The four files of a data set: find them, have Fashion-MNIST fetched, verify, read."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.data.damage import find_damages, set_damaged_aside
from fashion_mnist.data.idx import DataError, find_idx
from fashion_mnist.data.pair import check_pair, read_file

log = logging.getLogger("fashion_mnist")

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# Of the decompressed bytes: packagers compress anew, with gzip headers of their own.
FASHION_MNIST_SHA256: Mapping[str, str] = {
    NAMES[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    NAMES[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    NAMES[2]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    NAMES[3]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True)
class Files:
    """A data set as its files hold it, N training and M test images; the arrays are read-only.

    `train_images` uint8 `[N, H, W]`, `train_labels` uint8 `[N]`, `test_images` uint8 `[M, H, W]`,
    `test_labels` uint8 `[M]`; `digests`: name in NAMES -> SHA-256 of that file's decompressed
    bytes; `folder`: where the files were found.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    digests: Mapping[str, str]
    folder: Path

    @property
    def sha256(self) -> str:
        """One digest for all: SHA-256 of the four hexadecimal digests, joined in NAMES' order."""
        return hashlib.sha256("".join(self.digests[name] for name in NAMES).encode()).hexdigest()


def training_size(name: str) -> int | None:
    """The number of training images of data set `name`; None where only its files can say."""
    return 60_000 if name == "fashion_mnist" else None


def load_files(*, name: str, folder: Path, num_classes: int) -> Files:
    """The files of data set `name`, verified.

    `fashion_mnist` must have its published digests, see `load_published`. Any other name means
    whatever is in `folder`.

    Raises:
        DataError: files are missing, cannot be fetched, are corrupt or do not fit together.
    """
    try:
        folder = folder.expanduser()
        folder.exists()
    except (OSError, RuntimeError) as error:  # too long, or the home of nobody
        raise DataError(f"data.dir must be the name of a folder: {error}") from error
    if name != "fashion_mnist":
        return read_files(folder, num_classes=num_classes)
    return load_published(
        folder,
        systems=system_folders(),
        num_classes=num_classes,
        expected=FASHION_MNIST_SHA256,
        mirrors=_mirrors,
    )


def load_published(
    folder: Path,
    *,
    systems: Sequence[Path],
    num_classes: int,
    expected: Mapping[str, str],
    mirrors: Callable[[], Sequence[str]],
) -> Files:
    """The files with these digests: from `folder`, else a system's, else fetched into `folder`.

    What is damaged in `folder` is set aside, a system's damaged copy is passed over; both with a
    warning.

    Args:
        expected: name in NAMES -> SHA-256 of the decompressed bytes.
        mirrors: gives the addresses to fetch from, if it comes to that.

    Raises:
        DataError: no good copy is to be had, or `folder` holds another data set.
    """
    read = partial(read_files, num_classes=num_classes, expected=expected)
    for place in dict.fromkeys((folder, *systems)):
        if missing_names(place):
            continue
        try:
            return read(place)
        except DataError as error:
            if not find_damages(place, expected) and not missing_names(place):
                return read(place)  # another process has mended it; or what is asked does not fit
            if place in systems:
                log.warning("%s; this copy is passed over", error)
            else:
                set_damaged_aside(place, expected)
    if folder.is_dir() and folder not in systems:
        set_damaged_aside(folder, expected)  # where files are missing nothing was read yet

    # Needed once on a machine: its imports would delay every other start.
    from fashion_mnist.data.download import download

    download(folder, expected=expected, mirrors=mirrors())
    try:
        return read(folder)
    except DataError as error:
        raise DataError(f"{error}; put good files there, or choose another data.dir") from error


def _mirrors() -> list[str]:
    from fashion_mnist.data.download import torchvision_mirrors

    return torchvision_mirrors()


def system_folders() -> list[Path]:
    """Where a system keeps a copy of Fashion-MNIST, in the order they are looked at.

    Debian's package dataset-fashion-mnist installs one; XDG_DATA_DIRS is the freedesktop.org
    list of shared data folders.
    """
    listed = [entry for entry in os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep) if entry]
    shares = [f"{sys.prefix}/share", *listed, "/usr/local/share", "/usr/share"]
    return [Path(share) / "datasets" / "fashion-mnist" for share in dict.fromkeys(shares)]


def missing_names(folder: Path) -> list[str]:
    """Those of NAMES that `folder` has no file for."""
    return [name for name in NAMES if find_idx(folder, name) is None]


def read_files(
    folder: Path, *, num_classes: int, expected: Mapping[str, str] | None = None
) -> Files:
    """The four files in `folder`, verified and checked against each other.

    Args:
        num_classes: labels must be below it.
        expected: name in NAMES -> SHA-256 of the decompressed bytes.

    Raises:
        DataError: names the file, what is allowed and what came.
    """
    if missing := missing_names(folder):
        found = "is no folder" if not folder.is_dir() else f"has no {', '.join(missing)}"
        raise DataError(
            f"data.dir must be a folder with the four files {', '.join(NAMES)} (each plain or "
            f".gz): {folder} {found}"
        )
    paths = {name: path for name in NAMES if (path := find_idx(folder, name)) is not None}

    # Threads: decompression and SHA-256 release the GIL.
    with ThreadPoolExecutor(len(NAMES)) as pool:
        reads = [
            pool.submit(read_file, path, name=name, expected=expected or {})
            for name, path in paths.items()
        ]
    arrays, digests = zip(*(read.result() for read in reads), strict=True)
    train_images, train_labels, test_images, test_labels = arrays
    files = Files(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        digests=dict(zip(NAMES, digests, strict=True)),
        folder=folder,
    )
    _check_together(files, paths, num_classes=num_classes)
    return files


def _check_together(files: Files, paths: Mapping[str, Path], *, num_classes: int) -> None:
    """Raise a DataError unless counts, image sizes and labels fit together."""
    train_images, train_labels, test_images, test_labels = (paths[name] for name in NAMES)
    for images, images_path, labels, labels_path in (
        (files.train_images, train_images, files.train_labels, train_labels),
        (files.test_images, test_images, files.test_labels, test_labels),
    ):
        check_pair(images, images_path, labels, labels_path, num_classes=num_classes)
    train_size, test_size = files.train_images.shape[1:], files.test_images.shape[1:]
    if train_size != test_size:
        raise DataError(
            f"{test_images}: images must be {train_size[0]} x {train_size[1]} pixels like those of "
            f"{train_images.name}, got {test_size[0]} x {test_size[1]}"
        )
