"""CMA-ES that remembers nothing but the trials: what is in a search's file is never unpickled."""

from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class EvolutionSampler(CmaEsSampler):
    """Optuna's sampler, told each generation anew at every proposal, some milliseconds each.

    Optuna's own keeps a pickle of its state in the trials and loads it: a search's file that
    somebody else has written would run what it likes.
    """

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Optuna's first call for a trial; what `_restore_optimizer` must know is in it."""
        space = super().infer_relative_search_space(study, trial)
        self._direction, self._space = study.direction, space
        return space

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """The state after every generation that is complete; none is left for Optuna to tell."""
        transform = _SearchSpaceTransform(self._space, transform_step=True, transform_0_1=True)
        optimizer: Any = self._init_optimizer(transform, self._direction)
        sign = 1 if self._direction == StudyDirection.MINIMIZE else -1
        size = optimizer.population_size
        while True:
            trials = self._get_solution_trials(completed_trials, optimizer.generation)[:size]
            if len(trials) < size:
                return optimizer
            optimizer.tell([(transform.transform(t.params), sign * t.values[0]) for t in trials])
