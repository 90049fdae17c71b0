"""A network as a table of its layers, before it is trained.

It is apart from `network.py`, which is shipped with every recorded model.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fashion_mnist.models.network import Architecture, Linear, build_mlp

Rates = tuple[float, float]  # of dropout: of the pixels, of hidden units


@dataclass(frozen=True)
class LayerSummary:
    """One layer of one network."""

    name: str  # its path in the model: hidden1.linear
    kind: str  # the class
    num_outputs: int  # of one image
    num_parameters: int
    multiply_adds: int  # of the forward pass of one image; those of element-wise layers are 0


def summarize(architecture: Architecture, dropout: Rates = (0.0, 0.0)) -> list[LayerSummary]:
    """The layers in the order in which an image passes them; no weight is allocated.

    Args:
        dropout: the rates of the pixels and of the hidden units; a rate of 0 is no layer.
    """
    input_rate, rate = ([own] if own else None for own in dropout)
    # dropout is the identity in evaluation, and draws nothing
    generators = [torch.Generator()]
    model = build_mlp(
        architecture,
        input_dropout=input_rate,
        dropout=rate,
        dropout_generators=generators,
        device="meta",
    )
    found: list[LayerSummary] = []

    def note(name: str, layer: nn.Module, outputs: Tensor) -> None:
        num_parameters = sum(parameter.numel() for parameter in layer.parameters())
        products = layer.weight.numel() if isinstance(layer, Linear) else 0
        kind, size = type(layer).__name__, outputs.shape[-1]
        found.append(LayerSummary(name, kind, size, num_parameters, products))

    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(
                lambda layer, _, outputs, name=name: note(name, layer, outputs)
            )
    model.eval()(torch.empty(1, architecture.num_inputs, device="meta"))
    return found
