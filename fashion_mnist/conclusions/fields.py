"""What a recorded run can be asked for by a key: its own facts, metrics, parameters and tags."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from fashion_mnist.config.errors import did_you_mean, shown
from fashion_mnist.tracking.recorded import RecordedRun

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
