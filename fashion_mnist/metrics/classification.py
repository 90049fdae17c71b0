"""Scores of predicted classes: confusion counts, and all that follows from them.

`R` runs in the stack, `B` batch, `C` classes. Counts `[..., C, C]` int64 have rows true, columns
predicted; they add up over batches and are divided once, at the end. `confusion_counts` runs
wherever its arguments are; the scores are float64 and take counts on the CPU (not every accelerator
has float64).

A class may be absent: without true images. Macro precision and macro F1 are means over the classes
that are true or predicted of some image, macro recall over those that have true images; so they
are scikit-learn's (`precision_recall_fscore_support` with its default labels and
`zero_division=0`, and `balanced_accuracy_score`). They are computed from the counts that are there
anyway: importing scikit-learn takes a second.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor

Score = Literal["precision", "recall", "f1"]
CLASS_SCORES: tuple[Score, ...] = get_args(Score)
# what `summarize` gives
SUMMARY_SCORES = ("accuracy", *(f"{score}_macro" for score in CLASS_SCORES))

# "class" is a keyword of Python, so this type can not be written as a class body
ReportRow = TypedDict(
    "ReportRow",
    {
        "class": str,
        "precision": float | None,
        "recall": float | None,
        "f1": float | None,
        "support": int,
    },
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


def f1(counts: Tensor) -> Tensor:
    """Harmonic mean of precision and recall `[..., C]`; 0 for a class neither true nor predicted.

    Written as 2·right / (predicted + true), which needs no precision and no recall.
    """
    return _ratio(2 * _right(counts), counts.sum(-2) + counts.sum(-1))


def class_f1(counts: Tensor) -> list[float | None]:
    """F1 of each class of counts `[C, C]`; None for a class neither true nor predicted."""
    occurs = (counts.sum(-2) + counts.sum(-1)).tolist()
    return [
        score if any_ else None for score, any_ in zip(f1(counts).tolist(), occurs, strict=True)
    ]


def class_scores(counts: Tensor, class_names: Sequence[str]) -> list[ReportRow]:
    """Precision, recall and F1 of each class of counts `[C, C]`, a row for each.

    None stands for what is undefined: the recall of an absent class, precision and F1 of a class
    that is neither true nor predicted. The precision of a class that has images and is never
    predicted counts as 0.
    """
    true, predicted, right = counts.sum(-1), counts.sum(-2), _right(counts)
    precisions, recalls = _ratio(right, predicted).tolist(), _ratio(right, true).tolist()
    return [
        {
            "class": name,
            "precision": precision if own or called else None,
            "recall": recall if own else None,
            "f1": f1_score,
            "support": own,
        }
        for name, precision, recall, f1_score, own, called in zip(
            class_names,
            precisions,
            recalls,
            class_f1(counts),
            true.tolist(),
            predicted.tolist(),
            strict=True,
        )
    ]


def summarize(counts: Tensor) -> dict[str, Tensor]:
    """The scores that every epoch records, each `[...]` float64, of counts `[..., C, C]`.

    Of no examples all are 0.
    """
    true, predicted = counts.sum(-1), counts.sum(-2)
    is_true, is_either = true > 0, true + predicted > 0
    return {
        "accuracy": accuracy(counts),
        "precision_macro": _mean_where(is_either, _ratio(_right(counts), predicted)),
        "recall_macro": _mean_where(is_true, _ratio(_right(counts), true)),
        "f1_macro": _mean_where(is_either, f1(counts)),
    }


def classification_report(counts: Tensor, class_names: Sequence[str]) -> list[ReportRow]:
    """The rows of `class_scores` of counts `[C, C]`, not all 0, then "macro average" (those of
    `summarize`), "weighted average" (each class by its images) and "accuracy".

    In the last row precision, recall and F1 are all the accuracy: so they are, counted over
    single-label examples without regard to class.
    """
    rows, summary = class_scores(counts, class_names), summarize(counts)
    total = int(counts.sum())

    def average(name: str, scores: Iterable[float]) -> ReportRow:
        precision, recall, f1_score = scores
        return {
            "class": name,
            "precision": precision,
            "recall": recall,
            "f1": f1_score,
            "support": total,
        }

    def weighted(score: Score) -> float:
        return sum((row[score] or 0.0) * row["support"] for row in rows) / total

    return [
        *rows,
        average("macro average", (float(summary[f"{score}_macro"]) for score in CLASS_SCORES)),
        average("weighted average", map(weighted, CLASS_SCORES)),
        average("accuracy", [float(summary["accuracy"])] * 3),
    ]


def _right(counts: Tensor) -> Tensor:
    """The diagonal `[..., C]` of counts `[..., C, C]`."""
    return counts.diagonal(dim1=-2, dim2=-1)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Float64 ratio of sums; 0 where the denominator, a whole number, is 0."""
    return numerator.double() / denominator.clamp(min=1)


def _mean_where(is_counted: Tensor, values: Tensor) -> Tensor:
    """Mean `[...]` of those of values `[..., C]` that bool `[..., C]` names; 0 of none."""
    return _ratio((values * is_counted).sum(-1), is_counted.sum(-1))
