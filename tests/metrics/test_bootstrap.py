"""Bootstrap intervals, by hand and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_score, recall_score

from fashion_mnist.metrics import bootstrap as resampling
from fashion_mnist.metrics.bootstrap import Difference, bootstrap

Classes = NDArray[np.int64]


def classes(*values: int) -> Classes:
    return np.array(values, dtype=np.int64)


def pair(num_images: int, seed: int) -> tuple[Classes, Classes, Classes]:
    """Labels of three classes, and two networks that have 80 % and 70 % of them right."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, num_images)
    guesses = random.integers(0, 3, (2, num_images))
    first = np.where(random.random(num_images) < 0.7, labels, guesses[0])  # 0.7 + 0.3 / 3
    second = np.where(random.random(num_images) < 0.55, labels, guesses[1])
    return labels, first, second


def test_four_images_by_hand() -> None:
    """Of class 1, one of two images apart: drawn never, once, twice in 1/4, 1/2, 1/4 of cases."""
    labels, first, second = classes(0, 0, 1, 1), classes(0, 0, 1, 1), classes(0, 0, 1, 0)
    result = bootstrap(labels, first, second, num_classes=2, is_stratified=True)
    assert result.scores["accuracy"] == Difference(-0.25, (-0.5, 0))  # type: ignore[arg-type]  # as a tuple
    # first: F1 is 1, 1. second: of class 0, 2 of 3 named are right, 4/5; of class 1, 2/3
    assert [each.value for each in result.f1] == pytest.approx([-1 / 5, -1 / 3])
    # drawn twice: of class 0 2 of 4 named are right, 2/3; class 1 is never named, 0
    assert result.f1[0].interval == pytest.approx((-1 / 3, 0))
    assert result.f1[1].interval == pytest.approx((-1, 0))


def test_a_resample_has_the_classes_in_their_proportions() -> None:
    """Class 0 is always right by the first and never by the second: no accuracy varies."""
    labels = np.repeat(classes(0, 1), 50)
    result = bootstrap(labels, labels, np.ones_like(labels), num_classes=2, is_stratified=True)
    assert result.scores["accuracy"] == Difference(-0.5, (-0.5, -0.5))  # type: ignore[arg-type]  # as a tuple
    free = bootstrap(labels, labels, np.ones_like(labels), num_classes=2, is_stratified=False)
    assert free.scores["accuracy"].interval == pytest.approx((-0.6, -0.4), abs=0.02)


def test_scores_are_sklearns() -> None:
    """The observed differences, of accuracy and of each F1."""
    labels, first, second = pair(400, seed=1)
    result = bootstrap(labels, first, second, num_classes=3, is_stratified=True, num_resamples=10)
    assert result.scores["accuracy"].value == pytest.approx(
        (second == labels).mean() - (first == labels).mean()
    )
    f1 = f1_score(labels, second, average=None) - f1_score(labels, first, average=None)
    assert [each.value for each in result.f1] == pytest.approx(f1)
    assert result.scores["f1_macro"].value == pytest.approx(f1.mean())
    for name, score in (("precision_macro", precision_score), ("recall_macro", recall_score)):
        gap = score(labels, second, average="macro") - score(labels, first, average="macro")
        assert result.scores[name].value == pytest.approx(gap)


def test_accuracys_interval_is_the_normal_one() -> None:
    """With many images that of a stratified mean of differences, ± 1.96 standard errors."""
    labels, first, second = pair(5000, seed=2)
    gaps = (second == labels).astype(float) - (first == labels)
    variance = sum((labels == k).sum() * gaps[labels == k].var() for k in range(3))
    reach = 1.96 * np.sqrt(variance) / len(gaps)
    interval = (
        bootstrap(labels, first, second, num_classes=3, is_stratified=True)
        .scores["accuracy"]
        .interval
    )
    assert interval == pytest.approx((gaps.mean() - reach, gaps.mean() + reach), abs=0.03 * reach)


def test_resampling_kinds_is_resampling_images() -> None:
    """Intervals of macro F1 as from a plain bootstrap, image by image."""
    labels, first, second = pair(150, seed=3)
    random, drawn = np.random.default_rng(0), []
    for _ in range(1500):
        own = np.concatenate(
            [random.choice(np.flatnonzero(labels == k), (labels == k).sum()) for k in range(3)]
        )
        scores = [f1_of(labels[own], predicted[own]) for predicted in (first, second)]
        drawn.append(scores[1] - scores[0])
    interval = (
        bootstrap(labels, first, second, num_classes=3, is_stratified=True)
        .scores["f1_macro"]
        .interval
    )
    assert interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_interval_covers_the_truth_in_95_of_100_cases() -> None:
    """Accuracies of 0.8 and 0.7: their difference lies within for 93 to 97 % of data sets."""
    intervals = [
        bootstrap(*pair(300, seed), num_classes=3, is_stratified=True, num_resamples=600)
        .scores["accuracy"]
        .interval
        for seed in range(600)
    ]
    covered = [low <= -0.1 <= high for low, high in intervals]
    assert 0.925 < np.mean(covered) < 0.97


def test_a_network_does_not_differ_from_itself() -> None:
    """Every difference and every end of an interval is 0."""
    labels, first, _ = pair(200, seed=4)
    result = bootstrap(labels, first, first, num_classes=3, is_stratified=True, num_resamples=200)
    for difference in (*result.scores.values(), *result.f1):
        assert difference == Difference(0.0, (0.0, 0.0))  # type: ignore[arg-type]  # the same


def test_same_arguments_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the resamples are drawn in small parts; another seed gives others."""
    arguments = pair(300, seed=5)
    once = bootstrap(*arguments, num_classes=3, is_stratified=True, num_resamples=500)
    assert once != bootstrap(
        *arguments, num_classes=3, is_stratified=True, num_resamples=500, seed=1
    )
    monkeypatch.setattr(resampling, "MOST_NUMBERS", 1000)
    assert once == bootstrap(*arguments, num_classes=3, is_stratified=True, num_resamples=500)


def test_a_class_that_is_never_predicted_has_no_difference() -> None:
    """A fourth class is in neither labels nor predictions."""
    result = bootstrap(*pair(100, seed=6), num_classes=4, is_stratified=True, num_resamples=100)
    assert result.f1[3] == Difference(0.0, (0.0, 0.0))  # type: ignore[arg-type]  # the same


def f1_of(labels: Classes, predicted: Classes) -> float:
    """Macro F1 of the three classes."""
    scores = []
    for label in range(3):
        right = ((labels == label) & (predicted == label)).sum()
        scores.append(2 * right / max((labels == label).sum() + (predicted == label).sum(), 1))
    return float(np.mean(scores))
