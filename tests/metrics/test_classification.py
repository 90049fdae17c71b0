"""The scores agree with scikit-learn, also where classes are absent, and count every image once."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from fashion_mnist.metrics import classification
from fashion_mnist.metrics.confusions import Confusion, absent_classes, most_confused

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


def counts_of(labels: torch.Tensor, predictions: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Counts `[C, C]` of labels and predictions `[N]`."""
    return classification.confusion_counts(labels[None], predictions[None], num_classes)[0]


def same(ours: float | None, theirs: float) -> bool:
    """Whether None stands where scikit-learn has NaN, and else the numbers are equal."""
    return math.isnan(theirs) if ours is None else ours == pytest.approx(theirs, rel=1e-12)


@given(labelled_predictions)
def test_scores_of_an_epoch_are_those_of_sklearn(
    case: tuple[int, list[tuple[int, int]]],
) -> None:
    """Also where classes are absent or never predicted: the same macro averages by default."""
    num_classes, pairs = case
    labels, predictions = torch.tensor(pairs).T
    counts = counts_of(labels, predictions, num_classes)
    classes = range(num_classes)
    assert counts.tolist() == confusion_matrix(labels, predictions, labels=classes).tolist()
    precision, _, f1, _ = precision_recall_fscore_support(
        labels, predictions, zero_division=0, average="macro"
    )
    with warnings.catch_warnings():  # it warns of predicted classes that are absent
        warnings.simplefilter("ignore", UserWarning)
        recall = balanced_accuracy_score(labels, predictions)
    assert {key: float(value) for key, value in classification.summarize(counts).items()} == {
        "accuracy": pytest.approx(accuracy_score(labels, predictions), rel=1e-12),
        "precision_macro": pytest.approx(precision, rel=1e-12),
        "recall_macro": pytest.approx(recall, rel=1e-12),
        "f1_macro": pytest.approx(f1, rel=1e-12),
    }


@given(labelled_predictions)
def test_report_is_that_of_sklearn(case: tuple[int, list[tuple[int, int]]]) -> None:
    """All classes have a row; None where a score is undefined; averages are each epoch's."""
    num_classes, pairs = case
    labels, predictions = torch.tensor(pairs).T
    counts = counts_of(labels, predictions, num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    rows = classification.classification_report(counts, names)
    theirs = precision_recall_fscore_support(
        labels, predictions, labels=range(num_classes), zero_division=math.nan
    )
    for row, precision, recall, f1, support in zip(rows, *theirs, strict=False):
        never_predicted = support > 0 and math.isnan(precision)
        assert same(row["precision"], 0.0 if never_predicted else precision)
        assert same(row["recall"], recall)
        assert same(row["f1"], f1)
        assert row["support"] == support
    assert classification.class_f1(counts) == pytest.approx([row["f1"] for row in rows[:-3]])
    macro = rows[num_classes]
    summary = {key: float(value) for key, value in classification.summarize(counts).items()}
    for key in ("precision", "recall", "f1"):
        assert macro[key] == pytest.approx(summary[f"{key}_macro"], rel=1e-12)


def test_absent_classes_are_no_part_of_macro_recall() -> None:
    """By hand: class 2 is never predicted (0 counts), class 3 has no image (no recall)."""
    summary = {key: float(value) for key, value in classification.summarize(COUNTS).items()}
    assert summary == {
        "accuracy": 4 / 8,
        "precision_macro": pytest.approx((2 / 3 + 2 / 4 + 0 + 0) / 4),
        "recall_macro": pytest.approx((2 / 4 + 2 / 2 + 0) / 3),
        "f1_macro": pytest.approx((4 / 7 + 4 / 6 + 0 + 0) / 4),
    }
    line = absent_classes(COUNTS.tolist(), CLASS_NAMES)
    assert line == "No image of dress: macro recall is the mean over the other 3 classes"
    assert absent_classes(COUNTS[:3, :3].tolist(), CLASS_NAMES[:3]) == ""


def test_names_without_images_do_not_lower_a_perfect_score() -> None:
    """Two names, images of one class only, all right: every score is 1."""
    counts = torch.tensor([[7, 0], [0, 0]])
    assert {float(value) for value in classification.summarize(counts).values()} == {1.0}
    _, absent, macro, weighted, accuracy = classification.classification_report(counts, ["a", "b"])
    assert absent == {"class": "b", "precision": None, "recall": None, "f1": None, "support": 0}
    for row in (macro, weighted, accuracy):
        assert (row["precision"], row["recall"], row["f1"]) == (1, 1, 1)


def test_summary_of_a_stack_is_each_members_summary() -> None:
    """The four scores of counts `[R, C, C]` are those of each member alone, in float64."""
    stack = torch.stack([COUNTS, COUNTS.T, torch.eye(4, dtype=torch.int64)])
    summary = classification.summarize(stack)
    assert list(summary) == ["accuracy", "precision_macro", "recall_macro", "f1_macro"]
    for name, values in summary.items():
        alone = [float(classification.summarize(counts)[name]) for counts in stack]
        assert values.dtype == torch.float64
        assert values.tolist() == alone
    by_hand = [0.5, (2 / 3 + 2 / 4) / 4, 1.5 / 3, (4 / 7 + 4 / 6) / 4]
    assert [float(values[0]) for values in summary.values()] == pytest.approx(by_hand)
    assert {name: values[2].item() for name, values in summary.items()} == dict.fromkeys(summary, 1)


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
    macro = [(2 / 3 + 2 / 4) / 4, 1.5 / 3, (4 / 7 + 4 / 6) / 4]
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
    counts = [[90, 3, 7], [0, 50, 3], [9, 0, 1]]
    names = ["Shirt", "Coat", "Bag"]
    found = most_confused(counts, names)
    assert found == [
        ("Bag", "Shirt", 9, 10),
        ("Shirt", "Bag", 7, 100),
        ("Shirt", "Coat", 3, 100),
        ("Coat", "Bag", 3, 53),
    ]
    assert most_confused(counts, names, limit=2) == found[:2]
    assert most_confused([[5, 0, 0], [0, 5, 0], [0, 0, 5]], names) == []


def test_confusion_is_said_with_the_true_class_first() -> None:
    """The words name the true class, what it was taken for, how often, and of how many."""
    assert (
        Confusion("Shirt", "T-shirt/top", 112, 1000).words()
        == "Shirt taken for T-shirt/top: 112 of 1000"
    )
