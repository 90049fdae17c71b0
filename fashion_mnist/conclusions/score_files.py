"""The files that scores leave: tables, pictures, all figures as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

from fashion_mnist.conclusions.scores import (
    Scores,
    class_rows,
    content_of,
    coverage_rows,
    figure_rows,
    reliability_rows,
    robustness_rows,
)
from fashion_mnist.console import plural
from fashion_mnist.metrics.calibration import expected_calibration_error
from fashion_mnist.plots.png import write_png
from fashion_mnist.plots.run_charts import coverage_figure, reliability_figure, robustness_figure
from fashion_mnist.runs.artifacts import write_split, write_table
from fashion_mnist.runs.files import replacing


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
        "figures": figure_rows(scores),
        "classes": class_rows(scores),
        "reliability": reliability_rows(scores),
        "coverage": coverage_rows(scores),
        "robustness": robustness_rows(scores),
    }
    for name, rows in tables.items():
        if rows:
            yield from write_table(folder, f"{split}/{name}", rows)
    with replacing(folder / split / "scores.json") as path:
        path.write_text(json.dumps(content_of(scores)))
    yield f"{split}/scores.json"


def _write_pictures(folder: Path, scores: Scores) -> Iterator[str]:
    split, figures, bins = scores.result.name, scores.figures, scores.reliability
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
