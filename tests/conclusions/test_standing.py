"""Who cannot be told apart from the best."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fashion_mnist.conclusions.predictions import Predictions, PredictionsError
from fashion_mnist.conclusions.standing import ScoredRun, ScoredRuns, Standing, standings

SPLIT = "a" * 64


def never() -> Predictions:
    raise AssertionError("predictions are read for single runs alone")


def setting(*scores: float, split: str = "fold", first_seed: int = 0) -> ScoredRuns:
    """A setting with a run for each seed."""
    return {
        (str(first_seed + number), "0"): ScoredRun(score, split, never)
        for number, score in enumerate(scores)
    }


def single(
    num_right: int,
    *,
    split: str = SPLIT,
    is_known: bool = True,
    seed: int = 0,
    size: int = 1000,
) -> ScoredRuns:
    """A setting with one run, which has the first so many of 1000 images right."""

    def read() -> Predictions:
        labels = np.arange(size) % 2
        predicted = np.where(np.arange(size) < num_right, labels, 1 - labels)
        return Predictions(np.eye(2, dtype=np.float32)[predicted], labels, split)

    return {(str(seed), "0"): ScoredRun(num_right / size, split[:24] if is_known else "", read)}


def verdicts(all_standings: Sequence[Standing]) -> list[str]:
    return [standing.verdict for standing in all_standings]


def test_a_clear_gap_is_found_and_a_small_one_is_not() -> None:
    """Seeds scatter by a tenth of a point: two points are worse, a hundredth is not."""
    best, close = setting(0.901, 0.900, 0.899, 0.9), setting(0.9, 0.9005, 0.899, 0.9001)
    result = standings([best, close, setting(0.881, 0.8795, 0.88, 0.8805)])
    assert verdicts(result) == ["best", "not told apart", "worse"]
    assert [standing.test for standing in result] == ["", "paired t", "paired t"]
    assert result[2].n == 4
    assert result[2].difference == pytest.approx(-0.01975)


def test_only_common_seeds_are_paired() -> None:
    """Of seeds 0 to 3 and 2 to 5 two are common."""
    result = standings([setting(0.9, 0.91, 0.92, 0.93), setting(0.9, 0.9, 0.9, 0.9, first_seed=2)])
    assert result[1].n == 2
    assert result[1].difference == pytest.approx(-0.025)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (setting(0.8, 0.81, first_seed=5), "no seed in common"),
        (setting(0.8), "one seed in common"),
        (setting(0.8, 0.81, split="another"), "another split"),
        (setting(0.88, 0.89), "all seeds differ by the same"),
    ],
)
def test_what_cannot_be_tested_says_why(other: ScoredRuns, why: str) -> None:
    """No test without common seeds, on other images, or where nothing scatters."""
    _, standing = standings([setting(0.9, 0.91), other])
    assert (standing.verdict, standing.test, standing.p) == ("not tested", "", None)
    assert why in standing.why


def test_unknown_images_are_nobodys() -> None:
    """Where the splits are not known they are not taken for the same."""
    _, standing = standings([setting(0.9, 0.91, split=""), setting(0.8, 0.82, split="")])
    assert standing.verdict == "not tested"


def test_single_runs_are_judged_by_their_images() -> None:
    """McNemar's test: 40 images are a difference, 3 are none; the seed does not matter."""
    result = standings([single(900), single(897, seed=7), single(860)])
    assert verdicts(result) == ["best", "not told apart", "worse"]
    assert [standing.test for standing in result[1:]] == ["McNemar", "McNemar"]
    assert [standing.p for standing in result[1:]] == pytest.approx([0.25, 2 * 0.5**40])
    assert result[2].difference == pytest.approx(-0.04)


@pytest.mark.parametrize(
    "other",
    [
        single(800, split="b" * 64),
        single(800, split="b" * 64, is_known=False),
        single(80, size=100),
    ],
)
def test_other_images_are_not_compared(other: ScoredRuns) -> None:
    """Neither another split's hash, nor the same one over other labels."""
    _, standing = standings([single(900), other])
    assert (standing.verdict, standing.why) == ("not tested", "measured on another split")


def test_predictions_that_are_gone_are_no_comparison() -> None:
    """The reason is said."""

    def gone() -> Predictions:
        raise PredictionsError("predictions.npz is not there")

    lost = {("0", "0"): ScoredRun(0.8, SPLIT[:24], gone)}
    _, standing = standings([single(900), lost])
    assert (standing.verdict, standing.why) == ("not tested", "predictions.npz is not there")


@pytest.mark.parametrize("twice", [lambda: setting(0.9, 0.91, 0.92), lambda: single(900)])
def test_identical_settings_are_never_told_apart(twice: Callable[[], ScoredRuns]) -> None:
    """p = 1, however many others there are."""
    result = standings([twice(), twice(), twice()])
    assert verdicts(result) == ["best", "not told apart", "not told apart"]
    assert [standing.p_holm for standing in result[1:]] == [1, 1]


def test_many_comparisons_ask_for_more() -> None:
    """p = 0.03 alone is worse; beside nine others that show nothing it is not."""
    best, other = single(900), single(894)  # 6 of 6 images: p = 0.031
    assert verdicts(standings([best, other])) == ["best", "worse"]
    crowd = [best, other, *(single(899) for _ in range(9))]
    assert verdicts(standings(crowd))[1] == "not told apart"
    some = standings(crowd, most_read=3)
    assert [standing.p_holm for standing in some[1:4]] == pytest.approx([0.3125, 1, 1])
    assert {standing.why for standing in some[4:]} == {"too far behind to be looked at"}


def test_whoever_wins_on_common_seeds_is_not_worse() -> None:
    """The best has the best mean over all its seeds, and loses clearly on those of both."""
    best = setting(0.90, 0.90001, 0.90002, 0.99)
    other = setting(0.91, 0.91002, 0.91001)
    _, standing = standings([best, other])
    assert standing.p is not None
    assert standing.p < 0.001
    assert standing.verdict == "not told apart"


def test_equal_settings_are_called_worse_as_often_as_the_docstring_says() -> None:
    """Ten equal settings of five seeds: somebody is called worse in 12 % of cases."""
    random = np.random.default_rng(0)
    num_wrong = 0
    for _ in range(400):
        scores = random.normal(0.9, 0.002, (10, 5))
        ranked = sorted(scores.tolist(), key=sum, reverse=True)
        num_wrong += "worse" in verdicts(standings([setting(*own) for own in ranked]))
    assert 0.07 < num_wrong / 400 < 0.17
