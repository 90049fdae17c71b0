"""Networks against a first one, by what they said of the same images.

`N` images of a split, `C` classes; counts `[C, C]` have rows true, columns predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.conclusions.images import SPLITS, VALIDATION, class_names_of
from fashion_mnist.conclusions.predictions import Predictions, are_comparable, stored_predictions
from fashion_mnist.conclusions.resampling import Differences, bootstrap
from fashion_mnist.conclusions.settings import identity_of
from fashion_mnist.config.errors import shown
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.calibration import (
    Reliability,
    brier_score,
    expected_calibration_error,
    nll_of_probabilities,
    reliability,
)
from fashion_mnist.metrics.statistics import (
    ALPHA,
    Interval,
    McNemarTest,
    holm,
    mcnemar_test,
    wilson_interval,
)
from fashion_mnist.sweep.labels import differing_axes, values_text
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

MOST_RUNS = 10


@dataclass(frozen=True)
class Contestant:
    """One network."""

    letter: str  # A for the first: what tables and pictures call it
    run: RecordedRun
    predictions: Predictions
    counts: Tensor  # int64 [C, C]

    @property
    def scores(self) -> dict[str, float]:
        """Those of `classification.summarize`."""
        return {key: float(value) for key, value in classification.summarize(self.counts).items()}

    @property
    def f1(self) -> list[float | None]:
        """Of each class; None for a class neither true nor predicted."""
        return classification.class_f1(self.counts)

    @property
    def accuracy_interval(self) -> Interval:
        """Wilson's, over images."""
        right = self.predictions.is_right
        return wilson_interval(int(right.sum()), len(right))

    @property
    def reliability(self) -> Reliability:
        """How far its confidence is from its accuracy, in bins."""
        return reliability(self._probabilities, self._labels)

    @property
    def calibration(self) -> dict[str, float]:
        """How far its probabilities can be believed; the lower the better."""
        return {
            "ece": expected_calibration_error(self.reliability),
            "brier": brier_score(self._probabilities, self._labels),
            "nll": nll_of_probabilities(self._probabilities, self._labels),
        }

    @property
    def _probabilities(self) -> Tensor:
        return torch.from_numpy(self.predictions.probabilities)

    @property
    def _labels(self) -> Tensor:
        return torch.from_numpy(self.predictions.labels)


@dataclass(frozen=True)
class Contrast:
    """One of the others against the first."""

    other: Contestant
    differences: Differences  # other less first
    test: McNemarTest  # first and second are the first and the other
    p_holm: float  # corrected for all others

    @property
    def is_found(self) -> bool:
        """Whether the two are significantly different."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Comparison:
    """All of them, on one split."""

    split: str
    class_names: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    contrasts: tuple[Contrast, ...]  # of all but the first

    @property
    def first(self) -> Contestant:
        """The one that the others are compared with."""
        return self.contestants[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The images' own classes, int64 `[N]`."""
        return self.first.predictions.labels

    @property
    def title(self) -> str:
        """`compare 512-512 relu adamw lr=0.001 seed=0 with …`."""
        first, *others = (contestant.run.name for contestant in self.contestants)
        return f"compare {first} with {', '.join(others)}"

    def settings(self) -> list[str]:
        """What each run's parameters are where they differ, in one line each."""
        values = [identity_of(each.run) for each in self.contestants]
        axes = differing_axes(values)
        return [values_text(own, axes) or "the same settings" for own in values]


def compare(store: Reader, runs: Sequence[RecordedRun], split: str) -> Comparison:
    """The runs' networks by their stored predictions of a split; the others against the first.

    Raises:
        ValueError: names runs that cannot be compared: too few, no networks, other images.
        PredictionsError: a run's predictions cannot be had.
    """
    _check(runs, split)
    stored = [stored_predictions(store, run, split) for run in runs]
    _check_images(runs, stored, split)
    num_classes = stored[0].probabilities.shape[1]
    names = class_names_of(runs[0])
    if len(names) != num_classes:
        raise ValueError(f"{runs[0].name} names {len(names)} classes and predicts {num_classes}")
    contestants = tuple(
        Contestant(letter, run, own, _counts(own, num_classes))
        for letter, run, own in zip(ascii_uppercase, runs, stored, strict=False)
    )
    return Comparison(split, tuple(names), contestants, _contrasts(contestants, split))


def _contrasts(contestants: Sequence[Contestant], split: str) -> tuple[Contrast, ...]:
    first, *others = (contestant.predictions for contestant in contestants)
    num_classes = first.probabilities.shape[1]
    tests = [mcnemar_test(first.is_right, other.is_right) for other in others]
    # a test set is stratified where its classes are equally large, as Fashion-MNIST's are
    sizes = np.bincount(first.labels, minlength=num_classes)
    is_stratified = split == VALIDATION or bool((sizes == sizes[0]).all())
    corrected = holm([test.p for test in tests])
    return tuple(
        Contrast(
            contestant,
            bootstrap(
                first.labels,
                first.predicted,
                other.predicted,
                num_classes=num_classes,
                is_stratified=is_stratified,
            ),
            test,
            p,
        )
        for contestant, other, test, p in zip(
            contestants[1:], others, tests, corrected, strict=True
        )
    )


def _counts(predictions: Predictions, num_classes: int) -> Tensor:
    labels, predicted = (
        torch.from_numpy(each).unsqueeze(0) for each in (predictions.labels, predictions.predicted)
    )
    return classification.confusion_counts(labels, predicted, num_classes)[0]


def _check(runs: Sequence[RecordedRun], split: str) -> None:
    """Raises a ValueError unless these runs can have left something to compare."""
    if split not in SPLITS:
        raise ValueError(f"--split must be {' or '.join(SPLITS)}, got {shown(split)}")
    if not 2 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"two to {MOST_RUNS} runs can be compared, got {len(runs)}")
    for run in runs:
        if not run.is_network:
            raise ValueError(f"{run.name} ({run.run_id}) is not the run of a network")
    ids = [run.run_id for run in runs]
    for run in runs:
        if ids.count(run.run_id) > 1:
            raise ValueError(f"{run.name} ({run.run_id}) was named twice")


def _check_images(runs: Sequence[RecordedRun], stored: Sequence[Predictions], split: str) -> None:
    """Raises a ValueError unless all are of the images of the first, in as many classes."""
    for run, own in zip(runs[1:], stored[1:], strict=True):
        if not are_comparable(stored[0], own):
            raise ValueError(
                f"{runs[0].name} and {run.name} cannot be compared: their {split} splits are "
                f"different images ({_split_in_words(runs[0], stored[0])}; "
                f"{_split_in_words(run, own)})"
            )


def _split_in_words(run: RecordedRun, stored: Predictions) -> str:
    keys = ("data.name", "data.validation_size", "data.fold")
    words = [f"{key}={run.parameters[key]}" for key in keys if key in run.parameters]
    return " ".join([*words, f"SHA-256 {stored.split_sha256[:12]}…"])
