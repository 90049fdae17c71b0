"""What all pictures share: colours, text that is measured and fits, pages that Pillow draws on.

Lengths and font sizes are pixels. MLflow's charts show a picture at about half its size, so what
must be read there is 16 pixels high or more.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fashion_mnist.plots.fonts import font_parts

INK, FAINT, BLUE, VERMILION = "#222222", "#6b6b6b", "#0072b2", "#b84a00"  # after Okabe and Ito
PALE = "#b5b5b5"
TITLE_SIZE, CAPTION_SIZE = 24, 18
HALF_A_DIGIT = 0.365  # of a font's size: texts are centred on the height of digits and capitals
ANCHORS = {"left": 0.0, "middle": 0.5, "right": 1.0}  # share of a text that is left of its place
MOST_LETTERS = 1000  # no picture has room for more of one text

Color = str | tuple[int, int, int]
RGB = tuple[float, float, float]  # in [0, 1]
Heading = Sequence[tuple[str, float, str]]  # lines: text, font size, colour


def new_page(width: float, height: float, heading: Heading = ()) -> Image.Image:
    """A white page with the lines of a heading at its top left, which are made to fit."""
    page = Image.new("RGB", (round(width), round(height)), "white")
    room = page.width - 32
    for number, (text, size, color) in enumerate(heading):
        fitting = fitted_size(text, size, room)
        write(page, (16, 28 + 34 * number), shortened(text, fitting, room), fitting, color)
    return page


def write(
    page: Image.Image,
    place: tuple[float, float],
    text: str,
    size: float,
    color: Color = INK,
    *,
    anchor: str = "left",
    angle: float = 0,
) -> None:
    """Write one line of text, centred on the height of its digits.

    Args:
        place: x and y of the text's anchor: its left end, its middle or its right end.
        angle: degrees, counterclockwise about the place.
    """
    width, (x, y) = text_width(text, size), place
    x, y = x - ANCHORS[anchor] * width, y + HALF_A_DIGIT * size
    if angle:
        _write_turned(page, place, text, size, color, anchor=anchor, angle=angle)
        return
    draw = ImageDraw.Draw(page)
    for part, font in font_parts(text, size):
        draw.text((x, y), part, color, font, anchor="ls")
        x += font.getlength(part)


def _write_turned(
    page: Image.Image,
    place: tuple[float, float],
    text: str,
    size: float,
    color: Color,
    *,
    anchor: str,
    angle: float,
) -> None:
    """Write the text as a mask, turn that, and colour the page through it."""
    width = text_width(text, size)
    mask = Image.new("L", (round(width) + 4, round(1.5 * size)))
    write(mask, (2, mask.height / 2), text, size, "white")
    turned = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    reach = (0.5 - ANCHORS[anchor]) * width  # from the place to the middle of the text
    x = place[0] + reach * np.cos(np.radians(angle)) - turned.width / 2
    y = place[1] - reach * np.sin(np.radians(angle)) - turned.height / 2
    page.paste(color, (round(x), round(y)), turned)


def text_width(text: str, size: float) -> float:
    """The width of one line of text."""
    return sum(font.getlength(part) for part, font in font_parts(text, size))


def fitted_size(text: str, size: float, room: float) -> float:
    """The font size at which the text fits into the room; at least three quarters of its own."""
    return size * min(1.0, max(room / max(text_width(one_line(text), size), 1), 0.75))


def shortened(text: str, size: float, room: float) -> str:
    """The text on one line, with … for its middle where it is wider than the room."""
    text = one_line(text)
    if text_width(text, size) <= room:
        return text

    def ends(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"

    def is_too_wide(kept: int) -> bool:
        return text_width(ends(kept), size) > room

    first_too_wide = bisect_left(range(len(text)), True, key=is_too_wide)
    return ends(max(first_too_wide - 1, 0))


def one_line(text: str) -> str:
    """The text on one line, without characters that are not shown or change how others are."""
    if len(text) > MOST_LETTERS:
        text = f"{text[: MOST_LETTERS // 2]}…{text[-MOST_LETTERS // 2 :]}"
    text = " ".join(text.split())
    # joiners have no width of their own, and spell words of Persian and of Indian languages
    return "".join(c for c in text if c.isprintable() or c in "\u200c\u200d")


def ramp(values: NDArray[np.float64], colors: Sequence[RGB]) -> NDArray[np.float64]:
    """RGB `[..., 3]` of values `[...]` in [0, 1], along colours at equal distances."""
    stops = np.linspace(0, 1, len(colors))
    return np.stack(
        [np.interp(values, stops, channel) for channel in zip(*colors, strict=True)], axis=-1
    )


def inks_on(colors: NDArray[np.float64]) -> NDArray[np.str_]:
    """Black or white `[...]`, what has the higher contrast on RGB `[..., 3]`: 4.5 at least.

    Source: relative luminance of WCAG 2.2; at 0.179 both contrasts are the same.
    """
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.where(linear @ (0.2126, 0.7152, 0.0722) > 0.179, "black", "white")


def as_bytes(colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours in [0, 1] as Pillow takes them."""
    return np.round(255 * colors).astype(np.uint8)
