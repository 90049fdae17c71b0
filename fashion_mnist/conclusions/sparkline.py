"""A curve in one line of text."""

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
GAP = " "  # where a value is no finite number


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values from the lowest to the highest bar; of more than `width`, evenly chosen ones."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return GAP * min(len(values), width)
    low, high = min(finite), max(finite)
    return "".join(_bar(value, low, high) for value in _chosen(values, width))


def _chosen(values: Sequence[float], width: int) -> list[float]:
    """At most `width` of the values, the first and the last among them."""
    if len(values) <= width:
        return list(values)
    last, places = len(values) - 1, max(width - 1, 1)
    return [values[round(place * last / places)] for place in range(width)]


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    # halves, for the range may exceed the largest number
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]
