"""Conditions on recorded runs, as a command line says them: `optimizer.lr=0.001`."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fashion_mnist.conclusions.fields import Value, as_number, check_key, value_of
from fashion_mnist.config.errors import shown
from fashion_mnist.tracking.recorded import RecordedRun

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
