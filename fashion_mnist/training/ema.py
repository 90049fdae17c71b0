"""Exponential moving average of the weights (Polyak and Juditsky, 1992)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fashion_mnist.models.network import MLP


class WeightAverage:
    """The average of a stack's parameters and running statistics, with a decay for each network.

    `tensors` has the names and shapes of the model's state dict.
    """

    def __init__(self, model: MLP, *, decays: Sequence[float]) -> None:
        """Start the averages at the model's present weights."""
        self.decays = list(decays)
        self.sources: Mapping[str, Tensor] = model.state_dict()  # which share the model's memory
        self.tensors = {name: tensor.clone() for name, tensor in self.sources.items()}

    def update(self, num_steps: int) -> None:
        """Take in the weights after step `num_steps` (from 1).

        The decay rises as (1 + t) / (10 + t) to its value, so that the first weights are forgotten
        however short the training is (as TensorFlow's ExponentialMovingAverage does).
        """
        limit = (1 + num_steps) / (10 + num_steps)
        shares = [1 - min(decay, limit) for decay in self.decays]
        if len(set(shares)) == 1:
            for name, average in self.tensors.items():
                average.lerp_(self.sources[name], shares[0])
            return
        row = torch.tensor(shares, device=next(iter(self.tensors.values())).device)
        for name, average in self.tensors.items():
            shape = (-1, *[1] * (average.dim() - 1))
            average.lerp_(self.sources[name], row.view(shape))
