"""What a network says of every image of a split, its scores, and the file that keeps it.

N images, C classes; counts `[C, C]` have rows true, columns predicted.
"""

from __future__ import annotations  # torch is imported when predictions are scored

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.metrics.statistics import (
    Interval,
    McNemarTest,
    mcnemar_test,
    wilson_interval,
)
from fashion_mnist.runs.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

    from fashion_mnist.metrics.calibration import Reliability, Selection

PREDICTIONS_FILE = "predictions.npz"  # in the folder of its split, among a run's artifacts


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

    @property
    def accuracy_interval(self) -> Interval:
        """Of the accuracy, over images: Wilson's."""
        return wilson_interval(int(self.is_right.sum()), len(self.is_right))

    @cached_property
    def counts(self) -> Tensor:
        """Confusion counts int64 `[C, C]`."""
        import torch

        from fashion_mnist.metrics.classification import confusion_counts

        labels, predicted = (torch.from_numpy(x)[None] for x in (self.labels, self.predicted))
        return confusion_counts(labels, predicted, self.probabilities.shape[1])[0]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Those of `classification.summarize`, top-2 accuracy, and how good the probabilities are.

        Of these (`ece`, `brier`, `nll`) the lower is the better.
        """
        from fashion_mnist.metrics import calibration, classification

        own = self._tensors
        scores = {key: float(x) for key, x in classification.summarize(self.counts).items()}
        return {
            **scores,
            "top_2_accuracy": calibration.num_in_top(*own, 2) / len(self.labels),
            "ece": calibration.expected_calibration_error(self.reliability),
            "brier": calibration.brier_score(*own),
            "nll": calibration.nll_of_probabilities(*own),
        }

    @cached_property
    def reliability(self) -> Reliability:
        """How far confidence is from accuracy, in bins."""
        from fashion_mnist.metrics.calibration import reliability

        return reliability(*self._tensors)

    @cached_property
    def selection(self) -> Selection:
        """Accuracy where the network may abstain, the most confident prediction first."""
        from fashion_mnist.metrics.calibration import select

        return select(*self._tensors)

    def write(self, path: Path) -> None:
        """Write the file that `read_predictions` reads. Raises OSError."""
        with replacing(path) as beside:
            np.savez(
                beside,
                probabilities=self.probabilities,
                labels=self.labels,
                split_sha256=np.array(self.split_sha256),
            )

    @property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        import torch

        return torch.from_numpy(self.probabilities), torch.from_numpy(self.labels)


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


def compare_predictions(first: Predictions, second: Predictions) -> McNemarTest | None:
    """Which of the two networks is right more often; None where they were asked other images."""
    return mcnemar_test(first.is_right, second.is_right) if are_comparable(first, second) else None


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
