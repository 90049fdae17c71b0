"""The images that a recorded run's network is judged by: its own splits, or somebody's folder.

`N` images of `H` × `W` pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.conclusions.network import setting
from fashion_mnist.config.errors import shown
from fashion_mnist.data.fashion_mnist import Dataset, load_dataset, missing_names
from fashion_mnist.data.idx import DataError, read_pair
from fashion_mnist.data.splits import split
from fashion_mnist.tracking.recorded import DATA_TAG, RecordedRun

VALIDATION, TEST = "validation", "test"
SPLITS = (VALIDATION, TEST)


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 `[N, H, W]` with their labels int64 `[N]`."""

    name: str  # of the split: validation, test, or other-… for somebody's folder
    images: Tensor
    labels: Tensor
    sha256: str  # which images they are; empty for somebody's
    source: str  # the folder they were read from

    @property
    def is_own_test(self) -> bool:
        """Whether they are the test set that belongs to what the run was trained on."""
        return self.name == TEST


def read_images(
    run: RecordedRun,
    class_names: Sequence[str],
    *,
    image_shape: tuple[int, int] | None = None,
    wanted: str | None = None,
    folder: Path | None = None,
) -> LabelledImages:
    """The run's validation split or test set; or the test files of a folder with other data.

    Args:
        image_shape: (H, W) that the network takes; None where there is none to be asked.
        wanted: a name of SPLITS; None for validation, and of other data for its test files.
        folder: of IDX files; None for where the run had its data from.

    Raises:
        DataError: the data is missing, damaged, or not what the run or the network takes.
        ValueError: there is no such split.
    """
    if wanted not in (None, *SPLITS):
        raise ValueError(f"--split must be {' or '.join(SPLITS)}, got {shown(wanted)}")
    own = _own_data(run, class_names, folder)
    if own is not None:
        _check_shape(own.image_shape, image_shape, Path(own.source))
        return _split(run, own, wanted or VALIDATION)
    assert folder is not None
    if wanted == VALIDATION:
        raise ValueError(
            f"{folder} is other data than {run.name} was trained on, and has none of its "
            "validation split: leave --split out, for its t10k files"
        )
    images, labels = read_pair(folder, "t10k", num_classes=len(class_names))
    _check_shape(images.shape[1:], image_shape, folder)
    return LabelledImages(
        name=f"other-{folder.resolve().name or 'data'}",
        images=torch.tensor(images),
        labels=torch.tensor(labels, dtype=torch.int64),
        sha256="",
        source=str(folder),
    )


def read_images_of(
    run: RecordedRun,
    class_names: Sequence[str],
    *,
    wanted: str,
    sha256: str,
    folder: Path | None = None,
) -> tuple[NDArray[np.uint8] | None, str]:
    """The images `[N, H, W]` that predictions are of; or None, and why they cannot be shown.

    Args:
        sha256: of the split that the predictions are of.
        folder: of IDX files; None for where the run had its data from.
    """
    try:
        found = read_images(run, class_names, wanted=wanted, folder=folder)
    except (DataError, ValueError, OSError) as error:
        return None, str(error)
    if found.sha256 != sha256:
        return None, f"{found.source} holds other images"
    return found.images.numpy(), ""


def class_names_of(run: RecordedRun) -> list[str]:
    """The names of the run's classes, as its config has them. Raises ValueError for none."""
    names = setting(run, "data.class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{run.name} does not say which classes it knows, got {shown(names)}")
    return names


def _own_data(run: RecordedRun, class_names: Sequence[str], folder: Path | None) -> Dataset | None:
    """The data set that the run was trained on; None where the folder holds another one."""
    expected = run.tags.get(DATA_TAG)
    if folder is not None:
        if missing_names(folder):
            return None
        # under a name of no published data: else a system's copy might be taken instead
        found = load_dataset(name="", folder=folder, class_names=class_names)
        return found if found.sha256 == expected else None
    name, place = setting(run, "data.name"), setting(run, "data.dir")
    if not isinstance(name, str) or not isinstance(place, str):
        raise DataError(f"{run.name} does not say what it was trained on: name the folder (--data)")
    try:
        found = load_dataset(name=name, folder=Path(place), class_names=class_names)
    except DataError as error:
        raise DataError(f"{error}; or name the folder of the run's data (--data)") from error
    if found.sha256 != expected:
        raise DataError(
            f"{found.source} has changed since {run.name} was trained: SHA-256 must be "
            f"{expected}, got {found.sha256}"
        )
    return found


def _split(run: RecordedRun, data: Dataset, name: str) -> LabelledImages:
    images = data.train_images.view(-1, *data.image_shape)
    if name == TEST:
        tests = data.test_images.view(-1, *data.image_shape)
        return LabelledImages(TEST, tests, data.test_labels, data.sha256, data.source)
    sizes = {key: setting(run, f"data.{key}") for key in ("validation_size", "fold", "train_size")}
    validation_size, fold, train_size = sizes.values()
    if type(validation_size) is not int or type(fold) is not int:
        raise ValueError(f"{run.name} does not say what it was validated on: {sizes}")
    if train_size is not None and type(train_size) is not int:
        raise ValueError(f"{run.name} does not say what it was validated on: {sizes}")
    if validation_size == 0:
        raise ValueError(f"{run.name} has no validation split (data.validation_size=0)")
    own = split(
        data.train_labels,
        num_classes=data.num_classes,
        validation_size=validation_size,
        fold=fold,
        train_size=train_size,
    )
    index = own.validation
    return LabelledImages(
        VALIDATION, images[index], data.train_labels[index], own.validation_sha256, data.source
    )


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, int] | None, folder: Path) -> None:
    if wanted is not None and tuple(shape) != wanted:
        sizes = [" × ".join(map(str, each)) for each in (wanted, shape)]
        raise DataError(
            f"{folder}: images must be {sizes[0]} pixels for this network, got {sizes[1]}"
        )
