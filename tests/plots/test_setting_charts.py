"""Charts of a sweep's settings show the scores that they are given, with all that is written."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from matplotlib.figure import Figure

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.setting_charts import (
    Curve,
    LeaderboardRow,
    Point,
    history_figure,
    leaderboard_figure,
    learning_curves_figure,
    pareto_figure,
)
from tests.plots.drawn import (
    HOSTILE,
    LONG,
    assert_figure_legible,
    assert_ticks_are_true,
    texts_of,
    words_of,
)


def one(mean: float) -> Statistic:
    """One run's score."""
    return Statistic(mean, None, 1)


def leaderboard(scores: Sequence[Statistic], values: Sequence[Sequence[str]]) -> Figure:
    """A leaderboard of settings with these values."""
    rows = [
        LeaderboardRow(
            own, [score.mean - 0.01, score.mean + 0.01], score, f"{score.mean:.4f}", f"{score.n}"
        )
        for score, own in zip(scores, values, strict=True)
    ]
    names = [f"axis {number}" for number in range(len(values[0]))]
    return leaderboard_figure(names, rows, "Leaderboard", "")


def curves(num_epochs: int, num_curves: int = 5) -> Figure:
    """Learning curves of settings, three runs each."""
    settings = []
    for number in range(num_curves):
        scores = {
            epoch: Statistic(0.9 - 0.1 / epoch - number / 100, 0.01, 3)
            for epoch in range(1, num_epochs + 1)
        }
        settings.append(Curve(f"{LONG}{number}", "0.9000 ± 0.0100 (n = 3)", scores))
    return learning_curves_figure(settings, "Learning curves", "Mean ± std")


def pareto(costs: Sequence[float], num_front: int) -> Figure:
    """Settings of these costs, the first ones on the front."""
    points = [Point(cost, Statistic(0.8 + n / 50, 0.01, 3), f"{LONG}{n}", "0.9 at 100 (n = 3)")
              for n, cost in enumerate(costs)]  # fmt: skip
    return pareto_figure(points[:num_front], points[num_front:], "parameters", "Pareto", "")


def test_leaderboard_rows_have_their_scores() -> None:
    """Each row's mean, whisker and runs are at its height, the best first."""
    scores = [Statistic(0.9, 0.02, 2), one(0.85)]
    figure = leaderboard(scores, [["relu", "1"], ["gelu", "2"]])
    [axes] = figure.axes
    means = [container.lines[0].get_xydata()[0] for container in axes.containers]  # type: ignore[attr-defined]  # of errorbars
    np.testing.assert_allclose(means, [(0.9, 0), (0.85, 1)])
    [[low, high]] = axes.collections[0].get_segments()  # type: ignore[attr-defined]  # of lines
    np.testing.assert_allclose((low[0], high[0]), (0.88, 0.92))
    heights = {text.get_text(): box[1] for text, box in texts_of(figure).items()}
    assert heights["relu"] > heights["gelu"]
    assert heights["0.9000"] == pytest.approx(heights["relu"], abs=4)
    assert_ticks_are_true(axes)


@pytest.mark.parametrize(("num_epochs", "is_band"), [(3, False), (100, True)])
def test_learning_curves_are_means_with_their_spread(num_epochs: int, is_band: bool) -> None:
    """Whiskers of few epochs, a band over many; each curve goes through its means."""
    [axes] = curves(num_epochs).axes
    means = [0.9 - 0.1 / epoch for epoch in range(1, num_epochs + 1)]
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), means)
    spreads = [path.get_extents().height for path in axes.collections[0].get_paths()]
    assert (len(spreads) == 1) == is_band
    if not is_band:
        np.testing.assert_allclose(spreads, 0.02)
    assert_ticks_are_true(axes)


def test_the_front_is_drawn_and_named() -> None:
    """Each of its settings is numbered in the picture and below it; costs far apart are logs."""
    figure = pareto([1000, 5000, 90_000, 70_000], 3)
    [axes] = figure.axes
    np.testing.assert_allclose(np.asarray(axes.lines[-1].get_xdata()), [1000, 5000, 90_000])
    assert axes.get_xscale() == "log"
    assert [words_of(figure).count(number) for number in ("1", "2", "3", "4")] == [2, 2, 2, 0]
    assert pareto([1000, 1100], 1).axes[0].get_xscale() == "linear"
    assert_ticks_are_true(axes)


@pytest.mark.parametrize(
    "build",
    [
        lambda: leaderboard(
            [one(0.9 - n / 100) for n in range(20)], [[LONG, "$x$", f"{n}"] for n in range(20)]
        ),
        lambda: leaderboard([one(0.5)], [[]]),
        lambda: leaderboard([one(0.5)] * 2, [HOSTILE, HOSTILE]),
        lambda: curves(1, 1),
        lambda: curves(20),
        lambda: curves(1000, 2),
        lambda: pareto([1000.0], 1),
        lambda: pareto([10.0**n for n in range(2, 9)], 7),
        lambda: pareto([1000 + 10 * n for n in range(30)], 30),
        lambda: pareto([0.001 * 2**n for n in range(25)], 3),
        lambda: pareto([11e9 * 1.08**n for n in range(28)], 3),
        lambda: history_figure(
            {n: 0.5 + n / 1e4 for n in range(1, 300)}, LONG, "All", "", lower_is_better=False
        ),
    ],
)  # fmt: skip
def test_no_text_is_cut_or_overwritten(build: Callable[[], Figure]) -> None:
    """Whatever the words and the numbers."""
    assert_figure_legible(build())
