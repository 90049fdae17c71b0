"""Exponential moving average of the weights (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fashion_mnist.model import StackedMLP


class WeightAverage:
    """The average of a stack's parameters and running statistics."""

    def __init__(self, model: StackedMLP, *, decays: Sequence[float]) -> None:
        """Start the averages at the model's present weights."""
        self.decays = list(decays)
        self.parameters = model.parameters
        buffers = {buffer.name: buffer.value for buffer in model.buffers}
        self.sources = {"parameters": model.parameters.values, **buffers}
        self.values = {name: source.clone() for name, source in self.sources.items()}

    def update(self, num_steps: int) -> None:
        """Take in the weights after step `num_steps` (from 1).

        The decay rises as (1 + t) / (10 + t) to its value, so that the first weights are forgotten
        however short the training is (as TensorFlow's ExponentialMovingAverage does).
        """
        for r, limit in enumerate(self.decays):
            decay = min(limit, (1 + num_steps) / (10 + num_steps))
            average = [value[r] for value in self.values.values()]
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch has none
            update(average, [source[r] for source in self.sources.values()], 0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model computes with the averages."""
        own = {name: source.clone() for name, source in self.sources.items()}
        self._set(self.values)
        try:
            yield
        finally:
            self._set(own)

    def state_dict(self, member: int) -> dict[str, Tensor]:
        """One member's averages on the CPU."""
        return {name: value.cpu().clone() for name, value in self._by_name(member).items()}

    def load_state_dict(self, member: int, state: dict[str, Tensor]) -> None:
        """Set one member's averages from what `state_dict` gave."""
        for name, value in self._by_name(member).items():
            value.copy_(state[name])

    def _by_name(self, member: int) -> dict[str, Tensor]:
        values = {name: value[member] for name, value in self.values.items()}
        return self.parameters.by_name_in(values.pop("parameters")) | values

    def _set(self, values: dict[str, Tensor]) -> None:
        for name, source in self.sources.items():
            source.copy_(values[name])
