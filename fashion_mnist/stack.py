"""A stack in training: everything that moves while R runs are trained, and each member's share.

A member's state is all that is needed to go on with that run, alone or beside any neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fashion_mnist.average import WeightAverage
from fashion_mnist.batches import Batches
from fashion_mnist.losses import Loss
from fashion_mnist.model import StackedMLP
from fashion_mnist.optim import StackedOptimizer
from fashion_mnist.schedules import Schedule

HistoryRow = dict[str, float]


@dataclass
class MemberState:
    """One run between two epochs, on the CPU."""

    epoch: int  # epochs done
    tensors: dict[str, Tensor]  # "model/…", "optimizer/…", "average/…", "generator/…", "best/…"
    history: list[HistoryRow]  # one row an epoch
    best_epoch: int | None = None  # with early stopping: the epoch whose weights are "best/…"


@dataclass
class Stack:
    """R runs that are trained together."""

    model: StackedMLP
    optimizer: StackedOptimizer
    batches: Batches
    loss: Loss
    schedules: Sequence[Schedule]
    num_epochs: int
    average: WeightAverage | None = None
    epoch: int = 0

    @property
    def num_members(self) -> int:
        """R."""
        return self.model.num_members

    def weights(self, member: int) -> dict[str, Tensor]:
        """The weights that a run is at this moment: the average's where there is one."""
        if self.average is None:
            return self.model.state_dict(member)
        with self.average.applied():
            return self.model.state_dict(member)

    def tensors(self, member: int) -> dict[str, Tensor]:
        """One member's tensors on the CPU, for `MemberState`."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(member),
            "optimizer": self.optimizer.state_dict(member),
            "average": self.average.state_dict(member) if self.average else {},
            "generator": {name: g.get_state() for name, g in self._generators(member).items()},
        }
        return {f"{part}/{key}": t for part, own in parts.items() for key, t in own.items()}

    def load(self, member: int, state: MemberState) -> None:
        """Go on from what `tensors` gave; all members of a stack are at the same epoch."""
        self.epoch = state.epoch
        self.model.load_state_dict(member, under("model", state.tensors))
        self.optimizer.load_state_dict(member, under("optimizer", state.tensors))
        if self.average:
            self.average.load_state_dict(member, under("average", state.tensors))
        saved = under("generator", state.tensors)
        for name, generator in self._generators(member).items():
            generator.set_state(saved[name])

    def _generators(self, member: int) -> dict[str, torch.Generator]:
        return {
            "shuffle": self.batches.shuffle_generators[member],
            "augment": self.batches.augment_generators[member],
            "dropout": self.model.dropout_generators[member],
        }


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix/`, without it."""
    start = f"{prefix}/"
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
