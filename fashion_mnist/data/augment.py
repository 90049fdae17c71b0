"""Augmentation: each member of a stack alters its own batch, with its own strength and generator.

Shapes: R runs in the stack, B batch, P = H·W pixels, C classes.

Every call draws the same number of values from each member's generator, whatever the strengths,
and computes with them only by operations that round the same way wherever a value stands in a
tensor: a member's images are to the bit those it would have alone.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

NUM_DRAWS = 8  # for each image: flip, shift (2), erase (whether, area, aspect, place (2))
ERASED_AREA = (0.02, 0.33)  # of the image
ERASED_ASPECT = (0.3, 3.3)  # height / width


def augment(
    images: Tensor,
    *,
    image_shape: tuple[int, int],
    flip: Sequence[float],
    shift: Sequence[int],
    erase: Sequence[float],
    generators: Sequence[Generator],
) -> Tensor:
    """The batch flipped, then shifted, then erased, at random for each image.

    Args:
        images: uint8 `[R, B, P]`.
        image_shape: (H, W).
        flip: for each member, the probability in [0, 1] that an image is mirrored left to right.
        shift: for each member, the largest shift in pixels, each way; black comes in.
        erase: for each member, the probability in [0, 1] that a rectangle is blackened.
        generators: R generators on the images' device; all draws of member r come from the r-th.

    Returns:
        uint8 `[R, B, P]`.
    """
    num_runs, batch_size, _ = images.shape
    draws = torch.stack(
        [
            torch.rand(NUM_DRAWS, batch_size, generator=generator, device=images.device)
            for generator in generators
        ],
        dim=1,
    )
    strengths = torch.tensor([flip, shift, erase], dtype=torch.float32, device=images.device)
    flips, shifts, erases = strengths[..., None]

    pictures = images.reshape(num_runs, batch_size, *image_shape)
    if any(flip):
        pictures = _flip(pictures, draws[0] < flips)
    if any(shift):
        offsets = (draws[1:3] * (2 * shifts + 1)).floor() - shifts
        pictures = shift_pictures(pictures, offsets.long(), largest=max(shift))
    if any(erase):
        pictures = _erase(pictures, draws[3] < erases, draws[4:])
    return pictures.reshape(images.shape)


def copies(images: Tensor, *, image_shape: tuple[int, int], flip: bool, shift: int) -> list[Tensor]:
    """Images as they are, and as `augment` might have altered them: for test-time augmentation.

    Args:
        images: uint8 `[N, P]`.
        image_shape: (H, W).
        flip: whether each is there mirrored left to right too.
        shift: the largest shift in pixels, down and right, each way; black comes in.

    Returns:
        uint8 `[N, P]` each, (1 or 2) · (2 · shift + 1)² of them.
    """
    pictures = images.reshape(1, -1, *image_shape)
    mirrored = [pictures, pictures.flip(-1)] if flip else [pictures]
    moves = torch.cartesian_prod(*[torch.arange(-shift, shift + 1, device=images.device)] * 2)
    offsets = [move.view(2, 1, 1).expand(2, *pictures.shape[:2]) for move in moves]
    return [
        shift_pictures(each, own, largest=shift).reshape(images.shape)
        for each in mirrored
        for own in offsets
    ]


def add_noise(
    x: Tensor, *, noise: Sequence[float], scale: Sequence[float], generators: Sequence[Generator]
) -> Tensor:
    """Add Gaussian noise to `x`, in place; returns `x`.

    Args:
        x: float32 `[R, B, P]`, pixels scaled to [0, 1] and then divided by `scale`.
        noise: for each member, the standard deviation in pixels scaled to [0, 1].
        scale: for each member, what normalisation divided its pixels by.
        generators: R generators on x's device; all draws of member r come from the r-th.
    """
    draws = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    for member, generator in zip(draws, generators, strict=True):
        member.normal_(generator=generator)
    deviations = [size / unit for size, unit in zip(noise, scale, strict=True)]
    # Two operations, not addcmul, which may round once or twice depending on the place.
    draws *= torch.tensor(deviations, dtype=x.dtype, device=x.device)[:, None, None]
    return x.add_(draws)


def mixup(
    x: Tensor, targets: Tensor, *, probability: Sequence[float], generators: Sequence[Generator]
) -> None:
    """Mix images with the one before them in their batch, and their targets alike, in place.

    As mixup (Zhang et al., 2018) with alpha = 1 does, for a part of the images: a share that is
    uniform in [0, 1/2] comes from the other image. Shares above 1/2 would only name the same pairs
    the other way round.

    Args:
        x: float32 `[R, B, P]`. targets: float32 `[R, B, C]`.
        probability: for each member, in [0, 1], that an image is mixed.
        generators: R generators on x's device; all draws of member r come from the r-th.
    """
    draws = torch.stack(
        [torch.rand(2, x.shape[1], generator=own, device=x.device) for own in generators], dim=1
    )
    chance = torch.tensor(probability, dtype=torch.float32, device=x.device).view(-1, 1)
    share = ((draws[0] < chance) * draws[1] / 2).unsqueeze(-1)
    for values in (x, targets):
        others = values.roll(1, dims=1)
        # two operations, as in add_noise
        values.mul_(1 - share).add_(others.mul_(share))


def _flip(pictures: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror those of `[R, B, H, W]` that boolean `[R, B]` names."""
    straight = pictures.flatten(0, 1)
    both = torch.cat([straight, straight.flip(-1)])
    # Copying whole images is three times as fast as torch.where pixel by pixel.
    image = torch.arange(len(straight), device=pictures.device)
    chosen = image + len(straight) * mirrored.flatten()
    return both.index_select(0, chosen).view(pictures.shape)


def shift_pictures(pictures: Tensor, offsets: Tensor, *, largest: int) -> Tensor:
    """Move `[R, B, H, W]` down and right by int64 `offsets: [2, R, B]`, in [-largest, largest]."""
    height, width = pictures.shape[-2:]
    padded = pad(pictures, (largest,) * 4)
    padded_height, padded_width = padded.shape[-2:]
    # Window i starts at the i-th pixel of the padded batch: a view, and a single index for each
    # image, where gathering pixels would need an int64 for each of them.
    last = padded.numel() - (height - 1) * padded_width - width
    windows = padded.as_strided((last + 1, height, width), (1, padded_width, 1))
    top, left = largest - offsets.flatten(1)
    image = torch.arange(len(top), device=top.device)
    starts = (image * padded_height + top) * padded_width + left
    return windows.index_select(0, starts).view(pictures.shape)


def _erase(pictures: Tensor, erased: Tensor, draws: Tensor) -> Tensor:
    """Blacken a rectangle in those of `[R, B, H, W]` that boolean `[R, B]` names.

    Random erasing (Zhong et al. 2017, algorithm 1), black being the background of the images. A
    side longer than the image is cut to it, where the paper draws again.

    Args:
        draws: uniform in [0, 1) `[4, R, B]`: area, aspect, top, left.
    """
    height, width = pictures.shape[-2:]
    area = _between(ERASED_AREA, draws[0]) * (height * width)
    aspect = _between(ERASED_ASPECT, draws[1])
    sides = ((area * aspect).sqrt(), (area / aspect).sqrt())
    heights, widths = (side.round().clamp(min=1) * erased for side in sides)
    return pictures * ~rectangles((height, width), heights, widths, draws[2:])


def rectangles(
    image_shape: tuple[int, int], heights: Tensor, widths: Tensor, draws: Tensor
) -> Tensor:
    """Which pixels are in a rectangle that is wholly inside its image: boolean `[..., H, W]`.

    Args:
        image_shape: (H, W).
        heights, widths: whole numbers `[...]`; a side longer than the image is cut to it.
        draws: uniform in [0, 1) `[2, ...]`: the place between top and bottom, left and right.
    """
    inside = []
    for size, lengths, draw in zip(image_shape, (heights, widths), draws, strict=True):
        lengths = lengths.clamp(max=size)
        start = (draw * (size - lengths + 1)).floor()
        places = torch.arange(size, device=draws.device) - start[..., None]
        inside.append((places >= 0) & (places < lengths[..., None]))
    rows, columns = inside
    covered: Tensor = rows[..., :, None] & columns[..., None, :]
    return covered


def _between(bounds: tuple[float, float], draw: Tensor) -> Tensor:
    """Uniform draws in [0, 1) as uniform draws between the bounds."""
    low, high = bounds
    return low + (high - low) * draw
