"""Confidence intervals, significance tests and a ranking: of a few runs, or over one set of images.

n runs of one setting, N images. All intervals are at 95 %, all tests two-sided.
"""

from __future__ import annotations  # numpy and scipy are imported when something is computed

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain, combinations_with_replacement
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
ALPHA = 0.05  # the share of true null hypotheses that a test may reject
ROUNDING = 1e-12  # relative: differences of two equal scores may differ by this


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Statistic:
    """Mean and standard deviation of n values of one metric."""

    mean: float
    std: float | None  # with n - 1; None for one value
    n: int

    @cached_property
    def interval(self) -> Interval | None:
        """Student's t interval of the mean of normally distributed values; None where n = 1.

        With two values it reaches 6.4 times their distance to either side of their mean.
        """
        return None if self.std is None else _t_interval(self, self.std / math.sqrt(self.n))


@dataclass(frozen=True)
class PairedTest:
    """A paired t-test of n differences, second - first."""

    difference: Statistic
    interval: Interval  # of the mean difference
    p: float | None  # None where all differences are the same and not 0


@dataclass(frozen=True)
class McNemarTest:
    """McNemar's exact test of two classifiers on the same N images."""

    first_alone: int  # images that only the first has right
    second_alone: int
    num_images: int
    p: float

    @property
    def difference(self) -> float:
        """The second's accuracy less the first's."""
        return (self.second_alone - self.first_alone) / self.num_images


def statistic(values: Sequence[float]) -> Statistic:
    """Mean and standard deviation (n - 1) of one value or more."""
    return Statistic(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Whether the means of n ≥ 2 pairs differ, by Student's paired t-test.

    The differences second - first are taken to be normally distributed, which two or three of them
    cannot show. With n = 2 only a difference of 6.4 times their distance from each other is found
    significant, with n = 3 one of 2.5 standard deviations. Where all differences are the same there
    is no variance to test by; that happens by chance to scores that are shares of some thousand
    images.

    Raises:
        ValueError: there is one pair only.

    Source: Student 1908, "The probable error of a mean".
    """
    return _t_test(first, second, variance_factor=1 / max(len(first), 1))


def corrected_paired_test(
    first: Sequence[float], second: Sequence[float], *, num_validation: int, num_training: int
) -> PairedTest:
    """Whether the means of k ≥ 2 folds of one seed differ, by the corrected resampled t-test.

    The training sets of folds overlap, so that the differences d of folds vary less than those of
    independent training sets would. With mean d̄ and variance s² (k - 1) of the differences,
    t = d̄ / √((1/k + v/n) s²) has k - 1 degrees of freedom.

    Args:
        num_validation, num_training: images v and n of a fold.

    Raises:
        ValueError: there is one pair only.

    Source: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52.
    """
    factor = 1 / max(len(first), 1) + num_validation / num_training
    return _t_test(first, second, variance_factor=factor)


def mcnemar_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemarTest:
    """Whether two classifiers, right or wrong `[N]` on the same images, are equally often right.

    Of the images that only one classifier has right, each classifier has half then. The images are
    the random sample: the result holds for these two networks on other images of the kind, and not
    for the same settings trained with another seed.

    Source: McNemar 1947, exact: with the binomial distribution itself.
    """
    from scipy.stats import binomtest

    first_alone, second_alone = int((first & ~second).sum()), int((second & ~first).sum())
    num_alone = first_alone + second_alone
    # the smaller one, so that the order of the two does not matter to the last digit either
    fewer = min(first_alone, second_alone)
    p = float(binomtest(fewer, num_alone).pvalue) if num_alone else 1.0
    return McNemarTest(first_alone, second_alone, len(first), p)


def wilson_interval(num_right: int, num_images: int) -> Interval:
    """The interval of one accuracy over images; it stays in [0, 1], also where all are right.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    from scipy.stats import binomtest

    found = binomtest(num_right, num_images).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def holm(p_values: Sequence[float], num_tests: int | None = None) -> list[float]:
    """The p-values, adjusted so that any false rejection has a probability of 5 % at most.

    Args:
        num_tests: how many there are in all where these are some of them; no adjusted p-value is
            then smaller than it would be among all, whatever the others are.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    count = len(p_values) if num_tests is None else num_tests
    corrected, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (count - place) * p_values[index]))
        corrected[index] = highest
    return corrected


Replicate = tuple[str, str]  # seed and fold


def ranking(
    scores: Sequence[Mapping[Replicate, float]],
    *,
    num_repetitions: int,
    lower_is_better: bool = False,
) -> list[int]:
    """The order of settings by their scores, the best first: positions in `scores`.

    Settings with m = `num_repetitions` runs or more come first, by their mean over the seeds and
    folds that all of them share; where they share none, by the mean over their own. The others
    follow, by the mean over their own; those without a score are last. Ties keep their order.

    Args:
        scores: of each setting, the finite score of each finished run by seed and fold.
    """
    sign = 1 if lower_is_better else -1
    complete = [own for own in scores if len(own) >= max(num_repetitions, 1)]
    shared = set.intersection(*map(set, complete)) if complete else set()

    def place(position: int) -> tuple[int, float]:
        own = scores[position]
        if not own:
            return 2, 0.0
        if len(own) < num_repetitions:
            return 1, sign * fmean(own.values())
        return 0, sign * fmean(own[key] for key in (sorted(shared) or own))

    return sorted(range(len(scores)), key=place)


def common_repetitions(num_finished: Sequence[int]) -> int:
    """The largest number of finished runs that two settings have; of one setting, its own."""
    return sorted(num_finished)[-2:][0] if num_finished else 0


def complete_cells(pairs: Sequence[Replicate]) -> tuple[list[str], list[str]]:
    """Seeds and folds such that each seed has each fold among the pairs: many pairs.

    Two seeds or more are preferred to one with more pairs: only they show how seeds vary. The most
    pairs would be the largest biclique, for which no fast algorithm is known; this takes the best
    of what two seeds share and of what is left when, again and again, the seed or fold with the
    largest share of missing pairs is dropped.
    """
    folds_of: dict[str, set[str]] = {}
    for seed, fold in pairs:
        folds_of.setdefault(seed, set()).add(fold)
    each = {frozenset(folds) for folds in folds_of.values()}
    candidates = {one & other for one, other in combinations_with_replacement(each, 2)}
    candidates.add(_without_gaps(folds_of))
    grids = [
        ([seed for seed, own in folds_of.items() if folds <= own], sorted(folds))
        for folds in sorted(candidates - {frozenset()}, key=sorted)
    ]
    return max(grids, key=lambda own: (len(own[0]) > 1, len(own[0]) * len(own[1]), len(own[0])))


def _without_gaps(folds_of: Mapping[str, set[str]]) -> frozenset[str]:
    """The folds that all seeds have that are left."""
    seeds, folds = set(folds_of), set().union(*folds_of.values())
    while True:
        gaps = [(s, f) for s in sorted(seeds) for f in sorted(folds) if f not in folds_of[s]]
        if not gaps:
            return frozenset(folds)
        num_gaps = Counter(chain.from_iterable([(0, s), (1, f)] for s, f in gaps))
        sizes = len(folds), len(seeds)  # of a seed's pairs, of a fold's
        kind, name = max(num_gaps, key=lambda own: num_gaps[own] / sizes[own[0]])
        (folds if kind else seeds).discard(name)


def mean_interval(
    scores: Mapping[Replicate, float], *, num_validation: int = 0, num_training: int = 0
) -> Interval | None:
    """The interval of a setting's mean over its seeds and folds.

    Folds are no independent repetitions: a seed counts by its mean over the folds that all seeds
    have. The folds of one seed share training images; the variance of their mean is
    (1/k + v/n) s², as in `corrected_paired_test`.

    Args:
        scores: of the finished runs.
        num_validation, num_training: images v and n of a fold; 0 where they are not known.

    Returns:
        None for a single run, for one seed's folds of unknown sizes, and where a seed lacks a fold
        of another: the interval would be of another mean than that of all runs.
    """
    seeds, folds = complete_cells(list(scores)) if scores else ([], [])
    if len(seeds) * len(folds) < len(scores):
        return None
    if len(seeds) > 1:
        return statistic([fmean(scores[s, f] for f in folds) for s in seeds]).interval
    if len(folds) < 2 or not (num_validation and num_training):
        return None
    own = statistic([scores[seeds[0], fold] for fold in folds])
    assert own.std is not None
    factor = 1 / own.n + num_validation / num_training
    return _t_interval(own, own.std * math.sqrt(factor))


def _t_test(
    first: Sequence[float], second: Sequence[float], *, variance_factor: float
) -> PairedTest:
    """The t-test of paired differences whose mean has `variance_factor` times their variance."""
    from scipy.special import stdtr  # scipy.stats, which calls it, takes half a second to import

    difference = statistic([b - a for a, b in zip(first, second, strict=True)])
    if difference.std is None:
        raise ValueError("a paired test needs two pairs at least, got one")
    error = difference.std * math.sqrt(variance_factor)
    interval = _t_interval(difference, error)
    scale = ROUNDING * max(map(abs, [*first, *second]))
    if difference.std <= scale:
        return PairedTest(difference, interval, 1.0 if abs(difference.mean) <= scale else None)
    p = 2 * float(stdtr(difference.n - 1, -abs(difference.mean) / error))
    return PairedTest(difference, interval, p)


def _t_interval(mean: Statistic, standard_error: float) -> Interval:
    """Student's t interval of a mean with this standard error and n - 1 degrees of freedom."""
    reach = _t_quantile(mean.n - 1) * standard_error
    return Interval(mean.mean - reach, mean.mean + reach)


@cache  # a leaderboard has hundreds of settings of few sizes
def _t_quantile(degrees: int) -> float:
    """How many standard errors an interval reaches, with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
