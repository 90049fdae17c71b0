"""Stored predictions of a run: what its network said of every image of a split.

N images, C classes.
"""

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun

if TYPE_CHECKING:
    from fashion_mnist.tracking.reader import Reader


class PredictionsError(OSError):
    """Predictions that cannot be had or read; one line that says why."""


@dataclass(frozen=True, eq=False)  # arrays do not say in one word whether they are equal
class Predictions:
    """Of N ≥ 1 images: probabilities float32 `[N, C]`, labels int64 `[N]` in [0, C)."""

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    split_sha256: str  # which images they are

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, int64 `[N]`."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether it is the image's own, bool `[N]`."""
        return np.asarray(self.predicted == self.labels)


def read_predictions(path: Path) -> Predictions:
    """The predictions that a run left; nothing in the file is run.

    Raises:
        PredictionsError: the file cannot be read, or is none of ours.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            read = Predictions(
                probabilities=np.asarray(file["probabilities"], dtype=np.float32),
                labels=np.asarray(file["labels"], dtype=np.int64),
                split_sha256=str(file["split_sha256"]),
            )
    except (OSError, LookupError, TypeError, ValueError, EOFError, BadZipFile) as error:
        raise PredictionsError(f"{path.name} cannot be read: {error}") from error
    if not _fits(read):
        raise PredictionsError(f"{path.name} does not hold a row of probabilities for each label")
    return read


def stored_predictions(store: "Reader", run: RecordedRun, split: str) -> Predictions:
    """What a recorded run said of its `validation` split, or of the `test` set.

    Raises:
        PredictionsError: it left none, or none that can be had and read.
    """
    path = f"{split}/predictions.npz"
    if split == "test" and TEST_SCORE not in run.metrics:
        raise PredictionsError(
            f"{run.name} has not read its test set: fmnist evaluate {run.run_id} --split test does"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.download(run, path, Path(folder))
        except OSError as error:
            raise PredictionsError(f"{path} cannot be had: {error}") from error
        return read_predictions(file)


def are_comparable(first: Predictions, second: Predictions) -> bool:
    """Whether both are of the same images: by the hash of their split, and by their labels."""
    same_split = are_same_images(first.split_sha256, second.split_sha256)
    same_classes = first.probabilities.shape == second.probabilities.shape
    return same_split and same_classes and np.array_equal(first.labels, second.labels)


def are_same_images(first: str, second: str) -> bool:
    """Whether two names of images are those of the same ones; an unknown one is empty."""
    return bool(first) and first == second


def _fits(read: Predictions) -> bool:
    shape, labels = read.probabilities.shape, read.labels
    if len(shape) != 2 or labels.shape != shape[:1] or 0 in shape:
        return False
    is_finite = bool(np.isfinite(read.probabilities).all())
    return is_finite and bool(((labels >= 0) & (labels < shape[1])).all())
