"""Settings ranked by the scores of their runs: one leaderboard for sweeps and for stored runs.

A setting is all runs that differ in nothing but seed and fold.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from fashion_mnist.analysis.labels import (
    ABSENT,
    REPLICATE_KEYS,
    interval_text,
    lower_is_better,
    metric_name,
    naming_axes,
    p_text,
    short_names,
    short_value,
    statistic_text,
    values_text,
)
from fashion_mnist.analysis.significance import (
    MOST_READ,
    Comparison,
    RunResult,
    compare_with_best,
)
from fashion_mnist.analysis.text_table import Column, text_table
from fashion_mnist.config.messages import plural
from fashion_mnist.metrics.statistics import (
    Interval,
    Replicate,
    Statistic,
    common_repetitions,
    mean_interval,
    ranking,
    statistic,
)
from fashion_mnist.runs.identity import DATA_TAG, SPLIT_TAG
from fashion_mnist.runs.markdown import code, markdown_row, plain
from fashion_mnist.tracking.recorded import SCORE, TEST_SCORE, RecordedRun

SEED, FOLD = REPLICATE_KEYS
SPEED = "images_per_second"
Row = dict[str, str]  # of a table: heading -> cell
# of other settings vs. the best, and what that means
RESULTS = {
    "not significantly different": "not significantly different from it: the difference may be "
    "chance, so each may be as good, or better",
    "significantly better": "significantly better by the seeds and folds that both have, and "
    "behind it because it has fewer or other runs",
    "significantly worse": "significantly worse",
    "not tested": "not tested against it",
}


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but seed and fold, one for each of these."""

    runs: tuple[RunResult, ...]
    score_key: str  # the metric that it is ranked by

    @cached_property
    def values(self) -> Mapping[str, str]:
        """What its runs have in common."""
        return dict(self.runs[0].settings)

    @cached_property
    def scored_runs(self) -> tuple[RunResult, ...]:
        """Those that finished with a score."""
        return tuple(run for run in self.runs if run.has(self.score_key))

    @cached_property
    def metrics(self) -> dict[str, Statistic]:
        """Mean, std (n − 1) and n of every finite metric of the finished runs."""
        keys = dict.fromkeys(key for run in self.runs for key in run.metrics)
        values = {key: [run.metrics[key] for run in self.runs if run.has(key)] for key in keys}
        return {key: statistic(own) for key, own in values.items() if own}

    @property
    def score(self) -> Statistic | None:
        """What it is ranked by; None where no run finished with it."""
        return self.metrics.get(self.score_key)

    @property
    def mean(self) -> float:
        """Of the score, which there must be."""
        assert self.score is not None
        return self.score.mean

    def interval(self, metric: str) -> Interval | None:
        """At 95 %, of the metric's mean over seeds, measured on the validation split."""
        runs = [run for run in self.runs if run.has(metric)]
        return mean_interval(
            {run.replicate: run.metrics[metric] for run in runs},
            num_validation=max((run.num_validation for run in runs), default=0),
            num_training=min((run.num_training for run in runs), default=0),
        )

    @property
    def num_finished(self) -> int:
        """Runs that came to their end."""
        return sum(run.status == "FINISHED" for run in self.runs)

    @property
    def is_partial(self) -> bool:
        """Whether some of its runs finished and others did not."""
        return 0 < self.num_finished < len(self.runs)

    @property
    def records(self) -> list[RecordedRun]:
        """Its runs as the store has them."""
        return [run.record for run in self.runs if run.record]


@dataclass(frozen=True)
class Leaderboard:
    """Settings, the best first, those without a score last."""

    score: str  # the metric that they are ranked by
    settings: tuple[Setting, ...]
    num_repetitions: int  # seeds and folds that each setting is to have
    title: str = ""  # what they are the settings of
    num_duplicates: int = 0  # results that are the same run as another, which counts once
    limit: int | None = None  # settings that tables show; None for all
    most_read: int = MOST_READ  # settings whose predictions are read for a test
    num_tested: tuple[int, int] | None = None  # runs and settings that have read the test set

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
        """The keys that settings are named by, see `naming_axes`."""
        return naming_axes([setting.values for setting in self.settings])

    @cached_property
    def runs(self) -> list[RunResult]:
        """Every run once, by number."""
        runs = [run for setting in self.settings for run in setting.runs]
        return sorted(runs, key=lambda run: run.number)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Each setting vs. the best; predictions are read where a test needs them."""
        scored = [{run.replicate: run for run in setting.scored_runs} for setting in self.scored]
        found = compare_with_best(scored, self.score, most_read=self.most_read) if scored else []
        unscored = len(self.settings) - len(found)
        return [*found, *[Comparison("not tested", why="no score")] * unscored]

    @property
    def shown(self) -> list[tuple[Setting, Comparison]]:
        """The settings that tables show, each with its comparison."""
        return list(zip(self.settings, self.comparisons, strict=True))[: self.limit]

    def label(self, setting: Setting) -> str:
        """What makes the setting differ from others, in one line: `model=deep lr=3e-3`."""
        if len(self.settings) == 1:
            return "all runs"
        missing = f"no {', '.join(short_names(self.axes).values())}"
        return values_text(setting.values, self.axes) or missing

    def _interval(self, setting: Setting) -> Interval | None:
        """Of its score; None for the number of parameters, which is known before training."""
        return setting.interval(self.score) if self.is_measured else None

    @property
    def is_measured(self) -> bool:
        """Whether the score is, and not known before training."""
        return self.score != "parameters"

    def size(self) -> str:
        """`54 runs, 18 settings`."""
        return f"{plural(len(self.runs), 'run')}, {plural(len(self.settings), 'setting')}"

    def answer(self) -> list[str]:
        """What came out, a sentence each; the first is the main one."""
        best, name = self.winner, metric_name(self.score)
        if best is None or best.score is None:
            return [f"No run has finished with a {name}."]
        n = best.score.n
        over = f"mean ± std over {n} runs" if n > 1 else "one run"
        interval = self._interval(best)
        over += f"; 95 % interval {interval_text(interval)}" if interval else ""
        over += f"; {best.num_finished} of {len(best.runs)} finished" if best.is_partial else ""
        who = f"{self.label(best)} is best" if len(self.settings) > 1 else "The result"
        lines = [f"{who}: {name} {statistic_text(self.score, best.score)} ({over})."]
        lines += [f"Test accuracy: {_test_text(best)}."] if TEST_SCORE in best.metrics else []
        results = Counter[str](comparison.result for comparison in self.comparisons[1:])
        total = results.total()
        for result, words in RESULTS.items():
            count = results[result]
            who = f"{count:,} of the other {total:,} settings {'is' if count == 1 else 'are'}"
            who = "The other setting is" if total == 1 else who
            lines += [f"{who} {words}."] if count else []
        if self.is_measured and len(self.scored) > 1:
            lines.append(
                f"Chosen by this score among {len(self.scored)} settings, so the score is "
                "optimistically biased."
            )
        if self.is_measured and n == 1:
            lines.append("One seed tells little of what another would do: repeat it with others.")
        return lines

    def count_text(self, setting: Setting) -> str:
        """How many runs a score is the mean of: `3`, or `2 of 3` where three were planned."""
        scored = setting.score.n if setting.score else 0
        planned = max(self.num_repetitions, 0 if scored else len(setting.runs))
        return str(scored) if scored >= planned else f"{scored} of {planned}"

    def rows(self) -> list[Row]:
        """A row of texts for each setting shown: rank, axes, score, interval, runs, vs. best, test.

        `setting` holds all axes in one text, for tables that have no room for columns.
        """
        names, score = short_names(self.axes), metric_name(self.score)
        is_tested = any(TEST_SCORE in setting.metrics for setting, _ in self.shown)
        rows = []
        for place, (setting, comparison) in enumerate(self.shown, start=1):
            values = {
                name: short_value(setting.values.get(axis, ABSENT)) for axis, name in names.items()
            }
            row = {"": str(place) if setting.score else ABSENT, "setting": self.label(setting)}
            row |= values
            row |= {score: statistic_text(self.score, setting.score)}
            row |= {"95 % interval": interval_text(self._interval(setting)) or ABSENT}
            row |= {"runs": self.count_text(setting), "vs. best": comparison.result}
            row |= {"adjusted p": "" if comparison.p_holm is None else p_text(comparison.p_holm)}
            row |= {metric_name(TEST_SCORE): _test_text(setting)} if is_tested else {}
            rows.append(row)
        return rows

    def text(self, width: int | None, limit: int | None = None) -> list[str]:
        """The rows as lines of a terminal; a narrow one shows fewer columns.

        Args:
            width: of the terminal, in characters; None for as wide as the cells are.
            limit: the first so many rows; None for all that are shown.
        """
        return text_table(self.rows()[:limit], self._columns(), width)

    def markdown(self, limit: int | None = None) -> list[str]:
        """The rows as a table of Markdown, for a README or a paper: all columns of `text`."""
        rows = self.rows()[:limit]
        head = [own.key for own in self._columns() if any(row.get(own.key) for row in rows)]
        lines = [head, ["---" if key in ("setting", "vs. best") else "--:" for key in head]]
        lines += [
            [(code if key == "setting" else plain)(row.get(key, "")) for key in head]
            for row in rows
        ]
        return [markdown_row(cells) for cells in lines]

    def _columns(self) -> list[Column]:
        score, test = metric_name(self.score), metric_name(TEST_SCORE)
        return [
            Column("", "", is_number=True),
            Column("setting", "setting", can_shrink=True),
            Column(score, score),
            Column("95 % interval", "95 % interval", priority=3),
            Column("runs", "runs", is_number=True),
            Column("vs. best", "vs. best"),
            Column("adjusted p", "Holm-adjusted p", priority=2),
            Column(test, test, priority=1),
        ]

    def notes(self) -> list[str]:
        """What a reader of the table must know, a paragraph each."""
        shown = self.shown
        num_hidden = len(self.settings) - len(shown)
        more = plural(num_hidden, "more setting")
        lines = [f"and {more}: --limit 0 for all"] if num_hidden else []
        if any(setting.score and setting.score.n < self.num_repetitions for setting, _ in shown):
            lines.append(
                f"Settings with fewer than {plural(self.num_repetitions, 'finished run')} rank "
                "after the others, which rank by the seeds and folds that they share, if any."
            )
        elif len({frozenset(r.replicate for r in own.scored_runs) for own in self.scored}) > 1:
            lines.append(
                "Settings rank by the seeds and folds that all of them share, if any; the scores "
                "are means over each one's own."
            )
        reasons = Counter(each.why for _, each in shown if each.why and each.why != "no score")
        lines += [
            f"Not tested vs. best: {plural(count, 'setting')}: {why}."
            for why, count in reasons.items()
        ]
        tests = {comparison.test for _, comparison in shown if comparison.test}
        lines += [_explanation(tests)] if tests else []
        if self.num_tested is None:
            return lines
        runs, settings = self.num_tested
        read = f"{plural(settings, 'setting')} ({plural(runs, 'run')})"
        many = "; the more often, the less it says" if settings > 1 else ""
        words = f"In this experiment the test set was read for {read}{many}."
        return [*lines, words if runs else "The test set was not read in this experiment."]

    def as_json(self) -> dict[str, Any]:
        """What is shown, as plain values."""
        rows = []
        for setting, comparison in self.shown:
            accuracy = setting.metrics.get(SCORE)
            rows.append(
                {
                    "setting": {axis: setting.values.get(axis) for axis in self.axes},
                    "val_accuracy": plain_statistic(accuracy, setting.interval(SCORE)),
                    "score": plain_statistic(setting.score, self._interval(setting)),
                    "test_accuracy": plain_statistic(setting.metrics.get(TEST_SCORE)),
                    "runs": [run.run_id for run in setting.records],
                    "num_scored": setting.score.n if setting.score else 0,
                    **asdict(comparison),
                }
            )
        tested = self.num_tested or (0, 0)
        return {
            "title": self.title,
            "objective": self.score,
            "num_settings": len(self.settings),
            "num_repetitions": self.num_repetitions,
            "num_runs": len(self.runs),
            "test_set_read_by": {"num_runs": tested[0], "num_settings": tested[1]},
            "settings": rows,
        }


def rank(
    results: Sequence[RunResult],
    *,
    score: str,
    then: Sequence[str] = (SCORE,),
    num_repetitions: int | None = None,
    title: str = "",
) -> Leaderboard:
    """The settings as `metrics.statistics.ranking` orders them.

    Jobs that are one run count once; so do runs of one setting with the same seed and fold, of
    which the first that finished with a score counts.

    Args:
        then: by which settings of the same score are ordered, as those of one size are; what is
            left is by number.
        num_repetitions: seeds and folds that each setting is to have; None for the largest number
            of finished runs that two settings have.
        title: what they are the settings of.
    """
    groups: dict[frozenset[tuple[str, str]], dict[Replicate, RunResult]] = {}
    for run in unique_runs(results):
        group = groups.setdefault(run.setting_key, {})
        known = group.get(run.replicate)
        if known is None or (not known.has(score) and run.has(score)):
            group[run.replicate] = run
    settings = [Setting(tuple(group.values()), score) for group in groups.values()]
    signs = {key: 1 if lower_is_better(key) else -1 for key in then}
    settings.sort(
        key=lambda own: [
            sign * own.metrics[key].mean if key in own.metrics else math.inf
            for key, sign in signs.items()
        ]
    )
    scores = [{r.replicate: r.metrics[score] for r in each.scored_runs} for each in settings]
    if num_repetitions is None:
        num_repetitions = common_repetitions([len(own) for own in scores])
    order = ranking(scores, num_repetitions=num_repetitions, lower_is_better=lower_is_better(score))
    num_duplicates = len(results) - sum(len(each.runs) for each in settings)
    ordered = tuple(settings[place] for place in order)
    return Leaderboard(score, ordered, num_repetitions, title, num_duplicates)


def unique_runs(results: Iterable[RunResult]) -> list[RunResult]:
    """The results by number, without those of jobs that are another job's run."""
    runs: dict[object, RunResult] = {}
    for result in sorted(results, key=lambda result: result.number):
        # a job that was never begun has no folder, and is no other's double
        runs.setdefault(result.folder if result.folder.name else result.number, result)
    return list(runs.values())


def begun_repetitions(results: Iterable[RunResult]) -> int:
    """The largest number of seeds and folds that a setting has, finished or not."""
    pairs = {(run.setting_key, run.replicate) for run in results}
    return max(Counter(own for own, _ in pairs).values(), default=0)


def split_of(tags: Mapping[str, str]) -> str:
    """Names the images that a run with these tags was validated on; empty if that is not known.

    By the hash of their indices, whatever the run was trained on, and of the data set.
    """
    names = [tags.get(DATA_TAG, ""), tags.get(SPLIT_TAG, "")]
    return " ".join(names) if all(names) else ""


def _test_text(setting: Setting) -> str:
    """Test accuracy, with n where not every scored run was tested."""
    test, score = setting.metrics.get(TEST_SCORE), setting.score
    is_all = test and score and test.n == score.n
    n = "" if is_all or test is None else f" (n = {test.n})"
    return statistic_text(TEST_SCORE, test) + n


def _explanation(tests: Iterable[str]) -> str:
    ways = {
        "paired t": "paired t-test over common seeds, of several folds their mean",
        "corrected paired t": "corrected resampled t-test (Nadeau and Bengio) over common folds",
        "McNemar": "McNemar's exact test on the same images, which says nothing of other seeds",
    }
    used = "; ".join(ways[test] for test in ways if test in set(tests))
    return (
        "Not significantly different: p > 0.05 after Holm's adjustment for all comparisons vs. "
        f"best ({used}). It does not mean equal. The best was chosen by these scores, so they are "
        "optimistically biased: new seeds or the test set show whether it is better."
    )


def plain_statistic(
    metric: Statistic | None, interval: Interval | None = None
) -> dict[str, Any] | None:
    """A metric in JSON; None where there is none.

    Args:
        interval: of its mean over seeds; None where it is not of seeds.
    """
    return {**asdict(metric), "interval": interval} if metric else None
