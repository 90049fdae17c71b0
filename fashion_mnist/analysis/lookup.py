"""Recorded runs by the words of a command line: an id, a name, `latest`, `best`, conditions."""

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fashion_mnist.config.errors import did_you_mean, shown
from fashion_mnist.metrics.statistics import Replicate
from fashion_mnist.tracking.reader import Reader
from fashion_mnist.tracking.recorded import RecordedRun

LATEST, BEST = "latest", "best"
SHORT = 8  # digits of an id that tables show
SHORTEST = 4  # digits by which near ids are judged
MOST_NAMED = 5  # runs in an error
MOST_NEAR = 3
_ID = re.compile(r"[0-9a-f]{32}")


SEED, FOLD = "seed", "data.fold"


class ChoiceError(ValueError):
    """No run, or more than one, is what the user named."""


def find_run(store: Reader, word: str, experiment: str | None = None) -> RecordedRun:
    """The run that the word means in this experiment, or in all.

    `latest` and `best` are networks; an id or a name may also be a sweep's or a comparison's.

    Raises:
        ChoiceError: it means none, or several; near ones are named.
    """
    if _ID.fullmatch(word) and experiment is None:
        run = store.run(word)
        if run is not None:
            return run
    return choose_run(store.runs(experiment), word)


def find_runs(
    store: Reader, words: Sequence[str], experiment: str | None = None
) -> list[RecordedRun]:
    """`find_run` for each word, the store being asked once."""
    runs = store.runs(experiment)
    return [choose_run(runs, word) for word in words]


def find_sweep(store: Reader, word: str, experiment: str | None = None) -> RecordedRun:
    """The run that stands for the sweep that the word means; `networks_of` gives its networks.

    Raises:
        ChoiceError: as `find_run`.
    """
    return choose_sweep(store.runs(experiment), word)


def choose_run(runs: Sequence[RecordedRun], word: str) -> RecordedRun:
    """`find_run` among these runs."""
    return _choose(runs, word, "run", lambda run: run.is_network)


def choose_sweep(runs: Sequence[RecordedRun], word: str) -> RecordedRun:
    """`find_sweep` among these runs; `best` is the one whose best setting has the best mean."""
    return _choose([run for run in runs if run.is_sweep], word, "sweep", lambda _run: True)


def networks_of(sweep: RecordedRun, runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Those of the runs that are the sweep's networks."""
    return [run for run in runs if run.is_network and run.parent_id == sweep.run_id]


def without_copies(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs without those that are among them already, as another sweep's."""
    ids = {run.run_id for run in runs}
    return [run for run in runs if run.original_id not in ids]


def short_ids(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The beginning of each run's id, as many digits of it as are unique among these runs."""
    ids = sorted(run.run_id for run in runs)
    length = SHORT
    while length < 32 and len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return {each: each[:length] for each in ids}


def _choose(
    runs: Sequence[RecordedRun], word: str, kind: str, is_ranked: Callable[[RecordedRun], bool]
) -> RecordedRun:
    if word == LATEST:
        return _latest([run for run in runs if is_ranked(run)], kind)
    if word == BEST:
        return _best([run for run in runs if is_ranked(run)], kind)
    for match in (_has_id, _has_name, _begins):
        found = [run for run in runs if match(run, word)]
        found = found if match is _has_id else without_copies(found)
        if len(found) == 1:
            return found[0]
        if found:
            raise ChoiceError(f"{shown(word)} is {len(found)} {kind}s: {_listed(found)}")
    raise ChoiceError(f"there is no {kind} {shown(word)}{_near(runs, word)}")


def _latest(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    started = [(run.start, run) for run in runs if run.start is not None]
    if not started:
        raise ChoiceError(f"there is no latest {kind}: none has been recorded here")
    return max(started, key=lambda pair: pair[0])[1]


def _best(runs: Sequence[RecordedRun], kind: str) -> RecordedRun:
    """The highest score; of equal ones the oldest."""
    scored = [(run.score, run) for run in runs if run.score is not None]
    finite = [(score, run) for score, run in scored if math.isfinite(score)]
    if not finite:
        raise ChoiceError(f"there is no best {kind}: none has finished with a validation accuracy")
    top = max(score for score, _ in finite)
    equal = [run for score, run in finite if score == top]
    return min(equal, key=lambda run: run.start.timestamp() if run.start else math.inf)


def _has_id(run: RecordedRun, word: str) -> bool:
    return run.run_id == word


def _has_name(run: RecordedRun, word: str) -> bool:
    return run.name == word


def _begins(run: RecordedRun, word: str) -> bool:
    return bool(word) and run.run_id.startswith(word.lower())


def _listed(runs: Sequence[RecordedRun]) -> str:
    ids = short_ids(runs)
    words = [
        f"{ids[run.run_id]} ({run.name}, {run.start:%Y-%m-%d %H:%M})"
        if run.start
        else f"{ids[run.run_id]} ({run.name})"
        for run in runs[:MOST_NAMED]
    ]
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
    pairs = [(value_of(run, key), run) for run in runs]
    numbers = [(number, run) for value, run in pairs if (number := as_number(value)) is not None]
    texts = [(v, run) for v, run in pairs if isinstance(v, str) and as_number(v) is None]
    placed = [
        *(run for _, run in sorted(numbers, key=lambda pair: pair[0], reverse=descending)),
        *(run for _, run in sorted(texts, key=lambda pair: pair[0], reverse=descending)),
    ]
    there = {run.run_id for run in placed}
    return [*placed, *(run for run in runs if run.run_id not in there)]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*([^=!<>]+?)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """What is wanted of the value under a key."""

    key: str
    sign: str  # of _COMPARE
    wanted: str

    def holds(self, run: RecordedRun) -> bool:
        """Whether the run's value is as wanted; one that it does not have is unlike anything."""
        value = value_of(run, self.key)
        if value is None:
            return self.sign == "!="
        own, wanted = as_number(value), _number_like(value, self.wanted)
        if own is not None and wanted is not None:
            return _COMPARE[self.sign](own, wanted)
        return self.sign in ("=", "!=") and _COMPARE[self.sign](str(value), self.wanted)


def parse_condition(text: str) -> Condition:
    """`KEY=VALUE`, also with `!=`, `<`, `<=`, `>`, `>=`.

    Raises:
        ValueError: it is none, or orders what is no number and no date.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"a condition must be KEY=VALUE, or with !=, <, <=, > or >=, got {shown(text)}"
        )
    key, sign, wanted = match.groups()
    condition = Condition(key, "=" if sign == "==" else sign, wanted)
    if sign[0] in "<>" and as_number(wanted) is None and _date(wanted) is None:
        raise ValueError(f"{sign} needs a number, or a date as 2026-01-31, got {shown(text)}")
    return condition


def fulfil(runs: Sequence[RecordedRun], conditions: Sequence[str]) -> list[RecordedRun]:
    """The runs for which all of these conditions hold.

    Raises:
        ValueError: one is no condition, or no run has its key.
    """
    parsed = [parse_condition(text) for text in conditions]
    for condition in parsed:
        check_key(condition.key, runs)
    return [run for run in runs if all(condition.holds(run) for condition in parsed)]


def _number_like(value: Value, wanted: str) -> float | None:
    """What is wanted as a number that can be compared with the value's."""
    date = _date(wanted) if isinstance(value, datetime) else None
    return date.timestamp() if date else as_number(wanted)


def _date(text: str) -> datetime | None:
    """A day or a time, local where it names no zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def replicate_of(run: RecordedRun) -> Replicate:
    """The run's seed and fold."""
    return run.parameters.get(SEED, ""), run.parameters.get(FOLD, "")
