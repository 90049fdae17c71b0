"""Turns predictions into figures: confusion counts, and every score that follows from them.

`R` runs in the stack, `B` batch, `N` examples, `C` classes. Counts add up over batches and are
divided once, at the end. `confusion_counts` runs wherever its arguments are; the scores are
float64 and want their counts on the host (not every accelerator has float64).
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from fashion_mnist.metrics.calibration import calibration_error, reliability


class Confusion(NamedTuple):
    """One kind of mistake: `count` of the `support` examples of `true` were called `predicted`."""

    true: str
    predicted: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks of this
    support: int


# "class" is a keyword of Python, so this type can not be written as a class body
ReportRow = TypedDict(
    "ReportRow",
    {"class": str, "precision": float, "recall": float, "f1": float, "support": int},
)


def confusion_counts(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts `[R, C, C]` int64, rows true, columns predicted, of labels and predictions `[R, B]`.

    Both are int64 in `[0, num_classes)`; that is not checked, for a check would have to wait
    for the device.
    """
    num_runs, num_cells = labels.shape[0], num_classes * num_classes
    first_cell = num_cells * torch.arange(num_runs, device=labels.device).unsqueeze(1)
    cell = first_cell + num_classes * labels + predictions
    counts = torch.bincount(cell.flatten(), minlength=num_runs * num_cells)
    return counts.view(num_runs, num_classes, num_classes)


def accuracy(counts: Tensor) -> Tensor:
    """Share of right predictions `[...]` of counts `[..., C, C]`; 0 of no examples."""
    return _ratio(_right(counts).sum(-1), counts.sum((-2, -1)))


def support(counts: Tensor) -> Tensor:
    """Examples of each true class, int64 `[..., C]`, of counts `[..., C, C]`."""
    return counts.sum(-1)


def precision(counts: Tensor) -> Tensor:
    """Share of a class's predictions that are right `[..., C]`; 0 where it is never predicted."""
    return _ratio(_right(counts), counts.sum(-2))


def recall(counts: Tensor) -> Tensor:
    """Share of a class's examples that are found `[..., C]`; 0 where it has no examples."""
    return _ratio(_right(counts), support(counts))


def f1(counts: Tensor) -> Tensor:
    """Harmonic mean of precision and recall `[..., C]`; 0 for a class neither seen nor predicted.

    Written as 2·right / (predicted + support), which needs no precision and no recall.
    """
    return _ratio(2 * _right(counts), counts.sum(-2) + support(counts))


def macro(values: Tensor) -> Tensor:
    """Unweighted mean `[...]` of values `[..., C]` over all classes, absent ones included."""
    return values.mean(-1)


def summarize(counts: Tensor) -> dict[str, Tensor]:
    """The scores that every epoch records, each `[...]` float64, of counts `[..., C, C]`."""
    return {
        "accuracy": accuracy(counts),
        "precision_macro": macro(precision(counts)),
        "recall_macro": macro(recall(counts)),
        "f1_macro": macro(f1(counts)),
    }


def expected_calibration_error(probabilities: Tensor, labels: Tensor, num_bins: int = 15) -> float:
    """How far confidence is from accuracy, in `[0, 1]`: 0 is calibrated; see `calibration`.

    Probabilities `[N, C]`, labels `[N]`, N ≥ 1.
    """
    return calibration_error(reliability(probabilities, labels, num_bins))


def classification_report(counts: Tensor, class_names: Sequence[str]) -> list[ReportRow]:
    """A row for each class of counts `[C, C]`, then "macro average", "weighted average" and
    "accuracy".

    In the last row precision, recall and F1 are all the accuracy: so they are, counted over
    single-label examples without regard to class.
    """
    scores = torch.stack([precision(counts), recall(counts), f1(counts)])
    examples = support(counts)
    total = int(examples.sum())
    weighted = _ratio((scores * examples).sum(-1), examples.sum())
    rows = [
        _report_row(name, scores[:, index], int(examples[index]))
        for index, name in enumerate(class_names)
    ]
    return [
        *rows,
        _report_row("macro average", macro(scores), total),
        _report_row("weighted average", weighted, total),
        _report_row("accuracy", accuracy(counts).expand(3), total),
    ]


def most_confused(counts: Tensor, class_names: Sequence[str], limit: int = 5) -> list[Confusion]:
    """The most frequent mistakes in counts `[C, C]`, at most `limit`, in falling order of count."""
    num_classes = len(class_names)
    mistakes = (counts - torch.diag(_right(counts))).flatten()
    examples = support(counts).tolist()
    # stable, so that equal counts come in the classes' order on every machine
    order = mistakes.argsort(descending=True, stable=True)[:limit].tolist()
    return [
        Confusion(
            true=class_names[cell // num_classes],
            predicted=class_names[cell % num_classes],
            count=int(mistakes[cell]),
            support=examples[cell // num_classes],
        )
        for cell in order
        if mistakes[cell] > 0
    ]


def confusion_in_words(confusion: Confusion) -> str:
    """Says a kind of mistake as people do: "Shirt taken for T-shirt/top: 112 of 1000"."""
    true, predicted, count, examples = confusion
    return f"{true} taken for {predicted}: {count} of {examples}"


def _right(counts: Tensor) -> Tensor:
    """The diagonal `[..., C]` of counts `[..., C, C]`."""
    return counts.diagonal(dim1=-2, dim2=-1)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Float64 ratio of sums; 0 where the denominator, a whole number, is 0."""
    return numerator.double() / denominator.clamp(min=1)


def _report_row(name: str, scores: Tensor, examples: int) -> ReportRow:
    """A row from its name, its scores `[3]` (precision, recall, F1) and its support."""
    row_precision, row_recall, row_f1 = scores.tolist()
    return {
        "class": name,
        "precision": row_precision,
        "recall": row_recall,
        "f1": row_f1,
        "support": examples,
    }
