"""Charts of a leaderboard's settings show its scores, with all that is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from fashion_mnist.analysis.setting_charts import (
    curves_chart,
    history_chart,
    leaderboard_chart,
    pareto_chart,
)
from tests.analysis.boards import SCORE, job, ranked
from tests.plots.drawn import (
    HOSTILE,
    LONG,
    assert_figure_legible,
    assert_ticks_are_true,
    texts_of,
    words_of,
)


def drawn(figure: Figure | None) -> Figure:
    """The chart, which there must be."""
    assert figure is not None
    return figure


def leaderboard(scores: Sequence[Sequence[float]], values: Sequence[Sequence[str]]) -> Figure:
    """A leaderboard of settings with the scores of their runs and these values."""
    results = []
    for number, (runs, texts) in enumerate(zip(scores, values, strict=True)):
        setting: dict[str, Any] = {f"axis {k}": text for k, text in enumerate(texts)}
        for seed, score in enumerate(runs):
            results.append(job(100 * number + seed, score, seed=seed, **setting))
    return drawn(leaderboard_chart(ranked(results)))


def curves(num_epochs: int, num_curves: int = 5) -> Figure:
    """Learning curves of settings, three runs each."""
    results = []
    for number in range(num_curves):
        for seed in range(3):
            history = [
                {"epoch": epoch, "val/accuracy": 0.89 - 0.1 / epoch - number / 100 + seed / 100}
                for epoch in range(1, num_epochs + 1)
            ]
            own = job(3 * number + seed, 0.9 - number / 100, w=f"{LONG}{number}", seed=seed)
            results.append(replace(own, history=history))
    return drawn(curves_chart(ranked(results)))


def pareto(costs: Sequence[float], num_front: int) -> Figure:
    """Settings of these costs, the first ones on the front."""
    results = [
        job(n, 0.8 + n / 50 if n < num_front else 0.7 - n / 1000,
            w=f"{LONG}{n}", metrics={"parameters": cost})
        for n, cost in enumerate(costs)
    ]  # fmt: skip
    return drawn(pareto_chart(ranked(results), [SCORE, "parameters"]))


def test_leaderboard_rows_have_their_scores() -> None:
    """Each row's mean, whisker and runs are at its height, the best first."""
    figure = leaderboard([[0.86, 0.94], [0.85, 0.85]], [["relu", "1"], ["gelu", "2"]])
    [axes] = figure.axes
    means = [container.lines[0].get_xydata()[0] for container in axes.containers]  # type: ignore[attr-defined]  # of errorbars
    np.testing.assert_allclose(means, [(0.9, 0), (0.85, 1)])
    [[low, high]] = axes.collections[0].get_segments()  # type: ignore[attr-defined]  # of lines
    np.testing.assert_allclose((low[0], high[0]), (0.9 - 0.0032**0.5, 0.9 + 0.0032**0.5))
    dots = [line for line in axes.lines if line.get_zorder() == 3]
    np.testing.assert_allclose(np.asarray(dots[0].get_xydata()), [(0.86, 0), (0.94, 0)])
    heights = {text.get_text(): box[1] for text, box in texts_of(figure).items()}
    assert heights["relu"] > heights["gelu"]
    assert heights["0.9000 ± 0.0566"] == pytest.approx(heights["relu"], abs=4)
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
            [[0.9 - n / 100] for n in range(20)],
            [[f"{LONG}{n}", f"$x_{n}$", f"{n}"] for n in range(20)],
        ),
        lambda: leaderboard([[0.5]], [[]]),
        lambda: leaderboard([[0.5, 0.6], [0.5]], [HOSTILE, HOSTILE[::-1]]),
        lambda: curves(1, 1),
        lambda: curves(20),
        lambda: curves(1000, 2),
        lambda: pareto([1000.0], 1),
        lambda: pareto([10.0**n for n in range(2, 9)], 7),
        lambda: pareto([1000 + 10 * n for n in range(30)], 30),
        lambda: pareto([0.001 * 2**n for n in range(25)], 3),
        lambda: pareto([11e9 * 1.08**n for n in range(28)], 3),
        lambda: drawn(history_chart(ranked([job(n, 0.5 + n / 1e4, w=n) for n in range(300)]))),
    ],
)  # fmt: skip
def test_no_text_is_cut_or_overwritten(build: Callable[[], Figure]) -> None:
    """Whatever the words and the numbers."""
    assert_figure_legible(build())
