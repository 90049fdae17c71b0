"""How much each axis distinguishes the best settings from the others."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fashion_mnist.analysis.labels import lower_is_better
from fashion_mnist.analysis.leaderboard import Leaderboard
from fashion_mnist.plots.scale import as_numbers, scale_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_SETTINGS = 20  # of fewer, the best tenth that the evaluator looks at is one or none


def importances(board: Leaderboard) -> dict[str, float]:
    """Each axis' share of what distinguishes the best settings from the others, the largest first.

    Of the axes that all settings with a score have: what an axis of some settings alone explains
    is mixed with what having it means. Shares sum to 1. Empty where fewer than twenty settings have
    a score, or all have the same.

    Source: PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently quantifying
    hyperparameter importance in arbitrary subspaces"), Optuna's default.
    """
    scores = [setting.score.mean for setting in board.scored if setting.score]
    if len(scores) < FEWEST_SETTINGS or min(scores) == max(scores):
        return {}
    columns = {
        axis: _column(board, axis)
        for axis in board.axes
        if all(axis in setting.values for setting in board.scored)
    }
    if len(columns) < 2:
        return dict.fromkeys(columns, 1.0)
    return _shares(columns, scores, lower_is_better(board.score))


def _shares(
    columns: Mapping[str, tuple[list[Any], "BaseDistribution"]],
    scores: Sequence[float],
    is_lower_better: bool,
) -> dict[str, float]:
    from optuna import create_study
    from optuna.importance import get_param_importances
    from optuna.trial import create_trial

    with _quiet():
        study = create_study(direction="minimize" if is_lower_better else "maximize")
        distributions = {axis: distribution for axis, (_, distribution) in columns.items()}
        for number, score in enumerate(scores):
            params = {axis: points[number] for axis, (points, _) in columns.items()}
            study.add_trial(create_trial(params=params, distributions=distributions, value=score))
        shares = get_param_importances(study)
    is_sound = all(map(math.isfinite, shares.values()))
    return {axis: float(share) for axis, share in shares.items()} if is_sound else {}


def _column(board: Leaderboard, axis: str) -> tuple[list[Any], "BaseDistribution"]:
    """The axis' value of each setting with a score, and the space that the values are from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [setting.values[axis] for setting in board.scored]
    if as_numbers(values) is None:
        return values, CategoricalDistribution(tuple(dict.fromkeys(values)))
    # the evaluator takes the space as even, so a rate must be spread there as it was tried
    scale = scale_of(values)
    points = [scale.share(value) for value in values]
    return points, FloatDistribution(min(points), max(points))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines about a study that is no search."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
