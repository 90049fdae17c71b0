"""Grids of images show the images that they should, in order, as they are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fashion_mnist.plots.drawing import BLUE, INK, VERMILION
from fashion_mnist.plots.image_grid import (
    disagreements_figure,
    mistakes_figure,
    pair_figure,
    samples_figure,
    weights_figure,
)
from tests.plots.drawn import (
    GARMENTS,
    HOSTILE,
    Build,
    Written,
    assert_legible,
    random_images,
)

NAMES = ("A", "B")
LABELS = np.array([0, 1, 2, 0])
SURE = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1]])
OTHER = np.array([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9], [0.1, 0.8, 0.1]])
TOP, SIDE = 92, 112  # pixels: where the first row of images is, how large they are


def greys(num_images: int) -> NDArray[np.uint8]:
    """Images `[N, 4, 4]` of one grey each: 10, 20, 30 …"""
    shades = np.arange(10, 10 * num_images + 1, 10, dtype=np.uint8)
    return np.broadcast_to(shades[:, None, None], (num_images, 4, 4))


def shown(picture: object) -> list[int]:
    """The greys of the images in the first row, as `greys` counts them; at most six."""
    row = 255 - np.asarray(picture)[TOP + SIDE // 2, :, 0].astype(int)
    changes = np.flatnonzero(np.diff(row)) + 1
    return [int(part[0]) for part in np.split(row, changes) if part[0]]


def test_samples_are_of_their_rows_class(written: list[Written]) -> None:
    """Row by row, the first examples of each class and no others; an absent class is named."""
    images, labels = greys(7), np.array([1, 0, 1, 1, 0, 1, 0])
    picture = samples_figure(images, labels, ["bag", "coat", "absent"], per_class=3)
    pixels = 255 - np.asarray(picture).astype(int)
    assert picture.mode == "L"
    left = picture.width - 20 - 3 * 60
    tiles = pixels[20 + 30 : 20 + 180 : 60, left + 30 : left + 180 : 60]
    assert tiles.tolist() == [[20, 50, 70], [10, 30, 40], [0, 0, 0]]
    assert [text.text for text in written] == ["bag", "coat", "absent"]
    assert [round((text.middle[1] - 20) // 60) for text in written] == [0, 1, 2]


@pytest.mark.parametrize("image_shape", [(1, 784), (784, 1), (2, 500)])
def test_images_of_any_shape_are_shown(image_shape: tuple[int, int]) -> None:
    """The shorter side has a pixel at least, and the page stays one that can be looked at."""
    images, labels = np.full((4, *image_shape), 128, dtype=np.uint8), [0, 1, 0, 1]
    for picture in (
        samples_figure(images, labels, NAMES),
        mistakes_figure(images, labels, np.eye(2)[[1, 0, 1, 0]], NAMES),
        weights_figure(images.reshape(4, -1), image_shape),
    ):
        assert max(picture.size) < 2000
        assert (np.asarray(picture) < 200).any()


def test_an_image_is_shown_as_it_is(written: list[Written]) -> None:
    """Each pixel is a square of its shade, negated and not mirrored; shapes are kept."""
    image = np.array([[0, 255, 40, 9], [80, 120, 200, 60]], dtype=np.uint8)
    picture = np.asarray(mistakes_figure(image[None], [0], [[0, 1]], ["Bag", "Coat"]))
    middle = round(next(text for text in written if text.text == "Bag").middle[0])
    left, top, pixel = middle - 56, TOP + 28, 28
    drawn = picture[top : top + 2 * pixel, left : left + 4 * pixel]
    expected = (255 - image).repeat(pixel, axis=0).repeat(pixel, axis=1)
    assert (drawn == expected[..., None]).all()
    assert (picture[TOP : TOP + 28] == 255).all()


def test_mistakes_come_in_falling_order_of_confidence(written: list[Written]) -> None:
    """Wrong images alone, the most confident first, no more than the limit, each captioned."""
    probabilities = [[0.1, 0.9], [0.6, 0.4], [0.97, 0.03], [0.2, 0.8]]
    labels = [0, 1, 0, 0]  # wrong, wrong, right, wrong
    picture = mistakes_figure(greys(4), labels, probabilities, ["Bag", "Coat"], limit=2)
    assert shown(picture) == [10, 40]
    words = [text.text for text in written]
    assert words[0] == "The 2 most confident of 3 mistakes"
    assert words[1].startswith("of 4 images")
    assert words[2:] == ["Bag", "→ Coat", "90.0%", "Bag", "→ Coat", "80.0%"]


def test_no_mistakes_are_said_to_be_none(written: list[Written]) -> None:
    """A perfect run has a picture that says so."""
    picture = mistakes_figure(random_images(2), np.array([0, 1]), np.eye(2), ["Bag", "Coat"])
    assert written[0].text == "No mistakes"
    assert np.asarray(picture).min() < 100


def test_disagreements_come_by_how_far_apart_they_are(written: list[Written]) -> None:
    """Apart by 0.8 on the third image, 0.7 on the fourth, 0.5 on the second; the first agrees."""
    picture = disagreements_figure(greys(4), LABELS, (SURE, OTHER), GARMENTS[:3], NAMES)
    assert shown(picture) == [30, 40, 20]
    words = [text.text for text in written]
    assert words[0] == "3 of 3 images on which A and B disagree"
    assert "A has 2 right, B 1" in words[1]
    titles = [t.text for t in written if t.color == INK and t.text in GARMENTS]
    assert titles == [GARMENTS[2], GARMENTS[0], GARMENTS[1]]
    picture = disagreements_figure(greys(4), LABELS, (SURE, OTHER), GARMENTS[:3], NAMES, limit=2)
    assert shown(picture) == [30, 40]


def test_the_network_that_is_right_is_blue(written: list[Written]) -> None:
    """And the one that is wrong is orange."""
    disagreements_figure(random_images(4), LABELS, (SURE, OTHER), GARMENTS[:3], NAMES)
    by_color = {
        color: sorted(text.text[0] for text in written if text.color == color)
        for color in (BLUE, VERMILION)
    }
    assert by_color == {BLUE: ["A", "A", "B"], VERMILION: ["A", "B", "B"]}


def test_networks_that_agree_are_said_to(written: list[Written]) -> None:
    """No image is shown."""
    picture = disagreements_figure(greys(4), LABELS, (SURE, SURE), GARMENTS[:3], NAMES)
    assert written[0].text == "A and B agree"
    assert picture.height == TOP


def test_images_that_most_networks_mistake_come_first(written: list[Written]) -> None:
    """Then those with the most confident wrong answers; other mistakes are not shown."""
    # mistaken by one, confidently; by both; by both, more confidently; otherwise; by none
    first = [[0.01, 0.99, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0, 0.2, 0.8], [0.9, 0.1, 0]]
    second = [[0.55, 0.45, 0], [0.4, 0.6, 0], [0.2, 0.8, 0], [0, 0.2, 0.8], [0.9, 0.1, 0]]
    names = ["Trouser", "Bag", "Dress"]
    picture = pair_figure(greys(5), [0] * 5, [first, second], names, (0, 1))
    assert shown(picture) == [30, 20, 10]
    words = [text.text for text in written]
    assert "Trouser and Bag: 3 of 3" in words
    assert "2 of 2, 75.0%" in words
    assert "1 of 2, 72.0%" in words


def test_weights_come_by_their_norm_on_a_scale_about_zero(written: list[Written]) -> None:
    """Positive is orange, negative blue, zero the grey between; the largest norm comes first."""
    weights = np.zeros((9, 16))
    weights[4], weights[7, :8], weights[7, 8:] = -2, 1, -1
    weights[2] = 0.5
    picture = np.asarray(weights_figure(weights, (4, 4), num_shown=4)).astype(int)
    row = TOP + SIDE // 4
    colors = [picture[row, 16 + 61 + 122 * k] for k in range(4)]
    reds = [int(color[0] - color[2]) for color in colors]
    assert reds[0] < -50  # the unit of −2 first
    assert reds[1] > 50  # the upper half of the unit of ±1
    lower = picture[row + SIDE // 2, 16 + 61 + 122]
    assert lower[2] - lower[0] > 50
    assert 0 < reds[2] < reds[1]
    assert reds[3] == 0
    assert written[0].text == "First layer: the 4 of 9 units with the largest weights"
    assert "−2 in blue to +2 in orange" in written[1].text


@pytest.mark.parametrize("weights", [np.zeros((3, 6)), np.ones((200, 6)), np.eye(1, 6) * 1e-30])
def test_any_weights_are_drawn(weights: NDArray[np.float64], written: list[Written]) -> None:
    """A layer of zeros, of equal weights, of one unit; images need not be square."""
    assert_legible(written, weights_figure(weights, (2, 3)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: samples_figure(random_images(3), [0, 1, 2], HOSTILE),
        lambda: samples_figure(random_images(3, (9, 40)), [0, 1, 2], GARMENTS),
        lambda: mistakes_figure(random_images(8), [0] * 8, np.eye(8), HOSTILE),
        lambda: mistakes_figure(random_images(3), [0, 0, 0], np.eye(4)[[0, 0, 0]], HOSTILE[:4]),
        lambda: mistakes_figure(random_images(40, (90, 60)), [1] * 40, np.eye(40, 10), GARMENTS),
        lambda: disagreements_figure(random_images(4), LABELS, (SURE, OTHER), HOSTILE[:3], NAMES),
    ],
    ids=["samples", "wide samples", "mistakes", "no mistakes", "many", "disagreements"],
)
def test_no_text_is_cut_or_overwritten(build: Build, written: list[Written]) -> None:
    """Whatever the names and the shapes."""
    assert_legible(written, build())
