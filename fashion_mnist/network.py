"""One network as plain torch: what a member of a stack is exported to, saved as and served by."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Normalization = Literal["none", "batch", "layer", "rms"]

# Element-wise, without trained or random parts: prelu and rrelu are not among them.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}

NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a multilayer perceptron: everything that its weights alone do not say."""

    num_inputs: int
    hidden_sizes: tuple[int, ...]  # empty: softmax regression
    num_classes: int
    activation: str = "relu"
    activation_options: Mapping[str, float | str | bool] = field(default_factory=dict)
    normalization: Normalization = "none"
    residual: bool = False

    @property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear layer, the output layer last."""
        sizes = (self.num_inputs, *self.hidden_sizes, self.num_classes)
        return list(pairwise(sizes))

    @property
    def num_weights(self) -> int:
        """Numbers in the weight matrices of all linear layers."""
        return sum(num_inputs * num_outputs for num_inputs, num_outputs in self.layer_sizes)

    def is_residual(self, layer: int) -> bool:
        """Whether hidden layer `layer` adds its input to its output: where the sizes agree."""
        num_inputs, num_outputs = self.layer_sizes[layer]
        return self.residual and num_inputs == num_outputs


class Residual(nn.Sequential):
    """A hidden layer that adds its input to its output."""

    def forward(self, x: Tensor) -> Tensor:
        """x `[B, H]` to `[B, H]`."""
        inner: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch has no type
        return x + inner


def build_activation(name: str, options: Mapping[str, float | str | bool]) -> nn.Module:
    """The activation of `torch.nn` by its usual name, with its own arguments."""
    return ACTIVATIONS[name](**options)


def build_network(architecture: Architecture, device: torch.device | str = "cpu") -> nn.Sequential:
    """The plain network: normalised pixels `[B, P]` to logits `[B, C]`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.device(device):
        for k, (num_inputs, num_outputs) in enumerate(architecture.layer_sizes[:-1]):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts["linear"] = nn.Linear(num_inputs, num_outputs)
            if architecture.normalization != "none":
                parts["normalization"] = NORMALIZATIONS[architecture.normalization](num_outputs)
            parts["activation"] = build_activation(
                architecture.activation, architecture.activation_options
            )
            kind = Residual if architecture.is_residual(k) else nn.Sequential
            layers[f"hidden{k + 1}"] = kind(parts)
        layers["output"] = nn.Linear(*architecture.layer_sizes[-1])
    return nn.Sequential(layers)


def num_parameters(architecture: Architecture) -> int:
    """How many numbers are learnt: weights and biases, and those of the normalisation."""
    return sum(tensor.numel() for tensor in build_network(architecture, "meta").parameters())
