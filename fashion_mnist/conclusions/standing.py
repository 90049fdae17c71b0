"""Which settings cannot be told apart from the best one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from fashion_mnist.conclusions.predictions import (
    Predictions,
    PredictionsError,
    are_comparable,
    are_same_images,
)
from fashion_mnist.metrics.statistics import (
    ALPHA,
    Interval,
    holm,
    mcnemar_test,
    paired_test,
)

Verdict = Literal["best", "not told apart", "worse", "not tested"]
Test = Literal["", "paired t", "McNemar"]
Replicate = tuple[str, str]  # the seed and the fold
MOST_READ = 50  # settings whose predictions are read
OTHER_IMAGES = "measured on another split"
NOT_READ = "too far behind to be looked at"


@dataclass(frozen=True)
class ScoredRun:
    """One run of a setting, and what its score was measured on."""

    score: float  # accuracy
    split: str  # names the images; empty where that is not known, which equals nothing
    predictions: Callable[[], Predictions]  # read where they are needed; raises PredictionsError


ScoredRuns = Mapping[Replicate, ScoredRun]  # of one setting: one for each seed and fold


@dataclass(frozen=True)
class Standing:
    """How a setting stands beside the best one."""

    verdict: Verdict
    test: Test = ""
    n: int = 0  # pairs of runs; of McNemar's test, images
    difference: float | None = None  # mean score of this setting less that of the best, in pairs
    interval: Interval | None = None  # of the difference, not corrected; of the t-test
    p: float | None = None
    p_holm: float | None = None  # corrected for all comparisons with the best
    why: str = ""  # it is not tested


def standings(settings: Sequence[ScoredRuns], *, most_read: int = MOST_READ) -> list[Standing]:
    """How each setting stands beside the first, which is the one of the best mean score.

    Where both have runs of two seeds (and folds) or more in common, measured on the same images,
    the differences of these pairs are tested: would the setting be worse when all are trained
    again with other seeds, judged by these images? Runs of several folds share training images, so
    their differences scatter less than those on new data would (Nadeau and Bengio 2003). Where both
    have a single run, McNemar's exact test asks of the two networks who would be right more often
    on other images, and says nothing of other seeds. Anything else is not tested.

    "worse" means p ≤ 0.05 after Holm's correction. "not told apart" does not mean equal: with two
    or three seeds hardly anything is told apart (see `paired_test`).

    The best one was picked by the very scores that are tested here, and is flattered by them: its
    lead is too large. The correction is for the number of comparisons, not for this. Among settings
    that are all equal, with five seeds each, at least one is called worse in 4 % of cases where
    there are two settings, 12 % with ten, 22 % with fifty (simulated). So the mark says whom the
    data do not exclude; a claim that the best one is better wants new seeds, or the test set.

    Args:
        settings: the best first; each has a run.
        most_read: the first so many settings are compared by their predictions, which have to be
            fetched; later ones are not, but count as compared.
    """
    best = settings[0]
    read_best = cache(lambda: _read(*best.values()))
    compared = [
        _compare_networks(best, other, read_best, is_read=place <= most_read)
        if len(best) == len(other) == 1
        else _compare_means(best, other)
        for place, other in enumerate(settings[1:], start=1)
    ]
    p_values = [standing.p for standing in compared if standing.p is not None]
    num_unread = sum(standing.why == NOT_READ for standing in compared)
    corrected = iter(holm(p_values, len(p_values) + num_unread))
    return [
        Standing("best"),
        *(each if each.p is None else _judged(each, next(corrected)) for each in compared),
    ]


def _judged(standing: Standing, p_holm: float) -> Standing:
    """With the verdict; a setting that beats the best where both have runs is not worse."""
    assert standing.difference is not None
    is_worse = p_holm <= ALPHA and standing.difference < 0
    return replace(standing, verdict="worse" if is_worse else "not told apart", p_holm=p_holm)


def _compare_means(best: ScoredRuns, other: ScoredRuns) -> Standing:
    """By the seeds of both, without a verdict yet."""
    common = [replicate for replicate in best if replicate in other]
    pairs = [key for key in common if are_same_images(best[key].split, other[key].split)]
    if len(common) < 2:
        return _untested("one seed in common" if common else "no seed in common")
    if len(pairs) < 2:
        return _untested(OTHER_IMAGES)
    test = paired_test([best[key].score for key in pairs], [other[key].score for key in pairs])
    gap = test.difference
    if test.p is None:
        return _untested("all seeds differ by the same")
    return Standing("not tested", "paired t", gap.n, gap.mean, gap.interval, test.p)


def _compare_networks(
    best: ScoredRuns,
    other: ScoredRuns,
    read_best: Callable[[], Predictions | str],
    *,
    is_read: bool,
) -> Standing:
    """One network against another, by the images of both, without a verdict yet."""
    [own], [others] = best.values(), other.values()
    if own.split and others.split and own.split != others.split:
        return _untested(OTHER_IMAGES)
    if not is_read:
        return _untested(NOT_READ)
    first, second = read_best(), _read(others)
    if isinstance(first, str):
        return _untested(f"the best's {first}")
    if isinstance(second, str):
        return _untested(second)
    if not are_comparable(first, second):
        return _untested(OTHER_IMAGES)
    test = mcnemar_test(first.is_right, second.is_right)
    return Standing("not tested", "McNemar", test.num_images, test.difference, p=test.p)


def _read(run: ScoredRun) -> Predictions | str:
    """What it said of the images, or why that is not known."""
    try:
        return run.predictions()
    except PredictionsError as error:
        return str(error)


def _untested(why: str) -> Standing:
    return Standing("not tested", why=why)
