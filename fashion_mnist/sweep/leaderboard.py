"""The settings of a sweep against each other: replicates as mean ± std, the best first."""

from __future__ import annotations  # rich is imported for the type checker alone

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fashion_mnist.console import printable
from fashion_mnist.metrics.statistics import Statistic, ranking, statistic
from fashion_mnist.plots.scale import scale_of
from fashion_mnist.sweep.labels import (
    ABSENT,
    differing_axes,
    metric_name,
    short_names,
    short_value,
    statistic_text,
    values_text,
)
from fashion_mnist.sweep.objectives import DIRECTIONS
from fashion_mnist.sweep.results import JobResult

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but seed and fold."""

    values: Mapping[str, str]  # each axis that is no replicate axis, and its value
    runs: tuple[JobResult, ...]
    scored_runs: tuple[JobResult, ...]  # those that finished with a score
    score: Statistic | None  # of these; None where there are none
    figures: Mapping[str, Statistic]  # of the finished runs: final/…, test/…, parameters

    @property
    def num_finished(self) -> int:
        """Runs that came to their end."""
        return sum(run.status == "FINISHED" for run in self.runs)

    @property
    def is_partial(self) -> bool:
        """Whether some of its runs finished and others did not."""
        return 0 < self.num_finished < len(self.runs)

    def outcomes(self) -> dict[str, int]:
        """How many of its runs finished, failed …"""
        return dict(Counter(map(outcome, self.runs)))


@dataclass(frozen=True)
class Leaderboard:
    """All settings of a sweep, the best first, those without a score last."""

    score: str
    settings: tuple[Setting, ...]
    num_repetitions: int  # seeds and folds that each setting is to have

    @property
    def winner(self) -> Setting | None:
        """The first of the ranking; None while no run has a score."""
        return self.scored[0] if self.scored else None

    @cached_property
    def scored(self) -> tuple[Setting, ...]:
        """The settings that have a score."""
        return tuple(setting for setting in self.settings if setting.score)

    @cached_property
    def axes(self) -> list[str]:
        """The axes on which settings differ."""
        return differing_axes([setting.values for setting in self.settings])

    @cached_property
    def runs(self) -> list[JobResult]:
        """Every run once, by number."""
        runs = [run for setting in self.settings for run in setting.runs]
        return sorted(runs, key=lambda run: run.number)

    def label(self, setting: Setting) -> str:
        """What makes the setting differ from others, in one line: `width=512 lr=3e-3`."""
        return values_text(setting.values, self.axes) or "all runs"

    def size(self) -> str:
        """`54 runs, 18 settings`."""
        counts = {"run": len(self.runs), "setting": len(self.settings)}
        return ", ".join(f"{n} {word}{'s' * (n != 1)}" for word, n in counts.items())


def lower_is_better(score: str) -> bool:
    """Whether a smaller figure wins: a loss, a number of parameters."""
    return DIRECTIONS[score] == "minimize"


def rank(
    results: Sequence[JobResult], *, score: str, num_repetitions: int | None = None
) -> Leaderboard:
    """The settings as `ranking` orders them; ties by job number.

    Args:
        num_repetitions: seeds and folds that each setting is to have; None for the largest number
            of jobs that a setting has, finished or not.
    """
    groups: dict[frozenset[tuple[str, str]], list[JobResult]] = {}
    for run in unique_runs(results):
        groups.setdefault(frozenset(run.settings), []).append(run)
    settings = [_setting(runs, score) for runs in groups.values()]
    if num_repetitions is None:
        num_repetitions = max(map(len, groups.values()), default=0)
    order = ranking(
        [{run.replicate: run.figures[score] for run in each.scored_runs} for each in settings],
        num_repetitions=num_repetitions,
        lower_is_better=lower_is_better(score),
    )
    return Leaderboard(score, tuple(settings[position] for position in order), num_repetitions)


def unique_runs(results: Iterable[JobResult]) -> list[JobResult]:
    """The results by number, without those of jobs that are another job's run."""
    runs: dict[object, JobResult] = {}
    for result in sorted(results, key=lambda result: result.number):
        # a job that never got so far as to have a folder is nobody's double
        runs.setdefault(result.folder if result.folder.name else result.number, result)
    return list(runs.values())


def outcome(run: JobResult) -> str:
    """What became of a run, in a word or two."""
    if run.status == "KILLED":
        return "stopped" if run.pruned_at is None else "pruned"
    return run.status.lower() or "not begun"


def main_effects(results: Sequence[JobResult], score: str) -> dict[str, dict[str, Statistic]]:
    """For each axis with several values: value -> mean and std over the settings that have it.

    Each setting counts once, by the mean of its runs; a value that no run finished with is left
    out.
    """
    return effects_of(rank(results, score=score))


def effects_of(board: Leaderboard) -> dict[str, dict[str, Statistic]]:
    """`main_effects` of settings that are ranked already."""
    effects = {}
    for axis in board.axes:
        scores: dict[str, list[float]] = {}
        for setting in board.scored:
            if axis in setting.values and setting.score:
                scores.setdefault(setting.values[axis], []).append(setting.score.mean)
        # an axis that most settings are without may have one value alone: it has no effect to show
        if len(scores) > 1:
            effects[axis] = {value: statistic(scores[value]) for value in scale_of(scores).values}
    return effects


def pareto_front(settings: Sequence[Setting], objectives: Sequence[str]) -> list[Setting]:
    """The settings that no other beats in one objective and equals in the rest, by the last."""
    import numpy as np

    def losses(setting: Setting) -> list[float]:
        signs = (1 if lower_is_better(key) else -1 for key in objectives)
        means = (setting.figures[key].mean for key in objectives)
        return [sign * mean for sign, mean in zip(signs, means, strict=True)]

    known = [s for s in settings if all(key in s.figures for key in objectives)]
    all_losses = np.array([losses(setting) for setting in known]).reshape(-1, len(objectives))
    front = [
        setting
        for setting, own in zip(known, all_losses, strict=True)
        if not ((all_losses <= own).all(axis=1) & (all_losses < own).any(axis=1)).any()
    ]
    return sorted(front, key=lambda setting: setting.figures[objectives[-1]].mean)


def count_text(board: Leaderboard, setting: Setting) -> str:
    """How many runs a score is the mean of: `3`, or `2 of 3` where three were planned."""
    scored = setting.score.n if setting.score else 0
    planned = max(board.num_repetitions, 0 if scored else len(setting.runs))
    return str(scored) if scored >= planned else f"{scored} of {planned}"


def leaderboard_table(board: Leaderboard, limit: int = 10) -> Table:
    """The best settings as a table for the terminal; its foot says how many are not shown."""
    from rich.table import Table
    from rich.text import Text

    shown, hidden = board.settings[:limit], len(board.settings[limit:])
    foot = f"and {hidden} more setting{'s' * (hidden > 1)}" if hidden else None
    table = Table(caption=foot, box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(["", *short_names(board.axes).values()]):
        # as text: rich would read square brackets as its markup
        table.add_column(
            Text(printable(name)), justify="left" if number else "right", overflow="fold"
        )
    table.add_column(metric_name(board.score), justify="right", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    for number, setting in enumerate(shown, start=1):
        own = [short_value(setting.values.get(axis, ABSENT)) for axis in board.axes]
        values = [Text(printable(value)) for value in own]
        place = str(number) if setting.score else ABSENT
        score = statistic_text(board.score, setting.score)
        style = "bold" if setting is board.winner else ""
        table.add_row(place, *values, score, count_text(board, setting), style=style)
    return table


def _setting(runs: list[JobResult], score: str) -> Setting:
    finished = [run for run in runs if run.status == "FINISHED"]
    figures = {}
    for key in dict.fromkeys(key for run in finished for key in run.figures):
        values = [run.figures[key] for run in finished if _has(run, key)]
        if values:
            figures[key] = statistic(values)
    scored = tuple(run for run in finished if _has(run, score))
    return Setting(dict(runs[0].settings), tuple(runs), scored, figures.get(score), figures)


def _has(run: JobResult, key: str) -> bool:
    return math.isfinite(run.figures.get(key, math.nan))
