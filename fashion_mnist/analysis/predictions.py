"""The predictions that recorded runs left, and pooled ones of a setting's networks.

N images, S networks, C classes; counts `[C, C]` have rows true, columns predicted.
"""

from __future__ import annotations  # torch is imported when predictions are scored

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.analysis.lookup import class_names_of, replicate_of
from fashion_mnist.metrics.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    PredictionsError,
    are_comparable,
    read_predictions,
)
from fashion_mnist.metrics.statistics import Interval, Statistic, mean_interval, statistic
from fashion_mnist.tracking.recorded import TEST, TEST_SCORE, RecordedRun

if TYPE_CHECKING:
    from torch import Tensor

    from fashion_mnist.tracking.reader import Reader

MOST_PAIRS = 4  # of classes that are confused


def stored_predictions(store: Reader, run: RecordedRun, split: str) -> Predictions:
    """What a recorded run said of its `validation` split, or of the `test` set.

    Raises:
        PredictionsError: it left none, or none that can be had and read.
    """
    path = f"{split}/{PREDICTIONS_FILE}"
    if split == TEST and TEST_SCORE not in run.metrics:
        raise PredictionsError(
            f"{run.name} has not read its test set: fmnist evaluate {run.run_id} --split test does"
        )
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.download(run, path, Path(folder))
        except OSError as error:
            raise PredictionsError(f"{path} cannot be had: {error}") from error
        return read_predictions(file)


@dataclass(frozen=True)
class Pooled:
    """The predictions of one network of a setting or more, of the same classes."""

    split: str
    class_names: tuple[str, ...]
    runs: tuple[RecordedRun, ...]
    predictions: tuple[Predictions, ...]  # of each run
    missing: tuple[str, ...]  # why other runs of the setting are not in it, a line each

    @cached_property
    def together(self) -> Predictions:
        """All of them as if one network had made them: each image as often as it was predicted."""
        return Predictions(
            np.concatenate([own.probabilities for own in self.predictions]),
            np.concatenate([own.labels for own in self.predictions]),
            split_sha256="",
        )

    @cached_property
    def metrics(self) -> dict[str, Statistic]:
        """Each score as mean and spread over the networks."""
        rows = [own.metrics for own in self.predictions]
        return {key: statistic([row[key] for row in rows]) for key in rows[0]}

    def interval(self, metric: str) -> Interval | None:
        """At 95 %, of the metric's mean over seeds; None where there is one seed."""
        pairs = zip(self.runs, self.predictions, strict=True)
        return mean_interval({replicate_of(run): own.metrics[metric] for run, own in pairs})

    @property
    def on_same_images(self) -> NDArray[np.float32]:
        """Probabilities `[S, N, C]` of the networks that saw the images of the first."""
        first = self.predictions[0]
        own = [each for each in self.predictions if are_comparable(first, each)]
        return np.stack([each.probabilities for each in own or [first]])


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
    networks, predictions = zip(*found, strict=True)
    names = _class_names(networks[0], predictions[0].probabilities.shape[1])
    return Pooled(split, names, networks, predictions, tuple(missing))


@dataclass(frozen=True)
class PairedCounts:
    """Confusion counts `[C, C]` of two settings on the same images."""

    first: Tensor
    second: Tensor
    class_names: tuple[str, ...]
    num_pairs: int  # of networks, whose counts are summed


def paired_counts(first: Pooled, second: Pooled) -> PairedCounts | str:
    """Counts of both, summed over pairs of networks that saw the same images.

    Pairs have seed and fold in common; two single networks are a pair. Or, where there is none,
    why.
    """
    one, other = (
        {replicate_of(run): own for run, own in zip(each.runs, each.predictions, strict=True)}
        for each in (first, second)
    )
    pairs = [(one[key], other[key]) for key in one if key in other]
    if len(first.runs) == len(second.runs) == 1:
        pairs = [(first.predictions[0], second.predictions[0])]
    if not pairs:
        return "they have no seed in common"
    pairs = [pair for pair in pairs if are_comparable(*pair)]
    if not pairs:
        return "they were measured on different images"
    ours, theirs = (sum((pair[k].counts for pair in pairs[1:]), pairs[0][k].counts) for k in (0, 1))
    return PairedCounts(ours, theirs, first.class_names, len(pairs))


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other."""

    classes: tuple[int, int]
    counts: tuple[int, int]  # the first taken for the second, the second for the first
    support: tuple[int, int]  # images of each, as often as a network predicted them


def worst_pairs(counts: Tensor) -> list[ConfusedPair]:
    """The `MOST_PAIRS` pairs with the most mistakes in counts `[C, C]`, both ways together."""
    table: NDArray[np.int64] = counts.numpy()
    both = np.triu(table + table.T, k=1)
    # stable, so that equal ones come in the classes' order on every machine
    cells = np.argsort(-both, axis=None, kind="stable")[:MOST_PAIRS]
    support = table.sum(axis=1).tolist()
    return [
        ConfusedPair((a, b), (int(table[a, b]), int(table[b, a])), (support[a], support[b]))
        for a, b in (divmod(cell, len(table)) for cell in cells.tolist())
        if both[a, b]
    ]


def _class_names(run: RecordedRun, num_classes: int) -> tuple[str, ...]:
    """As the run has them; their numbers where it does not say."""
    try:
        names = class_names_of(run)
    except ValueError:
        names = []
    return tuple(names if len(names) == num_classes else map(str, range(num_classes)))
