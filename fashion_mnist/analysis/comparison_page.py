"""A comparison's page, its pictures and its place in the store."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.analysis.compare import (
    ComparedRun,
    Comparison,
    calibration_rows,
    class_rows,
    content_of,
    headline,
    mcnemar_rows,
    notes,
    run_rows,
    score_rows,
)
from fashion_mnist.analysis.networks import read_images_of
from fashion_mnist.plots.confusion import difference_figure
from fashion_mnist.plots.image_grid import disagreements_figure
from fashion_mnist.plots.png import write_png
from fashion_mnist.plots.run_charts import reliability_figure
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.markdown import plain
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.templates import picture, render, table
from fashion_mnist.tracking.recorded import COMPARISON_TAG

PAGE = "comparison.html"
KINDS = ("differences", "disagreements", "reliability")  # of pictures


def comparison_name(comparison: Comparison) -> str:
    """What its folder is called: the same runs on the same split take each other's place."""
    ids = [each.run.run_id[:8] for each in comparison.compared]
    return "-".join([*ids, comparison.split])


def read_pictured(comparison: Comparison) -> tuple[NDArray[np.uint8] | None, str]:
    """The split's images `[N, H, W]`; or None, and why they cannot be shown."""
    first = comparison.first
    images, why = read_images_of(
        first.run,
        comparison.class_names,
        wanted=comparison.split,
        sha256=first.predictions.split_sha256,
    )
    return images, f"The images on which they disagree are not shown: {why}" if why else ""


def write_comparison(
    comparison: Comparison,
    folder: Path,
    images: NDArray[np.uint8] | None,
    *,
    remark: str = "",
) -> list[Path]:
    """Write page, pictures and JSON into the folder, in place of a comparison before; the files.

    Args:
        images: of the split, `[N, H, W]`; None where they cannot be had.
        remark: why.

    Raises:
        OSError: a file cannot be written.
    """
    for kind in KINDS:  # and nothing else: the folder may be the user's own
        for left in folder.glob(f"{kind}_[A-Z].png"):
            left.unlink()
    pictures = {
        "differences": _differences(comparison, folder),
        "disagreements": _disagreements(comparison, folder, images),
        "reliability": [_reliability(each, folder) for each in comparison.compared],
    }
    page, figures = folder / PAGE, folder / "comparison.json"
    with replacing(page) as beside:
        beside.write_text(comparison_page(comparison, pictures, remark), encoding="utf-8")
    with replacing(figures) as beside:
        beside.write_text(json.dumps(content_of(comparison), indent=1), encoding="utf-8")
    return [page, figures, *(file for own in pictures.values() for file in own)]


def record_comparison(uri: str, comparison: Comparison, files: Sequence[Path]) -> str:
    """Make it a run of the first run's experiment, with its files as artifacts; the run's id.

    Raises:
        OSError: the store did not take it.
    """
    from fashion_mnist.tracking.store import record_run  # imports mlflow, which takes seconds

    metrics: dict[str, float] = {}
    for pair in comparison.pairs:
        letter, gap = pair.other.letter, pair.differences.scores["accuracy"]
        metrics |= {f"{letter}/accuracy_difference": gap.value, f"{letter}/p_holm": pair.p_holm}
    return record_run(
        uri,
        experiment=comparison.first.run.experiment,
        name=comparison.title,
        tags={
            COMPARISON_TAG: json.dumps([each.run.run_id for each in comparison.compared]),
            "comparison.split": comparison.split,
            DESCRIPTION_TAG: _description(comparison),
        },
        metrics=metrics,
        files=files,
    )


def _description(comparison: Comparison) -> str:
    """The results and the names of the runs, in Markdown."""
    lines = [f"- {each.letter}: {plain(each.run.name)}" for each in comparison.compared]
    results = [f"**{plain(words)}**" for words in headline(comparison)]
    return "\n".join([*results, "", f"On the {comparison.split} split:", "", *lines])


def _differences(comparison: Comparison, folder: Path) -> list[Path]:
    first, files = comparison.first, []
    for pair in comparison.pairs:
        other = pair.other
        figure = difference_figure(
            first.counts.numpy(),
            other.counts.numpy(),
            comparison.class_names,
            (first.letter, other.letter),
        )
        files.append(folder / f"differences_{other.letter}.png")
        write_png(figure, files[-1])
    return files


def _disagreements(
    comparison: Comparison, folder: Path, images: NDArray[np.uint8] | None
) -> list[Path]:
    if images is None:
        return []
    first, files = comparison.first, []
    for pair in comparison.pairs:
        other = pair.other
        figure = disagreements_figure(
            images,
            comparison.labels,
            (first.predictions.probabilities, other.predictions.probabilities),
            comparison.class_names,
            (first.letter, other.letter),
        )
        files.append(folder / f"disagreements_{other.letter}.png")
        write_png(figure, files[-1])
    return files


def _reliability(own_run: ComparedRun, folder: Path) -> Path:
    bins, path = own_run.reliability, folder / f"reliability_{own_run.letter}.png"
    figure = reliability_figure(
        bins.examples.numpy(),
        bins.confidence.numpy(),
        bins.accuracy.numpy(),
        title=f"{own_run.letter}: calibration error {own_run.calibration['ece']:.4f}",
        caption=own_run.run.name,
    )
    write_png(figure, path)
    return path


TEXT = {"", "run", "id", "settings", "F1 of", "result"}  # columns that stand on the left


def comparison_page(
    comparison: Comparison, pictures: Mapping[str, Sequence[Path]], remark: str
) -> str:
    """The page: results, tables, pictures.

    Args:
        pictures: PNG files by their kind, see `KINDS`.
        remark: why pictures are missing; empty where none is.
    """
    ids = " ".join(each.run.run_id for each in comparison.compared)
    tables = {
        "runs": run_rows(comparison),
        "scores": score_rows(comparison),
        "tests": mcnemar_rows(comparison),
        "classes": class_rows(comparison),
        "calibration": calibration_rows(comparison),
    }
    shown = {
        kind: [picture(file.read_bytes(), file.stem.replace("_", " ")) for file in files]
        for kind, files in pictures.items()
    }
    empty: dict[str, list[object]] = {kind: [] for kind in KINDS}
    return render(
        "comparison.html",
        title=f"{len(comparison.compared)} networks on the {comparison.split} split",
        headline=headline(comparison),
        command=f"fmnist compare {ids} --split {comparison.split}",
        notes=notes(comparison),
        remark=remark,
        **{name: table(rows, text=TEXT) for name, rows in tables.items()},
        **{**empty, **shown},
    )
