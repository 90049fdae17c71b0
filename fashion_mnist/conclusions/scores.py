"""What is said of a network after it was asked about labelled images: every figure there is.

`N` images, `C` classes, `K` bins. Shares come with Wilson's interval at 95 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from fashion_mnist.data.corruptions import CORRUPTIONS, Corruption
from fashion_mnist.metrics import calibration, classification
from fashion_mnist.metrics.calibration import Reliability, Selection
from fashion_mnist.metrics.statistics import Interval, wilson_interval
from fashion_mnist.plots.run_charts import Level
from fashion_mnist.runs.artifacts import SplitResult

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # that tables show
Robustness = dict[str, tuple[str, list[Level]]]  # corruption -> unit of its strengths, levels


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 of none."""
        return self.count / max(self.total, 1)

    @property
    def interval(self) -> Interval:
        """Wilson's; of none, all there is."""
        return wilson_interval(self.count, self.total) if self.total else Interval(0.0, 1.0)


@dataclass(frozen=True)
class Scores:
    """All figures on one split."""

    result: SplitResult
    class_names: tuple[str, ...]
    robustness: Robustness  # empty where it was not asked for

    @cached_property
    def accuracy(self) -> Share:
        """Images whose class was found."""
        return Share(int(self.result.counts.diagonal().sum()), len(self.result.labels))

    @cached_property
    def top_two(self) -> Share:
        """Images whose class is among the two most probable."""
        found = calibration.num_in_top(self.result.probabilities, self.result.labels, 2)
        return Share(found, len(self.result.labels))

    @cached_property
    def figures(self) -> dict[str, float]:
        """Every figure that is a single number."""
        probabilities, labels = self.result.probabilities, self.result.labels
        return {
            **self.result.figures(),
            "top_2_accuracy": self.top_two.value,
            "brier": calibration.brier_score(probabilities, labels),
            "nll": calibration.nll_of_probabilities(probabilities, labels),
            "area_under_risk": calibration.area_under_risk(self.selection),
        }

    @cached_property
    def reliability(self) -> Reliability:
        """The examples by their confidence."""
        return calibration.reliability(self.result.probabilities, self.result.labels)

    @cached_property
    def selection(self) -> Selection:
        """What is answered where the network may abstain."""
        return calibration.select(self.result.probabilities, self.result.labels)


def robustness_of(
    probabilities_of: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
) -> Robustness:
    """Accuracy on images uint8 `[N, H, W]`, corrupted more and more.

    Args:
        probabilities_of: what a network says `[N, C]` of images like these.
    """
    found: Robustness = {}
    for corruption in corruptions:
        levels = []
        for strength in corruption.strengths:
            corrupted = corruption.apply(images, strength)
            right = int((probabilities_of(corrupted).argmax(-1) == labels).sum())
            share = Share(right, len(labels))
            levels.append(Level(strength, share.value, *share.interval))
        found[corruption.name] = corruption.unit, levels
    return found


def class_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each class: precision and recall with their intervals, F1, support.

    None stands for what is undefined, see `classification_report`.
    """
    counts = scores.result.counts
    report = classification.classification_report(counts, scores.class_names)
    rows = []
    for index, row in enumerate(report[: len(scores.class_names)]):
        right = int(counts[index, index])
        precision = Share(right, int(counts[:, index].sum()))
        recall = Share(right, row["support"])
        rows.append(
            {
                "class": row["class"],
                **_with_interval("precision", None if row["precision"] is None else precision),
                **_with_interval("recall", None if row["recall"] is None else recall),
                "f1": row["f1"],
                "support": row["support"],
            }
        )
    return rows


def reliability_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each bin: its edges, its examples, their confidence and accuracy."""
    bins = scores.reliability
    num_bins = len(bins.examples)
    rows = []
    for k, (examples, confidence, accuracy) in enumerate(zip(*bins, strict=True)):
        share = Share(round(float(accuracy) * int(examples)), int(examples))
        edges = {"above": k / num_bins, "up_to": (k + 1) / num_bins}
        known = {"examples": share.total, "confidence": float(confidence)}
        rows.append({**edges, **known, **_with_interval("accuracy", share)})
    return rows


def coverage_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each of COVERAGES: what is answered from which confidence on, and how well."""
    threshold, accuracy = scores.selection
    rows = []
    for coverage in COVERAGES:
        number = max(round(coverage * len(accuracy)), 1)
        share = Share(round(float(accuracy[number - 1]) * number), number)
        known = {"coverage": coverage, "answered": number, "from": float(threshold[number - 1])}
        rows.append({**known, **_with_interval("accuracy", share)})
    return rows


def robustness_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each strength of each corruption."""
    return [
        {
            "disturbance": name,  # as --json has always called it
            "strength": level.strength,
            "unit": unit,
            "accuracy": level.accuracy,
            "accuracy_low": level.low,
            "accuracy_high": level.high,
        }
        for name, (unit, levels) in scores.robustness.items()
        for level in levels
    ]


def figure_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each single figure; a share has its interval."""
    shares = {"accuracy": scores.accuracy, "top_2_accuracy": scores.top_two}
    rows = []
    for name, value in scores.figures.items():
        low, high = shares[name].interval if name in shares else (None, None)
        rows.append({"figure": name, "value": value, "low": low, "high": high})
    return rows


def content_of(scores: Scores) -> dict[str, Any]:
    """All of it, as JSON takes it."""
    confused = classification.most_confused(scores.result.counts, scores.class_names)
    return {
        "split": scores.result.name,
        "images": len(scores.result.labels),
        "figures": figure_rows(scores),
        "classes": class_rows(scores),
        "confusion_matrix": {
            "labels": list(scores.class_names),
            "counts": scores.result.counts.tolist(),
        },
        "most_confused": [confusion._asdict() for confusion in confused],
        "reliability": reliability_rows(scores),
        "coverage": coverage_rows(scores),
        "robustness": robustness_rows(scores),
    }


def split_result(
    name: str, probabilities: Tensor, labels: Tensor, images: Tensor, sha256: str, loss: float
) -> SplitResult:
    """The result of probabilities float32 `[N, C]` for images uint8 `[N, H, W]` of labels `[N]`."""
    num_classes = probabilities.shape[-1]
    predictions = probabilities.argmax(-1)
    counts = classification.confusion_counts(labels[None], predictions[None], num_classes)[0]
    return SplitResult(name, counts, loss, probabilities, labels, images, sha256)


def _with_interval(name: str, share: Share | None) -> dict[str, float | None]:
    value, low, high = (None,) * 3 if share is None else (share.value, *share.interval)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
