"""The space of a sweep: what YAML and the command line say is swept, and the jobs it makes."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override

from fashion_mnist.analysis.labels import REPLICATE_KEYS
from fashion_mnist.config.compose import Composer
from fashion_mnist.config.messages import ConfigError, did_you_mean, shorten, shown
from fashion_mnist.config.overrides import parse_override
from fashion_mnist.runs.identity import is_identity
from fashion_mnist.sweeps.axes import Axis, axis_of_override, read_axis, same_text, text_of

MOST_RUNS = 100_000  # of a grid, where sweep.limit does not say more
_KEY = re.compile(r"\+{0,2}([a-zA-Z_][\w./@:-]*)")
_Settings = dict[tuple[str, ...], Axis]
# axis name -> key -> the texts for one of which the axis counts
Conditions = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class Space:
    """What is the same for all jobs of a sweep, and what differs."""

    fixed: tuple[str, ...]  # overrides
    axes: tuple[Axis, ...]
    conditions: Conditions  # axis name -> key -> the texts for one of which the axis counts

    @property
    def searched(self) -> tuple[Axis, ...]:
        """The axes that make a setting: those that do not repeat one."""
        return tuple(axis for axis in self.axes if not axis.is_replicate)

    def grid(self, limit: int | None = None) -> list[dict[str, str]]:
        """Each job's keys and value texts; the first axis is the slowest; none comes twice.

        Raises:
            ConfigError: more jobs than `limit`, or a range that is no list of values.
        """
        endless = [axis.name for axis in self.axes if axis.count is None]
        if endless:
            raise ConfigError(
                [
                    f"{name} is a range that a grid cannot list: give it num, as in "
                    "{low: 1e-4, high: 1e-2, log: true, num: 5}, or a step; a search "
                    "(sweep.sampler=tpe) takes it as it is"
                    for name in endless
                ]
            )
        return self._combine(self.axes, limit)

    def replicates(self) -> list[dict[str, str]]:
        """The values of the replicate axes with which each setting is repeated."""
        return self._combine([axis for axis in self.axes if axis.is_replicate])

    def active(self, values: Mapping[str, str]) -> dict[str, str]:
        """A job's values without axes whose condition fails, also because one is dropped."""
        kept = dict(values)
        if not self.conditions:
            return kept
        fixed = {key: text for key, _, text in map(_split, self.fixed)}
        while True:
            now = {**fixed, **kept}
            idle = {
                key
                for axis in self.axes
                if not holds(self.conditions.get(axis.name, {}), now)
                for key in axis.keys
            }
            if not idle & kept.keys():
                return kept
            kept = {key: text for key, text in kept.items() if key not in idle}

    def overrides_of(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """What a job with these active values is composed from."""
        return (*self.fixed, *(f"{key}={text}" for key, text in values.items()))

    def _combine(self, axes: Sequence[Axis], limit: int | None = None) -> list[dict[str, str]]:
        size = math.prod(axis.count or 0 for axis in axes)
        if size > max(limit or 0, MOST_RUNS):  # known without making them
            raise _too_many(size, limit)
        keys = [key for axis in axes for key in axis.keys]
        rows = itertools.product(*(axis.values() for axis in axes))
        jobs = (self.active(dict(zip(keys, itertools.chain(*row), strict=True))) for row in rows)
        once = list({tuple(job.items()): job for job in jobs}.values())
        if limit is not None and len(once) > limit:
            raise _too_many(len(once), limit)
        return once


def read_space(
    overrides: Sequence[str],
    *,
    axes: Mapping[str, Any],
    when: Mapping[str, Any],
    composer: Composer,
) -> Space:
    """The space that a sweep's YAML describes with the command line on top.

    What has one value in all jobs is fixed, unless it is there under a condition.

    Args:
        overrides: as typed; those of `sweep` and `hydra` are none of a job's.
        axes: `sweep.axes`: keys and values, ranges or Hydra's sweeps, as in architectures.yaml.
        when: `sweep.when`: an axis and what must hold for it to count.
        composer: knows the files of groups, those of a user among them.

    Raises:
        ConfigError: with every mistake there is.
    """
    problems: list[str] = []
    described = _read_axes(axes, problems)
    settings, deletions = dict(described), list[str]()
    for text in overrides:
        override = parse_override(text, problems)
        if override is None or _is_of_the_sweep(override, problems):
            continue
        if override.is_delete():
            deletions.append(text)
        else:
            _replace(override, settings, composer, problems)
    _check_replicates(settings, problems)
    problems += [
        f"{axis.name} says where or how a run is trained or recorded, and makes no other run: it "
        f"takes one value, got {axis.count}"
        for axis in settings.values()
        if axis.count != 1
        # the data of another folder may be other data
        and not any(is_identity(key) or key == "data.dir" for key in axis.keys)
    ]
    conditions = _read_conditions(when, settings.values(), described, problems)
    if problems:
        raise ConfigError(problems)
    varied = [a for a in settings.values() if a.count != 1 or a.name in conditions]
    fixed = [
        f"{key}={text}"
        for axis in settings.values()
        if axis not in varied
        for key, text in zip(axis.keys, axis.values()[0], strict=True)
    ]
    # first what is taken away, so that no later value is
    return Space((*deletions, *fixed), tuple(varied), conditions)


def sweep_id(
    space: Space,
    *,
    sampler: str,
    objectives: Sequence[str],
    data_sha256: Iterable[str],
) -> str:
    """16 hexadecimal digits over what a sweep compares, and on which data.

    Equal for the same sweep with other seeds or folds, in another place, or in another order.
    """
    axes = {axis.name: _resolved(axis, sampler) for axis in space.searched}
    fixed = [same_text(text) for text in space.fixed if _is_compared(_split(text)[0])]
    conditions = {
        name: {key: sorted(texts) for key, texts in wanted.items()}
        for name, wanted in space.conditions.items()
        if name in axes
    }
    content = [axes, sorted(fixed), conditions, sampler, list(objectives)]
    content.append(sorted(set(data_sha256)))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _is_compared(key: str) -> bool:
    return is_identity(key) and key not in REPLICATE_KEYS


def _resolved(axis: Axis, sampler: str) -> Any:
    if axis.choices is not None or (sampler == "grid" and (axis.count or math.inf) <= MOST_RUNS):
        return sorted([same_text(text) for text in row] for row in axis.values())
    return [axis.low, axis.high, axis.log, axis.step, axis.num if sampler == "grid" else None]


def _too_many(size: int, limit: int | None) -> ConfigError:
    allowed = f"at most {limit if limit is not None else MOST_RUNS:,} runs"
    where = "sweep.limit allows" if limit is not None else "a grid without sweep.limit has"
    return ConfigError(
        [
            f"{where} {allowed}, and this grid has {size:,}: give its axes fewer values, raise "
            "sweep.limit, or search (sweep.sampler=tpe)"
        ]
    )


def _read_axes(axes: Mapping[str, Any], problems: list[str]) -> _Settings:
    settings: _Settings = {}
    for name, notation in axes.items():
        keys = _read_keys(name, problems)
        if not keys:
            continue
        known = [key for key in keys if any(key in others for others in settings)]
        if known or len(set(keys)) < len(keys):
            problems.append(
                f"sweep.axes has {(known or keys)[0]} twice, again as '{shorten(name)}'"
            )
            continue
        try:
            settings[keys] = read_axis(keys, notation)
        except ValueError as error:
            problems.append(f"sweep.axes.{shorten(name)} must be {error}, got {shown(notation)}")
    return settings


def _read_keys(name: str, problems: list[str]) -> tuple[str, ...]:
    """The keys of `model.width, +optimizer.rho`, with or without a plus."""
    keys = []
    for part in name.split(","):
        match = _KEY.fullmatch(part.strip())
        if match is None or re.match(r"(sweep|hydra)\b", match[1]):
            problems.append(
                "sweep.axes must name keys of a run, as in model.width or, for two in step, "
                f"'model.width, optimizer.lr', got {shown(name)}"
            )
            return ()
        keys.append(match[1])
    return tuple(keys)


def _is_of_the_sweep(override: Override, problems: list[str]) -> bool:
    """Whether an override says how to sweep, and nothing of a job."""
    if not re.match(r"(sweep|hydra)\b", override.key_or_group):
        return False
    if override.is_sweep_override():
        problems.append(
            f"{override.key_or_group} cannot be swept, got {shorten(override.input_line or '')}"
        )
    return True


def _replace(
    override: Override,
    settings: _Settings,
    composer: Composer,
    problems: list[str],
) -> None:
    """Set a key from the command line, whatever the YAML of the sweep says of it."""
    try:
        axis = axis_of_override(override, composer.options(str(override.key_or_group)))
    except ValueError as error:
        problems.append(f"{shorten(override.input_line or '')} must be {error}")
        return
    key = axis.keys[0]
    zipped = [
        f"'{other.name}'" for keys, other in settings.items() if key in keys and len(keys) > 1
    ]
    if zipped:
        problems.append(
            f"{key} is one of the keys of the axis {zipped[0]}, which take their values together: "
            f"it cannot be set alone, got {shorten(override.input_line or '')}"
        )
        return
    settings[axis.keys] = axis


def _check_replicates(settings: _Settings, problems: list[str]) -> None:
    for axis in settings.values():
        others = [key for key in axis.keys if key not in REPLICATE_KEYS]
        if others and len(others) < len(axis.keys):
            problems.append(
                f"sweep.axes '{axis.name}' must not take {others[0]} together with "
                f"{' or '.join(REPLICATE_KEYS)}, which repeat a setting"
            )
        elif axis.is_replicate and axis.count is None:
            problems.append(f"{axis.name} must have values that can be listed, as in range(5)")


def _split(override: str) -> tuple[str, str, str]:
    return override.lstrip("+~").partition("=")


def holds(condition: Mapping[str, tuple[str, ...]], values: Mapping[str, str]) -> bool:
    """Whether each key of a condition has one of its texts in a job's values."""
    return all(
        key in values and same_text(values[key]) in map(same_text, texts)
        for key, texts in condition.items()
    )


def _read_conditions(
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
        if same_text(text) not in map(same_text, there)
    ]
