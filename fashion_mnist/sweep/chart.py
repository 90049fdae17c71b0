"""What charts of a sweep are made of: scales along an axis, whiskers, colours.

Lengths and font sizes are points, from the top left of a canvas.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from fashion_mnist.canvas import (
    END,
    FAINT,
    START,
    Box,
    Canvas,
    Color,
    Text,
    ramp,
    text_width,
)
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots.axes import LABEL_SIZE, Span, draw_dots, span_over, straight
from fashion_mnist.sweep.scale import Scale

RGB = tuple[float, float, float]
WIDTH = 700.0
# from pale to dark, the better the darker: the order can be seen without colours too
WORSE_TO_BETTER = ((0.94, 0.95, 0.78), (0.50, 0.78, 0.72), (0.14, 0.48, 0.64), (0.08, 0.14, 0.38))
MOST_LABELLED = 12  # values of an axis: where there are more, round numbers are written instead


def ends(figures: Iterable[Statistic]) -> list[float]:
    """Where the whiskers of the figures end."""
    both = [
        (figure.mean - (figure.std or 0), figure.mean + (figure.std or 0)) for figure in figures
    ]
    return [end for pair in both for end in pair]


def span_of_scale(scale: Scale, start: float, end: float) -> Span:
    """A span for an axis: texts stand in the middle of a place of their own."""
    positions = scale.positions.values()
    if scale.spacing == "even":
        return Span(min(positions) - 0.5, max(positions) + 0.5, start, end)
    return span_over(positions, start, end)


def scale_ticks(scale: Scale, span: Span) -> list[tuple[float, str]]:
    """What is written along an axis: its values, or round numbers where these are too many."""
    if scale.spacing == "even" or len(scale.positions) <= MOST_LABELLED:
        return [(position, value) for value, position in scale.positions.items()]
    if scale.spacing == "linear":
        return span.round_numbers(5)
    return power_ticks(span)


def power_ticks(span: Span) -> list[tuple[float, str]]:
    """Powers of ten on a span of logarithms, with their halves and fifths where they are few."""
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        exponents = range(math.floor(span.low), math.ceil(span.high) + 1)
        ticks = [(k + math.log10(digit), digit * 10.0**k) for k in exponents for digit in digits]
        inside = [(place, f"{x:,.10g}") for place, x in ticks if span.low <= place <= span.high]
        if len(inside) >= 3:
            break
    return inside


def apart(span: Span, ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks without those that would be written over the one before."""
    kept: list[tuple[float, str]] = []
    for number, words in sorted(ticks):
        if not kept or abs(span.at(number) - span.at(kept[-1][0])) >= 10:
            kept.append((number, words))
    return kept


def draw_whisker(
    canvas: Canvas,
    figure: Statistic,
    span: Span,
    across: float,
    color: Color,
    *,
    is_upright: bool = False,
    radius: float = 3.2,
) -> None:
    """Draws the mean as a dot on a line of mean ± std; one value has no line."""
    std = figure.std or 0.0
    numbers = (figure.mean - std, figure.mean, figure.mean + std)
    places = [(span.at(number), across) for number in numbers]
    low, middle, high = [(y, x) for x, y in places] if is_upright else places
    if std:
        canvas.lines.append(straight(low, high, color, 1.6))
    draw_dots(canvas, [middle], color, radius)


def colors_of(scores: Sequence[float], *, lower_is_better: bool) -> list[RGB]:
    """A colour for each score: the best darkest."""
    numbers = np.asarray(scores, dtype=np.float64) * (-1 if lower_is_better else 1)
    reach = np.ptp(numbers)
    shares = (numbers - numbers.min()) / reach if reach else np.full_like(numbers, 0.5)
    return [rgb_of(share) for share in shares]


def rgb_of(share: float) -> RGB:
    """The colour of a share from 0, worst, to 1."""
    red, green, blue = ramp(np.array(share), WORSE_TO_BETTER).tolist()
    return red, green, blue


def draw_color_key(
    canvas: Canvas, x: float, y: float, ends: tuple[str, str], *, lower_is_better: bool
) -> None:
    """Draws what the colours mean, ending at x: the lowest and the highest score beside a strip."""
    low, high = ends
    left = x - text_width(high, LABEL_SIZE) - 5 - 80
    for number in range(40):
        color = rgb_of((39 - number if lower_is_better else number) / 39)
        box = Box(left + 2 * number, y - 4, left + 2 * number + 2, y + 4, color)
        canvas.boxes.append(box)
    canvas.texts.append(Text(left - 5, y, low, LABEL_SIZE, FAINT, END))
    canvas.texts.append(Text(left + 85, y, high, LABEL_SIZE, FAINT, START))
