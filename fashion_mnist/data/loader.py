"""Batches of a stack: each run's own shuffle, gathered, augmented and normalised on the device.

R runs in the stack, N images, n of them trained on, B batch, P pixels, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fashion_mnist.data.augment import add_noise, augment, mixup


class Batch(NamedTuple):
    """What one step sees."""

    pixels: Tensor  # float32 [R, B, P], normalised
    targets: Tensor  # int64 [R, B], the labels; or, of mixed images, float32 [R, B, C], shares
    labels: Tensor  # int64 [R, B]; of mixed images that of the larger share


class Normalizer:
    """Pixels to floats of mean 0 and deviation 1, with each run's own constants."""

    def __init__(
        self, means: Sequence[float], stds: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        """Take means and standard deviations of pixels / 255, one for each run."""
        self.stds = list(stds)
        offsets = [255 * mean for mean in means]
        scales = [1 / (255 * std) for std in stds]
        self.offset = torch.tensor(offsets, dtype=torch.float32, device=device).view(-1, 1, 1)
        self.scale = torch.tensor(scales, dtype=torch.float32, device=device).view(-1, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 `[R, B, P]` to float32 `[R, B, P]`."""
        return pixels.float().sub_(self.offset).mul_(self.scale)


class Loader:
    """The training images as a stack sees them. The last, partial batch is kept."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        num_classes: int,
        train_index: Tensor,
        normalizer: Normalizer,
        batch_size: int,
        image_shape: tuple[int, int],
        shuffle_generators: Sequence[torch.Generator],
        augment_generators: Sequence[torch.Generator],
        augmentation: Mapping[str, Sequence[float]],
    ) -> None:
        """Prepare the batches of every run.

        Args:
            images: uint8 `[N, P]`. labels: int64 `[N]`.
            train_index: int64 `[R, n]`, which images each run is trained on.
            shuffle_generators: one for each run, on the CPU.
            augment_generators: one for each run, on the images' device.
            augmentation: for each kind that is on (flip, shift, erase, noise, mixup), a
                strength for each run.
        """
        self.images, self.labels, self.num_classes = images, labels, num_classes
        self.train_index, self.normalizer = train_index, normalizer
        self.batch_size, self.image_shape = batch_size, image_shape
        self.shuffle_generators, self.augment_generators = shuffle_generators, augment_generators
        self.noise, self.mixup = augmentation.get("noise"), augmentation.get("mixup")
        self.strengths = [augmentation.get(kind) for kind in ("flip", "shift", "erase")]

    @property
    def num_examples(self) -> int:
        """Images in an epoch."""
        return self.train_index.shape[1]

    @property
    def num_steps(self) -> int:
        """Batches in an epoch."""
        return -(-self.num_examples // self.batch_size)

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch, in each run's own order."""
        orders = [
            torch.randperm(self.num_examples, generator=generator)
            for generator in self.shuffle_generators
        ]
        order = self.train_index.gather(1, torch.stack(orders).to(self.train_index.device))
        parts = (torch.split(each, self.batch_size, 1) for each in (order, self.labels[order]))
        for index, labels in zip(*parts, strict=True):
            pixels, targets = self._pixels(index), labels
            if self.mixup is not None:
                targets = torch.nn.functional.one_hot(labels, self.num_classes).float()
                mixup(pixels, targets, probability=self.mixup, generators=self.augment_generators)
            yield Batch(pixels, targets, labels)

    def _pixels(self, index: Tensor) -> Tensor:
        pixels = gather(self.images, index)
        if any(self.strengths):
            flip, shift, erase = (own or [0] * len(index) for own in self.strengths)
            pixels = augment(
                pixels,
                image_shape=self.image_shape,
                flip=flip,
                shift=[int(pixel) for pixel in shift],
                erase=erase,
                generators=self.augment_generators,
            )
        x = self.normalizer(pixels)
        if self.noise is None:
            return x
        return add_noise(
            x, noise=self.noise, scale=self.normalizer.stds, generators=self.augment_generators
        )


def gather(images: Tensor, index: Tensor) -> Tensor:
    """Images uint8 `[N, P]` at index int64 `[R, B]`: uint8 `[R, B, P]`."""
    return images.index_select(0, index.flatten()).view(*index.shape, -1)
