"""Pictures of two networks beside each other: they show the numbers where they are."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fashion_mnist import plots
from fashion_mnist.canvas import BLUE, INK, VERMILION, Canvas
from tests.test_plots import (
    GARMENTS,
    LONG_NAMES,
    assert_no_text_is_cut,
    confused,
    contrast,
    random_images,
    words_of,
)

Counts = NDArray[np.int64]
NAMES = ("A", "B")
LABELS = np.array([0, 1, 2, 0])
SURE = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1]])
OTHER = np.array([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9], [0.1, 0.8, 0.1]])


def difference(num_classes: int) -> tuple[Counts, Counts]:
    """Counts of two networks on the same images: some cells equal, some far apart."""
    first = confused(num_classes)
    return first, np.where(first % 3 == 0, first, np.roll(first, 1, axis=1))


def number(words: str) -> int:
    """A change as it is written, `+3` or `−3`."""
    return int(words.replace("−", "-"))


def disagreements(limit: int = 24) -> Canvas:
    images = random_images(len(LABELS))
    return plots.disagreements_figure(images, LABELS, (SURE, OTHER), GARMENTS[:3], NAMES, limit)


@pytest.mark.parametrize("num_classes", [2, 10, 47])
def test_every_change_stands_in_its_row_and_column(num_classes: int) -> None:
    """With its sign, second less first; where nothing changed nothing is written."""
    first, second = difference(num_classes)
    names = [f"class {index}" for index in range(num_classes)]
    texts = plots.difference_figure(first, second, names, NAMES).texts
    rows = np.array([text.y for text in texts if text.words in names and text.angle == 0])
    columns = np.array([text.x for text in texts if text.words in names and text.angle == 45])
    found = np.zeros_like(first)
    for text in texts:
        if text.words[0] in "+−":
            found[np.abs(rows - text.y).argmin(), np.abs(columns - text.x).argmin()] += number(
                text.words
            )
    assert (found == second - first).all()


def test_better_is_blue_and_worse_is_orange() -> None:
    """More on the diagonal and fewer beside it are better; the same is grey, less is paler."""
    change = np.array([[9, -9, 0], [3, -3, 0], [1, -1, 0]])
    colors = plots.difference_colors(change)
    blueness = colors[..., 2] - colors[..., 0]
    assert blueness[0, 0] == blueness[0, 1] > blueness[2, 1] > 0
    assert blueness[1, 0] == blueness[1, 1] < blueness[2, 0] < 0
    assert (colors[:, 2] == colors[0, 2]).all()
    assert blueness[0, 2] == 0


def test_exchanged_networks_exchange_the_colours() -> None:
    """Whoever comes first, the same cells are coloured, the other way round."""
    first, second = difference(4)
    one, other = plots.difference_colors(second - first), plots.difference_colors(first - second)
    assert ((one[..., 2] > one[..., 0]) == (other[..., 2] < other[..., 0])).all()


def test_changes_stand_out_from_every_colour() -> None:
    """The contrast of a number to its cell is 4.5 or more, from one image to hundreds."""
    steps = np.unique(np.geomspace(1, 400, 30).astype(np.int64))
    change = np.diag(steps) - np.roll(np.diag(steps[::-1]), 1, axis=1)
    colors = plots.difference_colors(change)
    assert all(
        max(contrast(colors[cell], (0, 0, 0)), contrast(colors[cell], (1, 1, 1))) >= 4.5
        for cell in zip(*np.nonzero(change), strict=True)
    )


def test_the_heading_says_which_mistakes_changed_most() -> None:
    """Fewer of one kind, more of another; or that they are the same."""
    first, second = [[10, 8], [1, 10]], [[15, 3], [3, 8]]
    words = words_of(plots.difference_figure(first, second, ["Coat", "Bag"], NAMES))
    assert "fewer of Coat → Bag (5); more of Bag → Coat (2)" in words
    assert "the same mistakes" in words_of(plots.difference_figure(first, first, ["a", "b"], NAMES))


def test_disagreements_come_by_how_far_apart_they_are() -> None:
    """Apart by 0.8 on the third image, 0.7 on the fourth, 0.5 on the second; the first agrees."""
    figure = disagreements()
    assert "3 of 3 images on which A and B disagree" in words_of(figure)
    assert any("A has 2 right, B 1" in words for words in words_of(figure))
    [shirt, dress, trouser] = GARMENTS[2], GARMENTS[0], GARMENTS[1]
    titles = [text.words for text in figure.texts if text.color == INK and text.words in GARMENTS]
    assert titles == [shirt, dress, trouser]
    assert len(disagreements(limit=2).images) == 2


def test_who_is_right_is_blue() -> None:
    """And who is wrong is orange."""
    by_color = {
        color: sorted(t.words[0] for t in disagreements().texts if t.color == color)
        for color in (BLUE, VERMILION)
    }
    assert by_color == {BLUE: ["A", "A", "B"], VERMILION: ["A", "B", "B"]}


def test_networks_that_agree_are_said_to() -> None:
    """No image is shown."""
    images = random_images(4)
    figure = plots.disagreements_figure(images, LABELS, (SURE, SURE), GARMENTS[:3], NAMES)
    assert "A and B agree" in words_of(figure)
    assert not figure.images


@pytest.mark.parametrize(
    "build",
    [
        lambda: plots.difference_figure(*difference(10), GARMENTS, NAMES),
        lambda: plots.difference_figure(1000 * confused(4), np.eye(4), LONG_NAMES, NAMES),
        lambda: plots.difference_figure(*difference(2), ["a", "b"], NAMES),
        disagreements,
        lambda: plots.disagreements_figure(
            random_images(1), [0], (SURE[:1], OTHER[1:2]), LONG_NAMES[:3], NAMES
        ),
    ],
)
def test_no_text_is_cut(build: Callable[[], Canvas]) -> None:
    """Whatever the words and the numbers."""
    assert_no_text_is_cut(build())
