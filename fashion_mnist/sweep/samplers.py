"""What Optuna searches with: an axis as its distribution and back as text, samplers, pruners."""

import math
import random
import warnings
from decimal import Decimal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler

from fashion_mnist.sweep.axes import Axis, text_of
from fashion_mnist.sweep.evolution import EvolutionSampler


def distribution(axis: Axis) -> BaseDistribution:
    """An axis as Optuna's: the numbers of the choices, or the range."""
    if axis.choices is not None:
        return CategoricalDistribution(range(len(axis.choices)))
    low, high, step = axis.low, axis.high, axis.step
    if step is not None:  # the last value that a step reaches
        first, width = Decimal(str(low)), Decimal(str(step))
        high = type(high)(first + (Decimal(str(high)) - first) // width * width)
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
        return IntDistribution(low, high, log=axis.log, step=step or 1)
    return FloatDistribution(low, high, log=axis.log, step=step)


def override_texts(axis: Axis, value: float) -> tuple[str, ...]:
    """What a sampled value is on the command line, a text for each key of the axis.

    Floats are cut to six digits, unless that leads out of the range.
    """
    if axis.choices is not None:
        return axis.choices[int(value)]
    short = value if isinstance(value, int) else float(f"{value:.6g}")
    return (text_of(short if axis.low <= short <= axis.high else value),)


def build_sampler(
    name: str, *, seed: int, num_known: int, n_trials: int, batch_size: int, num_numeric: int
) -> BaseSampler:
    """The sampler; `num_known` trials are in the study, whose draws must not come again."""
    fresh = random.Random(f"{seed} {num_known}").getrandbits(31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            # ten random trials first is Optuna's habit: too many for a search of twenty
            startup = min(10, max(4, n_trials // 4))
            return TPESampler(seed=fresh, n_startup_trials=startup, constant_liar=True)
        if name == "cmaes":
            usual = 4 + int(3 * math.log(max(1, num_numeric)))  # Hansen 2016, equation 48
            population = max(usual, batch_size)  # what exceeds it would teach nothing
            return EvolutionSampler(seed=fresh, popsize=population, warn_independent_sampling=False)
        if name == "qmc":
            # the sequence's seed stays: how far it has come is in the study
            first = RandomSampler(seed=fresh)
            return QMCSampler(
                scramble=True, seed=seed, independent_sampler=first, warn_independent_sampling=False
            )
        return RandomSampler(seed=fresh)


def build_pruner(name: str, num_epochs: int) -> BasePruner:
    """The pruner, for runs of so many epochs."""
    if name == "median":  # the first quarter of a run says too little
        return MedianPruner(n_warmup_steps=num_epochs // 4)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=max(1, num_epochs // 9), reduction_factor=3)
    if name == "hyperband":
        return HyperbandPruner(max_resource=num_epochs)
    return NopPruner()
