"""The layers between the products: activations and normalizations.

R runs in the stack, B batch, H features. Parts are as in `layers`. Where torch has the derivative
as one operation of its own (`torch.ops.aten.…_backward`, what its autograd calls), it is called
directly: setting autograd up takes longer than the function of a small layer. The rest is left to
autograd.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
        self.buffers: list[Buffer] = []

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, H]` to the same shape."""
        outputs = [self.function(part) for part in parts]
        if training:
            self.inputs, self.outputs = parts, outputs
        return outputs

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output to those of the input, parts `[B, H]`."""
        each = zip(gradients, self.inputs, self.outputs, strict=True)
        return [self.derivative(gradient, x, y) for gradient, x, y in each]


class RowWise:
    """A function of each member's `[B, H]` whose derivative is left to torch's autograd."""

    def __init__(self, parameters: Sequence[Parameter] = ()) -> None:
        self.parameters = list(parameters)
        self.buffers: list[Buffer] = []

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        """A part `[B, H]` with weights `[1, H]`, or `[R, B, H]` with `[R, 1, H]`."""
        raise NotImplementedError

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, H]` to the same shape."""
        inputs = [part.detach() for part in parts]
        weights = [
            [parameter.values[k].detach() for parameter in self.parameters]
            for k in range(len(parts))
        ]
        if training:
            self.leaves = [*inputs, *(w for row in weights for w in row)]
            for leaf in self.leaves:
                leaf.requires_grad_()
        with torch.set_grad_enabled(training):
            outputs = [self.compute(part, row) for part, row in zip(inputs, weights, strict=True)]
        if training:
            self.outputs = outputs
        return [output.detach() for output in outputs]

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output to those of the input, parts `[B, H]`."""
        own = torch.autograd.grad(self.outputs, self.leaves, gradients)
        count = len(gradients)
        for k, parameter in enumerate(self.parameters):
            weights = own[count + k :: len(self.parameters)]
            for target, source in zip(parameter.gradients, weights, strict=True):
                target.copy_(source)
        return list(own[:count])


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

    def forward(self, parts: list[Tensor], *, training: bool) -> list[Tensor]:
        """Parts `[B, H]` to the same shape."""
        inputs, tensors = [_columns(part) for part in parts], self._tensors()
        normalised = [
            torch.native_batch_norm(x, w, b, mean, var, training, self.momentum, self.epsilon)
            for x, (w, b, mean, var) in zip(inputs, tensors, strict=True)
        ]
        if training:
            self.inputs, self.tensors = inputs, tensors
            self.saved = [saved for _, *saved in normalised]  # means and deviations of the batch
        return [_like(out, x) for (out, *_), x in zip(normalised, parts, strict=True)]

    def backward(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the output to those of the input, parts `[B, H]`."""
        places = zip(*(parameter.gradients for parameter in self.parameters), strict=True)
        each = zip(gradients, self.inputs, self.tensors, self.saved, places, strict=True)
        outputs = []
        for gradient, x, (scale, _offset, mean, variance), saved, own in each:
            out, *values = _aten.native_batch_norm_backward(
                _columns(gradient), x, scale, mean, variance, *saved, True, self.epsilon, [True] * 3
            )
            for place, value in zip(own, values, strict=True):
                place.copy_(value.view(place.shape))
            outputs.append(_like(out, gradient))
        return outputs

    def _tensors(self) -> list[list[Tensor]]:
        """Of each part: scale, offset, running mean and variance, each `[H]`."""
        columns = [*(p.values for p in self.parameters), *(b.values for b in self.buffers)]
        return [[tensor.flatten() for tensor in row] for row in zip(*columns, strict=True)]


class LayerNorm(RowWise):
    """Layer normalization over H (Ba, Kiros and Hinton, 2016)."""

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        scale, offset = weights
        return F.layer_norm(x, x.shape[-1:]) * scale + offset


class RMSNorm(RowWise):
    """Root mean square normalization over H (Zhang and Sennrich, 2019)."""

    def compute(self, x: Tensor, weights: list[Tensor]) -> Tensor:
        return F.rms_norm(x, x.shape[-1:]) * weights[0]


def _columns(part: Tensor) -> Tensor:
    """A part `[B, H]` as it is; `[R, B, H]` as torch's kernel wants it, `[B, R·H]`."""
    return part if part.dim() == 2 else part.transpose(0, 1).flatten(1)


def _like(columns: Tensor, part: Tensor) -> Tensor:
    """What `_columns` made in the form of the part again."""
    if part.dim() == 2:
        return columns
    return columns.view(part.shape[1], part.shape[0], -1).transpose(0, 1)
