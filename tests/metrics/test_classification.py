"""The scores agree with scikit-learn, count every example once, and say zero where undefined."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fashion_mnist.metrics import classification

CLASS_NAMES = ["bag", "boot", "coat", "dress"]

# four classes: 2 is never predicted, 3 is never present (but predicted once)
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 0])
PREDICTIONS = torch.tensor([0, 1, 0, 1, 1, 1, 0, 3])
COUNTS = torch.tensor([[2, 1, 0, 1], [0, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def stacked(members: list[list[int]]) -> torch.Tensor:
    """Labels or predictions `[R, B]` from lists."""
    return torch.tensor(members, dtype=torch.int64)


labelled_predictions = st.integers(2, 6).flatmap(
    lambda num_classes: st.tuples(
        st.just(num_classes),
        st.lists(
            st.tuples(st.integers(0, num_classes - 1), st.integers(0, num_classes - 1)),
            min_size=1,
            max_size=60,
        ),
    )
)


def test_counts_have_rows_true_and_columns_predicted() -> None:
    """Each example is in the row of its class and the column of its prediction, by hand."""
    counts = classification.confusion_counts(LABELS.unsqueeze(0), PREDICTIONS.unsqueeze(0), 4)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, COUNTS.unsqueeze(0))


def test_members_are_counted_apart() -> None:
    """A member's counts are those it has alone, also beside a member that uses every class."""
    labels = stacked([[0, 0, 1], [2, 1, 0], [2, 2, 2]])
    predictions = stacked([[0, 1, 1], [2, 1, 0], [0, 1, 2]])
    counts = classification.confusion_counts(labels, predictions, 3)
    for member in range(3):
        alone = classification.confusion_counts(labels[member, None], predictions[member, None], 3)
        assert torch.equal(counts[member], alone[0])
    assert counts.sum((1, 2)).tolist() == [3, 3, 3]


def test_counts_of_batches_add_up() -> None:
    """The counts of two unequal batches sum to the counts of the whole."""
    whole = classification.confusion_counts(LABELS.unsqueeze(0), PREDICTIONS.unsqueeze(0), 4)
    parts = [
        classification.confusion_counts(LABELS[None, part], PREDICTIONS[None, part], 4)
        for part in (slice(0, 5), slice(5, 8))
    ]
    assert torch.equal(parts[0] + parts[1], whole)


def test_no_examples_count_nothing() -> None:
    """An empty batch gives zeros, and every score of them is zero and not NaN."""
    empty = torch.empty((2, 0), dtype=torch.int64)
    counts = classification.confusion_counts(empty, empty, 3)
    assert torch.equal(counts, torch.zeros(2, 3, 3, dtype=torch.int64))
    for scores in classification.summarize(counts).values():
        assert scores.tolist() == [0.0, 0.0]


@given(labelled_predictions)
def test_counts_and_scores_are_those_of_sklearn(case: tuple[int, list[tuple[int, int]]]) -> None:
    """Any labels and predictions give scikit-learn's matrix and per-class and macro scores."""
    num_classes, pairs = case
    labels, predictions = torch.tensor(pairs).T
    counts = classification.confusion_counts(labels[None], predictions[None], num_classes)[0]
    classes = range(num_classes)
    assert counts.tolist() == confusion_matrix(labels, predictions, labels=classes).tolist()
    by_class = precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0)
    ours = (
        classification.precision,
        classification.recall,
        classification.f1,
        classification.support,
    )
    for score, expected in zip(ours, by_class, strict=True):
        np.testing.assert_allclose(score(counts).numpy(), expected, rtol=1e-12)
    macro = precision_recall_fscore_support(
        labels, predictions, labels=classes, zero_division=0, average="macro"
    )
    for score, expected in zip(ours[:3], macro[:3], strict=True):
        assert float(classification.macro(score(counts))) == pytest.approx(expected, rel=1e-12)


def test_classes_never_predicted_or_present_score_zero() -> None:
    """Zero, by hand, where a class is never predicted or never present; the macro mean keeps it."""
    assert classification.precision(COUNTS).tolist() == [2 / 3, 2 / 4, 0.0, 0.0]
    assert classification.recall(COUNTS).tolist() == [2 / 4, 2 / 2, 0.0, 0.0]
    assert classification.f1(COUNTS).tolist() == [4 / 7, 4 / 6, 0.0, 0.0]
    assert classification.support(COUNTS).tolist() == [4, 2, 2, 0]
    assert float(classification.accuracy(COUNTS)) == 4 / 8
    assert float(classification.macro(classification.recall(COUNTS))) == 1.5 / 4


def test_summary_of_a_stack_is_each_members_summary() -> None:
    """The four scores of counts `[R, C, C]` are those of each member alone, in float64."""
    stack = torch.stack([COUNTS, COUNTS.T, torch.eye(4, dtype=torch.int64)])
    summary = classification.summarize(stack)
    assert list(summary) == ["accuracy", "precision_macro", "recall_macro", "f1_macro"]
    for name, values in summary.items():
        alone = [float(classification.summarize(counts)[name]) for counts in stack]
        assert values.dtype == torch.float64
        assert values.tolist() == alone
    by_hand = [0.5, (2 / 3 + 2 / 4) / 4, 1.5 / 4, (4 / 7 + 4 / 6) / 4]
    assert [float(values[0]) for values in summary.values()] == pytest.approx(by_hand)
    assert {name: values[2].item() for name, values in summary.items()} == dict.fromkeys(summary, 1)


def test_calibration_error_of_a_case_worked_by_hand() -> None:
    """Bins closed on the right, gaps summed within a bin and weighed by its examples, by hand."""
    top = [0.5, 0.6, 0.7, 0.9]
    probabilities = torch.tensor([[p, 1 - p] for p in top], dtype=torch.float64)
    # bins of width 0.2 hold {0.5, 0.6}, {0.7} and {0.9}
    labels = torch.tensor([0, 0, 1, 0])
    expected = (abs(2 - 1.1) + abs(0 - 0.7) + abs(1 - 0.9)) / 4
    error = classification.expected_calibration_error(probabilities, labels, num_bins=5)
    assert error == pytest.approx(expected, abs=1e-12)
    # one bin sees only the averages: 3 of 4 right, mean confidence 2.7 / 4
    coarse = classification.expected_calibration_error(probabilities, labels, num_bins=1)
    assert coarse == pytest.approx(abs(3 - 2.7) / 4, abs=1e-12)


def test_calibration_error_at_the_ends() -> None:
    """Sure and right is 0; sure and wrong is 1; a probability of 1 falls into the last bin."""
    sure = torch.eye(3)
    assert classification.expected_calibration_error(sure, torch.tensor([0, 1, 2])) == 0.0
    assert classification.expected_calibration_error(sure, torch.tensor([1, 2, 0])) == 1.0


def test_report_has_classes_then_averages() -> None:
    """A row per class, then macro, weighted (scikit-learn's) and accuracy, each over all 8."""
    rows = classification.classification_report(COUNTS, CLASS_NAMES)
    averages = ["macro average", "weighted average", "accuracy"]
    assert [row["class"] for row in rows] == CLASS_NAMES + averages
    assert rows[0] == {"class": "bag", "precision": 2 / 3, "recall": 0.5, "f1": 4 / 7, "support": 4}
    weighted = precision_recall_fscore_support(
        LABELS, PREDICTIONS, labels=range(4), zero_division=0, average="weighted"
    )
    row = rows[4]
    macro = [(2 / 3 + 2 / 4) / 4, 1.5 / 4, (4 / 7 + 4 / 6) / 4]
    assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(macro)
    row = rows[5]
    assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(list(weighted[:3]))
    assert rows[6] == {
        "class": "accuracy",
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 8,
    }
    assert [row["support"] for row in rows[4:]] == [8, 8, 8]


def test_most_confused_is_ordered_and_leaves_out_the_right_and_the_absent() -> None:
    """Mistakes by falling count, ties in the classes' order, no diagonal, no zero, no surplus."""
    counts = torch.tensor([[90, 3, 7], [0, 50, 3], [9, 0, 1]])
    names = ["Shirt", "Coat", "Bag"]
    found = classification.most_confused(counts, names)
    assert found == [
        ("Bag", "Shirt", 9, 10),
        ("Shirt", "Bag", 7, 100),
        ("Shirt", "Coat", 3, 100),
        ("Coat", "Bag", 3, 53),
    ]
    assert classification.most_confused(counts, names, limit=2) == found[:2]
    assert classification.most_confused(torch.diag(torch.tensor([5, 5, 5])), names) == []


def test_confusion_is_said_with_the_true_class_first() -> None:
    """The words name the true class, what it was taken for, how often, and of how many."""
    confusion = classification.Confusion("Shirt", "T-shirt/top", 112, 1000)
    words = classification.confusion_in_words(confusion)
    assert words == "Shirt taken for T-shirt/top: 112 of 1000"
