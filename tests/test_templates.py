"""Tables of HTML pages: by which cells a reader can sort them."""

import pytest

from fashion_mnist.templates import table


@pytest.mark.parametrize(
    ("cells", "places"),
    [
        (["0.01", "3e-05", "1.2E+3", "-5"], [1, 2, 0, 3]),
        (["1,000", "9.5 ± 0.1", "60 of 90 (66.7%)", "+0.5"], [0, 2, 1, 3]),
        (["–", "2", "none", "10"], [3, 1, 2, 0]),
        (["4", "4", "8"], [1, 2, 0]),
    ],
)
def test_cells_are_sorted_by_their_numbers(cells: list[str], places: list[int]) -> None:
    """The largest first, whatever their digits; then texts. Equal ones stay as they were."""
    sortable = table([{"x": cell} for cell in cells], is_sorted=True)
    assert sortable is not None
    assert [own for (own,) in sortable.orders] == places


def test_a_column_may_be_sorted_by_other_values_than_its_cells_show() -> None:
    """A time in words, for one; a cell without a value comes last."""
    rows = [{"t": "99 s"}, {"t": "3 min 20 s"}, {"t": "–"}, {"t": "1 h 01 min"}]
    sortable = table(rows, values={"t": [99, 200, None, 3660]})
    assert sortable is not None
    assert [own for (own,) in sortable.orders] == [2, 1, 3, 0]
