"""Intervals and tests, against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from fashion_mnist.metrics.statistics import (
    common_repetitions,
    corrected_paired_test,
    holm,
    mcnemar_test,
    paired_test,
    ranking,
    statistic,
    wilson_interval,
)

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_interval_of_a_mean_by_hand() -> None:
    """Of 1, 2, 3: 2 ± 4.3027 · 1/√3."""
    figure = statistic([1, 2, 3])
    assert (figure.mean, figure.std, figure.n) == (2, 1, 3)
    assert figure.interval == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_interval_of_a_mean_is_scipys(random: np.random.Generator) -> None:
    """The t interval of `scipy.stats`, for any number of values."""
    for n in (2, 3, 10, 200):
        values = random.normal(0.9, 0.01, n)
        expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert statistic(values.tolist()).interval == pytest.approx(expected, rel=1e-12)


def test_one_value_has_no_spread() -> None:
    """Neither a standard deviation nor an interval."""
    figure = statistic([0.9])
    assert (figure.mean, figure.std, figure.n, figure.interval) == (0.9, None, 1, None)


def test_paired_test_is_scipys(random: np.random.Generator) -> None:
    """p and interval of `scipy.stats.ttest_rel`, second less first."""
    for n in (2, 3, 10):
        first, second = random.normal(0.9, 0.01, (2, n))
        ours = paired_test(first.tolist(), second.tolist())
        theirs = stats.ttest_rel(second, first)
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
        assert ours.interval == pytest.approx(theirs.confidence_interval(), rel=1e-9)


def test_two_pairs_tell_little() -> None:
    """Twice better by one and by two points: p = 0.205, for 1.5 points ± 6.35."""
    test = paired_test([0.80, 0.80], [0.81, 0.82])
    assert test.p == pytest.approx(0.2048, abs=1e-4)
    assert test.interval == pytest.approx((0.015 - 0.06353, 0.015 + 0.06353), abs=1e-4)


def test_equal_differences_give_no_p() -> None:
    """There is no scatter to judge by, also where only rounding makes the differences differ."""
    assert paired_test([0.9, 0.8], [0.93, 0.83]).p is None
    assert 0.93 - 0.9 != 0.83 - 0.8


def test_runs_are_level_with_themselves(random: np.random.Generator) -> None:
    """p = 1."""
    scores = random.random(3).tolist()
    assert paired_test(scores, scores).p == 1


def test_one_pair_is_refused() -> None:
    """A test of one pair would be an answer without a ground."""
    with pytest.raises(ValueError, match="two pairs"):
        paired_test([0.9], [0.8])


def test_corrected_paired_test_by_hand() -> None:
    """Mean 2, s = 1, k = 3, v/n = 1/6: the mean's error is √(1/3 + 1/6), t = 2.828, p = 0.1056."""
    test = corrected_paired_test([0, 0, 0], [1, 2, 3], num_validation=10, num_training=60)
    reach = stats.t.ppf(0.975, 2) * 0.5**0.5
    assert test.p == pytest.approx(0.10557, abs=1e-5)
    assert test.interval == pytest.approx((2 - reach, 2 + reach))


def runs(*scores: float, first_seed: int = 0) -> dict[tuple[str, str], float]:
    """Scores of the seeds from `first_seed` on."""
    return {(str(first_seed + number), "0"): score for number, score in enumerate(scores)}


def test_settings_rank_by_the_repetitions_that_they_share() -> None:
    """The second has an easy seed more; on the two seeds of both the first is better."""
    assert ranking([runs(0.8, 0.9, 0.99), runs(0.81, 0.91)], num_repetitions=2) == [1, 0]
    assert ranking([runs(0.8), runs(0.9, first_seed=1)], num_repetitions=1) == [1, 0]


def test_settings_with_fewer_repetitions_follow() -> None:
    """However good the one run is; those without a score come last, and ties keep their order."""
    settings = [{}, runs(0.99), runs(0.7, 0.7), runs(0.7, 0.7), runs(0.8, 0.8)]
    assert ranking(settings, num_repetitions=2) == [4, 2, 3, 1, 0]
    assert ranking(settings, num_repetitions=2, lower_is_better=True) == [2, 3, 4, 1, 0]


def test_repetitions_are_what_two_settings_have() -> None:
    """The largest such number; of one setting, its own."""
    assert [common_repetitions(each) for each in ([5, 3, 3, 1], [5, 1], [4], [])] == [3, 1, 4, 0]


def test_mcnemar_by_hand() -> None:
    """1 and 5 alone: twice the chance of at most one head in six throws, 2 · 7/64."""
    first = np.array([True] * 4 + [False] * 6)
    second = np.array([True] * 3 + [False] + [True] * 5 + [False])
    test = mcnemar_test(first, second)
    assert (test.first_alone, test.second_alone, test.num_images) == (1, 5, 10)
    assert test.p == pytest.approx(2 * 7 / 64)
    assert test.difference == pytest.approx(0.4)


def test_mcnemar_is_scipys_binomial_test(random: np.random.Generator) -> None:
    """The exact p-value, for few images and for many."""
    for num_images in (5, 60, 10_000):
        first, second = right(random, num_images, 0.9), right(random, num_images, 0.88)
        test = mcnemar_test(first, second)
        num_alone = test.first_alone + test.second_alone
        expected = stats.binomtest(test.first_alone, num_alone).pvalue if num_alone else 1
        assert test.p == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_symmetric(random: np.random.Generator) -> None:
    """Whoever comes first, the p is the same and the difference has the other sign."""
    first, second = right(random, 500, 0.9), right(random, 500, 0.85)
    one, other = mcnemar_test(first, second), mcnemar_test(second, first)
    assert one.p == other.p
    assert one.difference == -other.difference


def test_a_network_is_level_with_itself(random: np.random.Generator) -> None:
    """p = 1, difference 0."""
    own = right(random, 100, 0.9)
    assert mcnemar_test(own, own).p == 1
    assert mcnemar_test(own, own).difference == 0


def test_mcnemar_keeps_its_level(random: np.random.Generator) -> None:
    """Two networks that are equally good differ significantly in 5 % of cases at most."""
    pairs = (right(random, 300, 0.9) for _ in range(2000))
    p_values = np.array([mcnemar_test(first, next(pairs)).p for first in pairs])
    assert (p_values <= 0.05).mean() < 0.06


def test_wilson_interval_is_scipys() -> None:
    """Also at both ends, where it does not leave [0, 1]."""
    for num_right, num_images in ((0, 10), (10, 10), (9016, 10_000), (1, 3)):
        theirs = stats.binomtest(num_right, num_images).proportion_ci(0.95, method="wilson")
        expected = (theirs.low, theirs.high)
        assert wilson_interval(num_right, num_images) == pytest.approx(expected, abs=1e-12)


def test_holm_by_hand() -> None:
    """0.01 · 4, 0.02 · 3, 0.03 · 2 is no smaller than the one before, 0.8."""
    assert holm([0.03, 0.01, 0.8, 0.02]) == pytest.approx([0.06, 0.04, 0.8, 0.06])
    assert holm([]) == []


@given(P_VALUES)
def test_holm_is_monotone_and_between_none_and_bonferroni(p_values: list[float]) -> None:
    """A smaller p stays smaller or equal; no p falls, none rises by more than their number."""
    corrected = holm(p_values)
    in_order = [corrected[index] for index in np.argsort(p_values)]
    assert in_order == sorted(in_order)
    for before, after in zip(p_values, corrected, strict=True):
        assert before <= after <= min(1, len(p_values) * before)


@given(P_VALUES, st.data())
@settings(max_examples=200)
def test_holm_of_some_is_no_smaller(p_values: list[float], data: st.DataObject) -> None:
    """Where only some of the tests are made, none passes that would not beside all others."""
    some = data.draw(st.sets(st.integers(0, len(p_values) - 1), min_size=1).map(sorted))
    alone = holm([p_values[index] for index in some], len(p_values))
    beside = holm(p_values)
    for index, corrected in zip(some, alone, strict=True):
        assert corrected >= beside[index]


def right(random: np.random.Generator, num_images: int, share: float) -> NDArray[np.bool_]:
    """A network that has this share right, by chance."""
    return random.random(num_images) < share
