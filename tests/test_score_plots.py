"""Pictures of how good a network is: they show the numbers that they are given, where they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fashion_mnist import plots
from fashion_mnist.canvas import BLUE, FAINT, VERMILION, Canvas, Line, Text
from fashion_mnist.plots import Level
from tests.test_plots import assert_no_text_is_cut, pixels_of, words_of

COUNT, CONFIDENCE, ACCURACY = [0, 20, 0, 60, 20], [0, 0.3, 0, 0.75, 0.95], [0, 0.5, 0, 0.6, 0.9]
ROBUSTNESS = {
    "shift": ("pixels", [Level(0, 0.9, 0.88, 0.92), Level(4, 0.4, 0.38, 0.42)]),
    "noise": ("standard deviation", [Level(0, 0.9, 0.88, 0.92), Level(0.5, 0.7, 0.68, 0.72)]),
}


def reliability() -> Canvas:
    """Five bins, two of them empty."""
    return plots.reliability_figure(COUNT, CONFIDENCE, ACCURACY, "Test", "a caption")


def axis(texts: list[Text], *, is_upright: bool) -> tuple[float, float]:
    """Slope and start of value = slope · place + start, from the numbers written along an axis."""
    places = np.array([text.y if is_upright else text.x for text in texts])
    slope, start = np.polyfit(places, [float(text.words) for text in texts], 1)
    return float(slope), float(start)


def ticks(figure: Canvas, *, left_of: float = 1e9, below: float = -1.0) -> list[Text]:
    """Numbers in the ink of axes, left of one place and below another."""
    texts = [text for text in figure.texts if text.color == FAINT and text.x < left_of]
    return [t for t in texts if t.y > below and t.words.replace(".", "").isdigit()]


def dots_of(figure: Canvas) -> npt.NDArray[np.float64]:
    """Where dots are, `[n, 2]`."""
    lines = [line.points for line in figure.lines if line.dots and line.color == BLUE]
    return np.concatenate(lines)


def test_bins_stand_at_their_confidence_and_accuracy() -> None:
    """A dot for each bin that has examples, its stroke to the diagonal; the axes say where."""
    figure = reliability()
    bottom = max(text.y for text in figure.texts if text.words == "0" and text.x > 50)
    across = axis([t for t in ticks(figure) if t.y == bottom], is_upright=False)
    up = axis([t for t in ticks(figure, left_of=50) if t.y < 435], is_upright=True)
    values = dots_of(figure) * (across[0], up[0]) + (across[1], up[1])
    np.testing.assert_allclose(values, [(30, 50), (75, 60), (95, 90)], atol=0.01)
    strokes = [line for line in figure.lines if line.color == VERMILION]
    ends = np.array([line.points[1] for line in strokes]) * (across[0], up[0]) + (across[1], up[1])
    np.testing.assert_allclose(ends[:, 0], ends[:, 1], atol=0.01)
    assert len(figure.boxes) == 6  # accuracy, and share of the examples, of three bins


def test_coverage_writes_the_accuracies_that_people_ask_for() -> None:
    """At 50 to 100 %, of ten thousand, of three and of a single image."""
    accuracy = np.linspace(1, 0.9, 10_000)
    words = words_of(plots.coverage_figure(accuracy, "Test", ""))
    assert {"95.0", "94.0", "93.0", "92.0", "91.0", "90.0"} <= {*words}
    words = words_of(plots.coverage_figure([1, 1, 2 / 3], "Test", ""))
    assert "66.7" in words
    assert "100.0" in words_of(plots.coverage_figure([1.0], "Test", ""))


def test_coverage_is_drawn_to_scale() -> None:
    """The curve's end is at 100 % and its accuracy, the first dot at half."""
    figure = plots.coverage_figure(np.linspace(1, 0.9, 10_000), "Test", "")
    bottom = max(text.y for text in ticks(figure))
    across = axis([t for t in ticks(figure) if t.y == bottom], is_upright=False)
    up = axis([t for t in ticks(figure, left_of=50) if t.y < bottom], is_upright=True)
    values = dots_of(figure) * (across[0], up[0]) + (across[1], up[1])
    np.testing.assert_allclose(values[[0, -1]], [(50, 95), (100, 90)], atol=0.02)


def test_disturbances_have_a_panel_each_on_one_scale() -> None:
    """Accuracy against each strength, on an axis that the panels share; whiskers are intervals."""
    figure = plots.robustness_figure(ROBUSTNESS, "Test", "")
    up = axis(ticks(figure, left_of=50), is_upright=True)
    dots = dots_of(figure)
    np.testing.assert_allclose(dots[:, 1] * up[0] + up[1], [90, 40, 90, 70], atol=0.01)
    whiskers = [line for line in figure.lines if is_whisker(line)]
    lengths = [abs(line.points[0, 1] - line.points[1, 1]) * -up[0] for line in whiskers]
    np.testing.assert_allclose(lengths, 4, atol=0.01)
    assert {"shift", "noise", "pixels", "standard deviation", "0.5"} <= {*words_of(figure)}


def is_whisker(line: Line) -> bool:
    """Whether a line stands upright in the colour of the curve."""
    return line.color == BLUE and not line.dots and np.ptp(line.points[:, 0]) == 0


@pytest.mark.parametrize(
    "build",
    [
        reliability,
        lambda: plots.reliability_figure([0, 0], [0, 0], [0, 0], "Test", ""),
        lambda: plots.reliability_figure([1], [1], [1], "A long title " * 20, "words " * 40),
        lambda: plots.coverage_figure(np.linspace(1, 0.9, 500), "A long title " * 20, "w " * 200),
        lambda: plots.coverage_figure(np.ones(50), "Test", ""),
        lambda: plots.robustness_figure(ROBUSTNESS, "A long title " * 20, "words " * 40),
        lambda: plots.robustness_figure({"shift": ("pixels", [Level(0, 1, 1, 1)])}, "Test", ""),
    ],
    ids=["bins", "no bins", "one bin", "coverage", "no mistakes", "robustness", "one panel"],
)
def test_no_text_is_cut(build: Callable[[], Canvas]) -> None:
    """Whatever the words and the numbers."""
    assert_no_text_is_cut(build())


def test_pictures_are_written(tmp_path: Path) -> None:
    """Each plot function writes one readable PNG."""
    plots.plot_reliability(COUNT, CONFIDENCE, ACCURACY, tmp_path / "a.png", "Test", "")
    plots.plot_coverage([1, 1, 0.5], tmp_path / "b.png", "Test", "")
    plots.plot_robustness(ROBUSTNESS, tmp_path / "c.png", "Test", "")
    for file in sorted(tmp_path.iterdir()):
        height, width, _ = pixels_of(file).shape
        assert 800 <= width <= 1800, file
        assert 300 <= height <= 1800, file
    assert len(list(tmp_path.iterdir())) == 3
