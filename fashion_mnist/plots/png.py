"""Pictures as PNG files, whoever drew them."""

from __future__ import annotations  # matplotlib's types are imported for the type checker alone

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Union

from PIL import Image

from fashion_mnist.plots.figure import figure_png
from fashion_mnist.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = Union[Image.Image, "Figure"]


def write_png(picture: Picture, path: Path) -> None:
    """Write the picture: it is whole at `path` or, if drawing fails, what was there stays.

    Raises:
        OSError: the file cannot be written.
    """
    content = png_bytes(picture)
    with replacing(path) as beside:
        beside.write_bytes(content)


def png_bytes(picture: Picture) -> bytes:
    """The picture as a PNG file's content, for a page that holds it."""
    if not isinstance(picture, Image.Image):
        return figure_png(picture)
    content = BytesIO()
    picture.save(content, format="png", compress_level=1)  # higher: twice the time, 6 % less
    return content.getvalue()
