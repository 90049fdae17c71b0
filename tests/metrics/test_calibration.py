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
    assert calibration.expected_calibration_error(bins) == pytest.approx(expected)


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


def error_of(probabilities: torch.Tensor, labels: torch.Tensor, num_bins: int = 15) -> float:
    return calibration.expected_calibration_error(reliability(probabilities, labels, num_bins))


def test_calibration_error_of_a_case_worked_by_hand() -> None:
    """Bins closed on the right, gaps summed within a bin and weighed by its examples, by hand."""
    top = [0.5, 0.6, 0.7, 0.9]
    probabilities = torch.tensor([[p, 1 - p] for p in top], dtype=torch.float64)
    # bins of width 0.2 hold {0.5, 0.6}, {0.7} and {0.9}
    labels = torch.tensor([0, 0, 1, 0])
    expected = (abs(2 - 1.1) + abs(0 - 0.7) + abs(1 - 0.9)) / 4
    error = error_of(probabilities, labels, 5)
    assert error == pytest.approx(expected, abs=1e-12)
    # one bin sees only the averages: 3 of 4 right, mean confidence 2.7 / 4
    coarse = error_of(probabilities, labels, 1)
    assert coarse == pytest.approx(abs(3 - 2.7) / 4, abs=1e-12)


def test_calibration_error_at_the_ends() -> None:
    """Sure and right is 0; sure and wrong is 1; a probability of 1 falls into the last bin."""
    sure = torch.eye(3)
    assert error_of(sure, torch.tensor([0, 1, 2])) == 0.0
    assert error_of(sure, torch.tensor([1, 2, 0])) == 1.0


def test_brier_score_by_hand() -> None:
    """(½² + ¼² + ¼²), (¼² + 0.4² + 0.15²), …; sure and wrong is 2, sure and right 0."""
    by_hand = [0.375, 0.245, 0.49 + 0.01 + 0.64, 0.9025 + 0.0025 + 0.81, 0]
    score = calibration.brier_score(PROBABILITIES, LABELS)
    assert score == pytest.approx(sum(by_hand) / 5)
    sure = torch.eye(3)
    assert calibration.brier_score(sure, torch.tensor([0, 1, 2])) == 0
    assert calibration.brier_score(sure, torch.tensor([1, 2, 0])) == 2


@pytest.mark.parametrize("num_classes", [2, 4])
def test_brier_score_is_its_formula_for_any_classes(num_classes: int) -> None:
    """In float32, with two classes as with more, and where a class has no example."""
    probabilities = random_case(40, 3)[0][:, :num_classes]
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    labels = torch.zeros(40, dtype=torch.int64)
    labels[:9] = 1
    truth = torch.nn.functional.one_hot(labels, num_classes)
    expected = float((probabilities.double() - truth).square().sum(-1).mean())
    assert calibration.brier_score(probabilities, labels) == pytest.approx(expected, rel=1e-6)


def test_likelihood_by_hand() -> None:
    """-log of what the true class was given; where that is 0 the score stays a number."""
    by_hand = [0.5, 0.6, 0.2, 0.05, 1]
    score = calibration.nll_of_probabilities(PROBABILITIES, LABELS)
    assert score == pytest.approx(-sum(map(math.log, by_hand)) / 5)
    impossible = calibration.nll_of_probabilities(torch.eye(2), torch.tensor([0, 0]))
    assert impossible == pytest.approx(-math.log(SMALLEST) / 2)


def test_true_classes_among_the_most_probable_by_hand() -> None:
    """One, two, three guesses; of equal probabilities the first class is guessed first."""
    found = [calibration.num_in_top(PROBABILITIES, LABELS, k) for k in (1, 2, 3)]
    assert found == [3, 5, 5]
    equal = torch.full((3, 3), 1 / 3)
    classes = torch.tensor([0, 1, 2])
    assert [calibration.num_in_top(equal, classes, k) for k in (1, 2, 3)] == [1, 2, 3]


def test_likelihood_of_logits_by_hand() -> None:
    """ln 4 where all four are equal; 200 nats of a sure mistake are not cut; runs stay apart."""
    logits = torch.tensor([[[1.0, 1, 1, 1], [2, 2, 2, 2]], [[200.0, 0, 0, 0], [0, 0, 0, 0]]])
    labels = torch.tensor([[0, 3], [1, 2]])
    by_hand = [math.log(4), (200 + math.log(4)) / 2]
    assert calibration.nll(logits, labels).tolist() == pytest.approx(by_hand)
    assert calibration.nll(logits[0], labels[0]).item() == pytest.approx(by_hand[0])


@given(cases)
def test_likelihood_of_logits_is_that_of_their_probabilities(
    case: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Logits are known up to a constant of each example."""
    probabilities, labels = case
    logits = probabilities.log() + torch.arange(len(labels)).unsqueeze(-1)
    expected = calibration.nll_of_probabilities(probabilities, labels)
    assert calibration.nll(logits, labels).item() == pytest.approx(expected, rel=1e-5)


@given(cases)
def test_scores_are_those_of_sklearn(case: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Likelihood, Brier score and top-k accuracy of any case without ties."""
    probabilities, labels = case
    exact = probabilities.double()
    exact /= exact.sum(-1, keepdim=True)
    loss = log_loss(labels, exact)
    assert calibration.nll_of_probabilities(exact, labels) == pytest.approx(loss)
    classes = range(exact.shape[1])
    brier = brier_score_loss(labels, exact, labels=classes, scale_by_half=False)
    assert calibration.brier_score(exact, labels) == pytest.approx(brier, abs=1e-12)
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
