"""Every score of a network on a split, the files that hold them, and their place in the record.

N images, C classes, K bins. Shares have Wilson's interval at 95 %.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fashion_mnist.analysis.networks import (
    LabelledImages,
    load_network,
    read_images,
    require_network,
)
from fashion_mnist.config.messages import plural
from fashion_mnist.data.corruptions import CORRUPTIONS
from fashion_mnist.metrics import calibration, classification
from fashion_mnist.metrics.confusions import most_confused
from fashion_mnist.metrics.predictions import Predictions
from fashion_mnist.metrics.statistics import Interval, wilson_interval
from fashion_mnist.plots.png import Picture, write_png
from fashion_mnist.plots.run_charts import (
    Level,
    coverage_figure,
    reliability_figure,
    robustness_figure,
)
from fashion_mnist.runs.artifacts import SplitResult, write_split, write_table
from fashion_mnist.runs.files import replacing
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST, TEST_SCORE, RecordedRun

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # that tables show
Row = dict[str, Any]
Robustness = dict[str, tuple[str, list[Level]]]  # corruption -> unit of its strengths, levels


@dataclass(frozen=True)
class Scores:
    """All scores on one split."""

    result: SplitResult
    class_names: tuple[str, ...]
    robustness: Robustness  # empty where it was not asked for

    @property
    def predictions(self) -> Predictions:
        """What the scores are of."""
        return self.result.predictions

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Every score that is a single number."""
        area = calibration.area_under_risk(self.predictions.selection)
        return self.result.metrics() | self.predictions.metrics | {"area_under_risk": area}


def robustness_of(
    probabilities_of: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> Robustness:
    """Accuracy on images uint8 `[N, H, W]`, corrupted more and more.

    Args:
        probabilities_of: what a network says `[N, C]` of images like these.
    """
    found: Robustness = {}
    for corruption in CORRUPTIONS:
        levels = []
        for strength in corruption.strengths:
            corrupted = corruption.apply(images, strength)
            right = int((probabilities_of(corrupted).argmax(-1) == labels).sum())
            levels.append(Level(strength, right / len(labels), *_wilson(right, len(labels))))
        found[corruption.name] = corruption.unit, levels
    return found


def tables_of(scores: Scores) -> dict[str, list[Row]]:
    """Rows of every table, by its name; None stands for what is undefined.

    `figures`: each single number, shares with their interval. `classes`: precision and recall with
    their intervals, F1, support (see `class_scores`). `reliability`: each bin's edges,
    examples, confidence and accuracy. `coverage`: for each of COVERAGES, what is answered from
    which confidence on, and how well. `robustness`: each strength of each corruption.
    """
    return {
        "figures": _metric_rows(scores),
        "classes": _class_rows(scores),
        "reliability": _reliability_rows(scores),
        "coverage": _coverage_rows(scores),
        "robustness": [
            {"disturbance": name, "strength": level.strength, "unit": unit}  # as in --json
            | {"accuracy": level.accuracy, "accuracy_low": level.low, "accuracy_high": level.high}
            for name, (unit, levels) in scores.robustness.items()
            for level in levels
        ],
    }


def content_of(scores: Scores) -> Row:
    """All of it, as JSON takes it."""
    counts, names = scores.predictions.counts.tolist(), scores.class_names
    return {
        "split": scores.result.name,
        "images": len(scores.predictions.labels),
        "confusion_matrix": {"labels": list(names), "counts": counts},
        "most_confused": [mistake._asdict() for mistake in most_confused(counts, names)],
        **tables_of(scores),
    }


def _metric_rows(scores: Scores) -> list[Row]:
    total, rows = len(scores.predictions.labels), []
    for name, value in scores.metrics.items():
        is_share = name in ("accuracy", "top_2_accuracy")
        low, high = _wilson(round(value * total), total) if is_share else (None, None)
        rows.append({"figure": name, "value": value, "low": low, "high": high})
    return rows


def _class_rows(scores: Scores) -> list[Row]:
    counts, names = scores.predictions.counts, scores.class_names
    right, true, called = (t.tolist() for t in (counts.diagonal(), counts.sum(1), counts.sum(0)))
    report = classification.class_scores(counts, names)
    return [
        {"class": row["class"]}
        | _share("precision", right[k], called[k], is_known=row["precision"] is not None)
        | _share("recall", right[k], true[k], is_known=row["recall"] is not None)
        | {"f1": row["f1"], "support": row["support"]}
        for k, row in enumerate(report)
    ]


def _reliability_rows(scores: Scores) -> list[Row]:
    bins = scores.predictions.reliability
    num_bins = len(bins.examples)
    return [
        {"above": k / num_bins, "up_to": (k + 1) / num_bins}
        | {"examples": number, "confidence": confidence}
        | _share("accuracy", round(accuracy * number), number)
        for k, (number, confidence, accuracy) in enumerate(
            zip(*(each.tolist() for each in bins), strict=True)
        )
    ]


def _coverage_rows(scores: Scores) -> list[Row]:
    threshold, accuracy = (each.tolist() for each in scores.predictions.selection)
    rows = []
    for coverage in COVERAGES:
        number = max(round(coverage * len(accuracy)), 1)
        row = {"coverage": coverage, "answered": number, "from": threshold[number - 1]}
        share = _share("accuracy", round(accuracy[number - 1] * number), number)
        rows.append(row | share | {"accuracy": accuracy[number - 1]})  # of ties, the expected one
    return rows


def _share(name: str, count: int, total: int, *, is_known: bool = True) -> Row:
    """So many of so many, 0 of none, with the interval."""
    value, low, high = (count / max(total, 1), *_wilson(count, total)) if is_known else (None,) * 3
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _wilson(count: int, total: int) -> Interval:
    """Wilson's interval; of none, all there is."""
    return wilson_interval(count, total) if total else Interval(0.0, 1.0)


def result_of(images: LabelledImages, predictions: Predictions) -> SplitResult:
    """The result of predictions of which there are no logits: their loss is of probabilities."""
    return SplitResult(images.name, predictions, predictions.metrics["nll"], images.images)


def write_scores(folder: Path, scores: Scores) -> list[Path]:
    """Write all files of the scores below `folder`, in a folder with the split's name.

    Those that a run records of a split are among them, under the same names.

    Raises:
        OSError: one cannot be written.
    """
    split = scores.result.name
    names = [*write_split(folder, scores.result, scores.class_names)]
    for name, rows in tables_of(scores).items():
        names += write_table(folder, f"{split}/{name}", rows) if rows else []
    with replacing(folder / split / "scores.json") as path:
        path.write_text(json.dumps(content_of(scores)), encoding="utf-8")
    names.append(f"{split}/scores.json")
    for name, picture in _pictures(scores).items():
        write_png(picture, folder / split / f"{name}.png")
        names.append(f"{split}/{name}.png")
    return [folder / name for name in names]


def reliability_chart(predictions: Predictions, title: str) -> Picture:
    """How far the probabilities can be believed: accuracy over confidence, in bins."""
    own = predictions.metrics
    measured = f"ECE {own['ece']:.4f}, Brier score {own['brier']:.4f}, "
    measured += f"negative log-likelihood {own['nll']:.4f}"
    number = plural(len(predictions.labels), "prediction")
    return reliability_figure(
        *predictions.reliability,
        title=f"{title}: calibration",
        caption=f"{measured}; {number} in bins by confidence",
    )


def coverage_chart(predictions: Predictions, title: str) -> Picture:
    """Accuracy where a network may abstain."""
    area = calibration.area_under_risk(predictions.selection)
    number = plural(len(predictions.labels), "prediction")
    return coverage_figure(
        predictions.selection.accuracy,
        f"{title}: accuracy where it may abstain",
        f"The most confident of {number} first; area under the risk-coverage curve {area:.4f}",
    )


def _pictures(scores: Scores) -> dict[str, Picture]:
    title, own = scores.result.name.capitalize(), scores.predictions
    pictures: dict[str, Picture] = {
        "reliability": reliability_chart(own, title),
        "coverage": coverage_chart(own, title),
    }
    if scores.robustness:
        pictures["robustness"] = robustness_figure(
            scores.robustness,
            f"{title}: accuracy on corrupted images",
            f"Whiskers: 95 % intervals (Wilson); {plural(len(own.labels), 'image')}",
        )
    return pictures


FOLDER = "evaluation"  # of a run's artifacts


@dataclass(frozen=True)
class ScoredNetwork:
    """The network of a run, the images that it was asked about, and the scores."""

    run: RecordedRun
    source: str  # where the network was read from, in words
    images: LabelledImages
    scores: Scores

    @property
    def is_first_test(self) -> bool:
        """Whether the test set was read that the run had left alone."""
        return self.images.is_own_test and TEST_SCORE not in self.run.metrics


def score_network(
    store: Reader,
    run: RecordedRun,
    *,
    wanted: str | None = None,
    folder: Path | None = None,
    with_robustness: bool = True,
) -> ScoredNetwork:
    """Every score of the run's network on a split of its data, or on a folder of other images.

    Args:
        wanted: `validation` or `test`; None for validation.
        folder: of IDX files; None for where the run had its data from.

    Raises:
        DataError: the data is missing, damaged, or not what the run or the network takes.
        ValueError: the run has no network, or no such split.
        OSError: the network is nowhere to be had.
    """
    model, source = load_network(store, require_network(run))
    images = read_images(
        run, model.class_names, image_shape=model.image_shape, wanted=wanted, folder=folder
    )
    index = torch.arange(len(images.labels))
    evaluation = model.evaluate(images.images.flatten(1), images.labels, index=index)
    result = SplitResult.of(images.name, evaluation, images.images, images.sha256)
    robustness = (
        robustness_of(model.probabilities, images.images, images.labels) if with_robustness else {}
    )
    return ScoredNetwork(run, source, images, Scores(result, model.class_names, robustness))


def record_first_test(
    store: Reader, run: RecordedRun, result: SplitResult, class_names: Sequence[str]
) -> None:
    """Add a test set's result to the run that had left it alone: it counts as read from now on.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import add_to_run  # imports mlflow, which takes seconds

    metrics = {f"{TEST}/{key}": value for key, value in result.metrics().items()}
    with tempfile.TemporaryDirectory() as place:
        list(write_split(Path(place), result, class_names))
        add_to_run(store.uri, run, metrics=metrics, folders={TEST: Path(place, TEST)})


def record_scores(store: Reader, scored: ScoredNetwork, files: Sequence[Path]) -> list[str]:
    """Add the scores to the run's record; returns where in its artifacts it is.

    Below `evaluation/`; and where the run had left its test set alone, as what a run records that
    reads it: files below `test/`, metrics `test/…`. Then it counts as read.

    Args:
        files: that `write_scores` wrote.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import add_to_run  # imports mlflow, which takes seconds

    folder = f"{FOLDER}/{scored.images.name}"
    with tempfile.TemporaryDirectory() as place:
        for file in files:
            shutil.copyfile(file, Path(place, file.name))
        add_to_run(store.uri, scored.run, metrics={}, folders={folder: Path(place)})
    if not scored.is_first_test:
        return [folder]
    record_first_test(store, scored.run, scored.scores.result, scored.scores.class_names)
    return [folder, TEST]
