"""What each axis does to the score, how much it matters, and which settings no other beats."""

from __future__ import annotations  # optuna and numpy are imported when something is computed

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fashion_mnist.analysis.labels import lower_is_better
from fashion_mnist.analysis.leaderboard import Leaderboard, Setting
from fashion_mnist.analysis.scale import as_numbers, scale_of
from fashion_mnist.metrics.statistics import Statistic, statistic

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_SETTINGS = 20  # of fewer, the best tenth that the evaluator looks at is one or none


def main_effects(board: Leaderboard) -> dict[str, dict[str, Statistic]]:
    """For each axis with several values: value -> mean and std over the settings that have it.

    Each setting counts once, by the mean of its runs; a value that no run finished with is left
    out.
    """
    effects = {}
    for axis in board.axes:
        scores: dict[str, list[float]] = {}
        for setting in board.scored:
            if axis in setting.values:
                scores.setdefault(setting.values[axis], []).append(setting.mean)
        # an axis that most settings are without may have one value alone: it has no effect to show
        if len(scores) > 1:
            effects[axis] = {value: statistic(scores[value]) for value in scale_of(scores).values}
    return effects


def pareto_front(settings: Sequence[Setting], objectives: Sequence[str]) -> list[Setting]:
    """The Pareto front: no other beats these in one objective and is as good in the rest.

    In the order of the second.
    """
    import numpy as np

    signs = [1 if lower_is_better(key) else -1 for key in objectives]
    known = [s for s in settings if all(key in s.metrics for key in objectives)]
    losses = np.array(
        [[s * own.metrics[k].mean for s, k in zip(signs, objectives, strict=True)] for own in known]
    ).reshape(-1, len(objectives))
    is_on_front = [
        not ((losses <= own).all(axis=1) & (losses < own).any(axis=1)).any() for own in losses
    ]
    front = [setting for setting, is_on in zip(known, is_on_front, strict=True) if is_on]
    return sorted(front, key=lambda setting: setting.metrics[objectives[1]].mean)


def importances(board: Leaderboard) -> dict[str, float]:
    """Each axis' share of what distinguishes the best settings from the others, the largest first.

    Of the axes that all settings with a score have: what an axis of some settings alone explains
    is mixed with what having it means. Shares sum to 1. Empty where fewer than twenty settings have
    a score, or all have the same.

    Source: PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently quantifying
    hyperparameter importance in arbitrary subspaces"), Optuna's default.
    """
    scores = [setting.mean for setting in board.scored]
    if len(scores) < FEWEST_SETTINGS or min(scores) == max(scores):
        return {}
    columns = {
        axis: _column(board, axis)
        for axis in board.axes
        if all(axis in setting.values for setting in board.scored)
    }
    if len(columns) < 2:
        return dict.fromkeys(columns, 1.0)
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a study that is no search
    study = optuna.create_study(
        direction="minimize" if lower_is_better(board.score) else "maximize"
    )
    optuna.logging.set_verbosity(verbosity)
    distributions = {axis: distribution for axis, (_, distribution) in columns.items()}
    for number, score in enumerate(scores):
        params = {axis: points[number] for axis, (points, _) in columns.items()}
        trial = optuna.create_trial(params=params, distributions=distributions, value=score)
        study.add_trial(trial)
    shares = optuna.importance.get_param_importances(study)
    is_sound = all(map(math.isfinite, shares.values()))
    return {axis: float(share) for axis, share in shares.items()} if is_sound else {}


def _column(board: Leaderboard, axis: str) -> tuple[list[Any], BaseDistribution]:
    """The axis' value of each setting with a score, and the space that the values are from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [setting.values[axis] for setting in board.scored]
    if as_numbers(values) is None:
        return values, CategoricalDistribution(tuple(dict.fromkeys(values)))
    # the evaluator takes the space as even, so a rate must be spread there as it was tried
    scale = scale_of(values)
    points = [scale.share(value) for value in values]
    return points, FloatDistribution(min(points), max(points))
