"""The matrix products of a linear layer for R runs at once, and the memory they work on.

R runs in the stack, B batch, I inputs and O outputs of a layer.

On a CPU a run must give the same bits alone and beside any neighbours. So there each member has
products of its own, on memory that starts at multiples of 64 bytes: a batched product takes other
routes through the library for one member than for several, at some sizes (512 inputs, a last batch
of 6, two threads) with other roundings. Elsewhere it is one batched product. Layers therefore work
on the parts of a stack's tensors: R of `[B, ·]` on a CPU, elsewhere one `[R, B, ·]`.
"""

from collections.abc import Callable, Sequence
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
    """The parts of a stack's tensor: R of `[·]` on a CPU, else `[R, ·]` as it is.

    On a CPU the vectorised loops end in a scalar remainder that rounds differently; called member
    by member, a remainder lies where it lies when the run is trained alone.
    """
    return list(x.unbind(0)) if x.device.type == "cpu" else [x]


def join(parts: Sequence[Tensor]) -> Tensor:
    """The slab `[R, …]` of the parts that `members` gives."""
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
    """`x W + b` of a part: x `[B, I]`, weight `[I, O]`, bias `[1, O]` give `[B, O]`."""
    return torch.addmm(bias, x, weight) if x.dim() == 2 else torch.baddbmm(bias, x, weight)


def weight_gradient(x: Tensor, gradient: Tensor, out: Tensor) -> None:
    """Write `xᵀ g` of a part to out `[I, O]`: x `[B, I]`, gradient `[B, O]`."""
    _product(x)(x.mT, gradient, out=out)


def bias_gradient(gradient: Tensor, out: Tensor) -> None:
    """Write the sum over the batch of a part's gradient `[B, O]` to out `[1, O]`."""
    torch.sum(gradient, -2, keepdim=True, out=out)


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """`g Wᵀ` of a part: gradient `[B, O]`, weight `[I, O]` give `[B, I]`."""
    return _product(gradient)(gradient, weight.mT)


def _product(x: Tensor) -> Callable[..., Tensor]:
    return torch.mm if x.dim() == 2 else torch.bmm
