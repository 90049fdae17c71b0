"""Charts of a leaderboard's axes show its scores, along axes that can be read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from fashion_mnist.analysis.axis_charts import (
    effects_chart,
    heat_map_chart,
    importance_chart,
    parallel_chart,
)
from tests.analysis.boards import SCORE, job, ranked
from tests.plots.drawn import (
    HOSTILE,
    LONG,
    assert_figure_legible,
    assert_ticks_are_true,
    words_of,
)

RATES = [f"{10 ** (-5 + n / 10):.3g}" for n in range(40)]
MODELS = ["small", "a_residual_network_of_great_width", "pyramid", "mlp_512", "bottleneck"]
TEN = ranked([job(k, k / 10, w=k) for k in range(10)])


def drawn(figure: Figure | None) -> Figure:
    """The chart, which there must be."""
    assert figure is not None
    return figure


def effects(*values: Sequence[str]) -> Figure:
    """Main effects of axes with these values, two settings for each, and of what these differ in.

    A setting has a value on one axis alone.
    """
    results = []
    for k, own in enumerate(values):
        for n, value in enumerate([*own, *own]):
            number, copy = n % len(own), n // len(own)
            setting: dict[str, Any] = {f"axis {k}": value, "copy": copy}
            results.append(job(1000 * k + n, 0.8 + number / 100, **setting))
    shares = {f"axis {k}": 0.1 for k in range(len(values))}
    return drawn(effects_chart(ranked(results), shares))


def heat_map(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> Figure:
    """All pairs of these values, the score growing with both."""
    means = {
        (x, y): 0.8 + i / 100 + j / 1000 for i, x in enumerate(first) for j, y in enumerate(second)
    }
    return heat_map_of(means, names)


def heat_map_of(means: Mapping[tuple[str, str], float], names: tuple[str, str]) -> Figure:
    """These scores of pairs of values; where all have one value, a setting besides has another."""
    results = []
    for n, (pair, mean) in enumerate(means.items()):
        setting: dict[str, Any] = dict(zip(names, pair, strict=True))
        results.append(job(n, mean, **setting))
    for name, own in zip(names, zip(*means, strict=True), strict=True):
        if len(set(own)) == 1:
            setting = {name: f"{own[0]}1"}
            results.append(job(len(results), 0.1, **setting))
    return drawn(heat_map_chart(ranked(results), {names[0]: 0.6, names[1]: 0.4}))


def parallel(
    names: Sequence[str], values: Sequence[Sequence[str]], scores: Sequence[float], score: str
) -> Figure:
    """Settings with these values, of each axis one for each setting."""
    results = []
    for n, (own, pair) in enumerate(zip(scores, zip(*values, strict=True), strict=True)):
        setting: dict[str, Any] = dict(zip(names, pair, strict=True))
        results.append(job(n, own, metrics={score: own}, **setting))
    return drawn(parallel_chart(ranked(results, score)))


def test_importance_bars_are_the_shares() -> None:
    """In order from the top, each with its share in words."""
    figure = drawn(importance_chart(TEN, {"model.width": 0.75, "optimizer.lr": 0.25}))
    [axes] = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]  # type: ignore[attr-defined]  # bars are Rectangles
    assert {"model.width", "optimizer.lr", "75.0%", "25.0%"} <= {*words_of(figure)}
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_effects_stand_at_their_values() -> None:
    """Means of numbers at these or their logarithms, of texts the best first, on one scale."""
    figure = effects(["1e-4", "1e-3", "1e-2"], ["relu", "gelu"])
    first, second, _ = figure.axes
    means = first.containers[0].lines[0].get_xydata()  # type: ignore[attr-defined]  # of errorbars
    np.testing.assert_allclose(means, [(-4, 0.8), (-3, 0.81), (-2, 0.82)])
    assert [label.get_text() for label in first.get_xticklabels()] == ["1e-4", "1e-3", "1e-2"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["gelu", "relu"]
    assert first.get_ylim() == second.get_ylim()
    assert len(effects(*3 * [["1", "2"]]).axes) == 4  # and no empty one in the second row


def test_parallel_lines_go_through_their_values() -> None:
    """The best, drawn last and thick, ends at the highest score and starts at its own value."""
    figure = parallel(["lr"], [["1e-3", "1e-2", "1e-4"]], [0.9, 0.8, 0.7], SCORE)
    [axes] = figure.axes
    lines = axes.collections[0]
    best = lines.get_segments()[-1]  # type: ignore[attr-defined]  # a LineCollection
    assert best[0][1] == pytest.approx(0.5)
    assert best[1][1] > 0.9
    assert lines.get_linewidth()[-1] > lines.get_linewidth()[0]  # type: ignore[index]  # one each
    ticks = [text for text in axes.texts if text.get_text() == "1e-3"]
    assert ticks[0].xy[1] == pytest.approx(0.5)  # type: ignore[attr-defined]  # an Annotation


def test_heat_map_has_each_mean_in_its_cell() -> None:
    """Written and coloured in the column and row of its values; a pair without one is empty."""
    means = {("64", "relu"): 0.81, ("512", "relu"): 0.82, ("512", "gelu"): 0.83}
    figure = heat_map_of(means, ("width", "activation"))
    [axes] = figure.axes
    columns = [label.get_text() for label in axes.get_xticklabels()]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    cells = {
        (columns[int(text.get_position()[0])], rows[int(text.get_position()[1])]): text.get_text()
        for text in axes.texts
    }
    assert cells == {pair: f"{mean:.4f}" for pair, mean in means.items()}
    colored = np.ma.filled(axes.collections[0].get_array().astype(float), np.nan)  # type: ignore[union-attr]  # a mesh has one
    expected = [[means.get((column, row), np.nan) for column in columns] for row in rows]
    np.testing.assert_allclose(colored, expected)


@pytest.mark.parametrize("num_values", [2, 20])
def test_a_heat_map_of_sizes_is_in_whole_numbers(num_values: int) -> None:
    """In its cells, and beside the colours of its dots."""
    results = [
        job(2 * k + n, 0.9, metrics={"parameters": 1000.0 * (k + n) + 5970}, w=k, h=n)
        for k in range(num_values)
        for n in range(2)
    ]
    figure = drawn(heat_map_chart(ranked(results, "parameters"), {"w": 0.6, "h": 0.4}))
    assert {"5,970", f"{1000 * num_values + 5970:,}"} <= {*words_of(figure)}


def test_a_title_keeps_the_capitals_of_a_metric() -> None:
    """F1 is no f1."""
    results = [
        job(2 * k + n, 0.9, metrics={"final/val_f1_macro": 0.8 + k / 10 + n / 100}, w=k, h=n)
        for k in range(2)
        for n in range(2)
    ]
    board = ranked(results, "final/val_f1_macro")
    assert "Validation macro F1 by w and h" in words_of(drawn(heat_map_chart(board, {"w": 1.0})))


@pytest.mark.parametrize("is_row", [True, False])
def test_a_heat_map_of_one_row_is_a_line(is_row: bool) -> None:
    """Where one of the axes has one value alone, the score is drawn over the other."""
    values, fixed = ["1", "2", "3"], ["0.9"]
    pair = (values, fixed) if is_row else (fixed, values)
    names = ("width", "momentum") if is_row else ("momentum", "width")
    figure = heat_map(*pair, names)
    [axes] = figure.axes
    line = np.asarray(axes.lines[0].get_xydata())
    assert line[:, 0].tolist() == [1, 2, 3]
    assert (np.diff(line[:, 1]) > 0).all()
    assert axes.get_xlabel() == "width"
    assert any("momentum=0.9" in words for words in words_of(figure))
    assert_ticks_are_true(axes)


def test_many_values_are_dots_with_a_colour_key() -> None:
    """Above twelve values of an axis, a dot for each pair; the best are drawn last."""
    figure = heat_map([f"{n}" for n in range(20)], ["1", "2"], ("epochs", "width"))
    places = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(places) == 40
    assert places[-1].tolist() == [19, 2]
    assert {"0.8000", "0.9910"} <= {*words_of(figure)}


@pytest.mark.parametrize(
    "build",
    [
        lambda: drawn(importance_chart(TEN, {LONG: 0.9, "a": 0.1, "b": 0.0})),
        lambda: drawn(importance_chart(TEN, {"a": 0.0})),
        lambda: effects(RATES, MODELS, ["64", "128", "256", "512"], ["1e-4", "3e-4", "1e-3"]),
        lambda: effects(["1", "2"]),
        lambda: effects(["1e300", "-1e300"], ["0", "1e-300"], ["1e9", "2e12"]),
        lambda: effects([f"1e{20 * n}" for n in range(-15, 16)]),
        lambda: effects(HOSTILE, [f"{LONG}{n}" for n in range(30)]),
        lambda: heat_map(MODELS, ["none", "flip", LONG], ("model", "augment")),
        lambda: heat_map(HOSTILE, RATES[:12], (f"{LONG}1", f"{LONG}2")),
        lambda: heat_map(RATES, RATES, ("lr", "weight_decay")),
        lambda: heat_map(RATES, MODELS, ("lr", "model")),
        lambda: heat_map(["1"], MODELS, ("lr", "model")),
        lambda: parallel(
            "abcdefghijklmn", [RATES] * 14, [n / 40 for n in range(40)], "final/val_loss"
        ),
        lambda: parallel(
            [f"{LONG}1", "b"], [HOSTILE, [f"{n % 2}" for n in range(len(HOSTILE))]],
            [0.5] * len(HOSTILE), "final/val_loss",
        ),
    ],
)  # fmt: skip
def test_no_text_is_cut_or_overwritten(build: Callable[[], Figure]) -> None:
    """Whatever the words and the numbers."""
    assert_figure_legible(build())
