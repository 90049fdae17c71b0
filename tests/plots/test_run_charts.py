"""Charts of one network show the numbers that they are given, where they are."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fashion_mnist.plots.drawing import BLUE, INK, VERMILION
from fashion_mnist.plots.run_charts import (
    Level,
    coverage_figure,
    curves_figure,
    reliability_figure,
    robustness_figure,
)
from tests.plots.drawn import HOSTILE, assert_figure_legible, assert_ticks_are_true, words_of

NAN = float("nan")
HISTORY: list[dict[str, float]] = [
    {"epoch": 1, "train/loss": 0.9, "train/accuracy": 0.6, "val/loss": 0.8,
     "val/accuracy": 0.7, "val/f1_macro": 0.65, "lr": 0.1},
    {"epoch": 2, "train/loss": NAN, "train/accuracy": 0.7, "val/loss": 0.5,
     "val/accuracy": 0.8125, "val/f1_macro": 0.75, "lr": 0.05},
]  # fmt: skip
KEYS = [["train/loss", "val/loss"], ["train/accuracy", "val/accuracy", "val/f1_macro"], ["lr"]]
COUNT, CONFIDENCE, ACCURACY = [0, 20, 0, 60, 20], [0, 0.3, 0, 0.75, 0.95], [0, 0.5, 0, 0.6, 0.9]
ROBUSTNESS = {
    "shift": ("pixels", [Level(0, 0.9, 0.88, 0.92), Level(4, 0.4, 0.38, 0.42)]),
    "noise": ("standard deviation", [Level(0, 0.9, 0.88, 0.92), Level(0.5, 0.7, 0.68, 0.72)]),
}


def reliability() -> Figure:
    """Five bins, two of them empty."""
    return reliability_figure(COUNT, CONFIDENCE, ACCURACY, "Test", "a caption")


def long_history(num_epochs: int, scale: float = 1.0) -> list[dict[str, float]]:
    """As many epochs of all curves, each falling to its `scale`."""
    keys = [key for panel in KEYS for key in panel]
    return [
        {"epoch": epoch, **dict.fromkeys(keys, scale * (1 + 1 / epoch))}
        for epoch in range(1, num_epochs + 1)
    ]


def points(line: Line2D) -> NDArray[np.float64]:
    """What a line goes through, `[N, 2]`."""
    return np.asarray(line.get_xydata(), dtype=np.float64)


def segments(axes: Axes) -> list[NDArray[np.float64]]:
    """Both ends of each upright line of an area."""
    return [np.asarray(own) for lines in axes.collections for own in lines.get_segments()]  # type: ignore[attr-defined]  # vlines are a LineCollection


def test_curves_show_the_history() -> None:
    """Each key of the history is one line over the epochs; ticks are where they say."""
    figure = curves_figure(HISTORY, "quiet-owl")
    for axes, keys in zip(figure.axes, KEYS, strict=True):
        for line, key in zip(axes.lines, keys, strict=True):
            expected = [(row["epoch"], row[key]) for row in HISTORY]
            np.testing.assert_array_equal(points(line), expected)
        assert_ticks_are_true(axes)
    lines = [line for axes in figure.axes for line in axes.lines]
    assert [to_hex(line.get_color()) for line in lines] == [
        *(BLUE, VERMILION), *(BLUE, VERMILION, VERMILION), INK,
    ]  # fmt: skip
    assert [line.get_linestyle() for line in lines] == ["-", "-", "-", "-", ":", "-"]
    expected_words = {"quiet-owl", "loss", "accuracy", "learning rate"}
    assert expected_words | {"validation 0.8125", "train nan"} <= {*words_of(figure)}


@pytest.mark.parametrize("num_epochs", [1, 3, 30, 100, 1000])
def test_epochs_are_whole_numbers(num_epochs: int) -> None:
    """However few or many there are; few have a dot each."""
    figure = curves_figure(long_history(num_epochs), "")
    for axes in figure.axes:
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels
        assert all(label.replace(",", "").isdigit() for label in labels), labels
        assert (axes.lines[0].get_marker() == ".") == (num_epochs <= 30)


def test_curves_without_validation_or_epochs() -> None:
    """A run without validation has its training curves alone; no epoch at all is no error."""
    history = [{"epoch": 1, "train/loss": 0.9, "train/accuracy": 0.6, "lr": 0.1}]
    figure = curves_figure(history, "run")
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 1]
    assert not [words for words in words_of(figure) if words.startswith("validation")]
    assert not [axes.lines[:] for axes in curves_figure([], "run").axes if axes.lines]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e308])
def test_a_value_that_cannot_be_drawn_is_a_gap(value: float) -> None:
    """A loss that overflows leaves the rest of its curve, and says where it ends."""
    history: list[dict[str, float]] = [
        {"epoch": epoch, "train/loss": loss} for epoch, loss in enumerate([0.5, 0.4, value])
    ]
    figure = curves_figure(history, "")
    assert np.isfinite(points(figure.axes[0].lines[0])[:, 1]).tolist() == [True, True, False]
    assert f"train {value:.3g}" in words_of(figure)
    assert_figure_legible(figure)


def test_bins_stand_at_their_confidence_and_accuracy() -> None:
    """A dot for each bin that has examples, its stroke to the diagonal, its share below."""
    upper, lower = reliability().axes
    np.testing.assert_allclose(points(upper.lines[1]), [(30, 50), (75, 60), (95, 90)])
    strokes = segments(upper)
    np.testing.assert_allclose(
        strokes, [[(x, x), (x, y)] for x, y in ((30, 50), (75, 60), (95, 90))]
    )
    heights = [[bar.get_height() for bar in axes.patches] for axes in (upper, lower)]  # type: ignore[attr-defined]  # bars are Rectangles
    np.testing.assert_allclose(heights, [[50, 60, 90], [20, 60, 20]])
    assert_ticks_are_true(upper)
    assert_ticks_are_true(lower)


def test_coverage_writes_the_accuracies_that_people_ask_for() -> None:
    """At 50 to 100 %, of ten thousand, of three and of a single image."""
    words = words_of(coverage_figure(np.linspace(1, 0.9, 10_000), "Test", ""))
    assert {"95.0", "94.0", "93.0", "92.0", "91.0", "90.0"} <= {*words}
    assert "66.7" in words_of(coverage_figure([1, 1, 2 / 3], "Test", ""))
    assert "100.0" in words_of(coverage_figure([1.0], "Test", ""))


def test_coverage_is_drawn_to_scale() -> None:
    """The curve's end is at 100 % and its accuracy, the first dot at half."""
    [axes] = coverage_figure(np.linspace(1, 0.9, 10_000), "Test", "").axes
    curve, dots = (points(line) for line in axes.lines)
    np.testing.assert_allclose(curve[-1], (100, 90))
    np.testing.assert_allclose(dots[[0, -1]], [(50, 95), (100, 90)], atol=0.02)
    assert_ticks_are_true(axes)


def test_corruptions_have_a_panel_each_on_one_scale() -> None:
    """Accuracy against each strength, on an axis that the panels share; whiskers are intervals."""
    figure = robustness_figure(ROBUSTNESS, "Test", "")
    shift, noise = figure.axes
    np.testing.assert_allclose(points(shift.lines[1]), [(0, 90), (4, 40)])
    np.testing.assert_allclose(points(noise.lines[1]), [(0, 90), (0.5, 70)])
    whiskers = [*segments(shift), *segments(noise)]
    np.testing.assert_allclose([np.ptp(own[:, 1]) for own in whiskers], 4)
    assert shift.get_ylim() == noise.get_ylim()
    assert_ticks_are_true(shift)
    assert {"shift", "noise", "pixels", "standard deviation", "0.5"} <= {*words_of(figure)}


@pytest.mark.parametrize(
    "build",
    [
        lambda: curves_figure(long_history(3), "Learning curves"),
        lambda: curves_figure(long_history(100, 9e-5), "A long title " * 200),
        lambda: curves_figure(long_history(1000, 12_345.0), HOSTILE[2]),
        lambda: curves_figure(HISTORY, HOSTILE[5]),
        lambda: curves_figure([], ""),
        reliability,
        lambda: reliability_figure([0, 0], [0, 0], [0, 0], "Test", ""),
        lambda: reliability_figure([1], [1], [1], "A long title " * 20, "words " * 400),
        lambda: coverage_figure(np.linspace(1, 0.9, 500), "A long title " * 20, "w " * 200),
        lambda: coverage_figure(np.ones(50), "Test", ""),
        lambda: coverage_figure([0.5], "Test", ""),
        lambda: robustness_figure(ROBUSTNESS, "A long title " * 20, "words " * 40),
        lambda: robustness_figure({"shift": ("pixels", [Level(0, 1, 1, 1)])}, "Test", ""),
        lambda: robustness_figure(
            {"noise": ("σ", [Level(n / 100, 0.5, 0.4, 0.6) for n in range(40)])}, "Test", ""
        ),
    ],
)
def test_no_text_is_cut_or_overwritten(build: Callable[[], Figure]) -> None:
    """Whatever the words and the numbers."""
    assert_figure_legible(build())
