"""What all charts share: matplotlib's figures in one style, headings, ticks that fit.

Lengths and font sizes are points, from the top left of a figure; a point is two pixels.
"""

from __future__ import annotations  # matplotlib takes 0.9 s to import: only what draws charts does

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.plots import drawing
from fashion_mnist.plots.drawing import FAINT, INK
from fashion_mnist.plots.fonts import fallback_families, import_matplotlib, log_missing_letters

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    from matplotlib.axis import Axis
    from matplotlib.ticker import Locator

    Axes = matplotlib.axes.Axes
    Figure = matplotlib.figure.Figure

Floats = NDArray[np.float64]
Tick = tuple[float, str]  # where it is, and its label

PIXELS_PER_POINT = 2
FONT = "DejaVu Sans"
GRID = "#e4e4e4"
TICK_SIZE = 8.0
LEAST_WIDTH = 420.0  # of a figure: a heading has room
STYLE: dict[str, Any] = {
    "figure.dpi": 72 * PIXELS_PER_POINT,
    "font.family": [FONT],
    "font.size": TICK_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a class name is no formula
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 9,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.xmargin": 0.06,
    "axes.ymargin": 0.06,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": TICK_SIZE,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.3,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1,
    "legend.labelspacing": 0.3,
    "xtick.major.size": 0,
    "xtick.labelcolor": FAINT,
    "ytick.major.size": 0,
    "ytick.labelcolor": FAINT,
}
LONGEST_TURNED = 76.0  # of labels below an area, where they do not fit beside each other
FLAT_DEPTH = 16.0
# the better the darker: the order can be seen without colours too
PALE_TO_DARK = ((0.94, 0.95, 0.78), (0.50, 0.78, 0.72), (0.14, 0.48, 0.64), (0.08, 0.14, 0.38))


@contextmanager
def default_style() -> Iterator[None]:
    """matplotlib's own defaults and ours, whatever the user's files of settings say; a decorator.

    Figures are to be built and written within it.
    """
    matplotlib = import_matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def new_figure(
    title: str,
    caption: str,
    panel: tuple[float, float],
    *,
    grid: tuple[int, int] = (1, 1),
    gap: tuple[float, float] = (0, 0),
    left: float = 60,
    right: float = 14,
    top: float = 52,
    bottom: float = 42,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with panels below its heading, whose lines are made to fit; and the panels by row.

    Args:
        panel: width and height of each, the mean where they differ.
        grid: rows and columns.
        gap: between columns and between rows.
        left, right, top, bottom: margins for all that is written around the panels.
        options: of matplotlib's `Figure.subplots`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (rows, columns), (across, down) = grid, gap
    panels_width = columns * panel[0] + (columns - 1) * across
    panels_height = rows * panel[1] + (rows - 1) * down
    width, height = max(left + panels_width + right, LEAST_WIDTH), top + panels_height + bottom
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasAgg(figure)
    margins = {
        "left": left / width,
        "right": (left + panels_width) / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "wspace": across / panel[0],
        "hspace": down / panel[1],
    }
    figure.subplots(rows, columns, gridspec_kw=margins, **options)
    lines = [(title, 12.0, INK), (caption, 9.0, FAINT)]
    for number, (text, size, color) in enumerate(lines):
        fitting = drawing.fitted_size(text, 2 * size, 2 * (width - 16)) / 2
        write(figure, 8, 14 + 17 * number, shortened(text, fitting, width - 16), fitting, color)
    return figure, figure.axes


def write(
    figure: Figure, x: float, y: float, text: str, size: float, color: str = INK, ha: str = "left"
) -> None:
    """Write a line of text whose left end, center or right end (`ha`) is at a place."""
    width, height = 72 * figure.get_size_inches()
    place = x / width, 1 - y / height
    figure.text(*place, text, fontsize=size, color=color, ha=ha, va="center_baseline")


def size_of(axes: Axes) -> tuple[float, float]:
    """Width and height of an area."""
    return axes.bbox.width / PIXELS_PER_POINT, axes.bbox.height / PIXELS_PER_POINT


def means_and_stds(
    scores: Mapping[int, Statistic] | Mapping[float, Statistic],
) -> tuple[Floats, Floats, Floats]:
    """Places in order, means and standard deviations; of one value there is no deviation: 0."""
    rows = sorted((place, score.mean, score.std or 0.0) for place, score in scores.items())
    places, means, stds = np.array(rows, dtype=np.float64).T
    return places, means, stds


def darker_is_better(scores: Sequence[float], *, lower_is_better: bool) -> dict[str, Any]:
    """matplotlib's `cmap` and `norm` for these scores."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colors = PALE_TO_DARK[::-1] if lower_is_better else PALE_TO_DARK
    low, high = min(scores), max(scores)
    air = 0 if low < high else 1  # equal scores have the colour in the middle
    norm = Normalize(low - air, high + air)
    return {"cmap": LinearSegmentedColormap.from_list("scores", colors), "norm": norm}


def draw_lines(
    axes: Axes,
    lines: Sequence[Sequence[tuple[float, float]]],
    widths: Sequence[float],
    scores: Sequence[float],
    colors: Mapping[str, Any],
) -> None:
    """Draw lines through places, the last on top, coloured by their scores.

    Args:
        colors: matplotlib's `cmap` and `norm`.
    """
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(lines, linewidths=widths, array=np.array(scores), **colors))


def name_axes(axes: Axes, across: str, up: str) -> None:
    """Write what is across and what is up, as far as there is room."""
    width, height = size_of(axes)
    axes.set_xlabel(shortened(across, 9, width))
    axes.set_ylabel(shortened(up, 9, height))


def shortened(text: str, size: float, room: float) -> str:
    """The text on one line, with … for its middle where it is wider than the room."""
    return drawing.shortened(text, 2 * size, 2 * room)


def text_width(text: str, size: float) -> float:
    """The width of a line of text."""
    return drawing.text_width(text, 2 * size) / 2


def number_ticks(axis: Axis, most: int = 6, *, whole: bool = False) -> None:
    """Label an axis with round numbers."""
    low, high = sorted(axis.get_view_interval())
    ticks = round_numbers(low, high, most, whole=whole, log=axis.get_scale() == "log")
    axis.set_ticks([place for place, _ in ticks], [text for _, text in ticks])


def round_numbers(
    low: float, high: float, most: int = 6, *, whole: bool = False, log: bool = False
) -> list[Tick]:
    """At most `most` + 1 round numbers in a range, all with the same number of decimals.

    On a logarithmic axis powers of ten, below three decades with their halves and fifths, each with
    the decimals that it needs.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    def inside(locator: Locator) -> list[float]:
        return [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]

    digits = (1,) if high >= 1000 * low else (1, 2, 5)
    numbers = inside(LogLocator(subs=digits, numticks=9)) if log else []
    if len(numbers) < 3:
        steps = [1, 2, 5, 10]
        numbers = inside(MaxNLocator(nbins=most, steps=steps, integer=whole, min_n_ticks=1))
    return list(zip(numbers, _number_texts(numbers, log=log), strict=True))


def _number_texts(numbers: Sequence[float], *, log: bool) -> list[str]:
    """The numbers with as many decimals as the one that needs most, or all as 1e10."""
    sizes = [abs(number) for number in numbers if number] or [1.0]
    if not 1e-5 <= max(sizes) < 1e10 or (log and min(sizes) < 1e-4):
        texts = (np.format_float_scientific(x, 6, trim="-", exp_digits=1) for x in numbers)
        return [text.replace("+", "") for text in texts]
    decimals = [len(f"{number:.6f}".rstrip("0").partition(".")[2]) for number in numbers]
    if not log:
        decimals = [max(decimals)] * len(numbers)
    return [f"{round(x, 6) + 0.0:,.{n}f}" for x, n in zip(numbers, decimals, strict=True)]


def text_ticks_below(axes: Axes, ticks: Sequence[Tick]) -> None:
    """Label places below an area, turned where the labels do not fit beside each other.

    Labels that would be written over the one before are left out.
    """
    (width, _), (low, high) = size_of(axes), axes.get_xlim()
    is_turned = depth_below(ticks, width / (high - low)) > FLAT_DEPTH
    kept = apart(ticks, width / (high - low), 9.0) if is_turned else sorted(ticks)
    texts = [shortened(text, TICK_SIZE, LONGEST_TURNED if is_turned else width) for _, text in kept]
    axes.set_xticks([place for place, _ in kept], texts)
    if is_turned:
        axes.tick_params("x", rotation=40)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor", va="top")


def depth_below(ticks: Sequence[Tick], points_per_unit: float) -> float:
    """How far `text_ticks_below` writes below the area."""
    widest = max((text_width(drawing.one_line(text), TICK_SIZE) for _, text in ticks), default=0)
    places = sorted(place for place, _ in ticks)
    room = min(((right - left) * points_per_unit for left, right in pairwise(places)), default=120)
    if widest + 5 <= room:
        return FLAT_DEPTH
    return FLAT_DEPTH + 0.65 * min(widest, LONGEST_TURNED)  # the sine of 40°


def apart(ticks: Sequence[Tick], points_per_unit: float, gap: float) -> list[Tick]:
    """The ticks in order, without those that are nearer than the gap to the one before."""
    kept: list[Tick] = []
    for place, text in sorted(ticks):
        if not kept or (place - kept[-1][0]) * points_per_unit >= gap:
            kept.append((place, text))
    return kept


@default_style()
def figure_png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    from matplotlib.text import Text

    for axes in figure.axes:  # ticks have their labels from here on
        axes.get_xticklabels(), axes.get_yticklabels()
    texts: list[Text] = figure.findobj(Text)
    log_missing_letters(text.get_text() for text in texts)
    if families := fallback_families(text.get_text() for text in texts):
        for text in texts:
            text.set_fontfamily([FONT, *families])
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # they are logged above
        figure.savefig(content, format="png", pil_kwargs={"compress_level": 1})
    return content.getvalue()
