"""data/corruptions.py: images change as described, by the given strength, the same each time."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from fashion_mnist.data.corruptions import CORRUPTIONS, DIRECTIONS, Corruption, shift

NAMES = [corruption.name for corruption in CORRUPTIONS]
SHIFT, NOISE, OCCLUSION = CORRUPTIONS


def random_images(num_images: int, height: int = 28, width: int = 28) -> Tensor:
    """Uint8 pixels of 1 to 255, so that black is never their own."""
    shape = (num_images, height, width)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=Generator().manual_seed(9))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_strength_zero_changes_nothing_and_the_images_stay(corruption: Corruption) -> None:
    """The first strength is none; the greatest gives other images, and leaves those it is given."""
    images = random_images(30)
    before = images.clone()
    assert corruption.strengths[0] == 0
    assert corruption.apply(images, 0).equal(before)
    corrupted = corruption.apply(images, corruption.strengths[-1])
    assert corrupted.dtype == torch.uint8
    assert corrupted.shape == images.shape
    assert (corrupted != before).flatten(1).any(1).all()
    assert images.equal(before)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
def test_the_seed_alone_decides(corruption: Corruption) -> None:
    """The same seed gives the same images whatever was drawn before, another one others."""
    images, strength = random_images(20), corruption.strengths[2]
    first = corruption.apply(images, strength, seed=3)
    torch.rand(7)
    assert corruption.apply(images, strength, seed=3).equal(first)
    assert not corruption.apply(images, strength, seed=4).equal(first)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=NAMES)
@pytest.mark.parametrize("image_shape", [(1, 1), (3, 5), (9, 2)])
def test_small_images_are_corrupted_too(
    corruption: Corruption, image_shape: tuple[int, int]
) -> None:
    """No strength is too much for images of a few pixels."""
    images = random_images(12, *image_shape)
    for strength in corruption.strengths:
        assert corruption.apply(images, strength).shape == images.shape


def test_shift_goes_that_far_in_every_direction() -> None:
    """A single lit pixel lands on the eight places of that distance, about equally often."""
    images = torch.zeros(8000, 9, 9, dtype=torch.uint8)
    images[:, 4, 4] = 200
    counts = (SHIFT.apply(images, 3) == 200).sum(0)
    places = {(4 + 3 * down, 4 + 3 * right) for down, right in DIRECTIONS}
    assert {(row, column) for row, column in counts.nonzero().tolist()} == places
    assert counts.sum() == 8000
    assert counts[counts > 0].min() > 1000 - 4 * 30


def test_shift_brings_in_black() -> None:
    """Each shifted image is a window of the image in a black frame."""
    images = random_images(50, 4, 3)
    framed = pad(images, (2, 2, 2, 2))
    for number, moved in enumerate(shift(images, 2, Generator().manual_seed(0))):
        windows = [
            framed[number, 2 - 2 * down : 6 - 2 * down, 2 - 2 * right : 5 - 2 * right]
            for down, right in DIRECTIONS
        ]
        assert any(moved.equal(window) for window in windows)


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    """On mid-grey, far from being cut, 0.1 is 25.5 of 255; black and white stay pixels."""
    grey = torch.full((20, 28, 28), 128, dtype=torch.uint8)
    noisy = NOISE.apply(grey, 0.1).double()
    assert noisy.std().item() == pytest.approx(25.5, rel=0.02)
    assert noisy.mean().item() == pytest.approx(128, abs=0.5)
    ends = torch.tensor([[[0, 255]]], dtype=torch.uint8).expand(1000, 1, 2)
    low, high = NOISE.apply(ends, 0.1).double().mean((0, 1)).tolist()
    # half of a normal distribution is cut: the mean of the rest is σ/√(2π)
    assert low == pytest.approx(25.5 * 0.3989, rel=0.15)
    assert 255 - high == pytest.approx(25.5 * 0.3989, rel=0.15)


def test_occlusion_blackens_one_square_anywhere_inside() -> None:
    """What is black is a square of that side, and all else is as it was; no corner is left out."""
    images = random_images(4000)
    occluded = OCCLUSION.apply(images, 8)
    black = occluded == 0
    assert torch.where(black, images, occluded).equal(images)
    rows, columns = black.any(2), black.any(1)
    assert black.equal(rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):
        assert (side.sum(1) == 8).all()
        assert ((side[:, 1:] & ~side[:, :-1]).sum(1) + side[:, 0] == 1).all(), "in one piece"
    assert black.any(0).all()


def test_more_strength_goes_on_where_less_began() -> None:
    """A farther shift goes the same way, more noise is the same noise, so a curve is paired."""
    images = torch.full((40, 15, 15), 128, dtype=torch.uint8)
    images[:, 7, 7] = 255
    places = [(SHIFT.apply(images, pixels) == 255).nonzero()[:, 1:] - 7 for pixels in (1, 2)]
    assert places[1].equal(2 * places[0])
    weak, strong = (NOISE.apply(images, size).int() - images.int() for size in (0.05, 0.1))
    inner = images == 128
    assert ((strong - 2 * weak)[inner].abs() <= 1).all()
