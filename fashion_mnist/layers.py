"""The layers of a stack: each computes its output and, by hand or by autograd, its gradients.

R runs in the stack, B batch, I inputs, O outputs, H features. Members are independent: no
operation sums over R. Layers take and give the parts of a stack's tensors (see `products`), each
`[B, ·]` on a CPU, and keep what their backward needs from the last training forward.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fashion_mnist import products
from fashion_mnist.parameters import Buffer, Parameter
from fashion_mnist.rowwise import BatchNorm, Elementwise, RowWise


class Linear:
    """`x Wᵀ + b`, with all products in the dtype of the operands and the rest in float32."""

    def __init__(self, weight: Parameter, bias: Parameter) -> None:
        self.weight, self.bias = weight, bias
        self.needs_input_gradient = True
        self.buffers: list[Buffer] = []

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, I]` to `[B, O]`."""
        operands = self._narrow(parts)
        if training:
            self.inputs = operands
        each = zip(operands, self.weight.operands, self.bias.operands, strict=True)
        return [products.affine(x, weight, bias).float() for x, weight, bias in each]

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output, parts `[B, O]`, to those of the input, `[B, I]`."""
        for gradient, out in zip(gradients, self.bias.gradients, strict=True):
            products.bias_gradient(gradient, out)
        operands = self._narrow(gradients)
        self.weight.gradients = [
            products.weight_gradient(gradient, x).float()
            for gradient, x in zip(operands, self.inputs, strict=True)
        ]
        if not self.needs_input_gradient:  # the first layer: nobody asks for the pixels' gradient
            return []
        each = zip(operands, self.weight.operands, strict=True)
        return [products.input_gradient(gradient, weight).float() for gradient, weight in each]

    def _narrow(self, parts: list[Tensor]) -> list[Tensor]:
        return [part.to(self.weight.operand.dtype) for part in parts]


class Dropout:
    """Dropout (Srivastava et al., 2014) with one random byte an element, a rate for each member.

    The rate is a whole number of 256ths (0.3 is 77/256), and what is kept is scaled by exactly
    the share that is kept. Member r draws from `generators[r]` alone.
    """

    def __init__(self, rates: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        device = generators[0].device
        dropped = [min(round(rate * 256), 255) for rate in rates]
        scales = [256 / (256 - count) for count in dropped]
        thresholds = torch.tensor(dropped, dtype=torch.uint8, device=device).view(-1, 1, 1)
        self.thresholds = products.members(thresholds)
        self.scales = products.members(torch.tensor(scales, device=device).view(-1, 1, 1))
        by_part = len(generators) // len(self.scales)  # one on a CPU, else all
        self.generators = [
            generators[start : start + by_part] for start in range(0, len(generators), by_part)
        ]
        self.buffers: list[Buffer] = []

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, H]` to the same shape; the identity outside training."""
        if not training:
            return parts
        each = zip(parts, self.generators, self.thresholds, self.scales, strict=True)
        self.kept = [_kept(*own) for own in each]
        return self._mask(parts)

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output to those of the input, parts `[B, H]`."""
        return self._mask(gradients)

    def _mask(self, parts: list[Tensor]) -> list[Tensor]:
        return [part * kept for part, kept in zip(parts, self.kept, strict=True)]


class Block:
    """A hidden layer: linear, normalization, activation, dropout, and perhaps its input added."""

    def __init__(self, layers: Sequence["Layer"], *, residual: bool) -> None:
        self.layers, self.residual = list(layers), residual
        self.buffers: list[Buffer] = [b for layer in layers for b in layer.buffers]

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, I]` to `[B, O]`."""
        out = parts
        for layer in self.layers:
            out = layer.forward(out, training=training)
        return _add(out, parts) if self.residual else out

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output, parts `[B, O]`, to those of the input, `[B, I]`."""
        inner = gradients
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        return _add(inner, gradients) if self.residual else inner


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


def _kept(
    part: Tensor, generators: Sequence[torch.Generator], threshold: Tensor, scale: Tensor
) -> Tensor:
    """What to multiply a part by: 0, or the inverse of the share that is kept."""
    bytes_ = random_bytes(part.shape[-2] * part.shape[-1], generators).view(part.shape)
    # a product of booleans and floats takes five times as long as this
    return (bytes_ >= threshold).float().mul_(scale)


def _add(these: list[Tensor], those: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(these, those, strict=True)]
