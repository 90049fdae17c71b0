"""Corrupted images: shifted, noisy and occluded ones, to measure how robust a network is.

`N` images of `H` × `W` pixels. The same images, strength and seed give the same images; a greater
strength shifts in the same directions, scales the same noise, occludes about the same places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from fashion_mnist.data.augment import rectangles, shift_pictures

WHITE = 255
# down and right, of the eight neighbours of a pixel
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Corruption:
    """A way to corrupt images, with increasing strengths, of which the first changes nothing."""

    name: str
    unit: str  # of the strengths
    strengths: tuple[float, ...]
    function: Callable[[Tensor, float, Generator], Tensor]

    def apply(self, images: Tensor, strength: float, seed: int = 0) -> Tensor:
        """A corrupted copy of images uint8 `[N, H, W]` on the CPU."""
        return self.function(images, strength, Generator().manual_seed(seed))


def shift(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Each image moved `strength` pixels in one of eight directions; black comes in."""
    chosen = torch.randint(0, len(DIRECTIONS), (len(images),), generator=generator)
    offsets = round(strength) * torch.tensor(DIRECTIONS)[chosen]
    moved = shift_pictures(images[None], offsets.T[:, None], largest=round(strength))
    return moved[0]


def add_noise(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Gaussian noise with standard deviation `strength` on pixels / 255, cut to what pixels are."""
    noise = torch.randn(images.shape, generator=generator)
    noisy = images + WHITE * strength * noise
    return noisy.round().clamp(0, WHITE).to(torch.uint8)


def occlude(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """A black square with sides of `strength` pixels somewhere in each image, wholly inside.

    A side longer than the image's is cut to it.
    """
    draws = torch.rand(2, len(images), generator=generator)
    sides = torch.full((len(images),), round(strength))
    height, width = images.shape[1:]
    return images * ~rectangles((height, width), sides, sides, draws)


CORRUPTIONS = (
    Corruption("shift", "pixels", (0, 1, 2, 3, 4), shift),
    Corruption("noise", "standard deviation", (0, 0.1, 0.2, 0.3, 0.4, 0.5), add_noise),
    Corruption("occlusion", "pixels a side", (0, 4, 8, 12, 16), occlude),
)
