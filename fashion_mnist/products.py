"""The matrix products of a linear layer for R runs at once, and the memory they work on.

R runs in the stack, B batch, I inputs and O outputs of a layer.

On a CPU a run must give the same bits alone and beside any neighbours. So there each member has
products of its own, on slabs that start at multiples of 64 bytes: a batched product takes other
routes through the library for one member than for several, at some sizes (512 inputs, a last batch
of 6, two threads) with other roundings. Elsewhere it is one batched product.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

ALIGNMENT_BYTES = 64


def slab(
    num_members: int,
    *shape: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Uninitialised `[R, *shape]`; on a CPU each member starts at a multiple of 64 bytes."""
    device = torch.device(device)
    unit = ALIGNMENT_BYTES // dtype.itemsize
    if device.type != "cpu" or prod(shape) % unit == 0:
        return torch.empty(num_members, *shape, device=device, dtype=dtype)
    padded = -(-prod(shape) // unit) * unit
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    storage = torch.empty(num_members * padded, device=device, dtype=dtype)
    return storage.as_strided((num_members, *shape), (padded, *strides))


def members(x: Tensor) -> list[Tensor]:
    """What row-wise functions are called on: each `[B, ·]` on a CPU, else the whole `[R, B, ·]`.

    On a CPU the vectorised loops end in a scalar remainder that rounds differently; called member
    by member, a remainder lies where it lies when the run is trained alone.
    """
    return list(x.unbind(0)) if x.device.type == "cpu" else [x]


def join(parts: Sequence[Tensor]) -> Tensor:
    """The slab `[R, …]` of what was computed for `members`."""
    first = parts[0]
    if first.device.type != "cpu":
        return first
    if len(parts) == 1 and first.is_contiguous():
        return first.unsqueeze(0)  # allocations of torch are aligned: nothing to copy
    joined = slab(len(parts), *first.shape, dtype=first.dtype)
    for member, part in zip(joined, parts, strict=True):
        member.copy_(part)
    return joined


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x W + b`: x `[R, B, I]`, weight `[R, I, O]`, bias `[R, 1, O]` give `[R, B, O]`."""
    out = slab(x.shape[0], x.shape[1], weight.shape[2], device=x.device, dtype=x.dtype)
    if x.device.type != "cpu":
        return torch.baddbmm(bias, x, weight, out=out)
    for r in range(len(x)):
        torch.addmm(bias[r], x[r], weight[r], out=out[r])
    return out


def weight_gradient(x: Tensor, gradient: Tensor, out: Tensor) -> None:
    """Write `xᵀ g` to out `[R, I, O]`: x `[R, B, I]`, gradient `[R, B, O]`."""
    if x.device.type != "cpu":
        torch.bmm(x.transpose(1, 2), gradient, out=out)
    else:
        for r in range(len(x)):
            torch.mm(x[r].t(), gradient[r], out=out[r])


def bias_gradient(gradient: Tensor, out: Tensor) -> None:
    """Write the sum over the batch of gradient `[R, B, O]` to out `[R, 1, O]`."""
    if gradient.device.type != "cpu":
        torch.sum(gradient, 1, keepdim=True, out=out)
    else:
        for r in range(len(gradient)):
            torch.sum(gradient[r], 0, keepdim=True, out=out[r])


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """`g Wᵀ`: gradient `[R, B, O]`, weight `[R, I, O]` give `[R, B, I]`."""
    out = slab(
        gradient.shape[0],
        gradient.shape[1],
        weight.shape[1],
        device=gradient.device,
        dtype=gradient.dtype,
    )
    if gradient.device.type != "cpu":
        return torch.bmm(gradient, weight.transpose(1, 2), out=out)
    for r in range(len(gradient)):
        torch.mm(gradient[r], weight[r].t(), out=out[r])
    return out
