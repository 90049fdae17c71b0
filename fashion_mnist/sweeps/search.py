"""A search: Optuna proposes settings, is told their scores, and keeps all of it in one file.

```
FOLDER/optuna.log    Optuna's journal of every trial: proposals, scores of epochs, results
```
Only a search imports this: Optuna takes a third of a second.
"""

import math
import random
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
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
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from fashion_mnist.config.messages import RunError
from fashion_mnist.runs.files import cut_torn_line
from fashion_mnist.sweeps.axes import Axis, text_of
from fashion_mnist.tracking.recorded import DIRECTIONS

STUDY_NAME = "search"  # Hyperband also derives its brackets from it
LOG_FILE = "optuna.log"


@dataclass(frozen=True)
class Trial:
    """A setting to try: keys and their override texts."""

    number: int
    values: Mapping[str, str]


class Search:
    """Opens or creates the search of a folder, whose lock is held; a killed process's goes on.

    A trial that was not told before a kill is asked for again under a new number and counts once.
    `axes` are without seed and fold, whose replicates are one trial.

    Raises:
        RunError: the file is damaged, or of another search.
    """

    def __init__(
        self,
        folder: Path,
        axes: Sequence[Axis],
        *,
        sampler: str,
        objectives: Sequence[str],
        pruner: str,
        seed: int,
        n_trials: int,
        num_epochs: int,
    ) -> None:
        self._axes = {axis.name: axis for axis in axes}
        self._distributions = {axis.name: distribution(axis) for axis in axes}
        self._n_trials = n_trials
        self._asked: dict[int, optuna.Trial] = {}
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _damage_as_run_error(folder / LOG_FILE):
            self._study = optuna.create_study(
                study_name=STUDY_NAME,
                storage=_open_storage(folder / LOG_FILE),
                directions=[StudyDirection[DIRECTIONS[name].upper()] for name in objectives],
                pruner=_build_pruner(pruner, num_epochs),
                load_if_exists=True,
            )
            self.known()
        num_known = len(self._trials())
        self._study.sampler = _build_sampler(
            sampler, seed=seed, num_known=num_known, n_trials=n_trials
        )
        self._ask_again()

    @property
    def remaining(self) -> int:
        """How many more trials may be asked for."""
        trials = self._trials()
        again = _continued(trials)
        begun = [t for t in trials if t.state != TrialState.WAITING and t.number not in again]
        return max(0, self._n_trials - len(begun))

    def known(self) -> list[Trial]:
        """The trials that ended, in the order of their numbers, pruned and failed ones too."""
        trials = self._trials()
        again = _continued(trials)
        return [
            Trial(trial.number, self._texts(trial))
            for trial in trials
            if trial.state.is_finished() and trial.number not in again
        ]

    def retry_failed(self) -> None:
        """Have the trials that failed asked for again, each under a new number; it counts once."""
        trials = self._trials()
        again = _continued(trials)
        for trial in trials:
            if trial.state == TrialState.FAIL and trial.number not in again:
                self._study.enqueue_trial(trial.params, {"continues": trial.number})

    def ask(self, count: int) -> list[Trial]:
        """The next proposals, `count` or what `remaining` leaves; first those cut off by a kill.

        The same values may come twice where the space is small.
        """
        return [self._ask() for _ in range(min(count, self.remaining))]

    def report(self, number: int, epoch: int, score: float) -> bool:
        """A trial's score after an epoch (from 1): whether the pruner stops it.

        Successive halving and Hyperband compare with the trials that reported that epoch before.
        """
        trial, frozen = self._asked[number], self._trials()[number]
        if epoch not in frozen.intermediate_values:  # else the run went back to a checkpoint
            trial.report(score, epoch)
        return trial.should_prune()

    def tell(self, number: int, values: Sequence[float] | None, *, is_pruned: bool = False) -> None:
        """How a trial ended: one value an objective, or pruned; None or nan is a failure."""
        trial = self._asked.pop(number)
        if is_pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif values is None or any(math.isnan(value) for value in values):
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _ask(self) -> Trial:
        trial = self._study.ask(fixed_distributions=self._distributions)
        self._asked[trial.number] = trial
        return Trial(trial.number, self._texts(trial))

    def _texts(self, trial: optuna.Trial | FrozenTrial) -> dict[str, str]:
        return {
            key: text
            for name, axis in self._axes.items()
            for key, text in zip(axis.keys, override_texts(axis, trial.params[name]), strict=True)
        }

    def _ask_again(self) -> None:
        # enqueued before it is closed: a kill in between loses nothing and doubles nothing
        trials = self._trials()
        again = _continued(trials)
        for trial in trials:
            if trial.state == TrialState.RUNNING:  # its process is dead: this one has its lock
                if trial.number not in again:
                    self._study.add_trial(
                        optuna.create_trial(
                            state=TrialState.WAITING,
                            params=trial.params,  # some are missing after a kill in `ask`
                            distributions=trial.distributions,
                            user_attrs={"continues": trial.number},
                            intermediate_values=trial.intermediate_values,
                        )
                    )
                self._study.tell(trial.number, state=TrialState.FAIL)


def trials_done(folder: Path, *, retry_failed: bool) -> int:
    """How many trials of the search in this folder have ended; changes nothing.

    Args:
        retry_failed: whether those that failed are asked for again, and do not count.

    Raises:
        RunError: the file is damaged, or of another search.
    """
    path = folder / LOG_FILE
    if not path.exists():
        return 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _damage_as_run_error(path):
        storage = JournalStorage(JournalFileBackend(str(path)))
        # a process that was killed at its first write leaves a file without a whole line
        if not optuna.get_all_study_names(storage):
            return 0
        study = optuna.load_study(study_name=STUDY_NAME, storage=storage)
        trials = study.get_trials(deepcopy=False)
        again = _continued(trials)
        if retry_failed:
            again |= {trial.number for trial in trials if trial.state == TrialState.FAIL}
        return sum(t.state.is_finished() and t.number not in again for t in trials)


@contextmanager
def _damage_as_run_error(path: Path) -> Iterator[None]:
    """Within, what Optuna raises over a log that it did not write is a RunError."""
    try:
        yield
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} is damaged, or no log of this search: move it away to begin the search anew"
        ) from error


def _open_storage(path: Path) -> JournalStorage:
    """Optuna's journal; the sweep's lock keeps other processes from it.

    Its own locks are files that a killed process leaves behind, to be waited for 30 seconds.
    """
    cut_torn_line(path)
    lock: Any = threading.Lock()  # has what is wanted of one: acquire and release
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _continued(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the trials that another one goes on with."""
    return {t.user_attrs["continues"] for t in trials if "continues" in t.user_attrs}


def distribution(axis: Axis) -> BaseDistribution:
    """An axis as Optuna's: the numbers of its sorted choices, or the range.

    Sorted, for the search of the same choices in another order goes on with the same trials.
    """
    if axis.choices is not None:
        return CategoricalDistribution(range(len(axis.choices)))
    low, high, step = axis.low, axis.last, axis.step
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
        return IntDistribution(low, high, log=axis.log, step=step or 1)
    return FloatDistribution(low, high, log=axis.log, step=step)


def override_texts(axis: Axis, value: float) -> tuple[str, ...]:
    """What a sampled value is on the command line, a text for each key of the axis.

    Floats are cut to six digits, unless that leads out of the range.
    """
    if axis.choices is not None:
        return axis.sorted_choices[int(value)]
    short = value if isinstance(value, int) else float(f"{value:.6g}")
    return (text_of(short if axis.low <= short <= axis.high else value),)


def _build_sampler(name: str, *, seed: int, num_known: int, n_trials: int) -> BaseSampler:
    """The sampler; `num_known` trials are in the study, whose draws must not come again.

    Optuna's CMA-ES is left out: it unpickles its state from the study's file, which may be
    another user's.
    """
    fresh = random.Random(f"{seed} {num_known}").getrandbits(31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            # Optuna's default of ten random trials is too many for a search of twenty
            startup = min(10, max(4, n_trials // 4))
            return TPESampler(seed=fresh, n_startup_trials=startup, constant_liar=True)
        if name == "qmc":
            # the sequence's seed stays: how far it has come is in the study
            return QMCSampler(
                scramble=True,
                seed=seed,
                independent_sampler=RandomSampler(seed=fresh),
                warn_independent_sampling=False,
            )
        return RandomSampler(seed=fresh)


def _build_pruner(name: str, num_epochs: int) -> BasePruner:
    """The pruner, for runs of so many epochs."""
    if name == "median":  # the first quarter of a run says too little
        return MedianPruner(n_warmup_steps=num_epochs // 4)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=max(1, num_epochs // 9), reduction_factor=3)
    if name == "hyperband":
        return HyperbandPruner(max_resource=num_epochs)
    return NopPruner()
