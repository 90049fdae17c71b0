"""How the values of a swept axis are ordered and spaced: in charts, and for a model of the scores.

Values are texts, as a sweep's file has them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

Spacing = Literal["linear", "log", "even"]


@dataclass(frozen=True)
class Scale:
    """The different values of an axis, the lowest first, and where each lies."""

    positions: Mapping[str, float]  # value -> number, its decimal logarithm, or its place
    spacing: Spacing

    @property
    def values(self) -> list[str]:
        """Each value once, in order."""
        return list(self.positions)

    @property
    def ends(self) -> tuple[float, float]:
        """Where an axis begins and ends: a text has a place of its own, numbers a little air."""
        low, high = min(self.positions.values()), max(self.positions.values())
        if self.spacing == "even":
            return low - 0.5, high + 0.5
        air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return low - air, high + air

    @property
    def length(self) -> float:
        """From end to end."""
        low, high = self.ends
        return high - low

    def share(self, value: str) -> float:
        """Where the value lies between the ends, in [0, 1]; a half where there is one place."""
        low, high = min(self.positions.values()), max(self.positions.values())
        return (self.positions[value] - low) / (high - low) if high > low else 0.5


def scale_of(values: Iterable[str]) -> Scale:
    """The scale of an axis: numbers by size, on logarithms where these lie more evenly.

    Texts keep the order in which they came, and so do texts among numbers.
    """
    distinct = list(dict.fromkeys(values))
    numbers = as_numbers(distinct)
    if numbers is None:
        return Scale({value: float(place) for place, value in enumerate(distinct)}, "even")
    ordered = sorted(zip(numbers, distinct, strict=True))
    spacing = _spacing([number for number, _ in ordered])
    if spacing == "even":
        return Scale({value: float(place) for place, (_, value) in enumerate(ordered)}, spacing)
    return Scale({value: math.log10(x) if spacing == "log" else x for x, value in ordered}, spacing)


def as_numbers(values: Sequence[str]) -> list[float] | None:
    """The values as finite numbers; None where one of them is none."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _spacing(numbers: Sequence[float]) -> Spacing:
    """How sorted numbers are spread best: as they are, as logarithms, or one place each."""
    if numbers[0] <= 0:
        small, large = min((x for x in numbers if x > 0), default=1), numbers[-1]
        # 0, 1e-5, 1e-3: no logarithm, and on a line of numbers all but the last lie at 0
        return "even" if numbers[0] == 0 and large / small >= 50 else "linear"
    if numbers[-1] / numbers[0] < 4:
        return "linear"
    logs = [math.log10(x) for x in numbers]
    return "log" if _off_centre(logs) < _off_centre(numbers) or _crowded(numbers) else "linear"


def _off_centre(numbers: Sequence[float]) -> float:
    """How far the middle value is from the middle of the ends, as a share of the range."""
    low, high = numbers[0], numbers[-1]
    return abs((median(numbers) - low) / (high - low) - 0.5)


def _crowded(numbers: Sequence[float]) -> bool:
    """Whether neighbours differ by a factor of a hundred: on a line the smaller lie together."""
    return any(high / low >= 100 for low, high in pairwise(numbers))
