"""The stacked multilayer perceptron: R networks of one architecture, trained side by side.

R runs in the stack, B batch, P pixels, C classes, I inputs and O outputs of a layer, H features.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from fashion_mnist.layers import Block, Dropout, Layer, Linear
from fashion_mnist.network import Architecture, build_activation
from fashion_mnist.parameters import Buffer, Parameter, Parameters
from fashion_mnist.products import join, members, slab
from fashion_mnist.randomness import make_generators
from fashion_mnist.rowwise import (
    DERIVATIVES,
    Activation,
    BatchNorm,
    Elementwise,
    LayerNorm,
    RMSNorm,
)

# Each fills a weight `[O, I]` in place. "default" is what torch.nn.Linear does.
INITIALIZATIONS: dict[str, Callable[..., Tensor]] = {
    "default": partial(nn.init.kaiming_uniform_, a=5**0.5),
    "kaiming_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "kaiming_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "orthogonal": nn.init.orthogonal_,
}


class StackedMLP:
    """R networks. `forward` and `backward` in place of autograd's graph; see `layers`."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        seeds: Sequence[int],
        initialization: str = "default",
        dropout: Sequence[float] | None = None,
        input_dropout: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build and initialise R networks.

        Args:
            seeds: one for each member; the weights are drawn from it on the CPU, on any device.
            initialization: a key of `INITIALIZATIONS`.
            dropout: after each hidden layer, a rate for each member; None for no such layer.
            input_dropout: the same on the pixels.
            dtype: of the matrix products; everything else is float32.
        """
        self.architecture = architecture
        self.num_members = len(seeds)
        self.device = torch.device(device)
        self.parameters = Parameters(
            *_shapes(architecture), num_members=len(seeds), dtype=dtype, device=device
        )
        self.dropout_generators = make_generators(seeds, "dropout", device)
        # apart from the layers: nobody asks for the gradient of pixels
        self.input_dropout = (
            None if input_dropout is None else Dropout(input_dropout, self.dropout_generators)
        )
        self.layers: list[Layer] = []
        for k in range(len(architecture.hidden_sizes)):
            self.layers.append(self._hidden(k, dropout))
        self.layers.append(self._linear("output"))
        self.buffers: list[Buffer] = [b for layer in self.layers for b in layer.buffers]
        self._linears()[0].needs_input_gradient = False
        self._initialize(seeds, INITIALIZATIONS[initialization])

    def forward(self, x: Tensor, *, training: bool) -> Tensor:
        """Normalised pixels `[R, B, P]` float32 to logits `[R, B, C]` float32."""
        self.parameters.narrow()
        parts = members(x)
        if self.input_dropout is not None:
            parts = self.input_dropout.forward(parts, training=training)
        for layer in self.layers:
            parts = layer.forward(parts, training=training)
        return join(parts)

    def backward(self, gradient: Tensor) -> None:
        """From the logits' gradient `[R, B, C]`, write the gradient of every parameter."""
        gradients = members(gradient)
        for layer in reversed(self.layers):
            gradients = layer.backward(gradients)

    def tensors(self) -> list[Parameter | Buffer]:
        """Everything that training changes."""
        return [*self.parameters.by_name.values(), *self.buffers]

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """One member's tensors, on the CPU, as the state dict of the exported network."""
        vectors: list[Parameter | Buffer] = [*self.parameters.vectors, *self.buffers]
        state = {p.name: _exported(p.value[member]) for p in self.parameters.matrices}
        state |= {vector.name: _exported(vector.value[member].flatten()) for vector in vectors}
        for name in [name for name in state if name.endswith("running_var")]:
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
        return state

    def load_state_dict(self, member: int, state: dict[str, Tensor]) -> None:
        """Set one member's tensors from what `state_dict` gave."""
        for tensor in self.tensors():
            target = tensor.value[member]
            target.copy_(state[tensor.name].view(target.shape))

    def _hidden(self, k: int, dropout: Sequence[float] | None) -> Block:
        name = f"hidden{k + 1}"
        layers: list[Layer] = [self._linear(f"{name}.linear")]
        layers += self._normalization(f"{name}.normalization")
        layers.append(self._activation())
        if dropout is not None:
            layers.append(Dropout(dropout, self.dropout_generators))
        return Block(layers, residual=self.architecture.is_residual(k))

    def _activation(self) -> Layer:
        name, options = self.architecture.activation, self.architecture.activation_options
        function = build_activation(name, options)
        if name in DERIVATIVES:
            return Elementwise(function, partial(DERIVATIVES[name], **options))
        return Activation(function)

    def _linear(self, name: str) -> Linear:
        own = self.parameters.by_name
        return Linear(own[f"{name}.weight"], own[f"{name}.bias"])

    def _normalization(self, name: str) -> list[Layer]:
        kind = self.architecture.normalization
        if kind == "none":
            return []
        weight = self.parameters.by_name[f"{name}.weight"]
        weight.value.fill_(1)
        if kind == "rms":
            return [RMSNorm([weight])]
        bias = self.parameters.by_name[f"{name}.bias"]
        if kind == "layer":
            return [LayerNorm([weight, bias])]
        means, variances = (slab(*weight.value.shape, device=self.device) for _ in range(2))
        mean = Buffer(f"{name}.running_mean", means.zero_())
        return [BatchNorm(weight, bias, mean, Buffer(f"{name}.running_var", variances.fill_(1)))]

    def _initialize(self, seeds: Sequence[int], fill: Callable[..., Tensor]) -> None:
        generators = make_generators(seeds, "weights")
        for linear in self._linears():
            num_outputs, num_inputs = linear.weight.value.shape[1:]
            bound = num_inputs**-0.5  # torch.nn.Linear's, for every initialisation
            for r, generator in enumerate(generators):
                weight = fill(torch.empty(num_outputs, num_inputs), generator=generator)
                linear.weight.value[r].copy_(weight)
                bias = torch.empty(1, num_outputs).uniform_(-bound, bound, generator=generator)
                linear.bias.value[r].copy_(bias)

    def _linears(self) -> list[Linear]:
        inner = [part for layer in self.layers if isinstance(layer, Block) for part in layer.layers]
        return [part for part in [*inner, *self.layers] if isinstance(part, Linear)]


def _shapes(architecture: Architecture) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Of the weights of linear layers, outputs and inputs; of every other parameter, its size."""
    matrices, vectors = dict[str, tuple[int, int]](), dict[str, int]()
    for k, (num_inputs, num_outputs) in enumerate(architecture.layer_sizes, 1):
        is_output = k == len(architecture.layer_sizes)
        linear = "output" if is_output else f"hidden{k}.linear"
        matrices[f"{linear}.weight"] = (num_outputs, num_inputs)
        vectors[f"{linear}.bias"] = num_outputs
        if architecture.normalization != "none" and not is_output:
            vectors[f"hidden{k}.normalization.weight"] = num_outputs
            if architecture.normalization != "rms":
                vectors[f"hidden{k}.normalization.bias"] = num_outputs
    return matrices, vectors


def _exported(value: Tensor) -> Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)
