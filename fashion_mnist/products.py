"""The matrix products of a linear layer for R runs at once, and the memory they work on.

R runs in the stack, B batch, I inputs and O outputs of a layer.

On a CPU a run must give the same bits alone and beside any neighbours. So there each member has
products of its own, on memory that starts at multiples of 64 bytes: a batched product takes other
routes through the library for one member than for several, at some sizes (512 inputs, a last batch
of 6, two threads) with other roundings. Elsewhere it is one batched product. Layers therefore work
on the parts of a stack's tensors: R of `[B, ·]` on a CPU, elsewhere one `[R, B, ·]`.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT_BYTES = 64
# Multiply-adds above which a product is given to oneDNN. In float32 torch itself asks MKL, which
# leaves a processor of AMD's half idle: 107 against 232 GFLOP/s on one Zen 5 core. A call takes
# 10 µs longer.
LARGE_PRODUCT = 2**20
_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_has_onednn = _onednn is not None and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch has none


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


def member_of(parts: Sequence[Tensor], member: int) -> Tensor:
    """One member's own of the parts that `members` gives."""
    first = parts[0]
    return parts[member] if first.device.type == "cpu" else first[member]


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x Wᵀ + b` of a part: x `[B, I]`, weight `[O, I]`, bias `[1, O]` give `[B, O]`."""
    if x.dim() == 3:
        return torch.baddbmm(bias, x, weight.mT)
    return _product(x, weight, bias.view(-1))


def weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """`gᵀ x` of a part: gradient `[B, O]` and x `[B, I]` give `[O, I]`."""
    if gradient.device.type != "cpu" or _is_for_onednn(gradient.mT, x.mT):
        return _product(gradient.mT, x.mT)
    # MKL's bits depend on the number of threads for 10 rows, and not for 10 columns
    return (x.mT @ gradient).mT.contiguous()


def bias_gradient(gradient: Tensor, out: Tensor) -> None:
    """Write the sum over the batch of a part's gradient `[B, O]` to out `[1, O]`."""
    torch.sum(gradient, -2, keepdim=True, out=out)


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """`g W` of a part: gradient `[B, O]`, weight `[O, I]` give `[B, I]`."""
    return _product(gradient, weight.mT)


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a bᵀ`: `[M, K]` and `[N, K]` to `[M, N]`, or R of them at once; bias `[N]` is added."""
    if a.dim() == 3:
        return torch.bmm(a, b.mT)
    if _is_for_onednn(a, b):
        product: Tensor = _onednn(a, b, bias, "none", [], "")
        return product
    return F.linear(a, b, bias)


def _is_for_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether `a bᵀ` is one large product on a CPU."""
    is_large = a.dim() == 2 and a.shape[0] * a.shape[1] * b.shape[0] > LARGE_PRODUCT
    return is_large and _has_onednn and a.device.type == "cpu"
