"""Recorded runs as settings: what differs in nothing but seed and fold belongs together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fashion_mnist.conclusions.standing import Replicate
from fashion_mnist.metrics.statistics import Statistic, statistic
from fashion_mnist.runs.identity import is_identity
from fashion_mnist.tracking.recorded import DATA_TAG, TEST_SCORE, RecordedRun

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


def rank_settings(runs: Sequence[RecordedRun]) -> list[Setting]:
    """The settings of these networks by their mean score, whatever their number of runs.

    Copies and repetitions of a run count once: of several runs of one seed and fold the first
    that finished. Settings without a score come last.
    """
    groups: dict[frozenset[tuple[str, str]], dict[Replicate, RecordedRun]] = {}
    for run in sorted(runs, key=_start):
        group = groups.setdefault(frozenset(values_of(run).items()), {})
        known = group.get(replicate_of(run))
        if known is None or (known.score is None and run.score is not None):
            group[replicate_of(run)] = run
    settings = [_setting(dict(values), own) for values, own in groups.items()]
    return sorted(settings, key=lambda each: -each.score.mean if each.score else math.inf)


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
