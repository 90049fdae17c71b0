"""Recorded runs as settings: what differs in nothing but seed and fold belongs together."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fashion_mnist.metrics.statistics import (
    Replicate,
    Statistic,
    common_repetitions,
    ranking,
    statistic,
)
from fashion_mnist.runs.identity import TRAINING_IMAGES_TAG, is_identity
from fashion_mnist.tracking.recorded import (
    DATA_TAG,
    SWEEP_TAG,
    TEST_SCORE,
    RecordedRun,
)

SEED, FOLD = "seed", "data.fold"


@dataclass(frozen=True)
class Setting:
    """The runs of one setting, one for each seed and fold."""

    values: Mapping[str, str]  # the parameters that make it, and the hash of the data
    runs: Mapping[Replicate, RecordedRun]
    score: Statistic | None  # validation accuracy of those that finished; None where there are none
    test: Statistic | None  # accuracy on the test set, where it was read

    @property
    def scored_runs(self) -> dict[Replicate, float]:
        """The validation accuracy of each run that finished with one."""
        return _finite((replicate, run.score) for replicate, run in self.runs.items())


def rank_settings(
    runs: Sequence[RecordedRun], num_repetitions: int | None = None
) -> tuple[list[Setting], int]:
    """The settings of these networks as `ranking` orders them, and m, their repetitions.

    Copies and repetitions of a run count once: of several runs of one seed and fold the first
    that finished.

    Args:
        num_repetitions: m of a sweep, as planned; None for the largest number of finished runs
            that two settings have.
    """
    groups: dict[frozenset[tuple[str, str]], dict[Replicate, RecordedRun]] = {}
    for run in sorted(runs, key=_start):
        group = groups.setdefault(frozenset(values_of(run).items()), {})
        known = group.get(replicate_of(run))
        if known is None or (known.score is None and run.score is not None):
            group[replicate_of(run)] = run
    settings = [_setting(dict(values), own) for values, own in groups.items()]
    scores = [setting.scored_runs for setting in settings]
    if num_repetitions is None:
        num_repetitions = common_repetitions([len(own) for own in scores])
    order = ranking(scores, num_repetitions=num_repetitions)
    return [settings[position] for position in order], num_repetitions


def values_of(run: RecordedRun) -> dict[str, str]:
    """What makes the run's setting, by key in alphabetical order."""
    return {key: value for key, value in identity_of(run).items() if key not in (SEED, FOLD)}


def identity_of(run: RecordedRun) -> dict[str, str]:
    """What makes the run, seed and fold too, by key in alphabetical order."""
    own = {key: value for key, value in run.parameters.items() if is_identity(key)}
    own |= {DATA_TAG: run.tags.get(DATA_TAG, "")}
    return {key: own[key] for key in sorted(own)}


def replicate_of(run: RecordedRun) -> Replicate:
    """The run's seed and fold."""
    return run.parameters.get(SEED, ""), run.parameters.get(FOLD, "")


def validation_split_of(run: RecordedRun) -> str:
    """Names the images that the run was validated on; empty where the store does not say."""
    words = [run.tags.get(DATA_TAG), *map(run.parameters.get, ("data.validation_size", FOLD))]
    return " ".join(word for word in words if word) if all(words) else ""


def split_sizes_of(run: RecordedRun) -> tuple[int, int]:
    """Images that the run was validated on and trained on; 0 where the store does not say."""
    validation, training = (
        run.parameters.get("data.validation_size", ""),
        run.tags.get(TRAINING_IMAGES_TAG) or run.parameters.get("data.train_size", ""),
    )
    return (
        int(validation) if validation.isdecimal() else 0,
        int(training) if training.isdecimal() else 0,
    )


def planned_repetitions(sweep: RecordedRun, members: Sequence[RecordedRun]) -> int:
    """How many seeds and folds each setting of a sweep is to have.

    Where the sweep's record does not list them, the largest number that a setting has begun.
    """
    try:
        axes = json.loads(sweep.tags.get(SWEEP_TAG, ""))
        sizes = [len(axes[key]) for key in (SEED, FOLD) if isinstance(axes.get(key), list)]
    except (ValueError, AttributeError):
        sizes = []
    begun: dict[frozenset[tuple[str, str]], set[Replicate]] = {}
    for run in members:
        begun.setdefault(frozenset(values_of(run).items()), set()).add(replicate_of(run))
    return max([math.prod(sizes), *map(len, begun.values())])


def _setting(values: Mapping[str, str], runs: Mapping[Replicate, RecordedRun]) -> Setting:
    scores = _finite((replicate, run.score) for replicate, run in runs.items())
    tests = _finite((replicate, run.metrics.get(TEST_SCORE)) for replicate, run in runs.items())
    return Setting(
        {key: values[key] for key in sorted(values)},
        runs,
        score=statistic(list(scores.values())) if scores else None,
        test=statistic(list(tests.values())) if tests else None,
    )


def _finite(scores: Iterable[tuple[Replicate, float | None]]) -> dict[Replicate, float]:
    return {key: value for key, value in scores if value is not None and math.isfinite(value)}


def _start(run: RecordedRun) -> datetime:
    return run.start or datetime.max.replace(tzinfo=UTC)
