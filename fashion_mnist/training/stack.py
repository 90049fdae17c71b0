"""A stack in training: everything that moves while R runs are trained, and each run's share of it.

A run's state is all that is needed to go on with it, alone or beside others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from fashion_mnist.data.loader import Loader
from fashion_mnist.models.network import MLP
from fashion_mnist.training.ema import WeightAverage
from fashion_mnist.training.losses import Loss
from fashion_mnist.training.optim import BatchedOptimizer, StackOptimizer, part_of

HistoryRow = dict[str, float]


@dataclass
class TrainingState:
    """One run between two epochs. Its tensors stay on the device until they are saved."""

    epoch: int  # epochs done
    tensors: dict[str, Tensor]  # "model/…", "optimizer/…", "average/…", "generator/…", "best/…"
    history: list[HistoryRow]  # one row an epoch
    best_epoch: int | None = None  # with early stopping: the epoch whose weights are "best/…"


@dataclass
class Stack:
    """R runs that are trained together."""

    model: MLP
    optimizer: StackOptimizer | BatchedOptimizer
    loader: Loader
    loss: Loss
    num_epochs: int
    dropout_generators: list[torch.Generator]
    average: WeightAverage | None = None
    num_steps: int = 0  # done since the beginning

    @property
    def num_runs(self) -> int:
        """R."""
        return len(self.loader.train_index)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.num_steps // self.loader.num_steps

    @property
    def progress(self) -> float:
        """Of training, from 0 to 1, in the middle of the next step: no rate of 0 wastes a step."""
        return (self.num_steps + 0.5) / (self.num_epochs * self.loader.num_steps)

    def predict(self, pixels: Tensor) -> Tensor:
        """Logits `[R, B, C]` of pixels `[R, B, P]`, by the weights that `weights` gives."""
        if self.average is None:
            logits: Tensor = self.model(pixels)
            return logits
        averaged: Tensor = functional_call(self.model, self.average.tensors, (pixels,))
        return averaged

    def weights(self, run: int) -> dict[str, Tensor]:
        """A copy of the weights that a run is at this moment: the averages if there are any."""
        tensors = self.model.state_dict() if self.average is None else self.average.tensors
        return self._copies(tensors, run)

    def tensors(self, run: int) -> dict[str, Tensor]:
        """Copies of one run's tensors, for `TrainingState`."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self._copies(self.model.state_dict(), run),
            "optimizer": self.optimizer.state_dict(run),
            "average": self._copies(self.average.tensors, run) if self.average else {},
            "generator": {name: g.get_state() for name, g in self._generators(run).items()},
        }
        return {f"{part}/{key}": t for part, own in parts.items() for key, t in own.items()}

    def load(self, run: int, state: TrainingState) -> None:
        """Go on from what `tensors` gave; all runs of a stack are at the same epoch."""
        self.num_steps = state.epoch * self.loader.num_steps
        parts: dict[str, Mapping[str, Tensor]] = {"model": self.model.state_dict()}
        if self.average is not None:
            parts["average"] = self.average.tensors
        for part, tensors in parts.items():
            saved = under(part, state.tensors)
            for name, tensor in tensors.items():
                part_of(tensor, run, self.num_runs).copy_(saved[name])
        self.optimizer.load_state_dict(run, under("optimizer", state.tensors))
        generators = under("generator", state.tensors)
        for name, generator in self._generators(run).items():
            generator.set_state(generators[name])

    def _copies(self, tensors: Mapping[str, Tensor], run: int) -> dict[str, Tensor]:
        return {
            name: part_of(tensor, run, self.num_runs).clone() for name, tensor in tensors.items()
        }

    def _generators(self, run: int) -> dict[str, torch.Generator]:
        return {
            "shuffle": self.loader.shuffle_generators[run],
            "augment": self.loader.augment_generators[run],
            "dropout": self.dropout_generators[run],
        }


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix/`, without it."""
    start = f"{prefix}/"
    return {key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)}
