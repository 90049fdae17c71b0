"""The predictions of all networks of one setting, taken together.

N images of a network, S networks, C classes; counts have rows true, columns predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fashion_mnist.analysis.lookup import replicate_of
from fashion_mnist.analysis.networks import class_names_of
from fashion_mnist.analysis.predictions import (
    Predictions,
    PredictionsError,
    are_comparable,
    stored_predictions,
)
from fashion_mnist.metrics import calibration, classification
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

MOST_PAIRS = 4  # of classes that are confused


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other."""

    classes: tuple[int, int]
    counts: tuple[int, int]  # the first taken for the second, the second for the first
    support: tuple[int, int]  # images of each, as often as a network predicted them


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
    def metrics(self) -> dict[str, Statistic]:
        """Each score as mean and spread over the networks."""
        rows = [_metrics(own) for own in self.predictions]
        return {key: statistic([row[key] for row in rows]) for key in rows[0]}

    @cached_property
    def reliability(self) -> calibration.Reliability:
        """The predictions of all networks by their confidence."""
        return calibration.reliability(self._probabilities, self._labels)

    @cached_property
    def selection(self) -> calibration.Selection:
        """Accuracy where the networks may abstain, the most confident prediction of any first."""
        return calibration.select(self._probabilities, self._labels)

    @property
    def num_predictions(self) -> int:
        """Images, each as often as a network predicted it."""
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


def worst_pairs(counts: Tensor, limit: int = MOST_PAIRS) -> list[ConfusedPair]:
    """The pairs with the most mistakes in counts `[C, C]`, both ways together."""
    table: NDArray[np.int64] = counts.numpy()
    both = np.triu(table + table.T, k=1)
    # stable, so that equal ones come in the classes' order on every machine
    cells = np.argsort(-both, axis=None, kind="stable")[:limit]
    support = table.sum(axis=1)
    return [
        ConfusedPair(
            (int(a), int(b)),
            (int(table[a, b]), int(table[b, a])),
            (int(support[a]), int(support[b])),
        )
        for a, b in zip(*np.unravel_index(cells, both.shape), strict=True)
        if both[a, b]
    ]


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


def _metrics(own: Predictions) -> dict[str, float]:
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
