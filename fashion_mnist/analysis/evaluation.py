"""Every score of a network on a split, the files that hold them, and their place in the record.

N images, C classes, K bins. Shares have Wilson's interval at 95 %.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from fashion_mnist.analysis.networks import (
    TEST,
    LabelledImages,
    Network,
    load_network,
    read_images,
    require_network,
)
from fashion_mnist.config.messages import plural
from fashion_mnist.data.corruptions import CORRUPTIONS, Corruption
from fashion_mnist.metrics import calibration, classification
from fashion_mnist.metrics.calibration import Reliability, Selection, expected_calibration_error
from fashion_mnist.metrics.statistics import Interval, wilson_interval
from fashion_mnist.plots.png import write_png
from fashion_mnist.plots.run_charts import (
    Level,
    coverage_figure,
    reliability_figure,
    robustness_figure,
)
from fashion_mnist.runs.artifacts import SplitResult, write_split, write_table
from fashion_mnist.runs.files import replacing
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun

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
    """All scores on one split."""

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
    def metrics(self) -> dict[str, float]:
        """Every score that is a single number."""
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


def metric_rows(scores: Scores) -> list[dict[str, Any]]:
    """A row for each single figure; a share has its interval."""
    shares = {"accuracy": scores.accuracy, "top_2_accuracy": scores.top_two}
    rows = []
    for name, value in scores.metrics.items():
        low, high = shares[name].interval if name in shares else (None, None)
        rows.append({"figure": name, "value": value, "low": low, "high": high})
    return rows


def content_of(scores: Scores) -> dict[str, Any]:
    """All of it, as JSON takes it."""
    confused = classification.most_confused(scores.result.counts, scores.class_names)
    return {
        "split": scores.result.name,
        "images": len(scores.result.labels),
        "figures": metric_rows(scores),
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


def write_scores(folder: Path, scores: Scores) -> list[Path]:
    """Write all files of the scores below `folder`, in a folder with the split's name.

    Those that a run records of a split are among them, under the same names.

    Raises:
        OSError: one cannot be written.
    """
    names = [*write_split(folder, scores.result, scores.class_names)]
    names += _write_tables(folder, scores)
    names += _write_pictures(folder, scores)
    return [folder / name for name in names]


def _write_tables(folder: Path, scores: Scores) -> Iterator[str]:
    split = scores.result.name
    tables = {
        "figures": metric_rows(scores),
        "classes": class_rows(scores),
        "reliability": reliability_rows(scores),
        "coverage": coverage_rows(scores),
        "robustness": robustness_rows(scores),
    }
    for name, rows in tables.items():
        if rows:
            yield from write_table(folder, f"{split}/{name}", rows)
    with replacing(folder / split / "scores.json") as path:
        path.write_text(json.dumps(content_of(scores)), encoding="utf-8")
    yield f"{split}/scores.json"


def _write_pictures(folder: Path, scores: Scores) -> Iterator[str]:
    split, figures, bins = scores.result.name, scores.metrics, scores.reliability
    title, images = split.capitalize(), plural(len(scores.result.labels), "image")
    measured = f"ECE {expected_calibration_error(bins):.4f}, Brier score {figures['brier']:.4f}"
    pictures = {
        "reliability": reliability_figure(
            bins.examples.numpy(),
            bins.confidence.numpy(),
            bins.accuracy.numpy(),
            f"{title}: calibration",
            f"{measured}, negative log likelihood {figures['nll']:.4f}; {images}",
        ),
        "coverage": coverage_figure(
            scores.selection.accuracy.numpy(),
            f"{title}: accuracy where the network may abstain",
            f"Area under the risk-coverage curve {figures['area_under_risk']:.4f}; {images}",
        ),
    }
    if scores.robustness:
        pictures["robustness"] = robustness_figure(
            scores.robustness,
            f"{title}: accuracy on corrupted images",
            f"Whiskers: 95 % intervals (Wilson); {images}",
        )
    for name, picture in pictures.items():
        write_png(picture, folder / split / f"{name}.png")
        yield f"{split}/{name}.png"


FOLDER = "evaluation"  # of a run's artifacts


@dataclass(frozen=True)
class ScoredNetwork:
    """A network, the images that it was asked about, and the scores."""

    network: Network
    images: LabelledImages
    scores: Scores

    @property
    def run(self) -> RecordedRun:
        """The run that became the network."""
        return self.network.run

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
    network = load_network(store, require_network(run))
    model = network.model
    images = read_images(
        run, model.class_names, image_shape=model.image_shape, wanted=wanted, folder=folder
    )
    evaluation = network.evaluate(images.images, images.labels)
    result = SplitResult.of(images.name, evaluation, images.images, images.sha256)
    robustness = (
        robustness_of(network.probabilities, images.images, images.labels)
        if with_robustness
        else {}
    )
    return ScoredNetwork(network, images, Scores(result, model.class_names, robustness))


def record_first_test(
    store: Reader, run: RecordedRun, result: SplitResult, class_names: Sequence[str]
) -> None:
    """Add a test set's result to the run that had left it alone: it counts as read from now on.

    Raises:
        OSError: the store does not take it.
    """
    from fashion_mnist.tracking.store import add_to_run  # imports mlflow, which takes seconds

    figures = {f"{TEST}/{key}": value for key, value in result.figures().items()}
    with tempfile.TemporaryDirectory() as place:
        list(write_split(Path(place), result, class_names))
        add_to_run(store.uri, run, metrics=figures, folders={TEST: Path(place, TEST)})


def record_scores(store: Reader, scored: ScoredNetwork, files: Sequence[Path]) -> list[str]:
    """Add the scores to the run's record; returns where in its artifacts it is.

    Below `evaluation/`; and where the run had left its test set alone, as what a run records that
    reads it: files below `test/`, figures `test/…`. Then it counts as read.

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
