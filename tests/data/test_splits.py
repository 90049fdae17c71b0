"""data/splits.py: folds that share nothing, hashes that stay, exact statistics."""

import gc
import weakref
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashion_mnist.data.splits import check_sizes, pixel_statistics, split
from fashion_mnist.runs.stacks import split_data
from tests.builders import load, make_config, make_data

FOUR_CLASSES = torch.tensor([0, 1, 2, 3] * 10)


def test_folds_part_the_images() -> None:
    """Four folds of ten: together every image once; training is all that a fold leaves."""
    parts = [
        split(FOUR_CLASSES, num_classes=4, validation_size=10, fold=fold, train_size=None)
        for fold in range(4)
    ]
    held_out = torch.cat([part.validation for part in parts])
    assert sorted(held_out.tolist()) == list(range(40))
    for part in parts:
        assert sorted(torch.cat([part.train, part.validation]).tolist()) == list(range(40))
    assert len({part.validation_sha256 for part in parts}) == 4


@given(
    num_each=st.integers(1, 30),
    num_classes=st.integers(1, 12),
    validation_share=st.floats(0, 0.99),
    train_share=st.floats(0.01, 1),
    random=st.randoms(use_true_random=False),
)
def test_both_parts_have_every_class_alike(
    num_each: int,
    num_classes: int,
    validation_share: float,
    train_share: float,
    random: Random,
) -> None:
    """With equal classes, class counts of the validation part differ by at most one.

    The training part is two slices of the order, so its counts differ by at most two.
    """
    labels = [label for label in range(num_classes) for _ in range(num_each)]
    random.shuffle(labels)
    validation_size = int(len(labels) * validation_share)
    num_left = len(labels) - validation_size
    train_size = max(1, int(num_left * train_share))
    last_fold = len(labels) // validation_size - 1 if validation_size else 0
    for fold in {0, last_fold // 2, last_fold}:
        part = split(
            torch.tensor(labels),
            num_classes=num_classes,
            validation_size=validation_size,
            fold=fold,
            train_size=train_size,
        )
        assert len(part.validation) == validation_size
        assert len(part.train) == train_size
        for index, most in ((part.validation, 1), (part.train, 2)):
            counts = torch.bincount(torch.tensor(labels)[index], minlength=num_classes)
            assert counts.max() - counts.min() <= most


def test_unequal_classes_keep_their_proportions() -> None:
    """Of 60 zeros, 30 ones and 10 twos, each tenth holds 6, 3 and 1."""
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    for fold in range(10):
        part = split(labels, num_classes=3, validation_size=10, fold=fold, train_size=None)
        assert torch.bincount(labels[part.validation]).tolist() == [6, 3, 1]


def test_single_example_of_a_class_stands_in_the_middle() -> None:
    """Rare classes are not all in the first fold: a class of one is in the fifth of nine."""
    labels = torch.tensor([0] * 8 + [1])
    for fold in range(9):
        part = split(labels, num_classes=2, validation_size=1, fold=fold, train_size=None)
        assert labels[part.validation].tolist() == [int(fold == 4)]


def test_smaller_training_part_is_within_the_larger() -> None:
    """A learning curve adds images and exchanges none; the validation part stays."""
    parts = [
        split(FOUR_CLASSES, num_classes=4, validation_size=10, fold=2, train_size=size)
        for size in (1, 7, 29, 30)
    ]
    for smaller, larger in pairwise(parts):
        assert larger.train[: len(smaller.train)].equal(smaller.train)
        assert larger.validation.equal(smaller.validation)
    assert len({part.validation_sha256 for part in parts}) == 1
    assert len({part.train_sha256 for part in parts}) == 4


def test_split_is_the_same_for_ever() -> None:
    """Its hashes are pinned: recorded runs stay comparable. It ignores the global seed."""
    labels = torch.arange(60_000) % 10
    for seed in (0, 1):
        np.random.seed(seed)  # the global stream is what must not matter
        torch.manual_seed(seed)
        part = split(labels, num_classes=10, validation_size=5000, fold=1, train_size=1000)
        assert part.train_sha256.startswith("3f076457eed19c93")
        assert part.validation_sha256.startswith("df3e88e99464546")


def test_without_validation_all_images_train() -> None:
    """validation_size 0 gives an empty validation part and every image to train on."""
    part = split(FOUR_CLASSES, num_classes=4, validation_size=0, fold=0, train_size=None)
    assert part.validation.shape == (0,)
    assert sorted(part.train.tolist()) == list(range(40))


def test_class_that_is_never_present_is_no_obstacle() -> None:
    """A class name without an example changes nothing."""
    few = split(FOUR_CLASSES, num_classes=4, validation_size=10, fold=0, train_size=None)
    many = split(FOUR_CLASSES, num_classes=9, validation_size=10, fold=0, train_size=None)
    assert few.train.equal(many.train)
    assert few.validation.equal(many.validation)


@pytest.mark.parametrize(
    ("validation_size", "fold", "train_size", "batch_size", "keys"),
    [
        (10, 3, 30, 30, []),
        (0, 0, None, 40, []),
        (39, 0, 1, 1, []),
        (40, 0, None, 1, ["data.validation_size must be 0 to 39"]),
        (-1, 0, None, 1, ["data.validation_size"]),
        (10, 4, None, 1, ["data.fold must be 0 to 3"]),
        (10, -1, None, 1, ["data.fold"]),
        (0, 1, None, 1, ["data.fold must be 0 to 0"]),
        (10, 0, 31, 1, ["data.train_size must be 1 to 30"]),
        (10, 0, 0, 1, ["data.train_size"]),
        (10, 0, None, 31, ["training.batch_size must be 1 to 30"]),
        (10, 0, 20, 21, ["training.batch_size must be 1 to 20"]),
        (10, 4, 31, 31, ["data.fold", "data.train_size", "training.batch_size"]),
        (40, -1, 0, 99, ["data.validation", "data.fold", "data.train", "training.batch_size"]),
    ],
)
def test_sizes_that_do_not_fit_are_all_named(
    validation_size: int, fold: int, train_size: int | None, batch_size: int, keys: list[str]
) -> None:
    """One message for each mistake, with key, limit and value, for 40 images."""
    problems = check_sizes(
        40,
        validation_size=validation_size,
        fold=fold,
        train_size=train_size,
        batch_size=batch_size,
    )
    assert len(problems) == len(keys)
    for problem, key in zip(problems, keys, strict=True):
        assert problem.startswith(key)


def test_split_refuses_with_all_messages() -> None:
    """A split of impossible sizes is one ValueError that names every key."""
    with pytest.raises(ValueError, match=r"data\.fold must .* got 9\ndata\.train_size .* got 31"):
        split(FOUR_CLASSES, num_classes=4, validation_size=10, fold=9, train_size=31)


def test_statistics_of_known_pixels() -> None:
    """Half black and half white has mean 1/2 and deviation 1/2; other images do not count."""
    images = torch.tensor([[0, 255], [17, 17], [255, 0]], dtype=torch.uint8)
    assert pixel_statistics(images, torch.tensor([0, 2])) == (0.5, 0.5)


def test_statistics_agree_with_numpy_and_ignore_the_order() -> None:
    """Mean and population deviation of pixels / 255, to the bit in any order of the index."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10_000, 5), dtype=torch.uint8, generator=generator)
    index = torch.randperm(10_000, generator=generator)[:9001]
    mean, std = pixel_statistics(images, index)
    pixels = images[index].numpy() / 255
    assert mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert std == pytest.approx(pixels.std(), rel=1e-12)
    assert (mean, std) == pixel_statistics(images, index.flip(0))


def test_images_of_one_colour_have_deviation_one() -> None:
    """Normalising a constant training set divides by one and not by zero."""
    images = torch.full((3, 4), 51, dtype=torch.uint8)
    assert pixel_statistics(images, torch.arange(3)) == (0.2, 1.0)


def test_view_of_a_data_set_does_not_keep_it(tmp_path: Path) -> None:
    """The jobs of some launchers load one each: a thousand of them must not stay in memory."""
    folder = make_data(tmp_path / "data")
    config, dataset = make_config(folder), load(folder)
    data_split, gone = split_data(config, dataset), weakref.ref(dataset)
    del dataset
    gc.collect()
    assert gone() is None
    assert split_data(config, load(folder)) is data_split
