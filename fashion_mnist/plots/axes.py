"""What charts are drawn along: spans of numbers, ticks, labels that fit, dots and lines.

Lengths and font sizes are points, from the top left of a canvas.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fashion_mnist.canvas import END, FAINT, MIDDLE, Canvas, Color, Line, Text, text_width

GRID = "#e4e4e4"
LABEL_SIZE = 8.0
FLAT_DEPTH, LONGEST_TURNED = 16.0, 76.0


@dataclass(frozen=True)
class Span:
    """Numbers from low to high, drawn from start to end; start may be below or right of end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, number: float) -> float:
        """Where the number is drawn."""
        return self.start + (number - self.low) / (self.high - self.low) * (self.end - self.start)

    def round_numbers(self, count: int) -> list[tuple[float, str]]:
        """At most count + 1 round numbers inside, and their texts."""
        from matplotlib.ticker import MaxNLocator

        ticks = MaxNLocator(nbins=count, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
        inside = [float(tick) for tick in ticks if self.low <= tick <= self.high]
        return [(tick, f"{tick:,.10g}") for tick in inside]


def span_over(numbers: Iterable[float], start: float, end: float) -> Span:
    """A span that holds the numbers with a little air at both ends."""
    known = list(numbers)
    low, high = min(known), max(known)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Span(low - air, high + air, start, end)


def draw_ticks_below(
    canvas: Canvas, span: Span, ticks: Sequence[tuple[float, str]], top: float, bottom: float
) -> None:
    """Writes labels under an area, turned where they do not fit beside each other."""
    is_turned, last = depth_below(span, ticks) > FLAT_DEPTH, -math.inf
    for number, words in sorted(ticks, key=lambda tick: span.at(tick[0])):
        x = span.at(number)
        canvas.lines.append(straight((x, top), (x, bottom), GRID, 0.7))
        if not is_turned:
            canvas.texts.append(Text(x, bottom + 9, words, LABEL_SIZE, FAINT, MIDDLE))
        elif x - last >= 9:
            turned = clipped(words, LABEL_SIZE, LONGEST_TURNED)
            canvas.texts.append(Text(x + 3, bottom + 7, turned, LABEL_SIZE, FAINT, END, 40))
            last = x


def depth_below(span: Span, ticks: Sequence[tuple[float, str]]) -> float:
    """How far `draw_ticks_below` writes below the area."""
    widths = [text_width(words, LABEL_SIZE) for _, words in ticks]
    places = sorted(span.at(number) for number, _ in ticks)
    room = min([right - left for left, right in pairwise(places)], default=120.0)
    if max(widths, default=0) + 5 <= room:
        return FLAT_DEPTH
    return FLAT_DEPTH + 0.65 * min(max(widths), LONGEST_TURNED)  # the sine of 40°


def draw_ticks_left(
    canvas: Canvas, span: Span, ticks: Sequence[tuple[float, str]], left: float, right: float
) -> None:
    """Draws a line across for each tick, its label at the left."""
    for number, words in ticks:
        y = span.at(number)
        canvas.lines.append(straight((left, y), (right, y), GRID, 0.7))
        canvas.texts.append(Text(left - 5, y, words, LABEL_SIZE, FAINT, END))


def draw_dots(
    canvas: Canvas, places: Sequence[tuple[float, float]], color: Color, r: float
) -> None:
    """Draws a dot of radius r at each place."""
    if places:
        canvas.lines.append(Line(np.array(places, dtype=np.float64), color, 0.0, dots=r))


def straight(
    start: tuple[float, float], end: tuple[float, float], color: Color, width: float
) -> Line:
    """A line between two places."""
    return Line(np.array([start, end], dtype=np.float64), color, width)


def clipped(words: str, size: float, room: float) -> str:
    """The words, with … for their middle where they are wider than the room."""
    if text_width(words, size) <= room:
        return words

    def shortened(kept: int) -> str:
        return f"{words[: (kept + 1) // 2]}…{words[len(words) - kept // 2 :]}"

    def is_too_wide(kept: int) -> bool:
        return text_width(shortened(kept), size) > room

    first_too_wide = bisect_left(range(len(words)), True, key=is_too_wide)
    return shortened(max(first_too_wide - 1, 0))
