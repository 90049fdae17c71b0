"""Which settings are significantly worse than the best."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fashion_mnist.analysis.significance import (
    Comparison,
    Replicates,
    RunResult,
    compare_with_best,
)
from fashion_mnist.metrics.predictions import Predictions, PredictionsError
from fashion_mnist.metrics.statistics import complete_cells, mean_interval, paired_test
from fashion_mnist.tracking.recorded import SCORE

SPLIT = "a" * 64


def never() -> Predictions:
    raise AssertionError("predictions are read for single runs alone")


def measured(
    score: float,
    split: str,
    predictions: Callable[[], Predictions],
    *,
    num_validation: int = 0,
    num_training: int = 0,
) -> RunResult:
    """A run with this validation accuracy."""
    return RunResult(
        number=0,
        values={},
        status="FINISHED",
        metrics={SCORE: score},
        split=split,
        num_validation=num_validation,
        num_training=num_training,
        predictions=predictions,
    )


def setting(*scores: float, split: str = "fold", first_seed: int = 0) -> Replicates:
    """A setting with a run for each seed."""
    return {
        (str(first_seed + number), "0"): measured(score, split, never)
        for number, score in enumerate(scores)
    }


def single(
    num_right: int,
    *,
    split: str = SPLIT,
    is_known: bool = True,
    seed: int = 0,
    size: int = 1000,
) -> Replicates:
    """A setting with one run, which has the first so many of 1000 images right."""

    def read() -> Predictions:
        labels = np.arange(size) % 2
        predicted = np.where(np.arange(size) < num_right, labels, 1 - labels)
        return Predictions(np.eye(2, dtype=np.float32)[predicted], labels, split)

    return {(str(seed), "0"): measured(num_right / size, split[:24] if is_known else "", read)}


def results_of(comparisons: Sequence[Comparison]) -> list[str]:
    return [comparison.result for comparison in comparisons]


def test_a_clear_gap_is_found_and_a_small_one_is_not() -> None:
    """Seeds scatter by a tenth of a point: two points are worse, a hundredth is not."""
    best, close = setting(0.901, 0.900, 0.899, 0.9), setting(0.9, 0.9005, 0.899, 0.9001)
    result = compare_with_best([best, close, setting(0.881, 0.8795, 0.88, 0.8805)], SCORE)
    assert results_of(result) == ["best", "not significantly different", "significantly worse"]
    assert [comparison.test for comparison in result] == ["", "paired t", "paired t"]
    assert result[2].n == 4
    assert result[2].difference == pytest.approx(-0.01975)


def test_only_common_seeds_are_paired() -> None:
    """Of seeds 0 to 3 and 2 to 5 two are common."""
    result = compare_with_best(
        [setting(0.9, 0.91, 0.92, 0.93), setting(0.9, 0.9, 0.9, 0.9, first_seed=2)], SCORE
    )
    assert result[1].n == 2
    assert result[1].difference == pytest.approx(-0.025)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (setting(0.8, 0.81, first_seed=5), "no seed in common"),
        (setting(0.8), "one seed in common"),
        (setting(0.8, 0.81, split="another"), "other images"),
        (setting(0.88, 0.89), "all seeds differ by the same"),
    ],
)
def test_what_cannot_be_tested_says_why(other: Replicates, why: str) -> None:
    """No test without common seeds, on other images, or where nothing scatters."""
    _, comparison = compare_with_best([setting(0.9, 0.91), other], SCORE)
    assert (comparison.result, comparison.test, comparison.p) == ("not tested", "", None)
    assert why in comparison.why


def test_unknown_images_match_none() -> None:
    """Where the splits are not known they are not taken for the same."""
    _, comparison = compare_with_best(
        [setting(0.9, 0.91, split=""), setting(0.8, 0.82, split="")], SCORE
    )
    assert comparison.result == "not tested"


def test_single_runs_are_judged_by_their_images() -> None:
    """McNemar's test: 40 images are a difference, 3 are none; the seed does not matter."""
    result = compare_with_best([single(900), single(897, seed=7), single(860)], SCORE)
    assert results_of(result) == ["best", "not significantly different", "significantly worse"]
    assert [comparison.test for comparison in result[1:]] == ["McNemar", "McNemar"]
    assert [comparison.p for comparison in result[1:]] == pytest.approx([0.25, 2 * 0.5**40])
    assert result[2].difference == pytest.approx(-0.04)


@pytest.mark.parametrize(
    "other",
    [
        single(800, split="b" * 64),
        single(800, split="b" * 64, is_known=False),
        single(80, size=100),
    ],
)
def test_other_images_are_not_compared(other: Replicates) -> None:
    """Neither another split's hash, nor the same one over other labels."""
    _, comparison = compare_with_best([single(900), other], SCORE)
    assert (comparison.result, comparison.why) == ("not tested", "measured on other images")


def test_predictions_that_are_gone_are_no_comparison() -> None:
    """The reason is said."""

    def gone() -> Predictions:
        raise PredictionsError("predictions.npz is not there")

    lost = {("0", "0"): measured(0.8, SPLIT[:24], gone)}
    _, comparison = compare_with_best([single(900), lost], SCORE)
    assert (comparison.result, comparison.why) == ("not tested", "predictions.npz is not there")


@pytest.mark.parametrize("twice", [lambda: setting(0.9, 0.91, 0.92), lambda: single(900)])
def test_identical_settings_are_never_significantly_different(
    twice: Callable[[], Replicates],
) -> None:
    """p = 1, however many others there are."""
    result = compare_with_best([twice(), twice(), twice()], SCORE)
    assert results_of(result) == [
        "best",
        "not significantly different",
        "not significantly different",
    ]
    assert [comparison.p_holm for comparison in result[1:]] == [1, 1]


def test_many_comparisons_ask_for_more() -> None:
    """p = 0.03 alone is worse; beside nine others that show nothing it is not."""
    best, other = single(900), single(894)  # 6 of 6 images: p = 0.031
    assert results_of(compare_with_best([best, other], SCORE)) == ["best", "significantly worse"]
    crowd = [best, other, *(single(899) for _ in range(9))]
    assert results_of(compare_with_best(crowd, SCORE))[1] == "not significantly different"
    some = compare_with_best(crowd, SCORE, most_read=3)
    assert [comparison.p_holm for comparison in some[1:4]] == pytest.approx([0.3125, 1, 1])
    assert {comparison.why for comparison in some[4:]} == {
        "its predictions were not read: too far behind"
    }


def test_whoever_wins_on_common_seeds_is_better() -> None:
    """The best has the best mean over all its seeds, and loses clearly on those of both."""
    best = setting(0.90, 0.90001, 0.90002, 0.99)
    other = setting(0.91, 0.91002, 0.91001)
    _, comparison = compare_with_best([best, other], SCORE)
    assert comparison.p is not None
    assert comparison.p < 0.001
    assert comparison.result == "significantly better"


def grid(scores: NDArray[np.float64], **sizes: int) -> Replicates:
    """A setting with a run for each seed and fold; scores `[seeds, folds]`."""
    return {
        (str(seed), str(fold)): measured(float(score), f"fold {fold}", never, **sizes)
        for (seed, fold), score in np.ndenumerate(scores)
    }


def test_folds_are_averaged_within_a_seed() -> None:
    """Differences by seed -0.02, -0.03, -0.04 of two folds: t = -0.03 / (0.01 / √3), p = 0.0351."""
    best = grid(np.full((3, 2), 0.9))
    other = grid(np.array([[0.87, 0.89], [0.88, 0.86], [0.85, 0.87]]))
    _, comparison = compare_with_best([best, other], SCORE)
    assert (comparison.test, comparison.n) == ("paired t", 3)
    assert comparison.difference == pytest.approx(-0.03)
    assert comparison.p == pytest.approx(0.0351, abs=1e-4)


@pytest.mark.parametrize(
    ("fold_effect", "over_runs", "expected"),
    [(0, False, 0.05), (0, True, 0.18), (1, False, 0.083), (2, False, 0.166)],
)
def test_how_often_equal_settings_are_called_different(
    fold_effect: float, over_runs: bool, expected: float
) -> None:
    """3 seeds × 3 folds, as docs/analysis.md says, within three standard errors of 2,000 draws.

    The variance of a seed's effect on all folds is a single run's; settings may have effects of
    their own on single folds, in its standard deviations.
    """
    random, found = np.random.default_rng(0), 0
    for _ in range(2000):
        runs = random.normal(size=(2, 3, 1)) + random.normal(size=(2, 3, 3))
        runs += fold_effect * random.normal(size=(2, 1, 3))
        first, second = runs.reshape(2, 9) if over_runs else runs.mean(2)
        test = paired_test(list(first), list(second))
        found += test.p is not None and test.p <= 0.05
    assert found / 2000 == pytest.approx(expected, abs=3 * (expected / 2000) ** 0.5)


def test_only_complete_cells_are_compared() -> None:
    """A seed that lacks a fold in one setting would weigh that fold less than the others do."""
    best = grid(np.array([[0.90, 0.80], [0.91, 0.81], [0.92, 0.82]]))
    other = grid(np.array([[0.88, 0.78], [0.88, 0.78], [0.80, 0.70]]))
    missing = {key: run for key, run in other.items() if key != ("2", "1")}
    _, comparison = compare_with_best([best, missing], SCORE)
    assert comparison.n == 2
    assert comparison.difference == pytest.approx(-0.025)


@pytest.mark.parametrize(
    ("pairs", "seeds", "folds"),
    [
        ("00 01 10 11 20", "01", "01"),
        ("00 10 20 30 01 11", "0123", "0"),
        ("00 01 11 12", "01", "1"),
        ("00 01 02 11 10", "01", "01"),
        ("00 01 02 13", "0", "012"),
        ("00 01 02 03 04 10 11 12 13 15 20 21 22 24 25", "012", "012"),
        ("01 02 03 04 10 12 13 14 20 21 23 24 30 31 32 33 34", "123", "034"),
    ],
)
def test_a_large_complete_grid(pairs: str, seeds: str, folds: str) -> None:
    """Seeds and folds by hand; two seeds are preferred to one with more folds, three to two."""
    cells = [(cell[0], cell[1]) for cell in pairs.split()]
    assert complete_cells(cells) == (list(seeds), list(folds))


def test_an_interval_is_that_of_the_mean_of_all_runs() -> None:
    """Where a seed lacks a fold, a grid without gaps has another mean: then there is none."""
    scores = {("0", "0"): 0.9, ("0", "1"): 0.8, ("1", "0"): 0.92, ("1", "1"): 0.81}
    interval = mean_interval(scores)
    assert interval is not None
    assert sum(interval) / 2 == pytest.approx(sum(scores.values()) / 4)
    for missing in scores:
        assert mean_interval({key: scores[key] for key in scores.keys() - {missing}}) is None


def test_folds_of_one_seed_are_tested_by_the_corrected_t_test() -> None:
    """Three folds, v/n = 1/2: t = 0.03 / √((1/3 + 1/2) 0.01²) = 3.286, p = 0.0814."""
    sizes = {"num_validation": 500, "num_training": 1000}
    best = grid(np.full((1, 3), 0.9), **sizes)
    _, comparison = compare_with_best([best, grid(np.array([[0.86, 0.87, 0.88]]), **sizes)], SCORE)
    assert (comparison.test, comparison.n) == ("corrected paired t", 3)
    assert comparison.p == pytest.approx(0.0814, abs=1e-4)
    _, unknown = compare_with_best([best, grid(np.array([[0.86, 0.87, 0.88]]))], SCORE)
    assert "number of training images is not recorded" in unknown.why


def test_other_folds_for_other_seeds_are_not_tested() -> None:
    """Seed and fold vary together: neither is repeated."""
    cells = [("0", "0"), ("1", "1"), ("2", "2")]
    best, other = (
        {key: measured(score, key[1], never) for key, score in zip(cells, own, strict=True)}
        for own in ([0.9, 0.91, 0.92], [0.8, 0.82, 0.81])
    )
    assert (
        compare_with_best([best, other], SCORE)[1].why == "no two seeds on the same fold in common"
    )


def false_alarms(test: Callable[[Replicates, Replicates], float], fold_effect: float) -> float:
    """How often p ≤ 0.05 for two equal settings of 3 seeds × 3 folds.

    A run's score has the effects of its seed in this setting, of its fold in this setting
    (`fold_effect`) and of its own.
    """
    random, num_found, num_cases = np.random.default_rng(0), 0, 2000
    for _ in range(num_cases):
        settings = [
            grid(
                random.normal(0.9, 0.002, (3, 1))
                + random.normal(0, 0.002, (3, 3))
                + random.normal(0, fold_effect, (1, 3))
            )
            for _ in range(2)
        ]
        num_found += test(*settings) <= 0.05
    return num_found / num_cases


def by_seeds(first: Replicates, second: Replicates) -> float:
    p = compare_with_best([first, second], SCORE)[1].p
    assert p is not None
    return p


def by_all_runs(first: Replicates, second: Replicates) -> float:
    """The naive way: each run is taken for an independent one."""
    scores = ([run.metrics[SCORE] for run in own.values()] for own in (first, second))
    p = paired_test(*scores).p
    assert p is not None
    return p


def test_seeds_by_folds_keep_the_level() -> None:
    """Of equal settings 5 % are found different; 17 % where folds count as repetitions."""
    assert false_alarms(by_seeds, 0) == pytest.approx(0.05, abs=0.015)
    assert false_alarms(by_all_runs, 0) == pytest.approx(0.17, abs=0.03)


def test_folds_are_not_varied_by_other_seeds() -> None:
    """Effects of a setting on a fold of 1 and 2 times a run's deviation: 7 and 16 % are found."""
    assert false_alarms(by_seeds, 0.002) == pytest.approx(0.07, abs=0.02)
    assert false_alarms(by_seeds, 0.004) == pytest.approx(0.16, abs=0.03)


@pytest.mark.parametrize(("num_settings", "share"), [(2, 0.05), (10, 0.11), (50, 0.21)])
def test_equal_settings_are_called_worse_as_often_as_is_said(
    num_settings: int, share: float
) -> None:
    """Five seeds each, the best of them chosen by its mean."""
    random, num_cases = np.random.default_rng(0), 600 if num_settings < 50 else 300
    num_wrong = 0
    for _ in range(num_cases):
        scores = random.normal(0.9, 0.002, (num_settings, 5))
        ranked = sorted(scores.tolist(), key=sum, reverse=True)
        found = results_of(compare_with_best([setting(*own) for own in ranked], SCORE))
        num_wrong += "significantly worse" in found
    spread = (share * (1 - share) / num_cases) ** 0.5
    assert num_wrong / num_cases == pytest.approx(share, abs=2.6 * spread)
