"""Stored predictions of a split: of one run, and of all runs of a setting together.

N images of a run, S runs, C classes; counts `[C, C]` have rows true, columns predicted.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.lookup import replicate_of
from fashion_mnist.analysis.networks import class_names_of
from fashion_mnist.metrics import calibration, classification
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun


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


def stored_predictions(store: Reader, run: RecordedRun, split: str) -> Predictions:
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


@dataclass(frozen=True)
class Pooled:
    """One network or more, of the same classes."""

    split: str
    class_names: tuple[str, ...]
    runs: tuple[RecordedRun, ...]
    predictions: tuple[Predictions, ...]  # of each run
    missing: tuple[str, ...]  # why other runs of the setting are not in it, a line each

    @cached_property
    def counts(self) -> Tensor:
        """Confusion counts int64 `[C, C]`, summed over the networks."""
        return torch.stack([counts_of(own) for own in self.predictions]).sum(0)

    @cached_property
    def figures(self) -> dict[str, Statistic]:
        """Each score as mean and spread over the networks."""
        rows = [_figures(own) for own in self.predictions]
        return {key: statistic([row[key] for row in rows]) for key in rows[0]}

    @cached_property
    def reliability(self) -> calibration.Reliability:
        """The answers of all networks by their confidence."""
        return calibration.reliability(self._probabilities, self._labels)

    @cached_property
    def selection(self) -> calibration.Selection:
        """What is answered where the networks may abstain, the surest answer of any first."""
        return calibration.select(self._probabilities, self._labels)

    @property
    def num_answers(self) -> int:
        """Images, each as often as a network answered it."""
        return len(self._labels)

    @property
    def on_same_images(self) -> NDArray[np.float32]:
        """Probabilities `[S, N, C]` of the networks that saw the images of the first."""
        first = self.predictions[0]
        own = [each for each in self.predictions if are_comparable(first, each)]
        return np.stack([each.probabilities for each in own or [first]])

    @cached_property
    def _probabilities(self) -> Tensor:
        return torch.from_numpy(np.concatenate([own.probabilities for own in self.predictions]))

    @cached_property
    def _labels(self) -> Tensor:
        return torch.from_numpy(np.concatenate([own.labels for own in self.predictions]))


def pool(store: Reader, runs: Sequence[RecordedRun], split: str) -> Pooled | str:
    """The runs' stored predictions of a split; or, where none can be had, why."""
    found: list[tuple[RecordedRun, Predictions]] = []
    missing = []
    for run in runs:
        try:
            own = stored_predictions(store, run, split)
        except PredictionsError as error:
            missing.append(f"{run.name} ({run.run_id}): {error}")
            continue
        if found and own.probabilities.shape[1] != found[0][1].probabilities.shape[1]:
            missing.append(f"{run.name} ({run.run_id}): its predictions are of other classes")
            continue
        found.append((run, own))
    if not found:
        return missing[0] if missing else "no run has finished"
    first, stored = found[0]
    names = _class_names(first, stored.probabilities.shape[1])
    networks, predictions = zip(*found, strict=True)
    return Pooled(split, names, networks, predictions, tuple(missing))


def paired_counts(first: Pooled, second: Pooled) -> tuple[Tensor, Tensor, int] | str:
    """Counts `[C, C]` of both, summed over pairs of networks that saw the same images; how many.

    Pairs have seed and fold in common; two single networks are a pair. Or, where there is none,
    why.
    """
    others = {replicate_of(run): each for run, each in _networks(second)}
    pairs = [
        (each, others[replicate_of(run)])
        for run, each in _networks(first)
        if replicate_of(run) in others
    ]
    if len(first.runs) == len(second.runs) == 1:
        pairs = [(first.predictions[0], second.predictions[0])]
    if not pairs:
        return "they have no seed in common"
    pairs = [pair for pair in pairs if are_comparable(*pair)]
    if not pairs:
        return "they were measured on different images"
    one, other = (torch.stack([counts_of(pair[k]) for pair in pairs]).sum(0) for k in (0, 1))
    return one, other, len(pairs)


def counts_of(predictions: Predictions) -> Tensor:
    """Confusion counts int64 `[C, C]` of one network."""
    labels, predicted = (
        torch.from_numpy(each).unsqueeze(0) for each in (predictions.labels, predictions.predicted)
    )
    num_classes = predictions.probabilities.shape[1]
    return classification.confusion_counts(labels, predicted, num_classes)[0]


def _class_names(run: RecordedRun, num_classes: int) -> tuple[str, ...]:
    """As the run has them; their numbers where it does not say."""
    try:
        names = class_names_of(run)
    except ValueError:
        names = []
    return tuple(names if len(names) == num_classes else map(str, range(num_classes)))


def _networks(pooled: Pooled) -> Iterator[tuple[RecordedRun, Predictions]]:
    return zip(pooled.runs, pooled.predictions, strict=True)


def _figures(own: Predictions) -> dict[str, float]:
    probabilities, labels = torch.from_numpy(own.probabilities), torch.from_numpy(own.labels)
    scores = {key: float(value) for key, value in classification.summarize(counts_of(own)).items()}
    return {
        **scores,
        "top_2_accuracy": calibration.num_in_top(probabilities, labels, 2) / len(labels),
        "ece": calibration.expected_calibration_error(
            calibration.reliability(probabilities, labels)
        ),
        "brier": calibration.brier_score(probabilities, labels),
        "nll": calibration.nll_of_probabilities(probabilities, labels),
    }
