"""Confidence intervals and significance tests: of a few runs, and over one set of images.

n runs of one setting, N images. All intervals are at 95 %, all tests two-sided.
"""

from __future__ import annotations  # numpy and scipy are imported when something is computed

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
        if self.std is None:
            return None
        from scipy.stats import t

        reach = float(t.ppf((1 + CONFIDENCE) / 2, self.n - 1)) * self.std / math.sqrt(self.n)
        return Interval(self.mean - reach, self.mean + reach)


@dataclass(frozen=True)
class PairedTest:
    """The paired t-test of n differences, second - first."""

    difference: Statistic
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
    from scipy.stats import ttest_rel

    difference = statistic([b - a for a, b in zip(first, second, strict=True)])
    if difference.std is None:
        raise ValueError("a paired test needs two pairs at least, got one")
    scale = ROUNDING * max(map(abs, [*first, *second]))
    if difference.std <= scale:
        return PairedTest(difference, 1.0 if abs(difference.mean) <= scale else None)
    return PairedTest(difference, float(ttest_rel(second, first).pvalue))


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
