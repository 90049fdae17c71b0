"""The pictures of a report, drawn when asked for. An empty text is none to draw."""

from collections.abc import Sequence

from fashion_mnist.analysis.predictions import Pooled
from fashion_mnist.analysis.report import Gap, Report
from fashion_mnist.analysis.report_rows import worst_pairs
from fashion_mnist.console import plural
from fashion_mnist.page import picture
from fashion_mnist.plots.confusion import confusion_figure, difference_figure
from fashion_mnist.plots.image_grid import pair_figure
from fashion_mnist.plots.png import Picture, png_bytes
from fashion_mnist.plots.run_charts import coverage_figure, curves_figure, reliability_figure
from fashion_mnist.sweep.pictures import (
    curves_picture,
    effects_picture,
    heat_map_picture,
    importance_picture,
    leaderboard_picture,
    pareto_picture,
)


def shown(figure: Picture | None, caption: str) -> str:
    """The picture as HTML, in its own line; empty where there is none."""
    return f'<div class="figure">{_plain(figure, caption)}</div>' if figure else ""


def leaderboard_pictures(report: Report) -> list[str]:
    """The settings' scores, and how the best of them learned; of one run its own curves."""
    if report.is_one_run:
        figure = curves_figure(report.history, "Learning curves") if report.history else None
        return [shown(figure, "Learning curves")]
    return [
        shown(leaderboard_picture(report.ranked), "The best settings, each run as a dot"),
        shown(curves_picture(report.curved), "Learning curves of the best settings"),
    ]


def effect_pictures(report: Report) -> list[str]:
    """What each axis does, and how much of the differences it explains."""
    ranked, shares = report.ranked, report.shares
    return [
        shown(effects_picture(ranked, shares), "The score along each axis"),
        shown(importance_picture(ranked, shares), "The importance of each axis"),
        shown(heat_map_picture(ranked, shares), "The score by the two axes that matter most"),
    ]


def confusion_pictures(report: Report) -> str:
    """The best setting's confusion matrices, of each split."""
    figures = [
        (
            confusion_figure(own.counts.numpy(), own.class_names, _title(own)),
            f"Confusion matrix, {own.split}",
        )
        for own in report.winner
    ]
    return beside([_plain(figure, caption) for figure, caption in figures])


def gap_picture(gap: Gap) -> str:
    """How the best setting's confusion matrix differs from the second's."""
    figure = difference_figure(
        gap.second.numpy(), gap.best.numpy(), gap.class_names, ("second", "best")
    )
    return shown(figure, "Difference of the confusion matrices")


def pair_pictures(report: Report) -> list[str]:
    """Images of the classes that are most confused."""
    if report.images is None:
        return []
    pooled = report.winner[0]
    labels, probabilities = pooled.predictions[0].labels, pooled.on_same_images
    return [
        shown(
            pair_figure(report.images, labels, probabilities, pooled.class_names, pair.classes),
            " and ".join(pooled.class_names[each] for each in pair.classes),
        )
        for pair in worst_pairs(pooled.counts)
    ]


def calibration_pictures(report: Report) -> list[str]:
    """Reliability of each split; and what it gains to leave the unsure answers out."""
    return [
        beside([_reliability(own) for own in report.winner]),
        beside([_coverage(own) for own in report.winner]),
    ]


def cost_picture(report: Report) -> str:
    """The score against the number of parameters, where that differs."""
    ranked = report.ranked
    sizes = {s.figures["parameters"].mean for s in ranked.scored if "parameters" in s.figures}
    if len(sizes) < 2:
        return ""
    return shown(pareto_picture(ranked, [ranked.score, "parameters"]), "Score against parameters")


def beside(pictures: Sequence[str]) -> str:
    """Pictures beside each other, as far as there is room."""
    there = "".join(pictures)
    return f'<div class="beside">{there}</div>' if there else ""


def _plain(figure: Picture, caption: str) -> str:
    return picture(png_bytes(figure), caption)


def _title(pooled: Pooled) -> str:
    several = f", {len(pooled.runs)} networks" if len(pooled.runs) > 1 else ""
    return f"{pooled.split.capitalize()}{several}"


def _reliability(pooled: Pooled) -> str:
    bins, answers = pooled.reliability, plural(pooled.num_answers, "answer")
    figure = reliability_figure(
        bins.examples.numpy(),
        bins.confidence.numpy(),
        bins.accuracy.numpy(),
        f"{_title(pooled)}: calibration",
        f"{answers} in bins by their confidence; stroke: how far that is from their accuracy",
    )
    return _plain(figure, f"Reliability diagram, {pooled.split}")


def _coverage(pooled: Pooled) -> str:
    figure = coverage_figure(
        pooled.selection.accuracy.numpy(),
        f"{_title(pooled)}: accuracy where it may abstain",
        f"the surest of {plural(pooled.num_answers, 'answer')} first",
    )
    return _plain(figure, f"Accuracy over coverage, {pooled.split}")
