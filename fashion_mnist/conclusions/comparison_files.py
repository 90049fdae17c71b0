"""What is kept of a comparison: page, pictures and figures in a folder, and in the store."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.conclusions.comparison import Comparison, Contestant
from fashion_mnist.conclusions.comparison_page import comparison_page
from fashion_mnist.conclusions.comparison_rows import content_of, headline
from fashion_mnist.conclusions.images import read_images_of
from fashion_mnist.markdown import plain
from fashion_mnist.plots.confusion import difference_figure
from fashion_mnist.plots.image_grid import disagreements_figure
from fashion_mnist.plots.png import write_png
from fashion_mnist.plots.run_charts import reliability_figure
from fashion_mnist.runs.files import replacing
from fashion_mnist.runs.results import DESCRIPTION_TAG
from fashion_mnist.tracking.recorded import COMPARISON_TAG

PAGE = "comparison.html"
KINDS = ("difference", "disagreements", "reliability")  # of pictures


def comparison_name(comparison: Comparison) -> str:
    """What its folder is called: the same runs on the same split take each other's place."""
    ids = [each.run.run_id[:8] for each in comparison.contestants]
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
        "Difference of the confusion matrices": _differences(comparison, folder),
        "Images on which they disagree": _disagreements(comparison, folder, images),
        "Calibration": [_reliability(each, folder) for each in comparison.contestants],
    }
    page, figures = folder / PAGE, folder / "comparison.json"
    with replacing(page) as beside:
        beside.write_text(comparison_page(comparison, pictures, remark), encoding="utf-8")
    with replacing(figures) as beside:
        beside.write_text(json.dumps(content_of(comparison), indent=1))
    return [page, figures, *(file for own in pictures.values() for file in own)]


def record_comparison(uri: str, comparison: Comparison, files: Sequence[Path]) -> str:
    """Make it a run of the first run's experiment, with its files as artifacts; the run's id.

    Raises:
        OSError: the store did not take it.
    """
    from fashion_mnist.tracking.store import record_run  # imports mlflow, which takes seconds

    metrics: dict[str, float] = {}
    for contrast in comparison.contrasts:
        letter, gap = contrast.other.letter, contrast.differences.scores["accuracy"]
        metrics |= {f"{letter}/accuracy_difference": gap.value, f"{letter}/p_holm": contrast.p_holm}
    return record_run(
        uri,
        experiment=comparison.first.run.experiment,
        name=comparison.title,
        tags={
            COMPARISON_TAG: json.dumps([each.run.run_id for each in comparison.contestants]),
            "comparison.split": comparison.split,
            DESCRIPTION_TAG: _description(comparison),
        },
        metrics=metrics,
        files=files,
    )


def _description(comparison: Comparison) -> str:
    """The verdicts and who is who, in Markdown."""
    lines = [f"- {each.letter}: {plain(each.run.name)}" for each in comparison.contestants]
    verdicts = [f"**{plain(words)}**" for words in headline(comparison)]
    return "\n".join([*verdicts, "", f"On the {comparison.split} split:", "", *lines])


def _differences(comparison: Comparison, folder: Path) -> list[Path]:
    first, files = comparison.first, []
    for contrast in comparison.contrasts:
        other = contrast.other
        figure = difference_figure(
            first.counts.numpy(),
            other.counts.numpy(),
            comparison.class_names,
            (first.letter, other.letter),
        )
        files.append(folder / f"difference_{other.letter}.png")
        write_png(figure, files[-1])
    return files


def _disagreements(
    comparison: Comparison, folder: Path, images: NDArray[np.uint8] | None
) -> list[Path]:
    if images is None:
        return []
    first, files = comparison.first, []
    for contrast in comparison.contrasts:
        other = contrast.other
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


def _reliability(contestant: Contestant, folder: Path) -> Path:
    bins, path = contestant.reliability, folder / f"reliability_{contestant.letter}.png"
    figure = reliability_figure(
        bins.examples.numpy(),
        bins.confidence.numpy(),
        bins.accuracy.numpy(),
        title=f"{contestant.letter}: calibration error {contestant.calibration['ece']:.4f}",
        caption=contestant.run.name,
    )
    write_png(figure, path)
    return path
