"""Recorded runs by the words of a command line: an id, a name, `latest`, `best`, conditions."""

from __future__ import annotations

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from fashion_mnist.analysis.labels import (
    BEST_METRICS,
    REPLICATE_KEYS,
    lower_is_better,
    metric_name,
)
from fashion_mnist.config.messages import did_you_mean, shown
from fashion_mnist.metrics.statistics import Replicate
from fashion_mnist.tracking.recorded import DIRECTIONS, OBJECTIVE_TAG, SCORE, SWEEP_TAG, RecordedRun

if TYPE_CHECKING:
    from fashion_mnist.tracking.reader import Reader

LATEST, BEST = "latest", "best"
SHORT = 8  # digits of an id that tables show
SHORTEST = 4  # digits by which near ids are judged
MOST_NAMED = 5  # runs in an error
MOST_NEAR = 3
_ID = re.compile(r"[0-9a-f]{32}")
Say = Callable[[str], None]  # takes which run `latest` or `best` is


class ChoiceError(ValueError):
    """No run, or more than one, is what the user named."""


@dataclass(frozen=True)
class SelectedRuns:
    """The networks that several words name."""

    title: str
    sweeps: tuple[RecordedRun, ...]  # those that were named
    networks: tuple[RecordedRun, ...]  # each once
    all_runs: tuple[RecordedRun, ...]  # of their experiments, sweeps too
    has_experiments: bool = False  # whether a whole experiment was named


def find_run(
    store: Reader, word: str, experiment: str | None = None, *, say: Say | None = None
) -> RecordedRun:
    """The run that the word means in this experiment, or in all.

    `latest` is the network that was started last, `best` the one with the best score (see
    `objective_of`); an id or a name may also be a sweep's or a comparison's.

    Args:
        say: is told which run `latest` or `best` is.

    Raises:
        ChoiceError: it means none, or several; near ones are named.
    """
    if _ID.fullmatch(word) and experiment is None:
        run = store.run(word)
        if run is not None:
            return run
    return choose(store.runs(experiment), word, say=say)


def select_runs(
    store: Reader, words: Sequence[str], experiment: str | None = None, *, say: Say | None = None
) -> SelectedRuns:
    """The networks of the words: each is a run, a sweep, or an experiment for all of its own.

    `latest` is the network or the sweep that was started last; of a sweep's network, the sweep.

    Raises:
        ChoiceError: a word names nothing, too much, or no network.
        ValueError: there is no such experiment.
        OSError: the store does not answer.
    """
    known, experiments = store.runs(experiment), store.experiments()
    titles, sweeps, networks = list[str](), list[RecordedRun](), list[RecordedRun]()
    has_experiments = False
    for word in words:
        if word in experiments and experiment is None:
            has_experiments = True
            titles.append(f"experiment {word}")
            networks += [run for run in known if run.experiment == word and run.is_network]
            continue
        found = _latest_or_its_sweep(known, "run") if word == LATEST else choose(known, word)
        _tell(word, found, known, say)
        titles.append(f"sweep {found.name}" if found.is_sweep else found.name)
        networks += networks_of(found, known) if found.is_sweep else [found]
        sweeps += [found] if found.is_sweep else []
    strange = [run for run in networks if not run.is_network]
    if strange:
        raise ChoiceError(f"{strange[0].name} ({strange[0].run_id}) is not the run of a network")
    names = {run.experiment for run in networks}
    title = ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")
    of_experiments = tuple(run for run in known if run.experiment in names)
    unique = tuple({run.run_id: run for run in networks}.values())
    return SelectedRuns(title, tuple(sweeps), unique, of_experiments, has_experiments)


def choose(
    runs: Sequence[RecordedRun],
    word: str,
    kind: Literal["run", "sweep"] = "run",
    *,
    say: Say | None = None,
) -> RecordedRun:
    """The one of these runs that the word means: any, see `find_run`, or one that is a sweep.

    Of sweeps `latest` is the one that was started last, or whose network was; `best` the one whose
    best setting is the best; `networks_of` gives a sweep's networks.

    Raises:
        ChoiceError: as `find_run`.
    """
    named = [run for run in runs if run.is_sweep] if kind == "sweep" else runs
    ranked = named if kind == "sweep" else [run for run in runs if run.is_network]
    if word == LATEST and kind == "sweep":
        sweeps = {run.run_id for run in named}
        found = _latest_or_its_sweep([*named, *(r for r in runs if r.parent_id in sweeps)], kind)
    elif word == LATEST:
        found = _latest(ranked, kind)
    elif word == BEST:
        found = _best(ranked, kind, objective_of(runs))
    else:
        found = _named(named, word, kind)
    _tell(word, found, runs, say)
    return found


def networks_of(sweep: RecordedRun, runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Those of the runs that are the sweep's networks."""
    return [run for run in runs if run.is_network and run.parent_id == sweep.run_id]


def swept_keys(sweep: RecordedRun) -> list[str]:
    """The keys that the sweep's record says it varied; none if that is damaged.

    What the record says of their values is for people.
    """
    axes = parsed(sweep.tags.get(SWEEP_TAG, ""))
    # an axis may be several keys in step
    return [key for axis in axes for key in axis.split(", ")] if isinstance(axes, dict) else []


def without_copies(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs without those that are among them already, as another sweep's.

    Where the original itself is not, for it was deleted, the first copy stands for it.
    """
    ids = {run.run_id for run in runs}
    first: dict[str, RecordedRun] = {}
    return [
        run
        for run in runs
        if not run.original_id
        or (run.original_id not in ids and first.setdefault(run.original_id, run) is run)
    ]


def objective_of(runs: Sequence[RecordedRun]) -> str:
    """The metric that these runs are ranked by: the first objective of the sweeps among them.

    Validation accuracy where there is no sweep, or where sweeps have different objectives.
    """
    found = {run.tags.get(OBJECTIVE_TAG, SCORE) for run in runs if run.is_sweep}
    return next(iter(found)) if len(found) == 1 and found <= DIRECTIONS.keys() else SCORE


def score_of(run: RecordedRun, metric: str) -> float | None:
    """The metric of a finished run, of a sweep that of its best setting; None where it has none.

    Also None where an accuracy or F1 is none that there can be: any program may write to a store.
    """
    value = run.metrics.get(BEST_METRICS[metric] if run.is_sweep else metric)
    if value is None or run.status != "FINISHED" or not math.isfinite(value):
        return None
    is_share = not lower_is_better(metric)
    return None if is_share and not 0 <= value <= 1 else value


def replicate_of(run: RecordedRun) -> Replicate:
    """The run's seed and fold."""
    seed, fold = (run.parameters.get(key, "") for key in REPLICATE_KEYS)
    return seed, fold


def setting(run: RecordedRun, key: str) -> Any:
    """A parameter's value: what JSON makes of it, else its text; None where the run has none."""
    return parsed(run.parameters.get(key, "null"))


def parsed(text: str) -> Any:
    """A recorded value: what JSON makes of it, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def class_names_of(run: RecordedRun) -> list[str]:
    """The names of the run's classes, as its config has them. Raises ValueError for none."""
    names = setting(run, "data.class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{run.name} does not say which classes it knows, got {shown(names)}")
    return names


def short_ids(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The beginning of each run's id, as many digits of it as are unique among these runs."""
    ids = sorted(run.run_id for run in runs)
    length = SHORT
    while length < 32 and len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}


def _named(runs: Sequence[RecordedRun], word: str, kind: str) -> RecordedRun:
    """By its id, a unique beginning of that, or its name."""
    has_id = [run for run in runs if run.run_id == word]
    has_name = without_copies([run for run in runs if run.name == word])
    begins = [run for run in runs if word and run.run_id.startswith(word.lower())]
    # a name may be the beginning of another run's id; one of few digits is a name
    is_both = has_name and len(word) >= SHORT
    found = has_id or (without_copies([*has_name, *begins]) if is_both else has_name or begins)
    found = list({run.run_id: run for run in found}.values())
    found = found if has_id else without_copies(found)
    if not found:
        raise ChoiceError(f"there is no {kind} {shown(word)}{_near(runs, word)}")
    if len(found) > 1:
        raise ChoiceError(f"{shown(word)} is {len(found)} {kind}s: {_listed(found)}")
    return found[0]


def _latest(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    """The one that was started last."""
    started = [(run.start, run) for run in runs if run.start is not None]
    if not started:
        raise ChoiceError(f"there is no latest {kind}: none has been recorded here")
    return max(started, key=lambda pair: pair[0])[1]


def _latest_or_its_sweep(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    """The network or sweep that was started last; of a sweep's network, the sweep."""
    # a sweep whose networks were all trained before started after each of them
    found = _latest([run for run in runs if run.is_network or run.is_sweep], kind)
    return next((r for r in runs if r.run_id == found.parent_id and r.is_sweep), found)


def _best(runs: Sequence[RecordedRun], kind: str, objective: str) -> RecordedRun:
    """The best score; of equal ones the oldest."""
    scored = [(score, run) for run in runs if (score := score_of(run, objective)) is not None]
    if not scored:
        name = metric_name(objective)
        raise ChoiceError(f"there is no best {kind}: none has finished with a {name}")
    sign = 1 if lower_is_better(objective) else -1
    oldest = datetime.max.replace(tzinfo=UTC)
    return min(scored, key=lambda pair: (sign * pair[0], pair[1].start or oldest))[1]


def _tell(word: str, found: RecordedRun, runs: Sequence[RecordedRun], say: Say | None) -> None:
    """Say which run `latest` or `best` is."""
    if say is None or word not in (LATEST, BEST):
        return
    kind = "sweep" if found.is_sweep else "run"
    by = f" by {metric_name(objective_of(runs))}" if word == BEST else ""
    say(f"{word} {kind}{by}: {found.name} ({found.run_id})")


def _listed(runs: Sequence[RecordedRun]) -> str:
    ids = short_ids(runs)
    words = []
    for run in runs[:MOST_NAMED]:
        when = f", {run.start:%Y-%m-%d %H:%M}" if run.start else ""
        words.append(f"{ids[run.run_id]} ({run.name}{when})")
    more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
    return ", ".join(words) + more


def _near(runs: Sequence[RecordedRun], word: str) -> str:
    """Runs that were perhaps meant: names that the word is part of, near names and ids."""
    if not runs:
        return ": none has been recorded here"
    ids, asked = short_ids(runs), word.lower()[:200]
    beginnings = {run.run_id[: max(len(asked), SHORTEST)]: run for run in runs}
    names = {run.name.lower(): run for run in reversed(runs)}  # of equal ones the newest
    known = {**beginnings, **names}
    parts = [name for name in names if asked and asked in name][:MOST_NEAR]
    near = [*parts, *difflib.get_close_matches(asked, [*known, LATEST, BEST], n=MOST_NEAR)]
    words = [
        f"{ids[known[each].run_id]} ({known[each].name})" if each in known else each
        for each in near
    ]
    if not words:
        return f"; there are {len(runs):,}: `fmnist runs --all`"
    return f"; near: {', '.join(list(dict.fromkeys(words))[:MOST_NEAR])}"


Value = str | float | datetime | timedelta | None
FACTS: Mapping[str, Callable[[RecordedRun], Value]] = {
    "id": lambda run: run.run_id,
    "name": lambda run: run.name,
    "status": lambda run: run.status,
    "experiment": lambda run: run.experiment,
    "started": lambda run: run.start,
    "duration": lambda run: run.duration,
    "sweep": lambda run: run.parent_id or None,
}


def value_of(run: RecordedRun, key: str) -> Value:
    """What the run has under this key: a fact, else a metric, a parameter, a tag; None if none."""
    if key in FACTS:
        return FACTS[key](run)
    for values in (run.metrics, run.parameters, run.tags):
        if key in values:
            return values[key]
    return None


def check_key(key: str, runs: Sequence[RecordedRun]) -> None:
    """Raises ValueError for a key that none of the runs has, if there are runs."""
    known = dict.fromkeys(FACTS)
    for run in runs:
        known |= dict.fromkeys((*run.metrics, *run.parameters, *run.tags))
    if runs and key not in known:
        raise ValueError(
            f"no run has a metric, parameter or tag {shown(key)}{did_you_mean(key, known)}"
        )


def as_number(value: Value) -> float | None:
    """A number, or a text or a time that is one (a duration's seconds); None for all else."""
    match value:
        case timedelta():
            return value.total_seconds()
        case datetime():
            return value.timestamp()
        case None:
            return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def ordered(runs: Sequence[RecordedRun], key: str, *, descending: bool) -> list[RecordedRun]:
    """The runs by what they have under the key: numbers, then texts, then those without it.

    Equal ones stay as they were.
    """
    numbers, texts, others = [], [], []
    for run in runs:
        value = value_of(run, key)
        if (number := as_number(value)) is not None:
            numbers.append((number, run))
        elif isinstance(value, str):
            texts.append((value, run))
        else:
            others.append(run)
    numbers.sort(key=lambda pair: pair[0], reverse=descending)
    texts.sort(key=lambda pair: pair[0], reverse=descending)
    return [*(run for _, run in numbers), *(run for _, run in texts), *others]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*([^=!<>]+?)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)


def fulfil(runs: Sequence[RecordedRun], conditions: Sequence[str]) -> list[RecordedRun]:
    """The runs for which all of these conditions hold.

    A condition is `KEY=VALUE`, also with `!=`, `<`, `<=`, `>`, `>=`; what a run does not have is
    unlike anything.

    Raises:
        ValueError: one is none, or orders what is no number and no date; or no run has its key.
    """
    kept = list(runs)
    for text in conditions:
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ValueError(
                f"a condition must be KEY=VALUE, or with !=, <, <=, > or >=, got {shown(text)}"
            )
        key, sign, wanted = match.groups()
        if sign[0] in "<>" and as_number(wanted) is None and _date(wanted) is None:
            raise ValueError(f"{sign} needs a number, or a date as 2026-01-31, got {shown(text)}")
        check_key(key, runs)
        kept = [run for run in kept if _holds(value_of(run, key), sign, wanted)]
    return kept


def _holds(value: Value, sign: str, wanted: str) -> bool:
    """Whether a run's value is as wanted: as numbers where both are some, else as texts."""
    if value is None:
        return sign == "!="
    date = _date(wanted) if isinstance(value, datetime) else None
    pair = as_number(value), date.timestamp() if date else as_number(wanted)
    if None not in pair:
        return _COMPARE[sign](*pair)
    return sign in ("=", "==", "!=") and _COMPARE[sign](str(value), wanted)


def _date(text: str) -> datetime | None:
    """A day or a time, local where it names no zone; None for any other text."""
    try:
        date = datetime.fromisoformat(text)
        date.timestamp()  # the first year has none where a zone puts it before the calendar
        return date
    except (ValueError, OverflowError):
        return None
