"""When an axis of a sweep counts: only in jobs where other keys have certain values."""

from collections.abc import Iterable, Mapping
from typing import Any

from fashion_mnist.config.errors import did_you_mean, shorten, shown
from fashion_mnist.sweep.axes import Axis, text_of

# axis name -> key -> the texts for one of which the axis counts
Conditions = Mapping[str, Mapping[str, tuple[str, ...]]]


def drop_idle(
    values: Mapping[str, str], fixed: Mapping[str, str], conditions: Conditions
) -> dict[str, str]:
    """A job's values without those whose condition fails, also because of one that is dropped."""
    kept = dict(values)
    while True:
        now = {**fixed, **kept}
        failed = {name for name, condition in conditions.items() if not _holds(condition, now)}
        idle = {key for name in failed for key in name.split(", ")} & kept.keys()
        if not idle:
            return kept
        kept = {key: text for key, text in kept.items() if key not in idle}


def read_conditions(
    when: Mapping[str, Any],
    axes: Iterable[Axis],
    described: Mapping[tuple[str, ...], Axis],
    problems: list[str],
) -> dict[str, dict[str, tuple[str, ...]]]:
    """What `sweep.when` says.

    Args:
        when: axis name -> key -> the value, or a list of values, for which the axis counts.
        axes: all that is set, also what has one value.
        described: those of YAML, as they were before the command line replaced some.
        problems: takes what is wrong.
    """
    conditions: dict[str, dict[str, tuple[str, ...]]] = {}
    keys = {key: axis for axis in axes for key in axis.keys}
    names = {axis.name for axis in keys.values()}
    for written, wanted in when.items():
        place = f"sweep.when.{shorten(written)}"
        name = ", ".join(part.strip().lstrip("+") for part in written.split(","))
        if name not in names:
            problems.append(f"{place} is no axis{did_you_mean(name, names)}")
        elif not isinstance(wanted, Mapping) or not wanted:
            problems.append(
                f"{place} must name other keys and their values, as in {{optimizer: sgd}}, "
                f"got {shown(wanted)}"
            )
        else:
            others = {key: axis for key, axis in keys.items() if axis.name != name}
            conditions[name] = _read_condition(place, wanted, others, problems)
            for key, texts in conditions[name].items():
                _note_typos(place, key, texts, keys[key], described, problems)
    return conditions


def _read_condition(
    place: str, wanted: Mapping[str, Any], others: Mapping[str, Axis], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    condition = {}
    for key, value in wanted.items():
        values = value if isinstance(value, list) else [value]
        if key in others:
            condition[key] = tuple(text_of(each) for each in values)
        else:
            problems.append(
                f"{place} depends on {shorten(key)}, which is neither another axis nor set"
                f"{did_you_mean(key, others)}"
            )
    return condition


def _note_typos(
    place: str,
    key: str,
    texts: Iterable[str],
    axis: Axis,
    described: Mapping[tuple[str, ...], Axis],
    problems: list[str],
) -> None:
    """Values that the axis never has: what the command line narrows may lack them, YAML not."""
    if axis.choices is None or described.get(axis.keys) is not axis:
        return
    there = [choice[axis.keys.index(key)] for choice in axis.choices]
    known = ", ".join(there)
    problems += [
        f"{place}.{key} must be one of {shorten(known)}{did_you_mean(text, there)}, "
        f"got {shorten(text)}"
        for text in texts
        if not any(_same(text, other) for other in there)
    ]


def _holds(condition: Mapping[str, tuple[str, ...]], values: Mapping[str, str]) -> bool:
    return all(
        key in values and any(_same(values[key], text) for text in texts)
        for key, texts in condition.items()
    )


def _same(one: str, other: str) -> bool:
    """Whether two texts are one value: 1 and 1.0 are."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False
