"""Learning rate schedules: pure functions of progress, from 0 at the start to 1 at the end.

Each gives the factor of the learning rate. A warm-up is a linear rise over the first `warmup` of
training; the schedule proper then runs over what is left. A new schedule is one entry of
`SCHEDULES`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval

Factor = Annotated[float, Interval(ge=0, le=1)]


def constant(_progress: float) -> float:
    """Always 1."""
    return 1.0


def cosine(progress: float, *, final: Factor = 0.0) -> float:
    """Half a cosine from 1 to `final` (Loshchilov and Hutter, 2017)."""
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, *, final: Factor = 0.0) -> float:
    """A straight line from 1 to `final`."""
    return 1 + (final - 1) * progress


def step(
    progress: float,
    *,
    factor: Annotated[float, Interval(gt=0, le=1)] = 0.1,
    num_steps: Annotated[int, Ge(1)] = 3,
) -> float:
    """Multiplied by `factor` at `num_steps` equally spaced moments between start and end."""
    return float(factor ** math.floor(progress * (num_steps + 1)))


def one_cycle(
    progress: float,
    *,
    initial: Factor = 0.04,
    peak: Annotated[float, Interval(gt=0, lt=1)] = 0.3,
    final: Factor = 0.0,
) -> float:
    """Up from `initial` to 1 at `peak` of training, down to `final` (Smith and Topin, 2018)."""
    if progress < peak:
        return initial + (1 - initial) * (1 - math.cos(math.pi * progress / peak)) / 2
    return cosine((progress - peak) / (1 - peak), final=final)


# Keyword-only parameters are a schedule's options, with their ranges.
SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "step": step,
    "one_cycle": one_cycle,
}


@dataclass(frozen=True)
class Schedule:
    """The factor of the learning rate: after a linear warm-up a function of `SCHEDULES`."""

    name: str
    warmup: float  # over which part of training, in [0, 1)
    options: Mapping[str, float]  # of the function

    def __call__(self, progress: float) -> float:
        """At `progress` of training, from 0 to 1."""
        if progress < self.warmup:
            return progress / self.warmup
        proper = SCHEDULES[self.name]
        return proper((progress - self.warmup) / (1 - self.warmup), **self.options)
