"""How much of the differences between settings each axis explains."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fashion_mnist.plots.scale import as_numbers, scale_of
from fashion_mnist.sweep.labels import ABSENT
from fashion_mnist.sweep.leaderboard import Leaderboard, lower_is_better, rank
from fashion_mnist.sweep.results import JobResult

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_SETTINGS = 5  # below that a forest has nothing to learn from
# fANOVA's time grows with the square of a tree's leaves: 64 trees to the last leaf took 29 s for
# 1000 settings where these took 1 s; for 30 and 200 settings they gave the same shares to 0.02
NUM_TREES, DEEPEST = 32, 6


def importances(results: Sequence[JobResult], score: str) -> dict[str, float]:
    """Each axis' share of the variance that the axes explain one by one, the largest first.

    Shares sum to 1. Empty where fewer than five settings have a score, or all have the same.
    Source: fANOVA (Hutter, Hoos and Leyton-Brown, 2014), by way of Optuna: a forest of trees is
    fitted to the settings' mean scores.
    """
    board = rank(results, score=score)
    scores = [setting.score.mean for setting in board.scored if setting.score]
    if len(scores) < FEWEST_SETTINGS or min(scores) == max(scores) or not board.axes:
        return {}
    if len(board.axes) == 1:
        return {board.axes[0]: 1.0}
    return _fanova(board, scores)


def _fanova(board: Leaderboard, scores: Sequence[float]) -> dict[str, float]:
    from optuna import create_study
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    columns = {axis: _column(board, axis) for axis in board.axes}
    evaluator = FanovaImportanceEvaluator(n_trees=NUM_TREES, max_depth=DEEPEST, seed=0)
    with _quiet():
        study = create_study(direction="minimize" if lower_is_better(board.score) else "maximize")
        distributions = {axis: distribution for axis, (_, distribution) in columns.items()}
        for number, score in enumerate(scores):
            params = {axis: points[number] for axis, (points, _) in columns.items()}
            study.add_trial(create_trial(params=params, distributions=distributions, value=score))
        shares = get_param_importances(study, evaluator=evaluator)
    is_sound = all(map(math.isfinite, shares.values()))
    return {axis: float(share) for axis, share in shares.items()} if is_sound else {}


def _column(board: Leaderboard, axis: str) -> tuple[list[Any], "BaseDistribution"]:
    """The axis' value of each setting with a score, and the space that the values are from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [setting.values.get(axis, ABSENT) for setting in board.scored]
    if as_numbers(values) is None:
        return values, CategoricalDistribution(tuple(dict.fromkeys(values)))
    # fANOVA averages over the space evenly, so a rate must be spread there as it was tried
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
