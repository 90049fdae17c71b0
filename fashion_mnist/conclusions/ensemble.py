"""Networks that answer together: the average of their probabilities, and who is to be in it.

`M` networks, `N` images, `C` classes. Probabilities are `[N, C]`, labels int64 `[N]`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fashion_mnist.metrics.calibration import nll_of_probabilities, num_in_top

MOST_STEPS = 100  # of the greedy selection
SMALLEST_GAIN = 1e-4  # nats of likelihood: less is no improvement


@dataclass(frozen=True)
class Step:
    """One step of the greedy selection: who was added, and how good the average is then."""

    added: int  # which of the M
    num_right: int  # of N
    nll: float

    def is_better_than(self, other: "Step") -> bool:
        """More right answers; of equally many, clearly likelier labels."""
        if self.num_right != other.num_right:
            return self.num_right > other.num_right
        return self.nll < other.nll - SMALLEST_GAIN


def average(probabilities: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """The weighted mean float64 `[N, C]`; equal weights where none are given."""
    own = torch.ones(len(probabilities)) if weights is None else torch.tensor(list(weights))
    shares = (own.double() / own.double().sum()).tolist()
    total = torch.zeros_like(probabilities[0], dtype=torch.float64)
    for share, each in zip(shares, probabilities, strict=True):
        total += share * each.double()
    return total


def select_greedily(probabilities: Sequence[Tensor], labels: Tensor) -> list[Step]:
    """Who is taken, step by step, some perhaps more than once; at least one.

    From nothing on, the network is added whose probabilities improve the average most, until none
    does, or `MOST_STEPS` are taken. Of equal ones the first counts.

    Source: Caruana et al. 2004, "Ensemble Selection from Libraries of Models", section 2: forward
    selection with replacement.
    """
    steps: list[Step] = []
    total = torch.zeros_like(probabilities[0], dtype=torch.float64)
    while len(steps) < MOST_STEPS:
        candidates = [
            _step(number, (total + each) / (len(steps) + 1), labels)
            for number, each in enumerate(probabilities)
        ]
        best = candidates[0]
        for candidate in candidates[1:]:
            if candidate.is_better_than(best):
                best = candidate
        if steps and not best.is_better_than(steps[-1]):
            break
        steps.append(best)
        total += probabilities[best.added]
    return steps


def weights_of(steps: Sequence[Step], num_networks: int) -> list[int]:
    """How often each of the M was taken."""
    taken = Counter(step.added for step in steps)
    return [taken[number] for number in range(num_networks)]


def _step(number: int, probabilities: Tensor, labels: Tensor) -> Step:
    right = num_in_top(probabilities, labels, 1)
    return Step(number, right, nll_of_probabilities(probabilities, labels))
