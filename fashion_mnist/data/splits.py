"""Which training images are trained on and which validate; the pixel statistics of the former.

Shapes: N training images, P pixels of an image, C classes.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Every split depends on it: another seed would make all recorded runs incomparable with new ones.
SHUFFLE_SEED = 0
WHITE = 255


@dataclass(frozen=True)
class Split:
    """Which training images are trained on, `train` int64 `[n]`, and which validate, `[v]`."""

    train: Tensor
    validation: Tensor

    @property
    def train_sha256(self) -> str:
        """SHA-256 of the indices that are trained on, in their order."""
        return _sha256(self.train)

    @property
    def validation_sha256(self) -> str:
        """SHA-256 of the validation indices alone, in their order.

        Runs that differ only in `data.train_size` share it: their scores can be compared.
        """
        return _sha256(self.validation)


def check_sizes(
    num_images: int,
    *,
    validation_size: int,
    fold: int,
    train_size: int | None,
    batch_size: int = 1,
) -> list[str]:
    """What is wrong with a split of N = `num_images` images, one message for each mistake."""
    problems = []
    if not 0 <= validation_size < num_images:
        problems.append(
            f"data.validation_size must be 0 to {num_images - 1}, which leaves at least one of "
            f"the {num_images} images to train on, got {validation_size}"
        )
        validation_size = 1  # the most forgiving one, so that the rest is judged too
    num_folds = num_images // validation_size if validation_size else 1
    if not 0 <= fold < num_folds:
        problems.append(
            f"data.fold must be 0 to {num_folds - 1}, since {num_images} images give {num_folds} "
            f"parts of data.validation_size, got {fold}"
        )
    num_left = num_images - validation_size
    if train_size is not None and not 1 <= train_size <= num_left:
        problems.append(
            f"data.train_size must be 1 to {num_left}, the images that validation leaves, "
            f"got {train_size}"
        )
        train_size = None
    num_train = num_left if train_size is None else train_size
    if not 1 <= batch_size <= num_train:
        problems.append(
            f"training.batch_size must be 1 to {num_train}, the images that are trained on, "
            f"got {batch_size}"
        )
    return problems


def split(
    labels: Tensor, *, num_classes: int, validation_size: int, fold: int, train_size: int | None
) -> Split:
    """Fold `fold` of the training images; depends on nothing but these arguments.

    Both parts have the classes in the proportions of the whole. Folds of one size are disjoint,
    and a smaller `train_size` is a subset of a larger one.

    Args:
        labels: int64 `[N]`, in [0, C).
        train_size: length of `train`; None for all that validation leaves.

    Raises:
        ValueError: names all sizes that do not fit.
    """
    problems = check_sizes(
        len(labels), validation_size=validation_size, fold=fold, train_size=train_size
    )
    if problems:
        raise ValueError("\n".join(problems))

    order = stratified_order(labels.cpu().numpy(), num_classes=num_classes)
    start, end = fold * validation_size, (fold + 1) * validation_size
    train = np.concatenate([order[:start], order[end:]])[:train_size]
    validation = order[start:end]
    return Split(torch.from_numpy(train), torch.from_numpy(validation))


def _sha256(index: Tensor) -> str:
    return hashlib.sha256(index.numpy().astype("<i8").tobytes()).hexdigest()


def stratified_order(labels: NDArray[np.int64], *, num_classes: int) -> NDArray[np.int64]:
    """All indices `[N]` in an order any slice of which has the classes in the same proportions.

    The shuffled examples of each class are spread evenly over (0, 1): the i-th of n stands at
    (i + 1/2) / n. Where classes are equally large, a slice has at most one example of a class
    more than of another.
    """
    # RandomState, since NumPy froze its stream for good (NEP 19); default_rng's may change.
    shuffled = np.random.RandomState(SHUFFLE_SEED).permutation(len(labels))
    position = np.empty(len(labels))
    for label in range(num_classes):
        members = shuffled[labels[shuffled] == label]
        position[members] = (np.arange(len(members)) + 0.5) / max(len(members), 1)
    return np.lexsort((labels, position))  # by position, equal ones by label


def pixel_statistics(images: Tensor, index: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of images `index`, pixels scaled to [0, 1].

    From exact integer sums: the order of the images and the device do not matter. Images of one
    colour have standard deviation 1, so that normalising leaves them finite.

    Args:
        images: uint8 `[N, P]`.
        index: int64 `[n]`, n >= 1.
    """
    counts = torch.zeros(WHITE + 1, dtype=torch.int64, device=images.device)
    # In parts of some thousand images, to bound the memory of the gathered copy.
    for part in index.to(images.device).chunk(1 + len(index) // 4096):
        counts += torch.bincount(images[part].flatten(), minlength=WHITE + 1)
    number_of = list(enumerate(counts.tolist()))
    num_pixels = sum(number for _, number in number_of)
    total = sum(value * number for value, number in number_of)
    total_squares = sum(value**2 * number for value, number in number_of)

    variance = (num_pixels * total_squares - total**2) / (num_pixels * WHITE) ** 2
    return total / (num_pixels * WHITE), math.sqrt(variance) or 1.0
