"""Exponential moving average of the weights (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fashion_mnist.model import StackedMLP
from fashion_mnist.products import slab


class WeightAverage:
    """The average of a stack's parameters and running statistics."""

    def __init__(self, model: StackedMLP, *, decays: Sequence[float]) -> None:
        """Start the averages at the model's present weights."""
        self.decays = list(decays)
        self.sources = model.tensors()
        self.values = [
            slab(*source.value.shape, device=source.value.device).copy_(source.value)
            for source in self.sources
        ]

    def update(self, num_steps: int) -> None:
        """Take in the weights after step `num_steps` (from 1).

        The decay rises as (1 + t) / (10 + t) to its value, so that the first weights are forgotten
        however short the training is (as TensorFlow's ExponentialMovingAverage does).
        """
        for r, limit in enumerate(self.decays):
            decay = min(limit, (1 + num_steps) / (10 + num_steps))
            average = [value[r] for value in self.values]
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has none
            update(average, [source.value[r] for source in self.sources], 0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model computes with the averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """One member's averages on the CPU."""
        return {
            source.name: value[member].detach().cpu().clone()
            for source, value in zip(self.sources, self.values, strict=True)
        }

    def load_state_dict(self, member: int, state: dict[str, Tensor]) -> None:
        """Set one member's averages from what `state_dict` gave."""
        for source, value in zip(self.sources, self.values, strict=True):
            value[member].copy_(state[source.name])

    def _swap(self) -> None:
        for k, source in enumerate(self.sources):
            source.value, self.values[k] = self.values[k], source.value
