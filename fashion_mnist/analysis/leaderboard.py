"""Settings ranked by the scores of their runs, with their significance."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from fashion_mnist.analysis.lookup import (
    FOLD,
    SEED,
    ChoiceError,
    choose_sweep,
    networks_of,
    replicate_of,
)
from fashion_mnist.analysis.predictions import stored_predictions
from fashion_mnist.analysis.significance import (
    MOST_READ,
    ScoredRun,
    ScoredRuns,
    Standing,
    standings,
)
from fashion_mnist.console import plural
from fashion_mnist.metrics.statistics import (
    Replicate,
    Statistic,
    common_repetitions,
    ranking,
    statistic,
)
from fashion_mnist.runs.identity import TRAINING_IMAGES_TAG, is_identity
from fashion_mnist.sweep.labels import (
    differing_axes,
    metric_text,
    p_text,
    statistic_text,
    values_text,
)
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import (
    DATA_TAG,
    SCORE,
    SWEEP_TAG,
    TEST_SCORE,
    RecordedRun,
)


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


def notes(board: Leaderboard) -> list[str]:
    """What a reader of the table must know, a paragraph each."""
    shown = [standing for _, standing in board.shown]
    num_hidden = len(board.settings) - len(shown)
    lines = [f"and {plural(num_hidden, 'more setting')}: --limit 0 for all"] if num_hidden else []
    incomplete = [each for each, _ in board.shown if is_incomplete(board, each)]
    if incomplete:
        lines.append(
            f"Settings with fewer than {plural(board.num_repetitions, 'finished run')} rank after "
            "the others, which rank by the seeds and folds that they share, if any."
        )
    tests = {standing.test for standing in shown if standing.test}
    if tests:
        lines.append(_explanation(tests))
    use = board.test_use
    settings, runs = plural(use.num_settings, "setting"), plural(use.num_runs, "run")
    many = "; the more often, the less it says" if use.num_settings > 1 else ""
    read = f"In this experiment the test set was read for {settings} ({runs}){many}."
    return [*lines, read if use.num_runs else "The test set was not read in this experiment."]


def standing_text(standing: Standing, gap: str = " ") -> str:
    """`significantly worse (Holm-adjusted p = 0.012)`; where nothing was tested, why."""
    if standing.verdict == "not tested":
        return f"not tested:{gap}{standing.why}"
    if standing.p_holm is None:
        return standing.verdict
    return f"{standing.verdict}{gap}(Holm-adjusted {p_text(standing.p_holm)})"


def interval_text(setting: Setting) -> str:
    """`0.8860 to 0.8964`; empty for one run."""
    interval = setting.score and setting.score.interval
    if not interval:
        return ""
    low, high = (metric_text(SCORE, end) for end in interval)
    return f"{low} to {high}"


def size_text(board: Leaderboard) -> str:
    """`54 runs, 18 settings`."""
    num_runs = sum(len(setting.runs) for setting in board.settings)
    return f"{plural(num_runs, 'run')}, {plural(len(board.settings), 'setting')}"


def count_text(board: Leaderboard, setting: Setting) -> str:
    """`3`, or `2 of 3` where it has fewer finished runs than the board's repetitions."""
    scored = setting.score.n if setting.score else 0
    planned = max(board.num_repetitions, 0 if scored else len(setting.runs))
    return str(scored) if scored >= planned else f"{scored} of {planned}"


def is_incomplete(board: Leaderboard, setting: Setting) -> bool:
    """Whether it has a score, of fewer runs than the board's repetitions."""
    return setting.score is not None and setting.score.n < board.num_repetitions


def tested_text(setting: Setting) -> str:
    """Test accuracy, with n where not every scored run was tested."""
    is_all = setting.test and setting.score and setting.test.n == setting.score.n
    n = "" if is_all or setting.test is None else f" (n = {setting.test.n})"
    return statistic_text(TEST_SCORE, setting.test) + n


def _explanation(tests: Collection[str]) -> str:
    ways = {
        "paired t": "paired t-test over common seeds, of several folds their mean",
        "corrected paired t": "corrected resampled t-test (Nadeau and Bengio) over common folds",
        "McNemar": "McNemar's exact test on the same images, which says nothing of other seeds",
    }
    used = "; ".join(words for test, words in ways.items() if test in tests)
    return (
        "Not significantly different: p > 0.05 after Holm's adjustment for all comparisons vs. "
        f"best ({used}). It does not mean equal. The best was chosen by these scores, so they are "
        "optimistically biased: new seeds or the test set show whether it is better."
    )
