"""Calibration, proper scores and abstaining: by hand, and as scikit-learn has them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, top_k_accuracy_score

from fashion_mnist.metrics import calibration
from fashion_mnist.metrics.calibration import SMALLEST, area_under_risk, reliability, select

# right, right, wrong, wrong, right; top probabilities 0.5, 0.6, 0.7, 0.9, 1
PROBABILITIES = torch.tensor(
    [[0.5, 0.25, 0.25], [0.25, 0.6, 0.15], [0.7, 0.1, 0.2], [0.05, 0.05, 0.9], [0, 0, 1]],
    dtype=torch.float64,
)
LABELS = torch.tensor([0, 1, 2, 0, 2])


def random_case(num_examples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities `[N, 4]` float32 and labels of all four classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_examples, 4, generator=generator)
    labels = torch.randint(0, 4, (num_examples,), generator=generator)
    labels[:4] = torch.arange(4)
    return torch.softmax(logits, -1), labels


cases = st.builds(random_case, st.integers(4, 60), st.integers(0, 1000))


def test_bins_hold_count_confidence_and_accuracy() -> None:
    """By hand: bins of a fifth, closed on the right, hold {0.5, 0.6}, {0.7}, {0.9, 1}."""
    bins = reliability(PROBABILITIES, LABELS, num_bins=5)
    assert bins.examples.tolist() == [0, 0, 2, 1, 2]
    assert bins.confidence.tolist() == pytest.approx([0, 0, 0.55, 0.7, 0.95])
    assert bins.accuracy.tolist() == [0, 0, 1, 0, 0.5]
    expected = (2 * 0.45 + 1 * 0.7 + 2 * 0.45) / 5
    assert calibration.calibration_error(bins) == pytest.approx(expected)


@given(cases)
def test_every_example_is_in_one_bin(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Counts add up to all; the bins' means, weighed, are the means over all."""
    probabilities, labels = case
    bins = reliability(probabilities, labels)
    confidence, predictions = probabilities.double().max(-1)
    assert len(bins.examples) == 15
    assert int(bins.examples.sum()) == len(labels)
    share = bins.examples / len(labels)
    assert float((share * bins.confidence).sum()) == pytest.approx(float(confidence.mean()))
    right = float((predictions == labels).double().mean())
    assert float((share * bins.accuracy).sum()) == pytest.approx(right)


def test_brier_score_by_hand() -> None:
    """(½² + ¼² + ¼²), (¼² + 0.4² + 0.15²), …; sure and wrong is 2, sure and right 0."""
    by_hand = [0.375, 0.245, 0.49 + 0.01 + 0.64, 0.9025 + 0.0025 + 0.81, 0]
    score = calibration.brier_score(PROBABILITIES, LABELS)
    assert score == pytest.approx(sum(by_hand) / 5)
    sure = torch.eye(3)
    assert calibration.brier_score(sure, torch.tensor([0, 1, 2])) == 0
    assert calibration.brier_score(sure, torch.tensor([1, 2, 0])) == 2


def test_likelihood_by_hand() -> None:
    """-log of what the true class was given; where that is 0 the score stays a number."""
    by_hand = [0.5, 0.6, 0.2, 0.05, 1]
    score = calibration.negative_log_likelihood(PROBABILITIES, LABELS)
    assert score == pytest.approx(-sum(map(math.log, by_hand)) / 5)
    impossible = calibration.negative_log_likelihood(torch.eye(2), torch.tensor([0, 0]))
    assert impossible == pytest.approx(-math.log(SMALLEST) / 2)


def test_true_classes_among_the_most_probable_by_hand() -> None:
    """One, two, three guesses; of equal probabilities the first class is guessed first."""
    found = [calibration.num_in_top(PROBABILITIES, LABELS, k) for k in (1, 2, 3)]
    assert found == [3, 5, 5]
    equal = torch.full((3, 3), 1 / 3)
    classes = torch.tensor([0, 1, 2])
    assert [calibration.num_in_top(equal, classes, k) for k in (1, 2, 3)] == [1, 2, 3]


@given(cases)
def test_scores_are_those_of_sklearn(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Brier score, likelihood and top-k accuracy of any case without ties."""
    probabilities, labels = case
    exact = probabilities.double()
    exact /= exact.sum(-1, keepdim=True)
    brier = brier_score_loss(labels, exact, scale_by_half=False)
    assert calibration.brier_score(exact, labels) == pytest.approx(brier)
    loss = log_loss(labels, exact)
    assert calibration.negative_log_likelihood(exact, labels) == pytest.approx(loss)
    for k in (1, 2, 3):
        count = top_k_accuracy_score(labels, exact, k=k, normalize=False)
        assert calibration.num_in_top(exact, labels, k) == count


def test_coverage_by_hand() -> None:
    """From the surest on: right, wrong, wrong, right, right."""
    selection = select(PROBABILITIES, LABELS)
    assert selection.threshold.tolist() == [1, 0.9, 0.7, 0.6, 0.5]
    assert selection.accuracy.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 2 / 4, 3 / 5])
    expected = (0 + 1 / 2 + 2 / 3 + 2 / 4 + 2 / 5) / 5
    assert area_under_risk(selection) == pytest.approx(expected)


def test_equal_confidences_do_not_depend_on_their_order() -> None:
    """Three of one confidence, one of them right: each counts a third, in any order."""
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    for labels in ([1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]):
        selection = select(probabilities, torch.tensor(labels))
        by_hand = [0, 1 / 6, 2 / 9, 1 / 4]
        assert selection.accuracy.tolist() == pytest.approx(by_hand)


@given(cases)
def test_answering_all_has_the_accuracy(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The curve ends at the accuracy; its thresholds fall; its area is between best and worst."""
    probabilities, labels = case
    selection = select(probabilities, labels)
    right = int((probabilities.argmax(-1) == labels).sum())
    assert float(selection.accuracy[-1]) == pytest.approx(right / len(labels))
    assert (selection.threshold.diff() <= 0).all()
    hits = torch.zeros(len(labels), dtype=torch.float64)
    hits[:right] = 1
    number = torch.arange(1, len(labels) + 1)
    best, worst = (float((1 - own.cumsum(0) / number).mean()) for own in (hits, hits.flip(0)))
    assert best - 1e-9 <= area_under_risk(selection) <= worst + 1e-9
