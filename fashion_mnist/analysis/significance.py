"""What came of single runs, and which settings are significantly worse than the best one."""

from __future__ import annotations  # what is imported for types alone imports torch

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from fashion_mnist.analysis.labels import (
    REPLICATE_KEYS,
    Difference,
    difference_result,
    lower_is_better,
)
from fashion_mnist.metrics.predictions import (
    Predictions,
    PredictionsError,
    are_same_images,
    compare_predictions,
)
from fashion_mnist.metrics.statistics import (
    Interval,
    Replicate,
    complete_cells,
    corrected_paired_test,
    holm,
    paired_test,
)
from fashion_mnist.runs.identity import CHOSEN
from fashion_mnist.tracking.recorded import SCORE, RecordedRun

if TYPE_CHECKING:
    from fashion_mnist.training.stack import HistoryRow

Result = Difference | Literal["best", "not tested"]
Test = Literal["", "paired t", "corrected paired t", "McNemar"]
MOST_READ = 50  # settings whose predictions are read
OTHER_IMAGES = "measured on other images"
NO_ACCURACY = "single runs are compared by accuracy alone"
NOT_READ = "its predictions were not read: too far behind"


@dataclass(frozen=True)
class RunResult:
    """What came of one run, whether a store or a run directory says it."""

    number: int  # of a sweep's job; of a stored run its place by start
    values: Mapping[str, str]  # what makes its setting, and its seed and fold
    status: str  # FINISHED, FAILED, KILLED (stopped or pruned), RUNNING; empty: never begun
    metrics: Mapping[str, float]  # final/…, test/… and parameters
    failure: str = ""  # why it has no result, in one line; empty where it has
    pruned_at: int | None = None  # the epoch after which a search pruned it
    history: Sequence[HistoryRow] = ()  # a row an epoch
    folder: Path = Path()  # the run directory: equal for jobs that are one run
    command: str = ""  # that trains it alone
    split: str = ""  # names its validation images; empty where they are not known
    num_validation: int = 0  # images that it was validated on; 0 where that is not known
    num_training: int = 0
    predictions: Callable[[], Predictions] | None = None  # of validation; raises PredictionsError
    record: RecordedRun | None = None  # of a stored run

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The values without seed and fold: equal for runs of one setting."""
        return tuple((k, v) for k, v in self.values.items() if k not in REPLICATE_KEYS)

    @property
    def setting_key(self) -> frozenset[tuple[str, str]]:
        """Equal for runs of one setting: all keys of a stored run say what its files chose."""
        left_out = CHOSEN if self.record is not None else ()
        return frozenset((key, value) for key, value in self.settings if key not in left_out)

    @property
    def replicate(self) -> Replicate:
        """Its seed and fold; empty where they are not known."""
        seed, fold = (self.values.get(key, "") for key in REPLICATE_KEYS)
        return seed, fold

    def has(self, metric: str) -> bool:
        """Whether it finished with a finite value of the metric."""
        return self.status == "FINISHED" and math.isfinite(self.metrics.get(metric, math.nan))

    @property
    def outcome(self) -> str:
        """What became of it, in a word or two."""
        if self.status == "KILLED":
            return "stopped" if self.pruned_at is None else "pruned"
        return self.status.lower() or "not begun"


Replicates = Mapping[Replicate, RunResult]  # of one setting: a run for each seed and fold


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
    settings: Sequence[Replicates], score: str, *, most_read: int = MOST_READ
) -> list[Comparison]:
    """Each setting vs. the first, which is the first of the ranking.

    Where both have runs of two seeds or more in common, measured on the same images, the
    differences of these seeds are tested by the paired t-test; of several folds, a seed's
    difference is the mean over the folds that all these seeds have in both settings. That asks: is
    the setting worse when all are trained again with other seeds, on these folds? Among equal
    settings of 3 seeds x 3 folds it finds a difference in 5 % of cases, where nine differences
    taken for independent ones find it in 18 % (simulated: a seed's effect on all folds has the
    variance of a single run's). Effects of a setting on single folds are taken for its quality:
    with one or two times a run's standard deviation they make it 8 or 17 %.

    Where they have one seed and several folds in common, the corrected resampled t-test allows for
    the training images that folds share (Nadeau and Bengio 2003). Where both have a single run,
    McNemar's exact test asks which of the two networks would be right more often on other images;
    it says nothing of other seeds. Anything else is not tested.

    "significantly worse" means p ≤ 0.05 after Holm's adjustment; "significantly better" too, of a
    setting that ranks behind because it has fewer or other runs. "not significantly different" does
    not mean equal: with two or three seeds few differences are significant (see `paired_test`).

    The best setting was chosen by the scores that are tested here, so its lead is optimistically
    biased. The adjustment is for the number of comparisons, not for this. Among settings that are
    all equal, with five seeds each, at least one is called significantly worse in 5 % of cases with
    two settings, 11 % with ten and 21 % with fifty (simulated). That another setting is worse is
    shown by new seeds, or by the test set.

    Args:
        settings: the best first; each has a run, and each run the score.
        score: the metric that they are ranked by; an accuracy alone can be compared by predictions.
        most_read: the first so many settings are compared by their predictions, which have to be
            fetched; later ones are not, but count as compared.
    """
    best = settings[0]
    read_best = cache(lambda: _read(*best.values()))
    compared = [
        _compare_means(best, other, score)
        if len(best) > 1 or len(other) > 1
        else _compare_networks(best, other, read_best, is_read=place <= most_read)
        if score == SCORE
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
            else _concluded(each, next(corrected), sign=-1 if lower_is_better(score) else 1)
            for each in compared
        ),
    ]


def _concluded(comparison: Comparison, p_holm: float, *, sign: int) -> Comparison:
    """With the result: a setting that ranks behind for want of runs may be better.

    Args:
        sign: 1 where a larger score is better, else -1.
    """
    assert comparison.difference is not None
    result = difference_result(sign * comparison.difference, p_holm)
    return replace(comparison, result=result, p_holm=p_holm)


def _compare_means(best: Replicates, other: Replicates, score: str) -> Comparison:
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
            [fmean(runs[seed, fold].metrics[score] for fold in folds) for seed in seeds]
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
            [best[key].metrics[score] for key in cells],
            [other[key].metrics[score] for key in cells],
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
    best: Replicates,
    other: Replicates,
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
    test = compare_predictions(first, second)
    if test is None:
        return _untested(OTHER_IMAGES)
    return Comparison("not tested", "McNemar", test.num_images, test.difference, p=test.p)


def _read(run: RunResult) -> Predictions | str:
    """What it said of the images, or why that is not known."""
    if run.predictions is None:
        return "its predictions are not known"
    try:
        return run.predictions()
    except PredictionsError as error:
        return str(error)


def _untested(why: str) -> Comparison:
    return Comparison("not tested", why=why)
