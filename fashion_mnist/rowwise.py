"""The layers between the products: activations and normalizations, called member by member.

R runs in the stack, B batch, H features. Where torch has the derivative as one operation of its
own (`torch.ops.aten.…_backward`, what its autograd calls), it is called directly: setting autograd
up takes longer than the function of a small layer. The rest is left to autograd.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fashion_mnist import products
from fashion_mnist.parameters import Buffer, Parameter

_aten: Any = torch.ops.aten

# From the gradient of y = f(x), x and y, and the options of f in `torch.nn`, the gradient of x.
Derivative = Callable[..., Tensor]
DERIVATIVES: Mapping[str, Derivative] = {
    "gelu": lambda gradient, x, _y, approximate="none": _aten.gelu_backward(
        gradient, x, approximate=approximate
    ),
    "leaky_relu": lambda gradient, x, _y, negative_slope=0.01: _aten.leaky_relu_backward(
        gradient, x, negative_slope, False
    ),
    "mish": lambda gradient, x, _y: _aten.mish_backward(gradient, x),
    "relu": lambda gradient, _x, y: _aten.threshold_backward(gradient, y, 0),
    "sigmoid": lambda gradient, _x, y: _aten.sigmoid_backward(gradient, y),
    "silu": lambda gradient, x, _y: _aten.silu_backward(gradient, x),
    "tanh": lambda gradient, _x, y: _aten.tanh_backward(gradient, y),
}


class Elementwise:
    """A function of each element, with its derivative."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], derivative: Callable[..., Tensor]
    ) -> None:
        """Take the function and what gives the gradient of x from that of y, x and y."""
        self.function, self.derivative = function, derivative
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, H]` to the same shape."""
        inputs = products.members(x)
        outputs = [self.function(part) for part in inputs]
        if training:
            self.inputs, self.outputs = inputs, outputs
        return products.join(outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output to that of the input, both `[R, B, H]`."""
        parts = zip(products.members(gradient), self.inputs, self.outputs, strict=True)
        return products.join([self.derivative(*part) for part in parts])


class RowWise:
    """A function of each member's `[B, H]` whose derivative is left to torch's autograd."""

    def __init__(self, parameters: Sequence[Parameter] = ()) -> None:
        self.parameters = list(parameters)
        self.buffers: list[Buffer] = []

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """One member's `[B, H]` with weights `[1, H]`, or `[R, B, H]` with `[R, 1, H]`."""
        raise NotImplementedError

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, H]` to the same shape."""
        inputs = [part.detach() for part in products.members(x)]
        values = [parameter.value.detach() for parameter in self.parameters]
        weights = _by_member(values, len(inputs))
        if training:
            self.leaves = [*inputs, *(w for row in weights for w in row)]
            for leaf in self.leaves:
                leaf.requires_grad_()
        with torch.set_grad_enabled(training):
            outputs = [self.compute(part, row) for part, row in zip(inputs, weights, strict=True)]
        if training:
            self.outputs = outputs
        return products.join([output.detach() for output in outputs])

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output to that of the input, both `[R, B, H]`."""
        parts = products.members(gradient)
        gradients = torch.autograd.grad(self.outputs, self.leaves, parts)
        for k, parameter in enumerate(self.parameters):
            own = gradients[len(parts) + k :: len(self.parameters)]
            for target, source in zip(products.members(parameter.gradient), own, strict=True):
                target.copy_(source)
        return products.join(gradients[: len(parts)])


class Activation(RowWise):
    """An element-wise function of torch."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        return self.function(x)


class BatchNorm:
    """Batch normalization over B with running statistics (Ioffe and Szegedy, 2015)."""

    momentum, epsilon = 0.1, 1e-5  # of torch.nn.BatchNorm1d

    def __init__(self, scale: Parameter, offset: Parameter, mean: Buffer, variance: Buffer) -> None:
        """Take tensors `[R, 1, H]`."""
        self.parameters, self.buffers = [scale, offset], [mean, variance]

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """x `[R, B, H]` to the same shape."""
        inputs = [_columns(part) for part in products.members(x)]
        normalised = [
            torch.native_batch_norm(part, w, b, mean, var, training, self.momentum, self.epsilon)
            for part, (w, b, mean, var) in zip(inputs, self._tensors(), strict=True)
        ]
        if training:
            self.inputs = inputs
            self.saved = [own for _, *own in normalised]  # means and deviations of the batch
        return products.join([_like(out, x) for out, *_ in normalised])

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the output to that of the input, both `[R, B, H]`."""
        parts = [_columns(part) for part in products.members(gradient)]
        places = _by_member([p.gradient for p in self.parameters], len(parts))
        outputs = []
        for part, x, weights, saved, own in zip(
            parts, self.inputs, self._tensors(), self.saved, places, strict=True
        ):
            scale, _offset, mean, variance = weights
            out, *gradients = _aten.native_batch_norm_backward(
                part, x, scale, mean, variance, *saved, True, self.epsilon, [True] * 3
            )
            for place, value in zip(own, gradients, strict=True):
                place.view(-1).copy_(value)
            outputs.append(_like(out, gradient))
        return products.join(outputs)

    def _tensors(self) -> list[list[Tensor]]:
        """Of each part: scale, offset, running mean and variance, each `[H]`."""
        values = [*(p.value for p in self.parameters), *(b.value for b in self.buffers)]
        rows = _by_member(values, len(products.members(values[0])))
        return [[tensor.flatten() for tensor in row] for row in rows]


class LayerNorm(RowWise):
    """Layer normalization over H (Ba, Kiros and Hinton, 2016)."""

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        scale, offset = weights
        return F.layer_norm(x, x.shape[-1:]) * scale + offset


class RMSNorm(RowWise):
    """Root mean square normalization over H (Zhang and Sennrich, 2019)."""

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        return F.rms_norm(x, x.shape[-1:]) * weights[0]


def _columns(x: Tensor) -> Tensor:
    """One member's `[B, H]` as it is; `[R, B, H]` as torch's kernel wants it, `[B, R·H]`."""
    return x if x.dim() == 2 else x.transpose(0, 1).flatten(1)


def _like(columns: Tensor, x: Tensor) -> Tensor:
    """What `_columns` made, in the form of a member of x `[R, B, H]`, or of the whole."""
    if x.device.type == "cpu":
        return columns
    return columns.view(x.shape[1], x.shape[0], -1).transpose(0, 1)


def _by_member(values: Sequence[Tensor], count: int) -> list[list[Tensor]]:
    """Tensors `[R, …]` as `count` lists, one for each part that `products.members` gives."""
    parts = [products.members(value) for value in values]
    return [[part[k] for part in parts] for k in range(count)]
