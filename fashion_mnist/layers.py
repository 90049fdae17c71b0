"""The layers of a stack: each computes its output and, by hand or by autograd, its gradients.

R runs in the stack, B batch, I inputs, O outputs, H features. Members are independent: no
operation sums over R. A layer keeps what its backward needs from the last training forward.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fashion_mnist import products
from fashion_mnist.parameters import Buffer, Parameter
from fashion_mnist.products import slab
from fashion_mnist.rowwise import BatchNorm, Elementwise, RowWise


class Linear:
    """`x W + b`, with both products in `dtype` and everything around them in float32."""

    def __init__(self, weight: Parameter, bias: Parameter, *, dtype: torch.dtype) -> None:
        self.weight, self.bias, self.dtype = weight, bias, dtype
        self.needs_input_gradient = True
        self.parameters = [weight, bias]
        self.buffers: list[Buffer] = []

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, I]` to `[R, B, O]`."""
        x = _cast(x, self.dtype)
        if training:
            self.x = x
        weight, bias = (_cast(p.value, self.dtype) for p in self.parameters)
        return _cast(products.affine(x, weight, bias), torch.float32)

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output `[R, B, O]` to that of the input `[R, B, I]`."""
        products.bias_gradient(gradient, self.bias.gradient)
        gradient = _cast(gradient, self.dtype)
        weight_gradient = self.weight.gradient
        if self.dtype == torch.float32:
            products.weight_gradient(self.x, gradient, weight_gradient)
        else:
            narrow = slab(*weight_gradient.shape, device=weight_gradient.device, dtype=self.dtype)
            products.weight_gradient(self.x, gradient, narrow)
            weight_gradient.copy_(narrow)
        if not self.needs_input_gradient:  # the first layer: nobody asks for the pixels' gradient
            return gradient
        weight = _cast(self.weight.value, self.dtype)
        return _cast(products.input_gradient(gradient, weight), torch.float32)


class Dropout:
    """Dropout (Srivastava et al., 2014) with one random byte an element, a rate for each member.

    The rate is a whole number of 256ths (0.3 is 77/256), and what is kept is scaled by exactly
    the share that is kept. Member r draws from `generators[r]` alone.
    """

    def __init__(self, rates: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        device = generators[0].device
        dropped = [min(round(rate * 256), 255) for rate in rates]
        scales = [256 / (256 - count) for count in dropped]
        self.threshold = torch.tensor(dropped, dtype=torch.uint8, device=device).view(-1, 1, 1)
        self.scale = torch.tensor(scales, dtype=torch.float32, device=device).view(-1, 1, 1)
        self.generators = list(generators)
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, H]` to the same shape; the identity outside training."""
        if not training:
            return x
        bytes_ = random_bytes(x.shape[1] * x.shape[2], self.generators).reshape(x.shape)
        # a product of booleans and floats takes five times as long as this
        kept = slab(*x.shape, device=x.device).copy_(bytes_ >= self.threshold)
        self.kept = kept.mul_(self.scale)
        return self._mask(x)

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output to that of the input, both `[R, B, H]`."""
        return self._mask(gradient)

    def _mask(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.kept, out=slab(*x.shape, device=x.device))


class Block:
    """A hidden layer: linear, normalization, activation, dropout, and perhaps its input added."""

    def __init__(self, layers: Sequence["Layer"], *, residual: bool) -> None:
        self.layers, self.residual = list(layers), residual
        self.parameters: list[Parameter] = [p for layer in layers for p in layer.parameters]
        self.buffers: list[Buffer] = [b for layer in layers for b in layer.buffers]

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, I]` to `[R, B, O]`."""
        out = x
        for layer in self.layers:
            out = layer.forward(out, training=training)
        return _add(out, x) if self.residual else out

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output `[R, B, O]` to that of the input `[R, B, I]`."""
        inner = gradient
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        return _add(inner, gradient) if self.residual else inner


Layer = Linear | RowWise | Elementwise | BatchNorm | Dropout | Block


def random_bytes(count: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform bytes uint8 `[R, count]`, row r from `generators[r]`, drawn eight at a time."""
    words = torch.empty(
        len(generators), -(-count // 8), dtype=torch.int64, device=generators[0].device
    )
    for row, generator in zip(words, generators, strict=True):
        # the default range of random_ leaves the top bit of every word at zero
        row.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[:, :count]


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    if x.dtype == dtype:
        return x
    return slab(*x.shape, device=x.device, dtype=dtype).copy_(x)


def _add(a: Tensor, b: Tensor) -> Tensor:
    return torch.add(a, b, out=slab(*a.shape, device=a.device))
