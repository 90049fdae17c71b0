"""What tests of pictures share: texts as they are drawn, texts of figures, data to draw."""

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fashion_mnist.plots.figure import default_style

GARMENTS = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
HOSTILE = [
    "An ankle boot with a remarkably high heel", r"$\no formula$", "two\nlines\x1b[31m", "Âgÿ",
    "x" * 10_000, "حقيبة يد", "תיק", "",
]  # fmt: skip
LONG = "a value of a length that no column has room for " * 4


class Written(NamedTuple):
    """A text that Pillow has drawn: on the page itself, or upright before it is turned."""

    text: str
    box: tuple[float, float, float, float]  # left, top, right, bottom
    size: float
    color: Any
    page: tuple[int, int]  # width and height

    @property
    def middle(self) -> tuple[float, float]:
        """Where the middle of its box is."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def upright(texts: list[Written], picture: Image.Image) -> list[Written]:
    """The texts that were drawn on the picture itself."""
    return [text for text in texts if text.page == picture.size]


def assert_legible(texts: list[Written], picture: Image.Image) -> None:
    """Every text is inside the picture and over no other; the outermost pixels are white."""
    own = upright(texts, picture)
    for text in own:
        left, top, right, bottom = text.box
        assert left >= 0, text
        assert top >= 0, text
        assert right <= picture.width, text
        assert bottom <= picture.height, text
    for first, second in combinations(own, 2):
        assert not _overlap(first.box, second.box), (first, second)
    pixels = np.asarray(picture)
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 255


@default_style()
def texts_of(figure: Figure) -> dict[Text, tuple[float, float, float, float]]:
    """Every text that a figure shows, and its box in pixels: left, bottom, right, top."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = {text: text.get_window_extent() for text in texts}
    return {text: (box.x0, box.y0, box.x1, box.y1) for text, box in boxes.items()}


def words_of(figure: Figure) -> list[str]:
    """What the texts of a figure say."""
    return [text.get_text() for text in texts_of(figure)]


def assert_figure_legible(figure: Figure) -> None:
    """Every text is inside the figure, on one line; upright ones are over no other text."""
    texts = texts_of(figure)
    assert texts
    for text, (left, bottom, right, top) in texts.items():
        assert left >= 0, text
        assert bottom >= 0, text
        assert right <= figure.bbox.width, text
        assert top <= figure.bbox.height, text
        assert text.get_text().replace("\u200c", "").isprintable(), text
    upright = {text: box for text, box in texts.items() if text.get_rotation() in (0, 90)}
    for (first, box), (second, other) in combinations(upright.items(), 2):
        assert not _overlap(box, other), (first, second)


def _overlap(first: tuple[float, ...], second: tuple[float, ...], slack: float = 1.0) -> bool:
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    return across > slack and down > slack


def confused(num_classes: int) -> NDArray[np.int64]:
    """Counts `[C, C]` with a strong diagonal, mistakes of every size, and empty cells."""
    generator = np.random.default_rng(0)
    counts = generator.geometric(0.05, (num_classes, num_classes)) - 10
    return np.maximum(counts, 0) + np.diag(np.arange(700, 700 + num_classes))


def random_images(num_images: int, shape: tuple[int, int] = (28, 28)) -> NDArray[np.uint8]:
    """Images `[N, H, W]`, no two alike."""
    return np.random.default_rng(1).integers(0, 256, (num_images, *shape), dtype=np.uint8)


def contrast(first: ArrayLike, second: ArrayLike) -> float:
    """Contrast of two RGB colours by WCAG 2.2, from 1 to 21."""
    colors = np.array([first, second])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    dark, light = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return float((light + 0.05) / (dark + 0.05))


Build = Callable[[], Image.Image]


def assert_ticks_are_true(axes: Axes) -> None:
    """Two labels or more along each axis that has numbers, each where it says, written alike."""
    for axis in (axes.xaxis, axes.yaxis):
        ticks = axis.get_ticklocs()
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if not any(labels):
            continue
        assert len(labels) >= 2
        np.testing.assert_allclose([float(label.replace(",", "")) for label in labels], ticks)
        if axis.get_scale() == "linear":
            assert len({len(label.partition(".")[2]) for label in labels}) == 1, labels
