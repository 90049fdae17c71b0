"""The multilayer perceptron in plain PyTorch: trained, exported, and shipped with a recorded model.

Everything is a stack: R networks of one architecture in one model. Parameters have the shapes of
`torch.nn`; where a model holds several networks, R leads. This file imports torch alone.

R networks in the stack, B batch, P pixels, C classes, I inputs and O outputs of a layer, H units.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Normalization = Literal["none", "batch", "layer", "rms"]
Options = Mapping[str, float | str | bool]


class SwiGLU(nn.Module):
    """The gated unit `a · silu(b)` of inputs (a, b) (Shazeer, 2020, "GLU Variants")."""

    def forward(self, x: Tensor) -> Tensor:
        """x `[…, 2H]` to `[…, H]`."""
        value, gate = x.chunk(2, -1)
        return value * F.silu(gate)


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
    "swiglu": SwiGLU,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}
# What an activation may be given: the bounds of a number, or the words that a text is one of.
ACTIVATION_OPTIONS: dict[str, dict[str, dict[str, float] | tuple[str, ...]]] = {
    "celu": {"alpha": {"gt": 0}},
    "elu": {"alpha": {"ge": 0}},
    "gelu": {"approximate": ("none", "tanh")},
    "hardshrink": {"lambd": {"ge": 0}},
    "hardtanh": {"min_val": {}, "max_val": {}},
    "leaky_relu": {"negative_slope": {}},
    "softplus": {"beta": {"gt": 0}, "threshold": {"ge": 0}},
    "softshrink": {"lambd": {"ge": 0}},
}
GATED = frozenset({"swiglu"})  # these take two numbers for each unit

# Each fills a weight `[O, I]` in place. "default" is what torch.nn.Linear does.
INITIALIZATIONS: dict[str, Callable[..., Tensor]] = {
    "default": partial(nn.init.kaiming_uniform_, a=5**0.5),
    "kaiming_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "kaiming_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "orthogonal": nn.init.orthogonal_,
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a multilayer perceptron: everything that its weights alone do not say."""

    num_inputs: int
    hidden_sizes: tuple[int, ...]  # empty: softmax regression
    num_classes: int
    activation: str = "relu"
    activation_options: Options = field(default_factory=dict)
    normalization: Normalization = "none"
    residual: bool = False

    @property
    def hidden_layers(self) -> list[tuple[int, int]]:
        """Inputs and units of each hidden layer."""
        return list(pairwise((self.num_inputs, *self.hidden_sizes)))

    @property
    def linear_sizes(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear layer, the output layer last."""
        factor = 2 if self.activation in GATED else 1
        hidden = [(num_inputs, factor * units) for num_inputs, units in self.hidden_layers]
        return [*hidden, ((self.num_inputs, *self.hidden_sizes)[-1], self.num_classes)]

    @property
    def num_weights(self) -> int:
        """Numbers in the weight matrices of all linear layers."""
        return sum(num_inputs * num_outputs for num_inputs, num_outputs in self.linear_sizes)


Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x, weight, bias: as F.linear


class Linear(nn.Module):
    """`x Wᵀ + b`. Training multiplies in `dtype`; evaluation, and all else, is in float32."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        stack: tuple[int, ...] = (),
        bias: bool = True,
        dtype: torch.dtype = torch.float32,
        product: Product = F.linear,
    ) -> None:
        """Allocate weight `[*stack, O, I]` and bias `[*stack, O]`, uninitialised.

        Args:
            product: how one network multiplies in training; several use `torch.baddbmm`.
        """
        super().__init__()
        self.dtype, self.product = dtype, product
        self.weight = nn.Parameter(torch.empty(*stack, num_outputs, num_inputs))
        self.bias = nn.Parameter(torch.empty(*stack, num_outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """float32 `[B, I]` to `[B, O]`, or `[R, B, I]` to `[R, B, O]`."""
        if not self.training:
            return _affine(x, self.weight, self.bias, F.linear)
        if self.dtype == torch.float32:
            return _affine(x, self.weight, self.bias, self.product)
        bias = None if self.bias is None else self.bias.to(self.dtype)
        return _affine(x.to(self.dtype), self.weight.to(self.dtype), bias, self.product).float()


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None, product: Product) -> Tensor:
    if weight.dim() == 2:
        return product(x, weight, bias)
    # (W xᵀ)ᵀ: so the gradient of W has W's layout, into which autograd would copy it at each step
    if bias is None:
        return torch.bmm(weight, x.mT).mT
    return torch.baddbmm(bias.unsqueeze(-1), weight, x.mT).mT


class BatchNorm(nn.Module):
    """Batch normalization over B with running statistics (Ioffe and Szegedy, 2015)."""

    momentum, eps = 0.1, 1e-5  # of torch.nn.BatchNorm1d

    def __init__(self, num_units: int, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*stack, num_units))
        self.bias = nn.Parameter(torch.zeros(*stack, num_units))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(*stack, num_units))
        self.register_buffer("running_var", torch.ones(*stack, num_units))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H]` or `[R, B, H]` to the same shape; a stack is R·H channels to torch's kernel."""
        # a view, for a stack's linear layer leaves x as `[R, H, B]` in memory
        channels = x if x.dim() == 2 else x.mT.reshape(1, -1, x.shape[1])
        normalised = F.batch_norm(
            channels,
            self.running_mean.flatten(),
            self.running_var.flatten(),
            self.weight.flatten(),
            self.bias.flatten(),
            self.training,
            self.momentum,
            self.eps,
        )
        return normalised if x.dim() == 2 else normalised.view_as(x.mT).mT


class LayerNorm(nn.Module):
    """Layer normalization over H (Ba, Kiros and Hinton, 2016)."""

    def __init__(self, num_units: int, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*stack, num_units))
        self.bias = nn.Parameter(torch.zeros(*stack, num_units))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H]` or `[R, B, H]` to the same shape."""
        if x.dim() == 2:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias)
        return F.layer_norm(x, x.shape[-1:]) * self.weight.unsqueeze(1) + self.bias.unsqueeze(1)


class RMSNorm(nn.Module):
    """Root mean square normalization over H (Zhang and Sennrich, 2019)."""

    def __init__(self, num_units: int, stack: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*stack, num_units))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H]` or `[R, B, H]` to the same shape."""
        if x.dim() == 2:
            return F.rms_norm(x, x.shape[-1:], self.weight)
        return F.rms_norm(x, x.shape[-1:]) * self.weight.unsqueeze(1)


NORMALIZATIONS: dict[str, Callable[[int, tuple[int, ...]], nn.Module]] = {
    "batch": BatchNorm,
    "layer": LayerNorm,
    "rms": RMSNorm,
}


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014) with one random byte for each element.

    The rate is a whole number of 256ths (0.3 is 77/256), one at least where it is not 0, and what
    is kept is scaled by exactly the share that is kept. torch's own costs more than the product
    beside it: it draws 32 bits for each element. Each network has its own rate, and its own
    generator.
    """

    def __init__(self, rates: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.generators = generators
        dropped = [min(max(round(rate * 256), int(rate > 0)), 255) for rate in rates]
        scales = [256 / (256 - count) for count in dropped]
        device = generators[0].device
        shape = (-1, 1, 1) if len(rates) > 1 else ()
        self.thresholds = torch.tensor(dropped, dtype=torch.uint8, device=device).view(shape)
        self.scales = torch.tensor(scales, device=device).view(shape)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H]` or `[R, B, H]` to the same shape; the identity outside training."""
        return x * self.mask(x.shape) if self.training else x

    def mask(self, shape: torch.Size) -> Tensor:
        """What to multiply by, float32: 0, or the inverse of the share that is kept."""
        num_each = shape[-2] * shape[-1]
        bytes_ = random_bytes(num_each, self.generators).view(shape)
        # a product of booleans and floats takes five times as long as this
        return (bytes_ >= self.thresholds).float().mul_(self.scales)


def random_bytes(count: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform bytes uint8 `[R, count]`, row r from `generators[r]`, drawn eight at a time."""
    device = generators[0].device
    words = torch.empty(len(generators), -(-count // 8), dtype=torch.int64, device=device)
    for row, generator in zip(words, generators, strict=True):
        # the default range of random_ leaves the top bit of every word at zero
        row.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[:, :count]


class Residual(nn.Sequential):
    """A hidden layer that adds its input to its output."""

    def forward(self, x: Tensor) -> Tensor:
        """`[…, H]` to `[…, H]`."""
        inner: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch has no type
        return x + inner


class MLP(nn.Sequential):
    """One network, or a stack of R: normalised pixels to logits."""

    def __init__(self, layers: "OrderedDict[str, nn.Module]", num_networks: int) -> None:
        super().__init__(layers)
        self.num_networks = num_networks

    def forward(self, x: Tensor) -> Tensor:
        """float32 `[R, B, P]` to logits `[R, B, C]`; one network takes `[B, P]` too.

        One network is computed without the leading dimension, as it is when it is used alone.
        """
        is_one_of_a_stack = x.dim() == 3 and self.num_networks == 1
        logits: Tensor = super().forward(x.squeeze(0) if is_one_of_a_stack else x)  # type: ignore[no-untyped-call]  # torch has no type
        return logits.unsqueeze(0) if is_one_of_a_stack else logits.contiguous()


def build_activation(name: str, options: Options) -> nn.Module:
    """The activation of `torch.nn` by its usual name, with its own arguments.

    Raises:
        TypeError: an argument that it does not take; `inplace` is none, for it would overwrite
            what the gradient needs.
    """
    if "inplace" in options:
        raise TypeError("inplace cannot be set: it would overwrite what the gradient needs")
    return ACTIVATIONS[name](**options)


def build_mlp(
    architecture: Architecture,
    *,
    num_networks: int = 1,
    dropout: Sequence[float] | None = None,
    input_dropout: Sequence[float] | None = None,
    dropout_generators: Sequence[torch.Generator] = (),
    dtype: torch.dtype = torch.float32,
    product: Product = F.linear,
    device: torch.device | str = "cpu",
) -> MLP:
    """A stack of networks, uninitialised: `initialize`, or `load_state_dict`, fills it.

    Args:
        num_networks: R.
        dropout: after each hidden layer, a rate for each network; None for no such layer.
        input_dropout: the same on the pixels.
        dropout_generators: one for each network, on `device`.
        dtype: of the matrix products in training.
        product: see `Linear`.
    """
    stack = (num_networks,) if num_networks > 1 else ()
    linear = partial(Linear, stack=stack, dtype=dtype, product=product)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.device(device):
        if input_dropout is not None:
            layers["input_dropout"] = Dropout(input_dropout, dropout_generators)
        sizes = zip(architecture.hidden_layers, architecture.linear_sizes, strict=False)
        for k, ((num_inputs, num_units), (_, num_outputs)) in enumerate(sizes, 1):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            # batch normalization takes a bias away again: it would learn rounding noise
            has_bias = architecture.normalization != "batch"
            parts["linear"] = linear(num_inputs, num_outputs, bias=has_bias)
            if architecture.normalization != "none":
                normalize = NORMALIZATIONS[architecture.normalization]
                parts["normalization"] = normalize(num_outputs, stack)
            parts["activation"] = build_activation(
                architecture.activation, architecture.activation_options
            )
            if dropout is not None:
                parts["dropout"] = Dropout(dropout, dropout_generators)
            is_residual = architecture.residual and num_inputs == num_units
            layers[f"hidden{k}"] = Residual(parts) if is_residual else nn.Sequential(parts)
        layers["output"] = linear(*architecture.linear_sizes[-1])
    return MLP(layers, num_networks)


def initialize(model: MLP, initialization: str, generators: Sequence[torch.Generator]) -> None:
    """Draw the weights and biases of all linear layers, network r's from `generators[r]`.

    Args:
        initialization: a key of `INITIALIZATIONS`, for the weights; biases are torch.nn.Linear's.
        generators: on the CPU, for a model on any device.
    """
    fill = INITIALIZATIONS[initialization]
    for linear in [module for module in model.modules() if isinstance(module, Linear)]:
        num_outputs, num_inputs = linear.weight.shape[-2:]
        bound = num_inputs**-0.5
        with torch.no_grad():
            for r, generator in enumerate(generators):
                weight = fill(torch.empty(num_outputs, num_inputs), generator=generator)
                linear.weight.view(-1, num_outputs, num_inputs)[r].copy_(weight)
                if linear.bias is not None:
                    bias = torch.empty(num_outputs).uniform_(-bound, bound, generator=generator)
                    linear.bias.view(-1, num_outputs)[r].copy_(bias)


def num_parameters(architecture: Architecture) -> int:
    """How many numbers one network learns: weights, biases, and those of the normalisation."""
    model = build_mlp(architecture, device="meta")
    return sum(parameter.numel() for parameter in model.parameters())
