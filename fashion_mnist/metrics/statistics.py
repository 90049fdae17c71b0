"""How much a few runs, or one set of images, can tell: intervals and tests.

n runs of one setting, N images. All intervals are at 95 %, all tests two-sided.
"""

from __future__ import annotations  # numpy and scipy come when something is computed

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
ALPHA = 0.05  # the share of true hypotheses that a test may call false
ROUNDING = 1e-12  # relative: differences of two equal scores may differ by this


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Statistic:
    """What n values say of one figure."""

    mean: float
    std: float | None  # with n - 1; None for one value
    n: int

    @cached_property
    def interval(self) -> Interval | None:
        """Student's t interval of the mean, for values that scatter normally; None where n = 1.

        Two values lie 6.4 times nearer to each other than to either end of it: so little do they
        tell of where a third would be.
        """
        if self.std is None:
            return None
        reach = t_quantile(self.n - 1) * self.std / math.sqrt(self.n)
        return Interval(self.mean - reach, self.mean + reach)


@dataclass(frozen=True)
class PairedTest:
    """The paired t-test of n differences, second - first."""

    difference: Statistic
    p: float | None  # None where all differences are the same and not 0


@dataclass(frozen=True)
class McNemarTest:
    """McNemar's exact test of two classifiers on the same N images."""

    first_alone: int  # images that the first alone has right
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


def t_quantile(degrees: int) -> float:
    """How many standard errors a t interval reaches to either side: 12.7 for 1 degree."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Whether the means differ, by the differences second - first of n ≥ 2 pairs.

    It supposes that the differences scatter normally about their mean, which two or three of them
    cannot show. With n = 2 only a difference of 6.4 times their distance from each other is found,
    with n = 3 one of 2.5 standard deviations: that nothing is found then says little. Where the
    differences are all the same there is no scatter to judge by; scores that are shares of some
    thousand images make that happen by chance.

    Source: Student 1908, "The probable error of a mean"; `scipy.stats.ttest_rel` gives the same.
    """
    from scipy.special import stdtr

    differences = [b - a for a, b in zip(first, second, strict=True)]
    difference = statistic(differences)
    if difference.std is None:
        raise ValueError("a paired test needs two pairs at least, got one")
    scale = ROUNDING * max(map(abs, [*first, *second]))
    if difference.std <= scale:
        return PairedTest(difference, 1.0 if abs(difference.mean) <= scale else None)
    t = difference.mean / (difference.std / math.sqrt(difference.n))
    return PairedTest(difference, float(2 * stdtr(difference.n - 1, -abs(t))))


def mcnemar_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemarTest:
    """Whether two classifiers, right or wrong `[N]` on the same images, are equally often right.

    Of the images that one alone has right, each has it in half of the cases then. The images are
    what is drawn at random: the answer holds for these two networks on others of the kind, and
    not for the same settings trained again with another seed.

    Source: McNemar 1947, with the binomial distribution itself; `scipy.stats.binomtest` of the
    same counts gives the same.
    """
    from scipy.special import bdtr

    first_alone, second_alone = int((first & ~second).sum()), int((second & ~first).sum())
    num_alone = first_alone + second_alone
    p = min(1.0, 2 * float(bdtr(min(first_alone, second_alone), num_alone, 0.5)))
    return McNemarTest(first_alone, second_alone, len(first), p)


def wilson_interval(num_right: int, num_images: int) -> Interval:
    """The interval of one accuracy over images; it stays in [0, 1], also where all are right.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    share, weight = num_right / num_images, z * z / num_images
    middle = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def holm(p_values: Sequence[float], num_tests: int | None = None) -> list[float]:
    """The p-values, corrected so that one wrong verdict among them all has probability 5 % at most.

    Args:
        num_tests: how many there are in all where these are some of them; the result is then no
            smaller than it would be beside the others, whatever those are.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    count = len(p_values) if num_tests is None else num_tests
    corrected, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (count - place) * p_values[index]))
        corrected[index] = highest
    return corrected
