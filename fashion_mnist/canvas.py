"""What every figure is drawn on: a sheet with boxes, images, lines and texts; PNG files.

`H` × `W` pixels of an image, `N` points of a line. Lengths and font sizes are points, from the
top left. A figure is plain data until it is drawn, and matplotlib only fills outlines: its own
figures, axes and texts cost five times as much, which a sweep pays hundreds of times.
"""

from __future__ import annotations  # matplotlib's types are imported for the type checker alone

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fashion_mnist.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Affine2D
    from PIL.Image import Image as Picture

DOTS_PER_POINT = 2  # 450 points become 900 dots
FONT_FILE = "fonts/ttf/DejaVuSans.ttf"  # comes with matplotlib: the same picture on every machine
HALF_A_DIGIT = 0.365  # of the font's size: texts are centred on the height of digits and capitals

INK, FAINT, BLUE, VERMILION = "#222222", "#6b6b6b", "#0072b2", "#b84a00"  # after Okabe and Ito

Vertices = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Renderer = Any  # matplotlib's RendererAgg, which has no types
Color = str | tuple[float, float, float]  # as matplotlib takes it
START, MIDDLE, END = 0.0, 0.5, 1.0  # of a text: what stands at its place


class Text(NamedTuple):
    """A line of text whose `anchor` stands at x, and the middle of its height at y."""

    x: float
    y: float
    words: str
    size: float
    color: Color = INK
    anchor: float = START
    angle: float = 0.0  # degrees, counterclockwise about the place


class Box(NamedTuple):
    """A filled rectangle."""

    left: float
    top: float
    right: float
    bottom: float
    color: Color


class Image(NamedTuple):
    """uint8 `[H, W]`, drawn dark on white into the rectangle, each pixel as a sharp square.

    Fashion-MNIST negated the shop's photographs; turned back, garments look as they were taken.
    """

    left: float
    top: float
    right: float
    bottom: float
    pixels: npt.NDArray[np.uint8]


class Line(NamedTuple):
    """Straight pieces between points `[N, 2]`, interrupted at a NaN."""

    points: npt.NDArray[np.float64]
    color: Color
    width: float
    dots: float = 0.0  # radius of a dot at each point
    is_dotted: bool = False


@dataclass
class Canvas:
    """A white sheet, and what is drawn on it: boxes first, texts last."""

    width: float
    height: float
    boxes: list[Box] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


def write_heading(canvas: Canvas, lines: Sequence[tuple[str, float, str]]) -> None:
    """Writes lines (text, size, colour) at the top left, smaller where they are too long."""
    for index, (words, size, color) in enumerate(lines):
        room = (canvas.width - 16) / max(text_width(words, size), 1)
        canvas.texts.append(Text(8, 14 + 17 * index, words, size * min(1, room), color))


def text_width(words: str, size: float) -> float:
    """Width of a line of text, points."""
    return size * _outline(words)[1]


def ramp(
    values: npt.NDArray[np.float64], colors: Sequence[tuple[float, float, float]]
) -> npt.NDArray[np.float64]:
    """RGB `[..., 3]` of values `[...]` in [0, 1], along colours at equal distances."""
    stops = np.linspace(0, 1, len(colors))
    return np.stack(
        [np.interp(values, stops, channel) for channel in zip(*colors, strict=True)], axis=-1
    )


def inks_on(colors: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    """Black or white `[...]`, what has the higher contrast on RGB `[..., 3]`: 4.5 at least.

    Source: relative luminance of WCAG 2.2; at 0.179 both contrasts are the same.
    """
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.where(linear @ (0.2126, 0.7152, 0.0722) > 0.179, "black", "white")


def draw(canvas: Canvas) -> Picture:
    """The canvas in dots, two a point."""
    from matplotlib.backends.backend_agg import RendererAgg
    from PIL import Image as Pictures

    width, height = math.ceil(canvas.width), math.ceil(canvas.height)
    renderer: Renderer = RendererAgg(  # type: ignore[no-untyped-call]  # nothing of it has types
        width * DOTS_PER_POINT, height * DOTS_PER_POINT, 72 * DOTS_PER_POINT
    )
    for box in [Box(0, 0, width, height, "white"), *canvas.boxes]:
        _draw_box(renderer, box)
    for image in canvas.images:
        _draw_image(renderer, image)
    for line in canvas.lines:
        _draw_line(renderer, line)
    for text in canvas.texts:
        _draw_text(renderer, text)
    picture = Pictures.fromarray(np.asarray(renderer.buffer_rgba()))
    return picture.convert("L" if _is_grey(canvas) else "RGB")


def write_png(canvas: Canvas, path: Path) -> None:
    """Writes the picture: it is whole at `path` or, if drawing fails, what was there stays."""
    picture = draw(canvas)
    with replacing(path) as beside:
        picture.save(beside, format="png", compress_level=1)  # higher: twice the time, 6 % less


def png_bytes(canvas: Canvas) -> bytes:
    """The picture as a PNG file's content, for a page that holds it."""
    content = BytesIO()
    draw(canvas).save(content, format="png")
    return content.getvalue()


def _is_grey(canvas: Canvas) -> bool:
    """Whether all colours are greys: a picture of a third of the bytes."""
    colors = {box.color for box in canvas.boxes} | {line.color for line in canvas.lines}
    colors |= {text.color for text in canvas.texts}
    return all(len({*_rgb(color)}) == 1 for color in colors)


def _draw_box(renderer: Renderer, box: Box) -> None:
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom)]
    outline = _path(np.array([*corners, (box.left, box.bottom)]))
    _fill(renderer, outline, _sheet(renderer), box.color)


def _draw_image(renderer: Renderer, image: Image) -> None:
    left, top, right, bottom = (round(DOTS_PER_POINT * side) for side in image[:4])
    # each dot shows the pixel that it lies in
    rows, columns = (
        np.arange(num_dots) * size // num_dots
        for num_dots, size in zip((bottom - top, right - left), image.pixels.shape, strict=True)
    )
    shades = 255 - image.pixels[rows[:, None], columns]
    dots = np.stack([shades, shades, shades, np.full_like(shades, 255)], axis=-1)
    # the renderer counts from the bottom, rows of images too
    renderer.draw_image(renderer.new_gc(), left, renderer.height - bottom, dots[::-1])


def _draw_line(renderer: Renderer, line: Line) -> None:
    style, path = renderer.new_gc(), _path(line.points)
    style.set_foreground(line.color)
    style.set_linewidth(line.width)
    style.set_joinstyle("round")
    if line.is_dotted:
        style.set_dashes(0, [line.width, 1.65 * line.width])
    renderer.draw_path(style, path, _sheet(renderer))
    if line.dots:
        radius = _matrix(DOTS_PER_POINT * line.dots, 0, 0, DOTS_PER_POINT * line.dots, 0, 0)
        style = renderer.new_gc()
        style.set_linewidth(0)
        circle = path.unit_circle()
        renderer.draw_markers(style, circle, radius, path, _sheet(renderer), _rgb(line.color))


def _draw_text(renderer: Renderer, text: Text) -> None:
    (vertices, codes), width = _outline(text.words)
    scale, angle = DOTS_PER_POINT * text.size, np.radians(text.angle)
    along, across = scale * np.cos(angle), scale * np.sin(angle)
    start, base = text.anchor * width, HALF_A_DIGIT
    x = DOTS_PER_POINT * text.x - along * start + across * base
    y = renderer.height - DOTS_PER_POINT * text.y - across * start - along * base
    place = _matrix(along, across, -across, along, x, y)
    _fill(renderer, _path(vertices, codes), place, text.color)


def _fill(renderer: Renderer, outline: Outline, place: Affine2D, color: Color) -> None:
    style = renderer.new_gc()
    style.set_linewidth(0)
    renderer.draw_path(style, outline, place, _rgb(color))


def _sheet(renderer: Renderer) -> Affine2D:
    """From points, counted from the top, to dots, counted from the bottom."""
    return _matrix(DOTS_PER_POINT, 0, 0, -DOTS_PER_POINT, 0, renderer.height)


def _outline(words: str) -> tuple[tuple[Vertices, Codes], float]:
    """A text's outline (vertices `[N, 2]`, matplotlib's codes `[N]`) and width at size 1."""
    parts, width = [(np.empty((0, 2)), np.empty(0, dtype=np.uint8))], 0.0
    # digits one by one, so that few outlines serve all numbers
    for part in re.findall(r"[0-9]|[^0-9]+", words):
        vertices, codes, advance = _outline_of_part(part)
        parts.append((vertices + np.array((width, 0)), codes))
        width += advance
    all_vertices, all_codes = zip(*parts, strict=True)
    return (np.concatenate(all_vertices), np.concatenate(all_codes)), width


@lru_cache(maxsize=1024)  # the names of classes, of curves, of figures: the same for every run
def _outline_of_part(part: str) -> tuple[Vertices, Codes, float]:
    """Vertices, codes and width, at size 1, as one word; a `$` in a class name is no formula."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(fname=Path(get_data_path(), FONT_FILE))
    zero, _ = text_to_path.get_text_path(font, "0")
    # where a next digit would stand says how wide the part is, with the space at its end
    followed, codes = text_to_path.get_text_path(font, part + "0")
    own, width = len(followed) - len(zero), followed[-1][0] - zero[-1][0]
    vertices = np.reshape(followed[:own], (own, 2)) / text_to_path.FONT_SCALE
    return vertices, np.array(codes[:own], dtype=np.uint8), float(width / text_to_path.FONT_SCALE)


def _path(vertices: Vertices, codes: Codes | None = None) -> Outline:
    from matplotlib.path import Path as Outline

    return Outline(vertices, codes)


def _matrix(*values: float) -> Affine2D:
    from matplotlib.transforms import Affine2D

    return Affine2D.from_values(*values)


def _rgb(color: Color) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)
