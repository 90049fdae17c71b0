"""Figures of a run and its network. Each `plot_…` writes the picture that its `…_figure` builds.

Font sizes are points; a chart of MLflow shows a figure at about one pixel per point, so what must
be read there is 8 points high or more.
"""

from fashion_mnist.plots.confusion import (
    confusion_colors,
    confusion_figure,
    plot_confusion_matrix,
)
from fashion_mnist.plots.coverage import coverage_figure, plot_coverage
from fashion_mnist.plots.curves import curves_figure, plot_curves
from fashion_mnist.plots.difference import (
    difference_colors,
    difference_figure,
    plot_difference,
)
from fashion_mnist.plots.gallery import (
    disagreements_figure,
    first_of_each_class,
    mistakes_figure,
    pair_figure,
    plot_mistakes,
    plot_samples,
    samples_figure,
)
from fashion_mnist.plots.reliability import plot_reliability, reliability_figure
from fashion_mnist.plots.robustness import Level, plot_robustness, robustness_figure

__all__ = [
    "Level",
    "confusion_colors",
    "confusion_figure",
    "coverage_figure",
    "curves_figure",
    "difference_colors",
    "difference_figure",
    "disagreements_figure",
    "first_of_each_class",
    "mistakes_figure",
    "pair_figure",
    "plot_confusion_matrix",
    "plot_coverage",
    "plot_curves",
    "plot_difference",
    "plot_mistakes",
    "plot_reliability",
    "plot_robustness",
    "plot_samples",
    "reliability_figure",
    "robustness_figure",
    "samples_figure",
]
