"""Charts of one network: learning curves, calibration, coverage, robustness.

`N` examples, `K` bins of equal width. Lengths are points.
"""

from __future__ import annotations  # matplotlib is imported when something is drawn

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fashion_mnist.plots.drawing import BLUE, FAINT, INK, VERMILION
from fashion_mnist.plots.figure import (
    default_style,
    new_figure,
    number_ticks,
    text_ticks_below,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALE_BLUE = "#cfe2ef"
CURVES = {  # panel -> key of the history, label, colour, line style
    "loss": [("train/loss", "train", BLUE, "-"), ("val/loss", "validation", VERMILION, "-")],
    "accuracy": [
        ("train/accuracy", "train", BLUE, "-"),
        ("val/accuracy", "validation", VERMILION, "-"),
        ("val/f1_macro", "validation, macro F1", VERMILION, ":"),
    ],
    "learning rate": [("lr", "", INK, "-")],
}
MOST_DOTS = 30  # epochs: where there are more, the line alone is drawn
LARGEST = 1e30  # of a curve's values: ticks of larger ones overflow
MOST_POINTS = 400  # of a coverage curve: more cannot be seen
MARKED = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # coverages whose accuracy is written
FIRST = 0.05  # of the coverages: below it a single mistake moves the curve


class Level(NamedTuple):
    """A corruption's strength, and the accuracy there with the ends of its interval, in [0, 1]."""

    strength: float
    accuracy: float
    low: float
    high: float


@default_style()
def curves_figure(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Loss, accuracy and learning rate over epochs, from rows of the run's history.

    A key that no row has (a run without validation) is left out. A NaN, and a loss above 1e30, is a
    gap.
    """
    figure, panels = new_figure(
        title, "", (186, 154), grid=(1, 3), gap=(44, 0), left=40, top=80, bottom=36
    )
    for axes, (name, curves) in zip(panels, CURVES.items(), strict=True):
        axes.set_title(name, pad=30)
        axes.set_xlabel("epoch")
        for key, label, color, style in curves:
            points = [(row["epoch"], row[key]) for row in history if key in row]
            if points:
                epochs, values = np.array(points, dtype=np.float64).T
                marker = "." if len(points) <= MOST_DOTS else ""
                words = f"{label} {_last_value(values[-1])}" if label else None
                shown = np.where(np.abs(values) < LARGEST, values, np.nan)
                axes.plot(epochs, shown, style, color=color, lw=1.4, marker=marker, label=words)
        if name != "accuracy":
            axes.update_datalim([(history[0]["epoch"], 0)] if history else [])
            axes.autoscale_view()
        number_ticks(axes.xaxis, whole=True)
        number_ticks(axes.yaxis)
        if any(label for _, label, *_ in curves) and axes.lines:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


@default_style()
def reliability_figure(
    count: ArrayLike, confidence: ArrayLike, accuracy: ArrayLike, title: str, caption: str
) -> Figure:
    """Accuracy over confidence, and below the share of the examples, of bins `[K]` each.

    The stroke of a bin goes from its dot to the diagonal, where confidence is accuracy. An empty
    bin has nothing.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", figure 1.
    """
    counts, sure, right = (np.asarray(each, float) for each in (count, confidence, accuracy))
    shares = 100 * counts / max(counts.sum(), 1)
    middles = 100 * (np.arange(len(counts)) + 0.5) / len(counts)
    has_any = counts > 0
    figure, (upper, lower) = new_figure(
        title, caption, (380, 232), grid=(2, 1), gap=(0, 14), height_ratios=(380, 84), sharex=True
    )
    for axes, heights in ((upper, 100 * right), (lower, shares)):
        width = 97 / len(counts)
        axes.bar(middles[has_any], heights[has_any], width, color=PALE_BLUE)
    upper.set_xlim(0, 100)
    number_ticks(upper.xaxis, 10)
    upper.plot([0, 100], [0, 100], ":", color=FAINT, lw=1)
    x, y = 100 * sure[has_any], 100 * right[has_any]
    upper.vlines(x, x, y, VERMILION, lw=2)
    upper.plot(x, y, "o", color=BLUE, ms=6.4, clip_on=False)
    upper.set_ylim(0, 100)
    lower.set_ylim(0, max(shares.max() * 1.1, 1))
    number_ticks(upper.yaxis, 10)
    number_ticks(lower.yaxis, 3)
    upper.text(10 / 3.8, 100 - 14 / 3.8, "dots under the diagonal: surer than right", color=FAINT)
    upper.set_ylabel("accuracy, %")
    lower.set_ylabel("examples, %")
    lower.set_xlabel("confidence, %")
    figure.align_ylabels([upper, lower])
    return figure


@default_style()
def coverage_figure(accuracy: ArrayLike, title: str, caption: str) -> Figure:
    """Accuracy over coverage, from `[N]` accuracies of the n most confident, n from 1 to N."""
    values = 100 * np.asarray(accuracy, float)
    total = len(values)
    first = min(max(int(FIRST * total), 1), total)
    shown = np.unique(np.linspace(first, total, MOST_POINTS).round().astype(int))
    marked = np.unique([max(round(share * total), 1) for share in MARKED])
    figure, [axes] = new_figure(title, caption, (414, 264))
    axes.plot(100 * shown / total, values[shown - 1], color=BLUE, lw=1.8)
    axes.plot(100 * marked / total, values[marked - 1], "o", color=BLUE, ms=6)
    for number in marked:
        axes.annotate(
            f"{values[number - 1]:.1f}",
            (100 * number / total, values[number - 1]),
            (-4, -9),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
        )
    axes.set_xlim(0, 102)
    axes.margins(y=0.09)
    number_ticks(axes.xaxis, 10)
    number_ticks(axes.yaxis, 8)
    axes.set_xlabel("coverage: share of the images that are answered, the surest first, %")
    axes.set_ylabel("accuracy of the answers, %")
    return figure


@default_style()
def robustness_figure(
    curves: Mapping[str, tuple[str, Sequence[Level]]], title: str, caption: str
) -> Figure:
    """Accuracy over strength, from corruption -> unit and levels; all on one scale of accuracy.

    Whiskers are the intervals; the dotted line is where the first corruption begins, without any.
    """
    figure, panels = new_figure(
        title, caption, (196, 210), grid=(1, len(curves)), gap=(16, 0), top=76, sharey=True
    )
    clean = 100 * next(iter(curves.values()))[1][0].accuracy
    for axes, (name, (unit, levels)) in zip(panels, curves.items(), strict=True):
        strengths, *heights = zip(*levels, strict=True)
        middle, low, high = 100 * np.array(heights)
        axes.axhline(clean, ls=":", color=FAINT, lw=1)
        axes.vlines(strengths, low, high, BLUE, lw=1.2)
        axes.plot(strengths, middle, "o-", color=BLUE, lw=1.4, ms=6)
        axes.set_title(name)
        axes.set_xlabel(unit)
        text_ticks_below(axes, [(strength, f"{strength:g}") for strength in strengths])
    panels[0].set_ylabel("accuracy, %")
    number_ticks(panels[0].yaxis, 8)
    return figure


def _last_value(value: float) -> str:
    """Where a curve ends."""
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 100 else f"{value:.4g}"
