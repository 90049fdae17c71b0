"""A run's figures. Each `plot_…` writes the picture that its `…_figure` builds.

Font sizes are points; a chart of MLflow shows a figure at about one pixel per point, so what must
be read there is 8 points high or more.
"""

from fashion_mnist.plots.confusion import (
    confusion_colors,
    confusion_figure,
    plot_confusion_matrix,
)
from fashion_mnist.plots.curves import curves_figure, plot_curves
from fashion_mnist.plots.gallery import (
    first_of_each_class,
    mistakes_figure,
    plot_mistakes,
    plot_samples,
    samples_figure,
)

__all__ = [
    "confusion_colors",
    "confusion_figure",
    "curves_figure",
    "first_of_each_class",
    "mistakes_figure",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_mistakes",
    "plot_samples",
    "samples_figure",
]
