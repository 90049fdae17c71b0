"""Which settings are significantly worse than the best one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Literal

from fashion_mnist.analysis.predictions import (
    Predictions,
    PredictionsError,
    are_comparable,
    are_same_images,
)
from fashion_mnist.metrics.statistics import (
    ALPHA,
    Interval,
    Replicate,
    complete_cells,
    corrected_paired_test,
    holm,
    mcnemar_test,
    paired_test,
)

Result = Literal["best", "not significantly different", "significantly worse", "not tested"]
Test = Literal["", "paired t", "corrected paired t", "McNemar"]
MOST_READ = 50  # settings whose predictions are read
OTHER_IMAGES = "measured on another split"
NO_ACCURACY = "single runs are compared by accuracy alone"
NOT_READ = "its predictions were not read: too far behind"


@dataclass(frozen=True)
class ScoredRun:
    """One run of a setting, and what its score was measured on."""

    score: float  # accuracy
    split: str  # names the images; empty where that is not known, which equals nothing
    predictions: Callable[[], Predictions]  # read where they are needed; raises PredictionsError
    num_validation: int = 0  # images that it was validated on; 0: not known
    num_training: int = 0  # images that it was trained on; 0: not known


ScoredRuns = Mapping[Replicate, ScoredRun]  # of one setting: one for each seed and fold


@dataclass(frozen=True)
class Comparison:
    """A setting vs. the best one."""

    result: Result
    test: Test = ""
    n: int = 0  # pairs of seeds; of the corrected test, folds; of McNemar's, images
    difference: float | None = None  # mean score of this setting less that of the best, in pairs
    interval: Interval | None = None  # of the difference, not adjusted; of the t-tests
    p: float | None = None
    p_holm: float | None = None  # Holm-adjusted for all comparisons with the best
    why: str = ""  # it is not tested


def compare_with_best(
    settings: Sequence[ScoredRuns],
    *,
    most_read: int = MOST_READ,
    lower_is_better: bool = False,
    is_accuracy: bool = True,
) -> list[Comparison]:
    """Each setting vs. the first, which is the first of the ranking.

    Where both have runs of two seeds or more in common, measured on the same images, the
    differences of these seeds are tested by the paired t-test; of several folds, a seed's
    difference is the mean over the folds that all these seeds have in both settings. That asks: is
    the setting worse when all are trained again with other seeds, on these folds? Among equal
    settings of 3 seeds x 3 folds it finds a difference in 5 % of cases, where nine differences
    taken for independent ones find it in 17 % (simulated: a seed's effect on all folds has the
    variance of a single run's). Effects of a setting on single folds are taken for its quality:
    with one or two times a run's standard deviation they make it 7 or 16 %.

    Where they have one seed and several folds in common, the corrected resampled t-test allows for
    the training images that folds share (Nadeau and Bengio 2003). Where both have a single run,
    McNemar's exact test asks which of the two networks would be right more often on other images;
    it says nothing of other seeds. Anything else is not tested.

    "significantly worse" means p ≤ 0.05 after Holm's adjustment. "not significantly different" does
    not mean equal: with two or three seeds few differences are significant (see `paired_test`).

    The best setting was chosen by the scores that are tested here, so its lead is optimistically
    biased. The adjustment is for the number of comparisons, not for this. Among settings that are
    all equal, with five seeds each, at least one is called significantly worse in 5 % of cases with
    two settings, 11 % with ten and 21 % with fifty (simulated). That another setting is worse is
    shown by new seeds, or by the test set.

    Args:
        settings: the best first; each has a run.
        most_read: the first so many settings are compared by their predictions, which have to be
            fetched; later ones are not, but count as compared.
        lower_is_better: whether the smaller score is the better one.
        is_accuracy: whether scores are accuracies: only these can be compared by predictions.
    """
    best = settings[0]
    read_best = cache(lambda: _read(*best.values()))
    compared = [
        _compare_means(best, other)
        if len(best) > 1 or len(other) > 1
        else _compare_networks(best, other, read_best, is_read=place <= most_read)
        if is_accuracy
        else _untested(NO_ACCURACY)
        for place, other in enumerate(settings[1:], start=1)
    ]
    p_values = [comparison.p for comparison in compared if comparison.p is not None]
    num_unread = sum(comparison.why == NOT_READ for comparison in compared)
    corrected = iter(holm(p_values, len(p_values) + num_unread))
    return [
        Comparison("best"),
        *(
            each
            if each.p is None
            else _concluded(each, next(corrected), lower_is_better=lower_is_better)
            for each in compared
        ),
    ]


def _concluded(comparison: Comparison, p_holm: float, *, lower_is_better: bool) -> Comparison:
    """With the result; a setting that beats the best where both have runs is not worse."""
    assert comparison.difference is not None
    is_behind = comparison.difference > 0 if lower_is_better else comparison.difference < 0
    is_worse = p_holm <= ALPHA and is_behind
    result: Result = "significantly worse" if is_worse else "not significantly different"
    return replace(comparison, result=result, p_holm=p_holm)


def _compare_means(best: ScoredRuns, other: ScoredRuns) -> Comparison:
    """By the seeds and folds of both, without a result yet."""
    common = [replicate for replicate in best if replicate in other]
    pairs = [key for key in common if are_same_images(best[key].split, other[key].split)]
    if len(common) < 2:
        return _untested("one seed in common" if common else "no seed in common")
    if len(pairs) < 2:
        return _untested(OTHER_IMAGES)
    seeds, folds = complete_cells(pairs)
    if len(seeds) > 1:
        own, others = (
            [fmean(runs[seed, fold].score for fold in folds) for seed in seeds]
            for runs in (best, other)
        )
        kind: Test = "paired t"
        test = paired_test(own, others)
    elif len(folds) > 1:
        cells = [(seeds[0], fold) for fold in folds]
        runs = [setting[key] for setting in (best, other) for key in cells]
        if not all(run.num_validation and run.num_training for run in runs):
            return _untested("one seed, and the number of training images is not recorded")
        kind = "corrected paired t"
        test = corrected_paired_test(
            [best[key].score for key in cells],
            [other[key].score for key in cells],
            num_validation=max(run.num_validation for run in runs),
            num_training=min(run.num_training for run in runs),
        )
    else:
        return _untested("no two seeds on the same fold in common")
    if test.p is None:
        return _untested(f"all {'seeds' if len(seeds) > 1 else 'folds'} differ by the same")
    gap = test.difference
    return Comparison("not tested", kind, gap.n, gap.mean, test.interval, test.p)


def _compare_networks(
    best: ScoredRuns,
    other: ScoredRuns,
    read_best: Callable[[], Predictions | str],
    *,
    is_read: bool,
) -> Comparison:
    """One network against another, by the images of both, without a result yet."""
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
    return Comparison("not tested", "McNemar", test.num_images, test.difference, p=test.p)


def _read(run: ScoredRun) -> Predictions | str:
    """What it said of the images, or why that is not known."""
    try:
        return run.predictions()
    except PredictionsError as error:
        return str(error)


def _untested(why: str) -> Comparison:
    return Comparison("not tested", why=why)
