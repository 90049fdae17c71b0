"""Axes of charts: where values lie, and which round numbers are written."""

import pytest

from fashion_mnist.analysis.scale import scale_of
from fashion_mnist.plots.figure import round_numbers


@pytest.mark.parametrize("ends", [(1, 1.01), (0, 0.5), (2, 3.4), (-5, -1), (-4.9, 0), (0, 12)])
def test_logarithmic_axes_have_a_few_ticks(ends: tuple[float, float]) -> None:
    """Three to a dozen, each where it says, all written alike."""
    ticks = round_numbers(10 ** ends[0], 10 ** ends[1], log=True)
    assert 3 <= len(ticks) <= 13
    for place, text in ticks:
        assert float(text.replace(",", "")) == pytest.approx(place)
    assert len({"e" in text for _, text in ticks}) == 1


def test_scales_order_numbers_and_keep_texts() -> None:
    """Numbers come by size, decades as logarithms, a zero among decades a place of its own."""
    assert scale_of(["1e-2", "1e-4", "1e-3"]).positions == {
        "1e-4": pytest.approx(-4),
        "1e-3": pytest.approx(-3),
        "1e-2": pytest.approx(-2),
    }
    assert scale_of(["3", "1", "2"]).spacing == "linear"
    assert scale_of(["1e-3", "0", "1e-5"]).values == ["0", "1e-5", "1e-3"]
    assert scale_of(["1e-3", "0", "1e-5"]).spacing == "even"
    assert scale_of(["relu", "10", "nan"]).values == ["relu", "10", "nan"]
