"""How far the difference of two classifiers depends on which images were drawn: a bootstrap.

N images, C classes, S resamples; counts `[C, C]` have rows true, columns predicted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fashion_mnist.metrics import classification
from fashion_mnist.metrics.classification import SUMMARY_SCORES
from fashion_mnist.metrics.statistics import CONFIDENCE, Interval

NUM_RESAMPLES = 10_000
MOST_NUMBERS = 2_000_000  # int64, held at a time: 16 MB for each array

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """The second's metric − the first's, and the interval of that."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Differences:
    """How a second classifier differs from a first on the same images."""

    scores: Mapping[str, Difference]  # those of `classification.summarize`
    f1: tuple[Difference, ...]  # of each class


def bootstrap(
    labels: Integers,
    first: Integers,
    second: Integers,
    *,
    num_classes: int,
    is_stratified: bool,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Differences:
    """The differences of scores, each with its interval, paired over images.

    Each resample draws N of the N images with replacement, the same ones for both classifiers; of
    a stratified split, of each class as many as it has, since other images of the kind would have
    the classes in these proportions too. An interval lies between the 2.5th and the 97.5th
    percentile of what the resamples give. It holds for these two networks on other images of the
    kind; what another seed would do is not in it. The same arguments give the same intervals.

    Args:
        labels: int64 `[N]` in [0, C), N ≥ 1; `first` and `second`, the predicted classes, too.
        is_stratified: whether the split was drawn with fixed proportions of the classes.

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife"; percentile
        intervals; within strata as in Davison and Hinkley 1997, "Bootstrap methods and their
        application", section 3.2.
    """
    cells, images = _cells(labels, first, second, num_classes)
    stratum_of = cells[:, 0] if is_stratified else np.zeros_like(cells[:, 0])
    strata = [np.flatnonzero(stratum_of == label) for label in np.unique(stratum_of)]
    observed = _scores(images[None], cells, num_classes)[0]
    drawn = np.concatenate(
        [
            _scores(part, cells, num_classes)
            for part in _resamples(images, strata, num_classes, num_resamples, seed)
        ]
    )
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    low, high = np.quantile(drawn, tails, axis=0)
    differences = [
        Difference(float(value), Interval(float(start), float(end)))
        for value, start, end in zip(observed, low, high, strict=True)
    ]
    scores = dict(zip(SUMMARY_SCORES, differences, strict=False))
    return Differences(scores, tuple(differences[len(SUMMARY_SCORES) :]))


def _cells(
    labels: Integers, first: Integers, second: Integers, num_classes: int
) -> tuple[Integers, Integers]:
    """The kinds of images there are, each `[K, 3]`: label and both predictions; how many `[K]`.

    Images of one kind count alike in every metric: drawing kinds is drawing images.
    """
    shape = (num_classes,) * 3
    kinds, images = np.unique(
        np.ravel_multi_index((labels, first, second), shape), return_counts=True
    )
    return np.stack(np.unravel_index(kinds, shape), axis=-1), images


def _resamples(
    images: Integers, strata: Sequence[Integers], num_classes: int, num_resamples: int, seed: int
) -> Iterator[Integers]:
    """How many images of each kind the resamples hold, `[s, K]`, some resamples at a time.

    Args:
        strata: the kinds of each stratum, of which each resample has as many images as there are;
            each has a stream of its own, so that how many resamples are drawn at a time
            changes nothing.
    """
    generators = np.random.default_rng(seed).spawn(len(strata))
    at_a_time = max(1, MOST_NUMBERS // max(len(images), num_classes**2))
    for start in range(0, num_resamples, at_a_time):
        size = min(at_a_time, num_resamples - start)
        drawn = np.empty((size, len(images)), dtype=np.int64)
        for kinds, generator in zip(strata, generators, strict=True):
            own = images[kinds]
            drawn[:, kinds] = generator.multinomial(own.sum(), own / own.sum(), size=size)
        yield drawn


def _scores(images: Integers, cells: Integers, num_classes: int) -> NDArray[np.float64]:
    """`[s, 4 + C]` of images `[s, K]`: second less first of each score, then of F1 by class."""
    scores = []
    for who in (1, 2):
        counts = torch.from_numpy(_counts(images, cells[:, 0], cells[:, who], num_classes))
        summary = classification.summarize(counts)
        scores.append(
            torch.column_stack(
                [*(summary[key] for key in SUMMARY_SCORES), classification.f1(counts)]
            )
        )
    return np.asarray((scores[1] - scores[0]).numpy())


def _counts(images: Integers, labels: Integers, predicted: Integers, num_classes: int) -> Integers:
    """Confusion counts `[s, C, C]` of images `[s, K]` whose kinds have these labels `[K]`."""
    cell = num_classes * labels + predicted
    order = np.argsort(cell, kind="stable")
    occupied, starts = np.unique(cell[order], return_index=True)
    counts = np.zeros((len(images), num_classes**2), dtype=np.int64)
    counts[:, occupied] = np.add.reduceat(images[:, order], starts, axis=1)
    return counts.reshape(-1, num_classes, num_classes)
