"""Which library multiplies: large products in float32 go to oneDNN where the CPU has AVX-512.

torch asks MKL for float32, which leaves AMD's processors with AVX-512 half idle: 107 against 232
GFLOP/s on one Zen 5 core. Without AVX-512 MKL is the faster one (by 1.4 on Zen 3). The rule looks
at the instruction set and the sizes alone, so that a run has the same bits at each start.

B batch, I inputs and O outputs of a layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Multiply-adds from which on a product goes to oneDNN: the autograd function in Python costs some
# 25 µs for each layer. On Zen 5 it gains from 2**22 on (a step of 784-128-64-10 on one core took
# 0.67 ms instead of 0.84); twice that, as on Zen 4 the two are equally fast.
LARGE_PRODUCT = 2**23
# torch has no public way to ask oneDNN for float32, so that this private operator bounds its
# version in pyproject.toml.
_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def is_there() -> bool:
    """Whether this torch can ask oneDNN for products in float32."""
    return _onednn is not None and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]  # torch has none


def is_faster() -> bool:
    """Whether large products are to go to oneDNN on this machine."""
    return is_there() and "AVX512" in torch.backends.cpu.get_cpu_capability()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `torch.nn.functional.linear`: `[B, I]`, `[O, I]` and `[O]` give `[B, O]`."""
    is_large = x.shape[0] * weight.numel() >= LARGE_PRODUCT
    if is_large and x.dtype == torch.float32 and x.device.type == "cpu":
        product: Tensor = _Linear.apply(x, weight, bias)
        return product
    return F.linear(x, weight, bias)


class _Linear(torch.autograd.Function):
    """A linear layer whose three products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = _product(gradient, weight.mT) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(0) if ctx.has_bias else None
        return of_x, _product(gradient.mT, x.mT), of_bias


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a bᵀ + bias`: `[M, K]`, `[N, K]` and `[N]` give `[M, N]`."""
    product: Tensor = _onednn(a, b, bias, "none", [], "")
    return product
