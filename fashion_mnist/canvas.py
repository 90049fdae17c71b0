"""What every figure is drawn with: a canvas in points, text, images, colours, PNG files.

`H` × `W` pixels of an image. Lengths and font sizes are points. Matplotlib is imported when the
first figure is built, and never pyplot, which costs more than all figures together.
"""

from __future__ import annotations  # matplotlib's types are imported for the type checker alone

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fashion_mnist.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 160  # 450 points become 1000 pixels
FONT = "DejaVu Sans"  # comes with matplotlib: the same picture on every machine

INK, FAINT, BLUE, VERMILION = "#222222", "#6b6b6b", "#0072b2", "#b84a00"  # after Okabe and Ito


def new_canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A white figure and axes that cover it, whose coordinates are points from the top left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def write(
    axes: Axes, x: float, y: float, text: str, size: float, color: str = INK, **options: Any
) -> None:
    """Writes text with its middle at height y; a `$` in a class name is no formula."""
    options = {"va": "center_baseline"} | options
    axes.text(x, y, text, size=size, color=color, family=FONT, parse_math=False, **options)


def write_heading(axes: Axes, lines: Sequence[tuple[str, float, str]]) -> None:
    """Writes lines (text, size, colour) at the top left, smaller where they are too long."""
    room = 0.95 * (axes.get_xlim()[1] - 16)  # hinting widens small letters by some per cent
    for index, (text, size, color) in enumerate(lines):
        fitting = min(size, size * room / max(text_width(text, size), 1))
        write(axes, 8, 14 + 17 * index, text, fitting, color)


def draw_image(
    axes: Axes, image: npt.NDArray[np.uint8], box: tuple[float, float, float, float]
) -> None:
    """Draws uint8 `[H, W]` dark on white into the box (left, right, bottom, top).

    Fashion-MNIST negated the shop's photographs; turned back, garments look as they were taken.
    """
    axes.imshow(
        image, cmap="gray_r", vmin=0, vmax=255, extent=box, aspect="auto", interpolation="nearest"
    )


def text_width(text: str, size: float) -> float:
    """Width of a line of text, points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def ramp(
    values: npt.NDArray[np.float64], colors: Sequence[tuple[float, float, float]]
) -> npt.NDArray[np.float64]:
    """RGB `[..., 3]` of values `[...]` in [0, 1], along colours at equal distances."""
    stops = np.linspace(0, 1, len(colors))
    return np.stack(
        [np.interp(values, stops, channel) for channel in zip(*colors, strict=True)], axis=-1
    )


def ink_on(color: npt.NDArray[np.float64]) -> str:
    """Black or white, whichever has the higher contrast on RGB `[3]` in [0, 1]: 4.5 at least.

    Source: relative luminance of WCAG 2.2; at 0.179 both contrasts are the same.
    """
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def write_png(figure: Figure, path: Path) -> None:
    """Writes the figure: there is a whole picture at `path` or, if drawing fails, what was."""
    with replacing(path) as beside:
        figure.savefig(beside, format="png", pil_kwargs={"compress_level": 3})
