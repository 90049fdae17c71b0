"""The files that a finished run leaves: figures, tables and predictions of each split.

C classes, N examples of a split, H rows and W columns of an image.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics import classification
from fashion_mnist.metrics.classification import SUMMARY_SCORES
from fashion_mnist.metrics.predictions import PREDICTIONS_FILE, Predictions
from fashion_mnist.plots.confusion import confusion_figure
from fashion_mnist.plots.image_grid import (
    first_of_each_class,
    mistakes_figure,
    samples_figure,
    weights_figure,
)
from fashion_mnist.plots.png import Picture, write_png
from fashion_mnist.plots.run_charts import curves_figure
from fashion_mnist.runs.event_log import EventLog
from fashion_mnist.runs.files import replacing, write_json
from fashion_mnist.runs.stacks import DataSplit
from fashion_mnist.training.loop import Evaluation
from fashion_mnist.training.stack import HistoryRow

# artifacts of single runs and winners
PICTURES = (CURVES, WEIGHTS, SAMPLES) = ("curves.png", "weights.png", "samples.png")


@dataclass(frozen=True)
class SplitResult:
    """What a network says of one split."""

    name: str  # validation or test; with `_tta`: averaged over copies of each image
    predictions: Predictions
    loss: float  # from logits, where there are some
    images: Tensor  # uint8 [N, H, W], on the CPU

    @classmethod
    def of(cls, name: str, evaluation: Evaluation, images: Tensor, sha256: str) -> Self:
        """The result of the one member of a stack.

        Args:
            sha256: of the split.
        """
        probabilities, labels = (
            own[0].cpu().numpy() for own in (evaluation.probabilities, evaluation.labels)
        )
        return cls(
            name,
            Predictions(probabilities, labels, sha256),
            float(evaluation.loss[0]),
            images.cpu(),
        )

    @property
    def title(self) -> str:
        """The name as a picture's title has it."""
        return self.name.replace("_tta", ", averaged over copies").capitalize()

    def metrics(self) -> dict[str, float]:
        """Those that a run records of the split, without a prefix."""
        own = self.predictions.metrics
        return {"loss": self.loss} | {key: own[key] for key in (*SUMMARY_SCORES, "ece")}


def record_training(
    event_log: EventLog,
    history: Sequence[HistoryRow],
    dataset: Dataset,
    data_split: DataSplit,
    first_weight: Tensor,
) -> None:
    """Draw how training went, what it was trained on, and what the first layer looks at.

    Args:
        first_weight: float32 `[H, P]` of the first linear layer.
    """
    _record_picture(event_log, CURVES, curves_figure(history, "Learning curves"))
    weights = weights_figure(first_weight.numpy(), dataset.image_shape)
    _record_picture(event_log, WEIGHTS, weights)
    own, labels = data_split.split.train, dataset.train_labels.cpu()
    # the images that are shown, for a copy of all takes longer than the picture
    first = first_of_each_class(labels[own].numpy(), dataset.num_classes)
    shown = own[torch.from_numpy(np.concatenate(first))]
    images = dataset.train_images[shown.to(dataset.train_images.device)].cpu()
    samples = samples_figure(
        images.view(-1, *dataset.image_shape).numpy(), labels[shown].numpy(), dataset.class_names
    )
    _record_picture(event_log, SAMPLES, samples)


def record_split(event_log: EventLog, result: SplitResult, class_names: Sequence[str]) -> None:
    """Write the tables, figures and predictions of one split, and tell the event log."""
    for name in write_split(event_log.artifacts, result, class_names):
        event_log.artifact(name)
    stem = f"{result.name}/confusion_matrix"
    event_log.image(stem, f"{stem}.png")


def write_split(folder: Path, result: SplitResult, class_names: Sequence[str]) -> Iterator[str]:
    """Write the tables, figures and predictions of one split below `folder`; names each, once it
    is there.
    """
    split, own = result.name, result.predictions
    yield from _write_confusion(folder, result, class_names)
    report = classification.classification_report(own.counts, class_names)
    yield from write_table(folder, f"{split}/classification_report", report)
    mistakes = mistakes_figure(result.images.numpy(), own.labels, own.probabilities, class_names)
    write_png(mistakes, folder / split / "mistakes.png")
    yield f"{split}/mistakes.png"
    own.write(folder / split / PREDICTIONS_FILE)
    yield f"{split}/{PREDICTIONS_FILE}"


def write_table(folder: Path, stem: str, rows: Sequence[Any]) -> Iterator[str]:
    """Write rows with the same keys as `stem`.json and `stem`.csv; names each, once it is there."""
    with replacing(folder / f"{stem}.json") as path:
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    yield f"{stem}.json"
    with replacing(folder / f"{stem}.csv") as path:
        _write_csv(path, list(rows[0]), (list(row.values()) for row in rows))
    yield f"{stem}.csv"


def _write_confusion(
    folder: Path, result: SplitResult, class_names: Sequence[str]
) -> Iterator[str]:
    stem, counts = f"{result.name}/confusion_matrix", result.predictions.counts
    rows = counts.tolist()
    write_json(folder / f"{stem}.json", {"labels": list(class_names), "counts": rows})
    yield f"{stem}.json"
    with replacing(folder / f"{stem}.csv") as path:
        shares = [[f"{100 * n / max(sum(row), 1):.1f}" for n in row] for row in rows]
        header = ["true \\ predicted", *class_names, *(f"{name} %" for name in class_names)]
        table = zip(class_names, rows, shares, strict=True)
        _write_csv(path, header, ([name, *row, *share] for name, row, share in table))
    yield f"{stem}.csv"
    figure = confusion_figure(counts.numpy(), class_names, result.title)
    write_png(figure, folder / f"{stem}.png")
    yield f"{stem}.png"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _record_picture(event_log: EventLog, name: str, figure: Picture) -> None:
    """Write a picture as an artifact; then the event log is told."""
    write_png(figure, event_log.artifacts / name)
    event_log.artifact(name)
