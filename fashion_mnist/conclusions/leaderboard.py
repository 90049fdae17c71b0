"""Settings against each other, the best first, with what the scores can tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

from fashion_mnist.conclusions.choice import ChoiceError, choose_sweep, networks_of
from fashion_mnist.conclusions.predictions import stored_predictions
from fashion_mnist.conclusions.settings import (
    Setting,
    planned_repetitions,
    rank_settings,
    split_sizes_of,
    validation_split_of,
)
from fashion_mnist.conclusions.standing import (
    MOST_READ,
    ScoredRun,
    ScoredRuns,
    Standing,
    standings,
)
from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.sweep.labels import differing_axes, values_text
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import TEST_SCORE, RecordedRun


@dataclass(frozen=True)
class UseOfTestSet:
    """How often an experiment has looked at the test set."""

    num_runs: int
    num_settings: int

    @classmethod
    def of(cls, networks: Sequence[RecordedRun]) -> "UseOfTestSet":
        """By all networks of the experiment, copies and repetitions counted once."""
        read = [run for run in networks if TEST_SCORE in run.metrics]
        settings, _ = rank_settings(read)
        return cls(sum(len(setting.runs) for setting in settings), len(settings))


@dataclass(frozen=True)
class Leaderboard:
    """The settings, the best first, those without a score last."""

    title: str  # what they are the settings of
    settings: tuple[Setting, ...]
    standings: tuple[Standing, ...]  # of each vs. the best
    test_use: UseOfTestSet
    num_repetitions: int  # of a sweep, as planned; else the most that two settings have
    limit: int | None  # settings that are shown; None for all

    @cached_property
    def axes(self) -> list[str]:
        """The parameters in which settings differ."""
        return differing_axes([setting.values for setting in self.settings])

    @property
    def shown(self) -> list[tuple[Setting, Standing]]:
        """The settings that are shown, and each vs. the best."""
        return list(zip(self.settings, self.standings, strict=True))[: self.limit]

    def label(self, setting: Setting) -> str:
        """What makes the setting differ from others, in one line."""
        return values_text(setting.values, self.axes) or "all runs"

    def as_json(self) -> dict[str, Any]:
        """What is shown, as plain values."""
        rows = [
            {
                "setting": {axis: setting.values.get(axis) for axis in self.axes},
                "val_accuracy": _plain(setting.score),
                "test_accuracy": _plain(setting.test),
                "runs": [run.run_id for run in setting.runs.values()],
                "num_scored": setting.score.n if setting.score else 0,
                **asdict(standing),
            }
            for setting, standing in self.shown
        ]
        return {
            "title": self.title,
            "num_settings": len(self.settings),
            "num_repetitions": self.num_repetitions,
            "num_runs": sum(len(setting.runs) for setting in self.settings),
            "test_set_read_by": asdict(self.test_use),
            "settings": rows,
        }


def leaderboard(
    store: Reader, word: str | None = None, *, experiment: str | None = None, limit: int | None
) -> Leaderboard:
    """The settings of a sweep or an experiment; without a word, of the experiment used last.

    Predictions are read of the settings that are shown alone, and only where a test wants them.

    Args:
        word: an experiment's name, or what `choose_sweep` takes.
        experiment: the sweep is looked for in this one.
        limit: how many settings are shown; None for all.

    Raises:
        ChoiceError: there is no such thing, or no network in it.
        ValueError: there is no such experiment.
        OSError: the store does not answer.
    """
    names = store.experiments()
    if word in names and experiment is None:
        runs = store.runs(word)
        return build_leaderboard(store, f"experiment {word}", runs, runs, limit=limit)
    runs = store.runs(experiment)
    if word is None:
        latest = next((run for run in runs if run.is_network), None)
        own = [run for run in runs if latest and run.experiment == latest.experiment]
        title = f"experiment {latest.experiment}" if latest else "the store"
        return build_leaderboard(store, title, own, own, limit=limit)
    try:
        sweep = choose_sweep(runs, word)
    except ChoiceError as error:
        raise ChoiceError(f"{error}; experiments: {', '.join(names)}") from None
    own = [run for run in runs if run.experiment == sweep.experiment]
    members = networks_of(sweep, own)
    return build_leaderboard(
        store,
        f"sweep {sweep.name}",
        members,
        own,
        num_repetitions=planned_repetitions(sweep, members),
        limit=limit,
    )


def build_leaderboard(
    store: Reader,
    title: str,
    runs: Sequence[RecordedRun],
    all_runs: Sequence[RecordedRun],
    *,
    num_repetitions: int | None = None,
    limit: int | None,
) -> Leaderboard:
    """The settings of these runs; `all_runs` of the experiment say how often the test was read.

    Args:
        num_repetitions: as in `rank_settings`.

    Raises:
        ChoiceError: there is no network among the runs.
    """
    settings, num_repetitions = rank_settings(
        [run for run in runs if run.is_network], num_repetitions
    )
    if not settings:
        raise ChoiceError(f"{title} has no trained networks")
    scored = [_scored(store, setting) for setting in settings if setting.score]
    known = standings(scored, most_read=max(limit or len(scored), MOST_READ)) if scored else []
    unscored = [Standing("not tested", why="no score")] * (len(settings) - len(known))
    test_use = UseOfTestSet.of([run for run in all_runs if run.is_network])
    return Leaderboard(
        title, tuple(settings), (*known, *unscored), test_use, num_repetitions, limit
    )


def _scored(store: Reader, setting: Setting) -> ScoredRuns:
    runs: Mapping[tuple[str, str], RecordedRun] = setting.runs
    return {
        replicate: ScoredRun(
            score,
            validation_split_of(runs[replicate]),
            partial(stored_predictions, store, runs[replicate], "validation"),
            *split_sizes_of(runs[replicate]),
        )
        for replicate, score in setting.scored_runs.items()
    }


def _plain(figure: Statistic | None) -> dict[str, Any] | None:
    return {**asdict(figure), "interval": figure.interval} if figure else None
