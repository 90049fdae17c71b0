"""data/augment.py: every image altered as said, every member as if it were alone."""

import math

import pytest
import torch
from torch import Generator, Tensor

from fashion_mnist.data.augment import add_noise, augment, copies, mixup

# Three members that differ in everything, one of them with nothing on.
FLIPS, SHIFTS, ERASES = [0.5, 0.0, 1.0], [1, 0, 3], [1.0, 0.0, 0.3]
NOISES, SCALES = [0.1, 0.0, 2.0], [0.35, 0.5, 0.2]


def seeded(*seeds: int) -> list[Generator]:
    """One generator for each seed."""
    return [Generator().manual_seed(seed) for seed in seeds]


def random_images(*shape: int) -> Tensor:
    """Uint8 pixels of 1 to 255, so that black is never their own."""
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=Generator().manual_seed(9))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 128])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("image_shape", [(5, 7), (28, 28)])
def test_member_equals_its_batch_alone(
    batch_size: int, threads: int, image_shape: tuple[int, int]
) -> None:
    """In a stack of unlike neighbours each member gets, over three calls, its bits of alone."""
    images = random_images(3, batch_size, image_shape[0] * image_shape[1])
    together = seeded(1, 2, 3)
    alone = seeded(1, 2, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for _ in range(3):
            stacked = augment(
                images,
                image_shape=image_shape,
                flip=FLIPS,
                shift=SHIFTS,
                erase=ERASES,
                generators=together,
            )
            for member in range(3):
                single = augment(
                    images[member : member + 1],
                    image_shape=image_shape,
                    flip=FLIPS[member : member + 1],
                    shift=SHIFTS[member : member + 1],
                    erase=ERASES[member : member + 1],
                    generators=alone[member : member + 1],
                )
                assert stacked[member].equal(single[0])
        assert stacked[1].equal(images[1])
    finally:
        torch.set_num_threads(before)
    assert_same_state(together, alone)


@pytest.mark.parametrize(("batch_size", "num_pixels"), [(1, 3), (7, 35), (128, 784)])
def test_noise_of_a_member_equals_its_noise_alone(batch_size: int, num_pixels: int) -> None:
    """Noise is to the bit that of the member alone, also where a neighbour has none."""
    x = torch.randn(3, batch_size, num_pixels, generator=Generator().manual_seed(0))
    together, alone = seeded(1, 2, 3), seeded(1, 2, 3)
    stacked = add_noise(x.clone(), noise=NOISES, scale=SCALES, generators=together)
    for member in range(3):
        single = add_noise(
            x[member : member + 1].clone(),
            noise=NOISES[member : member + 1],
            scale=SCALES[member : member + 1],
            generators=alone[member : member + 1],
        )
        assert stacked[member].equal(single[0])
    assert stacked[1].equal(x[1])
    assert_same_state(together, alone)


def assert_same_state(some: list[Generator], others: list[Generator]) -> None:
    """The generators stand at the same place: as many values were drawn from each."""
    for one, other in zip(some, others, strict=True):
        assert one.get_state().equal(other.get_state())


def test_number_of_draws_does_not_depend_on_strengths() -> None:
    """A generator stands at the same place after any strengths, so that a sweep is comparable."""
    images = random_images(1, 4, 6)
    none, all_on = seeded(1), seeded(1)
    augment(images, image_shape=(2, 3), flip=[0], shift=[0], erase=[0], generators=none)
    augment(images, image_shape=(2, 3), flip=[1], shift=[1], erase=[1], generators=all_on)
    assert_same_state(none, all_on)


def alter(
    images: Tensor,
    image_shape: tuple[int, int],
    *,
    flip: float = 0,
    shift: int = 0,
    erase: float = 0,
) -> Tensor:
    """One kind of augmentation for a single run."""
    return augment(
        images,
        image_shape=image_shape,
        flip=[flip],
        shift=[shift],
        erase=[erase],
        generators=seeded(1),
    )


def test_flip_mirrors_left_and_right() -> None:
    """With probability 1 columns are reversed and rows are not."""
    images = torch.tensor([[[1, 2, 3, 4, 5, 6]]], dtype=torch.uint8)
    assert alter(images, (2, 3), flip=1.0).tolist() == [[[3, 2, 1, 6, 5, 4]]]


def test_flip_probability_is_kept() -> None:
    """Of 20,000 images with probability 0.3, within four standard errors of 6,000 are flipped."""
    images = torch.tensor([1, 2], dtype=torch.uint8).expand(1, 20_000, 2)
    flipped = (alter(images, (1, 2), flip=0.3)[..., 0] == 2).sum().item()
    assert abs(flipped - 6000) < 4 * math.sqrt(20_000 * 0.3 * 0.7)


def test_shift_moves_each_way_equally_often() -> None:
    """A single lit pixel in the middle lands on each of the 15 places, about equally often."""
    images = torch.zeros(1, 15_000, 5, 7, dtype=torch.uint8)
    images[..., 2, 3] = 200
    shifted = alter(images.flatten(2), (5, 7), shift=1).view(-1, 5, 7)
    counts = (shifted == 200).sum(0)
    assert counts.sum() == 15_000
    middle = counts[1:4, 2:5]
    assert middle.sum() == 15_000
    assert (middle - 15_000 / 9).abs().max() < 4 * math.sqrt(15_000 / 9)


def test_shift_brings_in_black_and_keeps_the_rest() -> None:
    """Every shifted image is a window of the image in a black frame."""
    image = random_images(4, 3)
    framed = torch.nn.functional.pad(image, (2, 2, 2, 2))
    windows = {
        tuple(framed[top : top + 4, left : left + 3].flatten().tolist())
        for top in range(5)
        for left in range(5)
    }
    shifted = alter(image.flatten().expand(1, 500, 12), (4, 3), shift=2)[0]
    assert {tuple(pixels) for pixels in shifted.tolist()} == windows


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_copies_are_all_that_augmentation_can_make(flip: bool, shift: int) -> None:
    """Of each image once every mirrored and shifted one, at its own place among the images."""
    images = random_images(3, 12)
    made = copies(images, image_shape=(3, 4), flip=flip, shift=shift)
    assert len(made) == (1 + flip) * (2 * shift + 1) ** 2
    for number, image in enumerate(images):
        drawn = alter(image.expand(1, 2000, 12), (3, 4), flip=flip / 2, shift=shift)[0]
        own = [tuple(each[number].tolist()) for each in made]
        assert len(own) == len(set(own))
        assert set(own) == {tuple(each) for each in drawn.tolist()}


def test_shift_beyond_the_image_is_allowed() -> None:
    """A shift as large as the image can blacken it whole, and breaks nothing."""
    shifted = alter(random_images(1, 200, 6), (2, 3), shift=3)
    assert (shifted == 0).all(dim=2).any()


def test_erase_blackens_one_rectangle() -> None:
    """What is black is a full rectangle; its area is 2 to 33 %, up to rounding of its sides."""
    height, width = 28, 28
    erased = alter(random_images(1, 5000, 784), (height, width), erase=1.0)
    black = (erased == 0).view(-1, height, width)
    rows, columns = black.any(2), black.any(1)
    assert black.equal(rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):
        assert ((side[:, 1:] & ~side[:, :-1]).sum(1) + side[:, 0] == 1).all(), "in one piece"
    tall, wide = rows.sum(1), columns.sum(1)
    share = tall * wide / (height * width)
    assert 0.01 < share.min() < 0.03
    assert 0.31 < share.max() < 0.36
    assert share.mean() == pytest.approx(0.175, abs=0.01)
    assert (tall / wide).max() > 2.5
    assert (tall / wide).min() < 0.45
    # Each pixel has its turn: rectangles reach every border.
    assert black.any(0).all()


def test_erased_images_keep_all_other_pixels() -> None:
    """Outside of the rectangle nothing changes; about half are erased at probability 0.5."""
    images = random_images(1, 2000, 784)
    erased = alter(images, (28, 28), erase=0.5)
    assert torch.where(erased == 0, images, erased).equal(images)
    num_erased = (erased != images).any(2).sum().item()
    assert abs(num_erased - 1000) < 4 * math.sqrt(2000 * 0.25)


def test_erase_works_on_the_smallest_image() -> None:
    """An image of one pixel is erased whole."""
    assert alter(random_images(1, 3, 1), (1, 1), erase=1.0).tolist() == [[[0], [0], [0]]]


def test_images_are_never_altered_in_place() -> None:
    """The batch given to augment stays as it was: it may be a view of the data set."""
    images = random_images(1, 16, 35)
    before = images.clone()
    alter(images, (5, 7), flip=1.0, shift=2, erase=1.0)
    assert images.equal(before)


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    """Noise 0.1 on pixels divided by 0.4 has deviation 0.25 and mean 0."""
    x = torch.full((1, 400, 784), 3.0)
    noisy = add_noise(x, noise=[0.1], scale=[0.4], generators=seeded(1))
    assert noisy.std().item() == pytest.approx(0.25, rel=0.01)
    assert noisy.mean().item() == pytest.approx(3.0, abs=0.002)


def mixed(x: Tensor, *, probability: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One member's images `[1, B, P]`, labelled by their number, and their targets, mixed."""
    x, targets = x.clone(), torch.eye(x.shape[1]).unsqueeze(0)
    mixup(x, targets, probability=[probability], generators=seeded(seed))
    return x, targets


def test_mixup_mixes_targets_as_it_mixes_images() -> None:
    """Each image is what its targets say, and at least half of it is its own."""
    images = torch.randn(1, 500, 12, generator=Generator().manual_seed(3))
    x, [targets] = mixed(images, probability=1.0)
    torch.testing.assert_close(x[0], targets @ images[0])
    shares = 1 - targets.diag()
    torch.testing.assert_close(targets.roll(1, 1).diag(), shares)  # from the image before
    assert 0 <= shares.min() <= 0.01
    assert 0.49 <= shares.max() <= 0.5
    assert abs(shares.mean() - 0.25) < 4 * 0.5 / math.sqrt(12 * 500)


def test_mixup_leaves_alone_what_it_does_not_mix() -> None:
    """At probability 0.3 about 70 % of the images keep their bits; at 0 all do."""
    images = torch.randn(1, 1000, 3, generator=Generator().manual_seed(3))
    x, _ = mixed(images, probability=0.3)
    kept = (x == images).all(-1).sum().item()
    assert abs(kept - 700) < 4 * math.sqrt(1000 * 0.21)
    assert mixed(images, probability=0.0)[0].equal(images)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_mixup_member_equals_its_batch_alone(batch_size: int) -> None:
    """Whatever the neighbours' probabilities, at odd sizes."""
    images = torch.randn(3, batch_size, 35, generator=Generator().manual_seed(3))
    targets = torch.eye(batch_size).repeat(3, 1, 1)
    x, y = images.clone(), targets.clone()
    mixup(x, y, probability=[1.0, 0.0, 0.5], generators=seeded(1, 2, 3))
    for member, probability in enumerate([1.0, 0.0, 0.5]):
        alone = images[member : member + 1].clone(), targets[member : member + 1].clone()
        mixup(*alone, probability=[probability], generators=seeded(1 + member))
        assert alone[0][0].equal(x[member])
        assert alone[1][0].equal(y[member])
